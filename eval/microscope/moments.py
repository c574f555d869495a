"""Moments of episodes: states in which the studied object is in the agent's view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from coinrun_jax.arena import Arena, Replay
from coinrun_jax.checks import InputError
from coinrun_jax.controllers import AgentController
from coinrun_jax.registry import testbed_of
from coinrun_jax.suites import Condition
from eval.evaluate import Protocol, make_arena
from eval.microscope.scope import Scope
from eval.results import AGENT
from train.policy import Policy

MOST_STEPS = 200
"""Steps of an episode that `collect` takes moments from."""
CANDIDATES = 16
"""Steps of an episode that are considered."""


@dataclass(frozen=True)
class Moments:
    """M moments, one per level, with and without the studied object; numpy."""

    levels: np.ndarray
    """uint32 [M], seeds."""
    steps: np.ndarray
    """int32 [M]."""
    states: Any
    without: Any
    """States [M]."""

    @property
    def number(self) -> int:
        return len(self.levels)


def _stack(states: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)


def collect(
    policy: Policy, protocol: Protocol, condition: int, begin: int = 0
) -> tuple[Scope, Moments]:
    """Play a condition of a suite, and draw from every episode one moment at which hiding the
    studied object changes what the agent sees.

    Args:
      begin: number of the protocol's levels to skip first.

    Raises:
      InputError: if there is no such moment.
    """
    agent = AgentController(jax.device_put(policy.params), policy.network)
    arena = make_arena(policy.env_config, {AGENT: agent}, protocol)
    scope = Scope.of(policy, arena, condition)
    draws = np.random.default_rng(protocol.seed)
    number = protocol.num_levels
    found: list[tuple[int, int, Any, Any]] = []
    for first in range(begin, number, arena.lanes):
        levels = np.arange(first, min(first + arena.lanes, number))
        episodes = np.stack([np.full_like(levels, condition), levels, np.zeros_like(levels)], -1)
        watched = arena.watch(AGENT, episodes, MOST_STEPS)
        lengths = np.minimum(np.asarray(watched.record.steps), len(watched.actions))
        found += _seen(scope, watched.states, lengths, levels, draws)
    if not found:
        raise InputError("the studied object is never in view")
    level, step, states, without = zip(*found, strict=True)
    seeds = arena.level_seeds[arena.level_index[condition][list(level)]]
    return scope, Moments(
        seeds.astype(np.uint32), np.array(step, np.int32), _stack(states), _stack(without)
    )


def _seen(
    scope: Scope,
    states: Any,
    lengths: np.ndarray,
    levels: np.ndarray,
    draws: np.random.Generator,
) -> list[tuple[int, int, Any, Any]]:
    """(level, step, state, state without the object) for one moment of every episode with any.

    Args:
      states: [T + 1, E].
      lengths: int [E], steps of each.
    """
    candidates: list[tuple[int, int, Any, Any]] = []
    for episode, length in enumerate(lengths):
        steps = np.unique(np.linspace(0, max(length - 1, 0), CANDIDATES).astype(int))
        for step in steps:
            state = jax.tree.map(lambda leaf, at=(step, episode): leaf[at], states)
            twins = scope.without(state)
            if twins.number:
                without = jax.tree.map(lambda leaf: leaf[0], twins.states)
                candidates.append((episode, int(step), state, without))
    if not candidates:
        return []
    owners, _, real, twin = zip(*candidates, strict=True)
    a, b = (scope.look(_stack(each)).observations for each in (real, twin))
    differs = (a != b).reshape(len(a), -1).any(1)
    chosen = []
    for number in range(len(lengths)):
        own = np.flatnonzero(differs & (np.array(owners) == number))
        if own.size:
            _, step, state, without = candidates[int(draws.choice(own))]
            chosen.append((int(levels[number]), step, state, without))
    return chosen


def play_level(policy: Policy, condition: Condition, seed: int, key: int) -> tuple[Arena, Replay]:
    """One episode of the policy on the level of a seed."""
    testbed, config = testbed_of(policy.env_config), policy.env_config
    levels = testbed.build_levels(
        np.array([seed], np.uint32), testbed.level_kind(condition, config)
    )
    env = testbed.evaluation_env(config)
    arena = Arena(
        testbed=testbed,
        env=env,
        params=testbed.evaluation_params(env, levels),
        conditions=(condition,),
        overrides=[testbed.overrides(condition, config)],
        level_seeds=np.array([seed], np.uint32),
        level_index=np.zeros((1, 1), np.int32),
        controllers={AGENT: AgentController(jax.device_put(policy.params), policy.network)},
        key=jax.random.key(key),
        lanes=1,
    )
    return arena, arena.replay(AGENT, [(0, 0, 0)])[0]


def first_sight(scope: Scope, states: list[Any]) -> int:
    """The first step at which hiding the studied object changes what the agent sees; 0 if never."""
    with_twin = [(step, scope.without(state)) for step, state in enumerate(states)]
    known = [(step, twins) for step, twins in with_twin if twins.number]
    if not known:
        return 0
    real = scope.look(_stack([states[step] for step, _ in known])).observations
    hidden = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(t.states for _, t in known))
    differs = (real != scope.look(hidden).observations).reshape(len(real), -1).any(1)
    return known[int(differs.argmax())][0] if differs.any() else 0
