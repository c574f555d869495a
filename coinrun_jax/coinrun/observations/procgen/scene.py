"""What stands where on a frame: everything but the pixels themselves."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from coinrun_jax.coinrun.cues import MAX_SPREAD, Cues
from coinrun_jax.coinrun.observations.fusion import written_out
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.observations.procgen.background import Backdrop, background_of
from coinrun_jax.coinrun.observations.procgen.cells import (
    CELLS,
    CellSpans,
    Cover,
    Ground,
    cell_spans,
    cells_of,
    cover_of,
    pictures_of_cells,
)
from coinrun_jax.coinrun.observations.procgen.frame import Frame, frame_of
from coinrun_jax.coinrun.observations.procgen.pictures import Art
from coinrun_jax.coinrun.observations.procgen.spans import Lens, Span, add
from coinrun_jax.coinrun.observations.procgen.things import (
    PUFF_AGES,
    Sprite,
    agent_of,
    entities_of,
    level_entities,
)
from coinrun_jax.coinrun.physics import JUMP_SPEED, RUN_SPEED
from coinrun_jax.coinrun.types import MARGIN, MAX_ENTITIES, Entity, EnvState, LevelPool

TRAIL_SHAPE = (PUFF_AGES - 1, MAX_ENTITIES)  # of `EnvState.trail`
PUFF_REACH = 8.5  # tiles from the agent, farther than any puff of an enemy is seen


class Scene(struct.PyTreeNode):
    """All that is painted, of one frame."""

    background_row: jax.Array  # int32 [size], first pixel of the row that is seen, -1 for none
    background_column: jax.Array  # int32 [size], -1 for none
    rows: Cover  # cells from above
    columns: Cover  # cells from the left
    cells: jax.Array  # int32 [16, size], see `cells_of`
    holey: jax.Array  # int32 [225], pictures with holes, see `pictures_of_cells`
    cell_x: Span  # [15]
    cell_y: Span  # [15]
    things: Sprite  # [40], by entity slot
    is_static: jax.Array  # bool [40], saws and crates that are seen
    is_enemy: jax.Array  # bool [40], enemies that are seen
    leaves_puffs: jax.Array  # bool [40]
    puff_x: jax.Array  # float32 [9, 40], where each enemy was, by age of the puff it left
    puff_y: jax.Array  # float32 [40]
    agent: Sprite
    frame: Frame
    shade: jax.Array  # float32 [2], of the squares that show velocities, 0 ... 1
    monochrome: jax.Array  # bool []
    paint_velocity: jax.Array  # bool []
    mirrored: jax.Array  # bool []
    greyscale: jax.Array  # bool []


def _ground(
    state: EnvState,
    pool: LevelPool,
    spans: CellSpans,
    look: Look,
    cues: Cues,
    item_look: jax.Array | int,
) -> Ground:
    corner = jnp.stack([spans.column, spans.row])
    begin = (state.level_index, spans.row + MARGIN, spans.column + MARGIN)
    due = state.item_due <= state.time
    end = pool.levels.end_cell[state.level_index, 0].astype(jnp.int32)
    return Ground(
        tiles=lax.dynamic_slice(pool.tiles, begin, (1, CELLS, CELLS))[0],
        coin=jnp.where(state.coin_present, state.coin_cell - corner, -1 - MAX_SPREAD),
        items=jnp.where(due[:, None], state.item_cell - corner, -1),
        end=end - spans.column,
        theme=jnp.where(look.restrict_themes, 0, state.theme[0]),
        item_look=jnp.maximum(item_look, 0),
        monochrome=jnp.asarray(look.monochrome),
        cues=jax.tree.map(jnp.asarray, cues),
    )


def _covers(spans: CellSpans, size: int) -> tuple[Cover, Cover]:
    """Of the columns of pixels, and of the rows."""
    return cover_of(spans.x, size, upward=False), cover_of(spans.y, size, upward=True)


def _past_x(state: EnvState, pool: LevelPool) -> jax.Array:
    """Where enemies were, by steps since then; float32 [9, 40].

    A state that does not remember it (of an environment with other observations) is taken to
    have come along the lane at the same speed.
    """
    if state.trail is not None:
        return jnp.concatenate([state.entity_x[None], state.trail])
    age = np.arange(PUFF_AGES, dtype=np.float32)[:, None]
    left, right = pool.lane_edge[state.level_index]
    left, right = left + np.float32(0.5), right - np.float32(0.5)
    x = state.entity_x - age * state.entity_vx
    x = jnp.where(x < left, 2 * left - x, jnp.where(x > right, 2 * right - x, x))
    return jnp.clip(x, left, right)


def _shade(speed: jax.Array, largest: float) -> jax.Array:
    """Speed / (2 * largest) + 1/2, rounded once, as from double precision."""
    whole = np.float32(2 * largest)  # 1 or 3
    share = speed / whole
    product = add(share, (whole - 1) * share)  # 0 or twice the share: exact
    rest = ((speed - product.high) - product.low) / whole
    total = add(share, jnp.float32(0.5))
    return total.high + (total.low + rest)


def scene_of(
    state: EnvState,
    pool: LevelPool,
    look: Look,
    pictures: Art,
    cues: Cues,
    item_look: jax.Array | int,
    lens: Lens,
) -> Scene:
    """The scene of one state; arguments as of `observe`."""
    levels, index, clock = pool.levels, state.level_index, state.time
    look = jax.tree.map(jnp.asarray, look)
    monochrome = jnp.asarray(look.monochrome)
    # Whatever many pixels look up is written out first, or it would be computed for each of them.
    frame = written_out(partial(frame_of, lens=lens), clock, state.x, state.y, clock)
    spans = written_out(
        partial(cell_spans, lens=lens), clock, (state.x, state.y), frame, monochrome
    )
    columns, rows = written_out(partial(_covers, size=lens.size), clock, spans)
    ground = _ground(state, pool, spans, look, cues, item_look)
    opaque, holey = written_out(pictures_of_cells, clock, ground)
    backdrop = Backdrop(
        number=state.theme[1],
        shift=levels.background_shift[index],
        is_shown=jnp.asarray(look.backgrounds),
        first=pictures.first,
        top=pictures.top,
        frame=frame,
    )
    background = written_out(partial(background_of, lens=lens), clock, backdrop)

    entities = level_entities(state, pool)
    things = written_out(partial(entities_of, lens=lens), clock, entities, look, frame)
    kind, y = entities.kind, entities.y
    seen = (things.x.stop > things.x.start) & (things.y.stop > things.y.start)
    is_saw, is_crate, is_enemy = (kind == each for each in (Entity.SAW, Entity.CRATE, Entity.ENEMY))
    is_enemy &= ~jnp.asarray(cues.hide_enemy)
    is_static = (is_saw & ~jnp.asarray(cues.hide_saw)) | (is_crate & ~jnp.asarray(cues.hide_crate))
    is_near = (jnp.abs(state.entity_x - state.x) < PUFF_REACH) & (jnp.abs(y - state.y) < PUFF_REACH)
    mirrored = jnp.asarray(cues.mirrored)
    vx = jnp.where(mirrored, -state.vx, state.vx)
    return Scene(
        background_row=background[0],
        background_column=background[1],
        rows=rows,
        columns=columns,
        cells=written_out(cells_of, clock, opaque, columns),
        holey=holey,
        cell_x=spans.x,
        cell_y=spans.y,
        things=things,
        is_static=seen & is_static,
        is_enemy=seen & is_enemy,
        leaves_puffs=is_enemy & is_near & jnp.asarray(look.enemy_trails) & (clock > 0),
        puff_x=_past_x(state, pool),
        puff_y=y,
        agent=agent_of(state, look, frame, lens),
        frame=frame,
        shade=jnp.stack([_shade(vx, RUN_SPEED), _shade(state.vy, JUMP_SPEED)]),
        monochrome=monochrome,
        paint_velocity=jnp.asarray(look.paint_velocity),
        mirrored=mirrored,
        greyscale=jnp.asarray(look.greyscale),
    )
