"""Rewards: for the coin, and misspecified ones for comparison.

They separate failures due to the reward from those due to the training distribution. Events are
recorded in any case (`EnvState`, `info`): whether the coin was taken need not be read from the
reward.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from flax import struct

from coinrun_jax.checks import real
from coinrun_jax.coinrun.types import COIN_REWARD


class RewardSpec(struct.PyTreeNode):
    """All traced, float32 []. `items.Items.worth` adds to the reward."""

    coin: jax.Array  # float32 [], for the coin
    progress: jax.Array  # per tile towards the end, negative away from it
    step: jax.Array  # every step; negative for a time penalty
    end: jax.Array  # first touch of the end cell, with or without a coin in it


def make_reward(
    coin: float = COIN_REWARD, progress: float = 0.0, step: float = 0.0, end: float = 0.0
) -> RewardSpec:
    """Rewards; by default as in Procgen, for the coin alone.

    Raises:
      ValueError: for a number that float32 cannot hold.
    """
    parts = {"coin": coin, "progress": progress, "step": step, "end": end}
    numbers: dict[str, Any] = {
        name: np.float32(real(f"reward {name}", value)) for name, value in parts.items()
    }
    return RewardSpec(**numbers)
