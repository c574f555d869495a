"""Where the coin lies: a draw of its own, apart from the level's.

A placement is a few traced numbers, so that changing it never recompiles anything and
every environment of a batch may have its own. The draw takes its own key: the same key
on the same level gives the same candidate cell whatever the probability, and whether or
not the coin is there to be seen, which makes comparisons between placements paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.types import Level

PlacementFn = Callable[[jax.Array, Level], jax.Array]
"""(key, level) -> int32 [2], the cell (x, y) of a candidate."""


def _end(key: jax.Array, level: Level) -> jax.Array:
    """Where Procgen puts it: the last column, on the ground."""
    del key
    return level.end_cell.astype(jnp.int32)


def _random_section(key: jax.Array, level: Level) -> jax.Array:
    """First column of a uniformly drawn section, on the ground.

    As in procgenAISC's `coinrun_aisc` (Langosco et al. 2022), which however draws it from
    the level's own stream and so changes the layout too; here the layout stays.
    """
    section = jax.random.randint(key, (), 0, level.num_sections.astype(jnp.int32))
    return level.section_cell[section].astype(jnp.int32)


CATALOGUE: dict[str, PlacementFn] = {"end": _end, "random_section": _random_section}
"""Placements by name. Their order is their code: append, never reorder."""


class CoinPlacement(struct.PyTreeNode):
    """How an episode's coin is placed. Every number is traced."""

    probability: jax.Array  # float32 [], of leaving the end for a candidate cell
    weights: jax.Array  # float32 [len(CATALOGUE)], share of each kind among candidates
    present: jax.Array  # bool [], False takes the coin away, all else equal


class CoinDraw(struct.PyTreeNode):
    """Cells of one episode."""

    coin_cell: jax.Array  # int32 [2], where the coin is, or would be if it were present
    ghost_cell: jax.Array  # int32 [2], where it could have been but is not
    present: jax.Array  # bool []
    moved: jax.Array  # bool [], not at the end


def make_placement(
    kind: str | Mapping[str, float] = "end", probability: float = 1.0, present: bool = True
) -> CoinPlacement:
    """A placement by name, or a mixture of several.

    Args:
      kind: a name of `CATALOGUE`, or relative weights by name.
      probability: chance in [0, 1] that an episode's coin follows `kind`; it lies at the
        end otherwise. At 0 no coin ever moves, at 1 every coin does.
      present: False takes the coin away and turns its cell into the ghost cell.

    Raises:
      ValueError: for an unknown name, a probability outside [0, 1], or unusable weights.
    """
    mixture = {kind: 1.0} if isinstance(kind, str) else dict(kind)
    for name in mixture:
        if name not in CATALOGUE:
            raise ValueError(f"placement {name!r} is not one of {', '.join(CATALOGUE)}")
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"placement probability {probability} is outside [0, 1]")
    weights = np.array([mixture.get(name, 0.0) for name in CATALOGUE], np.float32)
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise ValueError(f"placement weights {mixture} must be >= 0 and not all 0")
    return CoinPlacement(
        probability=jnp.float32(probability),
        weights=jnp.asarray(weights / weights.sum()),
        present=jnp.bool_(present),
    )


def draw_coin(key: jax.Array, level: Level, placement: CoinPlacement) -> CoinDraw:
    """Place one episode's coin. Consumes `key`."""
    key_move, key_kind, key_cell = jax.random.split(key, 3)
    # uniform() is in [0, 1): probability 0 never moves a coin and 1 always does.
    moves = jax.random.uniform(key_move) < placement.probability
    shares = jnp.cumsum(placement.weights)
    kind = jnp.sum(jax.random.uniform(key_kind) * shares[-1] >= shares[:-1])
    candidates = jnp.stack([place(key_cell, level) for place in CATALOGUE.values()])
    candidate, end = candidates[kind], level.end_cell.astype(jnp.int32)
    coin_cell = jnp.where(moves, candidate, end)
    other_cell = jnp.where(moves, end, candidate)
    return CoinDraw(
        coin_cell=coin_cell,
        ghost_cell=jnp.where(placement.present, other_cell, coin_cell),
        present=placement.present,
        moved=jnp.any(coin_cell != end),
    )
