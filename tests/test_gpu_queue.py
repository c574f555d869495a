"""The commands that wait for a GPU: a fault in one would be found only there."""

from __future__ import annotations

from pathlib import Path

import pytest

from coinrun_jax import benchmark
from coinrun_jax.registry import DEFAULT, find_testbed
from eval.suite_files import find_suite
from results.gpu import run
from results.gpu.run import STEPS, Command
from train.config import load_config, seed_folders
from train.sweep import config_of, load_sweep

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def commands_of(module: str) -> list[Command]:
    found = [command[1:] for _, step in STEPS.values() for command in step if command[0] == module]
    assert found
    return found


def after(option: str, words: Command) -> str:
    return words[words.index(option) + 1]


@pytest.mark.parametrize("module", ["pytest", "coinrun_jax.parity", "train.benchmark"])
def test_files_are_there(module: str) -> None:
    for words in commands_of(module):
        files = [word for word in words if word.startswith(("tests/", "configs/"))]
        assert all(Path(file).exists() for file in files), words


def test_the_environments_benchmark_takes_its_words() -> None:
    for words in commands_of("coinrun_jax.benchmark"):
        known = benchmark._arguments(words)
        assert known.num_envs[-1] == 2**16
        assert known.csv


def test_nothing_is_run_without_an_accelerator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "run", lambda name: pytest.fail(name))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert run.main(["exact"]) == 2
    assert "backend: cpu" in capsys.readouterr().err
    assert run.main(["exakt"]) == 2
    assert capsys.readouterr().err.startswith("error: exakt is not one of exact, ")


def test_sweeps_make_the_runs_that_are_compared() -> None:
    made: dict[str, set[str]] = {}
    for file, *words in commands_of("train.sweep"):
        sweep = load_sweep(Path(file))
        settings = words[2:]
        assert words[0] == "--out"
        configs = [config_of([*sweep.arguments(point), *settings]) for point in sweep.points()]
        assert {config.env.observation for config in configs} <= {"symbolic", "rgb"}
        if "--config" in settings:  # given last, it is the one that counts
            assert {c.network for c in configs} == {load_config(Path(settings[1])).network}
        made[words[1]] = {
            str(folder)
            for point, config in zip(sweep.points(), configs, strict=True)
            for folder in seed_folders(Path(words[1]) / sweep.run_name(point), config)
        }
    for words in commands_of("eval"):
        runs = made[after("--compare", words)]
        assert find_suite(find_testbed(DEFAULT), after("--suite", words)).conditions
        if "--reference" in words:
            assert after("--reference", words) in runs
