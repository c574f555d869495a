"""Playing every condition on every level, as one queue of episodes.

A fixed number of lanes plays the queue inside one compiled program: a lane whose episode is
decided takes the next one, so that an episode of 1,000 steps holds up one lane and not a
batch. Conditions differ in traced numbers, policies by a traced index, and all three share
the program. What an episode does depends on its level's seed, its sample number and the
key alone: not on the lane, the number of lanes, or the other levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax import CoinPlacement, EnvParams
from eval.controllers import Controller
from eval.outcomes import Record, is_decided, start_record, update_record

STRIDE = 8  # steps between refills of the lanes
ROUNDS = 64  # refills in one call of the program, between two reports of progress


class _Lanes(NamedTuple):
    """The episodes being played, leading axis L."""

    slot: jax.Array  # int32, place in the queue
    key: jax.Array  # keys, for the actions
    state: Any  # environment state
    record: Record
    idle: jax.Array  # bool, decided or without an episode


class _Progress(NamedTuple):
    lanes: _Lanes
    taken: jax.Array  # int32 [], episodes taken from the queue
    results: Record  # [Q], by place in the queue


class _Queue(NamedTuple):
    """Episodes to play; entries beyond `length` are padding."""

    condition: jax.Array  # int32 [Q]
    level: jax.Array  # int32 [Q], index into the pool
    sample: jax.Array  # int32 [Q]
    length: jax.Array  # int32 []


class Replay(NamedTuple):
    """One episode, played again."""

    states: list[Any]  # one environment state per step, the one after the reset first
    record: Record


def _where(choose: jax.Array, new: Any, old: Any) -> Any:
    """Leaf by leaf along the leading axis; keys included."""

    def pick(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(choose.reshape(choose.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, new, old)


def _pick(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _start(
    env: Any,
    params: EnvParams,
    placements: CoinPlacement,
    key: jax.Array,
    queue: _Queue,
    slot: jax.Array,
) -> _Lanes:
    """One lane at the start of an episode; a slot beyond the queue gives an idle lane."""
    level = queue.level[slot]
    key = jax.random.fold_in(key, params.pool.levels.seed[level])
    key_reset, key_act = jax.random.split(jax.random.fold_in(key, queue.sample[slot]))
    placement = jax.tree.map(lambda leaf: leaf[queue.condition[slot]], placements)
    _, state = env.reset_to_level(key_reset, level, params.replace(placement=placement))
    return _Lanes(slot, key_act, state, start_record(state), slot >= queue.length)


@partial(jax.jit, static_argnames="env", donate_argnames="progress")
def _advance(
    env: Any,
    params: EnvParams,
    placements: CoinPlacement,
    controllers: tuple[Controller, ...],
    which: jax.Array,
    key: jax.Array,
    queue: _Queue,
    progress: _Progress,
    stride: jax.Array,
    rounds: jax.Array,
) -> _Progress:
    """Up to `rounds` times: give idle lanes an episode, then play `stride` steps.

    `which` is the index of the controller that plays.
    """
    see = jax.vmap(lambda state: env.observe(key, state, None, params))
    start = jax.vmap(partial(_start, env, params, placements, key, queue))

    def act(controller: Controller, keys: jax.Array, states: Any) -> jax.Array:
        return controller.act(keys, see(states), states)

    branches = [partial(act, controller) for controller in controllers]

    def move(record: Record, state: Any, action: jax.Array) -> tuple[Record, Any]:
        _, state, reward, _, info = env.step_env(key, state, action, params)
        return update_record(record, state, reward, info), state

    def step(_: jax.Array, lanes: _Lanes) -> _Lanes:
        keys = jax.vmap(jax.random.fold_in)(lanes.key, lanes.state.time)
        actions = jax.lax.switch(which, branches, keys, lanes.state)
        moved = jax.vmap(move)(lanes.record, lanes.state, actions)
        record, state = _where(lanes.idle, (lanes.record, lanes.state), moved)
        idle = lanes.idle | jax.vmap(is_decided)(record)
        return lanes._replace(record=record, state=state, idle=idle)

    def one_round(carry: tuple[jax.Array, _Progress]) -> tuple[jax.Array, _Progress]:
        count, (lanes, taken, results) = carry
        slot = jnp.minimum(taken + jnp.cumsum(lanes.idle) - 1, queue.length)
        taken = jnp.minimum(taken + lanes.idle.sum(), queue.length)
        lanes = _where(lanes.idle, start(slot), lanes)
        played = jax.lax.fori_loop(0, stride, step, lanes)
        ended = jnp.where(played.idle & ~lanes.idle, played.slot, queue.level.shape[0])
        results = jax.tree.map(
            lambda leaf, own: leaf.at[ended].set(own, mode="drop"), results, played.record
        )
        return count + 1, _Progress(played, taken, results)

    def goes_on(carry: tuple[jax.Array, _Progress]) -> jax.Array:
        count, (lanes, taken, _) = carry
        return (count < rounds) & ((taken < queue.length) | ~lanes.idle.all())

    return jax.lax.while_loop(goes_on, one_round, (jnp.int32(0), progress))[1]


@partial(jax.jit, static_argnames=("env", "num_lanes"))
def _nothing_played(
    env: Any,
    params: EnvParams,
    placements: CoinPlacement,
    key: jax.Array,
    queue: _Queue,
    num_lanes: int,
) -> _Progress:
    """All lanes idle, and no results."""
    start = jax.vmap(partial(_start, env, params, placements, key, queue))
    shapes = jax.eval_shape(start, jax.ShapeDtypeStruct((num_lanes,), jnp.int32))
    lanes = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    size = queue.level.shape[0]
    results = jax.tree.map(
        lambda leaf: jnp.zeros((size, *leaf.shape[1:]), leaf.dtype), shapes.record
    )
    idle = jnp.ones(num_lanes, bool)
    return _Progress(lanes._replace(idle=idle), jnp.int32(0), results)


def _is_finished(progress: _Progress, queue: _Queue) -> bool:
    idle, taken, length = jax.device_get((progress.lanes.idle, progress.taken, queue.length))
    return bool(idle.all() and taken == length)


@dataclass(frozen=True)
class Arena:
    """C conditions x N levels x S samples, for any of a set of policies."""

    env: Any
    params: EnvParams
    """Its pool holds the N levels."""
    placements: CoinPlacement
    """Leading axis C."""
    controllers: Mapping[str, Controller]
    """By name; all of them are compiled into one program."""
    key: jax.Array
    num_samples: int = 1
    """Episodes per condition and level; they differ in the actions' keys and the coin's."""
    lanes: int = 256
    """Episodes played at a time."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of conditions, levels and samples (C, N, S)."""
        num_conditions = self.placements.probability.shape[0]
        return num_conditions, self.params.pool.drawable.shape[0], self.num_samples

    def compile(self) -> None:
        """Compile what `play` and `replay` run, which they would do by themselves."""
        queue = self._queue(np.zeros((3, 0), np.int32))
        policy = next(iter(self.controllers))
        jax.block_until_ready(self._advance(policy, queue, self._nothing_played(queue), 0, 0))

    def play(self, policy: str, report: Callable[[int], None] = lambda done: None) -> Record:
        """Play every episode with one of the policies.

        Args:
          report: is told now and then how many episodes have been taken up; what it raises
            ends the play.

        Returns:
          `Record` of numpy arrays [C, N, S].
        """
        every = np.indices(self.shape, np.int32).reshape(3, -1)
        queue = self._queue(every)
        progress = self._nothing_played(queue)
        while not _is_finished(progress, queue):
            progress = self._advance(policy, queue, progress, STRIDE, ROUNDS)
            report(int(progress.taken))
        results = jax.device_get(progress.results)
        return jax.tree.map(lambda leaf: leaf.reshape(*self.shape, *leaf.shape[1:]), results)

    def replay(self, policy: str, episodes: Sequence[tuple[int, int, int]]) -> list[Replay]:
        """Play given episodes again, by (condition, level, sample), and keep every state.

        Raises:
          ValueError: for more episodes than lanes.
        """
        if len(episodes) > self.lanes:
            raise ValueError(f"{len(episodes)} episodes are more than {self.lanes} lanes")
        queue = self._queue(np.array(episodes, np.int32).T)
        progress = self._advance(policy, queue, self._nothing_played(queue), 0, 1)
        states = []
        while True:
            states.append(jax.device_get(progress.lanes.state))
            if _is_finished(progress, queue):
                break
            progress = self._advance(policy, queue, progress, 1, 1)
        results = jax.device_get(progress.results)
        replays = []
        for lane in range(len(episodes)):
            record = _pick(results, lane)
            own = [_pick(state, lane) for state in states[: int(record.steps) + 1]]
            replays.append(Replay(own, record))
        return replays

    def _queue(self, episodes: np.ndarray) -> _Queue:
        """The given episodes [3, n], padded to the size that holds all of them."""
        padding = int(np.prod(self.shape)) - episodes.shape[1]
        columns = np.pad(episodes, ((0, 0), (0, padding)))
        condition, level, sample = map(jnp.asarray, columns)
        return _Queue(condition, level, sample, jnp.int32(episodes.shape[1]))

    def _nothing_played(self, queue: _Queue) -> _Progress:
        return _nothing_played(self.env, self.params, self.placements, self.key, queue, self.lanes)

    def _advance(
        self, policy: str, queue: _Queue, progress: _Progress, stride: int, rounds: int
    ) -> _Progress:
        return _advance(
            self.env,
            self.params,
            self.placements,
            tuple(self.controllers.values()),
            jnp.int32(list(self.controllers).index(policy)),
            self.key,
            queue,
            progress,
            jnp.int32(stride),
            jnp.int32(rounds),
        )
