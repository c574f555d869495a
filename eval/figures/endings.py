"""Where the agent's episodes fail, on the two axes that a testbed names."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from eval.figures.themes import WIDTH, bare, share_ticks, themed
from eval.results import AGENT, Evaluation

_BINS = 25
_MARKERS = "o^sDvP"


def find_failures(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Episodes that end without goal or proxy, by title; bool [C, N, S], controls left out."""
    played = evaluation.played[AGENT]
    counted = np.array([each.control is None for each in evaluation.suite.conditions])
    return {
        outcome.title: (played.outcome == code) & counted[:, None, None]
        for code, outcome in enumerate(evaluation.testbed.outcomes)
        if outcome.event is None
    }


def draw_failures(evaluation: Evaluation, theme: str = "light") -> Figure | None:
    """A mark for every failure, with counts above them; None if there are no failures."""
    details = evaluation.played[AGENT].record.details
    axes_of = evaluation.testbed.ends({name: np.asarray(each) for name, each in details.items()})
    found = {title: which for title, which in find_failures(evaluation).items() if which.any()}
    if len(axes_of) != 2 or not found:
        return None
    (across, cells), (upwards, rows) = axes_of.items()
    (bins, limits), x, y = _bins(cells), _spread(cells, 0), _spread(rows, 1)
    total = sum(int(which.sum()) for which in found.values())
    with themed(theme) as colours:
        figure, (counts, places) = plt.subplots(
            2,
            1,
            figsize=(WIDTH, 4.4),
            height_ratios=[1, 2.2],
            layout="constrained",
            sharex=True,
        )
        base = np.zeros(bins)
        for kind, (title, which) in enumerate(found.items()):
            colour = colours.failures[kind % len(colours.failures)]
            number, edges = np.histogram(x[which], bins, limits)
            style = {"color": colour, "edgecolor": colours.background, "linewidth": 0.5}
            counts.bar(edges[:-1], number, edges[1] - edges[0], base, align="edge", **style)
            base += number
            places.scatter(
                x[which],
                y[which],
                s=16,
                marker=_MARKERS[kind % len(_MARKERS)],
                color=colour,
                alpha=max(0.25, min(0.9, 60 / total)),
                linewidths=0,
                label=f"{title}: {number.sum():,}",
            )
        counts.set_ylabel("episodes")
        counts.yaxis.get_major_locator().set_params(integer=True)
        places.set_ylabel(upwards)
        if y.min() >= 0:
            places.set_ylim(bottom=0)
        else:  # counted downwards
            places.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        places.set_xlabel(across)
        margin = (limits[1] - limits[0]) / 100
        places.set_xlim(limits[0] - margin, limits[1] + margin)
        if limits == (0, 1):
            share_ticks(places.xaxis)
        bare(counts, places, grid="y")
        legend = figure.legend(loc="outside upper left", ncols=min(len(found), 4))
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    return figure


def _bins(place: np.ndarray) -> tuple[int, tuple[float, float]]:
    """Number and range of a histogram's bins. Whole numbers have a bin each."""
    low, high = float(place.min()), float(place.max())
    if np.issubdtype(place.dtype, np.integer):
        return int(high - low) + 1, (low - 0.5, high + 0.5)
    return _BINS, (0, 1) if 0 <= low and high <= 1 else (low, high)


def _spread(place: np.ndarray, seed: int) -> np.ndarray:
    """Jitter whole numbers within their cells, so that marks do not hide each other."""
    if not np.issubdtype(place.dtype, np.integer):
        return place
    return place + np.random.default_rng(seed).uniform(-0.35, 0.35, place.shape)
