"""Recordings of Procgen's episodes and levels, with which `parity` compares ours.

A recording is an .npz archive of arrays with one row per level (and episode), per step or per
object; the arrays `*_off` say which rows belong to which level or episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from coinrun_jax.checks import InputError, choice
from coinrun_jax.coinrun.generator import MODES
from coinrun_jax.coinrun.types import (
    MAX_ENTITIES,
    NUM_ACTIONS,
    TIME_LIMIT,
    WORLD_SIZE,
    Cell,
    Entity,
)
from coinrun_jax.files import Array, array_names, read_arrays, shortened

Arrays = Mapping[str, np.ndarray]

MOST_BYTES = 2**28  # of all arrays of a recording, unpacked

THEMES = ("wall_theme", "agent_theme", "background_index")
_OFFSETS = Array("iu", ("levels+1",), low=0)
_CODES = tuple(kind for kind in Entity if kind != Entity.NONE)


def _rows(kind: str, rows: str, *size: int, **limits: Any) -> Array:
    return Array(kind, (rows, *size), **limits)


# Positions may be NaN: such a recording can be read, but does not match.
_OF_LEVELS = {
    "mode": Array("U", optional=True),
    "level_seed": _rows("iu", "levels", low=0, high=2**32 - 1),
    "grid": _rows("iu", "levels", WORLD_SIZE, WORLD_SIZE, low=min(Cell), high=max(Cell)),
    **{name: _rows("iu", "levels", low=0, high=127) for name in THEMES},
    "bg_pct_x": _rows("f", "levels", finite=False),
}
_EPISODES = _OF_LEVELS | {
    "causes": _rows("U", "causes"),
    "cause": _rows("iu", "levels", low=0),
    "agent_init": _rows("f", "levels", 4, finite=False),
    "saw_off": _OFFSETS,
    "saw_xy": _rows("f", "saws", 2, finite=False),
    "crate_off": _OFFSETS,
    "crate_xy": _rows("f", "crates", 2, finite=False),
    "crate_theme": _rows("iu", "crates", low=0, high=127),
    "enemy_off": _OFFSETS,
    "enemy_xy0": _rows("f", "enemies", 2, finite=False),
    "enemy_vx0": _rows("f", "enemies", finite=False),
    "enemy_theme": _rows("iu", "enemies", low=0, high=127),
    "ent_order_off": _OFFSETS,
    "ent_order_type": _rows("iu", "entities", low=min(_CODES), high=max(_CODES)),
    "step_off": _OFFSETS,
    "action": _rows("iu", "steps", low=0, high=NUM_ACTIONS - 1),
    "x": _rows("f", "steps", finite=False),
    "y": _rows("f", "steps", finite=False),
    "flags": _rows("iu", "steps", low=0, high=255),
    "reward": _rows("f", "steps", finite=False),
    "done": _rows("b", "steps"),
    "enemy_step_off": _OFFSETS,
    "enemy_x": _rows("f", "enemy steps", finite=False),
}
_LEVELS = _OF_LEVELS | {
    "difficulty": _rows("iu", "levels", low=0, high=127),
    "ent_off": _OFFSETS,
    "ent_type": _rows("iu", "entities", low=min(_CODES), high=max(_CODES)),
    "ent_x": _rows("f", "entities", finite=False),
    "ent_y": _rows("f", "entities", finite=False),
    "ent_vx": _rows("f", "entities", finite=False),
    "ent_theme": _rows("iu", "entities", low=0, high=127),
    "section_off": _OFFSETS,
    "section": _rows("iu", "sections", 4),
}
_ROWS_OF = {
    "step_off": "x",
    "saw_off": "saw_xy",
    "crate_off": "crate_xy",
    "enemy_off": "enemy_xy0",
    "ent_order_off": "ent_order_type",
    "enemy_step_off": "enemy_x",
    "ent_off": "ent_type",
    "section_off": "section",
}
"""For each array of offsets, an array whose rows it counts."""
_OFFSETS_OF = {Entity.SAW: "saw_off", Entity.CRATE: "crate_off", Entity.ENEMY: "enemy_off"}


def load(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays of a recording.

    Raises:
      InputError: if it is missing, is not an .npz archive, or is not a consistent recording of
        episodes or levels.
    """
    what = "recording"
    path = Path(path)
    is_of_episodes = "step_off" in array_names(path, what)
    arrays = read_arrays(path, what, _EPISODES if is_of_episodes else _LEVELS, MOST_BYTES)
    try:
        _require_consistent(arrays)
    except InputError as error:
        raise InputError(f"{what} {shortened(path)}: {error}") from error
    return arrays


def _require_consistent(arrays: Arrays) -> None:
    """Refuse offsets that do not rise to the number of rows, and contradictory arrays."""
    if not arrays["level_seed"].size:
        raise InputError("it contains neither episodes nor levels")
    if "mode" in arrays:
        choice("mode", str(arrays["mode"]), MODES)
    if not np.isin(arrays["grid"], list(Cell)).all():
        raise InputError("array 'grid' contains values that are not codes of Cell")
    for name, rows in _ROWS_OF.items():
        if name in arrays:
            offset, count = arrays[name].astype(np.int64), len(arrays[rows])
            if offset[0] != 0 or offset[-1] != count or (np.diff(offset) < 0).any():
                raise InputError(
                    f"array {name!r} does not rise from 0 to the {count} rows it counts"
                )
    if "step_off" in arrays:
        _require_episodes(arrays)


def _require_episodes(arrays: Arrays) -> None:
    offsets = {name: arrays[name].astype(np.int64) for name in _ROWS_OF if name in arrays}
    counts: dict[str, Any] = {name: np.diff(offset) for name, offset in offsets.items()}
    steps, enemies = counts["step_off"], counts["enemy_off"]
    if not ((steps >= 1) & (steps <= TIME_LIMIT)).all():
        raise InputError(f"an episode does not have 1 ... {TIME_LIMIT} steps")
    if arrays["cause"].max() >= len(arrays["causes"]):
        raise InputError("array 'cause' has indices beyond the end of 'causes'")
    if (counts["ent_order_off"] > MAX_ENTITIES).any():
        raise InputError(
            f"array 'ent_order_off' has an episode of more than {MAX_ENTITIES} objects"
        )
    for kind, name in _OFFSETS_OF.items():
        upto = np.append(0, np.cumsum(arrays["ent_order_type"] == kind))
        if not np.array_equal(np.diff(upto[offsets["ent_order_off"]]), counts[name]):
            raise InputError(f"arrays 'ent_order_type' and {name!r} disagree")
    if not np.array_equal(counts["enemy_step_off"], steps * enemies):
        raise InputError(
            "array 'enemy_step_off' does not fit the steps and enemies of the episodes"
        )
