"""`python -m eval`: bad input is one line and writes nothing; a run ends in files to read."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from coinrun_jax.coinrun import level_sets
from coinrun_jax.coinrun.catalogue import SUITES
from coinrun_jax.coinrun.env_config import CoinRunConfig, ItemsConfig
from coinrun_jax.coinrun.testbed import CoinRunTestbed
from coinrun_jax.exit_maze.maze_config import ExitMazeConfig
from coinrun_jax.testbed import TEST_LEVELS, EnvConfig
from eval import __main__ as program
from eval import animations, evaluate, report
from eval.__main__ import main
from eval.evaluate import Protocol
from eval.measures import measure_names
from eval.outputs import EPISODES, FIGURE, REPORT, RUNS, SCREENED, SUMMARY
from eval.reading import read_summary
from tests.conftest import QUICK_COMPILE, ROOT
from tests.runs import drawn_weights
from tests.tiny_testbed import CorridorConfig
from train.config import NetworkConfig, TrainConfig
from train.environment import network_of, observation_shape
from train.policy import Policy, save_policy

MEASURES = measure_names(CoinRunTestbed(), SUITES["paper"])


def save_untrained(folder: Path, env: EnvConfig | None = None, **settings: Any) -> Path:
    """A run whose agent has learned nothing; of CoinRun, with some settings, if not said."""
    env = env or CoinRunConfig(**settings)
    config = TrainConfig(env=env, network=NetworkConfig(width=16), seed=5)
    params = drawn_weights(network_of(config.network, env), observation_shape(env), 0.1)
    folder.mkdir()
    save_policy(folder, params, config, 0)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run with the coin at the end, one with the coin moved, one of another mode."""
    folder = tmp_path_factory.mktemp("runs")
    save_untrained(folder / "end")
    save_untrained(folder / "moved", placement="random_section", placement_probability=0.5)
    jax.clear_caches()  # what would be compiled by a refusal is compiled anew
    return folder


@pytest.fixture(scope="module")
def maze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in small mazes."""
    return save_untrained(tmp_path_factory.mktemp("mazes") / "maze", ExitMazeConfig(size=7))


@pytest.fixture(scope="module")
def corridor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose programs compile quickly, for other processes."""
    return save_untrained(tmp_path_factory.mktemp("corridors") / "corridor", CorridorConfig())


@pytest.fixture(autouse=True)
def _small_gifs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animations, "SIZES", (64,))


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels of which the reference agent touches the other cell on every other one."""

    def touches(reference: Policy, protocol: Protocol) -> np.ndarray:
        assert reference.env_config.p_apart == 0
        return np.arange(protocol.num_levels) % 2 * 0.5

    monkeypatch.setattr(program, "touches", touches)


@pytest.fixture
def run_dir(runs: Path) -> Path:
    return runs / "end"


@pytest.fixture
def refuse(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Callable[..., None]:
    """Asserts that arguments are refused in one short line, before anything compiles."""

    def refused(arguments: list[str], *words: str) -> None:
        with jax.log_compiles():
            assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert len(captured.err) < 500
        for word in words:
            assert word in captured.err
        assert not [each for each in caplog.messages if "ompiling" in each]

    return refused


Refuse = Callable[..., None]
LONG = "x" * 300


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"--suite": "relocate"}, ("relocate", "relocation")),
        ({"--suite": "none.yaml"}, ("none.yaml", "No such file")),
        ({"--num-levels": "0"}, ("--num-levels: '0'", "1 ... 1000000")),
        ({"--num-levels": "1000001"}, ("1000001",)),
        ({"--num-levels": "9" * 10_000}, ("--num-levels", "999...")),
        ({"--num-levels": "many"}, ("--num-levels", "many")),
        ({"--num-levels": "200000", "--samples": "100"}, ("1,082,700,000", "at most 20,000,000")),
        ({"--seed": "-1"}, ("--seed: '-1'", "4294967295")),
        ({"--action-mode": LONG}, ("xxx...", "greedy")),
        ({"--samples": "0"}, ("--samples: '0'", "1 ... 1000")),
        ({"--unseen-by": "-1"}, ("--unseen-by: '-1'", "0 ... 10000000")),
        ({"--features": "2000"}, ("--features 2000", "0 ... 1000")),
        ({"--features": "-1"}, ("--features: '-1'",)),
        ({"--levels": "3"}, ("--levels",)),
        ({"--plugins": "no/module"}, ("no/module",)),
        ({"--run": "none"}, ("none", "no such folder")),
        ({"--run": LONG}, ("xxx",)),
        ({"--out": ""}, ("--out", "is missing")),
        ({"--out": LONG}, ("xxx", "too long")),
        ({"--out": "/".join(["x" * 100] * 100)}, ("xxx", "too long")),
        ({"--out": "a\x1b[2J"}, ("cannot be printed",)),
    ],
)
def test_bad_options_are_refused(
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refuse: Refuse,
    replaced: dict[str, str],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "memory_per_device", lambda: None)
    options = {"--run": str(run_dir), "--suite": "cues", "--out": "out"} | replaced
    refuse([part for option in options.items() for part in option], *words)
    assert not any(tmp_path.iterdir())


def test_more_levels_than_memory_has_room_for_are_refused(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    monkeypatch.setattr(evaluate, "memory_per_device", lambda: 10**9)
    rest = ["--suite", "paper", "--num-levels", "10000", "--out", str(tmp_path / "out")]
    refuse(["--run", str(run_dir), *rest], "10,000 levels", "1 GB")


def test_too_few_levels_of_a_kind_are_said(run_dir: Path, tmp_path: Path, refuse: Refuse) -> None:
    rest = ["--suite", "capability", "--num-levels", "400000", "--out", str(tmp_path / "out")]
    words = (
        "400,000 levels were requested",
        "only about 333,333 of the 1,000,000 held-out ones are of difficulty 1",
    )
    refuse(["--run", str(run_dir), *rest], *words)


def test_levels_of_a_kind_that_turn_out_to_be_too_few_are_said(
    run_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(level_sets, "TEST_LEVELS", TEST_LEVELS[:200])
    monkeypatch.setattr(level_sets, "_DEVIATIONS", 1000)
    monkeypatch.setattr(level_sets, "_CHUNK", 50)
    rest = ["--suite", "capability", "--num-levels", "200", "--out", str(tmp_path / "out")]
    assert main(["--run", str(run_dir), *rest]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("error: 200 levels were requested, but only ")
    assert " of the 200 held-out ones are " in complaint
    assert "difficulty" in complaint
    assert not any(tmp_path.iterdir())


def test_what_is_no_run_is_refused(tmp_path: Path, refuse: Refuse) -> None:
    rest = ["--suite", "relocation", "--out", str(tmp_path / "out")]
    (tmp_path / "empty").mkdir()
    refuse(["--run", str(tmp_path / "empty"), *rest], "empty")
    refuse(rest, "--run")
    assert not (tmp_path / "out").exists()


def test_results_are_never_overwritten_unasked(
    run_dir: Path, tmp_path: Path, refuse: Refuse
) -> None:
    arguments = ["--run", str(run_dir), "--suite", "relocation", "--out", str(tmp_path)]
    (tmp_path / EPISODES).write_text("mine")
    refuse(arguments, EPISODES, "already exists", "--force")
    assert [path.name for path in tmp_path.iterdir()] == [EPISODES]
    assert (tmp_path / EPISODES).read_text() == "mine"
    file = tmp_path / EPISODES
    refuse([*arguments[:-1], str(file)], "is not a folder")
    refuse([*arguments[:-1], str(file / "out")], EPISODES, "is not a folder")


def test_runs_that_do_not_fit_are_refused(runs: Path, tmp_path: Path, refuse: Refuse) -> None:
    out = tmp_path / "out"
    rest = ["--suite", "paper", "--out", str(out)]
    refuse(["--run", str(runs), *rest], "2 policies", "--compare")
    moved = str(runs / "moved")
    refuse(["--run", moved, *rest], "--reference DIR")
    refuse(["--run", moved, "--reference", moved, *rest], "p = 0.5", "p = 0")
    shutil.copytree(moved, tmp_path / "copy")
    again = ["--compare", str(runs), str(tmp_path / "copy"), *rest]
    refuse(again, moved, str(tmp_path / "copy"), "the same agent")
    easy = save_untrained(tmp_path / "easy", mode="easy")
    refuse(["--compare", str(runs), str(easy), *rest], "on hard levels", "on easy ones")
    maze = save_untrained(tmp_path / "maze", ExitMazeConfig(size=7))
    refuse(["--compare", moved, str(maze), *rest], "different environments", "ExitMaze-v1")
    refuse(["--run", str(maze), *rest], "suite 'paper' is not one of relocation")
    refuse(["--compare", moved, "--probes", *rest], "--probes")
    refuse(["--run", moved, "--compare", moved, *rest], "not allowed with")
    gems = str(save_untrained(tmp_path / "gems", items=ItemsConfig(number=1)))
    cues = ["--suite", "cues", "--out", str(out)]
    refuse(["--run", gems, *cues], "gems", "condition 'gem'", "look like the coin")
    refuse(["--run", moved, "--reference", moved, *cues], "--reference", "paper")
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("screened")
def test_a_run_is_evaluated(
    run_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without pictures of episodes, which `test_report` has of CoinRun."""
    monkeypatch.setattr(animations, "make_gifs", lambda arena, evaluation, art: [])
    monkeypatch.setattr(report, "show", lambda arena, evaluation, clips, policy: report.Shown())
    out = tmp_path / "deep" / "out"
    arguments = ["--run", str(run_dir), "--suite", "paper", "--out", str(out)]
    assert main([*arguments, "--num-levels", "12", "--seed", "3", "--action-mode", "both"]) == 0

    printed = capsys.readouterr().out
    for words in ("coin at the end", "right + jump, eyes closed", "likeliest", "Verdict: ", REPORT):
        assert words in printed

    with (out / EPISODES).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 3 * 12
    assert {row["train_seed"] for row in rows} == {"5", ""}
    assert {row["p_train"] for row in rows} == {"0.0", ""}
    held_out = {str(seed) for seed in TEST_LEVELS[:12]}
    assert {row["level_seed"] for row in rows} == held_out

    summary = json.loads((out / SUMMARY).read_text())
    names = [condition.name for condition in SUITES["paper"].conditions]
    assert [c["condition"] for c in summary["conditions"]] == names
    for row in summary["conditions"]:
        assert row["episodes"] == 12
        for name in MEASURES:
            assert row.get(name) is None or set(row[name]) == {"estimate", "low", "high"}
    assert set(summary["references"]) == {"greedy", "right_jump", "random"}
    read = read_summary(out / SUMMARY)
    assert read is not None
    assert [row.as_json() for row in read.agent] == summary["conditions"]
    coins = sum(
        r["outcome"] == "coin" for r in rows if r["policy"] == "agent" and r["condition"] == "end"
    )
    assert summary["conditions"][0]["coin"]["estimate"] == coins / 12
    assert (summary["published"]["kept"], summary["published"]["levels"]) == (6, 12)

    assert (out / FIGURE).stat().st_size > 10_000
    assert "<!doctype html>" in (out / REPORT).read_text()
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert main(arguments) == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_of_another_testbed_is_evaluated(
    maze: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The proxy is moved, and taken away; so is the goal, in a control of its own."""
    out = tmp_path / "out"
    arguments = ["--run", str(maze), "--suite", "relocation", "--num-levels", "8"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert "green attraction" in capsys.readouterr().out.lower()
    summary = read_summary(out / SUMMARY)
    assert summary is not None
    assert summary.environment == "ExitMaze-v1"
    rows = {row.condition: row for row in summary.agent}
    objects = [contrast.object for contrast in rows["green_elsewhere"].contrasts]
    assert objects == ["green", "exit"]
    with (out / EPISODES).open() as file:
        rows_read = list(csv.DictReader(file))
    assert {row["outcome"] for row in rows_read} >= {"exit", "timeout"}
    page = (out / REPORT).read_text()
    assert "Does it want the exit?" in page
    assert "coin" not in page.replace("coinrun_jax", "").lower()


@pytest.mark.slow
@pytest.mark.usefixtures("screened")
def test_runs_are_compared(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["--compare", str(runs), "--suite", "paper", "--out", str(out)]
    assert main([*arguments, "--num-levels", "12", "--action-mode", "both"]) == 0
    assert "placement probability 0.5" in capsys.readouterr().out
    with (out / RUNS).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3  # of each recipe its run, and the recipe as a whole
    with (out / SCREENED).open() as file:
        published = list(csv.DictReader(file))
    assert [row["env.placement_probability"] for row in published] == ["1.0", "0.5"]
    assert {(row["levels"], row["kept"]) for row in published} == {("12", "6")}
    summary = json.loads((out / SUMMARY).read_text())
    assert [group["runs"] for group in summary["groups"]] == [
        [str(runs / "end")],
        [str(runs / "moved")],
    ]
    # The same network on the same levels: not the least difference.
    for each in summary["differences"]:
        assert each["difference"] is None or each["difference"]["estimate"] == 0
    assert {each["measure"] for each in summary["differences"]} >= {"coin", "coin_attraction"}
    assert "<!doctype html>" in (out / REPORT).read_text()


def launch(run_dir: Path, out: Path) -> subprocess.Popen[str]:
    words = ["--run", str(run_dir), "--suite", "relocation", "--num-levels", "8"]
    words += ["--plugins", "tests.tiny_testbed"]
    return subprocess.Popen(
        [sys.executable, "-m", "eval", *words, "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, **QUICK_COMPILE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_what_is_stopped_leaves_nothing(corridor: Path, tmp_path: Path) -> None:
    """`test_cli` has what a process says of each signal."""
    process = launch(corridor, tmp_path / "deep" / "out")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("compiling")
    assert list((tmp_path / "deep" / "out").iterdir())  # the hidden folder
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=300)[1].splitlines()
    assert process.returncode == 128 + signal.SIGTERM
    assert said[-1] == "error: terminated"
    assert not any(tmp_path.iterdir())


def test_what_is_interrupted_leaves_nothing(
    corridor: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "deep" / "out"

    def play(options: Any) -> None:
        assert list(out.iterdir())  # the hidden folder
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(program, "_play", play)
    words = ["--run", str(corridor), "--suite", "relocation", "--out", str(out)]
    assert main(words) == 128 + signal.SIGINT
    assert capsys.readouterr().err.endswith("\nerror: interrupted\n")
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_reader_that_leaves_stops_nothing(corridor: Path, tmp_path: Path) -> None:
    process = launch(corridor, tmp_path / "out")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("compiling")
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(timeout=300) == 0
    assert "Broken" not in said
    assert (tmp_path / "out" / REPORT).exists()
