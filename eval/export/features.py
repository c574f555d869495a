"""`features.npz`: what the agent observed, computed and did, labelled by condition.

For detectors of distribution shift or of misgeneralised goals, on observations, features or logits
(out-of-distribution labels as in 2309.16166 and 2410.21052). Arrays, for C conditions and M steps
in all, an episode's steps in order and episodes one after another:

- `conditions` text [C], `shifted` bool [C] (whether a condition differs from training, see
  `Testbed.is_shifted`), `outcomes` text [O];
- for every step: `observations` [M, ...] as the agent gets them, `features` float32 [M, F],
  `logits` float32 [M, A], `values` float32 [M], `actions` int8 [M];
- its labels: `episode` int32 [M], `condition` int16 [M], `level_seed` uint32 [M], `step` int16
  [M] from 0, `out_of_distribution` bool [M], `outcome` int8 [M] of the episode, and, where the
  testbed has probes, `goal_in_view` bool [M].
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from coinrun_jax.arena import Arena
from coinrun_jax.checks import InputError
from coinrun_jax.files import write_arrays
from coinrun_jax.registry import testbed_of
from eval.results import AGENT, Evaluation
from eval.states import Model, Viewer
from train.policy import Policy

FEATURES = "features.npz"
STEPS = 256
"""Most steps written per episode."""
MOST_BYTES = 2**31
_MOST_EPISODES = 256  # watched at a time


def require_room(policy: Policy, num_conditions: int, count: int) -> None:
    """Refuse more features than fit into memory, for `count` episodes of each condition.

    Raises:
      InputError: if they may exceed MOST_BYTES.
    """
    config = policy.env_config
    space = testbed_of(config).make_env(config).observation_space(None)
    seen = jax.ShapeDtypeStruct((1, *space.shape), space.dtype)
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
    """Write the agent's first episode on each of the first levels of every condition.

    Args:
      arena: the one that the evaluation was played in.
      policy: of the agent.
      count: levels of each condition.
    """
    testbed, conditions = evaluation.testbed, evaluation.suite.conditions
    episodes = [(condition, level, 0) for condition, level in np.ndindex(len(conditions), count)]
    size = min(arena.lanes, _MOST_EPISODES)
    parts = []
    for start in range(0, len(episodes), size):
        parts += _steps(arena, policy, np.array(episodes[start : start + size]))
    steps = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    condition, level = steps["condition"], steps.pop("level")
    shifted = np.array([testbed.is_shifted(each, policy.env_config) for each in conditions])
    arrays = {
        "conditions": np.array([each.name for each in conditions]),
        "shifted": shifted,
        "outcomes": np.array([each.name for each in testbed.outcomes]),
        **steps,
        "episode": (condition.astype(np.int32) * count + level).astype(np.int32),
        "level_seed": evaluation.level_seeds[condition, level].astype(np.uint32),
        "out_of_distribution": shifted[condition],
        "outcome": evaluation.played[AGENT].outcome[condition, level, 0].astype(np.int8),
    }
    write_arrays(path, arrays)


def _steps(arena: Arena, policy: Policy, episodes: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The steps of some episodes, in parts of one condition each; arrays [M, ...].

    Args:
      episodes: int [E, 3], condition, level and sample of each.
    """
    watched = arena.watch(AGENT, episodes, STEPS)
    is_played = np.arange(len(watched.actions)) < watched.record.steps[:, None]  # [E, T]
    parts = []
    for condition in np.unique(episodes[:, 0]):
        own = is_played & (episodes[:, 0] == condition)[:, None]
        episode, step = np.nonzero(own)
        states = jax.tree.map(lambda leaf, at=(step, episode): leaf[at], watched.states)
        viewer = Viewer.of(arena, int(condition))
        seen = viewer.show(Model(policy.network, policy.params), states)
        found: dict[str, Any] = {
            "observations": seen.observations,
            "features": seen.output.features,
            "logits": seen.output.logits,
            "values": seen.output.value,
            "actions": watched.actions[step, episode].astype(np.int8),
            "condition": np.full(step.size, condition, np.int16),
            "level": episodes[episode, 1],
            "step": step.astype(np.int16),
        }
        if probing := arena.testbed.probing:
            found["goal_in_view"] = viewer.describe(probing.in_view, states)
        parts.append(found)
    return parts
