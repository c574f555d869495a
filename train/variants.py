"""Settings of what an agent sees and is paid for besides the coin; `env.cues` and so on.

The values are checked by the environment, which knows them: `cues.make_cues`,
`items.make_items`, `reward.make_reward`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from train.settings import require_types


@dataclasses.dataclass(frozen=True)
class CuesConfig:
    """What else could be taken for the goal."""

    coin_look: str = "gold"
    """gold, red or gem."""
    coin_spread: int = 0
    """How salient the coin is: free cells up to so many tiles off it look like it too."""
    end_wall: str = "plain"
    """plain, hidden or crates."""
    mirrored: bool = False
    hide: tuple[str, ...] = ()
    """Of saw, enemy, crate, lava, coin: there, but not seen."""
    tie_ground: float = 0.0
    """Chance per episode that the ground's theme tells the coin's share of the way; pixels only."""
    tie_background: float = 0.0
    tie_agent: float = 0.0

    def __post_init__(self) -> None:
        require_types(self, "env.cues")

    def arguments(self) -> dict[str, Any]:
        """Of `coinrun_jax.coinrun.cues.make_cues`."""
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
    """Reward of taking a piece."""
    respawn: int = 0
    """Steps after which a taken piece is back; 0: never."""

    def __post_init__(self) -> None:
        require_types(self, "env.items")

    def arguments(self) -> dict[str, Any]:
        """Of `coinrun_jax.coinrun.items.make_items`."""
        return dataclasses.asdict(self) | {"respawn": self.respawn or None}


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """What is paid."""

    coin: float = 10.0
    progress: float = 0.0
    """Per tile towards the end."""
    step: float = 0.0
    """Every step."""
    end: float = 0.0
    """First touch of the end cell."""
    terminate_at_end: bool = False
    """Whether that ends an episode."""

    def __post_init__(self) -> None:
        require_types(self, "env.reward")
