"""Collectible objects other than the coin: decoys, and pickups that come back.

There is one kind of item at a time, in up to two pieces. A piece that is worth nothing and
lies where the coin used to be is a decoy; one that is worth a little and comes back after some
steps can be farmed for points (the boat race of Amodei and Clark 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.checks import InputError, choice, real, whole
from coinrun_jax.coinrun.cues import LOOKS
from coinrun_jax.coinrun.placement import (
    NUM_UNIFORMS,
    CoinDraw,
    CoinPlacement,
    draw_cell,
    make_placement,
    weight_of,
)
from coinrun_jax.coinrun.types import NEVER, NUM_ITEMS, LevelPool


class Items(struct.PyTreeNode):
    """All traced."""

    number: jax.Array  # int32 [], pieces, 0 ... NUM_ITEMS
    placement: CoinPlacement  # of each piece, drawn separately; `present` is ignored
    look: jax.Array  # int32 [], index of LOOKS
    worth: jax.Array  # float32 [], reward for taking a piece
    respawn: jax.Array  # int32 [], steps until a taken piece is back, or NEVER


def make_items(
    number: int = 0,
    placement: str | Mapping[str, float] = "uniform",
    probability: float = 1.0,
    fraction: float | tuple[float, float] = (0.0, 1.0),
    cell: tuple[int, int] | None = None,
    look: str = "gem",
    worth: float = 0.0,
    respawn: int | None = None,
    coin_look: str = "gold",
) -> Items:
    """Items from names.

    Args:
      number: pieces.
      placement, probability, fraction, cell: as in `make_placement`; otherwise a piece lies at
        the end. A piece that would lie in the coin's cell is left out, whether the coin is
        there or taken away.
      look: one of LOOKS.
      worth: reward for taking a piece.
      respawn: steps after which a taken piece is back; None for never.
      coin_look: the look of the coin, which items must not share.

    Raises:
      ValueError: as `make_placement`; for an unknown look, or the coin's; for numbers out of
        range.
    """
    number = whole("number of items", number, 0, NUM_ITEMS)
    choice("item look", look, LOOKS)
    if number and look == choice("coin look", coin_look, LOOKS):
        raise InputError(f"items must not look like the coin, {look!r}")
    worth = real("item worth", worth)
    steps = NEVER if respawn is None else whole("item respawn", respawn, 1, NEVER)
    where = make_placement(placement, probability, fraction=fraction, cell=cell)
    if weight_of(where, "absent") > 0:
        raise InputError("items cannot be absent; for no items, set number to 0")
    numbers: dict[str, Any] = {
        "number": np.int32(number),
        "placement": where,
        "look": np.int32(LOOKS.index(look)),
        "worth": np.float32(worth),
        "respawn": np.int32(steps),
    }
    return Items(**numbers)


def draw_items(
    key: jax.Array, coin: CoinDraw, index: jax.Array, pool: LevelPool, items: Items
) -> tuple[jax.Array, jax.Array]:
    """Place the items of one episode.

    Args:
      key: of the episode's coin; the items' draws are independent of the coin's.
      coin: of this episode.
      index: int32 [], the level in the pool.
      pool: indexed by `index`.
      items: of this episode.

    Returns:
      Cells int32 [NUM_ITEMS, 2], and the step from which each piece is present, int32
      [NUM_ITEMS]: 0, or NEVER.
    """
    start = jnp.floor(coin.start_xy).astype(jnp.int32)

    @jax.jit  # traced once for all pieces
    def draw(number: int, uniforms: jax.Array) -> tuple[jax.Array, jax.Array]:
        cell = draw_cell(uniforms, index, pool, items.placement, start)[0]
        # Not where a coin was taken away, either: the control must have the same items.
        there = (number < items.number) & ~jnp.all(cell == coin.coin_cell)
        return cell, jnp.where(there, jnp.int32(0), NEVER)

    @jax.jit
    def some() -> tuple[jax.Array, jax.Array]:
        shape = (NUM_ITEMS, NUM_UNIFORMS - 1)
        uniforms = jax.random.uniform(jax.random.fold_in(key, 1), shape, jnp.float32)
        pieces = [draw(number, uniforms[number]) for number in range(NUM_ITEMS)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *pieces)

    def none() -> tuple[jax.Array, jax.Array]:
        return jnp.tile(start, (NUM_ITEMS, 1)), jnp.full(NUM_ITEMS, NEVER, jnp.int32)

    has_items = jnp.asarray(items.number) > 0

    def by_branch() -> tuple[jax.Array, jax.Array]:
        return jax.lax.cond(has_items, some, none)

    def by_choice() -> tuple[jax.Array, jax.Array]:
        return jax.tree.map(partial(jnp.where, has_items), some(), none())

    # Most training runs have no items, and would pay for the draw at every step. On a GPU, the
    # host would have to wait to learn which branch to launch.
    return jax.lax.platform_dependent(cuda=by_choice, default=by_branch)
