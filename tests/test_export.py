"""What is exported: episodes that replay exactly, labelled features, a stream without reward."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import TEST_LEVELS, Action
from coinrun_jax.arena import Arena
from coinrun_jax.coinrun.conditions import coin_condition, with_control
from coinrun_jax.coinrun.env_config import CoinRunConfig
from coinrun_jax.coinrun.level_sets import LevelSet
from coinrun_jax.coinrun.observations.symbolic import PLANES, split
from coinrun_jax.controllers import AgentController, ScriptedController
from coinrun_jax.exit_maze.maze_config import ExitMazeConfig
from coinrun_jax.exit_maze.oracle import to_green
from coinrun_jax.record import classify
from coinrun_jax.registry import find_testbed
from coinrun_jax.suites import Suite
from coinrun_jax.testbed import EnvConfig
from eval import replay, stream
from eval.evaluate import Protocol, make_arena
from eval.export import features, trajectories
from eval.export.features import FEATURES, require_room, write_features
from eval.export.trajectories import TRAJECTORIES, load_trajectories, write_trajectories
from eval.results import AGENT, Evaluation, Played
from eval.stream import shifted_stream
from tests.refusals import refusal
from train.config import TrainConfig
from train.networks import Output
from train.policy import Policy

SUITE = Suite(
    "small",
    (
        coin_condition("end"),
        *with_control(coin_condition("behind", placement="behind")),
        coin_condition("easy", placement="uniform", levels=LevelSet(mode="easy")),
        coin_condition("mirrored", placement="uniform", cues={"mirrored": True}),
        coin_condition("absent", placement="absent"),
    ),
)
MAZE = find_testbed("ExitMaze-v1")
OUTCOMES = [each.name for each in find_testbed("CoinRun-v1").outcomes]
LEVELS, SAMPLES, COUNT = 5, 2, 3
"""Everything is built on so many levels: another number of them is another program."""


def network(weights: Any, observations: jax.Array) -> Output:
    """Jumps to the right more often than not."""
    planes, _ = split(observations)
    coin = planes[:, :, PLANES.index("coin")].sum(-1)
    logits = jnp.tanh(observations @ weights)
    logits = logits.at[:, Action.RIGHT_UP].add(2.0).at[:, Action.RIGHT].add(2.0)
    return Output(logits, coin.sum(-1), coin)


@pytest.fixture(autouse=True, scope="module")
def _several_programs_full() -> Iterator[None]:
    """CoinRun's 60 episodes are more than are replayed at once, and no multiple of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "_EPISODES", 25)
        yield


@pytest.fixture(scope="module")
def policy() -> Policy:
    weights = jax.random.normal(jax.random.key(0), (1357, 15)) * 0.3
    return Policy(config=TrainConfig(), params=weights, network=network, update=0)


def play(config: EnvConfig, suite: Suite, agent: Any, samples: int) -> tuple[Evaluation, Arena]:
    protocol = Protocol(suite, LEVELS, samples, traced=True)
    arena = make_arena(config, {AGENT: agent}, protocol)
    arena = replace(arena, lanes=min(arena.lanes, 25))
    record = arena.play(AGENT)
    decides = arena.decides[:, None, None]
    evaluation = Evaluation(
        testbed=arena.testbed,
        suite=suite,
        played={AGENT: Played(record, *classify(arena.testbed, arena.env, record, decides))},
        titles={},
        events=arena.env.events,
        level_seeds=arena.level_seeds[arena.level_index],
        run="made up",
        config=replace(TrainConfig(), env=config),
    )
    return evaluation, arena


@pytest.fixture(scope="module")
def played(policy: Policy) -> tuple[Evaluation, Arena]:
    return play(CoinRunConfig(), SUITE, AgentController(policy.params, network), SAMPLES)


@pytest.fixture(scope="module")
def file(played: tuple[Evaluation, Arena], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / TRAJECTORIES
    write_trajectories(played[0], path)
    return path


def changed(file: Path, to: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """A copy of the file with one array put through a change."""
    with np.load(file) as arrays:
        own = dict(arrays)
    np.savez(to, **{**own, name: change(own[name].copy())})
    return to


def test_every_episode_is_recorded(file: Path, played: tuple[Evaluation, Arena]) -> None:
    record = played[0].played[AGENT].record
    found = load_trajectories(file)
    assert found.steps.shape == (len(SUITE.conditions) * LEVELS * SAMPLES,)
    np.testing.assert_array_equal(found.steps, record.steps.ravel())
    assert found.settings == CoinRunConfig()
    assert found.kinds.tolist() == ["hard", "hard", "hard", "easy", "hard", "hard"]
    assert found.step["cues.mirrored"].tolist() == [False, False, False, False, True, False]
    assert found.takes.tolist() == ["", "", "coin", "", "", ""]
    assert found.watched.tolist() == ["", "", "ghost", "", "", ""]
    x, coin_x = found.start["x"], found.start["coin_cell"][:, 0]
    behind = found.condition == SUITE.index("behind")
    assert (coin_x[behind] < x[behind]).all()
    assert (x[behind] > 3).all()
    assert (x[found.condition == 0] < 3).all()
    present = found.start["coin_present"]
    taken = np.isin(found.condition, [SUITE.index("behind_control"), SUITE.index("absent")])
    np.testing.assert_array_equal(present, ~taken)


def test_every_episode_replays(
    file: Path, played: tuple[Evaluation, Arena], capsys: pytest.CaptureFixture[str]
) -> None:
    found = load_trajectories(file)
    assert found.steps.size % replay._EPISODES != 0 < replay._EPISODES < found.steps.size
    outcome, steps = replay.play(found)
    np.testing.assert_array_equal(outcome, np.array(OUTCOMES)[found.outcome])
    np.testing.assert_array_equal(steps, played[0].played[AGENT].record.steps.ravel())
    assert len(set(outcome)) >= 4
    assert replay.main([str(file)]) == 0
    assert "60 of 60 episodes" in capsys.readouterr().out


def test_episodes_of_a_maze_replay_without_its_agent(tmp_path: Path) -> None:
    """The agent goes for green, and the exit of a control is closed."""
    named = ("exit_green", "green_elsewhere", "green_elsewhere_exit_closed")
    every = MAZE.suites()["relocation"].conditions
    suite = Suite("some", tuple(each for each in every if each.name in named))
    evaluation, _ = play(ExitMazeConfig(size=7), suite, ScriptedController(to_green), 1)
    write_trajectories(evaluation, tmp_path / TRAJECTORIES)
    found = load_trajectories(tmp_path / TRAJECTORIES)
    assert set(found.start) == set(MAZE.start_fields)
    outcome, steps = replay.play(found)
    np.testing.assert_array_equal(outcome, found.outcomes[found.outcome])
    np.testing.assert_array_equal(steps, found.steps)
    assert {"exit", "green"} <= set(outcome)
    assert found.takes.tolist() == ["", "", "exit"]
    assert found.steps.size < replay._EPISODES


def test_a_changed_recording_is_noticed(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is changed of an episode; the others replay as recorded."""
    with np.load(file) as arrays:
        own = dict(arrays)
    first = int(own["steps"][:5].sum())
    own["outcome"][9] = (own["outcome"][9] + 1) % len(OUTCOMES)
    own["actions"][first : first + 10] = Action.LEFT  # of episode 5
    own["level_seed"][7] += 1
    own["start_x"][3] += 1
    own["steps"][11:13] += np.array([1, -1], own["steps"].dtype)  # one of 12's actions too early
    np.savez(tmp_path / "changed.npz", **own)
    assert replay.main([str(tmp_path / "changed.npz")]) == 1
    out = capsys.readouterr().out
    noticed = {int(number) for number in re.findall(r"^episode (\d+) \(", out, re.MULTILINE)}
    assert noticed == {3, 5, 7, 9, 11}  # no more are shown
    assert "episode 3 (end, level " in out
    assert re.search(r"5[45] of 60 episodes", out)  # 12 may end as before


def first(value: object) -> Callable[[np.ndarray], np.ndarray]:
    """Puts a value into the first place, in whatever type takes it."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.result_type(array, np.array(value)))
        array.flat[0] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        # of another version
        ("format", lambda a: a - 1, "format 1"),
        ("environment", lambda a: np.array("CoinRun-v0"), "CoinRun-v0"),
        ("settings", lambda a: np.array("{"), "is not JSON"),
        ("settings", lambda a: np.array('{"id": "CoinRun-v1", "size": 9}'), "env.size"),
        # of another type or shape
        ("format", lambda a: np.array("1"), "'format' is of type <U1, not integers"),
        ("format", lambda a: np.array([1]), "'format' has shape [1], not []"),
        ("environment", lambda a: np.array(1), "'environment' is of type int64, not text"),
        ("steps", lambda a: a.astype(float), "float64"),
        ("step_cues.mirrored", lambda a: a.astype(str), "not numbers"),
        ("step_cues.mirrored", lambda a: a[:, None], "has shape [6, 1]"),
        ("outcomes", lambda a: a.astype(object), "'outcomes'"),
        ("outcome", lambda a: a[1:], "'outcome' has shape [59], not [60]"),
        ("start_coin_cell", lambda a: a[1:], "has shape [59, 2], not [60, ...]"),
        ("start_coin_cell", lambda a: a[:, 0], "no int32 [2] for each episode"),
        ("start_coin_cell", lambda a: a + 0.5, "'start_coin_cell' is float64"),
        ("kinds", lambda a: a[:1], "'kinds' has shape [1], not [6]"),
        # out of range
        ("level_seed", first(-1), "-1 ... "),
        ("level_seed", first(2**31), "at most 2147483647"),
        ("start_x", first(np.float32("nan")), "not finite"),
        ("steps", first(0), "0 ... "),
        ("actions", lambda a: a + 15, "is not within 0 ... 14"),
        ("condition", lambda a: a + 5, "condition 10 is not within 0 ... 5"),
        ("policy", lambda a: a + 1, "policy 1 is not within 0 ... 0"),
        ("outcome", first(7), "outcome 7 is not within 0 ... 6"),
        # not of one recording
        ("actions", lambda a: a[:-1], "actions for"),
        ("kinds", lambda a: np.array(["odd"] * 6), "mode 'odd'"),
        ("outcomes", lambda a: np.array(["won"] * 7), "outcome 'won'"),
        ("watched", lambda a: np.array([""] * 6), "takes 'coin' away and watches ''"),
        ("conditions", lambda a: np.array(["\x1b[2J", *"abcde"]), "cannot be printed"),
    ],
)
def test_what_is_no_recording_is_refused(
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    change: Callable[[np.ndarray], np.ndarray],
    word: str,
) -> None:
    path = changed(file, tmp_path / "odd.npz", name, change)
    assert word in refusal(replay.main, [str(path)], capsys)


def test_what_is_no_file_is_refused(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "No such file" in refusal(replay.main, [str(tmp_path / "none.npz")], capsys)
    assert "is not a file" in refusal(replay.main, [str(tmp_path)], capsys)
    text, part, array = (tmp_path / name for name in ("text.npz", "part.npz", "array.npy"))
    text.write_text("not arrays")
    part.write_bytes(file.read_bytes()[:300])
    np.save(array, np.zeros(3))
    for path in (text, part, array):
        assert "is not an .npz archive" in refusal(replay.main, [str(path)], capsys)


def test_what_is_recorded_otherwise_replays(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In wider types, or in the bytes of another machine."""
    with np.load(file) as arrays:
        own = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in arrays.items()}
    own["steps"] = own["steps"].astype(np.int64)
    np.savez(tmp_path / "other.npz", **own)
    assert replay.main([str(tmp_path / "other.npz")]) == 0
    assert "60 of 60 episodes" in capsys.readouterr().out


def test_nothing_is_traced_unasked(played: tuple[Evaluation, Arena], file: Path) -> None:
    evaluation, _ = played
    record = evaluation.played[AGENT].record.replace(trace=None)
    agent = replace(evaluation.played[AGENT], record=record)
    untraced = replace(evaluation, played={**evaluation.played, AGENT: agent})
    with pytest.raises(ValueError, match="without traces"):
        write_trajectories(untraced, file.with_name("other.npz"))


@pytest.fixture(scope="module")
def exported(
    policy: Policy, played: tuple[Evaluation, Arena], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    path = tmp_path_factory.mktemp("features") / FEATURES
    write_features(*played, policy, COUNT, path)
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def test_features_are_of_the_very_episodes(
    exported: dict[str, np.ndarray], policy: Policy, played: tuple[Evaluation, Arena]
) -> None:
    record, outcome = played[0].played[AGENT].record, played[0].played[AGENT].outcome
    steps = np.minimum(record.steps[:, :COUNT, 0], features.STEPS)
    assert exported["step"].tolist() == [t for n in steps.ravel() for t in range(n)]
    assert exported["episode"].tolist() == np.repeat(np.arange(18), steps.ravel()).tolist()
    again = policy.network(policy.params, jnp.asarray(exported["observations"]))
    np.testing.assert_allclose(exported["logits"], again.logits, atol=1e-5)
    np.testing.assert_array_equal(exported["values"], again.value)
    np.testing.assert_array_equal(exported["features"], again.features)
    np.testing.assert_array_equal(
        exported["outcome"], np.repeat(outcome[:, :COUNT, 0].ravel(), steps.ravel())
    )
    assert set(exported["level_seed"][exported["condition"] == 0]) == set(TEST_LEVELS[:COUNT])


def test_features_end_where_the_episode_did(
    exported: dict[str, np.ndarray], played: tuple[Evaluation, Arena]
) -> None:
    """What is seen in the last step before a coin is touched is a coin beside the agent."""
    last = np.flatnonzero(np.diff(exported["episode"], append=-1))
    fetched = exported["outcome"][last] == OUTCOMES.index("coin")
    fetched &= exported["step"][last] < features.STEPS - 1
    assert fetched.any()
    planes, _ = split(jnp.asarray(exported["observations"][last[fetched]]))
    coin = planes[:, :, PLANES.index("coin")]
    assert (coin[:, 4:9, 4:9].sum((1, 2)) == 1).all()


def test_labels_of_steps(exported: dict[str, np.ndarray]) -> None:
    assert exported["conditions"].tolist() == [each.name for each in SUITE.conditions]
    assert exported["shifted"].tolist() == [False, True, True, True, True, True]
    np.testing.assert_array_equal(
        exported["out_of_distribution"], exported["shifted"][exported["condition"]]
    )
    np.testing.assert_array_equal(exported["goal_in_view"], exported["values"] == 1)
    control = exported["condition"] == SUITE.index("behind_control")
    assert not exported["goal_in_view"][control].any()


def test_what_does_not_fit_is_refused(policy: Policy) -> None:
    require_room(policy, 9, 100)
    trajectories.require_room(2_000_000, 1000)
    with pytest.raises(ValueError, match="the actions of 3,000,000 episodes do not fit"):
        trajectories.require_room(3_000_000, 1000)
    with pytest.raises(ValueError, match=r"^the features of 200 .* 2 GiB; at most \d+ of each do$"):
        require_room(policy, 9, 200)


def test_a_stream_pays_nothing_and_tells_the_true_return() -> None:
    near = coin_condition("near", placement="fraction", fraction=(0.1, 0.1))
    env, params = shifted_stream(near, num_levels=LEVELS)
    assert params.pool.levels.seed.tolist() == list(TEST_LEVELS[:LEVELS])
    key = jax.random.key(0)
    _, state = env.reset(key, params)
    told = set()
    for _ in range(300):
        _, state, reward, terminated, _, info = env.step(key, state, np.int32(Action.RIGHT), params)
        assert reward.dtype == jnp.float32
        assert reward == 0
        told.add((float(info["true_reward"]), float(info["episode_return"]), bool(terminated)))
        if len(told) > 1:
            break
    assert told == {(0.0, 0.0, False), (10.0, 10.0, True)}


def test_a_stream_is_set_up_as_its_condition_says() -> None:
    taken = coin_condition("taken", present=False, levels=LevelSet(mode="easy"))
    env, params = shifted_stream(taken, num_levels=LEVELS - 2, skip=2, cues={"mirrored": True})
    assert env.default_params is params
    assert params.pool.levels.seed.tolist() == list(TEST_LEVELS[2:LEVELS])
    seeds = np.array(TEST_LEVELS[:LEVELS], np.uint32)
    expected = find_testbed("CoinRun-v1").build_levels(seeds, "easy")
    np.testing.assert_array_equal(params.pool.levels.grid, expected.grid[2:])
    assert params.cues.mirrored
    assert not params.placement.present


def test_a_stream_of_mazes() -> None:
    env, params = shifted_stream("green_elsewhere", 5, env="ExitMaze-v1", size=7)
    observation, state = env.reset(jax.random.key(0), params)
    assert observation.shape[:2] == (7, 7)
    assert state.decoy_colour != state.exit_colour
    action = to_green(jax.random.key(0), state, params)
    *_, reward, _, _, info = env.step(jax.random.key(0), state, action)
    assert reward == 0
    assert info["true_reward"].dtype == reward.dtype
    again, _ = shifted_stream("green_elsewhere", 5, env=ExitMazeConfig(), size=7)
    assert again.observation_space(params).shape == observation.shape


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"condition": "nowhere"}, "condition 'nowhere' is not one of "),
        ({"condition": "end", "num_levels": 0}, "num_levels 0"),
        ({"condition": "end", "skip": 10**6}, "skip 1000000"),
        ({"condition": "end", "observation": "sound"}, "observation 'sound'"),
        ({"condition": "end", "mode": "odd"}, "mode 'odd'"),
        ({"condition": "end", "sound": 1}, "env.sound"),
        ({"condition": "end", "env": "Pong-v5"}, "Pong-v5"),
        ({"condition": "end", "env": 3}, "env 3 is neither"),
    ],
)
def test_a_stream_of_nothing_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as error:
        shifted_stream(**arguments)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_example_of_the_stream_runs() -> None:
    example = re.findall(r"^    .*$|^$", stream.__doc__ or "", re.MULTILINE)
    code = "\n".join(line[4:] for line in example)
    assert "shifted_stream(" in code
    own = code.replace("num_levels=8", f"num_levels={LEVELS}")  # as above, of the same programs
    assert own != code
    exec(compile(own, "example", "exec"), {})
