"""`EnvParams`: everything about an environment that may change without recompiling."""

from __future__ import annotations

from typing import Any

import jax
from flax import struct

from coinrun_jax.observations.lanes import layers_needed
from coinrun_jax.observations.rgb import Look
from coinrun_jax.placement import CoinPlacement, levels_without, make_placement
from coinrun_jax.pool import build_pool
from coinrun_jax.types import TIME_LIMIT, Level, LevelPool


class EnvParams(struct.PyTreeNode):
    """Traced knobs of `CoinRun`.

    To give each environment of a batch its own placement, `vmap` over params whose
    placement leaves have a batch axis, and keep the pool shared (`in_axes` None).
    """

    pool: LevelPool  # the levels that a reset draws from
    placement: CoinPlacement
    look: Look = Look()  # what pixels show; symbols do not heed it
    max_steps_in_episode: int | jax.Array = TIME_LIMIT
    terminate_at_end: bool | jax.Array = False  # touching the end cell ends an episode

    def with_levels(self, levels: Level) -> EnvParams:
        """Put given levels into the pool: one `Level`, or a batch with a leading axis."""
        pool = build_pool(levels)
        layers = layers_needed(pool.levels, pool.lane_edge)
        return self.replace(pool=pool if layers == 1 else build_pool(levels, layers))

    def with_placement(self, *args: Any, **kwargs: Any) -> EnvParams:
        """Place the coin otherwise; arguments of `placement.make_placement`.

        Raises:
          ValueError: as there, and where a level of the pool has no such place.
        """
        placement = make_placement(*args, **kwargs)
        for name, seeds in levels_without(self.pool, placement).items():
            raise ValueError(
                f"placement {name!r} finds no cell in {len(seeds)} of {self.pool.levels.seed.size} "
                f"levels, seed {seeds[0]} for one"
            )
        return self.replace(placement=placement)
