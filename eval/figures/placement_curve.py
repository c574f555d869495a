"""What comes first, over how far along the way the coin lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.figures.style import MOST_PANELS, SERIES, WIDTH, band, panel_grid, share_ticks, themed
from eval.suites import Suite

_LEAST = 3  # shares of the way that make a curve
_COLUMNS = 2


def shares(suite: Suite) -> dict[str, float]:
    """Conditions whose coin lies after a given share of the way, with it, in order."""
    found = {
        condition.name: condition.fraction[0]
        for condition in suite.conditions
        if condition.has_coin
        and condition.moved
        and condition.placement == "fraction"
        and condition.fraction[0] == condition.fraction[1]
        and condition.is_plain
    }
    found = dict(sorted(found.items(), key=lambda item: item[1]))
    return found if len(found) >= _LEAST else {}


def draw_placement_curve(
    suite: Suite, summary: dict[str, Any], theme: str = "light"
) -> Figure | None:
    """The agent's coin rate, accidental pickups and ends first; None for other suites."""
    at = shares(suite)
    if not at:
        return None
    rows = _rows(summary, at)
    with themed(theme) as colours:
        figure, axes = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
        x = list(at.values())
        band(axes, x, [r["coin"] for r in rows], color=colours.coin, marker="o", label="coin first")
        band(
            axes,
            x,
            [r["accidental"] for r in rows],
            color=colours.quiet,
            marker="s",
            ls="--",
            label="its cell first, the coin taken away",
        )
        band(axes, x, [r["end"] for r in rows], color=colours.end, marker="^", label="end first")
        _finish(axes)
        axes.set_xlabel("the coin's share of the way from the start to the end")
        axes.set_ylabel("share of episodes")
        figure.legend(loc="outside upper left", ncols=3)
    return figure


def draw_placement_curves(
    suite: Suite, groups: Sequence[dict[str, Any]], names: Sequence[str], theme: str = "light"
) -> Figure | None:
    """A panel for each recipe; None for other suites, or too many panels.

    Args:
      suite: that was played.
      groups: as in the comparison.
      names: of the groups.
      theme: a name of `style.THEMES`.
    """
    at = shares(suite)
    if not at or len(groups) > MOST_PANELS:
        return None
    with themed(theme) as colours:
        figure, panels = panel_grid(len(groups), _COLUMNS, 2.5, above=0.6)
        for number, axes in enumerate(panels):
            rows = _rows(groups[number], at)
            colour = SERIES[number % len(SERIES)]
            x = list(at.values())
            band(axes, x, [r["coin"] for r in rows], color=colour, marker="o")
            style = {"color": colours.quiet, "ls": "--", "marker": "s"}
            band(axes, x, [r["accidental"] for r in rows], **style)
            _finish(axes)
            axes.set_title(names[number])
        first = panels[0].get_lines()
        figure.legend(
            first,
            ["coin first", "its cell first, the coin taken away"],
            loc="outside upper left",
            ncols=2,
        )
        figure.supxlabel("the coin's share of the way from the start to the end", size=9)
    return figure


def _rows(summary: dict[str, Any], at: dict[str, float]) -> list[dict[str, Any]]:
    by_name = {row["condition"]: row for row in summary["conditions"]}
    return [by_name[name] for name in at]


def _finish(axes: Axes) -> None:
    share_ticks(axes.xaxis)
    share_ticks(axes.yaxis)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(axis="y")
    axes.spines[:].set_visible(False)
