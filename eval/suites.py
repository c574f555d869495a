"""What is played: conditions, each a way to set up the same held-out levels, and suites of them.

A condition is a set of named parameters of the environment; nothing about it is compiled. Its
*control* is the same with the coin taken away, which tells how often the coin's cell is
passed by accident.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from coinrun_jax.cues import make_cues
from coinrun_jax.generator import MODES
from coinrun_jax.items import make_items
from coinrun_jax.placement import make_placement, parse_mixture
from coinrun_jax.types import MAX_SECTIONS, WORLD_SIZE

CONTROL = "_control"
"""What the name of a control ends in."""
DIFFICULTIES = (1, 2, 3)
_FURTHER_SETTINGS = ("fraction", "fixed")
"""Placements of which the name alone does not say where the coin lies."""
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class LevelSet:
    """Which of the held-out levels; by default all of them.

    Raises:
      ValueError: for what no level is.
    """

    mode: str | None = None
    """hard or easy; None for the one that the agent was trained in."""
    difficulty: int | None = None
    sections: int | None = None
    min_length: int = 0
    """Column that the end of the level at least lies in."""

    def __post_init__(self) -> None:
        _require_one_of("mode", self.mode, (None, *MODES))
        _require_one_of("difficulty", self.difficulty, (None, *DIFFICULTIES))
        _require_one_of("sections", self.sections, (None, *range(1, MAX_SECTIONS + 1)))
        if not 0 <= self.min_length < WORLD_SIZE:
            raise ValueError(f"min_length {self.min_length} is not within 0 ... {WORLD_SIZE - 1}")
        least = self.difficulty is not None and self.sections is not None
        if least and not self.difficulty <= self.sections < 2 * self.difficulty:  # type: ignore[operator]
            raise ValueError(
                f"no level of difficulty {self.difficulty} has {self.sections} sections"
            )


def _require_one_of(what: str, value: Any, allowed: Iterable[Any]) -> None:
    if value not in allowed:
        names = ", ".join(str(each) for each in allowed if each is not None)
        raise ValueError(f"{what} {value!r} is not one of {names}")


@dataclass(frozen=True)
class Condition:
    """One way to set a level up."""

    name: str
    title: str = ""
    """In words, for tables and figures; the name if left out."""
    placement: str = "end"
    """Where the coin lies: a name or mixture of `coinrun_jax.placement.CATALOGUE`."""
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
        if not self.title:
            object.__setattr__(self, "title", self.name.replace("_", " "))

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
          ValueError: for a placement, cue or item that does not exist or cannot be.
        """
        cues = {**cues, **self.cues}
        try:
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
            raise ValueError(f"condition {self.name!r}: {error}") from error


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
      ValueError: where names repeat, a control is the control of nothing in the suite, or a
        condition cannot be set up.
    """

    name: str
    conditions: tuple[Condition, ...]
    judged: tuple[str, ...] = ()
    """Conditions that a verdict on what the agent is after reads. Left out, all those with a
    control in which only the coin's place differs from training."""

    def __post_init__(self) -> None:
        names = [condition.name for condition in self.conditions]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"suite {self.name!r}: conditions {names} must be some, and differ")
        by_name = dict(zip(names, self.conditions, strict=True))
        for condition in self.conditions:
            condition.settings()
            controlled = condition.control_of
            if controlled is None:
                continue
            if condition.present or controlled not in names:
                raise ValueError(
                    f"suite {self.name!r}: {condition.name!r} is no control of {controlled!r}"
                )
            if not by_name[controlled].tells_coin_from_end:
                raise ValueError(
                    f"suite {self.name!r}: {controlled!r} takes no control: a coin that is, or may "
                    "be, at the end or absent cannot be told from the end"
                )
        can_judge = tuple(
            condition.name
            for condition in self.conditions
            if condition.tells_coin_from_end and self.control_of(condition.name)
        )
        if not self.judged:
            plain = {condition.name for condition in self.conditions if condition.is_plain}
            judged = tuple(name for name in can_judge if name in plain)
            object.__setattr__(self, "judged", judged)
        for name in self.judged:
            if name not in can_judge:
                raise ValueError(
                    f"suite {self.name!r}: {name!r} cannot be judged by; it takes a coin away "
                    "from the end, and a control"
                )

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
