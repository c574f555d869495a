"""A sheet of observations: `python -m coinrun_jax.observations.contact_sheet --out FILE.png`.

Levels of consecutive seeds, each after some steps of running to the right with a jump now
and then, as a newcomer would first see them.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.commands import Parser, integer_from, output_path
from coinrun_jax.env import CoinRun
from coinrun_jax.observations import rgb
from coinrun_jax.observations.look import Look
from coinrun_jax.observations.png import write_png
from coinrun_jax.types import Action, EnvState

GAP = 4  # pixels between frames
GAP_COLOUR = (255, 0, 255)
MOST_STEPS = 120
ACTIONS = (Action.RIGHT, Action.RIGHT, Action.RIGHT_UP, Action.RIGHT_UP, Action.UP, Action.NOOP)


def played_states(env: CoinRun, count: int, seed: int) -> EnvState:
    """States of `count` levels, each after at most MOST_STEPS steps of an episode; [count]."""
    params = env.default_params
    key_reset, key_length, key_play = jax.random.split(jax.random.key(seed), 3)
    start = partial(env.reset_to_level, params=params)
    _, state = jax.vmap(start)(jax.random.split(key_reset, count), jnp.arange(count))
    length = jax.random.randint(key_length, (count,), 0, MOST_STEPS)

    def step(state: EnvState, inputs: tuple[jax.Array, jax.Array]) -> tuple[EnvState, None]:
        number, key = inputs
        action = jax.random.choice(key, jnp.array(ACTIONS), (count,))
        move = partial(env.step_env, params=params)
        keys = jax.random.split(key, count)
        _, moved, _, terminated, _ = jax.vmap(lambda k, s, a: move(k, s, a))(keys, state, action)
        goes_on = (number < length) & ~terminated

        def choose(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(goes_on.reshape(count, *(1,) * (new.ndim - 1)), new, old)

        return jax.tree.map(choose, moved, state), None

    numbers = jnp.arange(MOST_STEPS)
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


def main(argv: list[str] | None = None) -> None:
    """Draw the sheet that the command line asks for."""
    parser = Parser(prog="python -m coinrun_jax.observations.contact_sheet", description=__doc__)
    parser.add_argument("--out", type=output_path, required=True, help="PNG file to write")
    parser.add_argument("--mode", choices=("hard", "easy"), default="hard")
    parser.add_argument("--seed", type=integer_from(0), default=0, help="first level, and actions")
    parser.add_argument("--count", type=integer_from(1), default=24, help="frames")
    parser.add_argument("--columns", type=integer_from(1), default=6)
    parser.add_argument("--size", type=integer_from(13), default=64, help="pixels of a frame")
    parser.add_argument("--scale", type=integer_from(1), default=4, help="pixels of a pixel")
    args = parser.parse_args(argv)
    try:
        env = CoinRun(args.mode, num_levels=args.count, start_level=args.seed, pool_size=args.count)
    except ValueError as error:
        parser.error(str(error))
    states = played_states(env, args.count, args.seed)
    draw = partial(rgb.observe, pool=env.default_params.pool, look=Look(), size=args.size)
    frames = np.asarray(jax.jit(jax.vmap(draw))(states))
    write_png(args.out, sheet(frames, args.columns, args.scale))


if __name__ == "__main__":
    main()
