"""What could go together with the coin: properties of cells, of levels and of episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from coinrun_jax.coinrun.types import MAX_SECTIONS
from eval.audit.dependence import Dependence, Resampling, of_cells, of_levels
from eval.audit.starts import Starts

FIRST_COLUMN = 1  # of the way: where the agent starts in Procgen's levels
PARTS = 10  # of the way
_RISES = (0, 1, 3, 6, 10)  # rows above the start that a next kind of height begins at
_MOST_OVER_GROUND = 4
_COLUMNS_APART = (1, 3, 6, 11)  # from the nearest decoy, likewise


@dataclass(frozen=True)
class CellProperty:
    """A property of cells; see `dependence.of_cells`.

    `phrase` says in the sentence what the mean over cells is, "{}" standing for it.
    """

    name: str
    title: str  # of much of it
    opposite: str  # of little of it
    phrase: str
    codes: Callable[[Starts], np.ndarray]  # -> int [N, 1 + K]
    numbers: Callable[[Starts], np.ndarray]  # -> float [N, 1 + K]
    is_share: bool  # whether the number is 0 or 1, or a share


@dataclass(frozen=True)
class LevelProperty:
    """A property of levels or episodes, int [N]; see `dependence.of_levels`."""

    name: str
    title: str
    codes: Callable[[Starts], np.ndarray]


def _x(starts: Starts) -> np.ndarray:
    return starts.cell[..., 0]


def share_of_way(starts: Starts) -> np.ndarray:
    """Of the columns from the first to the end, float [N, 1 + K] in 0 ... 1."""
    way = np.maximum(starts.end[:, :1] - FIRST_COLUMN, 1)
    return np.clip((_x(starts) - FIRST_COLUMN) / way, 0, 1)


def _part(share: np.ndarray) -> np.ndarray:
    return np.minimum((share * PARTS).astype(int), PARTS - 1)


def _direction(starts: Starts) -> np.ndarray:
    return 1 + np.sign(_x(starts) - starts.start[:, :1])


def _distance(starts: Starts) -> np.ndarray:
    """Columns from the start, as a share of the most that the level has."""
    start = starts.start[:, :1]
    farthest = np.maximum(starts.end[:, :1] - start, start - FIRST_COLUMN)
    return np.clip(np.abs(_x(starts) - start) / np.maximum(farthest, 1), 0, 1)


def _height(starts: Starts) -> np.ndarray:
    return starts.cell[..., 1] - starts.start[:, 1:]


def _at_end(starts: Starts) -> np.ndarray:
    return _x(starts) == starts.end[:, :1]


def _sections_to_come(starts: Starts) -> np.ndarray:
    """Sections after the cell's own, int [N, 1 + K]; the ground before the first has all."""
    number = starts.num_sections[:, None]
    passed = _x(starts)[..., None] >= starts.section_x[:, None]
    return number - np.sum(passed & (np.arange(MAX_SECTIONS) < number[..., None]), -1)


def _to_decoy(starts: Starts) -> np.ndarray:
    """Columns to the nearest decoy, float [N, 1 + K]; infinite without one."""
    apart = np.abs(_x(starts)[..., None] - starts.item_cell[:, None, :, 0]).astype(float)
    return np.where(starts.item_there[:, None], apart, np.inf).min(-1)


def _decoy(starts: Starts) -> np.ndarray:
    """0 without a decoy, else 1 + the part of the way where the first one lies."""
    x = np.where(starts.item_there[:, 0], starts.item_cell[:, 0, 0], starts.item_cell[:, 1, 0])
    way = np.maximum(starts.end[:, 0] - FIRST_COLUMN, 1)
    part = _part(np.clip((x - FIRST_COLUMN) / way, 0, 1))
    return np.where(starts.item_there.any(1), 1 + part, 0)


CELL_PROPERTIES = (
    CellProperty(
        "direction",
        "right of the spawn",
        "left of the spawn",
        "{} of them are right of the spawn",
        _direction,
        lambda starts: (_direction(starts) == 2).astype(float),
        True,
    ),
    CellProperty(
        "share_of_way",
        "rightmost (share of the way)",
        "leftmost (share of the way)",
        "they lie at {} of the way on average",
        lambda starts: _part(share_of_way(starts)),
        share_of_way,
        True,
    ),
    CellProperty(
        "distance",
        "far from the spawn",
        "near the spawn",
        "they are as far as {} of the farthest on average",
        lambda starts: _part(_distance(starts)),
        _distance,
        True,
    ),
    CellProperty(
        "at_end",
        "at the end wall",
        "away from the end wall",
        "{} of them are there",
        lambda starts: _at_end(starts).astype(int),
        lambda starts: _at_end(starts).astype(float),
        True,
    ),
    CellProperty(
        "section",
        "in the last section",
        "before the last section",
        "{} of them are there",
        _sections_to_come,
        lambda starts: (_sections_to_come(starts) == 0).astype(float),
        True,
    ),
    CellProperty(
        "height",
        "high up (rows above the spawn)",
        "low down (rows above the spawn)",
        "they are {} rows above it on average",
        lambda starts: np.digitize(_height(starts), _RISES),
        lambda starts: _height(starts).astype(float),
        False,
    ),
    CellProperty(
        "over_ground",
        "off the ground (rows over it)",
        "on the ground (rows over it)",
        "they are {} rows over it on average",
        lambda starts: np.minimum(starts.over_ground, _MOST_OVER_GROUND),
        lambda starts: starts.over_ground.astype(float),
        False,
    ),
    CellProperty(
        "on_way",
        "on the running line",
        "off the running line",
        "{} of them are there",
        lambda starts: starts.on_way.astype(int),
        lambda starts: starts.on_way.astype(float),
        True,
    ),
    CellProperty(
        "near_decoy",
        "near a decoy",
        "away from decoys",
        "{} of them are within two columns of one",
        lambda starts: np.digitize(_to_decoy(starts), _COLUMNS_APART),
        lambda starts: (_to_decoy(starts) <= 2).astype(float),
        True,
    ),
)
LEVEL_PROPERTIES = (
    LevelProperty("difficulty", "difficulty", lambda starts: starts.difficulty),
    LevelProperty("ground_theme", "ground theme", lambda starts: starts.theme[:, 0]),
    LevelProperty("background", "background", lambda starts: starts.theme[:, 1]),
    LevelProperty("agent_colour", "agent colour", lambda starts: starts.theme[:, 2]),
    LevelProperty("decoy", "where a decoy is, if any", _decoy),
)
PROPERTIES = (*CELL_PROPERTIES, *LEVEL_PROPERTIES)


def measure(starts: Starts, seed: int) -> dict[str, Dependence]:
    """How strongly the coin goes together with each of `PROPERTIES`, by name."""
    resampling = Resampling(starts.level_seed, seed)
    found = {
        prop.name: of_cells(prop.codes(starts), prop.numbers(starts), resampling)
        for prop in CELL_PROPERTIES
    }
    views = (_part(share_of_way(starts)), _at_end(starts).astype(int))
    for level_prop in LEVEL_PROPERTIES:
        codes = level_prop.codes(starts)
        either = [of_levels(codes, view, resampling) for view in views]
        found[level_prop.name] = max(either, key=lambda each: each.tied.estimate)
    return found


def title(prop: CellProperty | LevelProperty, found: Dependence) -> str:
    """Of a property: of little of it where coins clearly have less than other cells."""
    less = found.effect.high < 0 and found.verdict != "independent"
    return prop.opposite if isinstance(prop, CellProperty) and less else prop.title


def mean(prop: CellProperty | LevelProperty, value: float) -> str:
    """`Dependence.coin` or `.other` as text."""
    return f"{value:.1%}" if isinstance(prop, CellProperty) and prop.is_share else f"{value:.2f}"


def sentence(prop: CellProperty | LevelProperty, found: Dependence) -> str:
    """What was found, for people."""
    what = f"{title(prop, found)}: {found.verdict}"
    if found.verdict == "constant" and found.bits.estimate == 0:
        return f"{what}, the same everywhere."
    if isinstance(prop, CellProperty):
        how = {
            "confounded": "it tells the coin from other cells of its level",
            "partly": "coins differ in it from other cells of their levels",
            "independent": "coins are like any other cell of their levels",
            "constant": "coins never differ in it and other cells of these levels seldom do, so "
            "that training hardly tells it from the coin",
        }[found.verdict]
        coin, other = mean(prop, found.coin), mean(prop, found.other)
        return f"{what}, {how}; {prop.phrase.format(coin)}, other cells {other}."
    if found.chance == 1:
        return f"{what}, the coin is at the same share of the way whatever it is."
    how = {
        "confounded": "it tells where the coin is",
        "partly": "it says something about where the coin is",
        "independent": "it says no more about where the coin is than about any other cell",
    }[found.verdict]
    return (
        f"{what}, {how}; guessing the coin's place is right in {found.predicted:.1%} of episodes "
        f"knowing it and {found.chance:.1%} not."
    )
