"""The files of an evaluation: all or none, the numbers first, of several runs as of one."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Fault, Terminated
from eval import animations, outputs, report
from eval.evaluate import Protocol
from eval.langosco import screen
from eval.measures import summarise
from eval.options import Options
from eval.outputs import EPISODES, REPORT, RUNS, SCREENED, SCREENED_FIGURE, SUMMARY
from eval.reading import read_summary
from eval.results import AGENT, AGENT_TITLES, GREEDY, Evaluation
from eval.staging import require_folder, staging
from tests.evaluations import BLIND, COINRUN, FETCHES, MANY, PAPER, evaluation, runs_of

BAR = COINRUN.bar


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
    return [
        dataclasses.replace(
            each,
            played={AGENT: each.played[AGENT], GREEDY: each.played[AGENT], **each.played},
            titles=AGENT_TITLES | dict(each.titles),
        )
        for each in both
    ]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def content(folder: Path) -> dict[str, Any]:
    """Everything in a folder, hidden or not."""
    return {
        path.name: content(path) if path.is_dir() else path.read_text() for path in folder.iterdir()
    }


def write(
    out: Path, *names: str, asked: tuple[str, ...] = (), then: BaseException | None = None
) -> None:
    """Stage files that hold their names, and then fail perhaps.

    Args:
      asked: names of files that may be overwritten.
    """
    with staging(out, asked, force=bool(asked)) as part:
        for name in names:
            (part / name).write_text(name)
        if then is not None:
            raise then


def kept_in(out: Path) -> Path:
    """The hidden folder that was left for rescue."""
    (part,) = (path for path in out.iterdir() if path.is_dir())
    return part


STOPS = [
    InputError("too few levels"),
    OSError(errno.ENOSPC, "No space left on device"),
    KeyboardInterrupt(),
    Terminated(),
]


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: type(stop).__name__)
@pytest.mark.parametrize("there", [{}, {"out": {"mine": "old"}}], ids=["new", "old"])
def test_what_is_stopped_leaves_what_was_there(
    tmp_path: Path, stop: BaseException, there: dict[str, Any]
) -> None:
    if there:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("old")
    with pytest.raises(type(stop)) as caught:
        write(tmp_path / "out", "a", "mine", asked=("a", "mine"), then=stop)
    assert content(tmp_path) == there
    if isinstance(caught.value, OSError):  # of a write, which does not say of what
        assert caught.value.filename == str(tmp_path / "out")


@pytest.mark.parametrize("error", [LateError(), MemoryError(), RuntimeError("RESOURCE_EXHAUSTED")])
def test_what_was_written_is_kept_for_rescue_and_in_nobodys_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    with pytest.raises(LateError if isinstance(error, LateError) else Fault) as caught:
        write(tmp_path, "a", then=error)
    part = kept_in(tmp_path)
    assert f"the files written so far are in {part}" in f"{capsys.readouterr()} {caught.value}"
    assert content(part) == {"a": "a"}
    require_folder(tmp_path, ["a"], force=False)
    write(tmp_path, "a")
    assert content(tmp_path) == {"a": "a", part.name: {"a": "a"}}


def test_overwritten_is_what_was_asked_for_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a", "b", "mine"):
        (tmp_path / name).write_text("old")
    for name in ("a", "b"):
        with pytest.raises(InputError, match=f"{name} already exists; --force overwrites it"):
            require_folder(tmp_path, [name, "c"], force=False)
    require_folder(tmp_path, ["c"], force=False)
    require_folder(tmp_path, ["a", "b"], force=True)
    write(tmp_path, "a", asked=("a", "b"))
    assert content(tmp_path) == {"a": "a", "mine": "old"}  # `b` was of another evaluation


def test_what_comes_to_be_there_meanwhile_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("theirs")
    with pytest.raises(Fault, match="in the meantime; the files written so far are in"):
        write(tmp_path, "a")
    assert content(tmp_path) == {"a": "theirs", kept_in(tmp_path).name: {"a": "a"}}


def test_a_signal_does_not_come_between_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def interrupted(*paths: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        replace(*paths)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, "a", "b")
    assert content(tmp_path) == {"a": "a", "b": "b"}


def test_threads_may_stage_too(tmp_path: Path) -> None:
    thread = threading.Thread(target=write, args=(tmp_path, "a"))
    thread.start()
    thread.join()
    assert content(tmp_path) == {"a": "a"}


@pytest.mark.parametrize("probes", [False, True])
def test_numbers_of_a_run_outlive_what_fails_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probes: bool
) -> None:
    monkeypatch.setattr(outputs, "probe", fail)
    monkeypatch.setattr(animations, "make_gifs", fail)
    (case, _) = two_evaluations()
    given = options(tmp_path, [0.0], probes=probes)
    with pytest.raises(LateError):
        outputs.write_evaluation(given, [case], None, None, 1.0, tmp_path)  # type: ignore[arg-type]
    assert len(read(tmp_path / EPISODES)) == 4 * 3 * 100
    summary = json.loads((tmp_path / SUMMARY).read_text())
    assert summary["conditions"][0]["coin"]["estimate"] == 0.95
    assert summary["provenance"]["Seed"] == "0"
    assert read_summary(tmp_path / SUMMARY) == summarise([case])


def test_numbers_of_several_runs_outlive_what_fails_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "build_several", fail)
    given = options(tmp_path, [0.0, 0.5])
    with pytest.raises(LateError):
        outputs.write_comparison(given, two_evaluations(), None, 1.0, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {EPISODES, RUNS, SUMMARY}


def test_several_runs_leave_what_one_leaves(tmp_path: Path) -> None:
    given, both = options(tmp_path, [0.0, 0.5]), two_evaluations()
    screened = [screen(each, each.level_seeds[0] * 0.0) for each in both]
    printed = outputs.write_comparison(given, both, screened, 1.0, tmp_path)
    assert printed.endswith(f"Report: {tmp_path / REPORT}")

    rows = read(tmp_path / EPISODES)
    names = [each.run for each in both]
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
    assert [float(row["p_train"]) for row in read(tmp_path / SCREENED)] == [0.0, 0.0]
    assert (tmp_path / SCREENED_FIGURE).stat().st_size > 10_000

    page = (tmp_path / REPORT).read_text()
    assert f"Training config of {given.runs[0].name}<" in page
    for label in ("placement probability 0", "placement probability 0.5"):
        assert f'aria-label="Outcomes by condition and policy, {label}"' in page
        assert f'aria-label="Measures by condition and policy, {label}"' in page
    for title in ("right + jump, eyes closed", "uniformly random", "agent, likeliest action"):
        assert page.count(f'<th scope="row">{title}</th>') == 2 * (3 + 1)  # conditions, judged
    for name in (EPISODES, SCREENED, SCREENED_FIGURE):
        assert f'href="{name}"' in page
    assert "Levels screened as in Langosco" in page
