"""Suites by name, or from a user's YAML file.

    name: near_the_end              # the file's name if left out
    judged: [last_fifth]            # what the verdict is based on; see `coinrun_jax.suites.Suite`
    axis: share of the way          # label for a curve over conditions with a `position`
    conditions:
      - name: end
      - name: last_fifth
        title: in the last fifth of the way
        control: true               # adds the same with the object taken away

The other keys of a condition are the testbed's own: see its `condition`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coinrun_jax.checks import InputError, shown
from coinrun_jax.files import read_yaml
from coinrun_jax.suites import MOST_CONDITIONS, Condition, Suite, text
from coinrun_jax.testbed import Testbed

_KEYS = ("name", "conditions", "judged", "axis")


def find_suite(testbed: Testbed, name: str) -> Suite:
    """The testbed's suite of that name, or of the YAML file of that path.

    Raises:
      InputError: if there is none, or it is invalid.
    """
    suites = testbed.suites()
    if name in suites:
        return suites[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"suite {shown(name)} is not one of {', '.join(suites)}, nor a YAML file")
    content = read_yaml(path, "suite")
    try:
        return _suite(testbed, content, path.stem)
    except InputError as error:
        raise InputError(f"suite {shown(name)}: {error}") from error


def _suite(testbed: Testbed, content: Any, stem: str) -> Suite:
    if not isinstance(content, dict) or not isinstance(content.get("conditions"), list):
        raise InputError("it must have a list of `conditions`")
    for key in content:
        if key not in _KEYS:
            raise InputError(f"the suite has no {shown(key)}; allowed: {', '.join(_KEYS)}")
    if (count := len(content["conditions"])) > MOST_CONDITIONS:
        raise InputError(f"{count:,} conditions; at most {MOST_CONDITIONS} are allowed")
    conditions: list[Condition] = []
    for number, entry in enumerate(content["conditions"], start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InputError(f"condition {number} must have a name")
        conditions += testbed.condition(dict(entry))
    judged = content.get("judged", [])
    if not isinstance(judged, list) or not all(isinstance(each, str) for each in judged):
        raise InputError(f"judged {shown(judged)} is not a list of conditions")
    name = content.get("name", stem)
    if isinstance(name, str) and name in testbed.suites():
        raise InputError(f"{name!r} is the name of one of the environment's suites; give another")
    axis = text("axis", content.get("axis", ""))
    return Suite(name, tuple(conditions), tuple(judged), axis=axis)
