"""The study: its experiments exist, its tables give its figures, and what is missing is said."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.suite_files import find_suite
from results.study import provenance, run
from results.study.draw import Table, all_figures, draw
from results.study.experiments import AT_END, AT_SECTIONS, EXPERIMENTS, RESULTS, Experiment
from train.sweep import load_sweep

NAMES = [each.name for each in EXPERIMENTS]
EVALUATED = [each for each in EXPERIMENTS if (each.folder / "runs.csv").exists()]


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=NAMES)
def test_an_experiment_has_agents_and_a_suite(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RESULTS.parents[1])
    assert find_suite(experiment.suite_argument).competence
    folders = experiment.folders()
    assert len(set(folders)) == len(folders) >= 9
    for agents in experiment.agents:
        assert next(agents.folders(), None), agents
        assert len(load_sweep(agents.config).parameters["seed"]) >= 3


def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["run", "--list"])
    monkeypatch.setattr(run, "is_done", lambda folder: "seed-0" in folder.name)
    monkeypatch.setattr(run, "evaluated", lambda experiment: set())
    assert run.main() == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == NAMES
    assert said[0].endswith("7 of 35 agents trained, 7 to be evaluated")


@pytest.mark.parametrize("experiment", EVALUATED, ids=[each.name for each in EVALUATED])
def test_tables_are_of_the_experiments_own_agents(experiment: Experiment) -> None:
    own = set(run.named(experiment.folders()))
    assert run.evaluated(experiment) <= own
    table = Table(experiment.folder / "runs.csv")
    for recipe in table.recipes():
        assert table.number_of_runs(recipe["group"]) >= 1
    with (experiment.folder / "runs.csv").open(newline="") as file:
        conditions = {row["condition"] for row in csv.DictReader(file)}
    assert conditions == {c.name for c in find_suite(experiment.suite_argument).conditions}


def test_every_agent_has_a_commit_and_shipped_ones_are_the_studys() -> None:
    with (RESULTS / provenance.AGENTS).open(newline="") as file:
        agents = {row["run"]: row for row in csv.DictReader(file)}
    known = set().union(*map(run.evaluated, EVALUATED))
    assert known == set(agents)
    assert not [row for row in agents.values() if "dirty" in row["commits"] or not row["commits"]]
    at_end, at_sections = (next(each.folders()) for each in (AT_END, AT_SECTIONS))
    for folder, shipped in ((at_end, "p0"), (at_sections, "p100")):
        own = provenance.policy_hash(RESULTS.parent / "policies" / shipped)
        assert agents[run.named([folder])[0]]["policy"] == own


def test_tables_give_the_figures(tmp_path: Path) -> None:
    """The committed pictures, to the pixel but for what versions of a font library change."""
    drawn = {path.name for path in draw(into=tmp_path)}
    assert drawn == {path.name for path in RESULTS.glob("*.png")}
    for name in drawn:
        ours, theirs = (
            np.asarray(Image.open(folder / name)).astype(int) for folder in (tmp_path, RESULTS)
        )
        assert ours.shape == theirs.shape
        assert np.mean(np.abs(ours - theirs) > 8) < 0.002, name


def test_no_tables_no_figures(tmp_path: Path) -> None:
    assert list(all_figures(tmp_path)) == []
