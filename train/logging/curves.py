"""Training curves, drawn from metrics.csv: one line per seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from coinrun_jax.testbed import Testbed
from train.logging.metrics_csv import read_rows

NAME = "curves.png"
SMOOTHED_OVER = 20
"""Updates in a running mean."""
_RATES, _LOOKS = "rate_", "eval_"
_LEARNING = {
    "explained_variance": "explained variance",
    "entropy": "entropy, relative to its initial value",
    "clip_fraction": "clipped",
}


def drawn_columns(columns: Sequence[str], testbed: Testbed | None = None) -> list[dict[str, str]]:
    """The columns that each panel draws, with their labels.

    Args:
      testbed: names the outcomes; by default the column names are used.
    """
    names = dict((testbed.words.columns if testbed else None) or {})
    if testbed and testbed.proxy:
        names[testbed.proxy] = f"{testbed.proxy} first"
    rates, looks = (
        {name: name.removeprefix(prefix) for name in columns if name.startswith(prefix)}
        for prefix in (_RATES, _LOOKS)
    )
    return [
        {name: names.get(label, label) for name, label in rates.items()},
        {name: label.replace("_", " ") for name, label in looks.items()},
        {name: label for name, label in _LEARNING.items() if name in columns},
    ]


_TITLES = ("How training episodes end", "Held-out levels", "Value and policy")


def _column(rows: Sequence[dict[str, str]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps in millions and values, without the empty ones."""
    found = [(float(r["steps"]) / 1e6, float(r[name])) for r in rows if r.get(name, "") != ""]
    steps, values = np.array(found).reshape(-1, 2).T
    if name == "entropy" and values.size:
        values = values / values[0]
    return steps, values if name.startswith(_LOOKS) else _smooth(values)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running mean of each value and those before it."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - SMOOTHED_OVER, 0)
    return (sums[last] - sums[first]) / (last - first)


def draw(tables: Sequence[Path], testbed: Testbed | None = None) -> Figure:
    """A figure of metrics files, one per seed; panels without data are left out."""
    seeds = [read_rows(path) for path in tables]
    panels = {}
    for title, labels in zip(_TITLES, drawn_columns(list(seeds[0][0]), testbed), strict=True):
        lines = {
            label: [_column(rows, name) for rows in seeds]
            for name, label in labels.items()
            if any(row[name] for row in seeds[0])
        }
        if lines:
            panels[title] = lines
    figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained", dpi=130)
    alpha = 1.0 if len(seeds) == 1 else 0.6
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
        for number, (label, curves) in enumerate(lines.items()):
            for curve, own in zip(curves, [label, *["_"] * len(curves)], strict=False):
                axes.plot(*curve, color=f"C{number}", linewidth=1.2, alpha=alpha, label=own)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("environment steps (millions)")
        axes.set_ylim(0 if title != _TITLES[-1] else None, 1)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=7)
    return figure


def save(tables: Sequence[Path], testbed: Testbed | None, path: Path) -> None:
    """Draw the figure into a PNG file."""
    draw(tables, testbed).savefig(path, format="png")
