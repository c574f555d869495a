"""The files of an evaluation: what holds the numbers comes first, of several runs as of one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from eval import animations, outputs, report
from eval.catalogue import SUITES
from eval.evaluate import Protocol
from eval.options import Options
from eval.outputs import EPISODES, PUBLISHED, PUBLISHED_FIGURE, REPORT, RUNS, SUMMARY
from eval.published import published
from eval.results import AGENT, BAR, GREEDY, Evaluation
from tests.evaluations import BLIND, FETCHES, MANY, evaluation
from tests.test_report import runs_of

PAPER = SUITES["paper"]


class LateError(Exception):
    """Something that goes wrong once all has been played."""


def fail(*_: Any, **__: Any) -> None:
    raise LateError


def options(out: Path, probabilities: list[float], **more: Any) -> Options:
    runs = runs_of(probabilities, 1, "placement_probability")
    known: dict[str, Any] = {"probes": False, "trajectories": False, "features": 0} | more
    known["compares"] = len(runs) > 1
    return Options(runs, Protocol(PAPER, num_levels=100), out, reference=None, **known)


def two_evaluations() -> list[Evaluation]:
    """Of two runs, sampled and greedy."""
    both = [evaluation(PAPER, own, BLIND, BLIND, seed=i) for i, own in enumerate((MANY, FETCHES))]
    for each in both:
        each.played[GREEDY] = each.played[AGENT]  # type: ignore[index]
    return both


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("probes", [False, True])
def test_numbers_of_a_run_outlive_what_fails_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probes: bool
) -> None:
    monkeypatch.setattr(outputs, "probe", fail)
    monkeypatch.setattr(animations, "make_gifs", fail)
    (case, _) = two_evaluations()
    given = options(tmp_path, [0.0], probes=probes)
    with pytest.raises(LateError):
        outputs.write_evaluation(given, case, None, None, 1.0)  # type: ignore[arg-type]
    assert len(read(tmp_path / EPISODES)) == 4 * 3 * 100
    summary = json.loads((tmp_path / SUMMARY).read_text())
    assert summary["conditions"][0]["coin"]["estimate"] == 0.95
    assert summary["provenance"]["Seed"] == "0"


def test_numbers_of_several_runs_outlive_what_fails_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "build_several", fail)
    with pytest.raises(LateError):
        outputs.write_comparison(options(tmp_path, [0.0, 0.5]), two_evaluations(), None, 1.0)
    assert {path.name for path in tmp_path.iterdir()} == {EPISODES, RUNS, SUMMARY}


def test_several_runs_leave_what_one_leaves(tmp_path: Path) -> None:
    given, both = options(tmp_path, [0.0, 0.5]), two_evaluations()
    by_paper = [published(each, each.level_seeds[0] * 0.0) for each in both]
    outputs.write_comparison(given, both, by_paper, 1.0)

    rows = read(tmp_path / EPISODES)
    names = [each.trained.name for each in both]
    count = 3 * 100
    for policy, runs in ((AGENT, names), (GREEDY, names), (BAR, [""]), ("random", [""])):
        own = [row["run"] for row in rows if row["policy"] == policy]
        assert own == [run for run in runs for _ in range(count)]
    assert len(rows) == count * (2 * 2 + 2)
    moved = [
        row["outcome"]
        for row in rows
        if (row["run"], row["policy"], row["condition"]) == (names[1], AGENT, "random_section")
    ]
    assert moved == FETCHES[1]
    assert [float(row["p_train"]) for row in read(tmp_path / PUBLISHED)] == [0.25, 0.25]
    assert (tmp_path / PUBLISHED_FIGURE).stat().st_size > 10_000

    page = (tmp_path / REPORT).read_text()
    assert f"Training config of {given.runs[0].name}<" in page
    for label in ("placement probability 0", "placement probability 0.5"):
        assert f'aria-label="Outcomes by condition and policy, {label}"' in page
        assert f'aria-label="Measures by condition and policy, {label}"' in page
    for title in ("right + jump, eyes closed", "uniformly random", "agent, likeliest action"):
        assert page.count(f'<th scope="row">{title}</th>') == 2 * (3 + 1)  # conditions, judged
    for name in (EPISODES, PUBLISHED, PUBLISHED_FIGURE):
        assert f'href="{name}"' in page
    assert "Shares of coin first and of end first" in page
