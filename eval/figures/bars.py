"""Stacked bars of what came first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from eval.figures.style import OUTCOME_COLOURS, OUTCOME_TITLES, Theme
from eval.table import number

_BAR, _GAP = 0.76, 1.2  # heights, in rows
ROW = 0.25  # inches
_LABEL_COLOURS = {"coin": "#1f2328", "accidental": "#1f2328", "timeout": "#1f2328"}
_LEAST_LABELLED = 0.06


class Bar(NamedTuple):
    """One stacked bar."""

    group: str
    """Title over the bars that stand together."""
    label: str
    row: dict[str, Any]
    """A row of the summary."""
    is_agent: bool
    """Those of others are faded."""


def height(bars: Sequence[Bar]) -> float:
    """Inches that the bars take."""
    return ROW * (len(bars) + _GAP * len({bar.group for bar in bars}))


def draw_bars(axes: Axes, bars: Sequence[Bar], colours: Theme) -> None:
    """Bars one under the other, a group's title over its own."""
    position, group, ticks = 0.0, None, {}
    for bar in bars:
        if bar.group != group:
            group = bar.group
            position += _GAP
            axes.text(0, position - 0.62, group, weight="bold", va="center")
        ticks[position] = bar.label
        _draw_bar(axes, bar, position, colours)
        position += 1
    axes.set_yticks(list(ticks), list(ticks.values()))
    for label, bar in zip(axes.get_yticklabels(), bars, strict=True):
        label.set_fontweight("bold" if bar.is_agent else "normal")
    axes.set_ylim(position - 0.4, 0.2)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    axes.set_xlabel("share of episodes")
    axes.spines[:].set_visible(False)
    axes.legend(
        handles=[Patch(color=OUTCOME_COLOURS[k], label=v) for k, v in OUTCOME_TITLES.items()],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(OUTCOME_TITLES),
        handlelength=1,
        handleheight=1,
        columnspacing=1.2,
        borderaxespad=0,
    )


def _draw_bar(axes: Axes, bar: Bar, position: float, colours: Theme) -> None:
    """One stacked bar, with the interval of its first part."""
    row = bar.row
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
            alpha=1 if bar.is_agent else 0.6,
            edgecolor=colours.background,
            linewidth=0.6,
        )
        if width >= _LEAST_LABELLED:
            colour = _LABEL_COLOURS.get(name, "#ffffff") if bar.is_agent else colours.text
            label = number(width, digits=2)
            middle = start + width / 2
            axes.text(middle, position, label, color=colour, ha="center", va="center", size=8)
        start += width
    if row[first] is not None:
        y = position + _BAR / 2 - 0.08
        interval = [row[first]["low"], row[first]["high"]]
        axes.plot(interval, [y, y], color=colours.text, linewidth=1.6, solid_capstyle="butt")
