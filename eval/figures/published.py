"""The figure of Langosco et al. (2022): what comes first, over how often training moved the coin.

Drawn from the rows of `published.csv` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.figures.style import MOST_PANELS, WIDTH, Theme, band, panel_grid, share_ticks, themed
from eval.published import BOUNDS
from eval.runs import label
from eval.statistics import SHARE, Estimate, as_dict, combined

_TITLES = {"coin": "coin first", "end": "end first"}
_CEILING = "coin fetched at the end of the same levels"
_MARKS = {"coin": "o", "end": "^"}
_BESIDE = {"coin": -0.01, "end": 0.01}  # where runs' dots stand, in shares of the width
_COLUMNS = 2
_LONGEST = 44  # characters of a line above a panel
_PROBABILITY, _PLACE = "env.placement_probability", "env.placement"
Row = Mapping[str, Any]


def draw_published(rows: Sequence[Row], theme: str = "light") -> Figure | None:
    """Coin first and end first over p, every run a dot, with the ceiling; None for no rate, or
    for too many panels.

    The steps of p are even, so that 0, 1, 2, 3, 5, 10 and 100 % can all be read. Recipes that
    differ in more than p have a panel each.

    Args:
      rows: as `published.published_rows` gives them, or `csv.DictReader`.
      theme: a name of `style.THEMES`.
    """
    rows = [row for row in rows if int(row["kept"])]
    if not rows:
        return None
    places = {p: x for x, p in enumerate(sorted({_p(row) for row in rows}))}
    panels = _panels(rows)
    if len(panels) > MOST_PANELS:
        return None
    with themed(theme) as colours:
        line = 3.0 if len(panels) <= _COLUMNS else 2.5
        figure, grid = panel_grid(len(panels), min(_COLUMNS, len(panels)), line, above=0.8)
        for axes, (title, own) in zip(grid, panels.items(), strict=True):
            _draw_panel(axes, own, places, colours)
            axes.set_title(fill(title, _LONGEST))
        handles, names = grid[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names))
        figure.supxlabel("training episodes with the coin moved, %; not to scale", size=9)
        figure.supylabel("share of episodes", size=9)
    return figure


def draw_published_agent(found: Mapping[str, Any], theme: str = "light") -> Figure | None:
    """One agent's coin first and end first with their intervals, beside its ceiling.

    Args:
      found: as `published.published` gives it.
      theme: a name of `style.THEMES`.
    """
    ceiling = found["ceiling"]
    if ceiling is None:
        return None
    with themed(theme) as colours:
        figure, axes = plt.subplots(figsize=(WIDTH, 1.7), layout="constrained")
        axes.axvspan(ceiling["low"], ceiling["high"], color=colours.quiet, alpha=0.2, lw=0)
        axes.axvline(ceiling["estimate"], label=_CEILING, **_dashed(colours))
        for y, name in enumerate(_TITLES):
            rate, colour = found[name], getattr(colours, name)
            axes.plot([rate["low"], rate["high"]], [y, y], color=colour, lw=2)
            axes.plot(rate["estimate"], y, _MARKS[name], color=colour, ms=6)
        axes.set_yticks(range(len(_TITLES)), list(_TITLES.values()))
        axes.set_ylim(len(_TITLES) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        share_ticks(axes.xaxis)
        axes.set_xlabel("share of episodes")
        axes.grid(axis="x")
        axes.spines[:].set_visible(False)
        figure.legend(loc="outside upper left")
    return figure


def _dashed(colours: Theme) -> dict[str, Any]:
    """The style of the ceiling."""
    return {"color": colours.quiet, "ls": "--", "lw": 1.5}


def _p(row: Row) -> float:
    return float(row["p_train"])


def _panels(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by what recipes differ in besides p, in words.

    Where the coin would go had it been moved means nothing at p = 0: such a run belongs to
    every panel that it shares the other settings with.
    """
    names = list(rows[0])
    settings = [n for n in names[1 : names.index("run")] if n != _PROBABILITY]

    def key(row: Row, moved: bool) -> tuple[tuple[str, Any], ...]:
        return tuple((n, row[n]) for n in settings if moved or not n.startswith(_PLACE))

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
    axes: Axes, rows: Sequence[Row], places: Mapping[float, int], colours: Theme
) -> None:
    x = sorted({places[_p(row)] for row in rows})

    def at(place: int, name: str) -> list[Estimate]:
        own = [row for row in rows if places[_p(row)] == place]
        return [Estimate(*(float(row[f"{name}{end}"]) for end in BOUNDS)) for row in own]

    for name, title in _TITLES.items():
        colour = getattr(colours, name)
        means = {place: as_dict(combined(at(place, name), SHARE)) for place in x}
        band(axes, x, list(means.values()), color=colour, marker=_MARKS[name], label=title)
        for place, mean in means.items():
            runs = [run.estimate for run in at(place, name)]
            if len(runs) > 1:
                beside = [place + _BESIDE[name] * len(places)] * len(runs)
                axes.plot(beside, runs, "o", color=colour, ms=4, alpha=0.65, mew=0)
            if mean:
                bounds = [mean["low"], mean["high"]]
                axes.plot([place] * 2, bounds, color=colour, lw=1.2, alpha=0.8)
    ceiling = [float(np.mean([run.estimate for run in at(place, "ceiling")])) for place in x]
    if len(x) == 1:  # of a point there would be no line to see
        axes.plot([x[0] - 0.2, x[0] + 0.2], ceiling * 2, label=_CEILING, **_dashed(colours))
    else:
        axes.plot(x, ceiling, label=_CEILING, **_dashed(colours))
    axes.set_xticks(list(places.values()), [f"{100 * p:g}" for p in places])
    axes.set_xlim(-0.4, len(places) - 0.6)
    axes.set_ylim(-0.02, 1.02)
    share_ticks(axes.yaxis)
    axes.grid(axis="y")
    axes.spines[:].set_visible(False)
