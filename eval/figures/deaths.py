"""Where the agent dies, over the way and the height."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from eval.figures.style import WIDTH, share_ticks, themed
from eval.outcomes import DEATHS, OUTCOMES
from eval.results import AGENT, Evaluation

_BINS = 25
_MARKERS = {"saw": "o", "enemy": "^", "lava": "s"}


class Deaths(NamedTuple):
    """Deaths of one cause."""

    share: np.ndarray
    """Of the way to the end's column, [n]."""
    height: np.ndarray
    """Of the agent's centre, in tiles, [n]."""


def find_deaths(evaluation: Evaluation) -> dict[str, Deaths]:
    """The agent's deaths by cause, over all conditions but the controls."""
    played = evaluation.played[AGENT]
    counted = np.array([each.control_of is None for each in evaluation.suite.conditions])
    end = evaluation.end_cells[..., :1] + 0.5  # [C, N, 1]
    share = np.clip(played.record.x / end, 0, 1)
    found = {}
    for name in DEATHS:
        died = (played.outcome == OUTCOMES.index(name)) & counted[:, None, None]
        cause = name.removeprefix("death:")
        found[cause] = Deaths(share[died], np.asarray(played.record.y)[died])
    return found


def draw_deaths(evaluation: Evaluation, theme: str = "light") -> Figure | None:
    """Every death a mark, and above them how many there are; None where nobody died."""
    deaths = find_deaths(evaluation)
    if not any(each.share.size for each in deaths.values()):
        return None
    total = sum(each.share.size for each in deaths.values())
    with themed(theme) as colours:
        figure, (counts, places) = plt.subplots(
            2,
            1,
            figsize=(WIDTH, 4.4),
            height_ratios=[1, 2.2],
            layout="constrained",
            sharex=True,
        )
        base = np.zeros(_BINS)
        for cause, each in deaths.items():
            colour = getattr(colours, cause)
            number, edges = np.histogram(each.share, _BINS, (0, 1))
            width = edges[1] - edges[0]
            style = {"color": colour, "edgecolor": colours.background, "linewidth": 0.5}
            counts.bar(edges[:-1], number, width, base, align="edge", **style)
            base += number
            places.scatter(
                each.share,
                each.height,
                s=16,
                marker=_MARKERS[cause],
                color=colour,
                alpha=max(0.25, min(0.9, 60 / total)),
                linewidths=0,
                label=f"{cause}: {each.share.size:,}",
            )
        counts.set_ylabel("deaths")
        counts.yaxis.get_major_locator().set_params(integer=True)
        places.set_ylabel("height, tiles")
        places.set_ylim(bottom=0)
        places.set_xlabel("share of the way from the start to the end")
        places.set_xlim(-0.01, 1.01)
        share_ticks(places.xaxis)
        for axes in (counts, places):
            axes.grid(axis="y")
            axes.spines[:].set_visible(False)
        legend = figure.legend(loc="outside upper left", ncols=3)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    return figure
