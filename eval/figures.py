"""The figure: what came first, and what that says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eval.results import AGENT, BAR, POLICY_TITLES
from eval.table import estimate, number, policy_rows


@dataclass(frozen=True)
class Theme:
    """Colours of one appearance."""

    text: str
    faint: str
    background: str


THEMES = {
    "light": Theme(text="#1f2328", faint="#c9ced6", background="#ffffff"),
    "dark": Theme(text="#e6edf3", faint="#454c56", background="#0d1117"),
}

OUTCOME_COLOURS = {
    "coin": "#e8b004",
    "accidental": "#f3dd94",
    "end": "#3d74c2",
    "death": "#a33b47",
    "timeout": "#9aa1ab",
}
_REFERENCE = "#8a929c"
_LABEL_COLOURS = {"coin": "#1f2328", "accidental": "#1f2328", "timeout": "#1f2328"}
OUTCOME_TITLES = {
    "coin": "coin first",
    "accidental": "its empty cell first",
    "end": "end first",
    "death": "death",
    "timeout": "time-out",
}
MEASURE_TITLES = {
    "capability_robustness": "capability\nrobustness",
    "goal_misgeneralisation": "goal mis-\ngeneralisation",
    "coin_attraction": "coin\nattraction",
}
_BAR, _GAP = 0.76, 1.2  # heights, in rows
_TITLE_ROWS, _MEASURE_ROWS = 1.4, 1.9
_WIDTH, _ROW = 9.6, 0.27  # inches


def draw(summary: dict[str, Any], theme: str = "light") -> Figure:
    """Outcome bars by condition and policy on the left, the agent's measures on the right.

    Args:
      summary: as `results.summarise` gives it.
      theme: a name of `THEMES`.
    """
    colours = THEMES[theme]
    rows = list(policy_rows(summary))
    measured = [row for row in rows if row[0]["tells_coin_from_end"] and row[1] in (AGENT, BAR)]
    bar_rows = len(rows) + _GAP * len(summary["conditions"])
    measure_rows = len(measured) / 2 * (_TITLE_ROWS + _MEASURE_ROWS * len(MEASURE_TITLES))
    with plt.rc_context({"text.color": colours.text, "font.size": 9}):
        figure, axes = plt.subplot_mosaic(
            [["bars", "measures"], ["bars", "."]],
            figsize=(_WIDTH, 1.1 + _ROW * max(bar_rows, measure_rows)),
            width_ratios=[2.3, 1],
            height_ratios=[max(measure_rows, 0.01), max(bar_rows - measure_rows, 0.01)],
            layout="constrained",
        )
        figure.set_facecolor(colours.background)
        for part in axes.values():
            part.set_facecolor("none")
            part.tick_params(colors=colours.text, length=0)
            part.spines[:].set_visible(False)
        _draw_bars(axes["bars"], rows, colours)
        _draw_measures(axes["measures"], measured, colours)
        handles: list[Any] = [
            Patch(color=colour, label=OUTCOME_TITLES[name])
            for name, colour in OUTCOME_COLOURS.items()
        ]
        handles.append(
            Line2D([], [], ls="", marker="o", color=colours.text, label="agent (measures)")
        )
        handles.append(
            Line2D([], [], ls="", marker="D", mfc="none", mec=_REFERENCE, label=POLICY_TITLES[BAR])
        )
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=len(handles),
            frameon=False,
            labelcolor=colours.text,
            handlelength=1,
            handleheight=1,
            columnspacing=1.2,
        )
    return figure


def save(figure: Figure, target: Any, kind: str) -> None:
    """Write a figure to a path or file ("png", "svg"), the same bytes every time; closes it."""
    with plt.rc_context({"svg.hashsalt": "coinrun_jax"}):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(target, format=kind, dpi=150, metadata=metadata)
    plt.close(figure)


def _draw_bars(axes: Axes, rows: list[tuple[dict[str, Any], str]], colours: Theme) -> None:
    position, group, ticks = 0.0, None, {}
    for row, policy in rows:
        if row["condition"] != group:
            group = row["condition"]
            position += _GAP
            axes.text(0, position - 0.62, row["title"], weight="bold", va="center")
        ticks[position] = POLICY_TITLES[policy]
        _draw_bar(axes, row, position, colours, faded=policy != AGENT)
        position += 1
    axes.set_yticks(list(ticks), list(ticks.values()))
    for label, (_, policy) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if policy == AGENT else "normal")
    axes.set_ylim(position - 0.4, 0.2)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".50", ".75", "1"])
    axes.set_xlabel("share of levels", color=colours.text)


def _draw_bar(
    axes: Axes, row: dict[str, Any], position: float, colours: Theme, faded: bool
) -> None:
    """One stacked bar, with the interval of its first part."""
    first = "coin" if row["coin"] is not None else "accidental"
    start = 0.0
    for name in (first, "end", "death", "timeout"):
        if row[name] is None:
            continue
        width = row[name]["estimate"]
        axes.barh(
            position,
            width,
            _BAR,
            start,
            color=OUTCOME_COLOURS[name],
            alpha=0.6 if faded else 1,
            edgecolor=colours.background,
            linewidth=0.6,
        )
        if width >= 0.06:
            colour = colours.text if faded else _LABEL_COLOURS.get(name, "#ffffff")
            middle = start + width / 2
            label = number(width, digits=2)
            axes.text(middle, position, label, color=colour, ha="center", va="center", size=8)
        start += width
    if row[first] is not None:
        y = position + _BAR / 2 - 0.08
        interval = [row[first]["low"], row[first]["high"]]
        axes.plot(interval, [y, y], color=colours.text, linewidth=1.6, solid_capstyle="butt")


def _draw_measures(axes: Axes, measured: list[tuple[dict[str, Any], str]], colours: Theme) -> None:
    """Dots with intervals, a condition after the other; the reference hollow beside them."""
    position, group, ticks, lowest = 0.0, None, {}, 0.0
    across = axes.get_yaxis_transform()
    for row, policy in measured:
        if row["condition"] != group:
            group = row["condition"]
            start = position + _TITLE_ROWS
            axes.text(0, position + 0.5, row["title"], weight="bold", va="center", transform=across)
            position = start + _MEASURE_ROWS * len(MEASURE_TITLES)
        for order, (name, title) in enumerate(MEASURE_TITLES.items()):
            y = start + _MEASURE_ROWS * order
            measure = row[name]
            ticks[y + 0.3] = title
            if policy == AGENT:
                text = "cannot be said" if measure is None else estimate(measure)
                axes.text(
                    0.5,
                    y + 0.85,
                    text,
                    ha="center",
                    size=8,
                    transform=across,
                    bbox={"facecolor": colours.background, "edgecolor": "none", "pad": 1.5},
                )
            if measure is None:
                continue
            lowest = min(lowest, measure["low"])
            if policy == AGENT:
                interval = [measure["low"], measure["high"]]
                axes.plot(interval, [y, y], color=colours.text, linewidth=2.2)
                axes.plot(measure["estimate"], y, "o", color=colours.text, markersize=6)
            else:
                axes.plot(
                    measure["estimate"], y, "D", mfc="none", mec=_REFERENCE, markersize=6, zorder=1
                )
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(max(position, 1) - 0.5, 0)
    axes.set_xlim(max(lowest, -1) - 0.06, 1.06)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.vlines([0, 0.5, 1], 1, max(position, 1) - 0.5, colors=colours.faint, lw=0.8, zorder=0)
