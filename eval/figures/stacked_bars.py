"""Stacked bars of what came first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from coinrun_jax.testbed import Testbed
from eval.figures.themes import EMPTY, FAILURES, GOAL, PROXY, TIMEOUT, Theme
from eval.measures import outcome_columns
from eval.results import Row, Summary
from eval.statistics import Estimate
from eval.table import number

_BAR, _GAP = 0.76, 1.2  # heights, in rows
ROW = 0.25  # inches
_LONGEST = 78  # characters per line of the legend
_IN_LINE = 3  # parts per line if one line cannot hold all
_LEAST_LABELLED = 0.06
_DARK_TEXT = "#1f2328"


class Bar(NamedTuple):
    """One stacked bar."""

    group: str
    """Title above bars that stand together."""
    label: str
    row: Row
    is_agent: bool
    """The bars of others are faded."""


class Part(NamedTuple):
    """One part of a bar."""

    title: str
    colour: str
    is_light: bool
    """Whether text on it is dark."""
    hatch: str | None = None
    """Colour of its hatching."""

    @property
    def style(self) -> dict[str, Any]:
        """Style of a bar, or of its patch in a legend."""
        if self.hatch is None:
            return {"facecolor": self.colour}
        return {"facecolor": self.colour, "hatch": "///", "edgecolor": self.hatch, "linewidth": 0}


class Parts:
    """The parts of a testbed's bars; the object that controls take away comes first."""

    def __init__(self, testbed: Testbed, summary: Summary) -> None:
        self._taken = {c.control: c.object for row in summary.agent for c in row.contrasts}
        moved = next(iter(self._taken.values()), testbed.goal)
        columns = outcome_columns(testbed)
        self._columns = sorted(columns, key=lambda name: name != moved)
        colours, failures = (
            {testbed.goal: GOAL, testbed.proxy: PROXY},
            iter(FAILURES * len(columns)),
        )
        titles = testbed.words.columns or {}
        self._own: dict[str, Part] = {}
        self._empty: dict[str, Part] = {}
        for name in self._columns:
            if name in colours:
                noun, colour = testbed.noun(name), colours[name]
                self._own[name] = Part(f"{noun} first", colour, colour == GOAL)
                if name in self._taken.values():
                    empty = f"{testbed.empty_cell(name)} first"
                    self._empty[name] = Part(empty, EMPTY[colour], True, colour)
            else:
                is_timeout = name == "timeout"
                colour = TIMEOUT if is_timeout else next(failures)
                self._own[name] = Part(titles.get(name, name), colour, is_timeout)

    def all(self) -> Iterator[Part]:
        """All parts, in the order of the legend."""
        for name in self._columns:
            yield self._own[name]
            if name in self._empty:
                yield self._empty[name]

    @property
    def in_line(self) -> int:
        """Parts per line of the legend."""
        titles = [part.title for part in self.all()]
        return len(titles) if sum(len(title) + 4 for title in titles) <= _LONGEST else _IN_LINE

    def of(self, row: Row) -> Iterator[tuple[Part, Estimate]]:
        """The parts of one bar; in a control, the empty cell in place of its object."""
        taken = self._taken.get(row.condition)
        for name in self._columns:
            part, share = self._own[name], row.first.get(name)
            if name == taken and name in self._empty:
                part, share = self._empty[name], row.accidental
            if share is not None:
                yield part, share


def legend_height(parts: Parts) -> float:
    """Inches that the legend takes above the bars."""
    return 0.14 + 0.21 * -(-len(list(parts.all())) // parts.in_line)


def height(bars: Sequence[Bar]) -> float:
    """Inches that the bars take."""
    return ROW * (len(bars) + _GAP * len({bar.group for bar in bars}))


def draw_bars(axes: Axes, bars: Sequence[Bar], parts: Parts, colours: Theme) -> None:
    """Draw bars one below the other, each group under its title."""
    position, group, ticks = 0.0, None, {}
    for bar in bars:
        if bar.group != group:
            group = bar.group
            position += _GAP
            axes.text(0, position - 0.62, group, weight="bold", va="center")
        ticks[position] = bar.label
        _draw_bar(axes, bar, parts, position, colours)
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
        handles=[Patch(label=part.title, **part.style) for part in parts.all()],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=parts.in_line,
        handlelength=1,
        handleheight=1,
        columnspacing=1.2,
        borderaxespad=0,
    )


def _draw_bar(axes: Axes, bar: Bar, parts: Parts, position: float, colours: Theme) -> None:
    """Draw one stacked bar, with the interval of its first part."""
    start = 0.0
    for number_of_part, (part, share) in enumerate(parts.of(bar.row)):
        width = share.estimate
        axes.barh(
            position,
            width,
            _BAR,
            start,
            **{"edgecolor": colours.background, "linewidth": 0.6, **part.style},
            alpha=1 if bar.is_agent else 0.6,
        )
        if width >= _LEAST_LABELLED:
            colour = (_DARK_TEXT if part.is_light else "#ffffff") if bar.is_agent else colours.text
            text = number(width, digits=2)
            middle = start + width / 2
            axes.text(middle, position, text, color=colour, ha="center", va="center", size=8)
        if number_of_part == 0:
            y, x = position + _BAR / 2 - 0.08, [share.low, share.high]
            axes.plot(x, [y, y], color=colours.text, linewidth=1.6, solid_capstyle="butt")
        start += width
