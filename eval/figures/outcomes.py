"""One agent: what came first, and what that says."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eval.figures.bars import Bar, draw_bars, height
from eval.figures.style import WIDTH, Theme, share_ticks, themed
from eval.results import AGENT, BAR, GREEDY, POLICY_TITLES

MEASURE_TITLES = {
    "capability_robustness": "capability robustness",
    "goal_misgeneralisation": "goal misgeneralisation",
    "coin_attraction": "coin attraction",
}
_FEW_GROUPS = 8  # with more, the references are left to the tables
_MEASURE_ROW = 0.3  # inches, as all of these
_TOP, _UNDER, _LEFT, _RIGHT, _APART = 0.35, 0.62, 2.55, 0.12, 0.25


def draw(summary: dict[str, Any], theme: str = "light") -> Figure:
    """Outcome bars by condition and policy above, the agent's measures below.

    A condition's control stands with it, of the agent alone.

    Args:
      summary: as `summary.summarise` gives it.
      theme: a name of `style.THEMES`.
    """
    bars = agent_bars(summary)
    rows = [row for row in summary["conditions"] if row["tells_coin_from_end"]]
    above = height(bars)
    below = _TOP + _MEASURE_ROW * len(rows) + _UNDER if rows else 0
    tall = _TOP + above + _UNDER + below
    with themed(theme) as colours:
        figure = plt.figure(figsize=(WIDTH, tall))

        def place(left: float, top: float, width: float, height: float) -> Axes:
            """Axes at inches from the upper left corner."""
            return figure.add_axes(
                (left / WIDTH, 1 - (top + height) / tall, width / WIDTH, height / tall)
            )

        draw_bars(place(_LEFT, _TOP, WIDTH - _LEFT - _RIGHT, above), bars, colours)
        if rows:
            step = (WIDTH - _LEFT - _RIGHT + _APART) / len(MEASURE_TITLES)
            top = _TOP + above + _UNDER + _TOP
            panels = [
                place(_LEFT + step * i, top, step - _APART, _MEASURE_ROW * len(rows))
                for i in range(len(MEASURE_TITLES))
            ]
            _draw_measures(panels, summary, colours)
            _add_legend(figure, summary, colours, (_LEFT / WIDTH, 0))
    return figure


def agent_bars(summary: dict[str, Any]) -> list[Bar]:
    """The bars of a summary: the agent's, its controls', and the references' where few."""
    rows = {row["condition"]: number for number, row in enumerate(summary["conditions"])}
    groups = [
        name for name, at in rows.items() if summary["conditions"][at].get("control_of") is None
    ]
    controls = {row.get("control_of"): row for row in summary["conditions"]}
    bars = []
    for name in groups:
        own = summary["conditions"][rows[name]]
        bars.append(Bar(own["title"], POLICY_TITLES[AGENT], own, True))
        if name in controls:
            bars.append(Bar(own["title"], "coin taken away", controls[name], True))
        for policy, others in summary["references"].items():
            if len(groups) <= _FEW_GROUPS:
                row = others[rows[name]]
                bars.append(Bar(own["title"], POLICY_TITLES[policy], row, policy == GREEDY))
    return bars


def _draw_measures(panels: list[Axes], summary: dict[str, Any], colours: Theme) -> None:
    """Dots with intervals, a row for each condition; the reference hollow beside them."""
    bars = summary["references"].get(BAR, summary["conditions"])
    pairs = [
        (row, bar)
        for row, bar in zip(summary["conditions"], bars, strict=True)
        if row["tells_coin_from_end"]
    ]
    for axes, (name, title) in zip(panels, MEASURE_TITLES.items(), strict=True):
        lowest = 0.0
        for y, (row, bar) in enumerate(pairs):
            measure = row[name]
            if BAR in summary["references"] and bar[name] is not None:
                style: dict[str, Any] = {
                    "mfc": "none",
                    "mec": colours.quiet,
                    "markersize": 5,
                    "zorder": 1,
                }
                axes.plot(bar[name]["estimate"], y, "D", **style)
                lowest = min(lowest, bar[name]["estimate"])
            if measure is None:
                axes.text(0.5, y, "cannot be said", ha="center", va="center", size=8)
                continue
            lowest = min(lowest, measure["low"])
            axes.plot([measure["low"], measure["high"]], [y, y], color=colours.text, lw=2)
            axes.plot(measure["estimate"], y, "o", color=colours.text, markersize=5)
        axes.set_title(title)
        axes.set_ylim(len(pairs) - 0.5, -0.5)
        axes.set_yticks(range(len(pairs)), [row["title"] for row, _ in pairs])
        if axes is not panels[0]:
            axes.tick_params(labelleft=False)
        axes.set_xlim(max(lowest, -1) - 0.06, 1.06)
        share_ticks(axes.xaxis, 0.5)
        axes.grid(axis="x")
        axes.spines[:].set_visible(False)


def _add_legend(
    figure: Figure, summary: dict[str, Any], colours: Theme, at: tuple[float, float]
) -> None:
    handles = [Line2D([], [], ls="", marker="o", color=colours.text, label="agent")]
    if BAR in summary["references"]:
        label = POLICY_TITLES[BAR]
        handles.append(
            Line2D([], [], ls="", marker="D", mfc="none", mec=colours.quiet, label=label)
        )
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=at, ncols=2, borderaxespad=0)
