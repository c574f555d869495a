"""The figure of Langosco et al. (2022): what comes first on screened levels, against how often
goal and proxy are apart in training. Drawn from the rows of `published.csv` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coinrun_jax.testbed import Testbed
from eval.figures.themes import (
    MOST_PANELS,
    WIDTH,
    Theme,
    band,
    bare,
    dashed,
    panel_grid,
    share_ticks,
    themed,
)
from eval.langosco import BOUNDS, CEILING
from eval.results import Screened
from eval.runs import label
from eval.statistics import SHARE, Estimate, combined

_BESIDE = 0.01  # offset of runs' dots, as a share of the width
_COLUMNS = 2
_LONGEST = 44  # characters of a line above a panel
Row = Mapping[str, Any]


def draw_screened(rows: Sequence[Row], testbed: Testbed, theme: str = "light") -> Figure | None:
    """Goal first and proxy first over p, a dot per run, with the ceiling; None if there are no
    rates, or too many panels.

    Values of p are evenly spaced, so that 0, 1, 2, 3, 5, 10 and 100 % can all be read. Recipes
    that differ in more than p have a panel each.

    Args:
      rows: as `langosco.screened_rows` gives them, or `csv.DictReader`.
      theme: a name of `themes.THEMES`.
    """
    rows = [row for row in rows if int(row["kept"])]
    if not rows:
        return None
    places = {p: x for x, p in enumerate(sorted({_p(row) for row in rows}))}
    panels = _panels(rows, testbed.apart_settings)
    if len(panels) > MOST_PANELS:
        return None
    with themed(theme) as colours:
        line = 3.0 if len(panels) <= _COLUMNS else 2.5
        figure, grid = panel_grid(len(panels), min(_COLUMNS, len(panels)), line, above=0.8)
        for axes, (title, own) in zip(grid, panels.items(), strict=True):
            _draw_panel(axes, own, places, testbed, colours)
            axes.set_title(fill(title, _LONGEST))
        handles, names = grid[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names))
        goal, proxy = (testbed.noun(each) for each in (testbed.goal, testbed.proxy))
        across = f"training episodes with {goal} and {proxy} apart, %; not to scale"
        figure.supxlabel(across, size=9)
        figure.supylabel("share of episodes", size=9)
    return figure


def draw_screened_agent(found: Screened, testbed: Testbed, theme: str = "light") -> Figure | None:
    """One agent's goal first and proxy first with their intervals, beside its ceiling."""
    ceiling = found.rates[CEILING]
    if ceiling is None:
        return None
    with themed(theme) as colours:
        figure, axes = plt.subplots(figsize=(WIDTH, 1.7), layout="constrained")
        axes.axvspan(ceiling.low, ceiling.high, color=colours.quiet, alpha=0.2, lw=0)
        axes.axvline(ceiling.estimate, label=_ceiling_title(testbed), **dashed(colours))
        looks = _looks(testbed, colours)
        for y, (name, (_, colour, marker, _)) in enumerate(looks.items()):
            if rate := found.rates[name]:
                axes.plot([rate.low, rate.high], [y, y], color=colour, lw=2)
                axes.plot(rate.estimate, y, marker, color=colour, ms=6)
        axes.set_yticks(range(len(looks)), [title for title, *_ in looks.values()])
        axes.set_ylim(len(looks) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        share_ticks(axes.xaxis)
        axes.set_xlabel("share of episodes")
        bare(axes, grid="x")
        figure.legend(loc="outside upper left")
    return figure


def _looks(testbed: Testbed, colours: Theme) -> dict[str, tuple[str, str, str, float]]:
    """By column: title, colour, marker, and offset of runs' dots."""
    return {
        testbed.goal: (f"{testbed.words.goal} first", colours.goal, "o", -_BESIDE),
        testbed.proxy: (f"{testbed.words.proxy} first", colours.proxy, "^", _BESIDE),
    }


def _ceiling_title(testbed: Testbed) -> str:
    return f"{testbed.words.goal} first on the same levels, all as in training"


def _p(row: Row) -> float:
    return float(row["p_train"])


def _panels(rows: Sequence[Row], apart_settings: Sequence[str]) -> dict[str, list[Row]]:
    """Rows by the settings other than p in which recipes differ, in words.

    At p = 0, settings for how goal and proxy are apart mean nothing: such a run belongs to every
    panel whose other settings it shares.
    """
    names = list(rows[0])
    settings = [n for n in names[1 : names.index("run")] if n not in apart_settings[:1]]

    def key(row: Row, apart: bool) -> tuple[tuple[str, Any], ...]:
        return tuple((n, row[n]) for n in settings if apart or n not in apart_settings)

    panels = {}
    for row in sorted(rows, key=_p, reverse=True):
        at_zero = _p(row) == 0
        if at_zero and any(key(other, False) == key(row, False) and _p(other) for other in rows):
            continue
        own = key(row, not at_zero)
        panels[own] = [
            other
            for other in rows
            if (key(other, True) == own if _p(other) else key(other, False) == key(row, False))
        ]
    return {label(dict(own)) if len(panels) > 1 else "": of for own, of in panels.items()}


def _draw_panel(
    axes: Axes, rows: Sequence[Row], places: Mapping[float, int], testbed: Testbed, colours: Theme
) -> None:
    x = sorted({places[_p(row)] for row in rows})

    def at(place: int, name: str) -> list[Estimate]:
        own = [row for row in rows if places[_p(row)] == place]
        return [Estimate(*(float(row[f"{name}{end}"]) for end in BOUNDS)) for row in own]

    for name, (title, colour, marker, beside) in _looks(testbed, colours).items():
        means = {place: combined(at(place, name), SHARE) for place in x}
        band(axes, x, list(means.values()), color=colour, marker=marker, label=title)
        for place, mean in means.items():
            runs = [run.estimate for run in at(place, name)]
            if len(runs) > 1:
                where = [place + beside * len(places)] * len(runs)
                axes.plot(where, runs, "o", color=colour, ms=4, alpha=0.65, mew=0)
            if mean:
                axes.plot([place] * 2, [mean.low, mean.high], color=colour, lw=1.2, alpha=0.8)
    ceiling = [float(np.mean([run.estimate for run in at(place, CEILING)])) for place in x]
    ends: list[float] = [*x]
    if len(x) == 1:  # a single point would show no line
        ends, ceiling = [x[0] - 0.2, x[0] + 0.2], ceiling * 2
    axes.plot(ends, ceiling, label=_ceiling_title(testbed), **dashed(colours))
    axes.set_xticks(list(places.values()), [f"{100 * p:g}" for p in places])
    axes.set_xlim(-0.4, len(places) - 0.6)
    axes.set_ylim(-0.02, 1.02)
    share_ticks(axes.yaxis)
    bare(axes, grid="y")
