"""Checks of levels, and conversion to Procgen's own codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from coinrun_jax.checks import InputError, known, shown
from coinrun_jax.coinrun.types import (
    MAX_ENTITIES,
    MAX_SECTIONS,
    NUM_AGENT_THEMES,
    NUM_BACKGROUNDS,
    NUM_CRATE_THEMES,
    NUM_ENEMY_THEMES,
    NUM_WALL_THEMES,
    WORLD_SIZE,
    Cell,
    Entity,
    Level,
)

MOST_CRATE_RUNS = 2  # that an enemy walks through: `LevelPool.lane_crates` holds no more
_EDGE = float(np.nextafter(np.float32(WORLD_SIZE), np.float32(0)))
_ANY = (-128, 127)  # checked separately

# Type, shape, lowest and highest value of every field.
_FIELDS: dict[str, tuple[str, tuple[int, ...], tuple[float, float]]] = {
    "seed": ("uint32", (), (0, 2**32 - 1)),
    "grid": ("int8", (WORLD_SIZE, WORLD_SIZE), _ANY),
    "entity_type": ("int8", (MAX_ENTITIES,), _ANY),
    "entity_xy": ("float32", (MAX_ENTITIES, 2), (0, _EDGE)),
    "entity_vx": ("float32", (MAX_ENTITIES,), (-1, 1)),
    "entity_theme": ("int8", (MAX_ENTITIES,), (0, 127)),
    "start_xy": ("float32", (2,), (0, _EDGE)),
    "end_cell": ("int8", (2,), (0, WORLD_SIZE - 1)),
    "section_cell": ("int8", (MAX_SECTIONS, 2), (0, WORLD_SIZE - 1)),
    "num_sections": ("int8", (), (0, MAX_SECTIONS)),
    "difficulty": ("int8", (), (1, 3)),
    "wall_theme": ("int8", (), (0, NUM_WALL_THEMES - 1)),
    "agent_theme": ("int8", (), (0, NUM_AGENT_THEMES - 1)),
    "background_index": ("int8", (), (0, NUM_BACKGROUNDS - 1)),
    "background_shift": ("float32", (), (0, 1)),
}
_NUM_THEMES = {Entity.SAW: 1, Entity.CRATE: NUM_CRATE_THEMES, Entity.ENEMY: NUM_ENEMY_THEMES}
_Arrays = Mapping[str, np.ndarray]


def require_levels(levels: Any, one: bool = False) -> None:
    """Refuse levels that cannot be played exactly; traced ones pass.

    Args:
      levels: a `Level`, or a batch with one leading axis.
      one: refuse a batch.

    Raises:
      ValueError: in one line, for a type, shape, code or position that `Level` does not allow, a
        start inside solid ground, or more runs of crates than an enemy may walk through.
    """
    if not isinstance(levels, Level):
        raise InputError(f"{shown(levels)} is not a Level")
    found = {name: _array(name, getattr(levels, name)) for name in _FIELDS}
    arrays = {name: array for name, array in found.items() if array is not None}
    if len(arrays) < len(found):
        return
    batch = arrays["grid"].shape[:-2]
    if len(batch) > (0 if one else 1):
        wanted = "one level" if one else "one level or a row of them"
        raise InputError(f"expected {wanted}, not a batch {list(batch)}")
    for name, (dtype, shape, _) in _FIELDS.items():
        array = arrays[name]
        if array.dtype != dtype or array.shape != (*batch, *shape):
            raise InputError(
                f"level {name} is {array.dtype} {list(array.shape)}, not {dtype} {[*batch, *shape]}"
            )
    if batch == (0,):
        raise InputError("there is no level in an empty batch")
    arrays = arrays if batch else {name: array[None] for name, array in arrays.items()}
    _require_ranges(arrays)
    _require_codes(arrays)
    _require_lanes(arrays)


def _array(name: str, value: Any) -> np.ndarray | None:
    try:
        return known(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"level {name} {shown(value)} is not an array") from error


def _fault(arrays: _Arrays, number: int, what: str) -> InputError:
    """What is wrong with one of several levels."""
    count = len(arrays["seed"])
    which = f"level {number} of {count}, seed {arrays['seed'][number]}: " if count > 1 else ""
    return InputError(which + what)


def _require_ranges(arrays: _Arrays) -> None:
    for name, (_, _, (low, high)) in _FIELDS.items():
        array = arrays[name]
        inside = (array >= low) & (array <= high)  # False for NaN
        if not inside.all():
            number, *place = np.argwhere(~inside)[0]
            value = array[(number, *place)]
            raise _fault(arrays, number, f"{name} holds {value}, not within {low} ... {high:.9g}")


def _require_codes(arrays: _Arrays) -> None:
    """Check codes of cells and entities, themes of entities, and that the start is free."""
    grid, kind, theme = (arrays[name] for name in ("grid", "entity_type", "entity_theme"))
    for number, row, column in np.argwhere(~np.isin(grid, list(set(Cell) - {Cell.COIN})))[:1]:
        code = grid[number, row, column]
        why = "the coin is not part of a level" if code == Cell.COIN else "not a code of Cell"
        raise _fault(arrays, number, f"grid holds {code} in cell ({column}, {row}): {why}")
    for number, slot in np.argwhere(~np.isin(kind, list(Entity)))[:1]:
        code = kind[number, slot]
        raise _fault(arrays, number, f"entity_type holds {code}: not a code of Entity")
    looks = np.full(128, 128)
    looks[list(_NUM_THEMES)] = list(_NUM_THEMES.values())
    for number, slot in np.argwhere(theme >= looks[kind])[:1]:
        name = Entity(kind[number, slot]).name.lower()
        what = f"entity_theme holds {theme[number, slot]} for an entity of type {name}"
        raise _fault(arrays, number, f"{what}, not within 0 ... {looks[kind[number, slot]] - 1}")
    column, row = arrays["start_xy"].astype(int).T
    below = grid[np.arange(len(grid)), row, column]
    for number in np.flatnonzero((below == Cell.SOLID) | (below == Cell.SURFACE))[:1]:
        x, y = arrays["start_xy"][number]
        raise _fault(arrays, number, f"the start ({x:g}, {y:g}) is inside solid ground")


def _require_lanes(arrays: _Arrays) -> None:
    """Refuse more crates in an enemy's lane than a pool can store; see `pool`."""
    grid, kind = arrays["grid"], arrays["entity_type"]
    cells = arrays["entity_xy"].astype(int)
    crates = np.zeros(grid.shape, bool)
    number, slot = np.nonzero(kind == Entity.CRATE)
    crates[number, cells[number, slot, 1], cells[number, slot, 0]] = True

    number, slot = np.nonzero(kind == Entity.ENEMY)
    own, row = cells[number, slot].T
    turns = np.isin(grid[number, row], (Cell.SOLID, Cell.SURFACE, Cell.BARRIER))
    column = np.arange(WORLD_SIZE)
    left = np.where(turns & (column < own[:, None]), column, -1).max(1, initial=-1)
    right = np.where(turns & (column > own[:, None]), column, WORLD_SIZE).min(1, initial=WORLD_SIZE)
    met = crates[number, row] & (column > left[:, None]) & (column < right[:, None])
    runs = (met & ~np.pad(met, ((0, 0), (1, 0)))[:, :-1]).sum(1)
    for enemy in np.flatnonzero(runs > MOST_CRATE_RUNS)[:1]:
        raise _fault(
            arrays,
            number[enemy],
            f"the enemy at column {own[enemy]}, row {row[enemy]} walks through {runs[enemy]} "
            f"separate rows of crates: at most {MOST_CRATE_RUNS}",
        )


def level_to_arrays(level: Level) -> dict[str, Any]:
    """One level in Procgen's codes, with the coin at the end; entities in creation order.

    Returns:
      `grid` int8 [64, 64] (row 0 lowest), `saw_xy`, `crate_xy`, `enemy_xy` float32 [n, 2],
      `enemy_vx` float32 [n], `crate_theme`, `enemy_theme` int8 [n], `entity_type` int8 [n],
      and the scalars `level_seed`, `wall_theme`, `agent_theme`, `background_index`,
      `background_shift`.

    Raises:
      ValueError: for a batch of levels, or anything but a level, as in `require_levels`.
    """
    require_levels(level, one=True)
    grid = np.array(level.grid)
    x, y = np.asarray(level.end_cell)
    grid[y, x] = Cell.COIN
    kind = np.asarray(level.entity_type)
    of = {name: kind == name for name in (Entity.SAW, Entity.CRATE, Entity.ENEMY)}
    xy, vx, theme = (np.asarray(a) for a in (level.entity_xy, level.entity_vx, level.entity_theme))
    return {
        "grid": grid,
        "saw_xy": xy[of[Entity.SAW]],
        "crate_xy": xy[of[Entity.CRATE]],
        "crate_theme": theme[of[Entity.CRATE]],
        "enemy_xy": xy[of[Entity.ENEMY]],
        "enemy_vx": vx[of[Entity.ENEMY]],
        "enemy_theme": theme[of[Entity.ENEMY]],
        "entity_type": kind[kind != Entity.NONE],
        "level_seed": int(level.seed),
        "wall_theme": int(level.wall_theme),
        "agent_theme": int(level.agent_theme),
        "background_index": int(level.background_index),
        "background_shift": float(level.background_shift),
    }
