"""`EnvParams`: everything about an environment that may change without recompiling."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from flax import struct

from coinrun_jax.checks import InputError
from coinrun_jax.coinrun.cues import LOOKS, Cues, make_cues
from coinrun_jax.coinrun.items import Items, make_items
from coinrun_jax.coinrun.levels import require_levels
from coinrun_jax.coinrun.observations.lanes import layers_needed
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.observations.procgen import pictures
from coinrun_jax.coinrun.placement import CoinPlacement, levels_without, make_placement, weight_of
from coinrun_jax.coinrun.pool import build_pool
from coinrun_jax.coinrun.reward import RewardSpec, make_reward
from coinrun_jax.coinrun.types import TIME_LIMIT, Level, LevelPool


class EnvParams(struct.PyTreeNode):
    """Traced settings of `CoinRun`, as NumPy numbers, so that JAX always sees the same types.

    To give each environment of a batch its own placement, `vmap` over params whose
    placement leaves have a batch axis, and keep the pool shared (`in_axes` None).
    """

    pool: LevelPool  # the levels that a reset draws from
    placement: CoinPlacement
    items: Items = make_items()  # decoys and pickups; none by default
    cues: Cues = make_cues()  # what an agent could take as its goal
    look: Look = Look()  # what pixels show; ignored by symbolic observations
    reward: RewardSpec = make_reward()
    max_steps_in_episode: int | jax.Array = np.int32(TIME_LIMIT)  # type: ignore[assignment]
    terminate_at_end: bool | jax.Array = False  # touching the end cell ends an episode
    art: pictures.Art | None = None  # Procgen's pictures, if observations are drawn from them

    @classmethod
    def on_levels(cls, levels: Level) -> EnvParams:
        """Default params, with the coin at the end, on given levels: one `Level`, or a batch.

        Raises:
          ValueError: for levels that cannot be played exactly, as in `levels.require_levels`.
        """
        return cls(pool=_pool_of(levels), placement=make_placement("end"))

    def with_levels(self, levels: Level) -> EnvParams:
        """Put given levels into the pool: one `Level`, or a batch with a leading axis.

        Not under jit: the number of enemies that can meet in a row determines a shape.

        Raises:
          ValueError: for levels that cannot be played exactly, as in `levels.require_levels`, or
            that have no cell for the placement of the coin or of items.
        """
        params = self.replace(pool=_pool_of(levels))
        if self.art is not None:
            params = params.replace(art=pictures.load_for(levels))
        return params._checked()

    def with_placement(self, *args: Any, **kwargs: Any) -> EnvParams:
        """Change the placement of the coin; arguments of `placement.make_placement`.

        Raises:
          ValueError: as in `make_placement`; if a level of the pool has no such cell; and if the
            items do not fit the new placement.
        """
        return self.replace(placement=make_placement(*args, **kwargs))._checked()

    def with_items(self, number: int = 1, **kwargs: Any) -> EnvParams:
        """Put decoys or pickups into the level; arguments of `items.make_items`.

        Raises:
          ValueError: as in `make_items`; if a level of the pool has no such cell; if all pieces
            would lie in the coin's cell; and for items behind the agent unless the coin can be
            behind it, too, since only then does the agent start further on.
        """
        coin_look = LOOKS[int(self.cues.coin_look)]
        return self.replace(items=make_items(number, coin_look=coin_look, **kwargs))._checked()

    def with_cues(self, **kwargs: Any) -> EnvParams:
        """Change what is shown; arguments of `cues.make_cues`.

        Raises:
          ValueError: as in `make_cues`, and if the coin would look like the items.
        """
        return self.replace(cues=make_cues(**kwargs))._checked()

    def with_look(self, **switches: Any) -> EnvParams:
        """Change what pixels show; arguments of `Look`.

        Without backgrounds, Procgen's are not kept in memory.
        """
        look = Look(**switches)
        shows = self.art is None or bool(look.backgrounds)
        return self.replace(look=look, art=self.art if shows else pictures.load([]))

    def with_reward(self, **kwargs: Any) -> EnvParams:
        """Change the rewards; arguments of `reward.make_reward`."""
        return self.replace(reward=make_reward(**kwargs))

    def with_settings(self, **fields: Any) -> EnvParams:
        """Replace several fields at once: placement, items, cues, reward and so on.

        Raises:
          ValueError: if they are incompatible, or a level has no such cell.
        """
        return self.replace(**fields)._checked()

    def _checked(self) -> EnvParams:
        """Return self if the settings are compatible; traced ones are not checked.

        Raises:
          ValueError: if they are not.
        """
        coin, items, coin_look = self.placement, self.items, self.cues.coin_look
        leaves = jax.tree.leaves((coin, items, coin_look, self.pool.drawable))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return self
        there = np.asarray(items.number) > 0  # for each entry of a batch of params
        self._require_cells(coin, "placement")
        if there.any():
            self._require_cells(items.placement, "item placement")
        require_compatible(coin, items, coin_look)
        return self._with_all_backgrounds()

    def _with_all_backgrounds(self) -> EnvParams:
        """Return self, with all of Procgen's backgrounds if they can follow the coin's position."""
        tie, look = self.cues.tie_background, self.look.backgrounds
        if self.art is None or any(isinstance(x, jax.core.Tracer) for x in (tie, look)):
            return self
        if np.any(np.asarray(tie) > 0) and np.any(np.asarray(look)):
            return self.replace(art=self.art.with_all_backgrounds())
        return self

    def _require_cells(self, placement: CoinPlacement, what: str) -> None:
        for name, seeds in levels_without(self.pool, placement).items():
            raise InputError(
                f"{what} {name!r} finds no cell in {len(seeds)} of {self.pool.levels.seed.size} "
                f"levels, such as seed {seeds[0]}"
            )


def require_compatible(coin: CoinPlacement, items: Items, coin_look: Any) -> None:
    """Refuse a coin and items that are incompatible on any level.

    Raises:
      ValueError: if they look alike, all lie at the end, or items can never be reached.
    """
    there = np.asarray(items.number) > 0  # for each entry of a batch of params
    if np.any(there & (np.asarray(items.look) == coin_look)):
        look = LOOKS[int(np.max(coin_look))]
        raise InputError(f"the coin must not look like the items, {look!r}")
    if np.any(there & _always_end(items.placement) & _always_end(coin)):
        raise InputError("items and the coin would both lie at the end of every level")
    behind = weight_of(items.placement, "behind") > 0
    if np.any(there & behind & (weight_of(coin, "behind") == 0)):
        raise InputError("items lie behind the agent only where the coin's placement is 'behind'")


def _pool_of(levels: Level) -> LevelPool:
    require_levels(levels)
    pool = build_pool(levels)
    layers = layers_needed(pool.levels, pool.lane_edge)
    return pool if layers == 1 else build_pool(levels, layers)


def _always_end(placement: CoinPlacement) -> np.ndarray:
    return np.asarray((placement.probability == 0) | (weight_of(placement, "end") == 1))
