"""`python -m eval`: bad input is one line and writes nothing; a run ends in files to read."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import coinrun_jax
from eval.__main__ import EPISODES, FIGURE, REPORT, SUMMARY, main
from eval.results import MEASURES
from train.config import NetworkConfig, TrainConfig
from train.networks import make_network
from train.policy import save_policy


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose agent has learned nothing."""
    folder = tmp_path_factory.mktemp("run")
    config = TrainConfig(network=NetworkConfig(kind="mlp", width=16), seed=5)
    env = coinrun_jax.CoinRun()
    shape = env.observation_space().shape
    network = make_network(config.network, shape, env.num_actions)
    params = network.init(jax.random.key(0), np.zeros((1, *shape), np.float32))
    save_policy(folder, params, config, 0)
    return folder


def assert_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    for word in words:
        assert word in captured.err


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"--suite": "relocate"}, ("relocate", "relocation")),
        ({"--num-levels": "0"}, ("--num-levels 0", "1 ... 1000000")),
        ({"--num-levels": "1000001"}, ("1000001",)),
        ({"--num-levels": "many"}, ("--num-levels", "many")),
        ({"--seed": "-1"}, ("--seed -1",)),
        ({"--action-mode": "best"}, ("best", "greedy")),
        ({"--levels": "3"}, ("--levels",)),
    ],
)
def test_bad_options_are_refused(
    run_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    replaced: dict[str, str],
    words: tuple[str, ...],
) -> None:
    out = tmp_path / "out"
    options = {"--run": str(run_dir), "--suite": "relocation", "--out": str(out)} | replaced
    assert_refused(capsys, [part for option in options.items() for part in option], *words)
    assert not out.exists()


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    rest = ["--suite", "relocation", "--out", str(out)]
    assert_refused(capsys, ["--run", str(tmp_path / "none"), *rest], "none")
    (tmp_path / "empty").mkdir()
    assert_refused(capsys, ["--run", str(tmp_path / "empty"), *rest], "empty")
    assert_refused(capsys, rest, "--run")
    assert not out.exists()


def test_results_are_never_overwritten(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--run", str(run_dir), "--suite", "relocation", "--out", str(tmp_path)]
    (tmp_path / EPISODES).write_text("mine")
    assert_refused(capsys, arguments, str(tmp_path), EPISODES)
    assert [path.name for path in tmp_path.iterdir()] == [EPISODES]
    assert (tmp_path / EPISODES).read_text() == "mine"
    file = tmp_path / EPISODES
    assert_refused(capsys, [*arguments[:-1], str(file)], "not a directory")
    assert_refused(capsys, [*arguments[:-1], str(file / "out")], str(file / "out"))


@pytest.mark.slow
def test_a_run_is_evaluated(
    run_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def draw(self: Any, state: Any, params: Any, size: int = 512) -> np.ndarray:
        return np.full((size, size, 3), int(state.time) % 256, np.uint8)

    monkeypatch.setattr(coinrun_jax.CoinRun, "render", draw, raising=False)
    out = tmp_path / "deep" / "out"
    arguments = ["--run", str(run_dir), "--suite", "relocation", "--out", str(out)]
    assert main([*arguments, "--num-levels", "12", "--seed", "3"]) == 0

    printed = capsys.readouterr().out
    for words in ("coin at the end", "right + jump, eyes closed", "coin attraction", REPORT):
        assert words in printed

    with (out / EPISODES).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 * 12
    assert {row["train_seed"] for row in rows} == {"5", ""}
    assert {row["p_train"] for row in rows} == {"0.0", ""}
    held_out = {str(seed) for seed in coinrun_jax.TEST_LEVELS[:12]}
    assert {row["level_seed"] for row in rows} == held_out

    summary = json.loads((out / SUMMARY).read_text())
    assert [c["condition"] for c in summary["conditions"]] == [
        "end",
        "random_section",
        "random_section_control",
    ]
    for row in summary["conditions"]:
        assert row["episodes"] == 12
        for name in MEASURES:
            assert row[name] is None or set(row[name]) == {"estimate", "low", "high"}
    assert set(summary["references"]) == {"right_jump", "random"}
    coins = sum(
        r["outcome"] == "coin" for r in rows if r["policy"] == "agent" and r["condition"] == "end"
    )
    assert summary["conditions"][0]["coin"]["estimate"] == coins / 12

    assert (out / FIGURE).stat().st_size > 10_000
    assert "<!doctype html>" in (out / REPORT).read_text()
    assert_refused(capsys, arguments, "already holds")
