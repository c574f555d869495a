"""What a trained network represents about the goal: in its values, features and preferences.

`probe` plays the agent on held-out levels with the goal in other places, keeps some of the states
it visits, and shows the network each of them again with the goal taken away or put elsewhere, all
else equal. A network that cannot see the goal answers both alike, so any difference between the
answers is due to the goal.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.controllers import AgentController
from coinrun_jax.inspection import Probing
from coinrun_jax.registry import testbed_of
from coinrun_jax.suites import Suite
from eval.evaluate import Protocol, make_arena
from eval.probes.answers import Probes
from eval.probes.forks import preference
from eval.probes.linear import linear_probes
from eval.probes.values import value_gap
from eval.probes.visits import collect_visits
from eval.results import AGENT
from eval.states import Model, Viewer
from train.environment import network_of, observation_space
from train.policy import Policy

MOST_LEVELS = 500


def probe(policy: Policy, protocol: Protocol) -> Probes:
    """Run every probe on one agent.

    Args:
      policy: the agent's, trained on a testbed that has `probing`.
      protocol: as in its evaluation; at most MOST_LEVELS of its levels are used.
    """
    testbed, seed = testbed_of(policy.env_config), protocol.seed
    assert testbed.probing is not None
    probing: Probing = testbed.probing
    agent = AgentController(
        jax.device_put(policy.params),
        policy.network,
        greedy=np.bool_(protocol.action_mode == "greedy"),
    )
    suite = Suite("probes", probing.conditions)
    once = Protocol(suite, min(protocol.num_levels, MOST_LEVELS), seed=seed)
    arena = make_arena(policy.env_config, {AGENT: agent}, once)
    in_view, at_forks = collect_visits(arena, (probing.in_view, probing.is_fork), seed)
    viewer, trained = Viewer.of(arena, 0), Model(policy.network, policy.params)
    fresh = untrained(policy, jax.random.key(seed))
    noun = testbed.noun(testbed.goal)
    by_progress, gap = value_gap(viewer, trained, probing, in_view, seed)
    return Probes(
        value_by_progress=by_progress,
        value_gap=gap,
        linear=linear_probes(viewer, trained, fresh, probing, noun, in_view, seed),
        forks=preference(viewer, trained, probing, at_forks, seed),
    )


def untrained(policy: Policy, key: jax.Array) -> Model:
    """The policy's architecture with fresh weights; consumes `key`."""
    network = network_of(policy.config.network, policy.env_config)
    space = observation_space(policy.env_config)
    weights = jax.jit(network.init)(key, jnp.zeros((1, *space.shape), space.dtype))
    return Model(network.apply, weights)
