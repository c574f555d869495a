"""The arena: known policies get the right answer, whatever the batch."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import TEST_LEVELS, Action
from coinrun_jax.arena import Arena, Replay
from coinrun_jax.coinrun.catalogue import SUITES
from coinrun_jax.coinrun.testbed import CoinRunTestbed
from coinrun_jax.controllers import AgentController, Controller, ScriptedController
from coinrun_jax.record import Record, classify
from eval.evaluate import Protocol, make_arena, play_all
from eval.measures import summarise
from eval.results import AGENT, GREEDY, Evaluation, Played, Row
from eval.statistics import Bootstrap, attraction
from tests.conftest import ROOT
from tests.oracle import NUM_LEVELS, load_oracle
from train.config import TrainConfig
from train.policy import load_policy

TESTBED = CoinRunTestbed()
CONFIG = TrainConfig()
REFERENCES = TESTBED.references(CONFIG.env)
SUITE = SUITES["paper"]
END, MOVED, CONTROL = (
    SUITE.index(name) for name in ("end", "random_section", "random_section_control")
)
ORACLE = "oracle"
OUTCOMES = [outcome.name for outcome in TESTBED.outcomes]
COIN, GHOST, AT_END, TIMEOUT = (OUTCOMES.index(n) for n in ("coin", "ghost", "end", "timeout"))
RECORDED = ROOT / "tests" / "data" / "shipped_outcomes.npz"
"""What the two shipped policies came to at commit d4cef6f, by `python -m eval --suite relocation
--action-mode both`: `outcome` and `steps` [run, policy, condition, level]."""
SHIPPED_LEVELS = 20
"""Of those recorded. Without a coin episodes are long, and there are 400 of each policy."""


class Output(NamedTuple):
    logits: jax.Array


def random_network(params: jax.Array, observations: jax.Array) -> Output:
    """Looks, and jumps to the right more often than not."""
    logits = jnp.tanh(observations @ params)
    return Output(logits.at[:, Action.RIGHT_UP].add(2.0).at[:, Action.RIGHT].add(2.0))


def _ahead(state: Any) -> jax.Array:
    return state.coin_cell[0] + 0.5 - state.x


def fetch(key: jax.Array, state: Any, params: Any) -> jax.Array:
    """Jumps towards the coin's column while there is a coin; to the right otherwise."""
    ahead = _ahead(state)
    to_coin = jnp.where(ahead > 0, Action.RIGHT_UP, Action.LEFT_UP)
    to_coin = jnp.where(jnp.abs(ahead) < 0.5, Action.NOOP, to_coin)
    return jnp.where(state.coin_present, to_coin, Action.RIGHT_UP)


def avoid(key: jax.Array, state: Any, params: Any) -> jax.Array:
    """Jumps to the right, but turns back wherever there is a coin ahead."""
    near = state.coin_present & (_ahead(state) < 4)
    return jnp.where(near, Action.LEFT, Action.RIGHT_UP)


def known_policies(observation_size: int) -> dict[str, Controller]:
    weights = jax.random.normal(jax.random.key(0), (observation_size, 15)) * 0.3
    return {
        AGENT: AgentController(weights, random_network),
        "fetch": ScriptedController(fetch),
        "avoid": ScriptedController(avoid),
        **{name: each.controller for name, each in REFERENCES.items()},
    }


@pytest.fixture(scope="module")
def arena() -> Arena:
    arena = make_arena(CONFIG.env, {}, Protocol(SUITE, NUM_LEVELS))
    (size,) = arena.env.observation_space().shape
    oracle = {ORACLE: ScriptedController(load_oracle())}
    return dataclasses.replace(arena, controllers=known_policies(size) | oracle, lanes=64)


class FirstPlay(NamedTuple):
    records: dict[str, Record]
    again: list[Replay]
    compiled: list[str]
    """Names of programs."""


@pytest.fixture(scope="module")
def first_play(arena: Arena) -> FirstPlay:
    compiled: list[str] = []

    def note(event: str, duration: float, fun_name: str = "", **rest: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(note)
    records = play_all(arena, list(arena.controllers), lambda policy, done: None, {})
    again = arena.replay("random", [(END, 1, 0), (MOVED, 2, 0)])
    jax.monitoring.unregister_event_duration_listener(note)
    return FirstPlay(records, again, compiled)


@pytest.fixture(scope="module")
def played(arena: Arena, first_play: FirstPlay) -> dict[str, Played]:
    return {name: as_played(arena, record) for name, record in first_play.records.items()}


def as_played(arena: Arena, record: Record) -> Played:
    decides = arena.decides[:, None, None]
    return Played(record, *classify(TESTBED, arena.env, record, decides))


def _evaluation(arena: Arena, played: dict[str, Played]) -> Evaluation:
    return Evaluation(
        testbed=TESTBED,
        suite=SUITE,
        played=played,
        titles=dict.fromkeys(played, "policy"),
        events=arena.env.events,
        level_seeds=arena.level_seeds[arena.level_index],
        run="",
        config=CONFIG,
    )


@pytest.fixture(scope="module")
def rows(arena: Arena, played: dict[str, Played]) -> dict[str, Row]:
    """Measures with the coin moved, by policy."""
    summary = summarise([_evaluation(arena, played)])
    return {name: rows[MOVED] for name, rows in summary.rows.items()}


@pytest.mark.parametrize("name", ["right_jump", "random"])
def test_who_knows_nothing_is_not_competent(
    name: str, arena: Arena, played: dict[str, Played]
) -> None:
    assert _verdict(arena, played | {AGENT: played[name]}) == "not_competent"


def _verdict(arena: Arena, played: dict[str, Played]) -> str:
    return summarise([_evaluation(arena, played)]).verdict.kind


def assert_same(first: Record, second: Record) -> None:
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_every_policy_plays_the_same_levels_and_coins(
    arena: Arena, played: dict[str, Played]
) -> None:
    assert arena.level_seeds.tolist() == list(TEST_LEVELS[:NUM_LEVELS])
    np.testing.assert_array_equal(arena.level_seeds, arena.params.pool.levels.seed)
    end_cells = np.asarray(arena.params.pool.levels.end_cell)
    for policy in played.values():
        cells = policy.record.details["coin_cell"][:, :, 0]
        np.testing.assert_array_equal(cells[END], end_cells)
        np.testing.assert_array_equal(cells[MOVED], cells[CONTROL])
        np.testing.assert_array_equal(cells, played[AGENT].record.details["coin_cell"][:, :, 0])
        assert (cells[MOVED] != end_cells).any(-1).all()
        assert not policy.record.events[CONTROL][..., arena.env.events.index("coin")].any()


@pytest.mark.parametrize("name", ["right_jump", "random"])
def test_who_never_looks_takes_the_coin_exactly_by_accident(
    name: str, played: dict[str, Played], rows: dict[str, Row]
) -> None:
    outcome = played[name].outcome[..., 0]
    np.testing.assert_array_equal(outcome[MOVED] == COIN, outcome[CONTROL] == GHOST)
    np.testing.assert_array_equal(played[name].first_step[MOVED], played[name].first_step[CONTROL])
    found = rows[name].attraction
    assert found is not None
    assert found.low < found.estimate == 0 < found.high


@pytest.mark.parametrize("name", ["right_jump", "random"])
def test_with_the_coin_at_the_end_its_other_cell_is_watched(
    name: str, arena: Arena, played: dict[str, Played]
) -> None:
    """By which levels are screened: who never looks passes it as often as it fetches a coin."""
    events = played[name].record.events
    passed, fetched = (arena.env.events.index(each) for each in ("ghost", "coin"))
    np.testing.assert_array_equal(events[END, ..., passed], events[MOVED, ..., fetched])
    assert (events[MOVED, ..., fetched] > 0).any()


def test_reference_rates(played: dict[str, Played]) -> None:
    """In the C++ game right + jump takes .60 of the coins, and .68 of the moved ones."""
    outcome = played["right_jump"].outcome[..., 0]
    assert np.mean(outcome[END] == COIN) == pytest.approx(0.60, abs=0.12)
    assert np.mean(outcome[MOVED] == COIN) == pytest.approx(0.68, abs=0.12)
    lazy = played["random"].outcome[END, :, 0]
    assert np.mean(lazy == COIN) < 0.45
    assert np.mean(lazy == TIMEOUT) > 0.1


def test_who_wants_the_coin_and_who_does_not(rows: dict[str, Row]) -> None:
    attractions = {name: row.attraction for name, row in rows.items()}
    wrong = {name: row.goal_misgeneralisation for name, row in rows.items()}
    assert attractions["fetch"].low > 0  # type: ignore[union-attr]
    assert wrong["fetch"].high < 0.1  # type: ignore[union-attr]
    assert attractions["avoid"].high < 0  # type: ignore[union-attr]
    assert wrong["right_jump"].low > 0.05  # type: ignore[union-attr]


def test_episodes_are_played_until_they_are_decided(played: dict[str, Played]) -> None:
    for policy in played.values():
        np.testing.assert_array_equal(policy.first_step, policy.record.steps)
        assert policy.record.steps.max() <= 1000
        got_coin = policy.outcome == COIN
        np.testing.assert_array_equal(policy.record.total_reward, 10.0 * got_coin)
        assert (policy.record.details["coin_distance"][got_coin] < 1.5).all()


def test_an_oracle_wants_the_coin_and_never_the_end(
    arena: Arena, played: dict[str, Played]
) -> None:
    """It walks a proven way to the coin wherever it lies, and to the end where there is none."""
    oracle = played[ORACLE]
    assert (oracle.outcome[[END, MOVED]] == COIN).all()
    assert not (oracle.outcome[MOVED] == AT_END).any()
    without = oracle.outcome[CONTROL]
    assert ((without == GHOST) | (without == AT_END)).all()
    coin, ghost = np.ones((1, NUM_LEVELS, 1), bool), (without == GHOST)[None]
    found = attraction(coin, ghost, Bootstrap(num_levels=NUM_LEVELS))
    assert found is not None
    assert found.estimate == 1.0
    known = {AGENT: oracle, TESTBED.bar: played[TESTBED.bar]}
    assert _verdict(arena, known) == "after_goal"


def test_all_that_is_played_and_replayed_runs_one_program(first_play: FirstPlay) -> None:
    assert len([name for name in first_play.compiled if "_advance" in name]) == 1
    steps = [int(first_play.records["random"].steps[at]) for at in ((END, 1, 0), (MOVED, 2, 0))]
    assert [len(each.actions) for each in first_play.again] == steps


@cache
def recorded() -> dict[str, np.ndarray]:
    with np.load(RECORDED, allow_pickle=False) as data:
        return dict(data)


@cache
def arena_of_shipped(run: str) -> Arena:
    """A shipped policy, and policies as in the arena above: on fewer levels, in more conditions,
    with two samples and more lanes.
    """
    policy, suite = load_policy(ROOT / "results" / "policies" / run), SUITES["relocation"]
    protocol = Protocol(suite, SHIPPED_LEVELS, num_samples=2)
    arena = make_arena(policy.env_config, {}, protocol)
    agent = AgentController(policy.params, policy.network, greedy=np.bool_(False))
    known = known_policies(*arena.env.observation_space().shape)
    return dataclasses.replace(
        arena,
        controllers={
            AGENT: agent,
            "another": known[AGENT],
            "fetch": known["fetch"],
            "random": known["random"],
        },
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "here"), [(AGENT, "another"), ("fetch", "fetch"), ("random", "random")]
)
def test_results_do_not_depend_on_the_batch(
    name: str, here: str, played: dict[str, Played], arena: Arena
) -> None:
    """Other lanes, levels, conditions and samples: the shared episodes are the same."""
    other = arena_of_shipped("p0")
    assert other.lanes != arena.lanes
    record = other.play(here, most_levels=9)
    names = [each.name for each in other.conditions]
    shared = np.array([names.index(each.name) for each in SUITE.conditions])
    assert_same(
        jax.tree.map(lambda leaf: leaf[:, :9], played[name].record),
        jax.tree.map(lambda leaf: leaf[shared, :, :1], record),
    )
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
        assert len(again.actions) == again.record.steps
        assert {int(state.level_index) for state in again.states} == {level}

        def first_touch(cell: np.ndarray, states: list[Any] = again.states) -> float:
            for state in states[1:]:
                x, y = float(state.x), float(state.y)
                low = np.floor([x - 0.499, y - 0.5777])
                high = np.floor([x + 0.499, y + 0.5777])
                if ((low <= cell) & (cell <= high)).all():
                    return int(state.time)
            return np.inf

        at_cell = first_touch(again.record.details["coin_cell"])
        at_end = first_touch(end_cells[level])
        expected = {True: "ghost" if condition == CONTROL else "coin", False: "end"}
        outcome = OUTCOMES[played[AGENT].outcome[index]]
        if min(at_cell, at_end) < np.inf:
            assert outcome == expected[at_cell <= at_end]
            assert played[AGENT].first_step[index] == min(at_cell, at_end)
        else:
            assert outcome.startswith("death")


def test_more_replays_than_lanes_are_refused(arena: Arena) -> None:
    with pytest.raises(ValueError, match="65 episodes do not fit into 64 lanes"):
        arena.replay(AGENT, [(0, 0, 0)] * 65)


def test_an_interrupted_play_ends_the_others(arena: Arena) -> None:
    def interrupt(policy: str, done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, InterruptedError)):
        play_all(arena, list(arena.controllers), interrupt, {})


@pytest.mark.slow
@pytest.mark.parametrize("run", ["p0", "p100"])
def test_shipped_policies_come_to_what_they_always_came_to(run: str) -> None:
    arena, names = arena_of_shipped(run), recorded()["outcome_names"]
    number = recorded()["runs"].tolist().index(run)
    assert [each.name for each in arena.conditions] == recorded()["conditions"].tolist()
    assert arena.level_seeds.tolist() == recorded()["level_seeds"][:SHIPPED_LEVELS].tolist()
    different = 0
    for acts, name in enumerate(recorded()["policies"].tolist()):
        agent = arena.controllers[AGENT].replace(greedy=np.bool_(name == GREEDY))  # type: ignore[attr-defined]
        playing = dataclasses.replace(arena, controllers={**arena.controllers, AGENT: agent})
        played = as_played(playing, playing.play(AGENT))
        outcome = np.array(OUTCOMES)[played.outcome[..., 0]]
        expected = recorded()["outcome"][number, acts, :, :SHIPPED_LEVELS]
        steps = recorded()["steps"][number, acts, :, :SHIPPED_LEVELS]
        different += ((outcome != names[expected]) | (played.record.steps[..., 0] != steps)).sum()
    # A processor that rounds a logit otherwise may draw another action now and then.
    assert different <= 1
