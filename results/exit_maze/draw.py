"""Draws the figures of the exit maze's study from its tables.

python -m results.exit_maze.draw [--tables DIR] [--out DIR]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coinrun_jax.cli import Parser, command
from coinrun_jax.files import read_rows
from eval.figures.themes import SERIES, THEMES, WIDTH, bare, save, share_ticks, themed
from eval.statistics import wilson

FOLDER = Path(__file__).parent
COMPETENT = 0.9
"""Share of green exits that an agent must find to count as competent."""
PLACES = {"elsewhere": "dead end", "corridor": "corridor", "border": "cell of the border"}
"""Where green is, away from the exit: in column names, and in words."""
FOLLOWS = 0.5
"""Attraction above which an agent follows an object."""


@dataclass(frozen=True)
class Agent:
    """A trained agent."""

    strength: float
    """How often its exit was green in training."""
    colours: int
    exits: int
    """Inputs that show a cell as green, and inputs that show the exit."""
    found: float
    """Share of green exits that it finds."""
    green: float
    """Attraction of green, where a cell of the place is green and the exit is not."""


def read(path: Path, place: str) -> list[Agent]:
    """Agents of a table of `run`.

    Args:
      place: of PLACES, where green was.
    """
    agents = []
    for row in read_rows(path, "table of agents"):
        number = int(row["episodes"])

        def share(column: str, row: dict[str, str] = row, number: int = number) -> float:
            return int(row[column]) / number

        agents.append(
            Agent(
                strength=float(row["exit_green"]),
                colours=int(row["colour_planes"]),
                exits=int(row["exit_planes"]) + 1,  # a gap in the wall shows it, too
                found=share("exit_found"),
                green=attraction(share(f"{place}_green"), share(f"{place}_ghost")),
            )
        )
    return agents


def attraction(touched: float, accidental: float) -> float:
    """What an object adds to the rate of touching its cell; 0 where it is always touched."""
    return (touched - accidental) / (1 - accidental) if accidental < 1 else 0.0


def _dots(axes: Axes, at: float, agents: Sequence[Agent], colour: str) -> None:
    """Every agent a dot; those that are not competent are hollow."""
    spread = np.random.default_rng(0).uniform(-0.09, 0.09, len(agents))
    values = np.array([agent.green for agent in agents])
    able = np.array([agent.found >= COMPETENT for agent in agents], bool)
    style: Any = {"s": 14, "linewidths": 0.8, "edgecolors": colour, "zorder": 3}
    axes.scatter(at + spread[able], values[able], color=colour, alpha=0.7, **style)
    axes.scatter(at + spread[~able], values[~able], facecolors="none", **style)


def _share(axes: Axes, at: float, agents: Sequence[Agent], colour: str) -> None:
    """Share of the competent agents that follow green, with Wilson's interval over agents."""
    able = [agent for agent in agents if agent.found >= COMPETENT]
    share = wilson(sum(agent.green > FOLLOWS for agent in able), len(able))
    if share is None:
        return
    axes.plot([at, at], [share.low, share.high], color=colour, lw=2, alpha=0.6)
    axes.plot(at, share.estimate, "o", color=colour, ms=5)


def _panels(
    agents: Sequence[Agent], place: str, by: str, kinds: Sequence[int], labels: Sequence[str]
) -> Figure:
    """Shares above, dots below, against one setting, coloured by how many inputs show colour."""
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(WIDTH, 4.8), sharex=True, layout="constrained", height_ratios=(1, 1.3)
    )
    for number, (kind, label) in enumerate(zip(kinds, labels, strict=True)):
        own = [agent for agent in agents if agent.colours == kind]
        colour = SERIES[number % len(SERIES)]
        shift = (number - (len(kinds) - 1) / 2) * 0.22
        top.plot([], [], "o", color=colour, label=label)
        for slot, value in enumerate(sorted({getattr(a, by) for a in agents}, reverse=True)):
            here = [agent for agent in own if getattr(agent, by) == value]
            _share(top, slot + shift, here, colour)
            _dots(bottom, slot + shift, here, colour)
    top.set_title(f"share of agents that follow green to a {PLACES[place]} [95 % interval]")
    bottom.set_title("attraction of green; every dot an agent, hollow where not competent")
    top.set_ylim(-0.03, 1.03)
    share_ticks(top.yaxis)
    bottom.set_ylim(min(-0.3, *(a.green for a in agents)) - 0.05, 1.05)
    share_ticks(bottom.yaxis, low=-0.25)
    bottom.axhline(FOLLOWS, ls=":", lw=1, color="#848d97")
    bare(top, bottom, grid="y")
    top.legend(ncols=len(kinds), loc="lower left", bbox_to_anchor=(0, 1.12), borderaxespad=0)
    return figure


def draw_strength(agents: Sequence[Agent], place: str) -> Figure:
    """Against cue strength, for each salience of colours."""
    shown = [agent for agent in agents if agent.exits == 2]
    kinds = sorted({agent.colours for agent in shown})
    labels = [f"{kind} x green" if kind else "no colours" for kind in kinds]
    figure = _panels(shown, place, "strength", kinds, labels)
    strengths = sorted({agent.strength for agent in shown}, reverse=True)
    axes = figure.axes[1]
    axes.set_xticks(range(len(strengths)), [f"{q:g}".replace("0.", ".") for q in strengths])
    axes.set_xlabel("how often the exit is green in training")
    return figure


def draw_salience(agents: Sequence[Agent], place: str) -> Figure:
    """With the exit always green, against how many inputs show the exit."""
    shown = [agent for agent in agents if agent.strength == 1 and agent.colours]
    kinds = sorted({agent.colours for agent in shown})
    figure = _panels(shown, place, "exits", kinds, [f"{kind} x green" for kind in kinds])
    exits = sorted({agent.exits for agent in shown}, reverse=True)
    figure.axes[1].set_xticks(range(len(exits)), [str(number) for number in exits])
    figure.axes[1].set_xlabel("input numbers that show the exit, besides green")
    return figure


FIGURES = {"strength": draw_strength, "salience": draw_salience}


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `cli` for its exit status."""
    parser = Parser(prog="python -m results.exit_maze.draw", description=__doc__)
    parser.add_argument("--tables", type=Path, default=FOLDER, metavar="DIR")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR")
    args = parser.parse_args(arguments)
    for place in PLACES:
        agents = read(args.tables / "agents.csv", place)
        for theme in THEMES:
            suffix = "" if place == "elsewhere" else f"_{place}"
            suffix += "" if theme == "light" else f"_{theme}"
            for name, draw in FIGURES.items():
                with themed(theme):
                    save(draw(agents, place), args.out / f"{name}{suffix}.png", "png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
