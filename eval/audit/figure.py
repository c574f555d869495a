"""The audit's figure: how tied the goal is to each property."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from eval.audit.dependence import CONFOUNDED_FROM, INDEPENDENT_BELOW
from eval.audit.findings import Audit
from eval.figures import THEMES
from eval.figures.themes import AS_WRITTEN

COLOURS = {
    "confounded": "#a33b47",
    "partly": "#c98a00",
    "independent": "#3d74c2",
    "constant": "#8a929c",
}
_WIDTH, _ROW = 9.6, 0.27  # inches
_VERDICT_X, _FIGURES_X, _END_X = 1.06, 1.36, 2.1  # right of 0 ... 1


def draw(audit: Audit, theme: str = "light") -> Figure:
    """A row for each property: how tied it is with its interval, the verdict, and the figures.

    Args:
      theme: a name of `figures.THEMES`.
    """
    colours = THEMES[theme]
    groups = {"cell": f"of the {audit.goal}'s cell", "level": "of the level or episode"}
    lines = len(audit.findings) + len(groups)
    with plt.rc_context({"text.color": colours.text, "font.size": 9, **AS_WRITTEN}):
        figure, axes = plt.subplots(figsize=(_WIDTH, 1.3 + _ROW * lines), layout="constrained")
        figure.set_facecolor(colours.background)
        axes.set_facecolor("none")
        axes.tick_params(colors=colours.text, length=0)
        axes.spines[:].set_visible(False)
        position, group, ticks = 0.0, None, {}
        for each in audit.findings:
            if each.kind != group:
                group = each.kind
                axes.text(0, position, groups[group], weight="bold", va="center")
                position += 1
            ticks[position] = each.title
            verdict, tied = each.found.verdict, each.found.tied
            style: Any = {"color": COLOURS[verdict], "va": "center"}
            if verdict != "constant":  # a constant property cannot be tied to anything
                axes.plot([tied.low, tied.high], [position] * 2, color=COLOURS[verdict], lw=2.2)
                axes.plot(tied.estimate, position, "o", color=COLOURS[verdict], ms=6, clip_on=False)
            axes.text(_VERDICT_X, position, verdict, weight="bold", **style)
            axes.text(_FIGURES_X, position, each.figures, va="center", size=8)
            position += 1
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.set_ylim(position - 0.4, -0.6)
        axes.set_xlim(-0.02, _END_X)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_xlabel("tied: 0 independent, 1 fully", color=colours.text, x=0.24)
        bounds = [INDEPENDENT_BELOW, CONFOUNDED_FROM]
        axes.vlines(bounds, 0.5, position - 0.5, colors=colours.faint, lw=0.8, zorder=0)
        axes.set_title(audit.title, color=colours.text, size=10, loc="left")
    return figure
