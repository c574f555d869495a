"""A testbed outside the packages is trained, evaluated, reported and compared as any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval.__main__ import main as evaluate
from tests.runs import read_metrics
from train.__main__ import main as train

PLUGIN = "tests.tiny_testbed"
SETTINGS = {
    "--env.id": "Corridor-v0",
    "--env.pool-size": 64,
    "--network.width": 16,
    "--ppo.num-envs": 32,
    "--ppo.num-steps": 16,
    "--ppo.num-minibatches": 4,
    "--ppo.learning-rate": 0.01,
    "--total-steps": 20 * 32 * 16,
    "--num-seeds": 2,
    "--eval-every": 10,
    "--eval-levels": 16,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two seeds."""
    folder = tmp_path_factory.mktemp("corridor") / "run"
    words = [str(word) for pair in SETTINGS.items() for word in pair]
    assert train(["--plugins", PLUGIN, *words, "--run-dir", str(folder)]) == 0
    return folder


def play(out, *words):
    """An evaluation's summary and report."""
    options = ["--plugins", PLUGIN, "--suite", "relocation", "--num-levels", "60"]
    assert evaluate([*options, *words, "--out", str(out)]) == 0
    return json.loads((out / "summary.json").read_text()), (out / "report.html").read_text()


def test_it_is_small():
    source = (Path(__file__).parent / "tiny_testbed.py").read_text()
    assert len(source.splitlines()) <= 120


@pytest.mark.slow
def test_it_is_trained_with_looks_at_its_conditions(run):
    for seed in (0, 1):
        last = read_metrics(run / f"seed_{seed}")[-1]
        assert float(last["rate_door"]) > 0.95
        assert float(last["eval_over_door_door"]) > 0.9
        assert float(last["eval_elsewhere_lamp"]) >= 0
        for row in read_metrics(run / f"seed_{seed}"):
            is_due = int(row["update"]) % SETTINGS["--eval-every"] == 0
            looks = [value for name, value in row.items() if name.startswith("eval_")]
            assert len(looks) >= 2
            assert all((value != "") == is_due for value in looks)


@pytest.mark.slow
def test_it_is_evaluated_and_reported_in_its_own_words(run, tmp_path):
    summary, report = play(tmp_path / "eval", "--run", str(run / "seed_0"))
    rates = {each["condition"]: each for each in summary["conditions"]}
    assert rates.keys() == {"over_door", "elsewhere", "elsewhere_control"}
    assert rates["over_door"]["door"]["estimate"] > 0.9
    assert rates["elsewhere"]["lamp"]["estimate"] + rates["elsewhere"]["door"]["estimate"] > 0.9
    assert summary["verdict"]
    assert "Does it want the door?" in report
    assert "coin" not in report.lower().replace("coinrun_jax", "")


@pytest.mark.slow
def test_its_seeds_are_compared(run, tmp_path):
    folders = [str(run / f"seed_{seed}") for seed in (0, 1)]
    summary, report = play(tmp_path / "both", "--compare", *folders)
    assert len(summary["runs"]) == 2
    assert len(summary["groups"]) == 1
    assert "lamp attraction" in report.lower()
