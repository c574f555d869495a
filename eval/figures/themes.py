"""What all figures share: two themes, colours with a meaning, and how they are saved."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib

if "MPLBACKEND" not in os.environ:  # a notebook sets it, to show figures in its cells
    matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.statistics import Estimate

WIDTH = 7.8  # inches, of every figure, so that text has the same size in all of them
_MOST_PIXELS = 2**16 - 1  # per side, that matplotlib can draw
AS_WRITTEN: Any = {"text.parse_math": False}
"""Titles and names are the user's: a dollar sign in one does not start a formula."""


@dataclass(frozen=True)
class Theme:
    """Colours of one theme; lines and dots have a contrast of 3 : 1 with the background."""

    text: str
    faint: str
    """For grids."""
    background: str
    quiet: str
    """For references and controls."""
    goal: str
    proxy: str
    failures: tuple[str, ...]
    """For the ways to fail, in turn."""


THEMES = {
    "light": Theme(
        text="#1f2328",
        faint="#d5dae0",
        background="#ffffff",
        quiet="#7b838d",
        goal="#a87900",
        proxy="#2f66b5",
        failures=("#4c5661", "#8a4fa8", "#c9510c", "#1f8a70"),
    ),
    "dark": Theme(
        text="#e6edf3",
        faint="#343b44",
        background="#0d1117",
        quiet="#848d97",
        goal="#e8b004",
        proxy="#6ea3ec",
        failures=("#b4bdc7", "#c58be0", "#ff8a3d", "#4cc2a4"),
    ),
}

GOAL, PROXY, TIMEOUT = "#e8b004", "#3d74c2", "#9aa1ab"
EMPTY = {GOAL: "#f3dd94", PROXY: "#a9c3ea"}
"""Of an object's empty cell in a control, by the colour of the object's bar."""
FAILURES = ("#a33b47", "#7d4a9c", "#c9702c")
"""For the other ways to fail, in turn."""
SERIES = ("#4a86d8", "#cf7a22", "#3a9b6e", "#b05fa6", "#cc5560", "#8a9236", "#4aa3bd", "#94796a")
"""For recipes, in turn; distinguishable and legible on both backgrounds."""


@contextmanager
def themed(theme: str) -> Iterator[Theme]:
    """Draw in a theme; yields its colours.

    Args:
      theme: a name of `THEMES`.
    """
    colours = THEMES[theme]
    settings: Any = {
        "text.color": colours.text,
        "axes.labelcolor": colours.text,
        "axes.edgecolor": colours.faint,
        "axes.facecolor": "none",
        "axes.titlesize": 9,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "figure.facecolor": colours.background,
        "xtick.color": colours.text,
        "ytick.color": colours.text,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "grid.color": colours.faint,
        "grid.linewidth": 0.8,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "legend.labelcolor": colours.text,
        "font.size": 9,
        **AS_WRITTEN,
    }
    with plt.rc_context(settings):
        yield colours


MOST_PANELS = 60
"""Per figure: nobody reads more, and laying them out takes minutes."""


def panel_grid(number: int, columns: int, line: float, above: float) -> tuple[Figure, list[Axes]]:
    """Panels that share their axes, in reading order; the rest of the last row is empty.

    Args:
      number: of panels.
      columns: of the grid.
      line: height of a row of panels, in inches.
      above: height of what stands above them, in inches.
    """
    lines = -(-number // columns)
    figure, panels = plt.subplots(
        lines,
        columns,
        figsize=(WIDTH, above + lines * line),
        layout="constrained",
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    for axes in panels.flat[number:]:
        axes.set_visible(False)
    return figure, list(panels.flat[:number])


def share_ticks(axis: Any, step: float = 0.25, low: float = 0.0) -> None:
    """Ticks up to 1 without leading zeros.

    Args:
      axis: a matplotlib axis.
      low: no tick is below it; attraction can be negative.
    """
    ticks = [i * step for i in range(math.ceil(low / step), round(1 / step) + 1)]
    axis.set_ticks(ticks, [f"{t:g}".replace("0.", ".").replace("-", "−") for t in ticks])


def band(axes: Axes, x: Any, measures: Sequence[Estimate | None], **style: Any) -> None:
    """A line with its interval, interrupted where a measure is not identifiable.

    Args:
      x: [n], positions of the measures.
      measures: n of them.
      style: of the line.
    """
    nan = float("nan")
    low, middle, high = (
        [nan if m is None else getattr(m, name) for m in measures]
        for name in ("low", "estimate", "high")
    )
    (line,) = axes.plot(x, middle, **{"lw": 1.8, "ms": 4, **style})
    axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, lw=0)


def bare(*panels: Axes, grid: Literal["x", "y"]) -> None:
    """A grid along one axis, and no frame."""
    for axes in panels:
        axes.grid(axis=grid)
        axes.spines[:].set_visible(False)


def dashed(colours: Theme) -> dict[str, Any]:
    """Line style for references and ceilings."""
    return {"color": colours.quiet, "ls": "--", "lw": 1.5}


def save(figure: Figure, target: Any, kind: str) -> None:
    """Write a figure to a path or file ("png", "svg"), the same bytes every time; closes it."""
    dpi = min(150, _MOST_PIXELS / max(figure.get_size_inches()))
    with plt.rc_context({"svg.hashsalt": "coinrun_jax", **AS_WRITTEN}):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(target, format=kind, dpi=dpi, metadata=metadata)
    plt.close(figure)
