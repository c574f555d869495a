"""Suites of one's own, as YAML.

    name: near_the_end              # the file's name if left out
    judged: [last_fifth]            # what the verdict reads; see `suites.Suite`
    conditions:
      - name: end
      - name: last_fifth
        title: coin in the last fifth of the way
        placement: fraction
        fraction: [0.8, 1.0]
        control: true               # adds the same with the coin taken away
      - name: red_on_long_levels
        placement: uniform
        cues: {coin_look: red}
        levels: {min_length: 30}

A condition's keys are the fields of `suites.Condition`, those of `levels` the fields of
`suites.LevelSet`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from eval.catalogue import SUITES
from eval.suites import Condition, LevelSet, Suite, control

_FIELDS = {field.name for field in dataclasses.fields(Condition)} - {"control_of"}
_LEVEL_FIELDS = {field.name for field in dataclasses.fields(LevelSet)}
_TUPLES = ("fraction", "cell")
_TYPES = {"title": str, "placement": str, "moved": bool, "present": bool, "control": bool}


class SuiteError(ValueError):
    """A suite that does not exist or makes no sense: says what is wrong with it."""


def find_suite(name: str) -> Suite:
    """The suite of that name, or of the YAML file of that path.

    Raises:
      SuiteError: where there is none.
    """
    if name in SUITES:
        return SUITES[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise SuiteError(f"suite {name!r} is not one of {', '.join(SUITES)}, nor a YAML file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _suite(content, path.stem)
    except OSError as error:
        raise SuiteError(f"cannot read suite {name}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())
        raise SuiteError(f"suite {name} is no YAML: {words}") from error
    except (TypeError, ValueError) as error:
        raise SuiteError(f"suite {name}: {error}") from error


def _suite(content: Any, name: str) -> Suite:
    if not isinstance(content, dict) or not isinstance(content.get("conditions"), list):
        raise ValueError("it must have a list of `conditions`")
    _require_known(content, {"name", "conditions", "judged"}, "the suite")
    conditions: list[Condition] = []
    for number, entry in enumerate(content["conditions"], start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ValueError(f"condition {number} must have a name")
        conditions += _conditions(dict(entry))
    judged = content.get("judged", [])
    if not isinstance(judged, list):
        raise ValueError(f"judged {judged!r} is no list of conditions")
    name = str(content.get("name", name))
    if name in SUITES:
        raise ValueError(f"the name {name!r} belongs to a suite of the catalogue; give it another")
    return Suite(name, tuple(conditions), tuple(judged))


def _conditions(entry: dict[str, Any]) -> list[Condition]:
    """The condition of an entry, and its control if it asks for one."""
    name = entry["name"]
    _require_known(entry, _FIELDS | {"control"}, f"condition {name!r}")
    for key, kind in _TYPES.items():
        if not isinstance(entry.get(key, kind()), kind):
            raise ValueError(f"{key} {entry[key]!r} of condition {name!r} is no {kind.__name__}")
    wants_control = entry.pop("control", False)
    levels = entry.pop("levels", {})
    _require_known(levels, _LEVEL_FIELDS, f"levels of condition {name!r}")
    for key in _TUPLES:
        if key in entry:
            if not isinstance(entry[key], list) or len(entry[key]) != 2:
                raise ValueError(f"{key} {entry[key]!r} of condition {name!r} is no list of two")
            entry[key] = tuple(entry[key])
    condition = Condition(**entry, levels=LevelSet(**levels))
    return [condition, control(condition)] if wants_control else [condition]


def _require_known(entry: Any, known: set[str], what: str) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{what} must be a mapping, not {entry!r}")
    for key in entry:
        if key not in known:
            raise ValueError(f"{what} has no {key!r}; allowed are {', '.join(sorted(known))}")
