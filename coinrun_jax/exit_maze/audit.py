"""Properties that may correlate with the exit in a training distribution, for the audit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.exit_maze.env import ExitMaze
from coinrun_jax.exit_maze.levels import border_cells
from coinrun_jax.exit_maze.maze import around, distances
from coinrun_jax.exit_maze.params import EnvParams
from coinrun_jax.exit_maze.types import Colour, EnvState
from coinrun_jax.inspection import (
    CellProperty,
    LevelProperty,
    Property,
    TrainingSample,
    draw_starts,
)

OTHERS = 8
"""Other border cells drawn for each exit, uniformly."""
_PARTS = 8  # bins of path lengths, distances and numbers of dead ends


def draw_sample(
    env: ExitMaze, params: EnvParams, number: int, seed: int, description: str
) -> TrainingSample:
    """Training episode starts; arguments of `inspection.draw_starts`."""
    drawn = draw_starts(env, params, number, seed, _start)
    side, steps = _side(drawn["cell"], env.size), _in_parts(drawn["steps"])
    return TrainingSample(
        level_seeds=drawn["level_seed"],
        properties=[*_cell_properties(drawn, env.size), *_level_properties(drawn)],
        places=(side, steps),
        num_levels=len(np.unique(drawn["level_seed"])),
        present=1.0,
        description=description,
        reward=_reward_line(params),
        others="other border cells",
    )


def _start(
    env: ExitMaze, key: jax.Array, index: jax.Array, params: EnvParams
) -> tuple[EnvState, dict[str, jax.Array]]:
    """One start, with 1 + OTHERS cells, the exit's first."""
    key, key_others = jax.random.split(key)
    state = env.start(key, index, params)
    levels = params.pool.levels
    border, beside = (jnp.asarray(each) for each in border_cells(env.size))
    is_exit = (border == levels.exit_cell[index].astype(jnp.int32)).all(1)
    number, exit_number = len(border), jnp.argmax(is_exit)
    further = jax.random.randint(key_others, (OTHERS,), 1, number)
    which = jnp.concatenate([exit_number[None], (exit_number + further) % number])
    cells, rooms = border[which], beside[which]

    walls = levels.walls[index]
    ways_out = jnp.sum(around(~walls, False), 0, dtype=jnp.int32)
    reach = distances(walls, levels.start_cell[index])
    is_decoy = (cells == state.decoy_cell).all(1)
    decoy_colour = jnp.where(is_decoy, state.decoy_colour, Colour.NONE)
    return state, {
        "level_seed": levels.seed[index],
        "cell": cells,  # int32 [1 + OTHERS, 2]
        "colour": decoy_colour.at[0].set(state.exit_colour),  # int32 [1 + OTHERS]
        "steps": reach[rooms[:, 0], rooms[:, 1]] + jnp.int16(1),  # from the start
        "ways_out": ways_out[rooms[:, 0], rooms[:, 1]],  # of the room before it, without the gap
        "start": levels.start_cell[index].astype(jnp.int32),
        "dead_ends": levels.num_dead_ends[index],
        "decoy_colour": state.decoy_colour,
    }


def _side(cell: np.ndarray, size: int) -> np.ndarray:
    """Side of the board, int [N, 1 + K]: 0 left, 1 right, 2 top, 3 bottom."""
    row, column = cell[..., 0], cell[..., 1]
    return np.select([column == 0, column == size - 1, row == 0], [0, 1, 2], 3)


def _in_parts(numbers: np.ndarray) -> np.ndarray:
    """Bins of whole numbers [N, ...], 0 ... _PARTS - 1, with roughly equal counts."""
    bounds = np.unique(np.quantile(numbers, np.arange(1, _PARTS) / _PARTS))
    return np.searchsorted(bounds, numbers, side="left")


def _cell_properties(drawn: dict[str, np.ndarray], size: int) -> list[Property]:
    cell, colour, steps = drawn["cell"], drawn["colour"], drawn["steps"]
    side, as_far = _side(cell, size), np.abs(cell - drawn["start"][:, None]).sum(-1)

    def share(name: str, title: str, opposite: str, is_it: np.ndarray) -> CellProperty:
        return CellProperty(name, title, opposite, is_it.astype(int), is_it.astype(float))

    def count(name: str, title: str, opposite: str, number: np.ndarray, unit: str) -> CellProperty:
        codes = _in_parts(number)
        return CellProperty(name, title, opposite, codes, number.astype(float), unit, False)

    return [
        share("green", "green", "not green", colour == Colour.GREEN),
        share("coloured", "coloured", "without a colour", colour != Colour.NONE),
        share("left", "on the left side", "not on the left side", side == 0),
        share("right", "on the right side", "not on the right side", side == 1),
        share("top", "at the top", "not at the top", side == 2),
        share("bottom", "at the bottom", "not at the bottom", side == 3),
        count(
            "steps",
            "a long way from the start",
            "a short way from the start",
            steps,
            "steps on average",
        ),
        count("distance", "far from the start", "near the start", as_far, "cells on average"),
        share("dead_end", "at a dead end", "not at a dead end", drawn["ways_out"] == 1),
    ]


def _level_properties(drawn: dict[str, np.ndarray]) -> list[Property]:
    return [
        LevelProperty("dead_ends", "number of dead ends", _in_parts(drawn["dead_ends"])),
        LevelProperty("decoy", "colour of the decoy", drawn["decoy_colour"].astype(int)),
    ]


def _reward_line(params: EnvParams) -> str:
    parts = {
        "touching a green decoy": float(params.reward_green),
        "every step": float(params.reward_step),
    }
    besides = ", ".join(f"{value:g} for {name}" for name, value in parts.items() if value)
    exit_part = f"The reward is {float(params.reward_exit):g} for the exit"
    if not besides:
        return (
            f"{exit_part} and nothing else: whatever goes together with the exit goes together "
            "with the reward."
        )
    return f"{exit_part}, and {besides}; the audit covers only the exit's part."
