"""Changes to a state of the exit maze, and the cell that each number of an observation shows.

Cells of a board are (row, column), row 0 on top; those of twins are (x, y), y up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coinrun_jax.exit_maze.observation import plane_names
from coinrun_jax.exit_maze.params import EnvParams
from coinrun_jax.exit_maze.types import Colour, EnvState
from coinrun_jax.twins import (
    AGENT,
    HIDDEN,
    MOVED,
    RECOLOURED,
    Change,
    ObservedCells,
    Twins,
    moved_to,
    with_fields,
)

_COLOURS = (Colour.RED, Colour.GREEN, Colour.BLUE)


def _walls(state: EnvState, params: EnvParams) -> np.ndarray:
    return np.asarray(params.pool.levels.walls[int(state.level_index)])


def free_cells(state: EnvState, params: EnvParams) -> np.ndarray:
    """Rooms and passages; int32 [N, 2], (row, column)."""
    return np.argwhere(~_walls(state, params)).astype(np.int32)


def _moved(state: EnvState, params: EnvParams, noun: str, field: str) -> Twins:
    cells = free_cells(state, params)
    row, column = cells.T
    places = np.stack([column, len(_walls(state, params)) - 1 - row], -1)
    return moved_to(state, noun, places, **{field: cells})


def _agent_moved(state: EnvState, params: EnvParams) -> Twins:
    return _moved(state, params, AGENT, "cell")


def _green_moved(state: EnvState, params: EnvParams) -> Twins:
    """The cell that is coloured instead of the exit."""
    if state.decoy_colour == Colour.NONE:
        return with_fields(state, [])
    return _moved(state, params, "green cell", "decoy_cell")


def _green_hidden(state: EnvState, params: EnvParams) -> Twins:
    del params
    titles = ["without the green cell"] * (int(state.decoy_colour) != Colour.NONE)
    return with_fields(state, titles, decoy_colour=[Colour.NONE] * len(titles))


def _green_recoloured(state: EnvState, params: EnvParams) -> Twins:
    del params
    if state.decoy_colour == Colour.NONE:
        return with_fields(state, [])
    others = [each for each in _COLOURS if each != state.decoy_colour]
    titles = [f"the green cell {each.name.lower()}" for each in others]
    return with_fields(state, titles, decoy_colour=others)


def _exit_hidden(state: EnvState, params: EnvParams) -> Twins:
    """The exit closed: a wall without colour."""
    del params
    titles = ["without the exit"] * bool(state.exit_present)
    number = len(titles)
    return with_fields(
        state, titles, exit_present=[False] * number, exit_colour=[Colour.NONE] * number
    )


def _exit_recoloured(state: EnvState, params: EnvParams) -> Twins:
    del params
    if not state.exit_present:
        return with_fields(state, [])
    others = [each for each in (Colour.NONE, *_COLOURS) if each != state.exit_colour]
    titles = [f"exit {each.name.lower() if each else 'without colour'}" for each in others]
    return with_fields(state, titles, exit_colour=others)


CHANGES: Sequence[Change] = (
    Change("green", MOVED, _green_moved),
    Change("green", HIDDEN, _green_hidden),
    Change("green", RECOLOURED, _green_recoloured),
    Change(AGENT, MOVED, _agent_moved),
    Change("exit", HIDDEN, _exit_hidden),
    Change("exit", RECOLOURED, _exit_recoloured),
)


def observed_cells(size: int, colour_planes: int, exit_planes: int, view: str) -> ObservedCells:
    """The cells observed in an environment with these settings."""
    names = plane_names(colour_planes, exit_planes, view)
    features = tuple(dict.fromkeys(names))
    shape = (size, size, len(names))
    cell = np.arange(size * size, dtype=np.int32).reshape(size, size, 1)
    feature = np.array([features.index(name) for name in names], np.int32)

    def corner(state: Any) -> tuple[float, float]:
        """The view "agent" wraps around; its corner may be off the board."""
        if view != "agent":
            return 0.0, 0.0
        row, column = (int(each) for each in state.cell)
        return float(column - size // 2), float(size - 1 - row - size // 2)

    return ObservedCells(
        (size, size),
        np.broadcast_to(cell, shape),
        np.broadcast_to(feature, shape),
        features,
        corner,
        wraps=True,
    )
