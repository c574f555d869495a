"""What is exported: episodes that play again exactly, labelled features, a stream without pay."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import TEST_LEVELS, Action
from coinrun_jax.coinrun.observations.symbolic import PLANES, split
from eval import features, replay, stream, trajectories
from eval.controllers import AgentController
from eval.evaluate import Protocol, make_arena
from eval.features import FEATURES, require_room, write_features
from eval.outcomes import OUTCOMES, classify
from eval.results import AGENT, Evaluation, Played, Trained
from eval.rollout import Arena
from eval.shift import is_shifted
from eval.stream import shifted_stream
from eval.suites import Condition, LevelSet, Suite, with_control
from eval.trajectories import TRAJECTORIES, load_trajectories, write_trajectories
from train.config import EnvConfig, TrainConfig
from train.networks import Output
from train.policy import Policy
from train.variants import CuesConfig

SUITE = Suite(
    "small",
    (
        Condition("end"),
        *with_control(Condition("behind", placement="behind")),
        Condition("easy", placement="uniform", levels=LevelSet(mode="easy")),
        Condition("mirrored", placement="uniform", cues={"mirrored": True}),
        Condition("absent", placement="absent"),
    ),
)
LEVELS, SAMPLES, COUNT = 5, 2, 3


def network(weights: Any, observations: jax.Array) -> Output:
    """Jumps to the right more often than not."""
    planes, _ = split(observations)
    coin = planes[:, :, PLANES.index("coin")].sum(-1)
    logits = jnp.tanh(observations @ weights)
    logits = logits.at[:, Action.RIGHT_UP].add(2.0).at[:, Action.RIGHT].add(2.0)
    return Output(logits, coin.sum(-1), coin)


@pytest.fixture(scope="module")
def policy() -> Policy:
    weights = jax.random.normal(jax.random.key(0), (1357, 15)) * 0.3
    return Policy(config=TrainConfig(), params=weights, network=network, update=0)


@pytest.fixture(scope="module")
def played(policy: Policy) -> tuple[Evaluation, Arena]:
    agent = AgentController(policy.params, network)
    protocol = Protocol(SUITE, LEVELS, SAMPLES, traced=True)
    arena = replace(make_arena(policy.env_config, {AGENT: agent}, protocol), lanes=25)
    record = arena.play(AGENT)
    levels = arena.params.pool.levels
    evaluation = Evaluation(
        suite=SUITE,
        played={AGENT: Played(record, *classify(record, arena.env.outcomes))},
        level_seeds=np.asarray(levels.seed)[arena.level_index],
        end_cells=np.asarray(levels.end_cell)[arena.level_index],
        trained=Trained("made up", 0, 0.0),
    )
    return evaluation, arena


@pytest.fixture(scope="module")
def file(
    policy: Policy, played: tuple[Evaluation, Arena], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("export") / TRAJECTORIES
    write_trajectories(played[0], policy.env_config, path)
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
    np.testing.assert_array_equal(found.coin_present, record.coin_present.ravel())
    assert found.modes.tolist() == ["hard", "hard", "hard", "easy", "hard", "hard"]
    assert found.mirrored.tolist() == [False, False, False, False, True, False]
    behind = found.condition == SUITE.index("behind")
    assert (found.coin_cell[behind, 0] < found.start_xy[behind, 0]).all()
    assert (found.start_xy[behind, 0] > 3).all()
    assert (found.start_xy[found.condition == 0, 0] < 3).all()


def test_every_episode_plays_again(
    file: Path, played: tuple[Evaluation, Arena], capsys: pytest.CaptureFixture[str]
) -> None:
    found = load_trajectories(file)
    outcome, steps = replay.play(found)
    np.testing.assert_array_equal(outcome, np.array(OUTCOMES)[found.outcome])
    np.testing.assert_array_equal(steps, played[0].played[AGENT].record.steps.ravel())
    assert len(set(outcome)) >= 4
    assert replay.main([str(file)]) == 0
    assert "60 of 60 episodes" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["outcome", "steps", "actions", "level_seed", "start_xy"])
def test_a_changed_recording_is_noticed(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    episode = 3
    first = int(load_trajectories(file).steps[:episode].sum())

    def change(array: np.ndarray) -> np.ndarray:
        if name == "outcome":
            array[episode] = (array[episode] + 1) % len(OUTCOMES)
        elif name == "steps":  # one of the next episode's actions comes too early
            array[episode : episode + 2] += np.array([1, -1], array.dtype)
        elif name == "actions":
            array[first : first + 10] = Action.LEFT
        else:
            array[episode] += 1
        return array

    path = changed(file, tmp_path / "changed.npz", name, change)
    assert replay.main([str(path)]) == 1
    out = capsys.readouterr().out
    assert f"episode {episode} (end, level " in out
    assert re.search(r"5[89] of 60 episodes", out)


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
        ("format", lambda a: a + 1, "format 2"),
        ("environment", lambda a: np.array("CoinRun-v0"), "CoinRun-v0"),
        # of another type or shape
        ("format", lambda a: np.array("1"), "'format' is of type <U1, not integers"),
        ("format", lambda a: np.array([1]), "'format' has shape [1], not []"),
        ("environment", lambda a: np.array(1), "'environment' is of type int64, not text"),
        ("steps", lambda a: a.astype(float), "float64"),
        ("mirrored", lambda a: a.astype(int), "not booleans"),
        ("outcomes", lambda a: a.astype(object), "'outcomes'"),
        ("outcome", lambda a: a[1:], "'outcome' has shape [59], not [60]"),
        ("coin_cell", lambda a: a[:, 0], "'coin_cell' has shape [60], not [60, 2]"),
        ("modes", lambda a: a[:1], "'modes' has shape [1], not [6]"),
        # out of range
        ("level_seed", first(-1), "-1 ... "),
        ("level_seed", first(2**31), "at most 2147483647"),
        ("coin_cell", first(-2), "-2 ... "),
        ("coin_cell", first(64), "at most 63"),
        ("start_xy", first(np.float32("nan")), "not finite"),
        ("start_xy", first(np.float32(1e30)), "at most 64"),
        ("steps", first(0), "0 ... "),
        ("actions", lambda a: a + 15, "at most 14"),
        ("condition", lambda a: a + 5, "condition 10 is not within 0 ... 5"),
        ("policy", lambda a: a + 1, "policy 1 is not within 0 ... 0"),
        ("outcome", first(7), "outcome 7 is not within 0 ... 6"),
        # not of one recording
        ("actions", lambda a: a[:-1], "actions for"),
        ("coin_cell", first(-1), "a coin that is there has no cell"),
        ("modes", lambda a: np.array(["odd"] * 6), "mode 'odd'"),
        ("outcomes", lambda a: np.array(["won"] * 7), "outcome 'won'"),
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
    assert_refused(changed(file, tmp_path / "odd.npz", name, change), capsys, word)


def assert_refused(path: Path, capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert replay.main([str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 500
    assert word in captured.err


def test_what_is_no_file_is_refused(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(tmp_path / "none.npz", capsys, "No such file")
    assert_refused(tmp_path, capsys, "is not a file")
    text, part, array = (tmp_path / name for name in ("text.npz", "part.npz", "array.npy"))
    text.write_text("not arrays")
    part.write_bytes(file.read_bytes()[:300])
    np.save(array, np.zeros(3))
    for path in (text, part, array):
        assert_refused(path, capsys, "is not an .npz archive")


def test_what_is_recorded_otherwise_plays_again(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In wider types, or in the bytes of another machine."""
    with np.load(file) as arrays:
        own = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in arrays.items()}
    own["steps"] = own["steps"].astype(np.int64)
    np.savez(tmp_path / "other.npz", **own)
    assert replay.main([str(tmp_path / "other.npz")]) == 0
    assert "60 of 60 episodes" in capsys.readouterr().out


def test_nothing_is_traced_unasked(
    policy: Policy, played: tuple[Evaluation, Arena], file: Path
) -> None:
    evaluation, _ = played
    record = evaluation.played[AGENT].record.replace(trace=None)
    agent = replace(evaluation.played[AGENT], record=record)
    untraced = replace(evaluation, played={**evaluation.played, AGENT: agent})
    with pytest.raises(ValueError, match="without traces"):
        write_trajectories(untraced, policy.env_config, file.with_name("other.npz"))


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
    np.testing.assert_array_equal(exported["coin_in_view"], exported["values"] == 1)
    control = exported["condition"] == SUITE.index("behind_control")
    assert not exported["coin_in_view"][control].any()


def test_what_does_not_fit_is_refused(policy: Policy) -> None:
    require_room(policy, 9, 100)
    trajectories.require_room(2_000_000)
    with pytest.raises(ValueError, match="the actions of 3,000,000 episodes do not fit"):
        trajectories.require_room(3_000_000)
    with pytest.raises(ValueError, match=r"^the features of 200 .* 2 GiB; at most \d+ of each do$"):
        require_room(policy, 9, 200)


@pytest.mark.parametrize(
    ("condition", "trained", "expected"),
    [
        (Condition("x"), EnvConfig(), False),
        (Condition("x", placement="uniform", moved=False), EnvConfig(), False),
        (Condition("x", placement="uniform"), EnvConfig(), True),
        (Condition("x", placement="uniform"), EnvConfig(placement="uniform"), False),
        (Condition("x"), EnvConfig(placement="uniform"), True),
        (Condition("x"), EnvConfig(placement="uniform", placement_probability=0.5), False),
        (Condition("x", placement="uniform"), EnvConfig(placement="uniform,behind"), False),
        (Condition("x", present=False), EnvConfig(), True),
        (Condition("x", cues={"coin_look": "red"}), EnvConfig(), True),
        (
            Condition("x", cues={"coin_look": "red"}),
            EnvConfig(cues=CuesConfig(coin_look="red")),
            False,
        ),
        (Condition("x", items={"number": 1}), EnvConfig(), True),
        (Condition("x", levels=LevelSet(mode="easy")), EnvConfig(), True),
        (Condition("x", levels=LevelSet(difficulty=2)), EnvConfig(), False),
        (
            Condition("x", placement="fraction", fraction=(0.2, 0.2)),
            EnvConfig(placement="fraction", placement_fraction=(0.0, 0.5)),
            False,
        ),
        (
            Condition("x", placement="fraction", fraction=(0.7, 0.7)),
            EnvConfig(placement="fraction", placement_fraction=(0.0, 0.5)),
            True,
        ),
        (Condition("x", placement="fraction", fraction=(1.0, 1.0)), EnvConfig(), False),
        (
            Condition("x", placement="fraction", fraction=(1.0, 1.0)),
            EnvConfig(placement="fraction", placement_fraction=(0.5, 1.0)),
            True,
        ),
        (Condition("x"), EnvConfig(placement="fraction", placement_fraction=(1.0, 1.0)), False),
    ],
)
def test_what_counts_as_a_shift(condition: Condition, trained: EnvConfig, expected: bool) -> None:
    assert is_shifted(condition, trained) is expected


def test_a_stream_pays_nothing_and_tells_the_true_return() -> None:
    near = Condition("near", placement="fraction", fraction=(0.1, 0.1))
    env, params = shifted_stream(near, num_levels=LEVELS)
    assert params.pool.levels.seed.tolist() == list(TEST_LEVELS[:LEVELS])

    @jax.jit
    def run(key: jax.Array, params: Any) -> Any:
        def step(state: Any, key: jax.Array) -> Any:
            action = jnp.int32(Action.RIGHT)
            _, state, reward, terminated, _, info = env.step(key, state, action, params)
            return state, (reward, info["true_reward"], info["episode_return"], terminated)

        return jax.lax.scan(step, env.reset(key, params)[1], jax.random.split(key, 300))[1]

    reward, true_reward, episode_return, terminated = run(jax.random.key(0), params)
    assert reward.dtype == jnp.float32
    assert not reward.any()
    assert set(np.asarray(true_reward).tolist()) == {0.0, 10.0}
    assert terminated[true_reward > 0].all()
    np.testing.assert_array_equal(episode_return[true_reward > 0], 10.0)


def test_a_stream_is_set_up_as_its_condition_says() -> None:
    taken = Condition("taken", present=False, levels=LevelSet(mode="easy"))
    env, params = shifted_stream(taken, num_levels=3, skip=2, cues={"mirrored": True})
    assert env.mode == "easy"
    assert env.default_params is params
    assert params.pool.levels.seed.tolist() == list(TEST_LEVELS[2:5])
    assert params.cues.mirrored
    assert not params.placement.present


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"condition": "nowhere"}, "condition 'nowhere' is not one of "),
        ({"condition": "end", "num_levels": 0}, "num_levels 0"),
        ({"condition": "end", "skip": 10**6}, "skip 1000000"),
        ({"condition": "end", "observation": "sound"}, "observation 'sound'"),
        ({"condition": "end", "mode": "odd"}, "mode 'odd'"),
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
    exec(compile(code, "example", "exec"), {})
