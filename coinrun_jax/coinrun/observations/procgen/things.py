"""The agent, the entities and the puffs that enemies leave, each on its rectangle."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.art.manifest import POSES
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.observations.procgen import pictures as art
from coinrun_jax.coinrun.observations.procgen.cells import CRATE_TYPE, colour_of
from coinrun_jax.coinrun.observations.procgen.frame import Frame
from coinrun_jax.coinrun.observations.procgen.pictures import TILE
from coinrun_jax.coinrun.observations.procgen.spans import (
    Axis,
    Lens,
    Pair,
    Span,
    add,
    axis_of,
    pair_of,
    span_of,
)
from coinrun_jax.coinrun.physics import HALF_HEIGHT, HALF_WIDTH
from coinrun_jax.coinrun.types import Entity, EnvState, LevelPool

ANIMATION_STEPS = 5
STILL_SPEED = 0.01  # tiles per step, below which an agent on the ground stands
PUFF_AGES = 9  # steps since a puff was left: 0 ... 8
_RISE, _STRETCH = 0.7415, 1.7415  # of the agent's rectangle
_SAW_TYPE, _ENEMY_TYPE, _PUFF_TYPE = 2, 6, 59  # of Procgen's images
_AGENT_TYPES = np.array([0, 12, 13], np.int32)  # by pose


class Sprite(struct.PyTreeNode):
    """A picture on its rectangle; any shape."""

    base: jax.Array  # int32, its first pixel in `Art.pixels`
    width: jax.Array  # int32, its pixels per row
    x: Span
    y: Span
    flip: jax.Array  # bool, mirrored


class Entities(NamedTuple):
    """The entities of a level, by slot; [40] each."""

    kind: jax.Array  # int8
    theme: jax.Array  # int8
    x: jax.Array  # float32
    y: jax.Array  # float32
    vx: jax.Array  # float32


def level_entities(state: EnvState, pool: LevelPool) -> Entities:
    """Where the entities are now."""
    levels, index = pool.levels, state.level_index
    return Entities(
        levels.entity_type[index],
        levels.entity_theme[index],
        state.entity_x,
        levels.entity_xy[index, :, 1],
        state.entity_vx,
    )


def entities_of(entities: Entities, look: Look, frame: Frame, lens: Lens) -> Sprite:
    """Every entity slot as a sprite, including unused ones; [40]."""
    kind, y, time = entities.kind, entities.y, frame.clock
    theme = jnp.where(look.restrict_themes, 0, entities.theme.astype(jnp.int32))
    is_saw, is_enemy = kind == Entity.SAW, kind == Entity.ENEMY
    blink, step = time % 2, time // ANIMATION_STEPS % 2
    number = jnp.where(is_enemy, 2 * theme + step, jnp.where(is_saw, blink, theme))
    first = jnp.where(is_enemy, art.ENEMY, jnp.where(is_saw, art.SAW, art.CRATE))
    image = jnp.where(
        is_enemy, _ENEMY_TYPE + step, jnp.where(is_saw, _SAW_TYPE + blink, CRATE_TYPE)
    )
    monochrome = jnp.asarray(look.monochrome)
    half = np.float32(0.5)
    edges = frame.edges(entities.x - half, y + half, lens)
    axis = axis_of(TILE, lens.pixels(np.float32(1)))
    x, y_span = (span_of(edge, axis, lens.size, monochrome) for edge in edges)
    return Sprite(
        base=jnp.where(monochrome, colour_of(image, theme), first + TILE * TILE * number),
        width=jnp.full_like(number, TILE),
        x=x,
        y=y_span,
        flip=is_enemy & (entities.vx > 0) & (time > 0) & ~monochrome,
    )


def agent_of(state: EnvState, look: Look, frame: Frame, lens: Lens) -> Sprite:
    """The agent as a sprite; []."""
    still = (jnp.abs(state.vx) < STILL_SPEED) & ~state.walking & state.supported & (state.time > 0)
    strides = (state.time // ANIMATION_STEPS % 2 == 0) | ~state.supported
    pose = jnp.where(still, 0, jnp.where(strides, 1, 2))
    theme = jnp.where(look.restrict_themes, 0, state.theme[2])
    monochrome = jnp.asarray(look.monochrome)
    half_width, half_height = np.float32(HALF_WIDTH), np.float32(HALF_HEIGHT)
    left, top = frame.edges(state.x - half_width, state.y + half_height, lens)
    height = lens.pixels(2 * half_height)
    rise = pair_of(-_RISE * height)
    risen = add(top.high, rise.high)
    risen = Pair(risen.high, risen.low + rise.low)
    x_axis = axis_of(TILE, lens.pixels(2 * half_width))
    tall, plain = axis_of(art.AGENT_HEIGHT, height * _STRETCH), axis_of(TILE, height)

    def choose(one: Any, other: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(monochrome, a, b), one, other)

    area = TILE * art.AGENT_HEIGHT
    number = len(POSES) * theme + pose
    return Sprite(
        base=jnp.where(
            monochrome,
            colour_of(jnp.asarray(_AGENT_TYPES)[pose], theme),
            art.AGENT + area * number,
        ),
        width=jnp.full_like(pose, TILE),
        x=span_of(left, x_axis, lens.size, monochrome),
        y=span_of(choose(top, risen), choose(plain, tall), lens.size, monochrome),
        flip=~state.facing_right & ~monochrome,
    )


def _puff_sizes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half widths and half heights, float32 [9] of tiles, and opacities, uint32 [9] of 255."""
    sizes, growth, fading = np.array([0.3, 0.2], np.float32), np.float32(1.05), np.float32(0.8)
    opacity = np.float32(0.5)
    found, shares = [], []
    for _ in range(PUFF_AGES):
        found.append(sizes)
        shares.append((255 * int(256 * float(opacity))) >> 8)
        sizes, opacity = sizes * growth, opacity * fading
    half = np.stack(found)
    return half[:, 0], half[:, 1], np.array(shares, np.uint32)


_HALF_WIDTHS, _HALF_HEIGHTS, OPACITIES = _puff_sizes()
PUFF_TILES = 2 * float(_HALF_HEIGHTS[-1]), 2 * float(_HALF_WIDTHS[-1])  # of the oldest


def puff_of(
    x: jax.Array,
    enemy_y: jax.Array,
    age: jax.Array,
    monochrome: jax.Array,
    frame: Frame,
    lens: Lens,
) -> Sprite:
    """Puffs as sprites.

    Args:
      x: float32, any shape, of the enemy when it left the puff.
      enemy_y: float32, likewise.
      age: int32, likewise, steps since then.
      monochrome: bool [].
      frame, lens: of the frame.
    """
    y = enemy_y - np.float32(0.25)
    for step in range(1, PUFF_AGES):
        y = jnp.where(age >= step, y + np.float32(0.01), y)
    half_width, half_height = jnp.asarray(_HALF_WIDTHS)[age], jnp.asarray(_HALF_HEIGHTS)[age]
    edges = frame.edges(x - half_width, y + half_height, lens)

    def axis(halves: np.ndarray) -> Axis:
        whole = axis_of(art.PUFF, [lens.pixels(2 * half) for half in halves], exact=True)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[age], whole)

    spans = [
        span_of(edge, axis(halves), lens.size, monochrome)
        for edge, halves in zip(edges, (_HALF_WIDTHS, _HALF_HEIGHTS), strict=True)
    ]
    return Sprite(
        base=jnp.where(monochrome, colour_of(_PUFF_TYPE), art.PUFF_AT),
        width=jnp.int32(art.PUFF),
        x=spans[0],
        y=spans[1],
        flip=jnp.zeros_like(monochrome),
    )
