"""One agent: what came first, and the measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from coinrun_jax.testbed import Testbed
from eval.figures.stacked_bars import Bar, Parts, draw_bars, height, legend_height
from eval.figures.themes import WIDTH, Theme, bare, share_ticks, themed
from eval.results import AGENT, AGENT_TITLES, Row, Summary
from eval.statistics import Estimate

_FEW_GROUPS = 8  # with more, the references are left to the tables
_MEASURE_ROW = 0.3  # inches, as are all of these
_TITLES, _UNDER, _LEFT, _RIGHT, _APART = 0.5, 0.62, 2.55, 0.12, 0.25

Read = Callable[[Row], Estimate | None]


def objects(summary: Summary) -> list[str]:
    """Objects that some control takes away."""
    return list(dict.fromkeys(each.object for row in summary.agent for each in row.contrasts))


def attraction(name: str) -> Read:
    """Reads the attraction of an object from a row."""
    return lambda row: next((c.attraction for c in row.contrasts if c.object == name), None)


def draw(summary: Summary, testbed: Testbed, theme: str = "light") -> Figure:
    """Outcome bars by condition and policy above, the agent's measures below.

    A condition's controls stand beside it, for the agent alone.

    Args:
      theme: a name of `themes.THEMES`.
    """
    bars = agent_bars(summary, testbed)
    rows = [row for row in summary.agent if row.apart]
    panels: dict[str, Read] = {
        "capability robustness": lambda row: row.capability_robustness,
        "goal misgeneralisation": lambda row: row.goal_misgeneralisation,
        **{f"{name} attraction": attraction(name) for name in objects(summary)},
    }
    parts = Parts(testbed, summary)
    top, above = legend_height(parts), height(bars)
    below = _TITLES + _MEASURE_ROW * len(rows) + _UNDER if rows else 0
    tall = top + above + _UNDER + below
    with themed(theme) as colours:
        figure = plt.figure(figsize=(WIDTH, tall))

        def place(left: float, top: float, width: float, height: float) -> Axes:
            """Axes at inches from the upper left corner."""
            return figure.add_axes(
                (left / WIDTH, 1 - (top + height) / tall, width / WIDTH, height / tall)
            )

        draw_bars(place(_LEFT, top, WIDTH - _LEFT - _RIGHT, above), bars, parts, colours)
        if rows:
            step = (WIDTH - _LEFT - _RIGHT + _APART) / len(panels)
            top += above + _UNDER + _TITLES
            for number, (title, read) in enumerate(panels.items()):
                high = _MEASURE_ROW * len(rows)
                axes = place(_LEFT + step * number, top, step - _APART, high)
                axes.set_title(title.replace(" ", "\n"), size=8 if len(panels) > 3 else 9)
                _draw_measure(axes, summary, testbed.bar, read, colours)
                if number:
                    axes.tick_params(labelleft=False)
            _add_legend(figure, summary, testbed.bar, colours, (_LEFT / WIDTH, 0))
    return figure


def agent_bars(summary: Summary, testbed: Testbed) -> list[Bar]:
    """The bars of a summary: the agent's, its controls' and, if few, the references'."""
    rows = {row.condition: row for row in summary.agent}
    groups = [number for number, row in enumerate(summary.agent) if row.control_of is None]
    bars = []
    for number in groups:
        own = summary.agent[number]
        bars.append(Bar(own.title, AGENT_TITLES[AGENT], own, True))
        for contrast in own.contrasts:
            label = f"{testbed.noun(contrast.object)} taken away"
            bars.append(Bar(own.title, label, rows[contrast.control], True))
        for policy, others in summary.rows.items():
            if policy != AGENT and len(groups) <= _FEW_GROUPS:
                is_agent = policy in AGENT_TITLES
                bars.append(Bar(own.title, summary.titles[policy], others[number], is_agent))
    return bars


def _draw_measure(axes: Axes, summary: Summary, bar: str, read: Read, colours: Theme) -> None:
    """Dots with intervals, a row for each condition; the reference as a hollow marker."""
    references = summary.rows.get(bar)
    own = [number for number, row in enumerate(summary.agent) if row.apart]
    lowest = 0.0
    for y, number in enumerate(own):
        measure = read(summary.agent[number])
        beside = read(references[number]) if references else None
        if beside is not None:
            style: dict[str, Any] = {"mfc": "none", "mec": colours.quiet, "ms": 5, "zorder": 1}
            axes.plot(beside.estimate, y, "D", **style)
            lowest = min(lowest, beside.estimate)
        if measure is None:
            axes.text(0.5, y, "not identifiable", ha="center", va="center", size=8)
            continue
        lowest = min(lowest, measure.low)
        axes.plot([measure.low, measure.high], [y, y], color=colours.text, lw=2)
        axes.plot(measure.estimate, y, "o", color=colours.text, markersize=5)
    axes.set_ylim(len(own) - 0.5, -0.5)
    axes.set_yticks(range(len(own)), [summary.agent[number].title for number in own])
    axes.set_xlim(max(lowest, -1) - 0.06, 1.06)
    share_ticks(axes.xaxis, 0.5)
    bare(axes, grid="x")


def _add_legend(
    figure: Figure, summary: Summary, bar: str, colours: Theme, at: tuple[float, float]
) -> None:
    handles = [Line2D([], [], ls="", marker="o", color=colours.text, label="agent")]
    if bar in summary.rows:
        style: dict[str, Any] = {"ls": "", "marker": "D", "mfc": "none", "mec": colours.quiet}
        handles.append(Line2D([], [], label=summary.titles[bar], **style))
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=at, ncols=2, borderaxespad=0)
