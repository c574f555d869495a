"""How many test levels an agent has seen: `python -m coinrun_jax.overlap --train A:B --test C:D`.

Different level seeds may build the same layout: short levels have few draws. A test level
whose layout is among the training levels says nothing about generalisation.
"""

from __future__ import annotations

import csv
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from coinrun_jax.commands import Parser, output_path, seed_range
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.generator import MODES, generate_level
from coinrun_jax.layout import join, layout_words

BATCH = 512  # levels built at a time


class Overlap(NamedTuple):
    """What two sets of levels have in common."""

    train_levels: int
    train_layouts: int  # distinct ones
    test_levels: int
    test_layouts: int
    test_levels_seen: int  # whose layout is among the training levels
    test_layouts_seen: int

    @property
    def share_seen(self) -> float:
        """Share of the test levels that were seen in training."""
        return self.test_levels_seen / self.test_levels


@partial(jax.jit, static_argnames=("mode", "looks"))
def _hash_batch(seeds: jax.Array, mode: str, looks: bool) -> jax.Array:
    def words(seed: jax.Array) -> jax.Array:
        return layout_words(generate_level(seed, mode), looks)

    return jax.vmap(words)(seeds)


def hash_seeds(seeds: range, mode: str = "hard", looks: bool = False) -> np.ndarray:
    """Layout hashes of the levels of a seed range, uint64 [len(seeds)]; see `layout`."""
    parts = []
    for first in range(seeds.start, seeds.stop, BATCH):
        batch = np.arange(first, first + BATCH, dtype=np.uint32)
        parts.append(np.asarray(_hash_batch(batch, mode, looks)))
    return join(np.concatenate(parts)[: len(seeds)])


def compare(train: np.ndarray, test: np.ndarray) -> Overlap:
    """Overlap of two sets of levels, given by their layout hashes [n] and [m]."""
    train_layouts, test_layouts = np.unique(train), np.unique(test)
    return Overlap(
        train_levels=len(train),
        train_layouts=len(train_layouts),
        test_levels=len(test),
        test_layouts=len(test_layouts),
        test_levels_seen=int(np.isin(test, train_layouts).sum()),
        test_layouts_seen=int(np.isin(test_layouts, train_layouts).sum()),
    )


def _row(path: Path, row: dict[str, object]) -> None:
    """Append a row to a CSV file, with a header where the file is new."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def main(argv: list[str] | None = None) -> int:
    """Compare two ranges of level seeds; returns the exit status."""
    parser = Parser(prog="python -m coinrun_jax.overlap", description=__doc__)
    parser.add_argument("--train", type=seed_range, required=True, metavar="A:B", help="A ... B-1")
    parser.add_argument("--test", type=seed_range, required=True, metavar="C:D", help="C ... D-1")
    parser.add_argument("--mode", choices=MODES, default="hard")
    parser.add_argument("--looks", action="store_true", help="other themes are another layout")
    parser.add_argument("--csv", type=output_path, metavar="FILE", help="append a row to it")
    args = parser.parse_args(argv)
    enable_compilation_cache()
    train, test = (hash_seeds(seeds, args.mode, args.looks) for seeds in (args.train, args.test))
    overlap = compare(train, test)
    print(f"training: {overlap.train_layouts} layouts in {overlap.train_levels} {args.mode} levels")
    print(f"test:     {overlap.test_layouts} layouts in {overlap.test_levels} {args.mode} levels")
    print(
        f"seen in training: {overlap.test_levels_seen} of {overlap.test_levels} test levels "
        f"({overlap.share_seen:.2%}), {overlap.test_layouts_seen} of their layouts"
    )
    if args.csv:
        ranges = {"train": args.train, "test": args.test}
        named: dict[str, object] = {
            name: f"{seeds.start}:{seeds.stop}" for name, seeds in ranges.items()
        }
        shares = {"share_of_test_levels_seen": round(overlap.share_seen, 6)}
        row = {"mode": args.mode, "looks": args.looks} | named | overlap._asdict() | shares
        _row(args.csv, row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
