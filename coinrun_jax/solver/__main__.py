"""Which coins can be reached: `python -m coinrun_jax.solver --levels A:B --placement NAME`.

Exit status 0 if the coin of every level was collected, 1 if some were not; otherwise as in `cli`.
"""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentTypeError, Namespace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import InputError, shown
from coinrun_jax.cli import Parser, add_force, command, integer, require_outputs, seed_range
from coinrun_jax.coinrun.env import CoinRun
from coinrun_jax.coinrun.generator import MODES, generate_levels
from coinrun_jax.coinrun.observations.png import write_png
from coinrun_jax.coinrun.observations.render import level_map
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.placement import CoinPlacement, levels_without, make_placement
from coinrun_jax.coinrun.types import NUM_SEEDS, TIME_LIMIT, Action, EnvState
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.files import require_makeable, shortened, write_arrays
from coinrun_jax.solver.proofs import Proofs, solve
from coinrun_jax.solver.replay import Replay, replay

PIECE = 1024  # levels in memory at a time
MOST_SAVED = 100_000  # levels in a file of proofs


def start_states(env: CoinRun, params: EnvParams, seed: int = 0) -> EnvState:
    """A start on each level of the pool; the coin's key comes from `seed` and the level's seed."""
    return _starts(env, params, jax.random.key(seed))


@partial(jax.jit, static_argnames="env")
def _starts(env: CoinRun, params: EnvParams, key: jax.Array) -> EnvState:
    seeds = params.pool.levels.seed

    def start(index: jax.Array) -> EnvState:
        return env.start(jax.random.fold_in(key, seeds[index]), index, params)

    return jax.vmap(start)(jnp.arange(len(seeds), dtype=jnp.int32))


def _pair(kind: type, text: str) -> tuple:
    try:
        first, second = (kind(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"{shown(text)} is not two numbers A,B") from None
    return first, second


def _arguments(arguments: list[str] | None) -> tuple[Namespace, CoinPlacement]:
    parser = Parser(prog="python -m coinrun_jax.solver", description=__doc__)
    add, seed = parser.add_argument, integer(0, NUM_SEEDS - 1)
    add("--levels", type=seed_range, required=True, metavar="A:B", help="A ... B-1")
    add("--placement", default="end", metavar="NAME", help="of the coin")
    add("--fraction", type=partial(_pair, float), metavar="LOW,HIGH")
    add("--cell", type=partial(_pair, int), metavar="X,Y")
    add("--mode", choices=MODES, default="hard")
    add("--seed", type=seed, default=0, help="of the coins' positions")
    add("--shorten", action="store_true", help="search again for shorter paths")
    add("--save", type=Path, metavar="FILE.npz", help="write the proofs")
    add("--pictures", type=Path, metavar="DIR", help="draw the unproven levels")
    add_force(parser)
    args = parser.parse_args(arguments)
    given = {name: getattr(args, name) for name in ("fraction", "cell")}
    placement = make_placement(
        args.placement, **{name: value for name, value in given.items() if value is not None}
    )
    require_outputs(args.force, args.save)
    if args.save and len(args.levels) > MOST_SAVED:
        raise InputError(f"--save holds at most {MOST_SAVED:,} levels, not {len(args.levels):,}")
    if args.pictures:
        _require_folder(args)
    return args, placement


def _require_folder(args: Namespace) -> None:
    """Refuse a folder that is not empty, or in which pictures cannot be created."""
    folder = args.pictures
    if not os.path.isdir(folder.absolute().parent):
        raise InputError(f"the folder of {shortened(folder)} does not exist")
    require_makeable(folder, "folder")
    if folder.exists():
        if not folder.is_dir():
            raise InputError(f"{shortened(folder)} is not a folder")
        if not args.force and any(folder.iterdir()):
            raise InputError(f"{shortened(folder)} is not empty; --force draws into it")
    require_makeable(_picture(args, args.levels[-1]), "picture")


def _picture(args: Namespace, seed: int) -> Path:
    return args.pictures / f"{args.mode}_{args.placement}_{seed}.png"


class _Piece(NamedTuple):
    """Some of the levels, solved."""

    seeds: range
    params: EnvParams
    states: EnvState
    proofs: Proofs
    played: Replay
    seconds: float  # of the search


def _solve(args: Namespace, placement: CoinPlacement, env: CoinRun, seeds: range) -> _Piece:
    levels = generate_levels(np.arange(seeds.start, seeds.stop, dtype=np.uint32), args.mode)
    params = EnvParams.on_levels(levels).replace(placement=placement)
    for without in levels_without(params.pool, placement).values():
        named = ", ".join(str(seed) for seed in without)
        print(
            f"the placement finds no cell in {len(without)} levels, where the coin stays at the "
            f"end: {named}"
        )
    states = start_states(env, params, args.seed)
    began = time.perf_counter()
    proofs = solve(params, states, shorten=args.shorten)
    took = time.perf_counter() - began
    return _Piece(seeds, params, states, proofs, replay(env, params, states, proofs), took)


class _Totals:
    """The summary of all levels, in constant memory."""

    def __init__(self) -> None:
        self.number = 0
        self.proven = 0
        self.seconds = 0.0
        self._with_length = np.zeros(TIME_LIMIT + 1, np.int64)  # proofs by number of steps

    def add(self, piece: _Piece) -> None:
        """Count a piece."""
        collected = piece.played.collected
        self.number += len(collected)
        self.proven += int(collected.sum())
        self.seconds += piece.seconds
        lengths = piece.proofs.length[collected]
        self._with_length += np.bincount(lengths, minlength=TIME_LIMIT + 1)

    def print(self, args: Namespace) -> None:
        """Print the summary."""
        number, proven = self.number, self.proven
        print(
            f"{number} {args.mode} levels, placement {args.placement}: coin collected in "
            f"{proven} ({proven / number:.2%}), not proven reachable in {number - proven}"
        )
        if proven:
            low, middle, high = (self._percentile(share) for share in (0.05, 0.5, 0.95))
            steps = np.arange(len(self._with_length))
            mean = (steps * self._with_length).sum() / proven
            print(
                f"steps of the proofs: mean {mean:.2f}, median {middle:.0f}, "
                f"5 ... 95 % {low:.0f} ... {high:.0f}, most {np.flatnonzero(self._with_length)[-1]}"
            )
        device = jax.devices()[0].device_kind
        print(f"found in {self.seconds:.1f} s on {device}, compilation included")

    def _percentile(self, share: float) -> float:
        """Equals `np.percentile` of all lengths."""
        position = share * (self.proven - 1)
        upto = np.cumsum(self._with_length)
        first, second = (
            np.searchsorted(upto, rank, side="right")
            for rank in (np.floor(position), np.ceil(position))
        )
        return first + (second - first) * (position % 1)


def _print_unproven(piece: _Piece) -> None:
    for index in np.flatnonzero(~piece.played.collected):
        x, y = np.asarray(piece.states.coin_cell[index]).tolist()
        print(f"not proven: level {piece.seeds[index]}, coin in cell ({x}, {y})", flush=True)


def _draw_unproven(args: Namespace, piece: _Piece) -> None:
    for index in np.flatnonzero(~piece.played.collected):
        args.pictures.mkdir(exist_ok=True)
        level = jax.tree.map(lambda leaf: leaf[index], piece.params.pool.levels)  # noqa: B023
        start = jnp.stack([piece.states.x[index], piece.states.y[index]])
        coin = np.asarray(piece.states.coin_cell[index])
        picture = level_map(level.replace(start_xy=start), coin)
        write_png(_picture(args, piece.seeds[index]), picture)


def _to_save(piece: _Piece) -> dict[str, np.ndarray]:
    states, proofs = piece.states, piece.proofs
    return {
        "level_seed": np.array(piece.seeds, np.uint32),
        "start_xy": np.stack([states.x, states.y], -1),
        "coin_cell": np.asarray(states.coin_cell),
        "collected": piece.played.collected,
        "episode_return": piece.played.episode_return,
        "length": proofs.length,
        "actions": proofs.actions,
    }


def _save(args: Namespace, parts: list[dict[str, np.ndarray]]) -> None:
    longest = max(part["actions"].shape[1] for part in parts)
    for part in parts:
        missing = longest - part["actions"].shape[1]
        part["actions"] = np.pad(
            part["actions"], ((0, 0), (0, missing)), constant_values=Action.NOOP
        )
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    write_arrays(args.save, {"mode": args.mode, "placement": args.placement, **arrays})


@command
def main(arguments: list[str] | None = None) -> int:
    """Solve and replay a range of levels; returns the exit status."""
    args, placement = _arguments(arguments)
    enable_compilation_cache()
    env = CoinRun(args.mode, num_levels=1)  # only steps; the levels come from their seeds
    totals, to_save = _Totals(), []
    for first in range(args.levels.start, args.levels.stop, PIECE):
        seeds = range(first, min(first + PIECE, args.levels.stop))
        piece = _solve(args, placement, env, seeds)
        totals.add(piece)
        _print_unproven(piece)
        if args.pictures:
            _draw_unproven(args, piece)
        if args.save:
            to_save.append(_to_save(piece))
        if len(args.levels) > PIECE:
            print(
                f"{totals.number:,} of {len(args.levels):,} levels, coin collected in "
                f"{totals.proven:,}, {totals.seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    totals.print(args)
    if args.save:
        _save(args, to_save)
    return 0 if totals.proven == totals.number else 1


if __name__ == "__main__":
    sys.exit(main())
