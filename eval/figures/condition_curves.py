"""What comes first, against the conditions' position, such as how far the goal is moved."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coinrun_jax.suites import Condition, Suite
from coinrun_jax.testbed import Testbed
from eval.figures.themes import (
    MOST_PANELS,
    SERIES,
    WIDTH,
    band,
    bare,
    panel_grid,
    share_ticks,
    themed,
)
from eval.results import Comparison, Row, Summary

_LEAST = 3  # fewest positions that make a curve
_COLUMNS = 2


def positioned(suite: Suite) -> list[Condition]:
    """Conditions on the suite's axis, in order; none if there are too few for a curve."""
    found = [each for each in suite.conditions if each.position is not None and not each.control]
    return sorted(found, key=_position) if suite.axis and len(found) >= _LEAST else []


def _position(condition: Condition) -> float:
    assert condition.position is not None
    return condition.position


def moved_object(suite: Suite, testbed: Testbed) -> str:
    """Event of the object that controls on the suite's axis take away, or the goal if none do."""
    controls = [c for each in positioned(suite) for c in suite.controls_of(each.name)]
    return next((each.control.takes for each in controls if each.control), testbed.goal)


def draw_curve(
    summary: Summary, suite: Suite, testbed: Testbed, theme: str = "light"
) -> Figure | None:
    """The agent's rates for the moved object, its empty cell and the other object; None for
    suites without an axis.
    """
    conditions = positioned(suite)
    if not conditions:
        return None
    x, rows = [_position(each) for each in conditions], _rows(summary, suite, conditions)
    moved = moved_object(suite, testbed)
    (other,) = {testbed.goal, testbed.proxy} - {moved}
    with themed(theme) as colours:
        colour = {testbed.goal: colours.goal, testbed.proxy: colours.proxy}
        figure, axes = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
        style = {"color": colour[moved], "marker": "o", "label": f"{testbed.noun(moved)} first"}
        band(axes, x, [row.first[moved] for row in rows], **style)
        style = {"color": colours.quiet, "marker": "s", "ls": "--", "label": _empty(testbed, moved)}
        band(axes, x, [row.accidental for row in rows], **style)
        style = {"color": colour[other], "marker": "^", "label": f"{testbed.noun(other)} first"}
        band(axes, x, [row.first[other] for row in rows], **style)
        _finish(axes, x)
        axes.set_xlabel(suite.axis)
        axes.set_ylabel("share of episodes")
        figure.legend(loc="outside upper left", ncols=3)
    return figure


def draw_curves(
    comparison: Comparison, names: Sequence[str], testbed: Testbed, theme: str = "light"
) -> Figure | None:
    """A panel for each recipe; None for suites without an axis, or too many panels.

    Args:
      names: of the recipes.
      theme: a name of `themes.THEMES`.
    """
    suite, summaries = comparison.suite, [group.summary for group in comparison.groups]
    conditions = positioned(suite)
    if not conditions or len(summaries) > MOST_PANELS:
        return None
    x, moved = [_position(each) for each in conditions], moved_object(suite, testbed)
    with themed(theme) as colours:
        figure, panels = panel_grid(len(summaries), _COLUMNS, 2.5, above=0.6)
        for number, axes in enumerate(panels):
            rows = _rows(summaries[number], suite, conditions)
            colour = SERIES[number % len(SERIES)]
            band(axes, x, [row.first[moved] for row in rows], color=colour, marker="o")
            style = {"color": colours.quiet, "ls": "--", "marker": "s"}
            band(axes, x, [row.accidental for row in rows], **style)
            _finish(axes, x)
            axes.set_title(names[number])
        labels = [f"{testbed.noun(moved)} first", _empty(testbed, moved)]
        figure.legend(panels[0].get_lines(), labels, loc="outside upper left", ncols=2)
        figure.supxlabel(suite.axis, size=9)
    return figure


def _empty(testbed: Testbed, moved: str) -> str:
    return f"{testbed.empty_cell(moved)} first"


def _rows(summary: Summary, suite: Suite, conditions: Sequence[Condition]) -> list[Row]:
    return [summary.agent[suite.index(each.name)] for each in conditions]


def _finish(axes: Axes, x: Sequence[float]) -> None:
    if 0 <= min(x) and max(x) <= 1:
        share_ticks(axes.xaxis)
    share_ticks(axes.yaxis)
    margin = 0.03 * ((max(x) - min(x)) or 1)
    axes.set_xlim(min(x) - margin, max(x) + margin)
    axes.set_ylim(-0.02, 1.02)
    bare(axes, grid="y")
