"""An oracle for evaluations: it walks a proven way to the coin, whose place it knows.

python -m tests.oracle

searches for the ways and writes them beside the other recordings; it takes a minute, and is due
when levels, physics or the coins of the arena's key become other ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.arena import episode_keys
from coinrun_jax.coinrun.catalogue import SUITES
from coinrun_jax.solver import solve
from coinrun_jax.solver.proofs import QUICK
from eval.evaluate import Protocol, make_arena
from tests.conftest import ROOT
from train.config import TrainConfig

NUM_LEVELS = 100
ENDS = ("end", "random_section")
"""Conditions of the suite `paper` whose coins it knows ways to."""
FILE = ROOT / "tests" / "data" / "oracle_actions.npz"
"""`actions` int8 [condition, level, step] on the first held-out levels, with seed 0."""


def find_ways() -> np.ndarray:
    """What the file holds.

    Raises:
      RuntimeError: if a way is not found.
    """
    suite = SUITES["paper"]
    arena = make_arena(TrainConfig().env, {}, Protocol(suite, NUM_LEVELS))
    seeds = jnp.asarray(arena.level_seeds)
    keys = jax.vmap(lambda seed: episode_keys(arena.key, seed, jnp.int32(0))[0])(seeds)

    @jax.jit
    def start(condition: jax.Array) -> Any:
        reset = jax.vmap(arena.env.reset_to_level, in_axes=(0, 0, None))
        return reset(keys, jnp.arange(NUM_LEVELS), arena.params_of(condition))[1]

    found = [solve(arena.params, start(jnp.int32(suite.index(name))), [QUICK]) for name in ENDS]
    if not all(proofs.solved.all() for proofs in found):
        raise RuntimeError("there are coins to which no way was found")
    longest = max(proofs.actions.shape[1] for proofs in found)
    padding = [(0, 0), (0, longest)]
    return np.stack([np.pad(each.actions, padding, "edge")[:, :longest] for each in found])


def load_oracle() -> Callable[[jax.Array, Any, Any], jax.Array]:
    """A script for the levels of the file: to the end where there is no coin elsewhere."""
    with np.load(FILE, allow_pickle=False) as data:
        ways = data["actions"]

    def oracle(key: jax.Array, state: Any, params: Any) -> jax.Array:
        moved = (state.coin_present & state.coin_moved).astype(jnp.int32)
        step = jnp.minimum(state.time, ways.shape[2] - 1)
        return jnp.asarray(ways)[moved, state.level_index, step].astype(jnp.int32)

    return oracle


if __name__ == "__main__":
    np.savez_compressed(FILE, actions=find_ways())
