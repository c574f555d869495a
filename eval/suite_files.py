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

from coinrun_jax.checks import InputError, flag, shown
from coinrun_jax.files import read_yaml
from eval.catalogue import SUITES
from eval.suites import MOST_CONDITIONS, Condition, LevelSet, Suite, control

_FIELDS = {field.name for field in dataclasses.fields(Condition)} - {"control_of"}
_LEVEL_FIELDS = {field.name for field in dataclasses.fields(LevelSet)}


def find_suite(name: str) -> Suite:
    """The suite of that name, or of the YAML file of that path.

    Raises:
      InputError: where there is none, or it makes no sense.
    """
    if name in SUITES:
        return SUITES[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"suite {shown(name)} is not one of {', '.join(SUITES)}, nor a YAML file")
    content = read_yaml(path, "suite")
    try:
        return _suite(content, path.stem)
    except InputError as error:
        raise InputError(f"suite {shown(name)}: {error}") from error


def _suite(content: Any, stem: str) -> Suite:
    if not isinstance(content, dict) or not isinstance(content.get("conditions"), list):
        raise InputError("it must have a list of `conditions`")
    _require_known(content, {"name", "conditions", "judged"}, "the suite")
    if (count := len(content["conditions"])) > MOST_CONDITIONS:
        raise InputError(f"{count:,} conditions; at most {MOST_CONDITIONS} can be")
    conditions: list[Condition] = []
    for number, entry in enumerate(content["conditions"], start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InputError(f"condition {number} must have a name")
        conditions += _conditions(dict(entry))
    judged = content.get("judged", [])
    if not isinstance(judged, list) or not all(isinstance(each, str) for each in judged):
        raise InputError(f"judged {shown(judged)} is not a list of conditions")
    name = content.get("name", stem)
    if isinstance(name, str) and name in SUITES:
        raise InputError(f"the name {name!r} belongs to a suite of the catalogue; give it another")
    return Suite(name, tuple(conditions), tuple(judged))


def _conditions(entry: dict[str, Any]) -> list[Condition]:
    """The condition of an entry, and its control if it asks for one."""
    what = f"condition {shown(entry['name'])}"
    _require_known(entry, _FIELDS | {"control"}, what)
    wants_control = flag(f"{what}: control", entry.pop("control", False))
    levels = entry.pop("levels", {})
    _require_known(levels, _LEVEL_FIELDS, f"{what}: levels")
    try:
        level_set = LevelSet(**levels)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    condition = Condition(**entry, levels=level_set)
    return [condition, control(condition)] if wants_control else [condition]


def _require_known(entry: Any, known: set[str], what: str) -> None:
    if not isinstance(entry, dict):
        raise InputError(f"{what} must be a mapping, not {shown(entry)}")
    for key in entry:
        if key not in known:
            raise InputError(f"{what} has no {shown(key)}; there are {', '.join(sorted(known))}")
