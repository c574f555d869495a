"""Recipes compared: a dot for every training run, and each recipe's mean with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coinrun_jax.testbed import Testbed
from eval.figures.stacked_bars import Bar, Parts, draw_bars, height, legend_height
from eval.figures.themes import (
    MOST_PANELS,
    SERIES,
    WIDTH,
    Theme,
    band,
    bare,
    panel_grid,
    share_ticks,
    themed,
)
from eval.results import Comparison, Group, RunResult
from eval.statistics import Estimate

_COLUMNS = 3
_ROW = 0.3  # inches per recipe
_LONGEST = 34  # characters of a label
_LOWEST = -1.1  # limit of an axis; intervals of attraction may reach far below
_DOT: dict[str, Any] = {"ls": "", "marker": "o", "ms": 4, "alpha": 0.65, "mew": 0}

Read = Callable[[Group | RunResult], Estimate | None]


def short_names(comparison: Comparison) -> list[str]:
    """The recipes' labels, or numbers where labels are too long for a figure."""
    labels = [group.label for group in comparison.groups]
    if max(map(len, labels)) <= _LONGEST:
        return labels
    return [f"recipe {number}" for number in range(1, len(labels) + 1)]


def numeric_setting(comparison: Comparison) -> list[float] | None:
    """The recipes' values of the only setting in which they differ, if it is a number."""
    recipes = [group.recipe for group in comparison.groups]
    if len(comparison.settings) != 1 or len(recipes) < 2:
        return None
    values = [next(iter(recipe.values())) for recipe in recipes]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return None
    return [float(value) for value in values]


class _Measure:
    """One measure of all recipes and runs."""

    def __init__(self, comparison: Comparison, read: Read) -> None:
        self.groups = [read(group) for group in comparison.groups]
        self.dots = [
            [m.estimate for run in comparison.runs if run.group == number and (m := read(run))]
            for number in range(len(self.groups))
        ]

    def __bool__(self) -> bool:
        return any(measure is not None for measure in self.groups)


def draw_evidence(comparison: Comparison, testbed: Testbed, theme: str = "light") -> Figure | None:
    """What the verdicts rest on, by recipe, or over the only differing setting if numeric."""
    verdict = comparison.groups[0].summary.verdict
    competence = comparison.groups[0].summary.competence
    reads: dict[str, Read] = {
        f"{verdict.object} attraction": lambda of: _verdict(of).attraction,
        "unaided goal\nmisgeneralisation": lambda of: _verdict(of).unaided_misgeneralisation,
    }
    if competence:
        title = _wrapped(f"{testbed.words.goal} rate above {competence.reference}")
        reads = {title: _excess, **reads}
    return _draw(comparison, reads, theme)


def _verdict(of: Group | RunResult) -> Any:
    return of.verdict if isinstance(of, RunResult) else of.summary.verdict


def _excess(of: Group | RunResult) -> Estimate | None:
    if isinstance(of, RunResult):
        return of.excess
    competence = of.summary.competence
    return competence.above_reference if competence else None


def draw_conditions(
    comparison: Comparison, testbed: Testbed, theme: str = "light"
) -> Figure | None:
    """Attraction by condition, or the goal rate where no condition has a control."""
    rows = comparison.groups[0].summary.agent
    contrasts = [(row, each) for row in rows for each in row.contrasts]
    several = len({each.object for _, each in contrasts}) > 1
    reads: dict[str, Read] = {}
    for row, each in contrasts:
        title = f"{row.title}: {each.object}" if several else row.title
        reads[_wrapped(title)] = _reader(row.condition, f"{each.object}_attraction")
    if not reads:
        reads = {_wrapped(row.title): _reader(row.condition, testbed.goal) for row in rows}
    return _draw(comparison, reads, theme)


def _reader(condition: str, name: str) -> Read:
    def read(of: Group | RunResult) -> Estimate | None:
        rows = of.rows if isinstance(of, RunResult) else of.summary.agent
        return next(row for row in rows if row.condition == condition).measures()[name]

    return read


def _wrapped(title: str) -> str:
    """A title, on two lines if it is too long for a panel."""
    words = title.split()
    if len(title) <= 24:
        return title
    lengths = [abs(2 * len(" ".join(words[:n])) - len(title)) for n in range(1, len(words))]
    middle = 1 + int(np.argmin(lengths)) if lengths else len(words)
    return " ".join(words[:middle]) + "\n" + " ".join(words[middle:])


def _draw(comparison: Comparison, reads: dict[str, Read], theme: str) -> Figure | None:
    measures = {
        title: measure for title, read in reads.items() if (measure := _Measure(comparison, read))
    }
    if not 0 < len(measures) <= MOST_PANELS:
        return None
    setting = numeric_setting(comparison)
    labels = short_names(comparison)
    tall = 2.2 if setting else 0.6 + _ROW * len(labels)
    with themed(theme) as colours:
        figure, panels = panel_grid(len(measures), _COLUMNS, tall, above=0.5)
        for axes in panels[-_COLUMNS:]:
            axes.tick_params(labelbottom=True)
        for axes, (title, measure) in zip(panels, measures.items(), strict=True):
            axes.set_title(title)
            bare(axes, grid="y" if setting else "x")
            if setting:
                _draw_curve(axes, setting, measure, colours)
            else:
                _draw_rows(axes, labels, measure, colours)
        if setting:
            panels[0].set_ylim(bottom=max(_LOWEST, panels[0].get_ylim()[0]))  # shared by all
            figure.supxlabel(comparison.settings[0], size=9)
    return figure


def _draw_curve(axes: Axes, setting: list[float], measure: _Measure, colours: Theme) -> None:
    order = np.argsort(setting)
    x = [setting[i] for i in order]
    band(axes, x, [measure.groups[i] for i in order], color=colours.proxy)
    for i in order:
        dots = measure.dots[i]
        axes.plot([setting[i]] * len(dots), dots, color=colours.text, **_DOT)
    axes.axhline(0, color=colours.faint, lw=1, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(3))


def _draw_rows(axes: Axes, labels: Sequence[str], measure: _Measure, colours: Theme) -> None:
    for y, (found, dots) in enumerate(zip(measure.groups, measure.dots, strict=True)):
        colour = SERIES[y % len(SERIES)]
        if found is None:
            axes.text(0.5, y, "not identifiable", ha="center", va="center", size=8)
            continue
        axes.plot([found.low, found.high], [y, y], color=colour, lw=2.2)
        axes.plot(found.estimate, y, "|", color=colour, ms=13, mew=2.2)
        axes.plot(dots, [y + 0.22] * len(dots), color=colours.text, **_DOT)
    axes.axvline(0, color=colours.faint, lw=1, zorder=0)
    axes.set_yticks(range(len(labels)), list(labels))
    axes.set_ylim(len(labels) - 0.4, -0.6)
    share_ticks(axes.xaxis, 0.5)
    low, high = axes.dataLim.intervalx  # of this panel; the shared axis takes the widest
    before = axes.get_xlim()
    axes.set_xlim(max(_LOWEST, min(low - 0.05, before[0])), max(high + 0.05, 1.05, before[1]))


def recipe_bars(comparison: Comparison, testbed: Testbed) -> list[Bar]:
    """What came first, by condition and recipe, the reference below; controls left out."""
    summaries, names = [g.summary for g in comparison.groups], short_names(comparison)
    bars = []
    for number, row in enumerate(summaries[0].agent):
        if row.control_of is not None:
            continue
        bars += [
            Bar(row.title, name, summary.agent[number], True)
            for name, summary in zip(names, summaries, strict=True)
        ]
        if reference := summaries[0].rows.get(testbed.bar):
            bars.append(Bar(row.title, summaries[0].titles[testbed.bar], reference[number], False))
    return bars


def draw_recipe_bars(comparison: Comparison, testbed: Testbed, theme: str = "light") -> Figure:
    """Stacked bars by condition and recipe."""
    bars = recipe_bars(comparison, testbed)
    with themed(theme) as colours:
        parts = Parts(testbed, comparison.groups[0].summary)
        tall = 0.5 + legend_height(parts) + height(bars)
        figure, axes = plt.subplots(figsize=(WIDTH, tall), layout="constrained")
        draw_bars(axes, bars, parts, colours)
    return figure
