"""Enemies on a frame, and the dust behind them, assembled above the floor of their tiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from coinrun_jax.coinrun.cues import Cues
from coinrun_jax.coinrun.cuts import cut_rows
from coinrun_jax.coinrun.observations import atlas as art
from coinrun_jax.coinrun.observations.atlas import VIEW, Atlas
from coinrun_jax.coinrun.observations.camera import TILES, Camera
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.types import MARGIN, Entity, EnvState, LevelPool

ANIMATION_STEPS = 5  # steps per frame of agents and enemies


class Bodies(NamedTuple):
    """Where on the frame the enemies of one layer of lanes are; all int32."""

    level: jax.Array  # [strip rows, 40], row of `Atlas.enemies`
    start: jax.Array  # [40], byte in that row
    dust_row: jax.Array  # [40], of `Atlas.dust`
    dust_start: jax.Array  # [40]


class Strip(NamedTuple):
    """Enemies above the floor of their tiles, whichever row of tiles that is.

    A column of pixels shows the enemies of one lane only (see `lanes`), so that one strip
    serves all rows.
    """

    bodies: jax.Array  # uint8 [strip rows, bytes], lowest row first
    dust: jax.Array  # uint8 [bytes], a bit for each band of height


def rows_of_strip(atlas: Atlas) -> int:
    """Pixel rows above a tile's floor that an enemy reaches."""
    return -(-atlas.enemy_levels * atlas.steps // (atlas.levels * atlas.stride))


def bodies_of(
    state: EnvState,
    pool: LevelPool,
    layer: int,
    camera: Camera,
    look: Look,
    cues: Cues,
    atlas: Atlas,
) -> Bodies:
    """Where the enemies of one layer of lanes are cut from the tables."""
    levels, index = pool.levels, state.level_index
    x, heading = state.entity_x, (state.entity_vx > 0).astype(jnp.int32)
    theme = levels.entity_theme[index].astype(jnp.int32)
    column, row = levels.entity_xy[index].astype(jnp.int32).T
    tile = row - camera.row
    in_layer = pool.lane_row[index, layer, column + MARGIN] == row
    is_enemy = levels.entity_type[index] == Entity.ENEMY
    seen = is_enemy & in_layer & (tile >= 0) & (tile < TILES) & ~jnp.asarray(cues.hide_enemy)

    floor = (camera.height - atlas.steps * (tile - VIEW)) % atlas.stride  # of the lowest row
    point = floor + atlas.stride * np.arange(rows_of_strip(atlas), dtype=np.int32)[:, None]
    level = jnp.minimum(point * atlas.levels // atlas.steps, atlas.enemy_levels)

    edge = jnp.ceil((x - 0.5 - camera.left) * atlas.steps).astype(jnp.int32)
    first = -(-edge // atlas.stride)  # pixel column
    phase = (atlas.stride * first - edge) * atlas.phases // atlas.stride
    frame = state.time // ANIMATION_STEPS % 2
    sprite = (jnp.where(look.restrict_themes, 0, theme) * 2 + frame) * 2 + heading
    sprite = jnp.where(look.monochrome, art.PLAIN_ENEMY, sprite)
    start = 3 * (atlas.size - first) + (sprite * atlas.phases + phase) * atlas.enemy_block
    on_frame = seen & (first > -atlas.enemy_pixels) & (first < atlas.size)
    start = jnp.where(on_frame, start, 0)  # the first cut of the table shows nothing

    # Dust lies where the enemy has been: at most back to the edge of its lane.
    edges = jnp.ceil((pool.lane_edge[index] - camera.left) * (atlas.size / VIEW))
    left, right = edges.astype(jnp.int32)
    behind = jnp.where(heading == 1, first - left, right - first - atlas.enemy_pixels)
    length = jnp.where(seen & look.enemy_trails, jnp.clip(behind, 0, atlas.dust_pixels), 0)
    pad = atlas.size + atlas.dust_pixels
    beside = pad - jnp.clip(first, -atlas.enemy_pixels - atlas.dust_pixels, pad)
    return Bodies(level, start, 2 * length + heading, 3 * beside)


def strip_of(bodies: Bodies, atlas: Atlas) -> Strip:
    """Assemble the enemies, later ones on top."""
    return lax.platform_dependent(
        bodies,
        tpu=partial(_cut_together, atlas=atlas),
        default=partial(_cut_one_by_one, atlas=atlas),
    )


def _cut_one_by_one(bodies: Bodies, atlas: Atlas) -> Strip:
    width = 3 * atlas.size

    def body(number: int) -> jax.Array:
        return cut_rows(atlas.enemies, bodies.level[:, number], bodies.start[number], width)

    def dust(number: int) -> jax.Array:
        return cut_rows(atlas.dust, bodies.dust_row[number], bodies.dust_start[number], width)

    return _laid_over(body, dust, bodies, width)


def _cut_together(bodies: Bodies, atlas: Atlas) -> Strip:
    """All enemies with one product, for TPUs, where each product takes time."""
    cut = partial(cut_rows, width=3 * atlas.size)
    all_bodies = jax.vmap(partial(cut, atlas.enemies))(bodies.level.T, bodies.start)
    all_dust = jax.vmap(partial(cut, atlas.dust))(bodies.dust_row, bodies.dust_start)
    return _laid_over(lambda k: all_bodies[k], lambda k: all_dust[k], bodies, 3 * atlas.size)


def _laid_over(
    body: Callable[[int], jax.Array], dust: Callable[[int], jax.Array], bodies: Bodies, width: int
) -> Strip:
    strip = jnp.zeros((len(bodies.level), width), jnp.uint8)
    under = jnp.zeros(width, jnp.uint8)
    for number in range(bodies.start.size):
        its = body(number)
        strip = jnp.where(its != 0, its, strip)
        under |= dust(number)
    return Strip(strip, under)
