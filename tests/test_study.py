"""The study: its experiments exist, its tables give its figures, and what is missing is said."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coinrun_jax.coinrun.testbed import CoinRunTestbed
from eval.suite_files import find_suite
from results.lifetime import draw as lifetime_draw
from results.lifetime import run as lifetime_run
from results.study import experiments, provenance, run, tables
from results.study.draw import all_figures, draw
from results.study.experiments import AT_END, AT_SECTIONS, EXPERIMENTS, RESULTS, Experiment
from results.study.tables import Row, Table
from train.config import TrainConfig
from train.sweep import load_sweep

TESTBED = CoinRunTestbed()
BY_NAME = {each.name: each for each in EXPERIMENTS}
NAMES = list(BY_NAME)
EVALUATED = [each for each in EXPERIMENTS if (each.folder / "runs.csv").exists()]


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=NAMES)
def test_an_experiment_has_agents_and_a_suite(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RESULTS.parents[1])
    suite = find_suite(TESTBED, experiment.suite_argument)
    assert TESTBED.trained_condition(suite, TESTBED.Config())[1]
    assert suite.judged
    assert len(experiment.runs()) >= 8
    for agents in experiment.agents:
        assert next(agents.runs(), None), agents
        assert len(load_sweep(agents.config).parameters["seed"]) >= 3


def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "is_done", lambda folder: "seed-0" in folder.name)
    known = {*list(EXPERIMENTS[0].runs())[:2], *list(EXPERIMENTS[0].runs())[-1:]}
    monkeypatch.setattr(run, "evaluated", lambda experiment: known)
    assert run.main(["--list"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == NAMES
    assert said[0].endswith("3 of 35 agents evaluated, 5 more trained")


def test_only_what_no_table_has_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what was measured before, elsewhere perhaps."""
    asked: list[str] = []

    def train_all(runs: list[tuple[str, list[str]]], out: Path, jobs: int) -> int:
        asked.extend(name for name, _ in runs)
        return 0

    first, second = EXPERIMENTS[:2]  # of the same agents
    gone = list(first.runs())[3:5]
    monkeypatch.setattr(run, "train_all", train_all)
    monkeypatch.setattr(run, "evaluated", lambda experiment: set(experiment.runs()) - set(gone))
    run.train([first, second], jobs=1)
    assert [f"runs/study/{name}" for name in asked] == gone


@pytest.mark.parametrize("experiment", EVALUATED, ids=[each.name for each in EVALUATED])
def test_tables_are_of_the_experiments_own_agents(experiment: Experiment) -> None:
    assert run.evaluated(experiment) <= set(experiment.runs())
    table = Table(experiment.folder / "runs.csv")
    for recipe in table.recipes():
        assert table.number_of_runs(recipe["group"]) >= 1
    with (experiment.folder / "runs.csv").open(newline="") as file:
        conditions = {row["condition"] for row in csv.DictReader(file)}
    suite = find_suite(TESTBED, experiment.suite_argument)
    assert conditions == {condition.name for condition in suite.conditions}


def test_every_agent_has_a_commit_and_shipped_ones_are_the_studys() -> None:
    with (RESULTS / provenance.AGENTS).open(newline="") as file:
        agents = list(csv.DictReader(file))
    entered = [(name, row["run"]) for row in agents for name in provenance.evaluations(row)]
    known = [(each.name, name) for each in EVALUATED for name in run.evaluated(each)]
    assert sorted(entered) == sorted(known)  # each by one agent
    assert not [row for row in agents if "dirty" in "".join(row.values()) or not row["commits"]]
    for recipe, shipped in ((AT_END, "p0"), (AT_SECTIONS, "p100")):
        first, _ = next(recipe.runs())
        policies = {row["policy"] for row in agents if row["run"] == first}
        assert policies == {provenance.policy_hash(RESULTS.parent / "policies" / shipped)}


def _parts(rows: list[Row], recipe: str, seeds: set[str]) -> tuple[list[Row], list[Row]]:
    """A table as two evaluations would have given it: some of a recipe's runs came later."""
    runs = [row for row in rows if row["run"]]
    late = [row for row in runs if row["group"] == recipe and row["seed"] in seeds]
    whole = [row for row in rows if not row["run"] and row["group"] != recipe]
    return [row for row in runs if row not in late] + whole, late


def test_a_table_grows_as_agents_come() -> None:
    experiment = EXPERIMENTS[0]
    rows = tables.read(experiment.folder / "runs.csv")
    configs = run.configs_of(experiment)
    assert tables.merge([], rows, configs) == tables.merge(rows, [], configs)
    recipe = rows[0]["group"]
    merged = tables.merge(*_parts(rows, recipe, {"1", "4"}), configs)

    def key(row: Row) -> tuple[str, str, str]:
        return row["group"], row["run"], row["condition"]

    known = {key(row): row for row in rows}
    assert {key(row) for row in merged} == set(known)
    for row in merged:
        old = known[key(row)]
        if row["run"] or row["group"] != recipe:
            assert row == old
            continue
        assert row["episodes"] == old["episodes"]
        for measure in tables.MEASURES:
            ours, theirs = tables.estimate(row, measure), tables.estimate(old, measure)
            assert (ours is None) == (theirs is None)
            if ours and theirs:  # no narrower, and no wider than if runs were alike on levels
                assert ours.estimate == pytest.approx(theirs.estimate, abs=2e-6)
                assert ours.low <= theirs.low + 2e-3
                assert ours.high >= theirs.high - 2e-3
                assert ours.high - ours.low <= np.sqrt(5) * (theirs.high - theirs.low) + 2e-3


def test_recipes_are_told_apart_anew() -> None:
    """A first table has no column for a setting that only a later agent changes."""
    experiment = BY_NAME["reward"]
    rows = tables.read(experiment.folder / "runs.csv")
    configs = run.configs_of(experiment)
    of_coin = {name: c for name, c in configs.items() if c.env.reward.coin}
    first = tables.merge([], [row for row in rows if row["run"] in of_coin], of_coin)
    assert "env.reward.coin" not in first[0]
    late = [row for row in rows if row["run"] and row["run"] not in of_coin]
    both = tables.merge(first, late, configs)
    assert {row["group"] for row in both} == {row["group"] for row in rows}
    assert list(both[0]) == list(rows[0])


def test_tables_of_different_tests_are_not_merged() -> None:
    configs = {"a": TrainConfig(seed=0), "b": TrainConfig(seed=1)}
    one = [{"group": "all runs", "run": "a", "condition": "end", "episodes": "2000"}]
    other = [{"group": "all runs", "run": "b", "condition": "end", "episodes": "1000"}]
    with pytest.raises(ValueError, match="2 different"):
        tables.merge(one, other, configs)


def test_no_run_is_dropped() -> None:
    row = {"group": "all runs", "run": "a", "condition": "end", "episodes": "2000"}
    with pytest.raises(ValueError, match="no experiment has 'a'"):
        tables.merge([row], [], {})


def test_a_whole_row_goes_with_its_runs() -> None:
    """Of a recipe that has lost a run, what was said of it as a whole is said anew."""
    experiment = EXPERIMENTS[0]
    rows = tables.read(experiment.folder / "runs.csv")
    configs = run.configs_of(experiment)
    gone = next(iter(configs))
    merged = tables.merge([row for row in rows if row["run"] != gone], [], configs)
    for row in merged:
        if not row["run"]:
            own = [r for r in merged if r["run"] and r["group"] == row["group"]]
            number = len({r["run"] for r in own})
            assert row["episodes"] == str(2000 * number), row["group"]
            assert (row in rows) == (number == 5)


def test_each_table_has_an_agent_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agents.csv"

    def describe(name: str) -> Row:
        return {"run": name, "policy": policy, "experiments": ""}

    def there() -> set[tuple[str, str]]:
        return {(row["policy"], row["experiments"]) for row in tables.read(path)}

    monkeypatch.setattr(provenance, "describe", describe)
    policy, commit = "one", "c1"
    provenance.record("here", ["a"], commit, path)
    provenance.share({"a"}, "here", "there", path)
    assert there() == {("one", "here@c1 there@c1")}
    policy, commit = "two", "c2"  # trained and measured anew
    provenance.record("here", ["a"], commit, path)
    assert there() == {("one", "there@c1"), ("two", "here@c2")}
    provenance.share({"a"}, "here", "there", path)
    assert there() == {("two", "here@c2 there@c2")}


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results, to be written to; what was done is not entered in agents.csv."""
    for each in EVALUATED:
        tables.write(
            tables.read(each.folder / "runs.csv"), tmp_path / "study" / each.name / "runs.csv"
        )
    monkeypatch.setattr(experiments, "RESULTS", tmp_path / "study")
    monkeypatch.setattr(provenance, "share", lambda *words: None)
    monkeypatch.setattr(provenance, "record", lambda *words: None)
    return tmp_path / "study"


def test_what_another_experiment_has_measured_is_taken(copied: Path) -> None:
    source, experiment = BY_NAME["coin_randomisation"], BY_NAME["num_levels"]
    path = copied / "num_levels" / "runs.csv"
    rows = tables.read(path)
    shared = run.evaluated(source) & run.evaluated(experiment)
    assert len(shared) == 5
    few = [row for row in rows if row["run"] not in shared]
    tables.write(tables.merge([], few, run.configs_of(experiment)), path)
    run.adopt(experiment)
    assert tables.read(path) == rows


def test_an_evaluation_is_entered_whole_or_not_at_all(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = BY_NAME["num_levels"]
    path = copied / "num_levels" / "runs.csv"
    rows = tables.read(path)
    new = next(name for name in run.evaluated(experiment) if "num_levels-100" in name)
    tables.write([row for row in rows if row["run"] != new], path)

    def evaluation(words: list[str], cwd: Path, check: bool) -> subprocess.CompletedProcess[bytes]:
        assert words[words.index("--compare") + 1 : words.index("--suite")] == [new]
        out = cwd / words[words.index("--out") + 1]
        tables.write([row for row in rows if row["run"] == new], out / "runs.csv")
        return subprocess.CompletedProcess(words, 0)

    def fail(*words: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(run, "ROOT", copied)
    monkeypatch.setattr(run, "is_done", lambda folder: folder == copied / new)
    monkeypatch.setattr(subprocess, "run", evaluation)
    monkeypatch.setattr(provenance, "record", fail)
    with pytest.raises(OSError, match="no space"):
        run.evaluate(experiment, "c1")
    assert new in run.lacking(experiment)
    monkeypatch.setattr(provenance, "record", lambda *words: None)
    run.evaluate(experiment, "c1")
    assert not run.lacking(experiment).keys() & {new}
    assert [row for row in tables.read(path) if row["run"]] == [row for row in rows if row["run"]]


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


def test_the_lifetimes_means_are_of_its_looks() -> None:
    means = lifetime_draw.average(lifetime_draw.read(lifetime_draw.FOLDER / lifetime_draw.TABLE))
    with (lifetime_draw.FOLDER / lifetime_draw.AVERAGED).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(means)
    for row in rows:
        mean = means[row["recipe"], int(row["steps"]), row["condition"], row["measure"]]
        for name in ("estimate", "low", "high"):
            assert float(row[name]) == pytest.approx(getattr(mean, name), abs=1e-4)


def test_the_lifetimes_agents_are_those_of_its_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    every = lifetime_run.trainings()
    assert {each.recipe for each in every.values()} == set(lifetime_draw.RECIPES)
    with (lifetime_run.FOLDER / lifetime_run.MADE).open(newline="") as file:
        made = list(csv.DictReader(file))
    for row in made:
        own = every[row["run"]]
        assert (own.recipe, str(own.seed)) == (row["recipe"], row["seed"])
    assert lifetime_run.main(["--list"]) == 0
    assert capsys.readouterr().out.count("measured") == len(made)
