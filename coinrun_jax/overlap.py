"""How many test levels an agent has seen: `python -m coinrun_jax.overlap --train A:B --test C:D`.

Different level seeds may build the same layout, since short levels take few random draws. A test
level whose layout is among the training levels says nothing about generalisation. With
--first-frames, two levels count as the same if their first observations, in Procgen's own pixels,
are: the protocol of openai/procgen's issue 100, with 0:100000 and 100000:200000.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, command, require_outputs, seed_range
from coinrun_jax.coinrun.env import CoinRun
from coinrun_jax.coinrun.generator import MODES, generate_levels
from coinrun_jax.coinrun.layout import join, layout_words
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.placement import make_placement
from coinrun_jax.coinrun.pool import build_pool
from coinrun_jax.coinrun.types import Level
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.files import read_text, shortened, write_text

BATCH = 512  # levels built at a time
PROGRESS = 2**16  # levels between progress messages
MOST_LEVELS = 10_000_000  # whose hashes are compared


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


@partial(jax.jit, static_argnames="looks")
def _hash_batch(levels: Level, looks: bool) -> jax.Array:
    return jax.vmap(partial(layout_words, looks=looks))(levels)


@partial(jax.jit, static_argnames="env")
def _frame_batch(seeds: jax.Array, env: CoinRun, params: EnvParams) -> jax.Array:
    """First observations of levels; uint8 [BATCH, 64, 64, 3]."""
    params = params.replace(pool=build_pool(generate_levels(seeds, env.mode)))
    start = jax.vmap(env.reset_to_level, in_axes=(None, 0, None))
    index = jnp.arange(BATCH, dtype=jnp.int32)
    return start(jax.random.key(0), index, params)[0]


def hash_frames(
    seeds: range, mode: str = "hard", progress: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Like `hash_seeds`, but of each level's first observation in Procgen's pixels.

    Raises:
      InputError: if Procgen's pictures are not available.
    """
    env = CoinRun(mode, "procgen", num_levels=1)
    params = EnvParams(
        pool=env.default_params.pool,
        placement=make_placement("end"),
        art=env.default_params.art,
    )

    def code(frame: np.ndarray) -> int:
        return int.from_bytes(hashlib.blake2b(frame.tobytes(), digest_size=8).digest(), "little")

    codes: list[int] = []
    for first in range(seeds.start, seeds.stop, BATCH):
        batch = np.arange(first, first + BATCH, dtype=np.uint32)
        codes += [code(frame) for frame in np.asarray(_frame_batch(batch, env, params))]
        done = len(codes)
        if progress is not None and done % PROGRESS == 0 and done < len(seeds):
            progress(done, len(seeds))
    return np.array(codes[: len(seeds)], np.uint64)


def hash_seeds(
    seeds: range,
    mode: str = "hard",
    looks: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Layout hashes of the levels of a seed range, uint64 [len(seeds)]; see `layout`.

    Args:
      seeds: of the levels.
      mode: "hard" or "easy".
      looks: as in `layout.layout_words`.
      progress: called after every `PROGRESS` levels with the numbers of levels done and in total.
    """
    parts = []
    for first in range(seeds.start, seeds.stop, BATCH):
        batch = np.arange(first, first + BATCH, dtype=np.uint32)
        parts.append(np.asarray(_hash_batch(generate_levels(batch, mode), looks)))
        done = first + BATCH - seeds.start
        if progress is not None and done % PROGRESS == 0 and done < len(seeds):
            progress(done, len(seeds))
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


def _named(args: Namespace, overlap: Overlap) -> dict[str, object]:
    """A row of the CSV file, by column."""
    return {
        "mode": args.mode,
        **({"observation": "procgen"} if args.first_frames else {"looks": args.looks}),
        "train": f"{args.train.start}:{args.train.stop}",
        "test": f"{args.test.start}:{args.test.stop}",
        **overlap._asdict(),
        "share_of_test_levels_seen": round(overlap.share_seen, 6),
    }


def _require_appendable(path: Path, columns: list[str]) -> str:
    """The current content of a CSV file with these columns; "" if it is new.

    Raises:
      InputError: for a file with other columns, or one that cannot be created.
    """
    require_outputs(True, path)
    if not path.exists():
        return ""
    text, header = read_text(path, "--csv"), ",".join(columns)
    if text and text.splitlines()[0] != header:
        raise InputError(f"--csv {shortened(path)} does not have the header {header}")
    return text if not text or text.endswith("\n") else text + "\n"


def _append(path: Path, row: dict[str, object]) -> None:
    """Append a row, with a header if the file is new; on failure, the file is unchanged."""
    before = _require_appendable(path, list(row))
    added = io.StringIO()
    writer = csv.DictWriter(added, row, lineterminator="\n")
    if not before:
        writer.writeheader()
    writer.writerow(row)
    write_text(path, before + added.getvalue())


def _arguments(arguments: list[str] | None) -> Namespace:
    parser = Parser(prog="python -m coinrun_jax.overlap", description=__doc__)
    parser.add_argument("--train", type=seed_range, required=True, metavar="A:B", help="A ... B-1")
    parser.add_argument("--test", type=seed_range, required=True, metavar="C:D", help="C ... D-1")
    parser.add_argument("--mode", choices=MODES, default="hard")
    parser.add_argument(
        "--looks",
        action="store_true",
        help="count levels that differ in themes as different layouts",
    )
    parser.add_argument(
        "--first-frames", action="store_true", help="compare first observations, not layouts"
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="append the result to this file as a row"
    )
    args = parser.parse_args(arguments)
    for name, seeds in (("--train", args.train), ("--test", args.test)):
        if len(seeds) > MOST_LEVELS:
            raise InputError(f"{name} has {len(seeds):,} levels; at most {MOST_LEVELS:,}")
    if args.first_frames and args.looks:
        raise InputError("--looks applies to layouts, but --first-frames compares observations")
    if args.csv:
        nothing = Overlap(1, 1, 1, 1, 1, 1)
        _require_appendable(args.csv, list(_named(args, nothing)))
    return args


@command
def main(arguments: list[str] | None = None) -> int:
    """Compare two ranges of level seeds; returns the exit status."""
    args = _arguments(arguments)
    enable_compilation_cache()

    def hashes(name: str, seeds: range) -> np.ndarray:
        if args.first_frames:
            return hash_frames(seeds, args.mode, _progress(name))
        return hash_seeds(seeds, args.mode, args.looks, _progress(name))

    overlap = compare(hashes("training", args.train), hashes("test", args.test))
    what = "first frames" if args.first_frames else "layouts"
    print(f"training: {overlap.train_layouts} {what} in {overlap.train_levels} {args.mode} levels")
    print(f"test:     {overlap.test_layouts} {what} in {overlap.test_levels} {args.mode} levels")
    print(
        f"seen in training: {overlap.test_levels_seen} of {overlap.test_levels} test levels "
        f"({overlap.share_seen:.2%}), {overlap.test_layouts_seen} of their {what}"
    )
    if args.csv:
        _append(args.csv, _named(args, overlap))
    return 0


def _progress(name: str) -> Callable[[int, int], None]:
    def say(done: int, total: int) -> None:
        print(f"{name}: {done:,} of {total:,} levels", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
