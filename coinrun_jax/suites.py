"""Suites of conditions, each of which is one way to set up the same held-out levels.

A condition differs from training in named settings of the environment, all of which are traced.
A *control* of a condition is the same condition with one object taken away, on the same levels
and with the same random numbers: it measures how often an agent touches that object's cell by
accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from coinrun_jax.checks import InputError, shown
from coinrun_jax.files import require_plain_name

CONTROL = "_control"
"""Suffix of a control's name."""
MOST_CONDITIONS = 500
LONGEST_TEXT = 300  # characters of a title


def text(what: str, value: Any) -> str:
    """A line of text for a table.

    Raises:
      InputError: for anything else.
    """
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not value.isprintable():
        raise InputError(
            f"{what} {shown(value)} is not text of up to {LONGEST_TEXT} printable characters"
        )
    return value


def name(what: str, value: Any) -> str:
    """The name of a row in every table.

    Raises:
      InputError: for anything else.
    """
    return text(what, require_plain_name(what, value))


@dataclass(frozen=True)
class Control:
    """What a control takes away from its condition."""

    of: str
    """Name of the condition."""
    takes: str
    """Event of the object that is taken away."""
    watched: str
    """Event that stands for the object's empty cell in the control."""


@dataclass(frozen=True)
class Condition:
    """One way to set up a level. Testbeds make them; see `Testbed.condition`.

    Raises:
      InputError: for a name or title that cannot be used in a table.
    """

    name: str
    title: str = ""
    """For tables and figures; by default the name."""
    settings: Any = field(default_factory=dict)
    """How the level is set up, in the form that the testbed's `overrides` expects; by default a
    mapping from fields of the environment's params to their values."""
    has_goal: bool = True
    """Whether the goal is there to be reached."""
    apart: bool = False
    """Whether goal and proxy are different things in every episode."""
    plain: bool = True
    """Whether it differs from training only in where an object is, if at all."""
    control: Control | None = None
    """Only for controls."""
    also: tuple[str, ...] = ()
    """Further events whose rates are reported, such as a decoy's."""
    levels: Any = None
    """Which held-out levels, in the testbed's own form; None for all."""
    position: float | None = None
    """Position on the horizontal axis of a curve over conditions, if the suite has one."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Constant columns of the condition's rows in episodes.csv."""

    def __post_init__(self) -> None:
        name("condition", self.name)
        try:
            text("title", self.title)
        except InputError as error:
            raise InputError(f"condition {shown(self.name)}: {error}") from error
        if not self.title:
            object.__setattr__(self, "title", self.name.replace("_", " "))

    @property
    def control_of(self) -> str | None:
        """Name of the condition that this is a control of."""
        return None if self.control is None else self.control.of


def make_control(
    condition: Condition, takes: str, watched: str, suffix: str = CONTROL, **changes: Any
) -> Condition:
    """A control of a condition.

    Args:
      takes: event of the object that is taken away.
      watched: event that stands for its empty cell.
      suffix: of the control's name.
      **changes: fields of the condition that take the object away; `apart` becomes False.
    """
    control = Control(condition.name, takes, watched)
    values = {"title": f"{condition.title}, {takes} taken away", "apart": False, **changes}
    return replace(
        condition, name=condition.name + suffix, control=control, position=None, also=(), **values
    )


@dataclass(frozen=True)
class Suite:
    """Conditions to compare.

    Raises:
      InputError: if names repeat, or a control does not fit its condition.
    """

    name: str
    conditions: tuple[Condition, ...]
    judged: tuple[str, ...] = ()
    """Conditions that the verdict is based on; their first controls all take the same object away.
    By default these are all plain ones with goal and proxy apart and a control, except those whose
    object differs from that of the first one."""
    axis: str = ""
    """Title of the horizontal axis, if conditions have a `position`."""
    screened: bool = False
    """Whether levels are screened by a reference agent, as in Langosco et al. (2022); then the
    first condition is as in training, and the second has goal and proxy apart."""

    def __post_init__(self) -> None:
        name("suite", self.name)
        try:
            self._require_conditions()
            self._require_judged()
        except InputError as error:
            raise InputError(f"suite {shown(self.name)}: {error}") from error

    def _require_conditions(self) -> None:
        if not 0 < len(self.conditions) <= MOST_CONDITIONS:
            raise InputError(
                f"{len(self.conditions):,} conditions, controls included; "
                f"1 ... {MOST_CONDITIONS} are allowed"
            )
        by_name: dict[str, Condition] = {}
        for condition in self.conditions:
            if condition.name in by_name:
                raise InputError(f"two conditions are called {shown(condition.name)}")
            by_name[condition.name] = condition
        for condition in self.conditions:
            if condition.control is None:
                continue
            controlled = by_name.get(condition.control.of)
            if controlled is None or controlled.control is not None:
                raise InputError(
                    f"{shown(condition.name)} is a control of {shown(condition.control.of)}, "
                    "which is not a condition of this suite"
                )
            if not controlled.apart:
                raise InputError(
                    f"{shown(controlled.name)} cannot have a control: goal and proxy may be the "
                    "same thing there"
                )

    def _require_judged(self) -> None:
        """Check `judged`, or choose it if it is empty."""
        taken: dict[str, str] = {}
        """By condition, the object that its first control takes away."""
        for each in self.conditions:
            if each.control is not None:
                taken.setdefault(each.control.of, each.control.takes)
        for name in self.judged:
            if name not in taken:
                raise InputError(
                    f"{shown(name)} cannot be judged: it needs a control, and goal and proxy apart"
                )
        if len({taken[name] for name in self.judged}) > 1:
            raise InputError(
                "judged conditions must all have the same object taken away in their first control"
            )
        if not self.judged:
            plain = [each.name for each in self.conditions if each.plain and each.name in taken]
            judged = tuple(name for name in plain if taken[name] == taken[plain[0]])
            object.__setattr__(self, "judged", judged)

    def index(self, name: str) -> int:
        """Index of a condition."""
        return [condition.name for condition in self.conditions].index(name)

    def controls_of(self, name: str) -> tuple[Condition, ...]:
        """The suite's controls of a condition."""
        return tuple(each for each in self.conditions if each.control_of == name)
