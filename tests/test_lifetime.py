"""One agent over its training: from a run's kept policies to a table, a figure and a page."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from eval import report
from eval.__main__ import main
from eval.figures import save
from eval.figures.lifetime_figure import draw_lifetime, in_steps
from eval.lifetime import COLUMNS, follow, write_lifetime
from eval.measures import summarise
from eval.outputs import EPISODES, LIFETIME, LIFETIME_FIGURE, REPORT, SUMMARY
from eval.report.shown import Aged, player_data
from eval.runs import Run, find_runs
from tests.evaluations import BLIND, CASES, COINRUN, COMPETENT, FETCHES, MANY, PAPER, evaluation
from tests.refusals import refusal
from tests.test_report import FILES, PROBES, film
from tests.tiny_testbed import CorridorConfig
from train import run
from train.config import NetworkConfig, PPOConfig, StageConfig, TrainConfig
from train.policy import Policy

STAGED = TrainConfig(
    env=CorridorConfig(pool_size=16),
    network=NetworkConfig(width=8),
    ppo=PPOConfig(num_envs=8, num_steps=8, num_minibatches=2, num_epochs=2),
    keep_at="0,64",
    stages=(
        StageConfig(total_steps=128),
        StageConfig(name="more of it", total_steps=64),  # the same program
    ),
)
PLAYED = ["--suite", "relocation", "--num-levels", "12", "--checkpoints", "all"]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "staged"
    run.start(STAGED, folder)
    return folder


@pytest.fixture(scope="module")
def played(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """An evaluation, and how many programs were made to play in it."""
    folder = tmp_path_factory.mktemp("out") / "lifetime"
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("jax").addHandler(handler)
    jax.clear_caches()
    try:
        with jax.log_compiles():
            assert main(["--run", str(run_dir), *PLAYED, "--out", str(folder)]) == 0
    finally:
        logging.getLogger("jax").removeHandler(handler)
    return folder, sum("Compiling jit(_advance)" in each for each in said)


@pytest.fixture
def out(played: tuple[Path, int]) -> Path:
    return played[0]


def test_every_kept_policy_and_the_newest_are_played(run_dir: Path, out: Path) -> None:
    rows = read(out / LIFETIME)
    assert tuple(rows[0]) == COLUMNS
    moments = dict.fromkeys((row["steps"], row["update"], row["stage"]) for row in rows)
    assert list(moments) == [("0", "0", "1"), ("64", "1", "1"), ("192", "3", "2")]
    conditions = {row["condition"] for row in rows}
    assert conditions == {"over_door", "elsewhere", "elsewhere_control", ""}
    lifetime = json.loads((out / SUMMARY).read_text())["lifetime"]
    assert [age["steps"] for age in lifetime["ages"]] == [0, 64, 192]
    assert lifetime["borders"] == [{"steps": 128, "title": "more of it"}]
    assert (out / LIFETIME_FIGURE).read_bytes().startswith(b"\x89PNG")
    assert "Over training" in (out / REPORT).read_text()


def test_levels_are_the_same_at_every_age(run_dir: Path, out: Path) -> None:
    levels: dict[tuple[str, str], list[str]] = {}
    for row in read(out / EPISODES):
        levels.setdefault((row["run"], row["condition"]), []).append(row["level_seed"])
    names = {name for name, _ in levels}
    assert names == {"", *(f"{run_dir}@{update}" for update in (0, 1, 3))}
    assert len({tuple(seeds) for seeds in levels.values()}) == 1


def test_a_lifetime_ends_as_the_evaluation_of_the_run(run_dir: Path, out: Path) -> None:
    folder = out.parent / "single"
    words = ["--run", str(run_dir), "--suite", "relocation", "--num-levels", "12"]
    assert main([*words, "--out", str(folder)]) == 0
    single, whole = (json.loads((each / SUMMARY).read_text()) for each in (folder, out))
    for name in ("conditions", "references", "competence", "verdict"):
        assert single[name] == whole[name]


def test_all_policies_share_one_program(played: tuple[Path, int]) -> None:
    assert played[1] == 1


def test_kept_policies_are_no_runs_of_their_own(run_dir: Path) -> None:
    assert [each.name for each in find_runs([run_dir.parent])] == [str(run_dir)]
    kept = run_dir / "kept" / "64"
    assert [each.policy.update for each in find_runs([kept])] == [1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--run", "RUN", "--checkpoints", "some"], "'some'"),
        (["--run", "RUN", "--checkpoints", "all", "--trajectories"], "--checkpoints is for"),
        (["--compare", "RUN", "--checkpoints", "all"], "--checkpoints is for"),
        (["--run", "NONE", "--checkpoints", "all"], "train it with --keep-at"),
        (["--run", "RUN/kept", "--checkpoints", "all"], "no trained policy"),
    ],
)
def test_what_has_no_lifetime_is_said_in_a_line(
    run_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    named: str,
) -> None:
    none = tmp_path / "none"
    shutil.copytree(run_dir, none, ignore=shutil.ignore_patterns("kept"))
    words = [word.replace("RUN", str(run_dir)).replace("NONE", str(none)) for word in words]
    out = tmp_path / "out"
    assert named in refusal(main, [*words, "--suite", "relocation", "--out", str(out)], capsys)
    assert not out.exists()


CASE_CONFIG = TrainConfig(total_steps=65_536 * 100)
OLD, MIDDLE, NEW = (evaluation(PAPER, each, BLIND, BLIND) for each in (COMPETENT, MANY, FETCHES))


def lifetime_of(*evaluations, config=CASE_CONFIG, probes=None):
    updates = (0, 10, 100)[-len(evaluations) :]
    runs = [Run(f"run@{u}", Policy(config, None, None, u)) for u in updates]  # type: ignore[arg-type]
    return follow(runs[::-1], evaluations[::-1], [probes] * len(runs))


def test_ages_follow_training_and_changes_are_those_since_the_age_before(tmp_path: Path) -> None:
    lifetime = lifetime_of(MIDDLE, NEW)
    assert [age.steps for age in lifetime.ages] == [655_360, 6_553_600]
    first, last = lifetime.ages
    assert first.changes == ()
    assert first.summary == summarise([MIDDLE])
    write_lifetime(lifetime, tmp_path / "lifetime.csv")
    rows = {
        (row["steps"], row["condition"], row["measure"]): row
        for row in read(tmp_path / "lifetime.csv")
    }
    after = rows["6553600", "random_section", "coin"]
    assert float(after["estimate"]) == 0.97
    assert float(after["change"]) == pytest.approx(0.97 - 0.1)
    assert 0.7 < float(after["change_low"]) < 0.87 < float(after["change_high"]) < 1
    assert rows["655360", "random_section", "coin"]["change"] == ""
    assert after["stage"] == ""
    verdict = last.summary.verdict
    together = rows["6553600", "", "coin_attraction"]
    assert float(together["estimate"]) == pytest.approx(verdict.attraction.estimate, abs=1e-6)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("probes", [None, PROBES])
def test_figures_of_lifetimes_are_drawn(tmp_path: Path, theme: str, probes) -> None:
    stages = (StageConfig(total_steps=10**6), StageConfig("then", 5 * 10**6))
    config = dataclasses.replace(CASE_CONFIG, stages=stages)
    lifetime = lifetime_of(MIDDLE, NEW, config=config, probes=probes)
    figure = draw_lifetime(lifetime, COINRUN, theme)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    expected = ["capability", "coin attraction", "unaided goal misgeneralisation"]
    assert titles == [*expected, *(["probes", "value gap of the coin"] if probes else [])]
    assert [text.get_text() for text in figure.axes[0].texts] == ["then"]
    save(figure, tmp_path / "figure.svg", "svg")


@pytest.mark.parametrize("name", ["always dead", "no control", "one level", "no reference"])
def test_what_is_not_identifiable_is_left_out_of_a_lifetime(tmp_path: Path, name: str) -> None:
    lifetime = lifetime_of(CASES[name])
    save(draw_lifetime(lifetime, COINRUN), tmp_path / "figure.png", "png")
    write_lifetime(lifetime, tmp_path / "lifetime.csv")
    assert not re.search("nan|None|inf", (tmp_path / "lifetime.csv").read_text())


def test_the_page_has_a_slider_over_training() -> None:
    sprite = np.full((8, 8, 4), 9, np.uint8)
    ages = [Aged(title, [film(f"{title} {i}", sprite) for i in (1, 2)]) for title in ("0", "9k")]
    shown = report.Shown(films=ages[-1].films, ages=ages)
    data = player_data(shown, ("go",))
    assert data["ages"] == ["0", "9k"]
    assert [each["about"] for each in data["films"]] == ["0 1.", "0 2.", "9k 1.", "9k 2."]
    assert len(data["boards"]) == 1
    newest, lifetime = NEW, lifetime_of(MIDDLE, NEW)
    page = report.build_single(
        summarise([newest]), newest, {"Run": "run"}, "seed: 0\n", shown, FILES, lifetime=lifetime
    )
    assert '<input type="range" id="age" min="0" max="1" value="1"' in page
    assert page.count("data-film=") == 2
    assert "2 policies of one training run" in re.sub(r"\s+", " ", page)


@pytest.mark.parametrize(
    ("steps", "text"), [(0, "0"), (65_536, "65.5k"), (1_500_000, "1.5M"), (2e9, "2G")]
)
def test_steps_are_short(steps: float, text: str) -> None:
    assert in_steps(steps) == text
