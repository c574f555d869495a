"""Which coins can be reached: `python -m coinrun_jax.solver --levels A:B --placement NAME`.

Exit status 0 if the coin of every level was collected, 1 if some were not.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentTypeError, Namespace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.commands import Parser, integer_from, output_path, seed_range
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.env import CoinRun
from coinrun_jax.generator import MODES
from coinrun_jax.observations.png import write_png
from coinrun_jax.observations.render import level_map
from coinrun_jax.params import EnvParams
from coinrun_jax.placement import levels_without, make_placement
from coinrun_jax.solver.proofs import Proofs, solve
from coinrun_jax.solver.replay import Replay, replay
from coinrun_jax.types import EnvState


def start_states(env: CoinRun, params: EnvParams, seed: int = 0) -> EnvState:
    """A start on every level of the pool; its coin's key comes from `seed` and the level's."""
    levels = params.pool.levels

    def start(index: jax.Array) -> EnvState:
        key = jax.random.fold_in(jax.random.key(seed), levels.seed[index])
        return env.reset_to_level(key, index, params)[1]

    return jax.jit(jax.vmap(start))(jnp.arange(len(levels.seed)))


def _folder(text: str) -> Path:
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise ArgumentTypeError(f"{text} is not a folder")
    if not path.resolve().parent.is_dir():
        raise ArgumentTypeError(f"the folder of {text} does not exist")
    return path


def _pair(kind: type, text: str) -> tuple:
    try:
        first, second = (kind(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not two numbers A,B") from None
    return first, second


def _arguments(argv: list[str] | None) -> tuple[Namespace, Any]:
    parser = Parser(prog="python -m coinrun_jax.solver", description=__doc__)
    parser.add_argument("--levels", type=seed_range, required=True, metavar="A:B", help="A ... B-1")
    parser.add_argument("--placement", default="end", metavar="NAME", help="of the coin")
    parser.add_argument("--fraction", type=partial(_pair, float), metavar="LOW,HIGH")
    parser.add_argument("--cell", type=partial(_pair, int), metavar="X,Y")
    parser.add_argument("--mode", choices=MODES, default="hard")
    parser.add_argument("--seed", type=integer_from(0), default=0, help="of the coins' places")
    parser.add_argument("--shorten", action="store_true", help="search again for shorter ways")
    parser.add_argument("--save", type=output_path, metavar="FILE.npz", help="write the proofs")
    parser.add_argument("--pictures", type=_folder, metavar="DIR", help="draw what is not proven")
    args = parser.parse_args(argv)
    given = {name: getattr(args, name) for name in ("fraction", "cell")}
    try:
        placement = make_placement(
            args.placement, **{name: value for name, value in given.items() if value is not None}
        )
    except ValueError as error:
        parser.error(str(error))
    return args, placement


def _print(args: Namespace, states: EnvState, proofs: Proofs, collected: np.ndarray) -> None:
    number, proven = len(collected), int(collected.sum())
    print(
        f"{number} {args.mode} levels, placement {args.placement}: the coin of {proven} collected "
        f"({proven / number:.2%}), of {number - proven} not proven reachable"
    )
    for index in np.flatnonzero(~collected):
        x, y = np.asarray(states.coin_cell[index]).tolist()
        print(f"not proven: level {args.levels[index]}, coin in cell ({x}, {y})")
    if proven:
        length = proofs.length[collected]
        low, middle, high = np.percentile(length, [5, 50, 95])
        print(
            f"steps, the fewest found: mean {length.mean():.2f}, median {middle:.0f}, "
            f"5 ... 95 % {low:.0f} ... {high:.0f}, most {length.max()}"
        )


def _draw(folder: Path, args: Namespace, params: EnvParams, states: EnvState, index: int) -> None:
    level = jax.tree.map(lambda leaf: leaf[index], params.pool.levels)
    start = jnp.stack([states.x[index], states.y[index]])
    image = level_map(level.replace(start_xy=start), np.asarray(states.coin_cell[index]))
    write_png(folder / f"{args.mode}_{args.placement}_{args.levels[index]}.png", image)


def _save(args: Namespace, states: EnvState, proofs: Proofs, played: Replay) -> None:
    np.savez_compressed(
        args.save,
        mode=args.mode,
        placement=args.placement,
        level_seed=np.array(args.levels, np.uint32),
        start_xy=np.stack([states.x, states.y], -1),
        coin_cell=np.asarray(states.coin_cell),
        collected=played.collected,
        episode_return=played.episode_return,
        length=proofs.length,
        actions=proofs.actions,
    )


def main(argv: list[str] | None = None) -> int:
    """Solve and replay a range of levels; returns the exit status."""
    args, placement = _arguments(argv)
    enable_compilation_cache()
    number = len(args.levels)
    env = CoinRun(args.mode, num_levels=number, start_level=args.levels.start, pool_size=number)
    params = env.default_params.replace(placement=placement)
    for seeds in levels_without(params.pool, placement).values():
        named = ", ".join(str(seed) for seed in seeds)
        print(f"no place there, the coin stays at the end: {len(seeds)} levels, {named}")
    states = start_states(env, params, args.seed)
    began = time.perf_counter()
    proofs = solve(params, states, shorten=args.shorten)
    took = time.perf_counter() - began
    played = replay(env, params, states, proofs)
    _print(args, states, proofs, played.collected)
    print(f"found in {took:.1f} s on {jax.devices()[0].device_kind}, compilation included")
    if args.save:
        _save(args, states, proofs, played)
    if args.pictures and not played.collected.all():
        args.pictures.mkdir(exist_ok=True)
        for index in np.flatnonzero(~played.collected):
            _draw(args.pictures, args, params, states, int(index))
    return 0 if played.collected.all() else 1


if __name__ == "__main__":
    sys.exit(main())
