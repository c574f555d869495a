"""Stages of a run, and runs that start from the policy of another one."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal

import jax
import numpy as np
import optax
import pytest
import yaml

from coinrun_jax.checks import InputError
from coinrun_jax.coinrun.env_config import CoinRunConfig
from tests.refusals import refusal
from tests.runs import assert_same_policy, read_metrics, read_policy, without_clock
from tests.tiny_testbed import CorridorConfig
from train import run
from train.__main__ import main
from train.checkpoints import Checkpoints
from train.config import NetworkConfig, PPOConfig, TrainConfig, config_from_dict, load_config
from train.initial_policy import find_sources
from train.kept_policies import find_kept
from train.logging.metrics_csv import CsvLogger
from train.policy import load_policy
from train.program import Program
from train.stages import make_stages

CONFIG = TrainConfig(
    env=CorridorConfig(pool_size=16),
    network=NetworkConfig(width=8),
    ppo=PPOConfig(num_envs=8, num_steps=8, num_minibatches=2, num_epochs=2),
    total_steps=256,
    checkpoint_every=3,
)
STAGES = [
    {"name": "usual", "total_steps": 128},
    {
        "total_steps": 192,
        "optimizer": "kept",
        "env": {"num_levels": 20},
        "ppo": {"num_envs": 4, "num_steps": 16, "learning_rate": 1e-3},
    },
]
BORDER, UPDATES = 2, 5
STAGED = config_from_dict(
    dataclasses.asdict(CONFIG) | {"stages": STAGES, "keep_at": "0,100,128,320"}
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged") / "whole"
    assert run.start(STAGED, folder) == 0
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    assert run.start(dataclasses.replace(CONFIG, total_steps=128, keep_at="128"), folder) == 0
    return folder


def test_a_stage_has_the_settings_of_the_run_and_its_own():
    first, second = STAGED.parts
    assert (first.env, first.ppo, first.total_steps) == (CONFIG.env, CONFIG.ppo, 128)
    assert second.env == dataclasses.replace(CONFIG.env, num_levels=20)
    assert (second.ppo.num_envs, second.ppo.num_epochs) == (4, CONFIG.ppo.num_epochs)
    assert STAGED.ends == (BORDER, UPDATES)
    assert [STAGED.part_at(update) for update in range(6)] == [0, 0, 0, 1, 1, 1]
    assert STAGED.steps_at(UPDATES) == 320
    again = config_from_dict(json.loads(json.dumps(dataclasses.asdict(STAGED.as_of(UPDATES)))))
    assert again.parts == STAGED.parts
    assert again.env == second.env


def test_a_stage_changes_single_settings_of_a_section():
    env = {"placement": "uniform", "reward": {"step": -0.01}}
    config = config_from_dict({"env": {"reward": {"coin": 5}}, "stages": [{"env": env}]})
    reward = dataclasses.replace(CoinRunConfig().reward, coin=5, step=-0.01)
    assert config.parts[0].env == CoinRunConfig(placement="uniform", reward=reward)


def test_policies_are_kept_evenly_on_a_logarithmic_scale():
    config = TrainConfig(keep_at="log:5", total_steps=65_536_000)
    assert sorted(config.kept_updates) == [0, 1, 10, 100, 1000]


def test_stages_are_one_run(whole):
    rows = read_metrics(whole)
    assert [row["update"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row["stage"] for row in rows] == ["1", "1", "2", "2", "2"]
    assert [row["steps"] for row in rows] == ["64", "128", "192", "256", "320"]
    assert [float(row["learning_rate"]) for row in rows] == [5e-4] * 2 + [1e-3] * 3
    assert load_config(whole / run.CONFIG) == STAGED
    policy = load_policy(whole)
    assert (policy.update, policy.steps) == (5, 320)
    assert policy.env_config == STAGED.parts[1].env
    assert load_policy(whole / "kept" / "128").env_config == CONFIG.env


def test_policies_are_kept_where_the_config_says(whole):
    kept = {update: folder.name for update, folder in find_kept(whole).items()}
    assert kept == {0: "0", 2: "128", 5: "320"}
    assert_same_policy(whole, whole / "kept" / "320")
    assert load_policy(whole / "kept" / "0").update == 0


def test_the_first_stage_is_as_a_run_of_its_own(whole, plain):
    assert_same_policy(whole / "kept" / "128", plain / "kept" / "128")


@pytest.mark.parametrize(("ends", "after"), [("stopped", BORDER), ("killed", BORDER + 1)])
def test_a_run_that_is_cut_off_goes_on_bit_for_bit(whole, tmp_path, monkeypatch, ends, after):
    """At the border of a stage, and after the first update of the next one."""

    class Killed(BaseException):
        pass

    log = CsvLogger.log

    def log_then_end(self, row):
        log(self, row)
        if row["update"] == after and ends == "killed":
            raise Killed
        if row["update"] == after:
            os.kill(os.getpid(), signal.SIGTERM)

    folder = tmp_path / "broken"
    monkeypatch.setattr(CsvLogger, "log", log_then_end)
    if ends == "killed":
        with pytest.raises(Killed):
            run.start(STAGED, folder)
    else:
        assert run.start(STAGED, folder) == 128 + signal.SIGTERM
        assert load_policy(folder).update == after
    monkeypatch.undo()
    assert len(read_metrics(folder)) == after
    assert run.resume(folder) == 0
    assert without_clock(read_metrics(folder)) == without_clock(read_metrics(whole))
    assert_same_policy(folder, whole)
    assert find_kept(folder).keys() == find_kept(whole).keys()
    for name in ("0", "128", "320"):
        assert_same_policy(folder / "kept" / name, whole / "kept" / name)


def test_a_run_killed_as_a_stage_begins_goes_on(whole, tmp_path, monkeypatch):
    """The checkpoint at the border is there, and nothing of the next stage."""

    class Killed(BaseException):
        pass

    def killed(self, state):
        if self.config.env.num_levels:
            raise Killed
        return compiled(self, state)

    compiled, folder = Program.compile, tmp_path / "broken"
    monkeypatch.setattr(Program, "compile", killed)
    with pytest.raises(Killed):
        run.start(STAGED, folder)
    monkeypatch.undo()
    assert Checkpoints(folder / "checkpoints").updates[-1] == BORDER
    assert run.resume(folder) == 0
    assert without_clock(read_metrics(folder)) == without_clock(read_metrics(whole))
    assert_same_policy(folder, whole)


def test_kept_policies_without_checkpoints_are_not_trained_over(whole, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "checkpoints")
    for name in ("policy.json", "policy.npz", "metrics.csv"):
        (folder / name).unlink()
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        run.resume(folder)


def adam_of(state):
    found = jax.tree.leaves(state.opt_state, is_leaf=lambda n: hasattr(n, "mu"))
    return next(each for each in found if isinstance(each, optax.ScaleByAdamState))


@pytest.fixture(scope="module")
def following(whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("following") / "next"
    config = dataclasses.replace(CONFIG, init=str(whole), total_steps=64, keep_at="0")
    assert run.start(config, folder) == 0
    return folder


def test_init_trains_a_policy_on(whole, following, tmp_path):
    assert_same_policy(following / "kept" / "0", whole)
    own = read_policy(following)
    assert any((own[name] != value).any() for name, value in read_policy(whole).items())
    last = dataclasses.replace(CONFIG, init=f"{following}@0", total_steps=64, num_seeds=2)
    run.start(last, tmp_path / "last")
    for seed in ("seed_0", "seed_1"):
        chain = json.loads((tmp_path / "last" / seed / run.DESCRIPTION).read_text())["init"]
        assert [each["run"] for each in chain] == [str(following), str(whole)]
        assert [(each["update"], each["steps"]) for each in chain] == [(0, 0), (5, 320)]
        assert {each["sha256"] for each in chain} == {load_policy(whole).sha256}
    # Seeds of a run of several go on from their own policies, optimiser included.
    each = dataclasses.replace(last, init=str(tmp_path / "last"), optimizer="kept")
    sources = find_sources(each)
    folders = [tmp_path / "last" / seed for seed in ("seed_0", "seed_1")]
    assert [source.folder for source in sources] == folders
    for source in sources:
        jax.tree.map(np.testing.assert_array_equal, source.state.params, source.policy.params)


def test_the_optimizer_begins_anew_or_is_kept(whole, following, tmp_path):
    config = dataclasses.replace(CONFIG, init=str(whole), total_steps=64, optimizer="kept")
    run.start(config, tmp_path / "kept")
    shapes, before = make_stages(config)[0].program.shapes(), STAGED.parts[1]
    fresh, kept = (
        Checkpoints(folder / "checkpoints").read(0, shapes)
        for folder in (following, tmp_path / "kept")
    )
    last = Checkpoints(whole / "checkpoints").read(5, Program(before).shapes())
    assert adam_of(fresh).count == 0
    assert fresh.return_scale.count < 1
    jax.tree.map(np.testing.assert_array_equal, adam_of(kept), adam_of(last))
    assert adam_of(kept).count == 20  # of five updates: the second stage kept it, too
    assert kept.return_scale.variance == last.return_scale.variance
    for state in (fresh, kept):
        assert isinstance(state.opt_state[1][-1], optax.ScaleByScheduleState)
        assert state.opt_state[1][-1].count == 0


def test_a_run_that_has_not_begun_wants_the_policy_it_was_given(whole, tmp_path):
    source, folder = tmp_path / "source", tmp_path / "next"
    shutil.copytree(whole, source)
    run.start(dataclasses.replace(CONFIG, init=str(source), total_steps=64), folder)
    for name in ("policy.json", "policy.npz", "metrics.csv"):
        (folder / name).unlink()
    shutil.rmtree(folder / "checkpoints")
    for name in ("policy.json", "policy.npz"):
        shutil.copy(source / "kept" / "0" / name, source)
    with pytest.raises(InputError, match="no longer the policy"):
        run.resume(folder)


def test_runs_of_earlier_versions_go_on(plain, tmp_path):
    """Whose config and run.json know nothing of stages."""
    shutil.copytree(plain, tmp_path / "run")
    description, config = (tmp_path / "run" / name for name in (run.DESCRIPTION, run.CONFIG))
    about, settings = json.loads(description.read_text()), yaml.safe_load(config.read_text())
    for new in ("init", "optimizer", "keep_at", "stages"):
        settings.pop(new)
        about["settings"].pop(new)
    description.write_text(json.dumps(about))
    config.write_text(yaml.safe_dump(settings))
    assert run.resume(tmp_path / "run") == 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"stages": []}, "stages has 0 entries"),
        ({"stages": 3}, "stages is 3"),
        ({"stages": [3]}, "stages[1] is 3"),
        ({"stages": [{"network": {}}]}, "'stages[1].network'"),
        ({"stages": [{}, {"ppo": {"gama": 1}}]}, "stages[2]: unknown setting 'ppo.gama'"),
        ({"stages": [{"total_steps": 0}]}, "total_steps 0"),
        ({"stages": [{"env": {"id": "CoinRun-v1"}}]}, "must be the run's"),
        (
            {"env": {"id": "CoinRun-v1"}, "stages": [{}, {"env": {"observation": "rgb"}}]},
            "stages[2]: its environment has observations of shape",
        ),
        ({"stages": [{"env": {"pool_size": 0}}]}, "stages[1]: env.pool_size 0"),
        ({"keep_at": "-1"}, "keep_at -1"),
        ({"keep_at": "1e9"}, "keep_at 1000000000 is not within"),
        ({"keep_at": "0,,1"}, "keep_at '0,,1'"),
        ({"keep_at": "0.5"}, "keep_at '0.5'"),
        ({"keep_at": "nan"}, "keep_at 'nan'"),
        ({"keep_at": "log:1"}, "N of log:N"),
        ({"keep_at": "log:x"}, "N of log:N"),
        ({"init": "nowhere"}, "no such folder"),
        ({"init": "nowhere@3"}, "no such folder"),
        ({"init": "RUN@3"}, "kept updates: 0, 2, 5"),
        ({"init": "RUN@last"}, "'last' is not an update"),
        ({"init": "RUN", "network": {"width": 32}}, "network.width 8, this run 32"),
        ({"init": "RUN", "env": {"id": "ExitMaze-v1"}}, "the policy does not fit"),
        ({"init": "RUN@2", "optimizer": "kept", "checkpoint_every": 3}, "checkpoint 2"),
        ({"optimizer": "new"}, "optimizer 'new'"),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_line(
    whole, tmp_path, monkeypatch, capsys, caplog, settings, named
):
    if "init" in settings:
        settings = settings | {"init": settings["init"].replace("RUN", str(whole))}
    if settings.get("optimizer") == "kept":
        shutil.copytree(whole, tmp_path / "source")
        shutil.rmtree(tmp_path / "source" / "checkpoints" / "2", ignore_errors=True)
        settings["init"] = f"{tmp_path / 'source'}@2"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    base = dataclasses.asdict(CONFIG) | settings
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(base))
    with jax.log_compiles():
        words = ["--config", str(tmp_path / "config.yaml"), "--run-dir", "run"]
        assert named in refusal(main, words, capsys)
    assert not [each for each in caplog.messages if "ompiling" in each]
    assert not list((tmp_path / "here").iterdir())
