"""A run's directory: what it holds, that it goes on exactly, and that its policy loads."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import yaml

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Fault
from coinrun_jax.coinrun import placement
from coinrun_jax.hardware import device_name
from tests.runs import CONFIG, TINY, assert_same_policy, read_metrics, without_clock
from tests.tiny_testbed import CorridorConfig
from train import loop, run
from train.config import load_config
from train.devices import memory
from train.environment import network_of, observation_space
from train.logging import curves
from train.logging.metrics_csv import CsvLogger
from train.policy import PolicyError, load_policy, save_policy
from train.program import Program, outline_learner

HOLD = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run.start(TINY, folder)
    return folder


def test_run_directory_describes_itself(finished):
    assert load_config(finished / run.CONFIG) == TINY
    assert yaml.safe_load((finished / run.CONFIG).read_text())["env"]["pool_size"] == 16
    description = json.loads((finished / run.DESCRIPTION).read_text())
    assert description["environment"] == "Corridor-v0"
    assert description["device"] == device_name()
    assert [row["update"] for row in read_metrics(finished)] == ["1", "2", "3", "4"]
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in finished.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "curves.png",
        "metrics.csv",
        "policy.json",
        "policy.npz",
        "run.json",
    ]


def test_existing_run_is_never_overwritten(finished):
    before = sorted((p, p.stat().st_mtime_ns) for p in finished.rglob("*"))
    with pytest.raises(InputError, match="exists"):
        run.start(TINY, finished)
    assert sorted((p, p.stat().st_mtime_ns) for p in finished.rglob("*")) == before


def test_interrupted_run_goes_on_bit_for_bit(finished, tmp_path, monkeypatch):
    class Interrupted(Exception):
        pass

    log = CsvLogger.log
    seen = []

    def log_then_fail(self, row):
        log(self, row)
        seen.append(row)
        if len(seen) == 3:  # one update past the checkpoint: its row must not stay twice
            raise Interrupted

    folder = tmp_path / "broken"
    monkeypatch.setattr(CsvLogger, "log", log_then_fail)
    with pytest.raises(Interrupted):
        run.start(TINY, folder)
    monkeypatch.undo()
    assert len(read_metrics(folder)) == 3
    run.resume(folder)

    assert without_clock(read_metrics(folder)) == without_clock(read_metrics(finished))
    assert_same_policy(finished, folder)


def test_sigterm_writes_a_checkpoint_and_the_run_goes_on(finished, tmp_path, monkeypatch, capsys):
    log = CsvLogger.log

    def log_then_ask_to_stop(self, row):
        log(self, row)
        if row["update"] == 3:  # between two checkpoints
            os.kill(os.getpid(), signal.SIGTERM)

    folder = tmp_path / "stopped"
    monkeypatch.setattr(CsvLogger, "log", log_then_ask_to_stop)
    assert run.start(TINY, folder) == 128 + signal.SIGTERM
    monkeypatch.undo()
    assert f"--resume {folder}" in capsys.readouterr().out
    assert len(read_metrics(folder)) == 3
    assert load_policy(folder).update == 3
    assert run.resume(folder) == 0
    assert without_clock(read_metrics(folder)) == without_clock(read_metrics(finished))
    assert_same_policy(finished, folder)


def test_resuming_a_finished_run_changes_nothing(finished):
    rows = read_metrics(finished)
    run.resume(finished)
    assert read_metrics(finished) == rows


def content_of(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def refused(folder, match):
    """A resume that is refused and changes nothing."""
    before = content_of(folder)
    with pytest.raises(InputError, match=match) as error:
        run.resume(folder)
    assert "\n" not in str(error.value)
    assert content_of(folder) == before


@pytest.fixture
def copied(finished, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(finished, folder)
    return folder


def empty(checkpoints):
    shutil.rmtree(checkpoints)
    checkpoints.mkdir()


def leave_a_file(checkpoints):
    empty(checkpoints)
    (checkpoints / ".DS_Store").touch()


def leave_folders(checkpoints):
    empty(checkpoints)
    (checkpoints / "tmp").mkdir()


def empty_each(checkpoints):
    for path in checkpoints.iterdir():
        empty(path)


def leave_the_beginning(checkpoints):
    (checkpoints / "2").rename(checkpoints.parent / "0")
    empty(checkpoints)
    (checkpoints.parent / "0").rename(checkpoints / "0")


@pytest.mark.parametrize(
    ("lose", "without", "match"),
    [
        (shutil.rmtree, "nothing", "no checkpoint to resume from"),
        (empty, "policy.json", "no checkpoint to resume from"),
        (leave_a_file, "nothing", "no checkpoint to resume from"),
        (leave_folders, "metrics.csv", "no checkpoint to resume from"),
        (empty_each, "nothing", "none of the checkpoints"),
        (leave_the_beginning, "nothing", "only the initial checkpoint"),
    ],
)
def test_what_was_trained_is_not_trained_over(copied, lose, without, match):
    lose(copied / "checkpoints")
    (copied / without).unlink(missing_ok=True)
    refused(copied, match)


def test_a_policy_is_not_replaced_by_an_earlier_one(copied, monkeypatch):
    shutil.rmtree(copied / "checkpoints" / "4")
    before = (copied / "policy.npz").read_bytes()
    request = loop._StopRequest._request
    stopped = lambda self: (begin(self), request(self, signal.SIGTERM, None))[0]  # noqa: E731
    begin = loop._StopRequest.__init__
    monkeypatch.setattr(loop._StopRequest, "__init__", stopped)
    assert run.resume(copied) == 128 + signal.SIGTERM
    assert (copied / "policy.npz").read_bytes() == before
    monkeypatch.undo()
    assert run.resume(copied) == 0
    assert (copied / "policy.npz").read_bytes() == before
    assert len(read_metrics(copied)) == 4


def test_a_run_that_has_not_begun_begins(copied):
    for name in ("policy.json", "policy.npz", "metrics.csv"):
        (copied / name).unlink()
    shutil.rmtree(copied / "checkpoints")
    assert run.resume(copied) == 0
    assert load_policy(copied).update == 4


@pytest.mark.parametrize("name", ["run.json", "metrics.csv", "config.yaml"])
@pytest.mark.parametrize("content", [b"[1, 2]", b"\xff\x00", b"a,b\n1,2\n", None])
def test_damaged_files_of_a_run_are_refused(copied, name, content):
    (copied / name).unlink()
    if content is None:
        (copied / name).mkdir()
    else:
        (copied / name).write_bytes(content)
    refused(copied, name.replace(".", r"\."))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("seed: 0", "seed: 1", "seed 0"),
        ("gamma: 0.999", "gamma: 0.9", "ppo.gamma 0.999"),
        ("pool_size: 16", "pool_size: 17", "env.pool_size 16"),
    ],
)
def test_a_run_goes_on_as_what_it_was_begun(copied, old, new, named):
    path = copied / "config.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    refused(copied, f"was started with {named}")


def test_how_a_run_is_kept_may_change(copied):
    path = copied / "config.yaml"
    path.write_text(path.read_text().replace("keep_checkpoints: 2", "keep_checkpoints: 1"))
    assert run.resume(copied) == 0


def test_a_checkpoint_does_not_depend_on_the_catalogue(monkeypatch):
    """What it holds is the same with one placement more; a state in memory is not."""

    def both():
        program = Program(CONFIG)
        return program.shapes(), program.initial_shapes()

    packed, state = both()
    more = {**placement.CATALOGUE, "one_more": lambda terrain: terrain.tiles == 0}
    monkeypatch.setattr(placement, "CATALOGUE", more)
    jax.clear_caches()
    try:
        packed_then, state_then = both()
    finally:
        monkeypatch.undo()
        jax.clear_caches()
    assert packed_then == packed
    assert state_then != state


def test_a_run_is_trained_by_one_process_at_a_time(finished, tmp_path):
    before = sorted((p, p.stat().st_mtime_ns) for p in finished.rglob("*"))
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(finished)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(InputError, match="another process"):
        run.resume(finished)
    assert sorted((p, p.stat().st_mtime_ns) for p in finished.rglob("*")) == before
    other.kill()
    other.communicate()
    with run._locked(finished), pytest.raises(InputError, match="another process"):
        run.resume(finished)
    assert run.resume(finished) == 0


def test_what_does_not_fit_leaves_nothing_in_its_place(tmp_path, monkeypatch):
    def refuse(compiled):
        raise InputError("too large")

    monkeypatch.setattr(memory, "require_compiled", refuse)
    with pytest.raises(InputError, match="too large"):
        run.start(TINY, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_what_fails_after_training_leaves_the_run(tmp_path, monkeypatch):
    def refuse(*_):
        raise InputError("metrics.csv cannot be read")

    monkeypatch.setattr(curves, "save", refuse)
    with pytest.raises(Fault, match="cannot be read"):
        run.start(TINY, tmp_path / "run")
    assert load_policy(tmp_path / "run").update == 4


@pytest.mark.parametrize("num_levels", [0, 17])
def test_more_environments_than_levels_in_the_pool_are_refused(tmp_path, num_levels):
    env = CorridorConfig(num_levels=num_levels, pool_size=TINY.ppo.num_envs - 1)
    with pytest.raises(InputError, match="pool_size 7 is below"):
        run.start(dataclasses.replace(TINY, env=env), tmp_path / "run")
    assert not list(tmp_path.iterdir())
    few = CorridorConfig(num_levels=3, pool_size=TINY.ppo.num_envs - 1)  # all of them in the pool
    outline_learner(dataclasses.replace(TINY, env=few))


def test_policy_loads_and_answers(finished):
    policy = load_policy(finished)
    assert policy.config == TINY
    assert policy.update == 4
    logits, values = jax.jit(policy.apply)(np.zeros((3, 27), np.float32))
    assert logits.shape == (3, 2)
    assert values.shape == (3,)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A policy of CoinRun, which has most to be wrong."""
    folder = tmp_path_factory.mktemp("untrained")
    network, space = network_of(CONFIG.network, CONFIG.env), observation_space(CONFIG.env)
    seen = jax.ShapeDtypeStruct((1, *space.shape), space.dtype)
    shapes = jax.eval_shape(network.init, jax.random.key(0), seen)
    save_policy(
        folder, jax.tree.map(lambda each: np.zeros(each.shape, each.dtype), shapes), CONFIG, 0
    )
    load_policy(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.update(environment="CoinRun-v0"), "CoinRun-v0"),
        (lambda d: d.update(format=99), "99"),
        (lambda d: d["config"].update(colour="red"), "colour"),
        (lambda d: d["config"]["network"].update(width=7), "has shape"),
        (lambda d: d["config"]["network"].update(kind="impala"), "impala"),
        (lambda d: d.update(update="many"), "many"),
        (lambda d: d.update(update=-1), "update -1"),
        (lambda d: d.update(update=2.5), "update 2.5"),
        (lambda d: d["config"]["env"].update(placement="nowhere"), "nowhere"),
        (lambda d: d["config"]["env"].update(id="Maze-v9"), "Maze-v9"),
        (lambda d: d["config"]["env"]["cues"].update(mirrored="no"), "mirrored 'no'"),
        (lambda d: d["config"]["env"]["reward"].update(coin=1e300), "reward.coin"),
        (lambda d: d["config"].update(plugins=["antigravity"]), "--plugins antigravity"),
        (lambda d: d.clear(), "format"),
    ],
)
def test_foreign_policies_are_refused(untrained, tmp_path, change, named):
    for name in ("policy.json", "policy.npz"):
        (tmp_path / name).write_bytes((untrained / name).read_bytes())
    description = json.loads((tmp_path / "policy.json").read_text())
    change(description)
    (tmp_path / "policy.json").write_text(json.dumps(description))
    with pytest.raises(PolicyError, match=named):
        load_policy(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda a: a.__setitem__("more", np.zeros(3, np.float32)), "more"),
        (lambda a: a.popitem(), "do not fit its config"),
        *[
            (lambda a, change=change: a.update({k: change(v) for k, v in a.items()}), named)
            for change, named in [
                (lambda v: v * np.float32(np.nan), "not finite"),
                (lambda v: v.astype(np.int32), "type int32"),
                (lambda v: v > 0, "type bool"),
                (lambda v: v.astype(str), "not float32"),
                (lambda v: v.astype(np.float64), "type float64"),
                (lambda v: v[None], "has shape"),
            ]
        ],
    ],
)
def test_foreign_weights_are_refused(finished, tmp_path, change, named):
    (tmp_path / "policy.json").write_bytes((finished / "policy.json").read_bytes())
    with np.load(finished / "policy.npz") as file:
        arrays = dict(file)
    change(arrays)
    np.savez(tmp_path / "policy.npz", **arrays)
    with pytest.raises(PolicyError, match=named):
        load_policy(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 and no more"])
def test_broken_arrays_are_refused(finished, tmp_path, content):
    (tmp_path / "policy.json").write_bytes((finished / "policy.json").read_bytes())
    (tmp_path / "policy.npz").write_bytes(content)
    with pytest.raises(PolicyError, match="no readable policy"):
        load_policy(tmp_path)


def test_missing_policies_are_named(tmp_path):
    with pytest.raises(PolicyError, match="no such folder"):
        load_policy(tmp_path / "nowhere")
    with pytest.raises(PolicyError, match=r"policy\.json is missing"):
        load_policy(tmp_path)
