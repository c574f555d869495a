"""What a trained network knows of the coin, asked of its values, features and preferences.

`probe` plays the agent on held-out levels with the coin anywhere and with the coin behind it,
keeps some of the states that it comes to, and shows the network each of them again with the
coin taken away or put elsewhere, all else equal. What a network that cannot see the coin
answers to both is the same, so that the answers' difference is the coin's doing.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from eval.controllers import AgentController
from eval.evaluate import Protocol, make_arena
from eval.probes import forks, linear, values
from eval.probes.reading import Model, reader, untrained
from eval.probes.visits import visits
from eval.results import AGENT
from eval.suites import Condition, Suite
from train.policy import Policy

SUITE = Suite(
    "probes", (Condition("uniform", placement="uniform"), Condition("behind", placement="behind"))
)
"""Where the coin lies in the episodes that are looked at: both left and right of the agent,
and all along the way."""
MOST_LEVELS = 500


def probe(policy: Policy, protocol: Protocol) -> dict[str, Any]:
    """Every probe of one agent.

    Args:
      policy: of the agent.
      protocol: as in its evaluation; `num_levels` counts up to MOST_LEVELS.

    Returns:
      `value_by_position` and `value_gap` as `values.value_gap` gives them, `linear` as
      `linear.linear_probes` does, `forks` as `forks.preference` does. What cannot be said
      of so few states is None.
    """
    agent = AgentController(
        policy.params, policy.network, greedy=np.bool_(protocol.action_mode == "greedy")
    )
    once = Protocol(SUITE, min(protocol.num_levels, MOST_LEVELS), seed=protocol.seed)
    arena = make_arena(policy.env_config, {AGENT: agent}, once)
    in_view, at_forks = visits(arena, agent)
    ask, trained = reader(arena), Model(policy.network, policy.params)
    fresh = untrained(policy, arena.env, jax.random.key(protocol.seed))
    return {
        **values.value_gap(ask, trained, in_view, protocol.seed),
        "linear": linear.linear_probes(ask, trained, fresh, in_view, protocol.seed),
        "forks": forks.preference(ask, trained, at_forks, protocol.seed),
    }
