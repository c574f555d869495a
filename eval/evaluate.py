"""Agents and the reference policies through one suite."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np

import coinrun_jax
from coinrun_jax.checks import InputError
from coinrun_jax.hardware import memory_per_device
from eval.controllers import AgentController, Controller, references
from eval.levels import choose_levels
from eval.outcomes import Record, classify
from eval.results import AGENT, GREEDY, POLICY_TITLES, Evaluation, Played, Trained
from eval.rollout import Arena
from eval.suites import Suite
from eval.variants import Variants, stack
from train.config import EnvConfig
from train.policy import Policy

Report = Callable[[str, int], None]
"""Told now and then: (policy, episodes taken up)."""
MOST_LEVELS = {"random": 1000}
"""Levels of each condition that a policy plays at most. A random one is lost for hundreds of
steps where others are done in fifty, and nothing is measured against it."""
MOST_SAMPLES = 1000
MOST_EPISODES = 20_000_000
"""Of all policies. Each takes about 130 bytes of `episodes.csv`, and as many of memory."""
_LEVEL_BYTES = 140_000
"""That a level takes while the arena's levels are made ready, which is all at once."""
_LANES = {"cpu": 256}
_MANY_LANES = 8192  # on accelerators


@dataclass(frozen=True)
class Protocol:
    """How agents are played."""

    suite: Suite
    num_levels: int = 1000
    """Levels of each condition."""
    num_samples: int = 1
    """Episodes per condition and level; they differ in the draws of actions only."""
    seed: int = 0
    """Of coins, actions and resampling."""
    action_mode: str = "sample"
    """Of `controllers.ACTION_MODES`: actions drawn from the policy, its likeliest ones, or an
    agent's row for either."""
    traced: bool = False
    """Whether records hold traces."""
    unseen_by: int = 0
    """No level has the layout of one of the first so many level seeds, those of training."""

    @property
    def num_episodes(self) -> int:
        """Of an agent that plays once."""
        return self._episodes_on(self.num_levels)

    def num_episodes_of(self, num_agents: int) -> int:
        """Of so many agents, in each way that they act, and of the references."""
        agents = num_agents * (2 if self.action_mode == "both" else 1)
        blind = [policy for policy in POLICY_TITLES if policy not in (AGENT, GREEDY)]
        levels = [min(self.num_levels, MOST_LEVELS.get(each, self.num_levels)) for each in blind]
        return agents * self.num_episodes + sum(map(self._episodes_on, levels))

    def _episodes_on(self, num_levels: int) -> int:
        return num_levels * self.num_samples * len(self.suite.conditions)


def require_room(protocol: Protocol, num_agents: int) -> None:
    """Refuse what cannot be held, or not be counted.

    Raises:
      InputError: for more than MOST_EPISODES, or more levels than memory has room for.
    """
    episodes = protocol.num_episodes_of(num_agents)
    if episodes > MOST_EPISODES:
        raise InputError(
            f"{episodes:,} episodes are asked for; at most {MOST_EPISODES:,} are played at once: "
            "lower --num-levels or --samples"
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
      env_config: of training; what it shows is shown here but for what a condition changes.
      controllers: by name, who plays.
      protocol: what is played.

    Raises:
      InputError: where there are not as many levels of a kind.
    """
    suite = protocol.suite
    levels, level_index = choose_levels(
        suite, env_config.mode, protocol.num_levels, protocol.unseen_by
    )
    episodes = level_index.size * protocol.num_samples
    return Arena(
        env=coinrun_jax.CoinRun(env_config.mode, env_config.observation),
        params=coinrun_jax.EnvParams.on_levels(levels),
        variants=_variants(suite, env_config),
        level_index=level_index,
        controllers=controllers,
        key=jax.random.key(protocol.seed),
        num_samples=protocol.num_samples,
        lanes=min(_LANES.get(jax.default_backend(), _MANY_LANES), episodes),
        traced=protocol.traced,
    )


def _variants(suite: Suite, env_config: EnvConfig) -> Variants:
    cues, items = env_config.cues.arguments(), env_config.items.arguments()
    return stack([condition.settings(cues, items) for condition in suite.conditions])


def play_all(arena: Arena, policies: list[str], report: Report) -> dict[str, Record]:
    """Some of the arena's policies, side by side: one alone leaves cores idle."""
    stop = threading.Event()

    def tell(policy: str, done: int) -> None:
        if stop.is_set():
            raise InterruptedError("another policy's play was ended")
        report(policy, done)

    arena.compile()
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        # The last reference takes longest: it is mostly lost.
        plays = {
            policy: executor.submit(
                arena.play, policy, partial(tell, policy), MOST_LEVELS.get(policy)
            )
            for policy in reversed(policies)
        }
        try:
            return {policy: plays[policy].result() for policy in policies}
        finally:
            stop.set()


def _agents(policy: Policy, action_mode: str) -> dict[str, Controller]:
    """The policy by name; one program serves both ways to act."""
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
    blind = references(policy.env_config.cues.mirrored)
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
    """Play another agent on the same levels, beside the references that were played before.

    Raises:
      ValueError: for an agent of another mode, whose levels are others.
    """
    if policy.env_config.mode != arena.env.mode:
        raise ValueError(
            f"{name} was trained on {policy.env_config.mode} levels, the first run on "
            f"{arena.env.mode} ones: they cannot be compared"
        )
    env = arena.env
    if policy.env_config.observation != env.observation:
        env = coinrun_jax.CoinRun(env.mode, policy.env_config.observation, num_levels=1)
    agents = _agents(policy, protocol.action_mode)
    again = replace(
        arena,
        env=env,
        variants=_variants(protocol.suite, policy.env_config),
        controllers={**agents, **references()},  # the same program as the first one's
    )
    known = {name: played for name, played in first.played.items() if name not in agents}
    return _play(again, policy, protocol, name, list(agents), known, report)


def _play(
    arena: Arena,
    policy: Policy,
    protocol: Protocol,
    name: str,
    names: list[str],
    known: dict[str, Played],
    report: Report,
) -> Evaluation:
    records = play_all(arena, names, report)
    played = {who: Played(r, *classify(r, arena.env.outcomes)) for who, r in records.items()}
    levels = arena.params.pool.levels
    return Evaluation(
        suite=protocol.suite,
        played={**played, **known},
        level_seeds=np.asarray(levels.seed)[arena.level_index],
        end_cells=np.asarray(levels.end_cell)[arena.level_index],
        trained=Trained(
            name, policy.config.seed, policy.env_config.p_moved, policy.env_config.placement
        ),
        seed=protocol.seed,
    )
