"""Checks of input values: whole numbers, finite numbers, booleans, choices.

Every function returns the value as a plain Python type, or raises an `InputError` that names the
setting, the given value and what is allowed.
"""

from __future__ import annotations

import math
import numbers
import reprlib
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

LARGEST_FLOAT = float(np.finfo(np.float32).max)
_LONGEST = 80  # characters of a value in a message


class InputError(ValueError):
    """Input that cannot be used; its message is one line: what, where, and what is allowed."""


class _Repr(reprlib.Repr):
    """A bounded `repr`, even for values that contain integers of a million digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = _LONGEST

    def repr_int(self, x: int, level: int) -> str:
        many = x.bit_length()
        return f"an integer of {many} bits" if many > 256 else super().repr_int(x, level)


_repr = _Repr()


def shown(value: Any) -> str:
    """`repr` of a value, or its beginning, so that any message fits on one line."""
    text = " ".join(_repr.repr(_scalar(value)).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def one_line(error: object) -> str:
    """The beginning of an error's message, without line breaks or control characters."""
    text = " ".join(str(error).split()) or repr(error)
    text = text if len(text) <= 400 else text[:397] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _scalar(value: Any) -> Any:
    """NumPy and JAX scalars as Python scalars; traced values stay as they are."""
    is_array = isinstance(value, np.generic | np.ndarray | jax.Array)
    if not is_array or isinstance(value, jax.core.Tracer) or np.ndim(value):
        return value
    try:
        return np.asarray(value).item()
    except TypeError:  # a key of jax.random
        return value


def whole(what: str, value: Any, low: int, high: int) -> int:
    """An integer in [low, high]; booleans are refused, and floats even without a fraction."""
    number = _scalar(value)
    if not isinstance(number, numbers.Integral) or isinstance(number, bool):
        raise InputError(f"{what} {shown(value)} is not a whole number")
    if not low <= (number := int(number)) <= high:
        raise InputError(f"{what} {shown(value)} is not within {low} ... {high}")
    return number


def real(what: str, value: Any, low: float = -LARGEST_FLOAT, high: float = LARGEST_FLOAT) -> float:
    """A finite number in [low, high] that a float32 can hold."""
    number = _scalar(value)
    if not isinstance(number, numbers.Real) or isinstance(number, bool):
        raise InputError(f"{what} {shown(value)} is not a number")
    try:
        number = float(number)
    except OverflowError:
        number = math.inf
    if not abs(number) <= LARGEST_FLOAT:
        raise InputError(f"{what} {shown(value)} is not finite in float32")
    if not low <= number <= high:
        raise InputError(f"{what} {shown(value)} is outside [{low:g}, {high:g}]")
    return number


def positive(what: str, value: Any) -> float:
    """A finite number above 0."""
    if (number := real(what, value)) <= 0:
        raise InputError(f"{what} {shown(value)} is not above 0")
    return number


def flag(what: str, value: Any) -> bool:
    """True or False."""
    found = _scalar(value)
    if not isinstance(found, bool):
        raise InputError(f"{what} {shown(value)} is not true or false")
    return found


def choice(what: str, value: Any, allowed: Iterable[str]) -> str:
    """One of several names."""
    names = tuple(allowed)
    if not isinstance(value, str) or value not in names:
        raise InputError(f"{what} {shown(value)} is not one of {', '.join(names)}")
    return value


def known(value: Any) -> np.ndarray | None:
    """A value if it is concrete; None if it is traced by jit.

    Under a bare `vmap` this is the whole batch.
    """
    # JAX has no public name for this; should it change, nothing counts as known.
    while type(value).__name__ == "BatchTracer" and hasattr(value, "val"):
        value = value.val
    return None if isinstance(value, jax.core.Tracer) else np.asarray(value)


def whole_or_traced(what: str, value: Any, low: int, high: int) -> Any:
    """Like `whole`, but traced values are returned unchanged.

    Their type and shape are still checked, and under a bare `vmap` their range, too.
    """
    if shape := getattr(value, "shape", ()):
        raise InputError(f"{what} is one number, not an array {list(shape)}: use vmap")
    if not isinstance(value, jax.core.Tracer):
        return whole(what, value, low, high)
    if not jax.numpy.issubdtype(value.dtype, np.integer):
        raise InputError(f"{what} is of type {value.dtype}, not a whole number")
    if (numbers := known(value)) is not None and numbers.size:
        for extreme in (numbers.min(), numbers.max()):
            whole(what, extreme, low, high)
    return value
