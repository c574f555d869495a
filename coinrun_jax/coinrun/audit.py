"""Properties that may be associated with the coin in a training distribution, for the audit."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun import places
from coinrun_jax.coinrun.env import CoinRun
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.placement import lists, make_placement
from coinrun_jax.coinrun.pool import level_of
from coinrun_jax.coinrun.types import MAX_SECTIONS, WORLD_SIZE, Cell, EnvState, LevelPool
from coinrun_jax.inspection import CellProperty, LevelProperty, Property, draw_starts

OTHERS = 8
"""Other cells drawn for each coin, uniformly from its level's standing cells except the end."""
FIRST_COLUMN = 1  # of the way: where the agent starts in Procgen's levels
PARTS = 10  # of the way
_GROUND = np.array([Cell.SOLID, Cell.SURFACE, Cell.LAVA, Cell.LAVA_SURFACE], np.int8)
_RISES = (0, 1, 3, 6, 10)  # rows above the start at which classes of height begin
_MOST_OVER_GROUND = 4
_COLUMNS_APART = (1, 3, 6, 11)  # from the nearest decoy, likewise


@dataclasses.dataclass(frozen=True)
class Starts:
    """N episode starts, each with 1 + `OTHERS` cells, the coin's first."""

    level_seed: np.ndarray  # uint32 [N]
    present: np.ndarray  # bool [N], whether there is a coin
    cell: np.ndarray  # int32 [N, 1 + OTHERS, 2], (x, y)
    on_way: np.ndarray  # bool [N, 1 + OTHERS], in `places.way`
    over_ground: np.ndarray  # int32 [N, 1 + OTHERS], rows between the cell and the ground below
    start: np.ndarray  # int32 [N, 2], cell of the agent
    end: np.ndarray  # int32 [N, 2], the end cell
    section_x: np.ndarray  # int32 [N, 5], first column of each section
    num_sections: np.ndarray  # int32 [N]
    difficulty: np.ndarray  # int32 [N], 1...3
    theme: np.ndarray  # int32 [N, 3], of ground, background and agent
    item_cell: np.ndarray  # int32 [N, 2, 2], (x, y) of decoys
    item_there: np.ndarray  # bool [N, 2], whether they are there

    def where(self, wanted: np.ndarray) -> Starts:
        """The starts marked in `wanted`, bool [N]."""
        return Starts(**{name: values[wanted] for name, values in vars(self).items()})


def draw(env: CoinRun, params: EnvParams, number: int, seed: int) -> Starts:
    """Episode starts of training; arguments of `inspection.draw_starts`."""
    return Starts(**draw_starts(env, params, number, seed, _start))


def _start(
    env: CoinRun, key: jax.Array, index: jax.Array, params: EnvParams
) -> tuple[EnvState, dict[str, jax.Array]]:
    """One start on a level of the pool: the state, and the fields of `Starts`."""
    elsewhere = params.replace(placement=make_placement("uniform"))
    key, key_others = jax.random.split(key)
    state = env.start(key, index, params)
    others = jax.vmap(lambda key: env.start(key, index, elsewhere).coin_cell)(
        jax.random.split(key_others, OTHERS)
    )
    cells = jnp.concatenate([state.coin_cell[None], others])
    level = level_of(params.pool, index)
    return state, {
        "level_seed": level.seed,
        "present": state.coin_present,
        "cell": cells,
        "on_way": jax.vmap(partial(_on_way, params.pool, index))(cells),
        "over_ground": jax.vmap(partial(_over_ground, params.pool, index))(cells),
        "start": jnp.floor(jnp.stack([state.x, state.y])).astype(jnp.int32),
        "end": level.end_cell.astype(jnp.int32),
        "section_x": level.section_cell[:, 0].astype(jnp.int32),
        "num_sections": level.num_sections.astype(jnp.int32),
        "difficulty": level.difficulty.astype(jnp.int32),
        "theme": state.theme,
        "item_cell": state.item_cell,
        "item_there": state.item_due <= 0,
    }


def _on_way(pool: LevelPool, index: jax.Array, cell: jax.Array) -> jax.Array:
    words = pool.places.rows[index, lists().index(places.way), :, cell[0]]
    return (words[cell[1] // 32] >> (cell[1] % 32).astype(jnp.uint32)) & 1 == 1


def _over_ground(pool: LevelPool, index: jax.Array, cell: jax.Array) -> jax.Array:
    row = np.arange(WORLD_SIZE, dtype=np.int32)
    column = pool.levels.grid[index, :, cell[0]]
    below = jnp.isin(column, _GROUND) & (row < cell[1])
    return cell[1] - 1 - jnp.max(jnp.where(below, row, -1))


def share_of_way(starts: Starts) -> np.ndarray:
    """Fraction of the columns from the first to the end, float [N, 1 + K] in 0 ... 1."""
    return _share(starts, starts.cell[..., 0])


def places_of(starts: Starts) -> tuple[np.ndarray, np.ndarray]:
    """Where cells are: the part of the way, and whether it is the end; int [N, 1 + K]."""
    return _part(share_of_way(starts)), _at_end(starts).astype(int)


def properties_of(starts: Starts) -> list[Property]:
    """What the coin could be associated with."""
    return [*_cell_properties(starts), *_level_properties(starts)]


def _share(starts: Starts, x: np.ndarray) -> np.ndarray:
    way = np.maximum(starts.end[:, :1] - FIRST_COLUMN, 1)
    return np.clip((x - FIRST_COLUMN) / way, 0, 1)


def _part(share: np.ndarray) -> np.ndarray:
    return np.minimum((share * PARTS).astype(int), PARTS - 1)


def _at_end(starts: Starts) -> np.ndarray:
    return starts.cell[..., 0] == starts.end[:, :1]


def _distance(starts: Starts) -> np.ndarray:
    """Columns from the start, as a share of the largest distance in the level."""
    start = starts.start[:, :1]
    farthest = np.maximum(starts.end[:, :1] - start, start - FIRST_COLUMN)
    return np.clip(np.abs(starts.cell[..., 0] - start) / np.maximum(farthest, 1), 0, 1)


def _sections_to_come(starts: Starts) -> np.ndarray:
    """Sections after the cell's own, int [N, 1 + K]; all of them before the first section."""
    number = starts.num_sections[:, None]
    passed = starts.cell[..., :1] >= starts.section_x[:, None]
    return number - np.sum(passed & (np.arange(MAX_SECTIONS) < number[..., None]), -1)


def _to_decoy(starts: Starts) -> np.ndarray:
    """Columns to the nearest decoy, float [N, 1 + K]; infinite without one."""
    apart = np.abs(starts.cell[..., :1] - starts.item_cell[:, None, :, 0]).astype(float)
    return np.where(starts.item_there[:, None], apart, np.inf).min(-1)


def _decoy(starts: Starts) -> np.ndarray:
    """0 without a decoy, else 1 + the part of the way where the first one lies."""
    which = np.where(starts.item_there[:, 0], 0, 1)
    x = starts.item_cell[np.arange(len(which)), which, 0]
    return np.where(starts.item_there.any(1), 1 + _part(_share(starts, x[:, None]))[:, 0], 0)


def _cell_properties(starts: Starts) -> list[Property]:
    direction = 1 + np.sign(starts.cell[..., 0] - starts.start[:, :1])
    share, distance, at_end = share_of_way(starts), _distance(starts), _at_end(starts)
    sections, height = _sections_to_come(starts), starts.cell[..., 1] - starts.start[:, 1:]
    over_ground, on_way, apart = starts.over_ground, starts.on_way, _to_decoy(starts)

    def cell(
        name: str,
        title: str,
        opposite: str,
        codes: np.ndarray,
        numbers: np.ndarray,
        unit: str = "",
        is_share: bool = True,
    ) -> CellProperty:
        return CellProperty(
            name, title, opposite, codes.astype(int), numbers.astype(float), unit, is_share
        )

    return [
        cell("direction", "right of the spawn", "left of the spawn", direction, direction == 2),
        cell(
            "share_of_way",
            "rightmost (share of the way)",
            "leftmost (share of the way)",
            _part(share),
            share,
            "of the way on average",
        ),
        cell(
            "distance",
            "far from the spawn",
            "near the spawn",
            _part(distance),
            distance,
            "of the farthest on average",
        ),
        cell("at_end", "at the end wall", "away from the end wall", at_end, at_end),
        cell("section", "in the last section", "before the last section", sections, sections == 0),
        cell(
            "height",
            "high up (rows above the spawn)",
            "low down (rows above the spawn)",
            np.digitize(height, _RISES),
            height,
            "rows on average",
            is_share=False,
        ),
        cell(
            "over_ground",
            "off the ground (rows over it)",
            "on the ground (rows over it)",
            np.minimum(over_ground, _MOST_OVER_GROUND),
            over_ground,
            "rows on average",
            is_share=False,
        ),
        cell("on_way", "on the running line", "off the running line", on_way, on_way),
        cell(
            "near_decoy",
            "near a decoy",
            "away from decoys",
            np.digitize(apart, _COLUMNS_APART),
            apart <= 2,
            "within two columns of one",
        ),
    ]


def _level_properties(starts: Starts) -> list[Property]:
    ground, background, agent = starts.theme.T
    return [
        LevelProperty("difficulty", "difficulty", starts.difficulty),
        LevelProperty("ground_theme", "ground theme", ground),
        LevelProperty("background", "background", background),
        LevelProperty("agent_colour", "agent colour", agent),
        LevelProperty("decoy", "where a decoy is, if any", _decoy(starts)),
    ]


def reward_line(params: EnvParams) -> str:
    """A sentence on how much of the reward depends on the coin."""
    parts = {
        "progress": float(params.reward.progress),
        "every step": float(params.reward.step),
        "the end": float(params.reward.end),
        "items": float(params.items.worth) * (int(params.items.number) > 0),
    }
    besides = ", ".join(f"{name} {value:g}" for name, value in parts.items() if value)
    coin = f"{float(params.reward.coin):g} for touching the coin"
    if not besides:
        return (
            f"The reward is {coin} and nothing else: whatever goes together with the coin goes "
            "together with the reward."
        )
    return (
        f"The reward is {coin}, and for other things ({besides}); the audit covers only the "
        "coin's part."
    )
