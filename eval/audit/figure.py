"""The audit's figure: how tied the coin is to each property."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from eval.audit.dependence import CONFOUNDED_FROM, INDEPENDENT_BELOW
from eval.figures import THEMES
from eval.figures.style import AS_WRITTEN

COLOURS = {
    "confounded": "#a33b47",
    "partly": "#c98a00",
    "independent": "#3d74c2",
    "constant": "#8a929c",
}
_GROUPS = {"cell": "of the coin's cell", "level": "of the level or episode"}
_WIDTH, _ROW = 9.6, 0.27  # inches
_VERDICT_X, _FIGURES_X, _END_X = 1.06, 1.36, 2.1  # beside 0 ... 1


def draw(summary: dict[str, Any], theme: str = "light") -> Figure:
    """A row for each property: how tied it is with its interval, the verdict, and the figures.

    Args:
      summary: as `audit.json` holds it.
      theme: a name of `figures.THEMES`.
    """
    colours = THEMES[theme]
    rows = summary["properties"]
    with plt.rc_context({"text.color": colours.text, "font.size": 9, **AS_WRITTEN}):
        figure, axes = plt.subplots(
            figsize=(_WIDTH, 1.3 + _ROW * (len(rows) + len(_GROUPS))), layout="constrained"
        )
        figure.set_facecolor(colours.background)
        axes.set_facecolor("none")
        axes.tick_params(colors=colours.text, length=0)
        axes.spines[:].set_visible(False)
        position, group, ticks = 0.0, None, {}
        for row in rows:
            if row["kind"] != group:
                group = row["kind"]
                axes.text(0, position, _GROUPS[group], weight="bold", va="center")
                position += 1
            ticks[position] = row["title"]
            colour, tied = COLOURS[row["verdict"]], row["tied"]
            if row["verdict"] != "constant":  # how tied to what cannot vary says nothing
                axes.plot([tied["low"], tied["high"]], [position] * 2, color=colour, lw=2.2)
                axes.plot(tied["estimate"], position, "o", color=colour, ms=6, clip_on=False)
            axes.text(
                _VERDICT_X, position, row["verdict"], color=colour, weight="bold", va="center"
            )
            axes.text(_FIGURES_X, position, row["figures"], va="center", size=8)
            position += 1
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.set_ylim(position - 0.4, -0.6)
        axes.set_xlim(-0.02, _END_X)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_xlabel("tied: 0 independent, 1 fully", color=colours.text, x=0.24)
        bounds = [INDEPENDENT_BELOW, CONFOUNDED_FROM]
        axes.vlines(bounds, 0.5, position - 0.5, colors=colours.faint, lw=0.8, zorder=0)
        axes.set_title(summary["title"], color=colours.text, size=10, loc="left")
    return figure
