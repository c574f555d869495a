"""Levels, play, a training and an evaluation, written to a file array by array.

CoinRun is played; training and evaluation, the same code for any testbed, are in a corridor. Mazes
have tests of their own.

python -m tests.x64_program FILE [pixels]
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax import CoinRun, EnvParams
from coinrun_jax.coinrun.generator import MODES
from coinrun_jax.coinrun.layout import layout_words
from coinrun_jax.coinrun.testbed import CoinRunTestbed
from coinrun_jax.registry import testbed_of
from coinrun_jax.variants import stack
from eval.evaluate import Protocol, evaluate
from tests import runs
from tests.runs import TINY, UPDATES
from train.policy import Policy
from train.program import Program

NUM_ENVS = 8
STEPS = 32
SYMBOLS, PIXELS = (CoinRun(observation=name) for name in ("symbolic", "rgb"))
TESTBED = CoinRunTestbed()


def varied(params: EnvParams) -> EnvParams:
    """Something of everything: what is never drawn or counted has no type to get wrong."""
    placement = "uniform:2,random_section,off_path,fraction,behind,fixed"
    params = params.with_placement(placement, 0.8, cell=(9, 3))
    params = params.with_cues(
        coin_look="red", coin_spread=1, end_wall="crates", mirrored=True, tie={"ground": 0.5}
    )
    params = params.with_items(2, respawn=5, worth=0.1)
    params = params.with_reward(progress=0.1, step=-0.01, end=1.0)
    return params.replace(max_steps_in_episode=np.int32(30))


@partial(jax.jit, static_argnames="pixels")
def play(params: EnvParams, pixels: bool) -> Any:
    """Start and every step of play at random, mostly to the right: symbols, pixels if asked for,
    and what an evaluation notes. Each of the observations is compiled once, of the state that a
    step leaves.
    """
    key_reset, key_act, key_step = jax.random.split(jax.random.key(1), 3)
    start = jax.vmap(SYMBOLS.reset_state, (0, None))(jax.random.split(key_reset, NUM_ENVS), params)
    words = jax.random.bits(key_act, (STEPS, NUM_ENVS), np.uint8)
    actions = jnp.where(words < 100, words % 15, 7 + words % 2)

    noted = jax.vmap(partial(TESTBED.details, None), (0, None))(start, params)

    def step(carry: tuple[Any, Any], inputs: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
        (state, noted), (key, action) = carry, inputs
        keys = jax.random.split(key, NUM_ENVS)
        out = jax.vmap(SYMBOLS.step, (0, 0, 0, None))(keys, state, action, params)
        del out[-1]["final_observation"]
        seen = None
        if pixels:
            seen = jax.vmap(PIXELS.observe, (0, 0, None, None))(keys, out[1], None, params)
        noted = jax.vmap(TESTBED.details, (0, 0, None))(noted, out[1], params)
        return (out[1], noted), (out, seen, noted)

    keys = jax.random.split(key_step, STEPS)
    return start, jax.lax.scan(step, (start, noted), (keys, actions))[1]


def games(pixels: bool) -> dict[str, Any]:
    """As Procgen is, and with something of everything; with pixels in both modes."""
    found: dict[str, Any] = {}
    for mode in MODES if pixels else ["hard"]:
        plain = CoinRun(mode, num_levels=NUM_ENVS).default_params
        hashes = jax.vmap(partial(layout_words, looks=True))(plain.pool.levels)
        start, steps = play(plain, pixels)
        found[mode] = (plain, hashes, start, steps, play(varied(plain), pixels))
    return found


def conditions() -> dict[str, Any]:
    """What the conditions of an evaluation in CoinRun set."""
    env = runs.CONFIG.env
    suites = TESTBED.suites().items()
    return {
        name: stack([TESTBED.overrides(condition, env) for condition in suite.conditions])
        for name, suite in suites
    }


def agent() -> dict[str, Any]:
    """A few updates, and what becomes of them on held-out levels."""
    program = Program(TINY)
    state = program.init()
    found: dict[str, Any] = {"begun": jax.device_get(state)}
    program.compile(state)
    for update in range(UPDATES):
        state, metrics = program.update(state)
        found[f"update {update}"] = jax.device_get(metrics)
    found["trained"] = state
    policy = Policy(TINY, state.params, program.learner.network.apply, UPDATES)
    suite = testbed_of(TINY.env).suites()["relocation"]
    evaluation, arena = evaluate(policy, Protocol(suite, num_levels=2, traced=True))
    found["arena"] = (arena.params, arena.level_index, evaluation.level_seeds)
    found["played"] = {
        name: (each.record, each.outcome, each.first_step)
        for name, each in evaluation.played.items()
    }
    return found


def numbers(leaf: Any) -> np.ndarray:
    """A leaf as it can be written."""
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def arrays(pixels: bool) -> dict[str, np.ndarray]:
    """All of it, by where it is."""
    found = {"games": games(pixels), "conditions": conditions(), "agent": agent()}
    leaves = jax.tree_util.tree_leaves_with_path(found)
    return {jax.tree_util.keystr(path): numbers(leaf) for path, leaf in leaves}


if __name__ == "__main__":
    np.savez(sys.argv[1], **arrays("pixels" in sys.argv[2:]))
