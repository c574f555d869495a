"""The benchmark's outputs, and what it does with interpreters that it is pointed to."""

from __future__ import annotations

import csv
import json
import sys

import jax
import pytest

from coinrun_jax import CoinRun, benchmark
from coinrun_jax.exit_maze import ExitMaze
from coinrun_jax.rivals import Rival, RivalError
from tests.refusals import refusal

FAKE_PROCGEN = """
import time

class ProcgenGym3Env:
    def __init__(self, num, env_name, distribution_mode, num_threads):
        assert (env_name, distribution_mode) == ("coinrun", "hard")
        self.num = num

    def act(self, action):
        assert action.shape == (self.num,)
        time.sleep(0.001)

    def observe(self):
        pass
"""


@pytest.fixture
def fake_procgen(tmp_path, monkeypatch):
    """An interpreter that has a `procgen` of 1,000 steps per second and environment."""
    (tmp_path / "procgen.py").write_text(FAKE_PROCGEN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return sys.executable


@pytest.fixture
def maze(monkeypatch):
    """A maze is timed, whose programs compile in a third of CoinRun's time."""
    maze = ExitMaze(7, num_levels=4)
    monkeypatch.setattr(benchmark, "CoinRun", lambda mode, observation: maze)
    return maze


@pytest.fixture(params=["maze", pytest.param("CoinRun", marks=pytest.mark.thorough)])
def observation(request):
    """Of what is timed."""
    return "symbolic" if request.param == "CoinRun" else request.getfixturevalue("maze").observation


def test_results_are_printed_and_written(tmp_path, capsys, fake_procgen, observation):
    status = benchmark.main(
        [
            *("--num-envs", "4", "--seconds", "0.05", "--rounds", "1", "--resets"),
            *("--procgen", fake_procgen),
            *("--json", str(tmp_path / "out.json"), "--csv", str(tmp_path / "out.csv")),
        ]
    )
    assert status == 0
    result = json.loads((tmp_path / "out.json").read_text())
    (row,) = result["rows"]
    assert (row["observation"], row["num_envs"]) == (observation, 4)
    assert row["steps_per_second"] > 0
    assert row["compile_seconds"] > 0
    assert 0 < row["state_bytes"] <= 1024
    assert [r["episodes"] for r in result["resets"]] == ["never end", "end every 20 steps"]
    theirs = result["procgen"]
    assert all(set(t) == {"threads", "num_envs", "steps_per_second"} for t in theirs)
    assert all(0 < t["steps_per_second"] < 1000 * t["num_envs"] for t in theirs)
    ratio = row["steps_per_second"] / max(t["steps_per_second"] for t in theirs)
    assert result["ratio_to_procgen"] == pytest.approx(ratio)
    assert result["ratios"] == {"procgen": {observation: result["ratio_to_procgen"]}}
    printed = capsys.readouterr().out
    assert result["device"] in printed
    assert f"{observation}: {ratio:.1f} x procgen" in printed
    lines = list(csv.DictReader((tmp_path / "out.csv").open()))
    names = ["coinrun_jax"] * 3 + ["procgen"] * len(theirs)
    assert [line["environment"] for line in lines] == names


def test_a_state_of_coinrun_is_at_most_a_kibibyte():
    env = CoinRun(num_levels=4)
    params = jax.eval_shape(env.build_params)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(env.reset_state, key, params)
    assert benchmark._bytes(state) <= 1024


def test_an_interpreter_without_procgen_is_one_line_and_exit_2(capsys):
    arguments = ["--num-envs", "4", "--procgen", sys.executable]
    assert "procgen" in refusal(benchmark.main, arguments, capsys)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--num-envs", "0"], "within 1 ... 1048576"),
        (["--num-envs", "100000000000"], "within 1 ... 1048576"),
        (["--num-envs", "many"], "'many'"),
        (["--num-envs", "4", "4"], "repeats"),
        (["--num-envs", *map(str, range(1, 100))], "at most 16"),
        (["--observation", "smell"], "symbolic"),
        (["--seconds", "-1"], "within 0.001 ... 600"),
        (["--seconds", "1e308"], "within 0.001 ... 600"),
        (["--seconds", "nan"], "within 0.001 ... 600"),
        (["--rounds", "1" + "0" * 5000], "within 1 ... 100"),
        (["--json", "no/such/folder/out.json"], "no/such/folder"),
        (["--csv", __file__], "--force"),
        (["--csv", "same", "--json", "same"], "two files"),
        (["--colour"], "--colour"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, named, capsys):
    assert named in refusal(benchmark.main, arguments, capsys)


def test_environments_that_do_not_fit_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "memory_per_device", lambda: 50_000_000)
    arguments = ["--observation", "rgb", "--num-envs", "1", "4096"]
    complaint = refusal(benchmark.main, arguments, capsys)
    assert "--num-envs 4096 of rgb observations need at least 0.1 GB" in complaint


@pytest.mark.parametrize("says", ["ready", "hello", ""])
@pytest.mark.usefixtures("maze")
def test_what_is_no_interpreter_is_noticed(says, tmp_path, capsys, monkeypatch):
    ours = benchmark.Row(lambda seconds: 1.0, "symbolic", 1, "", 0.0, 0)  # compiles nothing
    monkeypatch.setattr(benchmark, "prepare", lambda *_: ours)
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho {says}\nread line\necho nan\n")
    program.chmod(0o755)
    arguments = ["--num-envs", "1", "--rounds", "1", "--seconds", "0.01"]
    assert "--procgen" in refusal(benchmark.main, [*arguments, "--procgen", str(program)], capsys)


def test_a_rival_that_dies_says_so(tmp_path, monkeypatch):
    (tmp_path / "procgen.py").write_text(FAKE_PROCGEN.replace("time.sleep(0.001)", "1 / 0"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    rival = Rival("procgen", sys.executable, "hard", 1)
    with rival, pytest.raises(RivalError, match="ZeroDivisionError"):
        rival.play_round(0.01)


def test_a_rival_needs_an_interpreter():
    rival = Rival("procgen", "no-such-python", "hard", 1)
    with pytest.raises(RivalError, match="no-such-python"), rival:
        pass
