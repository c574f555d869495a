"""What is where on a frame: everything but the pixels themselves."""

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
    covering,
    pictures_of_cells,
    tiles_of,
)
from coinrun_jax.coinrun.observations.procgen.frame import Frame, frame_of
from coinrun_jax.coinrun.observations.procgen.pictures import Art
from coinrun_jax.coinrun.observations.procgen.spans import Lens, add
from coinrun_jax.coinrun.observations.procgen.things import (
    PUFF_AGES,
    Entities,
    Sprite,
    agent_of,
    entities_of,
    level_entities,
)
from coinrun_jax.coinrun.physics import JUMP_SPEED, RUN_SPEED
from coinrun_jax.coinrun.types import MARGIN, MAX_ENTITIES, Entity, EnvState, LevelPool

TRAIL_SHAPE = (PUFF_AGES - 1, MAX_ENTITIES)  # of `EnvState.trail`
FIELDS = 11  # numbers per sprite
WORD = 32  # bits of a mask's word
MASK_WORDS = -(-MAX_ENTITIES // WORD)  # of a mask of entities
AGENT = MAX_ENTITIES  # index of its sprite, after the entities by slot
NUM_SPRITES = MAX_ENTITIES + 1
_REACH = 8.2  # tiles from the agent, beyond which no enemy's puffs are seen


class Scene(struct.PyTreeNode):
    """Everything that is painted on one frame; int32 unless stated otherwise."""

    background_row: jax.Array  # [size], first pixel of the row that is seen, -1 for none
    background_column: jax.Array  # [size], -1 for none
    rows: jax.Array  # [2, size], a `Cover` by rows of cells
    columns: jax.Array  # [2, size], likewise by columns
    cells: jax.Array  # [16 * size], see `cells_of`
    holey: jax.Array  # [225], pictures with holes, see `pictures_of_cells`
    holes: jax.Array  # uint32 [8], mask of those that are present
    cell_x: jax.Array  # [60], start, stop, first and step of each column's span
    cell_y: jax.Array  # [60], of each row's
    sprites: jax.Array  # [FIELDS, 41], entities by slot, and the agent
    things: jax.Array  # uint32 [2], mask of the slots of saws and crates that are seen
    enemies: jax.Array  # uint32 [2], mask of the slots of enemies that are seen
    puffing: jax.Array  # uint32 [2], mask of the slots of enemies whose puffs may be seen
    puff_x: jax.Array  # float32 [9 * 40], where each enemy was, by age of the puff it left
    puff_y: jax.Array  # float32 [40], height of each enemy
    offsets: jax.Array  # float32 [2], of the frame
    clock: jax.Array  # [1]
    monochrome: jax.Array  # bool [1]
    shade: jax.Array  # float32 [2], of the squares that show velocities, 0 ... 1
    paint_velocity: jax.Array  # bool [1]
    mirrored: jax.Array  # bool [1]
    greyscale: jax.Array  # bool [1]


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


def _covers(spans: CellSpans, clock: jax.Array, size: int) -> tuple[Cover, Cover]:
    """Covers of the columns of pixels, and of the rows."""
    covers = written_out(
        lambda x, y: (covering(x, size), covering(y, size)), clock, spans.x, spans.y
    )
    return tuple(
        written_out(partial(cover_of, upward=upward), clock, *cover)
        for upward, cover in zip((False, True), covers, strict=True)
    )


def _past_x(state: EnvState, pool: LevelPool) -> jax.Array:
    """Where enemies were, by steps since then; float32 [9, 40].

    In a state without a trail (from an environment with other observations), they are assumed to
    have moved along their lanes at the same speed.
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


def _is_seen(sprite: Sprite) -> jax.Array:
    return (sprite.x.stop > sprite.x.start) & (sprite.y.stop > sprite.y.start)


def _fields(sprite: Sprite) -> jax.Array:
    """Sprites as numbers; int32 [FIELDS, ...]."""
    numbers = (sprite.base, sprite.width, *sprite.x, *sprite.y, sprite.flip)
    return jnp.stack(jnp.broadcast_arrays(*numbers)).astype(jnp.int32)


def _mask(marks: jax.Array) -> jax.Array:
    """A mask's words, uint32."""
    padded = jnp.pad(marks, (0, -marks.size % WORD)).reshape(-1, WORD)
    bits = jnp.left_shift(np.uint32(1), np.arange(WORD, dtype=np.uint32))
    return jnp.sum(jnp.where(padded, bits, np.uint32(0)), 1, dtype=jnp.uint32)


def _things(
    entities: Entities,
    state: EnvState,
    look: Look,
    cues: Cues,
    frame: Frame,
    lens: Lens,
) -> tuple[jax.Array, ...]:
    """`Scene.sprites`, and marks of slots: visible saws and crates, visible enemies, puffing."""
    kind, y = entities.kind, entities.y
    things = written_out(partial(entities_of, lens=lens), frame.clock, entities, look, frame)
    seen = _is_seen(things)
    is_enemy = (kind == Entity.ENEMY) & ~cues.hide_enemy
    is_static = ((kind == Entity.SAW) & ~cues.hide_saw) | (
        (kind == Entity.CRATE) & ~cues.hide_crate
    )
    near = is_enemy & (jnp.abs(entities.x - state.x) < _REACH) & (jnp.abs(y - state.y) < _REACH)
    near &= jnp.asarray(look.enemy_trails) & (frame.clock > 0)
    agent = written_out(partial(agent_of, lens=lens), frame.clock, state, look, frame)
    sprites = jnp.concatenate([_fields(things), _fields(agent)[:, None]], 1)
    return sprites, seen & is_static, seen & is_enemy, near


def scene_of(
    state: EnvState,
    pool: LevelPool,
    look: Look,
    pictures: Art,
    cues: Cues,
    item_look: jax.Array | int,
    lens: Lens,
) -> Scene:
    """The scene of one state; arguments as for `observe`."""
    levels, index, clock = pool.levels, state.level_index, state.time
    look, cues = jax.tree.map(jnp.asarray, (look, cues))
    monochrome = jnp.asarray(look.monochrome)
    # Whatever many pixels look up is written out first, or it would be recomputed for each.
    frame = written_out(partial(frame_of, lens=lens), clock, state.x, state.y, clock)
    spans = written_out(
        partial(cell_spans, lens=lens), clock, (state.x, state.y), frame, monochrome
    )
    columns, rows = _covers(spans, clock, lens.size)
    ground = _ground(state, pool, spans, look, cues, item_look)
    tiles = written_out(tiles_of, clock, ground)
    opaque, holey = written_out(pictures_of_cells, clock, ground, tiles)
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
    sprites, *marks = _things(entities, state, look, cues, frame, lens)
    things, enemies, puffing = map(_mask, marks)
    vx = jnp.where(cues.mirrored, -state.vx, state.vx)
    return Scene(
        background_row=background[0],
        background_column=background[1],
        rows=jnp.stack(rows),
        columns=jnp.stack(columns),
        cells=written_out(cells_of, clock, opaque, columns).reshape(-1),
        holey=holey,
        holes=_mask(holey > 0),
        cell_x=jnp.concatenate(spans.x),
        cell_y=jnp.concatenate(spans.y),
        sprites=sprites,
        things=things,
        enemies=enemies,
        puffing=puffing,
        puff_x=_past_x(state, pool).reshape(-1),
        puff_y=entities.y,
        offsets=jnp.stack([frame.x_offset, frame.y_offset]),
        clock=clock[None],
        monochrome=monochrome[None],
        shade=jnp.stack([_shade(vx, RUN_SPEED), _shade(state.vy, JUMP_SPEED)]),
        paint_velocity=jnp.asarray(look.paint_velocity)[None],
        mirrored=jnp.asarray(cues.mirrored)[None],
        greyscale=jnp.asarray(look.greyscale)[None],
    )
