"""What is asked of values from outside: whole numbers, finite numbers, yes or no.

Every function returns the value, as Python's own type, or raises an `InputError` that says
what it is of, what was given and what is allowed.
"""

from __future__ import annotations

import math
import numbers
import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np

LARGEST_FLOAT = float(np.finfo(np.float32).max)
_LONGEST = 80  # characters of a value in a message
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = _LONGEST


class InputError(ValueError):
    """Input that cannot be used; its message is one line: what, where, and what is allowed."""


def shown(value: Any) -> str:
    """`repr` of a value, or its beginning: a message stays one line whatever it is about."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    text = " ".join(_repr.repr(value).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def one_line(error: object) -> str:
    """The first words of an error, without line breaks."""
    text = " ".join(str(error).split()) or repr(error)
    return text if len(text) <= 400 else text[:397] + "..."


def _scalar(value: Any) -> Any:
    """NumPy's and jax's scalars as Python's."""
    if isinstance(value, np.generic) or (hasattr(value, "dtype") and np.ndim(value) == 0):
        return np.asarray(value).item()
    return value


def whole(what: str, value: Any, low: int, high: int) -> int:
    """An integer in [low, high]; no boolean, and no float even where it has no fraction."""
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
