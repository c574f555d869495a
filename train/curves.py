"""Training curves, drawn from metrics.csv: one line per seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from coinrun_jax.testbed import Testbed
from train.loggers import read_rows

NAME = "curves.png"
_RATES, _LOOKS, _LEARNING = "rate_", "eval_", "Value and policy"
SMOOTHED_OVER = 20
"""Updates; a curve is a running mean of the rates that they had."""


def _panels(columns: Sequence[str], testbed: Testbed) -> dict[str, dict[str, str]]:
    """Columns and their labels, by the title of their panel."""

    def labels(prefix: str) -> dict[str, str]:
        return {name: name.removeprefix(prefix) for name in columns if name.startswith(prefix)}

    titles = dict(testbed.words.columns or {}) | {testbed.proxy: f"{testbed.proxy} first"}
    return {
        "How training episodes end": {
            name: titles.get(label, label) for name, label in labels(_RATES).items()
        },
        "Held-out levels": {
            name: label.replace("_", " ") for name, label in labels(_LOOKS).items()
        },
        _LEARNING: {
            "explained_variance": "explained variance",
            "entropy": "entropy, of its first",
            "clip_fraction": "clipped",
        },
    }


def _column(rows: Sequence[dict[str, str]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps in millions and values, where there are any."""
    found = [(float(r["steps"]) / 1e6, float(r[name])) for r in rows if r.get(name, "") != ""]
    steps, values = np.array(found).reshape(-1, 2).T
    return steps, values / values[0] if name == "entropy" and values.size else values


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean of each value and the ones before it."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - SMOOTHED_OVER, 0)
    return (sums[last] - sums[first]) / (last - first)


def draw(tables: Sequence[Path], testbed: Testbed) -> Figure:
    """A figure of the metrics files, one per seed; panels without a number are left out."""
    seeds = [read_rows(path) for path in tables]
    columns = list(seeds[0][0]) if seeds[0] else []
    panels = {
        title: {n: label for n, label in lines.items() if len(_column(seeds[0], n)[0])}
        for title, lines in _panels(columns, testbed).items()
    }
    panels = {title: lines for title, lines in panels.items() if lines}
    figure = Figure(figsize=(4.6 * max(len(panels), 1), 3.4), layout="constrained", dpi=130)
    for axes, (title, lines) in zip(
        figure.subplots(1, max(len(panels), 1), squeeze=False)[0], panels.items(), strict=False
    ):
        for number, (name, label) in enumerate(lines.items()):
            for index, rows in enumerate(seeds):
                steps, values = _column(rows, name)
                curve = values if name.startswith(_LOOKS) else _smooth(values)
                axes.plot(
                    steps,
                    curve,
                    color=f"C{number}",
                    linewidth=1.2,
                    alpha=1.0 if len(seeds) == 1 else 0.6,
                    label=label if index == 0 else None,
                )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("environment steps (millions)")
        axes.set_ylim(0 if title != _LEARNING else None, 1)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=7)
    return figure


def save(tables: Sequence[Path], testbed: Testbed, path: Path) -> None:
    """Draw into a PNG file."""
    draw(tables, testbed).savefig(path, format="png")
