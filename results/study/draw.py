"""Draws the study's figures from its tables alone: python -m results.study.draw [--force]."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coinrun_jax.checks import InputError, one_line
from coinrun_jax.cli import Parser, add_force, command
from coinrun_jax.files import require_free
from eval import figures
from eval.figures.themes import SERIES, WIDTH, Theme, band, share_ticks, themed
from eval.langosco import read_screened
from eval.staging import staging
from eval.table import DASH, number
from results.study.tables import TESTBED, Row, Table

HERE = Path(__file__).resolve().parent
P, PLACE, RANGE = "env.placement_probability", "env.placement", "env.placement_fraction"
MOVED, UNIFORM = "random_section", "uniform"
UNAIDED, ATTRACTION = "unaided_misgeneralisation", "coin_attraction"
TITLES = {
    "goal_misgeneralisation": "goal misgeneralisation",
    UNAIDED: "unaided misgeneralisation",
    ATTRACTION: "coin attraction",
    "capability_robustness": "capability robustness",
    "coin": "coin rate, coin at the end",
}
DOT: dict[str, Any] = {"ls": "", "marker": "o", "ms": 3.5, "alpha": 0.6, "mew": 0}


def _curve(
    axes: Axes,
    table: Table,
    groups: Sequence[str],
    condition: str,
    measure: str,
    colour: str,
    label: str,
    beside: float = 0.0,
) -> None:
    """Recipes at 0, 1, ... with their intervals, every run a dot."""
    x = np.arange(len(groups)) + beside
    wholes = [table.whole(group, condition, measure) for group in groups]
    band(axes, x, wholes, color=colour, marker="o", label=label)
    for place, group in zip(x, groups, strict=True):
        dots = table.runs(group, condition, measure)
        axes.plot([place] * len(dots), dots, color=colour, **DOT)


def _share_limits(line: Sequence[Axes]) -> None:
    """Limits from 0, or from the lowest value below it in any panel, to 1."""
    low = min(0, *(axes.dataLim.y0 for axes in line))
    for axes in line:
        axes.set_ylim(low - 0.02, 1.02)


def _finish(axes: Axes, names: Sequence[str], xlabel: str) -> None:
    axes.set_xticks(range(len(names)), list(names))
    axes.set_xlim(-0.4, len(names) - 0.6)
    share_ticks(axes.yaxis)
    axes.set_xlabel(xlabel)
    axes.grid(axis="y")
    axes.axhline(0, color=plt.rcParams["grid.color"], lw=1, zorder=0)
    axes.spines[:].set_visible(False)


def _sorted(table: Table, setting: str, kind: Callable[[str], Any]) -> list[Row]:
    return sorted(table.recipes(), key=lambda row: kind(row[setting]))


def coin_randomisation(folder: Path, colours: Theme) -> Figure:
    """Misgeneralisation, attraction and capability over how often the coin was elsewhere."""
    table = Table(folder / "runs.csv")
    recipes = _sorted(table, P, float)
    groups = [row["group"] for row in recipes]
    names = [f"{100 * float(row[P]):g}" for row in recipes]
    figure, panels = plt.subplots(2, 2, figsize=(WIDTH, 5.6), sharex=True)
    figure.set_layout_engine("constrained", w_pad=0.1)  # tick labels would touch the edge
    measures = ("goal_misgeneralisation", UNAIDED, ATTRACTION, "capability_robustness")
    for axes, measure in zip(panels.flat, measures, strict=True):
        for place, (condition, label) in enumerate(
            {MOVED: "coin at a random section", UNIFORM: "coin in any cell"}.items()
        ):
            colour = (colours.proxy, colours.goal)[place]
            _curve(axes, table, groups, condition, measure, colour, label, 0.12 * place - 0.06)
        _finish(axes, names, "")
        _share_limits([axes])
        axes.set_title(TITLES[measure])
    figure.supxlabel("training episodes with the coin moved, %; not to scale", size=9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


def placements(folder: Path, colours: Theme) -> Figure:
    """A matrix of training placement by test placement."""
    table = Table(folder / "runs.csv")
    trained = sorted(table.recipes(), key=_place_order)
    moved = {
        "last_fifth": "last\nfifth",
        "last_half": "last\nhalf",
        "anywhere": "any\nshare",
        MOVED: "random\nsection",
        UNIFORM: "any\ncell",
        "off_path": "off the\npath",
        "behind": "behind",
    }
    figure, panels = plt.subplots(
        1, 3, figsize=(WIDTH, 3.6), layout="constrained", sharey=True, width_ratios=(7, 7, 1.4)
    )
    for axes, measure, tests, map_name in zip(
        panels,
        (UNAIDED, ATTRACTION, "coin"),
        (moved, moved, {"end": "end"}),
        ("Blues", "YlOrBr", "Greys"),
        strict=True,
    ):
        found = [[table.whole(row["group"], test, measure) for test in tests] for row in trained]
        values = np.array([[c.estimate if c else np.nan for c in row] for row in found])
        axes.imshow(values, vmin=0, vmax=1, cmap=map_name, aspect="auto")
        for (y, x), value in np.ndenumerate(values):
            ink = "#ffffff" if value > 0.6 else "#1f2328"
            text = DASH if np.isnan(value) else number(value, digits=2)
            axes.text(x, y, text, ha="center", va="center", size=8, color=ink)
        axes.set_xticks(range(len(tests)), list(tests.values()), size=7)
        axes.set_yticks(range(len(trained)), [_place(row) for row in trained], size=8)
        axes.set_title("coin\nrate" if measure == "coin" else TITLES[measure])
        axes.spines[:].set_visible(False)
    figure.supxlabel("where the coin lies in the test", size=9)
    figure.supylabel("where it lay in training", size=9)
    return figure


_PLACES = {
    "end": "end",
    "0.8": "last fifth",
    "0.5": "last half",
    "0.0": "any share of the way",
    "random_section": "random section",
    "uniform": "any cell",
    "off_path": "off the path",
    "behind": "behind the agent",
}
"""Training placements in words and in order; those along the way by where their range begins."""


def _place_key(row: Row) -> str:
    if float(row[P]) == 0:
        return "end"
    return row[RANGE].strip("()").split(",")[0] if row[PLACE] == "fraction" else row[PLACE]


def _place(row: Row) -> str:
    """A training placement in words."""
    return _PLACES[_place_key(row)]


def _place_order(row: Row) -> int:
    return list(_PLACES).index(_place_key(row))


CAPABILITY = {
    "num_levels": ("env.num_levels", "training levels"),
    "network_width": ("network.width", "units per layer"),
    "total_steps": ("total_steps", "training steps, millions"),
}


def capability(folder: Path, colours: Theme) -> Figure:
    """What the agent wants, and how capable it is, over three ways to make it more capable."""
    there = {name: s for name, s in CAPABILITY.items() if compares(folder / name / "runs.csv")}
    figure, panels = plt.subplots(
        2,
        len(there),
        figsize=(WIDTH, 4.8),
        layout="constrained",
        sharey="row",
        sharex="col",
        squeeze=False,
    )
    for column, (name, (setting, xlabel)) in zip(panels.T, there.items(), strict=True):
        table = Table(folder / name / "runs.csv")
        recipes = _sorted(table, setting, _count)
        groups = [row["group"] for row in recipes]
        names = [_count_name(name, row[setting]) for row in recipes]
        for axes, condition, measures in (
            (column[0], "end", {"coin": colours.text}),
            (column[1], UNIFORM, {UNAIDED: colours.proxy, ATTRACTION: colours.goal}),
        ):
            for measure, colour in measures.items():
                _curve(axes, table, groups, condition, measure, colour, TITLES[measure])
            _finish(axes, names, xlabel if condition != "end" else "")
    for line in panels:
        _share_limits(line)
    panels[0, 0].set_title(TITLES["coin"])
    panels[1, 0].set_title("coin in any cell")
    handles, labels = panels[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


def _count(text: str) -> float:
    return float(text) or np.inf  # 0 levels stand for all of them


def _count_name(name: str, text: str) -> str:
    if name == "total_steps":
        return f"{float(text) / 1e6:g}"
    return f"{int(text):,}" if int(text) else "all"


SPREAD, GEMS = "env.cues.coin_spread", "env.items.number"


def cue_conflict(folder: Path, colours: Theme) -> Figure:
    """Which cue is followed where gold and the end disagree, over how salient gold is."""
    table = Table(folder / "runs.csv")
    conditions = {
        "moved": "coin in any cell",
        "swapped": "coin in any cell,\na gem at the end",
        "wall_hidden": "coin in any cell,\nend wall hidden",
    }
    figure, panels = plt.subplots(
        2, 3, figsize=(WIDTH, 4.8), layout="constrained", sharex=True, sharey="row"
    )
    recipes = _sorted(table, SPREAD, int)
    spreads = list(dict.fromkeys(row[SPREAD] for row in recipes))
    kinds = {"0": "trained without gems", "1": "trained with a gem elsewhere"}
    for line, measure in zip(panels, (UNAIDED, ATTRACTION), strict=True):
        for axes, condition in zip(line, conditions, strict=True):
            for gems, label in kinds.items():
                groups = [row["group"] for row in recipes if row[GEMS] == gems]
                colour, beside = SERIES[int(gems)], 0.12 * int(gems) - 0.06
                _curve(axes, table, groups, condition, measure, colour, label, beside)
            _finish(axes, spreads, "")
        _share_limits(line)
        line[0].set_ylabel(TITLES[measure])
    for axes, title in zip(panels[0], conditions.values(), strict=True):
        axes.set_title(title)
    figure.supxlabel("tiles around the coin that show it too, in training and test", size=9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


def _wrongness(row: Row) -> tuple[bool, bool]:
    """Whether the reward is wrong, and whether the distribution is."""
    return float(row["env.reward.coin"]) == 0, float(row[P]) == 0


def reward(folder: Path, colours: Theme) -> Figure:
    """Four agents: right or wrong reward, on a distribution that tells coin from end or not."""
    table = Table(folder / "runs.csv")
    recipes = sorted(table.recipes(), key=_wrongness)
    places = {True: "at the end", False: "in any cell"}
    names = [
        f"paid for the {'end' if wrong else 'coin'},\ncoin {places[tied]}"
        for wrong, tied in map(_wrongness, recipes)
    ]
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.8), sharey=True, width_ratios=(3, 3, 5))
    figure.set_layout_engine("constrained", wspace=0.08)
    for axes, measure in zip(panels, ("capability_robustness", UNAIDED, ATTRACTION), strict=True):
        for y, row in enumerate(recipes):
            whole = table.whole(row["group"], UNIFORM, measure)
            dots = table.runs(row["group"], UNIFORM, measure)
            if whole:
                axes.plot([whole.low, whole.high], [y, y], color=colours.proxy, lw=2)
                axes.plot(whole.estimate, y, "|", color=colours.proxy, ms=12, mew=2)
            axes.plot(dots, [y + 0.2] * len(dots), color=colours.text, **DOT)
        axes.set_title(TITLES[measure].replace("unaided ", "unaided\n"))
        axes.axvline(0, color=colours.faint, lw=2, zorder=0)
        low = min(0, axes.dataLim.x0)
        axes.set_xlim(low - 0.05, 1.05)
        share_ticks(axes.xaxis, 0.5, low)
        axes.grid(axis="x")
        axes.spines[:].set_visible(False)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def published(folder: Path, colours: Theme) -> Figure | None:
    """The figure of Langosco et al. (2022)."""
    del colours
    return figures.draw_screened(read_screened(folder / "published.csv", TESTBED), TESTBED)


FIGURES = {
    "coin_randomisation": coin_randomisation,
    "published": published,
    "placements": placements,
    "cue_conflict": cue_conflict,
    "reward": reward,
}
"""Figures by the experiment whose folder holds the table; `capability` reads three."""


def compares(path: Path) -> bool:
    """Whether there is a table of several recipes."""
    return len(Table(path).recipes()) > 1


def _jobs(results: Path) -> Iterator[tuple[str, Path, Callable[[Path, Theme], Figure | None]]]:
    """Figures that have a table: name, folder, and the function that draws each."""
    jobs = [(name, results / name, make) for name, make in FIGURES.items()]
    for name, folder, make in [*jobs, ("capability", results, capability)]:
        if any(compares(folder / each / "runs.csv") for each in ("", *CAPABILITY)):
            yield name, folder, make


def all_figures(results: Path = HERE) -> Iterator[tuple[str, Figure]]:
    """Every figure that has a table, by name.

    Args:
      results: folder of the experiments' folders.

    Raises:
      InputError: for a table that lacks what the figure shows.
    """
    for name, folder, make in _jobs(results):
        with themed("light") as colours:  # until it is drawn: ticks are made only then
            try:
                figure = make(folder, colours)
            except (LookupError, ValueError) as error:
                why = f"{type(error).__name__}: {one_line(error)}"
                raise InputError(
                    f"no figure can be drawn from the tables of {name}: {why}"
                ) from error
            if figure is not None:
                yield name, figure


def draw(results: Path = HERE, into: Path = HERE) -> list[Path]:
    """Write every figure as NAME.png, overwriting old ones; returns their paths."""
    names = []
    with staging(into, force=True) as part:
        for name, figure in all_figures(results):
            names.append(f"{name}.png")
            figures.save(figure, part / names[-1], "png")
    return [into / name for name in names]


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    parser = Parser(prog="python -m results.study.draw", description=(__doc__ or "").split("\n")[0])
    add_force(parser)
    known = parser.parse_args(arguments)
    for name, _, _ in _jobs(HERE):
        require_free(HERE / f"{name}.png", known.force)
    print(*draw(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
