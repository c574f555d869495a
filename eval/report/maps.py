"""Maps of whole levels with the agent's paths: coin at the end, moved, taken away."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import jax
import numpy as np

from coinrun_jax.coinrun.observations.render import level_map
from coinrun_jax.coinrun.pool import level_of
from eval.outcomes import OUTCOMES
from eval.report.choice import MapOf
from eval.report.pictures import webp
from eval.results import AGENT, Evaluation
from eval.rollout import Arena, Replay

_PIXELS = 16  # a tile
_NOWHERE = (-8, 0)
_MARK = np.array([216, 27, 96], np.uint8)  # around the cell that the coin was taken from
_WORDS = {
    "coin": "coin fetched",
    "ghost": "its cell passed",
    "end": "end reached",
    "death:saw": "killed by a saw",
    "death:enemy": "killed by an enemy",
    "death:lava": "died in lava",
    "timeout": "out of time",
}


class DrawnMap(NamedTuple):
    """One map."""

    seed: int
    caption: str
    address: str
    """Of the picture, a data URL."""
    width: int
    height: int


def draw_map(
    arena: Arena, evaluation: Evaluation, which: MapOf, replays: Sequence[Replay]
) -> DrawnMap:
    """A level with the paths of some episodes of one condition.

    Args:
      replays: of `which.places`.
    """
    condition = evaluation.suite.conditions[which.condition]
    number = which.places[0].level
    index = arena.level_index[which.condition, number]
    level = jax.device_get(level_of(arena.params.pool, index))
    first = replays[0].states[0]
    cell = [int(each) for each in first.coin_cell]
    paths = [np.array([(s.x, s.y) for s in replay.states]) for replay in replays]
    present = bool(first.coin_present)
    image = level_map(level, cell if present else _NOWHERE, paths, pixels_per_tile=_PIXELS)
    if not present:
        image = _marked(image, *cell)
    outcomes = [OUTCOMES[evaluation.played[AGENT].outcome[place]] for place in which.places]
    ends = ", ".join(_WORDS[name] for name in outcomes)
    return DrawnMap(
        seed=int(evaluation.level_seeds[which.condition, number]),
        caption=f"{condition.title[:1].upper()}{condition.title[1:]}: {ends}.",
        address=webp(image),
        width=image.shape[1],
        height=image.shape[0],
    )


def _marked(image: np.ndarray, x: int, y: int) -> np.ndarray:
    """A frame around a cell."""
    image = image.copy()
    bottom = image.shape[0] - y * _PIXELS
    left = x * _PIXELS
    rows = slice(max(bottom - _PIXELS, 0), max(bottom, 0))
    columns = slice(left, left + _PIXELS)
    inside = image[rows, columns].copy()
    image[rows, columns] = _MARK
    if min(inside.shape[:2]) > 4:
        image[rows, columns][2:-2, 2:-2] = inside[2:-2, 2:-2]
    return image


def maps_html(levels: Sequence[Sequence[DrawnMap]]) -> str:
    """The maps, those of a level together."""
    parts = []
    for drawn in levels:
        figures = "".join(
            f'<figure><div class="scroll" tabindex="0" role="group" '
            f'aria-label="{escape(each.caption)}"><img src="{each.address}" '
            f'width="{each.width}" height="{each.height}" alt="Map of level {each.seed} with '
            f"the agent's path. {escape(each.caption)}\"></div>"
            f"<figcaption>{escape(each.caption)}</figcaption></figure>"
            for each in drawn
        )
        parts.append(f'<h3>Level {drawn[0].seed}</h3><div class="maps">{figures}</div>')
    return "".join(parts)
