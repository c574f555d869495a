"""Run agents and the testbed's reference policies through one suite."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from coinrun_jax.arena import Arena
from coinrun_jax.checks import InputError
from coinrun_jax.controllers import AgentController, Controller
from coinrun_jax.hardware import memory_per_device
from coinrun_jax.record import Record, classify
from coinrun_jax.registry import testbed_of
from coinrun_jax.suites import Suite
from coinrun_jax.testbed import EnvConfig, Reference
from eval.results import AGENT, AGENT_TITLES, GREEDY, Evaluation, Played
from train.policy import Policy

Report = Callable[[str, int], None]
"""Called repeatedly with (policy, episodes taken from the queue)."""
ACTION_MODES = ("sample", "greedy", "both")
MOST_SAMPLES = 1000
MOST_EPISODES = 20_000_000
"""Over all policies. Each takes about 130 bytes in `episodes.csv`, and in memory."""
_LEVEL_BYTES = 140_000
"""Memory per level while the arena's levels are built, all at once."""
_LANES = {"cpu": 256}
_MANY_LANES = 8192  # on accelerators


@dataclass(frozen=True)
class Protocol:
    """How agents are evaluated."""

    suite: Suite
    num_levels: int = 1000
    """Levels of each condition."""
    num_samples: int = 1
    """Episodes per condition and level; they differ only in the actions drawn."""
    seed: int = 0
    """Seeds object positions, actions and resampling."""
    action_mode: str = "sample"
    """One of ACTION_MODES: sampled actions, the likeliest actions, or one row for each."""
    traced: bool = False
    """Whether records hold traces."""
    unseen_by: int = 0
    """Leave out levels that look like one of the level seeds 0 ... unseen_by - 1."""

    @property
    def num_episodes(self) -> int:
        """Episodes of an agent in one action mode."""
        return self._episodes_on(self.num_levels)

    def num_episodes_of(self, num_agents: int, references: Mapping[str, Reference]) -> int:
        """Episodes of all agents, in all action modes, and of the references."""
        agents = num_agents * (2 if self.action_mode == "both" else 1)
        most = [each.most_levels or self.num_levels for each in references.values()]
        blind = sum(self._episodes_on(min(self.num_levels, each)) for each in most)
        return agents * self.num_episodes + blind

    def _episodes_on(self, num_levels: int) -> int:
        return num_levels * self.num_samples * len(self.suite.conditions)


def require_room(protocol: Protocol, num_agents: int, references: Mapping[str, Reference]) -> None:
    """Refuse a protocol that does not fit into memory.

    Raises:
      InputError: for more than MOST_EPISODES, or more levels than fit into memory.
    """
    episodes = protocol.num_episodes_of(num_agents, references)
    if episodes > MOST_EPISODES:
        raise InputError(
            f"{episodes:,} episodes requested; at most {MOST_EPISODES:,} can be played at "
            "once: lower --num-levels or --samples"
        )
    needed, free = protocol.num_levels * _LEVEL_BYTES, memory_per_device()
    if free is not None and needed > free:
        raise InputError(
            f"{protocol.num_levels:,} levels need about {needed / 1e9:.0f} GB of memory; there are "
            f"{free / 1e9:.0f} GB: lower --num-levels"
        )


def make_arena(
    env_config: EnvConfig, controllers: Mapping[str, Controller], protocol: Protocol
) -> Arena:
    """The suite's conditions on its held-out levels.

    Args:
      env_config: of training; it applies here too, except where a condition overrides it.
      controllers: by name.

    Raises:
      InputError: if there are too few levels of a kind.
    """
    testbed, conditions = testbed_of(env_config), protocol.suite.conditions
    levels, seeds, level_index = testbed.choose_levels(
        conditions, env_config, protocol.num_levels, protocol.unseen_by
    )
    env = testbed.evaluation_env(env_config)
    episodes = level_index.size * protocol.num_samples
    return Arena(
        testbed=testbed,
        env=env,
        params=testbed.evaluation_params(env, levels),
        conditions=conditions,
        overrides=_overrides(env_config, protocol.suite),
        level_seeds=seeds,
        level_index=level_index,
        controllers=controllers,
        key=jax.random.key(protocol.seed),
        num_samples=protocol.num_samples,
        lanes=min(_LANES.get(jax.default_backend(), _MANY_LANES), episodes),
        traced=protocol.traced,
    )


def level_kinds(env_config: EnvConfig, suite: Suite) -> list[str]:
    """The kind of levels that an agent of this config plays in each condition of a suite."""
    testbed = testbed_of(env_config)
    return [testbed.level_kind(condition, env_config) for condition in suite.conditions]


def _overrides(env_config: EnvConfig, suite: Suite) -> list[dict[str, Any]]:
    testbed = testbed_of(env_config)
    return [testbed.overrides(condition, env_config) for condition in suite.conditions]


def play_all(
    arena: Arena, policies: list[str], report: Report, most_levels: Mapping[str, int | None]
) -> dict[str, Record]:
    """Play some of the arena's policies in parallel, since one alone leaves cores idle."""
    stop = threading.Event()

    def tell(policy: str, done: int) -> None:
        if stop.is_set():
            raise InterruptedError("another policy's play was ended")
        report(policy, done)

    arena.compile()
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        # The last reference starts first: it wanders, and so takes longest.
        plays = {
            policy: executor.submit(
                arena.play, policy, partial(tell, policy), most_levels.get(policy)
            )
            for policy in reversed(policies)
        }
        try:
            return {policy: plays[policy].result() for policy in policies}
        finally:
            stop.set()


def _agents(policy: Policy, action_mode: str) -> dict[str, Controller]:
    """The policy in each action mode, by name; one program serves both."""
    agent = AgentController(
        jax.device_put(policy.params), policy.network, greedy=np.bool_(action_mode == "greedy")
    )
    if action_mode == "both":
        return {AGENT: agent, GREEDY: replace(agent, greedy=np.bool_(True))}
    return {AGENT: agent}


def evaluate(
    policy: Policy,
    protocol: Protocol,
    name: str = "",
    report: Report = lambda policy, done: None,
) -> tuple[Evaluation, Arena]:
    """Play an agent and the references; also returns the arena, for replays.

    Args:
      name: of the agent's run.
    """
    references = testbed_of(policy.env_config).references(policy.env_config)
    blind = {each: reference.controller for each, reference in references.items()}
    controllers = {**_agents(policy, protocol.action_mode), **blind}
    arena = make_arena(policy.env_config, controllers, protocol)
    return _play(arena, policy, protocol, name, list(controllers), {}, report), arena


def evaluate_next(
    policy: Policy,
    protocol: Protocol,
    name: str,
    first: Evaluation,
    arena: Arena,
    report: Report = lambda policy, done: None,
) -> Evaluation:
    """Play another agent on the same levels, reusing the references' episodes.

    Raises:
      ValueError: if the agent would be evaluated on different levels.
    """
    kinds = level_kinds(policy.env_config, protocol.suite)
    if kinds != level_kinds(first.config.env, protocol.suite):
        raise ValueError(f"{name} is evaluated on different levels than the first run")
    again = arena_of(policy, protocol, arena)
    agents = [each for each in arena.controllers if each in AGENT_TITLES]
    known_plays = {each: played for each, played in first.played.items() if each not in agents}
    return _play(again, policy, protocol, name, agents, known_plays, report)


def arena_of(policy: Policy, protocol: Protocol, arena: Arena) -> Arena:
    """An arena for another agent on the same levels; it runs the same program."""
    agents = _agents(policy, protocol.action_mode)
    blind = {who: each for who, each in arena.controllers.items() if who not in agents}
    return replace(
        arena,
        env=arena.testbed.evaluation_env(policy.env_config),
        overrides=_overrides(policy.env_config, protocol.suite),
        controllers={**agents, **blind},
    )


def _play(
    arena: Arena,
    policy: Policy,
    protocol: Protocol,
    name: str,
    names: list[str],
    known: dict[str, Played],
    report: Report,
) -> Evaluation:
    references = arena.testbed.references(policy.env_config)
    most_levels = {each: reference.most_levels for each, reference in references.items()}
    records = play_all(arena, names, report, most_levels)
    decides = arena.decides[:, None, None]
    played = {
        who: Played(record, *classify(arena.testbed, arena.env, record, decides))
        for who, record in records.items()
    }
    titles = {each: reference.title for each, reference in references.items()}
    return Evaluation(
        testbed=arena.testbed,
        suite=protocol.suite,
        played={**played, **known},
        titles={**AGENT_TITLES, **titles},
        events=tuple(arena.env.events),
        level_seeds=arena.level_seeds[arena.level_index],
        run=name,
        config=policy.config,
        seed=protocol.seed,
    )
