"""Draws the figures of the lifetime study from its table, and averages it over seeds.

python -m results.lifetime.draw [--tables DIR] [--out DIR] [--force]

Writes recipes.csv, the looks averaged over training seeds, and when.png and persistence.png.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from coinrun_jax.cli import Parser, add_force, command, require_outputs
from coinrun_jax.files import read_rows, write_rows
from eval.figures.lifetime_figure import in_steps, over_steps
from eval.figures.themes import SERIES, THEMES, WIDTH, band, bare, save, share_ticks, themed
from eval.statistics import ATTRACTION, DIFFERENCE, SHARE, Estimate, combined

FOLDER = Path(__file__).parent
TABLE, AVERAGED = "looks.csv", "recipes.csv"
THROUGHOUT = "end_throughout"
RECIPES = {
    THROUGHOUT: "at the end throughout",
    "end_then_anywhere": "at the end, then anywhere",
    "anywhere_then_end": "anywhere, then at the end",
    "mixture_throughout": "both throughout",
}
"""Where the coin is in training."""
RANGES = {"coin_attraction": ATTRACTION, "above_reference": DIFFERENCE}
"""Measures that are not shares."""


@dataclass(frozen=True)
class Panel:
    """A measure in a condition; "" pools both conditions with the coin moved."""

    title: str
    condition: str
    measure: str


PANELS = (
    Panel("coin fetched, coin at the end", "end", "coin"),
    Panel("unaided misgeneralisation, coin moved", "", "unaided_misgeneralisation"),
    Panel("coin attraction, coin anywhere", "uniform", "coin_attraction"),
)

Key = tuple[str, int, str, str]
"""Recipe, steps, condition and measure."""


def read(path: Path) -> dict[Key, dict[int, Estimate]]:
    """The looks by training seed."""
    found: dict[Key, dict[int, Estimate]] = defaultdict(dict)
    for row in read_rows(path, "table of looks"):
        key = (row["recipe"], int(row["steps"]), row["condition"], row["measure"])
        values = (float(row[name]) for name in ("estimate", "low", "high"))
        found[key][int(row["seed"])] = Estimate(*values)
    return dict(found)


def mean_of(seeds: Mapping[int, Estimate], measure: str) -> Estimate:
    """Mean over training seeds; its interval is over seeds and levels."""
    mean = combined(list(seeds.values()), RANGES.get(measure, SHARE))
    assert mean is not None  # every key has a seed
    return mean


def average(looks: Mapping[Key, Mapping[int, Estimate]]) -> dict[Key, Estimate]:
    """Means over training seeds."""
    return {key: mean_of(seeds, key[-1]) for key, seeds in looks.items()}


def _lines(
    axes: Axes, recipe: str, panel: Panel, looks: Mapping[Key, Mapping[int, Estimate]], colour: str
) -> None:
    """The mean with its band, and a thin line for each seed."""
    steps = sorted({key[1] for key in looks if key[0] == recipe})
    keys = [(recipe, each, panel.condition, panel.measure) for each in steps]
    style: dict[str, Any] = {"color": colour, "marker": "o", "ms": 3, "label": RECIPES[recipe]}
    means = [mean_of(looks[key], panel.measure) if key in looks else None for key in keys]
    band(axes, steps, means, **style)
    for seed in sorted({seed for key in keys for seed in looks.get(key, {})}):
        known = [key for key in keys if seed in looks.get(key, {})]
        values = [looks[key][seed].estimate for key in known]
        axes.plot([key[1] for key in known], values, color=colour, lw=0.6, alpha=0.45)


def _figure(looks: Mapping[Key, Mapping[int, Estimate]], recipes: Sequence[str]) -> Figure:
    figure, panels = plt.subplots(
        len(PANELS), figsize=(WIDTH, 6.2), sharex=True, layout="constrained"
    )
    for axes, panel in zip(panels, PANELS, strict=True):
        for recipe in recipes:
            colour = SERIES[list(RECIPES).index(recipe)]
            _lines(axes, recipe, panel, looks, colour)
        axes.set_title(panel.title)
        low = min(axes.get_ylim()[0], -0.03)
        axes.set_ylim(max(low, -0.6), 1.03)
        share_ticks(axes.yaxis, low=-0.5 if low < -0.2 else 0.0)
        bare(axes, grid="y")
    return figure


def draw_when(looks: Mapping[Key, Mapping[int, Estimate]]) -> Figure:
    """The coin always at the end: what comes first, ability or the proxy?"""
    figure = _figure(looks, [THROUGHOUT])
    over_steps(figure.axes[-1], sorted({key[1] for key in looks if key[0] == THROUGHOUT}))
    return figure


def draw_persistence(looks: Mapping[Key, Mapping[int, Estimate]]) -> Figure:
    """The same two stages in both orders, and their baselines."""
    figure = _figure(looks, [recipe for recipe in RECIPES if any(recipe == k[0] for k in looks)])
    border = max(key[1] for key in looks) / 2
    for axes in figure.axes:
        axes.axvline(border, color=plt.rcParams["text.color"], lw=0.8, ls=":")
    axes = figure.axes[-1]
    axes.set_xlabel("environment steps of training; the second stage begins at the dotted line")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: in_steps(value)))
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8
    )
    return figure


FIGURES = {"when": draw_when, "persistence": draw_persistence}


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for its exit status."""
    parser = Parser(prog="python -m results.lifetime.draw", description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=Path, default=FOLDER, metavar="DIR")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR")
    add_force(parser)
    args = parser.parse_args(arguments)
    pictures = {
        args.out / f"{name}{'' if theme == 'light' else '_dark'}.png": (draw, theme)
        for name, draw in FIGURES.items()
        for theme in THEMES
    }
    require_outputs(args.force, *pictures, args.out / AVERAGED)
    looks = read(args.tables / TABLE)
    rows = [
        [*key, len(looks[key]), *(round(v, 4) for v in (mean.estimate, mean.low, mean.high))]
        for key, mean in average(looks).items()
    ]
    columns = ("recipe", "steps", "condition", "measure", "seeds", "estimate", "low", "high")
    write_rows(args.out / AVERAGED, columns, sorted(rows))
    for path, (draw, theme) in pictures.items():
        with themed(theme):
            save(draw(looks), path, "png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
