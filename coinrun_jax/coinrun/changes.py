"""What can be changed in a state of CoinRun, and which cell each number of a view shows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from coinrun_jax.coinrun.cues import END_WALLS, HIDEABLE, LOOKS
from coinrun_jax.coinrun.observations import rgb
from coinrun_jax.coinrun.observations.atlas import VIEW
from coinrun_jax.coinrun.observations.symbolic import DTYPES, PLANES, SCALARS, SIZE
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.physics import HALF_HEIGHT
from coinrun_jax.coinrun.types import MARGIN, NEVER, WORLD_SIZE, Entity, EnvState, Tile
from coinrun_jax.twins import (
    AGENT,
    HIDDEN,
    MOVED,
    RECOLOURED,
    Change,
    ObservedCells,
    Twins,
    moved_to,
    repeated,
    with_fields,
)

_ABOVE = 5  # rows above the highest ground, as far as a map shows them
_AWAY = np.float32(-2 * WORLD_SIZE)  # x of an enemy that is out of sight


def _tiles(state: EnvState, params: EnvParams) -> np.ndarray:
    """Codes of `Tile` [64, 64] of the state's level, row 0 at the bottom."""
    tiles = np.asarray(params.pool.tiles[int(state.level_index)])
    return tiles[MARGIN:-MARGIN, MARGIN:-MARGIN]


def free_cells(state: EnvState, params: EnvParams) -> np.ndarray:
    """Cells without anything static, from the start to the end and up to a little above the
    highest ground; int32 [N, 2], (x, y).
    """
    tiles, end = _tiles(state, params), int(params.pool.levels.end_cell[int(state.level_index), 0])
    part = tiles[:, 1 : end + 1]
    top = int(np.flatnonzero((part == Tile.SURFACE).any(1)).max(initial=0)) + _ABOVE
    y, x = np.nonzero(part[:top] == Tile.EMPTY)
    return np.stack([x + 1, y], -1).astype(np.int32)


def standable_cells(state: EnvState, params: EnvParams) -> np.ndarray:
    """Free cells above solid ground or a crate; int32 [N, 2], (x, y)."""
    tiles, cells = _tiles(state, params), free_cells(state, params)
    below = tiles[np.maximum(cells[:, 1] - 1, 0), cells[:, 0]]
    stands = np.isin(below, (Tile.SOLID, Tile.SURFACE)) | (below >= Tile.CRATE)
    return cells[stands | (cells[:, 1] == 0)]


def _coin_moved(state: EnvState, params: EnvParams) -> Twins:
    if not state.coin_present:
        return with_fields(state, [])
    cells = free_cells(state, params)
    return moved_to(state, "coin", cells, coin_cell=cells)


def _coin_hidden(state: EnvState, params: EnvParams) -> Twins:
    del params
    titles = ["without the coin"] * bool(state.coin_present)
    return with_fields(state, titles, coin_present=[False] * len(titles))


def _agent_moved(state: EnvState, params: EnvParams) -> Twins:
    """At rest in the middle of a cell, on what is below it."""
    tiles, cells = _tiles(state, params), standable_cells(state, params)
    x, y = cells.T
    crate = (tiles[np.maximum(y - 1, 0), x] >= Tile.CRATE) & (y > 0)
    still = np.zeros(len(cells), np.float32)
    return moved_to(
        state,
        AGENT,
        cells,
        x=x.astype(np.float32) + np.float32(0.5),
        y=y.astype(np.float32) + np.float32(HALF_HEIGHT),
        vx=still,
        vy=still,
        on_crate=crate,
        supported=~still.astype(bool),
        walking=still.astype(bool),
    )


def _enemies_hidden(state: EnvState, params: EnvParams) -> Twins:
    """Each enemy by itself, moved out of sight."""
    index = int(state.level_index)
    slots = np.flatnonzero(np.asarray(params.pool.levels.entity_type[index]) == Entity.ENEMY)
    entity_x = np.repeat(np.asarray(state.entity_x)[None], len(slots), 0)
    titles = [f"without the enemy at x = {entity_x[0, slot]:.1f}" for slot in slots]
    entity_x[np.arange(len(slots)), slots] = _AWAY
    return with_fields(state, titles, entity_x=entity_x)


def _items(state: EnvState, params: EnvParams) -> np.ndarray:
    """Numbers of the items that are present."""
    number = np.arange(len(state.item_due))
    there = (np.asarray(state.item_due) <= state.time) & (number < int(params.items.number))
    return np.flatnonzero(there)


def _item_moved(state: EnvState, params: EnvParams) -> Twins:
    """The first item that is present."""
    pieces = _items(state, params)
    if not pieces.size:
        return with_fields(state, [])
    cells = free_cells(state, params)
    item_cell = np.repeat(np.asarray(state.item_cell)[None], len(cells), 0)
    item_cell[:, pieces[0]] = cells
    return moved_to(state, "item", cells, item_cell=item_cell)


def _items_hidden(state: EnvState, params: EnvParams) -> Twins:
    pieces = _items(state, params)
    item_due = np.repeat(np.asarray(state.item_due)[None], len(pieces), 0)
    item_due[np.arange(len(pieces)), pieces] = NEVER
    return with_fields(state, [f"without item {n + 1}" for n in pieces], item_due=item_due)


def _cued(state: EnvState, params: EnvParams, titles: list[str], **cues: Any) -> Twins:
    """Twins that differ in cues [N]."""
    own = repeated(params.cues, len(titles))
    cues = {name: np.asarray(values, getattr(own, name).dtype) for name, values in cues.items()}
    return with_fields(state, titles, overrides={"cues": own.replace(**cues)})


def _coin_recoloured(state: EnvState, params: EnvParams) -> Twins:
    looks = [n for n in range(len(LOOKS)) if n != int(params.cues.coin_look)]
    looks = looks if state.coin_present else []
    return _cued(state, params, [f"coin {LOOKS[n]}" for n in looks], coin_look=looks)


def _end_wall(state: EnvState, params: EnvParams, wall: str) -> Twins:
    """The end wall drawn in another way."""
    code = END_WALLS.index(wall)
    titles = [f"end wall {wall}"] * (int(params.cues.end_wall) != code)
    return _cued(state, params, titles, end_wall=[code] * len(titles))


def _all_hidden(state: EnvState, params: EnvParams, name: str) -> Twins:
    """All things of one kind, such as all saws."""
    field = f"hide_{name}"
    titles = [f"without any {name}"] * (not getattr(params.cues, field))
    return _cued(state, params, titles, **{field: [True] * len(titles)})


CHANGES: Sequence[Change] = (
    Change("coin", MOVED, _coin_moved),
    Change("coin", HIDDEN, _coin_hidden),
    Change("coin", RECOLOURED, _coin_recoloured),
    Change(AGENT, MOVED, _agent_moved),
    Change("enemy", HIDDEN, _enemies_hidden),
    Change("item", MOVED, _item_moved),
    Change("item", HIDDEN, _items_hidden),
    Change("end wall", HIDDEN, partial(_end_wall, wall="hidden")),
    Change("end wall", RECOLOURED, partial(_end_wall, wall="crates")),
    *(
        Change(f"any {name}", HIDDEN, partial(_all_hidden, name=name))
        for name in HIDEABLE
        if name != "coin"
    ),
)


def observed_cells(observation: str) -> ObservedCells:
    """For an observation of the environment, symbols or pixels."""
    if observation in DTYPES:
        return _symbols()
    size = rgb.SIZE
    tile = (np.arange(size) * VIEW // size).astype(np.int32)
    cell = np.broadcast_to((tile[:, None] * VIEW + tile)[..., None], (size, size, 3))
    feature = np.broadcast_to(np.arange(3, dtype=np.int32), cell.shape)
    colours = ("red", "green", "blue")
    return ObservedCells((VIEW, VIEW), cell, feature, colours, _picture_corner, is_picture=True)


def _symbols() -> ObservedCells:
    """Numbers are ordered by column, plane and row from low to high; see `symbolic`."""
    column, plane, row = np.indices((VIEW, len(PLANES), VIEW), np.int32).reshape(3, -1)
    rest = np.arange(len(SCALARS), dtype=np.int32)
    cell = np.concatenate([(VIEW - 1 - row) * VIEW + column, np.full_like(rest, -1)])
    feature = np.concatenate([plane, len(PLANES) + rest])
    assert cell.size == SIZE
    return ObservedCells((VIEW, VIEW), cell, feature, (*PLANES, *SCALARS), _symbols_corner)


def _symbols_corner(state: EnvState) -> tuple[float, float]:
    return float(np.floor(state.x)) - VIEW // 2, float(np.floor(state.y)) - VIEW // 2


def _picture_corner(state: EnvState) -> tuple[float, float]:
    return float(state.x) - VIEW / 2, float(state.y) - VIEW / 2
