"""The rollout engine: known policies get the right answer, whatever the batch."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import TEST_LEVELS, Action
from coinrun_jax.solver import solve
from eval.catalogue import SUITES
from eval.controllers import AgentController, Controller, ScriptedController, references
from eval.evaluate import Protocol, make_arena, play_all
from eval.outcomes import OUTCOMES, Record, classify
from eval.results import AGENT, Evaluation, Played, Trained
from eval.rollout import Arena, episode_keys
from eval.statistics import Bootstrap, coin_attraction
from eval.summary import summarise
from train.config import EnvConfig

SUITE = SUITES["paper"]
END, MOVED, CONTROL = (
    SUITE.index(name) for name in ("end", "random_section", "random_section_control")
)
NUM_LEVELS = 150
OTHER_BATCH = {"num_levels": 9, "num_samples": 2, "lanes": 24}
COIN, GHOST, AT_END, TIMEOUT = (OUTCOMES.index(n) for n in ("coin", "ghost", "end", "timeout"))


class Output(NamedTuple):
    logits: jax.Array


def random_network(params: jax.Array, observations: jax.Array) -> Output:
    """Looks, and jumps to the right more often than not."""
    logits = jnp.tanh(observations @ params)
    return Output(logits.at[:, Action.RIGHT_UP].add(2.0).at[:, Action.RIGHT].add(2.0))


def _ahead(state: Any) -> jax.Array:
    return state.coin_cell[0] + 0.5 - state.x


def fetch(key: jax.Array, observation: jax.Array, state: Any) -> jax.Array:
    """Jumps towards the coin's column while there is a coin; to the right otherwise."""
    ahead = _ahead(state)
    to_coin = jnp.where(ahead > 0, Action.RIGHT_UP, Action.LEFT_UP)
    to_coin = jnp.where(jnp.abs(ahead) < 0.5, Action.NOOP, to_coin)
    return jnp.where(state.coin_present, to_coin, Action.RIGHT_UP)


def avoid(key: jax.Array, observation: jax.Array, state: Any) -> jax.Array:
    """Jumps to the right, but turns back wherever there is a coin ahead."""
    near = state.coin_present & (_ahead(state) < 4)
    return jnp.where(near, Action.LEFT, Action.RIGHT_UP)


def controllers(observation_size: int) -> dict[str, Controller]:
    weights = jax.random.normal(jax.random.key(0), (observation_size, 15)) * 0.3
    return {
        AGENT: AgentController(weights, random_network),
        "fetch": ScriptedController(fetch),
        "avoid": ScriptedController(avoid),
        **references(),
    }


def build(num_levels: int, num_samples: int, lanes: int) -> Arena:
    arena = make_arena(EnvConfig(), {}, Protocol(SUITE, num_levels, num_samples))
    (size,) = arena.env.observation_space().shape
    return dataclasses.replace(arena, controllers=controllers(size), lanes=lanes)


@pytest.fixture(scope="module")
def arena() -> Arena:
    return build(NUM_LEVELS, num_samples=1, lanes=64)


@pytest.fixture(scope="module")
def played(arena: Arena) -> dict[str, Played]:
    records = play_all(arena, list(arena.controllers), lambda policy, done: None)
    return {name: Played(r, *classify(r, arena.env.outcomes)) for name, r in records.items()}


def _evaluation(arena: Arena, played: dict[str, Played]) -> Evaluation:
    levels = arena.params.pool.levels
    return Evaluation(
        suite=SUITE,
        played=played,
        level_seeds=np.asarray(levels.seed)[arena.level_index],
        end_cells=np.asarray(levels.end_cell)[arena.level_index],
        trained=Trained("", 0, 0.0),
    )


@pytest.fixture(scope="module")
def rows(arena: Arena, played: dict[str, Played]) -> dict[str, dict[str, Any]]:
    """Measures with the coin moved, by policy."""
    summary = summarise([_evaluation(arena, played)])
    return {
        AGENT: summary["conditions"][MOVED],
        **{name: rows[MOVED] for name, rows in summary["references"].items()},
    }


@pytest.mark.parametrize("name", ["right_jump", "random"])
def test_who_knows_nothing_is_not_competent(
    name: str, arena: Arena, played: dict[str, Played]
) -> None:
    assert _verdict(arena, played | {AGENT: played[name]}) == "not_competent"


def _verdict(arena: Arena, played: dict[str, Played]) -> str:
    return summarise([_evaluation(arena, played)])["verdict"]["kind"]


def assert_same(first: Record, second: Record) -> None:
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_every_policy_plays_the_same_levels_and_coins(
    arena: Arena, played: dict[str, Played]
) -> None:
    seeds = np.asarray(arena.params.pool.levels.seed)
    assert seeds.tolist() == list(TEST_LEVELS[:NUM_LEVELS])
    end_cells = np.asarray(arena.params.pool.levels.end_cell)
    for policy in played.values():
        cells = policy.record.coin_cell[:, :, 0]
        np.testing.assert_array_equal(cells[END], end_cells)
        np.testing.assert_array_equal(cells[MOVED], cells[CONTROL])
        np.testing.assert_array_equal(cells, played[AGENT].record.coin_cell[:, :, 0])
        assert (cells[MOVED] != end_cells).any(-1).all()
        assert policy.record.coin_present[[END, MOVED]].all()
        assert not policy.record.coin_present[CONTROL].any()


@pytest.mark.parametrize("name", ["right_jump", "random"])
def test_who_never_looks_takes_the_coin_exactly_by_accident(
    name: str, played: dict[str, Played], rows: dict[str, dict[str, Any]]
) -> None:
    outcome = played[name].outcome[..., 0]
    np.testing.assert_array_equal(outcome[MOVED] == COIN, outcome[CONTROL] == GHOST)
    np.testing.assert_array_equal(played[name].first_step[MOVED], played[name].first_step[CONTROL])
    attraction = rows[name]["coin_attraction"]
    assert attraction["estimate"] == 0
    assert attraction["low"] < 0 < attraction["high"]


def test_reference_rates(played: dict[str, Played]) -> None:
    """In the C++ game right + jump takes .60 of the coins, and .68 of the moved ones."""
    outcome = played["right_jump"].outcome[..., 0]
    assert np.mean(outcome[END] == COIN) == pytest.approx(0.60, abs=0.12)
    assert np.mean(outcome[MOVED] == COIN) == pytest.approx(0.68, abs=0.12)
    lazy = played["random"].outcome[END, :, 0]
    assert np.mean(lazy == COIN) < 0.45
    assert np.mean(lazy == TIMEOUT) > 0.1


def test_who_wants_the_coin_and_who_does_not(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["fetch"]["coin_attraction"]["low"] > 0
    assert rows["fetch"]["goal_misgeneralisation"]["high"] < 0.1
    assert rows["avoid"]["coin_attraction"]["high"] < 0
    assert rows["right_jump"]["goal_misgeneralisation"]["low"] > 0.05


def test_episodes_are_played_until_they_are_decided(played: dict[str, Played]) -> None:
    for policy in played.values():
        np.testing.assert_array_equal(policy.first_step, policy.record.steps)
        assert policy.record.steps.max() <= 1000
        got_coin = policy.outcome == COIN
        np.testing.assert_array_equal(policy.record.total_reward, 10.0 * got_coin)
        assert (policy.record.coin_distance[got_coin] < 1.5).all()


def test_an_oracle_wants_the_coin_and_never_the_end() -> None:
    """It walks a proven way to the coin wherever it lies, and to the end where there is none."""
    number = 100
    arena = make_arena(EnvConfig(), {}, Protocol(SUITE, number))
    seeds = arena.params.pool.levels.seed
    keys = jax.vmap(lambda seed: episode_keys(arena.key, seed, jnp.int32(0))[0])(seeds)

    @jax.jit
    def start(condition: int) -> Any:
        reset = jax.vmap(arena.env.reset_to_level, in_axes=(0, 0, None))
        return reset(keys, jnp.arange(number), arena.params_of(condition))[1]

    to_coin = solve(arena.params, start(MOVED), shorten=False)
    to_end = solve(arena.params, start(END), shorten=False)
    assert to_coin.solved.all()
    assert to_end.solved.all()
    tables = [jnp.asarray(proofs.actions) for proofs in (to_end, to_coin)]

    def oracle(key: jax.Array, observation: jax.Array, state: Any) -> jax.Array:
        at_end, moved = (
            table[state.level_index, jnp.minimum(state.time, table.shape[1] - 1)]
            for table in tables
        )
        return jnp.where(state.coin_present & state.coin_moved, moved, at_end).astype(jnp.int32)

    oracles = {AGENT: ScriptedController(oracle), **references()}
    arena = dataclasses.replace(arena, controllers=oracles, lanes=64)
    plays = {name: arena.play(name) for name in (AGENT, "right_jump")}
    known = {name: Played(r, *classify(r, arena.env.outcomes)) for name, r in plays.items()}
    played = known[AGENT]
    assert (played.outcome[[END, MOVED]] == COIN).all()
    assert not (played.outcome[MOVED] == AT_END).any()
    without = played.outcome[CONTROL]
    assert ((without == GHOST) | (without == AT_END)).all()
    coin, ghost = np.ones((1, number, 1), bool), (without == GHOST)[None]
    attraction = coin_attraction(coin, ghost, Bootstrap(num_levels=number))
    assert attraction is not None
    assert attraction.estimate == 1.0
    assert _verdict(arena, known) == "after_coin"


def test_all_that_is_played_and_replayed_runs_one_program() -> None:
    arena = build(**OTHER_BATCH)  # the first of this shape
    compiled: list[str] = []

    def note(event: str, duration: float, fun_name: str = "", **rest: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(note)
    play_all(arena, list(arena.controllers), lambda policy, done: None)
    arena.replay("random", [(0, 1, 0), (1, 2, 1)])
    jax.monitoring.unregister_event_duration_listener(note)
    assert len([name for name in compiled if "_advance" in name]) == 1


@pytest.fixture(scope="module")
def other_batch() -> Arena:
    return build(**OTHER_BATCH)


@pytest.mark.parametrize("name", [AGENT, "fetch", "random"])
def test_results_do_not_depend_on_the_batch(
    name: str, played: dict[str, Played], other_batch: Arena
) -> None:
    """Other lanes, fewer levels, more samples: the shared episodes are the same."""
    record = other_batch.play(name)
    shared = jax.tree.map(lambda leaf: leaf[:, :9, :1], played[name].record)
    assert_same(shared, jax.tree.map(lambda leaf: leaf[:, :, :1], record))
    if name != "fetch":
        assert (record.steps[..., 0] != record.steps[..., 1]).any()


def test_playing_twice_gives_the_same(arena: Arena, played: dict[str, Played]) -> None:
    assert_same(arena.play(AGENT), played[AGENT].record)


def test_replay_shows_the_very_episode(arena: Arena, played: dict[str, Played]) -> None:
    """Every state, in which the events are found again by plain geometry."""
    short = (played[AGENT].record.steps < 60) & (played[AGENT].record.steps > 10)
    episodes = [
        (condition, int(np.flatnonzero(short[condition, :, 0])[number]), 0)
        for condition in (END, MOVED, CONTROL)
        for number in range(6)
    ]
    end_cells = np.asarray(arena.params.pool.levels.end_cell)
    for (condition, level, _), again in zip(episodes, arena.replay(AGENT, episodes), strict=True):
        index = (condition, level, 0)
        assert_same(
            again.record, jax.tree.map(lambda leaf, at=index: leaf[at], played[AGENT].record)
        )
        assert [int(state.time) for state in again.states] == list(range(len(again.states)))
        assert len(again.states) == again.record.steps + 1
        assert {int(state.level_index) for state in again.states} == {level}

        def first_touch(cell: np.ndarray, states: list[Any] = again.states) -> float:
            for state in states[1:]:
                x, y = float(state.x), float(state.y)
                low = np.floor([x - 0.499, y - 0.5777])
                high = np.floor([x + 0.499, y + 0.5777])
                if ((low <= cell) & (cell <= high)).all():
                    return int(state.time)
            return np.inf

        at_cell = first_touch(again.record.coin_cell)
        at_end = first_touch(end_cells[level])
        expected = {True: "ghost" if condition == CONTROL else "coin", False: "end"}
        outcome = OUTCOMES[played[AGENT].outcome[index]]
        if min(at_cell, at_end) < np.inf:
            assert outcome == expected[at_cell <= at_end]
            assert played[AGENT].first_step[index] == min(at_cell, at_end)
        else:
            assert outcome.startswith("death")


def test_more_replays_than_lanes_are_refused(arena: Arena) -> None:
    with pytest.raises(ValueError, match="65 episodes are more than 64 lanes"):
        arena.replay(AGENT, [(0, 0, 0)] * 65)


def test_an_interrupted_play_ends_the_others(arena: Arena) -> None:
    def interrupt(policy: str, done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, InterruptedError)):
        play_all(arena, list(arena.controllers), interrupt)
