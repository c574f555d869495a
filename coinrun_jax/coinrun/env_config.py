"""Settings of CoinRun: the section `env:` of a config.

Values of cues, items and reward are checked by `cues.make_cues`, `items.make_items` and
`reward.make_reward`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from coinrun_jax.checks import real
from coinrun_jax.coinrun.placement import make_placement, weight_of
from coinrun_jax.coinrun.types import ENV_ID
from coinrun_jax.settings import require_types
from coinrun_jax.testbed import LevelsConfig


@dataclasses.dataclass(frozen=True)
class CuesConfig:
    """What an agent could take as its goal, besides the coin's position."""

    coin_look: str = "gold"
    """gold, red or gem."""
    coin_spread: int = 0
    """How salient the coin is: free cells within this many tiles of it look like it, too."""
    end_wall: str = "plain"
    """plain, hidden or crates."""
    mirrored: bool = False
    hide: tuple[str, ...] = ()
    """Any of saw, enemy, crate, lava, coin: present but not shown."""
    tie_ground: float = 0.0
    """Chance per episode that the ground's theme follows the coin's position; pixels only."""
    tie_background: float = 0.0
    tie_agent: float = 0.0

    def __post_init__(self) -> None:
        require_types(self, "env.cues")

    def arguments(self) -> dict[str, Any]:
        """Arguments of `coinrun_jax.coinrun.cues.make_cues`."""
        values = dataclasses.asdict(self)
        tie = {
            name.removeprefix("tie_"): values.pop(name) for name in list(values) if "tie_" in name
        }
        return {**values, "tie": tie}


@dataclasses.dataclass(frozen=True)
class ItemsConfig:
    """Decoys and pickups."""

    number: int = 0
    """Pieces per level, 0, 1 or 2."""
    placement: str = "uniform"
    look: str = "gem"
    worth: float = 0.0
    """Reward for taking a piece."""
    respawn: int = 0
    """Steps until a taken piece is back; 0 for never."""

    def __post_init__(self) -> None:
        require_types(self, "env.items")

    def arguments(self) -> dict[str, Any]:
        """Arguments of `coinrun_jax.coinrun.items.make_items`."""
        return dataclasses.asdict(self) | {"respawn": self.respawn or None}


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """Rewards."""

    coin: float = 10.0
    progress: float = 0.0
    """Per tile towards the end."""
    step: float = 0.0
    """Every step."""
    end: float = 0.0
    """First touch of the end cell."""
    terminate_at_end: bool = False
    """Whether touching the end ends the episode."""

    def __post_init__(self) -> None:
        require_types(self, "env.reward")


@dataclasses.dataclass(frozen=True)
class CoinRunConfig(LevelsConfig):
    """The environment that an agent is trained in.

    Raises:
      InputError: for a value of the wrong type or out of range.
    """

    id: str = ENV_ID
    mode: Literal["hard", "easy"] = "hard"
    observation: Literal["symbolic", "symbolic_uint8", "rgb", "procgen"] = "symbolic"
    """"symbolic_uint8" takes a quarter of the memory of "symbolic"; "procgen" is Procgen's own
    pixels, from your copy of its pictures (docs/pixels.md)."""
    placement: str = "end"
    """Where a moved coin goes: a name of `coinrun_jax.coinrun.placement.CATALOGUE`, or a mixture
    such as "uniform:3,off_path:1"."""
    placement_probability: float = 1.0
    """Probability per episode that the coin follows `placement`; otherwise it is at the end."""
    placement_fraction: tuple[float, float] = (0.0, 1.0)
    """Range of fractions of the way to the end, for placement "fraction"."""
    placement_cell: tuple[int, int] = (2, 1)
    """Column and row, for placement "fixed"."""
    cues: CuesConfig = dataclasses.field(default_factory=CuesConfig)
    items: ItemsConfig = dataclasses.field(default_factory=ItemsConfig)
    reward: RewardConfig = dataclasses.field(default_factory=RewardConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        real("env.placement_probability", self.placement_probability, 0, 1)

    @property
    def p_apart(self) -> float:
        """Share of training episodes whose coin is not at the end.

        Raises:
          ValueError: for an unknown placement.
        """
        placement = make_placement(self.placement, cell=self.placement_cell)
        at_end = float(weight_of(placement, "end"))
        if self.placement_fraction[0] == 1:  # the whole way: at the end
            at_end += float(weight_of(placement, "fraction"))
        return self.placement_probability * (1.0 - at_end)

    def in_words(self) -> str:
        p = self.p_apart
        return f"coin {self.placement} in {100 * p:g} % of episodes" if p else "coin at the end"
