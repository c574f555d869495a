"""CoinRun's conditions: where the coin is, and what else differs from training."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from coinrun_jax.checks import InputError, flag, real, shown, whole
from coinrun_jax.coinrun.cues import make_cues
from coinrun_jax.coinrun.items import make_items
from coinrun_jax.coinrun.level_sets import LevelSet
from coinrun_jax.coinrun.placement import make_placement, parse_mixture
from coinrun_jax.coinrun.types import WORLD_SIZE
from coinrun_jax.suites import Condition, make_control, text

COIN, GHOST, ITEM = "coin", "ghost", "item"
_CUES = set(inspect.signature(make_cues).parameters)
_ITEMS = set(inspect.signature(make_items).parameters) - {"coin_look"}  # the coin's own cue
_NOTHING: Mapping[str, Any] = {}


def _pair(what: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InputError(f"{what} {shown(value)} is not a list of two")
    return value[0], value[1]


def _arguments(what: str, value: Any, allowed: set[str]) -> None:
    if not isinstance(value, Mapping):
        raise InputError(f"{what} {shown(value)} must be a mapping")
    for key in value:
        if not isinstance(key, str) or key not in allowed:
            raise InputError(f"{what}: no {shown(key)}; allowed: {', '.join(sorted(allowed))}")


@dataclass(frozen=True)
class CoinSettings:
    """How a condition sets up a level.

    Raises:
      InputError: for a field of the wrong type or out of range.
    """

    placement: str = "end"
    """Where the coin is: a name or mixture of `placement.CATALOGUE`."""
    fraction: tuple[float, float] = (0.0, 1.0)
    """Range of fractions of the way, for placement "fraction"."""
    cell: tuple[int, int] | None = None
    """Column and row, for placement "fixed"."""
    moved: bool = True
    """False leaves the coin at the end; `placement` still names the cell that is watched."""
    present: bool = True
    """False takes the coin away; its cell is watched instead."""
    cues: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `make_cues` that differ from training."""
    items: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `make_items` that differ from training."""

    def __post_init__(self) -> None:
        text("placement", self.placement)
        low, high = (real("fraction", each, 0, 1) for each in _pair("fraction", self.fraction))
        object.__setattr__(self, "fraction", (low, high))
        if self.cell is not None:
            x, y = (whole("cell", each, 1, WORLD_SIZE - 2) for each in _pair("cell", self.cell))
            object.__setattr__(self, "cell", (x, y))
        flag("moved", self.moved)
        flag("present", self.present)
        _arguments("cues", self.cues, _CUES)
        _arguments("items", self.items, _ITEMS)

    @property
    def coin_at(self) -> str:
        """Where the coin is, or would be if it were not taken away."""
        at_the_end = not self.moved or (self.placement == "fraction" and self.fraction == (1, 1))
        return "end" if at_the_end else self.placement

    @property
    def has_coin(self) -> bool:
        """Whether there is a coin to fetch."""
        return self.present and self.coin_at != "absent"

    @property
    def apart(self) -> bool:
        """Whether fetching the coin and reaching the end are different things in every episode,
        which a mixture with the end, or with no coin, does not ensure.
        """
        mixture = parse_mixture(self.coin_at)
        return self.has_coin and not any(mixture.get(name) for name in ("end", "absent"))

    def overrides(
        self, cues: Mapping[str, Any] = _NOTHING, items: Mapping[str, Any] = _NOTHING
    ) -> dict[str, Any]:
        """Fields of the environment's params, by name.

        Args:
          cues, items: of training, in the form of the fields, which take precedence.

        Raises:
          InputError: for a placement, cue or item that does not exist or is invalid.
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
            raise InputError(str(error)) from error


def coin_condition(
    name: str,
    title: str = "",
    levels: LevelSet | None = None,
    position: float | None = None,
    **settings: Any,
) -> Condition:
    """A condition of CoinRun.

    Args:
      settings: fields of `CoinSettings`.

    Raises:
      InputError: for settings that cannot be used.
    """
    levels = levels or LevelSet()
    try:
        coin = CoinSettings(**settings)
        coin.overrides()
    except InputError as error:
        raise InputError(f"condition {shown(name)}: {error}") from error
    return Condition(
        name=name,
        title=title,
        settings=coin,
        has_goal=coin.has_coin,
        apart=coin.apart,
        plain=not coin.cues and not coin.items and levels == LevelSet(),
        also=(ITEM,) if coin.items else (),
        levels=levels,
        position=position,
        columns={"placement": coin.coin_at},
    )


def without_coin(condition: Condition) -> Condition:
    """The condition's control: the same with the coin taken away."""
    return make_control(
        condition,
        COIN,
        GHOST,
        title=f"{condition.title}, then taken away",
        settings=replace(condition.settings, present=False),
        has_goal=False,
        apart=False,
    )


def with_control(condition: Condition) -> tuple[Condition, Condition]:
    """A condition and its control."""
    return condition, without_coin(condition)


def read_condition(entry: dict[str, Any]) -> list[Condition]:
    """The condition of an entry of a user's suite, and its control if `control` is true.

    Raises:
      InputError: for an unknown key, or settings that cannot be used.
    """
    what = f"condition {shown(entry.get('name'))}"
    own = {each.name for each in dataclasses.fields(CoinSettings)}
    _require_known(entry, {"name", "title", "levels", "control", "position", *own}, what)
    values = dict(entry)
    wants_control = flag(f"{what}: control", values.pop("control", False))
    if (position := values.pop("position", None)) is not None:
        position = real(f"{what}: position", position)
    levels = values.pop("levels", {})
    _require_known(levels, {each.name for each in dataclasses.fields(LevelSet)}, f"{what}: levels")
    try:
        level_set = LevelSet(**levels)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    condition = coin_condition(levels=level_set, position=position, **values)
    return list(with_control(condition)) if wants_control else [condition]


def _require_known(entry: Any, known: set[str], what: str) -> None:
    if not isinstance(entry, dict):
        raise InputError(f"{what} must be a mapping, not {shown(entry)}")
    for key in entry:
        if key not in known:
            raise InputError(f"{what} has no {shown(key)}; allowed: {', '.join(sorted(known))}")
