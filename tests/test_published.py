"""The published protocol: levels are chosen by other episodes than are counted."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import Action
from coinrun_jax.types import NUM_ACTIONS
from eval.catalogue import SUITES
from eval.controllers import AgentController
from eval.evaluate import Protocol, make_arena
from eval.published import MOST_TOUCHED, RUNS, spot_touches
from eval.results import AGENT
from eval.suites import Suite
from train.config import TrainConfig
from train.networks import Output
from train.policy import Policy

AT_END, MOVED = range(2)
COUNTED, LATER = 4, 12  # samples
LEVELS = 512


def blind_policy() -> Policy:
    """Runs right, jumping now and then at random, and sees nothing."""
    logits = np.full(NUM_ACTIONS, -30.0, np.float32)
    logits[[Action.RIGHT, Action.RIGHT_UP]] = 1.0, 0.0

    def network(params: Any, observation: Any) -> Output:
        number = observation.shape[0]
        nothing = jnp.zeros(number)
        return Output(jnp.broadcast_to(params, (number, NUM_ACTIONS)), nothing, nothing[:, None])

    return Policy(TrainConfig(), jnp.asarray(logits), network, 0)


@pytest.mark.slow
def test_levels_are_chosen_by_other_episodes_than_are_counted() -> None:
    policy, both = blind_policy(), Suite("both", SUITES["paper"].conditions[:2])
    touches = spot_touches(policy, Protocol(both, LEVELS, COUNTED, seed=3))

    agent = AgentController(policy.params, policy.network)
    protocol = Protocol(both, LEVELS, COUNTED + RUNS + LATER, seed=3)
    record = make_arena(policy.env_config, {AGENT: agent}, protocol).play(AGENT)
    touched, fetched = record.ghost_step[AT_END] > 0, record.coin_step[MOVED] > 0
    assert (touches == touched[:, COUNTED : COUNTED + RUNS].mean(-1)).all()

    # It does not see the coin, and so fetches it as often as it passes the spot in other runs.
    keep = touches < MOST_TOUCHED
    assert keep.sum() > 50
    rate, by_accident = fetched[keep, :COUNTED].mean(), touched[keep, COUNTED + RUNS :].mean()
    assert rate > 0.01
    assert rate == pytest.approx(by_accident, abs=0.02)
    # Which it does not on levels that the counted episodes themselves have chosen.
    assert fetched[touched[:, :RUNS].mean(-1) < MOST_TOUCHED, :COUNTED].mean() == 0
