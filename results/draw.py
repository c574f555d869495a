"""Draws a result's figures from its data: python results/draw.py FOLDER [--force].

`outcomes.png` from `summary.json`, `curves.png` from `metrics.csv`; for several runs,
`published.png` from `published.csv`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # folders of the checkout

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, add_force, command
from coinrun_jax.files import require_free, shortened
from coinrun_jax.registry import DEFAULT, find_testbed
from eval import figures
from eval.langosco import read_screened
from eval.reading import read_numbers, read_summary
from eval.staging import staging
from train.logging import curves

Draw = Callable[[Path], None]


def _published(table: Path) -> Draw | None:
    testbed = find_testbed(DEFAULT)
    figure = figures.draw_screened(read_screened(table, testbed), testbed)
    return figure and (lambda path: figures.save(figure, path, "png"))


def _outcomes(file: Path) -> Draw | None:
    summary = read_summary(file)
    if summary is None:  # of several agents, which have no such figure
        return None
    testbed = find_testbed(summary.environment)
    return lambda path: figures.save(figures.draw(summary, testbed), path, "png")


def _curves(metrics: Path) -> Draw:
    read_numbers(metrics, "metrics", ("steps",), ("entropy", "explained_variance", "clip_fraction"))
    return lambda path: curves.save([metrics], find_testbed(DEFAULT), path)


SOURCES: dict[str, tuple[str, Callable[[Path], Draw | None]]] = {
    "published.png": ("published.csv", _published),
    "outcomes.png": ("summary.json", _outcomes),
    "curves.png": ("metrics.csv", _curves),
}
"""Each figure's source, and how it is drawn; None if there is nothing to draw."""


def draw(folder: Path, force: bool = False) -> list[Path]:
    """Draw every figure that the folder has data for; returns their paths.

    Raises:
      InputError: for damaged or missing data, or figures that exist already.
    """
    drawn: dict[str, Draw] = {}
    for name, (source, make) in SOURCES.items():
        if os.path.lexists(folder / source) and (figure := make(folder / source)):
            require_free(folder / name, force)
            drawn[name] = figure
    if not drawn:
        *some, last = (source for source, _ in SOURCES.values())
        sources = f"{', '.join(some)} or {last}"
        raise InputError(f"{shortened(folder)} has no {sources} that a figure can be drawn from")
    with staging(folder, force=force) as part:
        for name, figure in drawn.items():
            figure(part / name)
    return [folder / name for name in drawn]


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    parser = Parser(prog="python results/draw.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    add_force(parser)
    known = parser.parse_args(arguments)
    print(*draw(known.folder, known.force), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
