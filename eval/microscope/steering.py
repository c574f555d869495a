"""Activation steering: add a vector to one activation at every step, and count what comes first.

The vector is the mean difference of an activation with and without the studied object, over
moments of one set of levels. Scaled by a strength, it is added at every step of episodes on other
levels, in the condition and in its control. Random vectors of its length are the baseline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np

from coinrun_jax.suites import Condition, Suite
from eval.evaluate import Protocol, evaluate, evaluate_next
from eval.measures import summarise
from eval.microscope.moments import collect
from eval.microscope.patching import look_twice
from eval.results import AGENT, Evaluation, Row
from eval.statistics import ATTRACTION, Bootstrap, Estimate
from train.environment import network_of
from train.networks import Apply, Network, Output
from train.policy import Policy

NONE, DIFFERENCE, RANDOM = "none", "difference", "random"


@dataclass(frozen=True)
class Steered:
    """What a steered agent does."""

    activation: str
    vector: str
    """DIFFERENCE, RANDOM with a number, or NONE at strength 0; or one of `amplifying`."""
    strength: float
    length: float
    """Length of the vector at strength 1; NaN if it differs between states."""
    row: Row
    """Measures in the condition."""
    against_none: Estimate | None
    """Attraction minus that at strength 0, on the same levels; None at strength 0."""
    competence: Estimate | None
    """Goal rate in the first condition that training evaluates."""


@cache
def _steered(network: Network, activation: str) -> Apply:
    """The network as a function of {"weights", "push"} and observations."""

    def apply(params: Mapping[str, Any], observations: jax.Array) -> Output:
        push = params["push"]
        replace = {activation: lambda own: own + push.astype(own.dtype)}
        return network.intervene(params["weights"], observations, replace)

    return apply


def steer(policy: Policy, activation: str, push: np.ndarray) -> Policy:
    """The policy with a vector added to an activation; one program for every vector.

    Args:
      push: has the activation's shape, without the batch axis.
    """
    network = network_of(policy.config.network, policy.env_config)
    params = {"weights": policy.params, "push": np.asarray(push, np.float32)}
    return dataclasses.replace(policy, params=params, network=_steered(network, activation))


def difference_vector(
    policy: Policy, protocol: Protocol, condition: int, activations: Sequence[str]
) -> dict[str, np.ndarray]:
    """Mean of each activation with the studied object minus that without it, by name.

    Args:
      protocol: of the measurement. Moments come from as many further levels.
      condition: index into its suite.
    """
    own = protocol.num_levels
    twice = dataclasses.replace(protocol, num_levels=2 * own)
    scope, moments = collect(policy, twice, condition, begin=own)
    pair = look_twice(scope, moments)
    return {
        name: (pair.real.activations[name] - pair.twin.activations[name]).mean(0)
        for name in activations
    }


def random_like(vector: np.ndarray, seed: int) -> np.ndarray:
    """A vector of the same length in a random direction."""
    draw = np.random.default_rng(seed).standard_normal(vector.shape)
    return (draw * (np.linalg.norm(vector) / np.linalg.norm(draw))).astype(np.float32)


def steering_suite(testbed: Any, condition: str) -> Suite:
    """The first condition that training evaluates, then the given one and its first control."""
    suite = testbed.suites()["relocation"]
    by_name: dict[str, Condition] = {each.name: each for each in suite.conditions}
    names = dict.fromkeys([testbed.look[0], condition])
    return Suite("steering", (*(by_name[n] for n in names), suite.controls_of(condition)[0]))


def measure(
    policy: Policy,
    protocol: Protocol,
    activation: str,
    vector: np.ndarray,
    strengths: Sequence[float],
    num_random: int = 1,
) -> Iterator[Steered]:
    """Play a policy steered by the vector, and by random ones, at each strength.

    Args:
      protocol: with a `steering_suite`.
      vector: at strength 1.
    """
    none, arena = evaluate(steer(policy, activation, 0 * vector), protocol, "0")
    vectors = {DIFFERENCE: vector}
    vectors |= {f"{RANDOM} {n + 1}": random_like(vector, n) for n in range(num_random)}
    length = float(np.linalg.norm(vector))
    for strength in strengths:
        for name, each in vectors.items() if strength else [(NONE, vector)]:
            pushed = steer(policy, activation, strength * each)
            played = none if not strength else evaluate_next(pushed, protocol, name, none, arena)
            yield steered(activation, name, strength, length, played, none)


def steered(
    activation: str,
    vector: str,
    strength: float,
    length: float,
    played: Evaluation,
    none: Evaluation,
) -> Steered:
    """The measures of a steered agent, compared with the same agent unsteered."""
    condition = next(n for n, each in enumerate(played.suite.conditions) if each.apart)
    bootstrap = Bootstrap(played.level_seeds.shape[1], played.seed)
    sides = (_touches(each, condition) for each in (played, none))
    rows = summarise([played]).agent
    return Steered(
        activation=activation,
        vector=vector,
        strength=strength,
        length=length,
        row=rows[condition],
        against_none=bootstrap.compare(ATTRACTION, *sides) if strength else None,
        competence=rows[0].first.get(played.testbed.goal),
    )


def _touches(played: Evaluation, condition: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether the studied object came first, and its empty cell in the control; bool [1, N, S]."""
    suite = played.suite
    control = suite.controls_of(suite.conditions[condition].name)[0]
    assert control.control is not None
    return (
        played.came_to(AGENT, condition, control.control.takes)[None],
        played.came_to(AGENT, suite.index(control.name), control.control.watched)[None],
    )
