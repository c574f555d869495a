"""Plays every condition on every level, as one queue of episodes.

A fixed number of lanes plays the queue inside one compiled program. A lane takes the next
episode once its own is decided, so a 1,000-step episode holds up one lane, not a batch.
Conditions differ in traced values and policies in a traced index, so all share the program.
Each device has its own queue, dealt round robin. An episode depends only on its level's seed, its
sample number and the key: not on the lane, the number of lanes or devices, or the other levels.

Episodes can also be watched step by step, and recorded actions can be played instead of a policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from coinrun_jax.controllers import AgentController, Controller
from coinrun_jax.record import (
    Record,
    Trace,
    deciding,
    is_decided,
    note_action,
    start_record,
    update_record,
)
from coinrun_jax.suites import Condition
from coinrun_jax.testbed import Testbed
from coinrun_jax.variants import Variants, stack

STRIDE = 8  # steps between refills of the lanes
BLOCK = 32  # lanes that a CPU plays at a time
ROUNDS = 64  # refills per call of the program, between two progress reports
_DEVICES = "device"


class _Lanes(NamedTuple):
    """The episodes being played, leading axis L."""

    slot: jax.Array  # int32, place in the queue
    condition: jax.Array  # int32
    key: jax.Array  # keys, for the actions
    state: Any  # environment state
    record: Record
    action: jax.Array  # int32, the last one taken, -1 before the first
    memory: jax.Array | None  # float32 [L, M], if any network has memory
    idle: jax.Array  # bool, decided or without an episode


class _Progress(NamedTuple):
    lanes: _Lanes
    taken: jax.Array  # int32 [], episodes taken from the queue
    stock: _Lanes  # the last L episodes prepared: starts are computed in batches
    ready: jax.Array  # int32 [], episodes prepared, taken or not
    results: Record  # [Q], by place in the queue


class _Queue(NamedTuple):
    """Episodes to play; entries beyond `length` are padding."""

    condition: jax.Array  # int32 [Q]
    level: jax.Array  # int32 [Q], index into the pool
    sample: jax.Array  # int32 [Q]
    length: jax.Array  # int32 []
    recorded: Trace | None = None  # [Q], starts and actions to replay instead of a policy's


class _Game(NamedTuple):
    """What all episodes share."""

    params: Any
    variants: Variants
    decides: jax.Array  # bool [C, K], which events decide an episode
    level_seeds: jax.Array  # uint32 [L]
    controllers: tuple[Controller, ...]
    key: jax.Array
    no_actions: jax.Array | None  # int8 [T], an empty trace; None for no traces


class Replay(NamedTuple):
    """One replayed episode."""

    states: list[Any]  # one environment state per step, starting with the reset
    actions: np.ndarray  # int32 [T], the action taken in each state but the last
    record: Record


class Watched(NamedTuple):
    """E episodes step by step, padded to the longest: a finished one repeats its last state."""

    states: Any  # environment states [T + 1, E], starting with the resets
    actions: np.ndarray  # int32 [T, E]
    record: Record  # [E]

    def episode(self, number: int) -> Replay:
        """One episode, cut to its own length."""
        record = _pick(self.record, number)
        length = min(int(record.steps), len(self.actions))
        states = [_pick(self.states, (step, number)) for step in range(length + 1)]
        return Replay(states, self.actions[:length, number], record)


def _where(choose: jax.Array, new: Any, old: Any) -> Any:
    """`jnp.where` leaf by leaf, along the leading axis; works on keys too."""

    def pick(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(choose.reshape(choose.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, new, old)


def _pick(tree: Any, index: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _stacked(*leaves: Any) -> Any:
    return (jnp if isinstance(leaves[0], jax.Array) else np).stack(leaves)  # keys stay JAX arrays


def _params_of(game: _Game, condition: jax.Array) -> Any:
    return game.params.replace(**game.variants.pick(condition))


def episode_keys(key: jax.Array, seed: jax.Array, sample: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Keys for an episode's reset and for its actions, derived from the arena's key.

    Args:
      seed: of the level.
      sample: number of the episode among those of the same condition and level.
    """
    key_reset, key_act = jax.random.split(jax.random.fold_in(key, seed))
    return key_reset, jax.random.fold_in(key_act, sample)


def _start(testbed: Testbed, env: Any, game: _Game, queue: _Queue, slot: jax.Array) -> _Lanes:
    """One lane at the start of an episode."""
    level, condition = queue.level[slot], queue.condition[slot]
    seed = game.level_seeds[level]
    key_reset, key_act = episode_keys(game.key, seed, queue.sample[slot])
    params = _params_of(game, condition)
    state = env.start(key_reset, level, params)
    if queue.recorded is not None:
        own = _pick(queue.recorded.start, slot)
        own = {name: value.astype(getattr(state, name).dtype) for name, value in own.items()}
        state = state.replace(**own)
    record = start_record(testbed, state, params, game.decides.shape[1], game.no_actions)
    size = max((getattr(each, "memory", 0) for each in game.controllers), default=0)
    # Not an empty array: with several devices, one in a loop crashes jaxlib 0.11.2.
    memory = jnp.zeros(size, jnp.float32) if size else None
    return _Lanes(slot, condition, key_act, state, record, jnp.int32(-1), memory, jnp.bool_(False))


def _recorded_action(queue: _Queue, lanes: _Lanes) -> jax.Array:
    """The next action of each lane's recording, int32 [L]; -1 after the last."""
    assert queue.recorded is not None
    at = queue.recorded.actions.at[lanes.slot, lanes.record.steps]
    return at.get(mode="fill", fill_value=-1).astype(jnp.int32)


def _busy_blocks(play: Callable[[_Lanes], _Lanes], lanes: _Lanes) -> _Lanes:
    """Play the lanes block by block, busy ones first, and skip blocks of idle lanes: towards the
    end of the queue, most lanes have nothing to do.
    """
    num_lanes = lanes.idle.size
    size = min(BLOCK, num_lanes) if jax.default_backend() == "cpu" else num_lanes
    if num_lanes % size:
        size = num_lanes
    order = jnp.argsort(lanes.idle, stable=True)

    def play_block(number: jax.Array, sorted_lanes: _Lanes) -> _Lanes:
        at = number * size
        own = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, at, size), sorted_lanes)
        return jax.tree.map(
            lambda leaf, new: jax.lax.dynamic_update_slice_in_dim(leaf, new, at, 0),
            sorted_lanes,
            play(own),
        )

    busy = num_lanes - lanes.idle.sum(dtype=jnp.int32)
    played = jax.lax.fori_loop(0, (busy + size - 1) // size, play_block, _pick(lanes, order))
    return _pick(played, jnp.argsort(order))


def _refill(start: Callable[[jax.Array], _Lanes], queue: _Queue, progress: _Progress) -> _Progress:
    """Give idle lanes the next episodes; `start` prepares a batch, given places in the queue."""
    lanes, taken, stock, ready, _ = progress
    num_lanes = lanes.idle.size
    stock, ready = jax.lax.cond(
        (taken == ready) & (taken < queue.length),
        lambda: (start(taken + np.arange(num_lanes, dtype=np.int32)), ready + num_lanes),
        lambda: (stock, ready),
    )
    place = taken + jnp.cumsum(lanes.idle, dtype=jnp.int32) - 1
    begins = lanes.idle & (place < jnp.minimum(ready, queue.length))
    own = jnp.clip(place - ready + num_lanes, 0, num_lanes - 1)
    lanes = _where(begins, _pick(stock, own), lanes)
    return progress._replace(
        lanes=lanes, taken=taken + begins.sum(dtype=taken.dtype), stock=stock, ready=ready
    )


def _play_rounds(
    testbed: Testbed,
    env: Any,
    game: _Game,
    which: jax.Array,
    stride: jax.Array,
    rounds: jax.Array,
    queue: _Queue,
    progress: _Progress,
) -> _Progress:
    """Up to `rounds` times: give idle lanes an episode, then play `stride` steps.

    `which` is the index of the controller that plays; ignored if recorded actions are played.
    """

    def see(condition: jax.Array, state: Any) -> jax.Array:
        return env.observe(game.key, state, None, _params_of(game, condition))

    def act(
        controller: Controller, keys: jax.Array, conditions: jax.Array, *lanes: Any
    ) -> tuple[jax.Array, jax.Array]:
        states, memory = lanes
        seen = jax.vmap(see)(conditions, states)
        if isinstance(controller, AgentController) and controller.memory:
            return controller.remember(keys, seen, memory)
        return controller.act(keys, seen, states, game.params), memory

    branches = [partial(act, controller) for controller in game.controllers]

    def move(
        record: Record, condition: jax.Array, state: Any, action: jax.Array
    ) -> tuple[Record, Any]:
        params = _params_of(game, condition)
        _, state, reward, _, info = env.step_env(game.key, state, action, params)
        record = note_action(record, action)
        return update_record(testbed, record, state, params, reward, info), state

    def step(_: jax.Array, lanes: _Lanes) -> _Lanes:
        if queue.recorded is None:
            keys = jax.vmap(jax.random.fold_in)(lanes.key, lanes.record.steps)
            own = keys, lanes.condition, lanes.state, lanes.memory
            actions, memory = jax.lax.switch(which, branches, *own)
        else:
            actions, memory = _recorded_action(queue, lanes), lanes.memory
        record, state = jax.vmap(move)(lanes.record, lanes.condition, lanes.state, actions)
        before = lanes.record, lanes.state, lanes.action, lanes.memory
        record, state, action, memory = _where(lanes.idle, before, (record, state, actions, memory))
        lanes = lanes._replace(record=record, state=state, action=action, memory=memory)
        idle = lanes.idle | jax.vmap(is_decided)(record, game.decides[lanes.condition])
        if queue.recorded is not None:
            idle |= _recorded_action(queue, lanes) < 0
        return lanes._replace(idle=idle)

    start = jax.vmap(partial(_start, testbed, env, game, queue))

    def one_round(carry: tuple[jax.Array, _Progress]) -> tuple[jax.Array, _Progress]:
        count, progress = carry
        progress = _refill(start, queue, progress)
        lanes = progress.lanes
        played = _busy_blocks(lambda own: jax.lax.fori_loop(0, stride, step, own), lanes)
        ended = jnp.where(played.idle & ~lanes.idle, played.slot, queue.level.shape[0])
        results = jax.tree.map(
            lambda leaf, own: leaf.at[ended].set(own, mode="drop"),
            progress.results,
            played.record,
        )
        return count + 1, progress._replace(lanes=played, results=results)

    def goes_on(carry: tuple[jax.Array, _Progress]) -> jax.Array:
        count, progress = carry
        unfinished = (progress.taken < queue.length) | ~progress.lanes.idle.all()
        return (count < rounds) & unfinished

    return jax.lax.while_loop(goes_on, one_round, (jnp.int32(0), progress))[1]


@partial(jax.jit, static_argnames=("testbed", "env", "mesh"), donate_argnames="progress")
def _advance(
    testbed: Testbed,
    env: Any,
    mesh: Mesh,
    game: _Game,
    which: jax.Array,
    stride: jax.Array,
    rounds: jax.Array,
    queue: _Queue,
    progress: _Progress,
) -> _Progress:
    """`_play_rounds` on every device; `queue` and `progress` have a leading device axis."""

    def on_one(*arguments: Any) -> _Progress:
        *shared, queue, progress = arguments
        played = _play_rounds(testbed, env, *shared, *_pick((queue, progress), 0))
        return jax.tree.map(lambda leaf: leaf[None], played)

    everywhere, each = PartitionSpec(), PartitionSpec(_DEVICES)
    return jax.shard_map(
        on_one,
        mesh=mesh,
        in_specs=(everywhere,) * 4 + (each,) * 2,
        out_specs=each,
        check_vma=False,  # devices take different numbers of rounds
    )(game, which, stride, rounds, queue, progress)


@partial(jax.jit, static_argnames=("testbed", "env", "num_lanes"))
def _nothing_played(
    testbed: Testbed, env: Any, game: _Game, queue: _Queue, num_lanes: int
) -> _Progress:
    """All lanes idle and no results, with the device axis of `queue`."""
    num_devices, size = queue.level.shape
    start = jax.vmap(partial(_start, testbed, env, game, _pick(queue, 0)))
    shapes = jax.eval_shape(start, jax.ShapeDtypeStruct((num_lanes,), jnp.int32))
    lanes = jax.tree.map(
        lambda leaf: jnp.zeros((num_devices, *leaf.shape), leaf.dtype), shapes
    )._replace(idle=jnp.ones((num_devices, num_lanes), bool))
    results = jax.tree.map(
        lambda leaf: jnp.zeros((num_devices, size, *leaf.shape[1:]), leaf.dtype), shapes.record
    )
    none = jnp.zeros(num_devices, jnp.int32)
    return _Progress(lanes, none, lanes, none, results)


def _is_finished(progress: _Progress, queue: _Queue) -> bool:
    idle, taken, length = jax.device_get((progress.lanes.idle, progress.taken, queue.length))
    return bool(idle.all() and (taken == length).all())


@dataclass(frozen=True)
class Arena:
    """C conditions x N levels x S samples, for any of a set of policies."""

    testbed: Testbed
    env: Any
    params: Any
    """Holds the levels."""
    conditions: tuple[Condition, ...]
    overrides: Sequence[Mapping[str, Any]]
    """Fields of `params` that each of the C conditions sets."""
    level_seeds: np.ndarray
    """uint32 [L], of the levels in `params`."""
    level_index: np.ndarray
    """int32 [C, N], the levels of each condition, as indices into those of `params`."""
    controllers: Mapping[str, Controller]
    """By name; all are compiled into one program."""
    key: jax.Array
    num_samples: int = 1
    """Episodes per condition and level: same start, different action keys."""
    lanes: int = 256
    """Episodes that a device plays at a time."""
    traced: bool = False
    """Whether records hold traces, from which episodes can be replayed."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of conditions, levels and samples (C, N, S)."""
        return (*self.level_index.shape, self.num_samples)

    @cached_property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(jax.local_devices()), (_DEVICES,))

    @cached_property
    def decides(self) -> np.ndarray:
        """Bool [C, K], which of the environment's events decide an episode."""
        return np.stack([deciding(self.testbed, self.env.events, c) for c in self.conditions])

    @cached_property
    def variants(self) -> Variants:
        """The overrides, selected by a traced index."""
        return stack(self.overrides)

    @cached_property
    def _game(self) -> _Game:
        steps = int(self.params.max_steps_in_episode)
        no_actions = jnp.full(steps, -1, jnp.int8) if self.traced else None
        return _Game(
            params=self.params,
            variants=self.variants,
            decides=jnp.asarray(self.decides),
            level_seeds=jnp.asarray(self.level_seeds, jnp.uint32),
            controllers=tuple(self.controllers.values()),
            key=self.key,
            no_actions=no_actions,
        )

    def params_of(self, condition: int) -> Any:
        """The environment's params of one of the conditions."""
        return _params_of(self._game, jnp.int32(condition))

    def painter(self, condition: int, art: str | None = None) -> Callable[[Any, int], np.ndarray]:
        """A renderer of a condition's states for people: (state, size) -> uint8 [size, size, 3].

        Args:
          art: see `Testbed.require_art`; by default that of the observations.
        """
        params = self.params_of(condition)
        chosen = {} if art is None else {"art": art}
        return lambda state, size: np.asarray(self.env.render(state, params, size, **chosen))

    def compile(self) -> None:
        """Compile in advance what `play`, `watch` and `replay` otherwise compile on first use."""
        queue = self._queue(np.zeros((3, 0), np.int32))
        policy = next(iter(self.controllers))
        jax.block_until_ready(self._advance(policy, queue, self._nothing_played(queue), 0, 0))

    def play(
        self,
        policy: str,
        report: Callable[[int], None] = lambda done: None,
        most_levels: int | None = None,
    ) -> Record:
        """Play every episode with one of the policies.

        Args:
          report: called now and then with the number of episodes started; an exception from it
            stops the run.
          most_levels: play only the first M levels of each condition.

        Returns:
          `Record` of numpy arrays [C, N, S], or [C, M, S].
        """
        conditions, levels, samples = self.shape
        shape = (conditions, min(levels, most_levels or levels), samples)
        record = self._play(policy, self._queue(np.indices(shape, np.int32).reshape(3, -1)), report)
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), record)

    def play_recorded(self, episodes: np.ndarray, recorded: Trace) -> Record:
        """Replay recorded actions from recorded starts, up to the outcome or the last action.

        Args:
          episodes: int [3, E], condition, level of the condition, and sample of each.
          recorded: [E]; compiled anew for each E.

        Returns:
          `Record` of numpy arrays [E].
        """
        return self._play(None, self._queue(episodes, recorded))

    def _play(
        self, policy: str | None, queue: _Queue, report: Callable[[int], None] = lambda done: None
    ) -> Record:
        """Play all episodes of a queue; numpy [E]."""
        progress = self._nothing_played(queue)
        while not _is_finished(progress, queue):
            progress = self._advance(policy, queue, progress, STRIDE, ROUNDS)
            report(int(progress.taken.sum()))
        count = int(queue.length.sum())
        return jax.tree.map(
            lambda leaf: leaf.swapaxes(0, 1).reshape(-1, *leaf.shape[2:])[:count],
            jax.device_get(progress.results),
        )

    def watch(
        self,
        policy: str,
        episodes: Sequence[tuple[int, int, int]] | np.ndarray,
        most_steps: int | None = None,
    ) -> Watched:
        """Play the given (condition, level, sample) episodes and keep every state.

        Args:
          episodes: `level` is an index into the condition's levels.
          most_steps: per episode; longer ones are cut off there.

        Raises:
          ValueError: for more episodes than lanes.
        """
        if len(episodes) > self.lanes:
            raise ValueError(f"{len(episodes)} episodes do not fit into {self.lanes} lanes")
        queue = self._queue(np.array(episodes, np.int32).T)
        progress = self._advance(policy, queue, self._nothing_played(queue), 0, 1)
        number = np.arange(len(episodes))
        place = number % self._mesh.size, number // self._mesh.size

        def seen(leaves: Any) -> Any:
            return _pick(jax.device_get(leaves), place)

        states = [seen(progress.lanes.state)]
        actions: list[np.ndarray] = []
        while not _is_finished(progress, queue) and len(actions) != most_steps:
            progress = self._advance(policy, queue, progress, 1, 1)
            state, action = seen((progress.lanes.state, progress.lanes.action))
            states.append(state)
            actions.append(action)
        return Watched(
            jax.tree.map(_stacked, *states),
            np.array(actions, np.int32).reshape(-1, len(episodes)),
            seen(progress.lanes.record),
        )

    def replay(self, policy: str, episodes: Sequence[tuple[int, int, int]]) -> list[Replay]:
        """The given episodes in full, one `Replay` each; arguments as for `watch`."""
        watched = self.watch(policy, episodes)
        return [watched.episode(number) for number in range(len(episodes))]

    def _queue(self, episodes: np.ndarray, recorded: Trace | None = None) -> _Queue:
        """The given episodes [3, n], dealt to the devices.

        Padded to the total number of episodes, so that all queues share a program, except for
        recorded episodes.
        """
        devices, count = self._mesh.size, episodes.shape[1]
        size = -(-(int(np.prod(self.shape)) if recorded is None else count) // devices)

        def deal(column: Any) -> jax.Array:
            column = np.asarray(column)
            rest = [(0, devices * size - count), *[(0, 0)] * (column.ndim - 1)]
            padded = np.pad(column, rest).reshape(size, devices, *column.shape[1:])
            return jnp.asarray(padded.swapaxes(0, 1))

        level = self.level_index[episodes[0], episodes[1]]
        condition, level, sample = (
            deal(column.astype(np.int32)) for column in (episodes[0], level, episodes[2])
        )
        lengths = [len(range(device, count, devices)) for device in range(devices)]
        length = jnp.asarray(lengths, jnp.int32)
        return _Queue(condition, level, sample, length, jax.tree.map(deal, recorded))

    def _nothing_played(self, queue: _Queue) -> _Progress:
        empty = _nothing_played(self.testbed, self.env, self._game, queue, self.lanes)
        # Sharded as `_advance` returns it; otherwise `_advance` would be compiled twice.
        return jax.device_put(empty, NamedSharding(self._mesh, PartitionSpec(_DEVICES)))

    def _advance(
        self, policy: str | None, queue: _Queue, progress: _Progress, stride: int, rounds: int
    ) -> _Progress:
        return _advance(
            self.testbed,
            self.env,
            self._mesh,
            self._game,
            jnp.int32(0 if policy is None else list(self.controllers).index(policy)),
            jnp.int32(stride),
            jnp.int32(rounds),
            queue,
            progress,
        )
