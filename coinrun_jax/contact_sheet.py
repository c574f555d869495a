"""A sheet of observations: `python -m coinrun_jax.contact_sheet --out FILE.png`.

Levels of consecutive seeds, each after some steps of running to the right with a jump now
and then, as a newcomer would first see them.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, add_force, command, integer, require_outputs
from coinrun_jax.coinrun.env import ART, CoinRun
from coinrun_jax.coinrun.generator import MODES
from coinrun_jax.coinrun.observations.atlas import MAX_SIZE, VIEW
from coinrun_jax.coinrun.observations.png import write_png
from coinrun_jax.coinrun.types import NUM_SEEDS, Action, EnvState

MOST_FRAMES = 1024
MOST_PIXELS = 2**26  # of a sheet
GAP = 4  # pixels between frames
GAP_COLOUR = (255, 0, 255)
MOST_STEPS = 120
ACTIONS = (Action.RIGHT, Action.RIGHT, Action.RIGHT_UP, Action.RIGHT_UP, Action.UP, Action.NOOP)


def played_states(env: CoinRun, count: int, seed: int) -> EnvState:
    """States of `count` levels, each after at most MOST_STEPS steps of an episode; [count]."""
    params = env.default_params
    key_reset, key_length, key_play = jax.random.split(jax.random.key(seed), 3)
    start = partial(env.reset_to_level, params=params)
    index = jnp.arange(count, dtype=jnp.int32)
    _, state = jax.vmap(start)(jax.random.split(key_reset, count), index)
    length = jax.random.randint(key_length, (count,), 0, MOST_STEPS, jnp.int32)

    def step(state: EnvState, inputs: tuple[jax.Array, jax.Array]) -> tuple[EnvState, None]:
        number, key = inputs
        choice = jax.random.randint(key, (count,), 0, len(ACTIONS), jnp.int32)
        action = jnp.array(ACTIONS, jnp.int32)[choice]
        move = partial(env.step_env, params=params)
        keys = jax.random.split(key, count)
        _, moved, _, terminated, _ = jax.vmap(lambda k, s, a: move(k, s, a))(keys, state, action)
        goes_on = (number < length) & ~terminated

        def choose(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(goes_on.reshape(count, *(1,) * (new.ndim - 1)), new, old)

        return jax.tree.map(choose, moved, state), None

    numbers = jnp.arange(MOST_STEPS, dtype=jnp.int32)
    return jax.lax.scan(step, state, (numbers, jax.random.split(key_play, MOST_STEPS)))[0]


def sheet(frames: np.ndarray, columns: int, scale: int) -> np.ndarray:
    """Frames [n, H, W, 3] side by side, each pixel `scale` wide; uint8 [., ., 3]."""
    frames = frames.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, _ = frames.shape
    rows = -(-count // columns)
    shape = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3)
    image = np.full(shape, GAP_COLOUR, np.uint8)
    for number, frame in enumerate(frames):
        row, column = divmod(number, columns)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        image[top : top + height, left : left + width] = frame
    return image


def _arguments(arguments: list[str] | None) -> Namespace:
    parser = Parser(prog="python -m coinrun_jax.contact_sheet", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="PNG file to write")
    add("--mode", choices=MODES, default="hard")
    seed = integer(0, NUM_SEEDS - 1)
    add("--seed", type=seed, default=0, help="first level seed; also seeds the actions")
    add("--count", type=integer(1, MOST_FRAMES), default=24, help="frames")
    add("--columns", type=integer(1, MOST_FRAMES), default=6)
    add("--size", type=integer(VIEW, MAX_SIZE), default=64, help="pixels per side of a frame")
    add(
        "--art",
        choices=ART,
        default="own",
        help="procgen: Procgen's own pictures; see coinrun_jax.art",
    )
    add("--scale", type=integer(1, 64), default=4, help="magnification of each pixel")
    add_force(parser)
    args = parser.parse_args(arguments)
    require_outputs(args.force, args.out)
    columns, side = args.columns, args.size * args.scale + GAP
    pixels = -(-args.count // columns) * columns * side * side
    if pixels > MOST_PIXELS:
        raise InputError(f"the sheet would have {pixels:,} pixels; at most {MOST_PIXELS:,}")
    return args


@command
def main(arguments: list[str] | None = None) -> int:
    """Draw the sheet that the command line asks for; returns the exit status."""
    args = _arguments(arguments)
    observation = "procgen" if args.art == "procgen" else "rgb"
    env = CoinRun(args.mode, observation, args.count, args.seed, pool_size=args.count)
    states = played_states(env, args.count, args.seed)
    draw = partial(env.render, size=args.size)
    frames = np.asarray(jax.vmap(draw, (0, None))(states, env.default_params))
    write_png(args.out, sheet(frames, args.columns, args.scale))
    return 0


if __name__ == "__main__":
    sys.exit(main())
