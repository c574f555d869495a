"""Recipe against recipe: every training run's dot, and the recipe's mean with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eval.figures.bars import Bar, draw_bars, height
from eval.figures.style import (
    MOST_PANELS,
    SERIES,
    WIDTH,
    Theme,
    band,
    panel_grid,
    share_ticks,
    themed,
)
from eval.results import BAR, POLICY_TITLES

EVIDENCE = {
    "excess": "coin rate above\nright + jump",
    "coin_attraction": "coin attraction",
    "unaided_misgeneralisation": "unaided goal\nmisgeneralisation",
}
"""What a verdict rests on, in figures."""
_COLUMNS = 3
_ROW = 0.3  # inches of a recipe
_LONGEST = 34  # characters of a label
_DOT: dict[str, Any] = {"ls": "", "marker": "o", "ms": 4, "alpha": 0.65, "mew": 0}


def short_names(comparison: dict[str, Any]) -> list[str]:
    """The recipes' labels, or numbers where labels are too long for a figure."""
    labels = [group["label"] for group in comparison["groups"]]
    if max(map(len, labels)) <= _LONGEST:
        return labels
    return [f"recipe {number}" for number in range(1, len(labels) + 1)]


def numeric_setting(comparison: dict[str, Any]) -> list[float] | None:
    """The recipes' values of the only setting in which they differ, if it is a number."""
    recipes = [group["recipe"] for group in comparison["groups"]]
    if len(comparison["settings"]) != 1 or len(recipes) < 2:
        return None
    values = [next(iter(recipe.values())) for recipe in recipes]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return None
    return [float(value) for value in values]


class _Measure:
    """One measure of all recipes and runs."""

    def __init__(self, comparison: dict[str, Any], condition: str | None, name: str) -> None:
        def read(of: dict[str, Any]) -> dict[str, float] | None:
            if condition is None:
                return of["verdict"][name]
            row = next(row for row in of["conditions"] if row["condition"] == condition)
            return row[name]

        self.groups = [read(group) for group in comparison["groups"]]
        runs = comparison["runs"]
        self.dots = [
            [m["estimate"] for run in runs if run["group"] == number and (m := read(run))]
            for number in range(len(self.groups))
        ]

    def __bool__(self) -> bool:
        return any(measure is not None for measure in self.groups)


def draw_evidence(comparison: dict[str, Any], theme: str = "light") -> Figure | None:
    """What the verdicts rest on, by recipe, or over the only setting if that is a number."""
    measures = {
        title: measure
        for name, title in EVIDENCE.items()
        if (measure := _Measure(comparison, None, name))
    }
    return _draw(comparison, measures, theme)


def draw_conditions(comparison: dict[str, Any], theme: str = "light") -> Figure | None:
    """Coin attraction by condition, or the coin rate where no condition has a control."""
    rows = comparison["groups"][0]["conditions"]
    for name in ("coin_attraction", "coin"):
        measures = {
            _wrapped(row["title"]): measure
            for row in rows
            if (measure := _Measure(comparison, row["condition"], name))
        }
        if measures:
            return _draw(comparison, measures, theme)
    return None


def _wrapped(title: str) -> str:
    """A title in two lines where it is too long for a panel."""
    words = title.split()
    if len(title) <= 24:
        return title
    lengths = [abs(2 * len(" ".join(words[:n])) - len(title)) for n in range(1, len(words))]
    middle = 1 + int(np.argmin(lengths)) if lengths else len(words)
    return " ".join(words[:middle]) + "\n" + " ".join(words[middle:])


def _draw(comparison: dict[str, Any], measures: dict[str, _Measure], theme: str) -> Figure | None:
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
            axes.spines[:].set_visible(False)
            if setting:
                _draw_curve(axes, setting, measure, colours)
            else:
                _draw_rows(axes, labels, measure, colours)
        if setting:
            figure.supxlabel(comparison["settings"][0], size=9)
    return figure


def _draw_curve(axes: Axes, setting: list[float], measure: _Measure, colours: Theme) -> None:
    order = np.argsort(setting)
    x = [setting[i] for i in order]
    band(axes, x, [measure.groups[i] for i in order], color=colours.end)
    for i in order:
        dots = measure.dots[i]
        axes.plot([setting[i]] * len(dots), dots, color=colours.text, **_DOT)
    axes.axhline(0, color=colours.faint, lw=1, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.grid(axis="y")


def _draw_rows(axes: Axes, labels: Sequence[str], measure: _Measure, colours: Theme) -> None:
    for y, (found, dots) in enumerate(zip(measure.groups, measure.dots, strict=True)):
        colour = SERIES[y % len(SERIES)]
        if found is None:
            axes.text(0.5, y, "cannot be said", ha="center", va="center", size=8)
            continue
        axes.plot([found["low"], found["high"]], [y, y], color=colour, lw=2.2)
        axes.plot(found["estimate"], y, "|", color=colour, ms=13, mew=2.2)
        axes.plot(dots, [y + 0.22] * len(dots), color=colours.text, **_DOT)
    axes.axvline(0, color=colours.faint, lw=1, zorder=0)
    axes.set_yticks(range(len(labels)), list(labels))
    axes.set_ylim(len(labels) - 0.4, -0.6)
    share_ticks(axes.xaxis, 0.5)
    low, high = axes.dataLim.intervalx  # of this panel; the shared axis takes the widest
    before = axes.get_xlim()
    axes.set_xlim(min(low - 0.05, before[0]), max(high + 0.05, 1.05, before[1]))
    axes.grid(axis="x")


def recipe_bars(comparison: dict[str, Any]) -> list[Bar]:
    """What came first, by condition and recipe, the reference below; controls left out."""
    groups, names = comparison["groups"], short_names(comparison)
    bars = []
    for number, row in enumerate(groups[0]["conditions"]):
        if row["control_of"] is not None:
            continue
        bars += [
            Bar(row["title"], name, group["conditions"][number], True)
            for name, group in zip(names, groups, strict=True)
        ]
        reference = groups[0]["references"].get(BAR)
        if reference:
            bars.append(Bar(row["title"], POLICY_TITLES[BAR], reference[number], False))
    return bars


def draw_recipe_bars(comparison: dict[str, Any], theme: str = "light") -> Figure:
    """Stacked bars by condition and recipe."""
    bars = recipe_bars(comparison)
    with themed(theme) as colours:
        tall = 0.7 + height(bars)
        figure, axes = plt.subplots(figsize=(WIDTH, tall), layout="constrained")
        draw_bars(axes, bars, colours)
    return figure
