"""Draws the figure of the microscope's study from its tables.

python -m results.microscope.draw [--tables DIR] [--out DIR] [--force]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coinrun_jax.cli import Parser, add_force, command, require_outputs
from coinrun_jax.files import read_rows
from eval.figures.themes import SERIES, THEMES, WIDTH, band, bare, save, share_ticks, themed
from eval.statistics import Estimate

FOLDER = Path(__file__).parent
ACTIVATIONS = {"hidden_1": SERIES[0], "hidden_2": SERIES[1]}
UNITS = (1, 2, 4, 8, 16, 32, 64, 128)
Row = dict[str, str]


def _estimate(row: Row, name: str) -> Estimate | None:
    values = [row[key] for key in (name, f"{name}_low", f"{name}_high")]
    return None if "" in values else Estimate(*map(float, values))


def _steered(axes: Axes, rows: Sequence[Row], vector: str, random: tuple[str, ...]) -> None:
    """Attraction and competence against the strength of the push; random vectors are crosses.

    Args:
      vector, random: names of vectors in the table.
    """
    for number, (activation, colour) in enumerate(ACTIVATIONS.items()):
        own = [row for row in rows if row["activation"] == activation]
        pushed = [row for row in own if row["vector"] in (vector, "none")]
        pushed.sort(key=lambda row: float(row["strength"]))
        x = np.arange(len(pushed))
        band(axes, x, [_estimate(row, "attraction") for row in pushed], color=colour, marker="o")
        competence = [float(row["competence"]) for row in pushed]
        axes.plot(x, competence, "--", color=colour, lw=1.2)
        place = {row["strength"]: i for i, row in enumerate(pushed)}
        drawn = [row for row in own if row["vector"] in random]
        axes.plot(
            [place[row["strength"]] + 0.12 * (2 * number - 1) for row in drawn],
            [float(row["attraction"]) for row in drawn],
            "x",
            color=colour,
            ms=4,
        )
        axes.set_xticks(x, [f"{float(row['strength']):g}".replace("-", "−") for row in pushed])


def _carried(axes: Axes, rows: Sequence[Row]) -> None:
    """The share of the effect on actions that some units carry."""
    for activation, colour in ACTIVATIONS.items():
        for direction, style in (("without into with", "-"), ("with into without", ":")):
            own = {
                int(row["units"]): _estimate(row, "carried")
                for row in rows
                if (row["activation"], row["direction"], row["output"])
                == (activation, direction, "action")
            }
            shown = [own.get(units) for units in UNITS]
            band(axes, np.arange(len(UNITS)), shown, color=colour, ls=style, marker="o")
    axes.set_xticks(range(len(UNITS)), [*map(str, UNITS[:-1]), "all"])


def draw(folder: Path, theme: str) -> Figure:
    """A column per policy: steering in two ways, and patching."""
    made = read_rows(folder / "policies.csv", "table", ("policy", "p"))
    made.sort(key=lambda row: float(row["p"]))
    steering = read_rows(folder / "steering.csv", "table", ("policy", "activation", "vector"))
    patching = read_rows(folder / "patching.csv", "table", ("policy", "activation", "units"))
    with themed(theme) as colours:
        figure, grid = plt.subplots(
            3, len(made), figsize=(WIDTH, 7), sharey="row", layout="constrained", squeeze=False
        )
        for column, policy in zip(grid.T, made, strict=True):
            own = [
                [row for row in rows if row["policy"] == policy["policy"]]
                for rows in (steering, patching)
            ]
            _steered(column[0], own[0], "difference", ("random 1", "random 2"))
            _steered(column[1], own[0], "own difference", ("random of that length",))
            _carried(column[2], own[1])
            column[0].set_title(f"coin moved in {100 * float(policy['p']):g} % of training")
            column[0].set_xlabel("times the mean difference")
            column[1].set_xlabel("times each state's own difference")
            column[2].set_xlabel("units copied, those that differ most")
        titles = ("coin attraction", "coin attraction", "share of the effect carried")
        for line, title, low in zip(grid, titles, (-0.5, -0.5, 0), strict=True):
            line[0].set_ylabel(title)
            share_ticks(line[0].yaxis, low=low)
            line[0].set_ylim(low - 0.08, 1.05)
        bare(*grid.flat, grid="y")
        for activation, colour in ACTIVATIONS.items():
            grid[0, 0].plot([], [], "o-", color=colour, label=activation)
            grid[0, 0].plot([], [], "x", color=colour, label="random vectors")
        style = {"color": colours.quiet}
        grid[0, 0].plot([], [], "--", **style, label="coin fetched at the end")
        grid[0, 0].plot([], [], "-", **style, label="without copied into with")
        grid[0, 0].plot([], [], ":", **style, label="with copied into without")
        handles = grid[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper left", ncols=3)
    return figure


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for its exit status."""
    parser = Parser(prog="python -m results.microscope.draw", description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=Path, default=FOLDER, metavar="DIR")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR")
    add_force(parser)
    known = parser.parse_args(arguments)
    targets = {theme: known.out / f"steering_{theme}.png" for theme in THEMES}
    require_outputs(known.force, *targets.values())
    for theme, target in targets.items():
        save(draw(known.tables, theme), target, "png")
        print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
