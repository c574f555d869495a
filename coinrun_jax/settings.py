"""Settings as frozen dataclasses, built from nested mappings, with every type checked."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from coinrun_jax.checks import InputError, choice, flag, real, shown, whole

Settings = TypeVar("Settings")
_LARGEST_INTEGER = 2**63 - 1


def from_mapping(cls: type[Settings], values: Any, section: str = "") -> Settings:
    """An instance with the given values; missing fields keep their defaults.

    Args:
      section: dotted name of the section, for messages.

    Raises:
      InputError: for an unknown key, or a value that the class refuses.
    """
    if not isinstance(values, dict):
        raise InputError(f"{section or 'config'} is {shown(values)}, not a mapping of settings")
    hints = get_type_hints(cls)
    allowed = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    arguments = {}
    for name, value in values.items():
        where = f"{section}.{name}" if section else str(name)
        if name not in allowed:
            raise InputError(f"unknown setting {shown(where)}; allowed: {', '.join(allowed)}")
        nested = dataclasses.is_dataclass(hints[name])
        arguments[name] = from_mapping(hints[name], value, where) if nested else value
    return cls(**arguments)


def require_types(settings: Any, section: str) -> None:
    """Check every field of a frozen dataclass against its annotation on creation.

    Lists are accepted as tuples, and integers and numeric text as floats: YAML 1.1 reads 5e-4
    as text.

    Raises:
      InputError: for a value of the wrong type.
    """
    for name, hint in get_type_hints(type(settings)).items():
        where = f"{section}.{name}" if section else name
        object.__setattr__(settings, name, _typed(where, getattr(settings, name), hint))


def _typed(where: str, value: Any, hint: Any) -> Any:
    options = get_args(hint)
    if dataclasses.is_dataclass(hint) or get_origin(hint) is dict:
        if not isinstance(value, get_origin(hint) or hint):
            raise InputError(f"{where} is {shown(value)}, not a mapping of settings")
        return value
    if get_origin(hint) is Literal:
        return choice(where, value, options)
    if get_origin(hint) is tuple:
        length = None if options[-1] is ... else len(options)
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            raise InputError(f"{where} {shown(value)} is not a list of {length or 'names'}")
        return tuple(_typed(where, each, options[0]) for each in value)
    if type(None) in options:
        return None if value is None else _typed(where, value, options[0])
    if hint is int:
        return whole(where, value, -_LARGEST_INTEGER, _LARGEST_INTEGER)
    if hint is float:
        return real(where, _number(value))
    if hint is bool:
        return flag(where, value)
    if not isinstance(value, hint):
        raise InputError(f"{where} {shown(value)} is not text")
    return value


def _number(value: Any) -> Any:
    """Convert text to a number, if it is one."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
