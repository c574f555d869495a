"""`features.npz`: what the agent saw, felt and did, labelled by condition.

For those who build detectors of distribution shift or of goals gone wrong, on observations,
features or logits (out-of-distribution labels as in 2309.16166 and 2410.21052). Arrays, of C
conditions and M steps in all, an episode's steps in order and episodes one after another:

- `conditions` text [C], `shifted` bool [C] (whether a condition differs from training, see
  `shift`), `outcomes` text [O];
- of every step: `observations` [M, ...] as the agent gets them, `features` float32 [M, F],
  `logits` float32 [M, 15], `values` float32 [M], `actions` int8 [M];
- its labels: `episode` int32 [M], `condition` int16 [M], `level_seed` uint32 [M], `step` int16
  [M] from 0, `out_of_distribution` bool [M], `coin_in_view` bool [M] (a coin lies within the
  view), `outcome` int8 [M] of the episode.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax import EnvParams
from coinrun_jax.checks import InputError
from coinrun_jax.files import write_arrays
from eval.outcomes import OUTCOMES
from eval.probes.scene import sees_coin
from eval.results import AGENT, Evaluation
from eval.rollout import Arena, episode_keys
from eval.shift import is_shifted
from eval.variants import Variants
from train.environment import observation_shape
from train.networks import Apply
from train.policy import Policy

FEATURES = "features.npz"
STEPS = 256
"""Of an episode, after which nothing is written."""
MOST_BYTES = 2**31
_LANES = 32  # episodes side by side


class _Steps(NamedTuple):
    """What is written of steps, any leading axes."""

    observations: jax.Array
    features: jax.Array
    logits: jax.Array
    values: jax.Array
    coin_in_view: jax.Array


def require_room(policy: Policy, num_conditions: int, count: int) -> None:
    """Whether the features of `count` episodes of each condition are few enough to hold.

    Raises:
      InputError: where they may come to more than MOST_BYTES.
    """
    config = policy.env_config
    kind = jnp.uint8 if config.observation == "rgb" else jnp.float32
    seen = jax.ShapeDtypeStruct((1, *observation_shape(config)), kind)
    shapes = (seen, jax.eval_shape(policy.network, policy.params, seen))
    step = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    most = MOST_BYTES // (step * STEPS * num_conditions)
    if count > most:
        raise InputError(
            f"the features of {count} episodes of {num_conditions} conditions do not fit in "
            f"{MOST_BYTES / 2**30:g} GiB; at most {most} of each do"
        )


def write_features(
    evaluation: Evaluation, arena: Arena, policy: Policy, count: int, path: Path
) -> None:
    """The agent's first episode on each of the first levels of every condition.

    Args:
      evaluation: with traces.
      arena: that it was played in.
      policy: of the agent.
      count: levels of each condition.
      path: of the file.
    """
    played = evaluation.played[AGENT]
    record = played.record
    if record.trace is None:
        raise ValueError("the episodes were played without traces")
    shape = (len(evaluation.suite.conditions), count)
    condition, level = (each.ravel() for each in np.indices(shape))
    at = condition, level, 0
    actions = np.asarray(record.trace.actions)[at][:, :STEPS]
    length = np.minimum(record.steps[at], STEPS)
    own = np.arange(STEPS) < length[:, None]  # [E, STEPS]
    steps = _look_again(arena, policy, condition, arena.level_index[condition, level], actions, own)
    shifted = [is_shifted(each, policy.env_config) for each in evaluation.suite.conditions]

    def label(of_episode: np.ndarray, dtype: Any) -> np.ndarray:
        return np.repeat(of_episode, length).astype(dtype)

    arrays = {
        "conditions": np.array([each.name for each in evaluation.suite.conditions]),
        "shifted": np.array(shifted),
        "outcomes": np.array(OUTCOMES),
        **steps._asdict(),
        "actions": actions[own],
        "episode": label(np.arange(condition.size), np.int32),
        "condition": label(condition, np.int16),
        "level_seed": label(evaluation.level_seeds[condition, level], np.uint32),
        "step": np.nonzero(own)[1].astype(np.int16),
        "out_of_distribution": label(np.array(shifted)[condition], bool),
        "outcome": label(played.outcome[at], np.int8),
    }
    write_arrays(path, arrays)


def _look_again(
    arena: Arena,
    policy: Policy,
    condition: np.ndarray,
    level: np.ndarray,
    actions: np.ndarray,
    own: np.ndarray,
) -> Any:
    """`_Steps` of the given episodes [E], numpy [M, ...]."""
    lanes = min(_LANES, condition.size)
    parts = []
    for start in range(0, condition.size, lanes):
        # The last batch is filled up, so that all share a program, with what is cut off below.
        at = np.arange(start, start + lanes) % condition.size
        steps = _look(
            arena.env,
            policy.network,
            policy.params,
            arena.params,
            arena.variants,
            arena.key,
            jnp.asarray(condition[at], jnp.int32),
            jnp.asarray(level[at], jnp.int32),
            jnp.asarray(actions[at], jnp.int32),
        )
        real = own[at] & (np.arange(start, start + lanes) < condition.size)[:, None]
        parts.append(jax.tree.map(lambda leaf, real=real: np.asarray(leaf)[real], steps))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@partial(jax.jit, static_argnames=("env", "network"))
def _look(
    env: Any,
    network: Apply,
    weights: Any,
    params: EnvParams,
    variants: Variants,
    key: jax.Array,
    condition: jax.Array,
    level: jax.Array,
    actions: jax.Array,
) -> _Steps:
    """`_Steps` [B, T] of episodes that press `actions` int32 [B, T]."""

    def params_of(condition: jax.Array) -> EnvParams:
        return params.replace(**variants.pick(condition))

    def start(condition: jax.Array, level: jax.Array) -> Any:
        key_reset, _ = episode_keys(key, params.pool.levels.seed[level], jnp.int32(0))
        return env.reset_to_level(key_reset, level, params_of(condition))[1]

    def see(condition: jax.Array, state: Any) -> jax.Array:
        return env.observe(key, state, None, params_of(condition))

    def move(condition: jax.Array, state: Any, action: jax.Array) -> Any:
        return env.step_env(key, state, action, params_of(condition))[1]

    def step(states: Any, actions: jax.Array) -> tuple[Any, _Steps]:
        seen = jax.vmap(see)(condition, states)
        output = network(weights, seen)
        in_view = jax.vmap(sees_coin, (0, None))(states, params.pool)
        found = _Steps(seen, output.features, output.logits, output.value, in_view)
        return jax.vmap(move)(condition, states, actions), found

    states = jax.vmap(start)(condition, level)
    found = jax.lax.scan(step, states, actions.T)[1]
    return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), found)
