"""The figure: what came first, and what that says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eval.results import AGENT, POLICY_TITLES
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
_BAR, _GAP = 0.74, 1.15  # heights, in rows
_WIDTH, _ROW = 9.6, 0.3  # inches


def draw(summary: dict[str, Any], theme: str = "light") -> Figure:
    """Outcome bars by condition and policy on the left, the agent's measures on the right.

    Args:
      summary: as `results.summarise` gives it.
      theme: a name of `THEMES`.
    """
    colours = THEMES[theme]
    rows = list(policy_rows(summary))
    conditions = [row["condition"] for row in summary["conditions"]]
    measured = [row for row in summary["conditions"] if row["tells_coin_from_end"]]
    height = 1.5 + _ROW * (len(rows) + _GAP * len(conditions))
    with plt.rc_context({"text.color": colours.text, "font.size": 9}):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(_WIDTH, height), width_ratios=[2.5, 1], layout="constrained"
        )
        figure.set_facecolor(colours.background)
        for axes in (left, right):
            axes.set_facecolor("none")
            axes.tick_params(colors=colours.text, length=0)
            axes.spines[:].set_visible(False)
        _draw_bars(left, rows, colours)
        _draw_measures(right, measured, colours)
        handles = [
            Patch(color=colour, label=OUTCOME_TITLES[name])
            for name, colour in OUTCOME_COLOURS.items()
        ]
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=len(handles),
            frameon=False,
            labelcolor=colours.text,
            handlelength=1,
            handleheight=1,
            columnspacing=1.3,
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
        label.set_weight("bold" if policy == AGENT else "normal")
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
            label = number(width)[:-1] if width < 1 else "1"
            colour = _LABEL_COLOURS.get(name, "#ffffff")
            if faded:
                colour = colours.text
            where = start + width / 2 if name != first else start + 0.012
            align = "center" if name != first else "left"
            axes.text(where, position, label, color=colour, ha=align, va="center", size=8)
        start += width
    if row[first] is not None:
        low, high = row[first]["low"], row[first]["high"]
        axes.plot([low, high], [position] * 2, color=colours.text, linewidth=1.2, zorder=3)
        for bound in (low, high):
            axes.plot(
                [bound] * 2,
                [position - 0.16, position + 0.16],
                color=colours.text,
                linewidth=1.2,
                zorder=3,
            )


def _draw_measures(axes: Axes, measured: list[dict[str, Any]], colours: Theme) -> None:
    position, ticks = 0.0, {}
    for row in measured:
        position += _GAP
        axes.text(
            0, position - 0.75, f"agent, {row['title']}", weight="bold", va="center",
            transform=axes.get_yaxis_transform(),
        )
        for name, title in MEASURE_TITLES.items():
            measure = row[name]
            ticks[position] = title.replace("\n", "\n")
            if measure is None:
                axes.text(0.5, position, "cannot be said", ha="center", va="center", size=8)
            else:
                axes.plot(
                    [measure["low"], measure["high"]], [position] * 2,
                    color=colours.text, linewidth=2, solid_capstyle="butt",
                )
                axes.plot(measure["estimate"], position, "o", color=colours.text, markersize=6)
                axes.text(
                    0.5, position + 0.4, estimate(measure), ha="center", va="center", size=8,
                    transform=axes.get_yaxis_transform(),
                )
            position += 1.1
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(max(position - 0.3, 1), 0.2)
    low = min([0.0] + [r[m]["low"] for r in measured for m in MEASURE_TITLES if r[m] is not None])
    axes.set_xlim(min(low - 0.05, -0.1), 1.05)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    for line in (0, 0.5, 1):
        axes.axvline(line, color=colours.faint, linewidth=0.8, zorder=0)
