"""What is played: conditions, each a way to set up the same held-out levels, and suites of them.

A condition is a set of named parameters of the environment; nothing about it is compiled. Its
*control* is the same with the coin taken away, which tells how often the coin's cell is
passed by accident.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from coinrun_jax.checks import InputError, choice, flag, real, shown, whole
from coinrun_jax.coinrun.cues import make_cues
from coinrun_jax.coinrun.generator import FIRST_SECTION_X, MODES
from coinrun_jax.coinrun.items import make_items
from coinrun_jax.coinrun.placement import make_placement, parse_mixture
from coinrun_jax.coinrun.types import MAX_SECTIONS, WORLD_SIZE
from coinrun_jax.files import require_plain_name

CONTROL = "_control"
"""What the name of a control ends in."""
DIFFICULTIES = (1, 2, 3)
MOST_CONDITIONS = 500
LONGEST_TEXT = 300  # characters of a title or a placement
_CUES = set(inspect.signature(make_cues).parameters)
_ITEMS = set(inspect.signature(make_items).parameters) - {"coin_look"}  # the coin's own cue
_FURTHER_SETTINGS = ("fraction", "fixed")
"""Placements of which the name alone does not say where the coin lies."""
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class LevelSet:
    """Which of the held-out levels; by default all of them.

    Raises:
      InputError: for what no level is.
    """

    mode: str | None = None
    """hard or easy; None for the one that the agent was trained in."""
    difficulty: int | None = None
    sections: int | None = None
    min_length: int = 0
    """Column that the end of the level at least lies in."""

    def __post_init__(self) -> None:
        if self.mode is not None:
            choice("mode", self.mode, MODES)
        if self.difficulty is not None:
            whole("difficulty", self.difficulty, DIFFICULTIES[0], DIFFICULTIES[-1])
        if self.sections is not None:
            whole("sections", self.sections, 1, MAX_SECTIONS)
        whole("min_length", self.min_length, 0, WORLD_SIZE - 1)
        furthest = [first + len(chances) - 1 for first, chances in self._ends()]
        if not furthest:
            raise InputError(
                f"no level of difficulty {self.difficulty} has {self.sections} sections"
            )
        if self.min_length > max(furthest):
            raise InputError(
                f"min_length {self.min_length} is beyond the end of every such level; the furthest "
                f"lies in column {max(furthest)}"
            )

    def _ends(self) -> Iterator[tuple[int, np.ndarray]]:
        """Where levels of the set end, whatever their length: a first column, and how probable
        it and those right of it are. Follows `coinrun_jax.coinrun.generator`.
        """
        for difficulty in DIFFICULTIES:
            width = np.full(2 * difficulty, 1 / (2 * difficulty))  # of a section, beyond the least
            least = 3 + difficulty // 3
            for sections in range(difficulty, 2 * difficulty):
                if self.difficulty in (None, difficulty) and self.sections in (None, sections):
                    chances = np.ones(1) / len(DIFFICULTIES) / difficulty
                    for _ in range(sections):
                        chances = np.convolve(chances, width)
                    yield FIRST_SECTION_X + sections * least, chances

    def __str__(self) -> str:
        words = [self.mode] if self.mode else []
        words += [f"of difficulty {self.difficulty}"] if self.difficulty else []
        words += [f"of {self.sections} sections"] if self.sections else []
        words += [f"with the end in column {self.min_length} or later"] if self.min_length else []
        return ", ".join(words) or "any"

    @property
    def share(self) -> float:
        """How many of all levels belong to it, on average."""
        return sum(
            float(chances[max(0, self.min_length - first) :].sum())
            for first, chances in self._ends()
        )


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not value.isprintable():
        raise InputError(
            f"{what} {shown(value)} is not text of up to {LONGEST_TEXT} printable characters"
        )
    return value


def _name(what: str, value: Any) -> str:
    """Of what has a row of its own in every table."""
    return _text(what, require_plain_name(what, value))


def _pair(what: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InputError(f"{what} {shown(value)} is not a list of two")
    return value[0], value[1]


def _arguments(what: str, value: Any, allowed: set[str]) -> None:
    if not isinstance(value, Mapping):
        raise InputError(f"{what} {shown(value)} must be a mapping")
    for key in value:
        if not isinstance(key, str) or key not in allowed:
            raise InputError(f"{what}: no {shown(key)}; there are {', '.join(sorted(allowed))}")


@dataclass(frozen=True)
class Condition:
    """One way to set a level up.

    Raises:
      InputError: for a field that is of another type or out of range.
    """

    name: str
    title: str = ""
    """In words, for tables and figures; the name if left out."""
    placement: str = "end"
    """Where the coin lies: a name or mixture of `coinrun_jax.coinrun.placement.CATALOGUE`."""
    fraction: tuple[float, float] = (0.0, 1.0)
    """Range of the share of the way, for placement "fraction"."""
    cell: tuple[int, int] | None = None
    """Column and row, for placement "fixed"."""
    moved: bool = True
    """False leaves the coin at the end; `placement` still names the cell that is watched."""
    present: bool = True
    """False takes the coin away; its cell is watched instead."""
    control_of: str | None = None
    """The condition that this is the control of."""
    cues: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `coinrun_jax.make_cues` that differ from training."""
    items: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `coinrun_jax.make_items` that differ from training."""
    levels: LevelSet = LevelSet()

    def __post_init__(self) -> None:
        _name("condition", self.name)
        try:
            self._require_fields()
        except InputError as error:
            raise InputError(f"condition {shown(self.name)}: {error}") from error
        if not self.title:
            object.__setattr__(self, "title", self.name.replace("_", " "))

    def _require_fields(self) -> None:
        _text("title", self.title)
        _text("placement", self.placement)
        low, high = (real("fraction", each, 0, 1) for each in _pair("fraction", self.fraction))
        object.__setattr__(self, "fraction", (low, high))
        if self.cell is not None:
            x, y = (whole("cell", each, 1, WORLD_SIZE - 2) for each in _pair("cell", self.cell))
            object.__setattr__(self, "cell", (x, y))
        flag("moved", self.moved)
        flag("present", self.present)
        if self.control_of is not None:
            _name("control_of", self.control_of)
        _arguments("cues", self.cues, _CUES)
        _arguments("items", self.items, _ITEMS)
        if not isinstance(self.levels, LevelSet):
            raise InputError(f"levels {shown(self.levels)} are no LevelSet")

    @property
    def coin_at(self) -> str:
        """Where the coin is, or would be were it not taken away."""
        at_the_end = not self.moved or (self.placement == "fraction" and self.fraction == (1, 1))
        return "end" if at_the_end else self.placement

    @property
    def has_coin(self) -> bool:
        """Whether there is a coin to fetch."""
        return self.present and self.coin_at != "absent"

    @property
    def tells_coin_from_end(self) -> bool:
        """Whether fetching the coin and reaching the end are different things here: in every
        episode, so that no mixture with the end, or with no coin, is one.
        """
        mixture = parse_mixture(self.coin_at)
        return self.has_coin and not any(mixture.get(name) for name in ("end", "absent"))

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the coin's place differs from training."""
        return not self.cues and not self.items and self.levels == LevelSet()

    def settings(
        self, cues: Mapping[str, Any] = _NOTHING, items: Mapping[str, Any] = _NOTHING
    ) -> dict[str, Any]:
        """Fields of the environment's params, by name.

        Args:
          cues, items: of training, for what the condition leaves alone; as the fields.

        Raises:
          InputError: for a placement, cue or item that does not exist or cannot be.
        """
        try:
            cues = {**cues, **self.cues}
            return {
                "placement": make_placement(
                    self.placement,
                    1.0 if self.moved else 0.0,
                    self.present,
                    fraction=self.fraction,
                    cell=self.cell,
                ),
                "cues": make_cues(**cues),
                "items": make_items(
                    coin_look=cues.get("coin_look", "gold"), **{**items, **self.items}
                ),
            }
        except (TypeError, ValueError) as error:
            raise InputError(f"condition {shown(self.name)}: {error}") from error


def control(condition: Condition) -> Condition:
    """The same with the coin taken away."""
    return replace(
        condition,
        name=condition.name + CONTROL,
        title=f"{condition.title}, then taken away",
        present=False,
        control_of=condition.name,
    )


def with_control(condition: Condition) -> tuple[Condition, Condition]:
    """A condition and its control."""
    return condition, control(condition)


@dataclass(frozen=True)
class Suite:
    """Conditions to compare.

    Raises:
      InputError: where names repeat, a control is the control of nothing in the suite, or a
        condition cannot be set up.
    """

    name: str
    conditions: tuple[Condition, ...]
    judged: tuple[str, ...] = ()
    """Conditions that a verdict on what the agent is after reads. Left out, all those with a
    control in which only the coin's place differs from training."""

    def __post_init__(self) -> None:
        _name("suite", self.name)
        try:
            self._require_conditions()
            self._require_judged()
        except InputError as error:
            raise InputError(f"suite {shown(self.name)}: {error}") from error

    def _require_conditions(self) -> None:
        if not 0 < len(self.conditions) <= MOST_CONDITIONS:
            raise InputError(
                f"{len(self.conditions):,} conditions with their controls; 1 ... {MOST_CONDITIONS} "
                "can be"
            )
        by_name: dict[str, Condition] = {}
        for condition in self.conditions:
            condition.settings()
            if condition.name in by_name:
                raise InputError(f"two conditions are called {shown(condition.name)}")
            by_name[condition.name] = condition
        for condition in self.conditions:
            if condition.control_of is None:
                continue
            controlled = by_name.get(condition.control_of)
            if condition.present or controlled is None:
                raise InputError(
                    f"{shown(condition.name)} is no control of {shown(condition.control_of)}"
                )
            if not controlled.tells_coin_from_end:
                raise InputError(
                    f"{shown(controlled.name)} takes no control: a coin that is, or may be, at the "
                    "end or absent cannot be told from the end"
                )

    def _require_judged(self) -> None:
        """Whether what is judged can be; where nothing is named, choose."""
        controlled = {condition.control_of for condition in self.conditions}
        can_judge = {
            condition.name: condition
            for condition in self.conditions
            if condition.tells_coin_from_end and condition.name in controlled
        }
        for name in self.judged:
            if name not in can_judge:
                raise InputError(
                    f"{shown(name)} cannot be judged by; it takes a coin away from the end, and a "
                    "control"
                )
        if not self.judged:
            plain = tuple(name for name, condition in can_judge.items() if condition.is_plain)
            object.__setattr__(self, "judged", plain)

    @property
    def at_the_end(self) -> str | None:
        """The condition with the coin at the end and all else as in training."""
        return self._plain("end")

    def as_trained(self, placement: str, p: float) -> str | None:
        """The condition with the coin where most training episodes had it, all else as there.

        Args:
          placement: of training, for the coin that did not stay at the end.
          p: share of those episodes.
        """
        return self._plain(placement if p > 0.5 else "end")

    def _plain(self, coin_at: str) -> str | None:
        if coin_at in _FURTHER_SETTINGS:
            return None
        for condition in self.conditions:
            if condition.has_coin and condition.coin_at == coin_at and condition.is_plain:
                return condition.name
        return None

    def index(self, name: str) -> int:
        """Position of a condition."""
        return [condition.name for condition in self.conditions].index(name)

    def control_of(self, name: str) -> Condition | None:
        """The control of a condition, if the suite has it."""
        for condition in self.conditions:
            if condition.control_of == name:
                return condition
        return None
