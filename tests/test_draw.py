"""`results/draw.py`: figures from a result's data, and one line where the data is damaged."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from eval import figures
from results.draw import main
from tests.conftest import ROOT

RESULTS = ROOT / "results"
PUBLISHED = RESULTS / "study" / "published" / "published.csv"


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A folder with the data of every figure."""
    for source in (RESULTS / "quickstart" / "summary.json", RESULTS / "quickstart" / "metrics.csv"):
        shutil.copy(source, tmp_path)
    shutil.copy(PUBLISHED, tmp_path)
    return tmp_path


def test_figures_are_drawn_and_not_overwritten_unasked(
    result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name for path in result.iterdir()}
    assert main([str(result)]) == 0
    drawn = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert {path.name for path in drawn} == {"published.png", "outcomes.png", "curves.png"}
    assert {path.name for path in result.iterdir()} == before | {path.name for path in drawn}
    sizes = [path.stat().st_size for path in drawn]
    assert min(sizes) > 10_000
    assert main([str(result)]) == 2
    assert "published.png already exists; --force overwrites it" in capsys.readouterr().err
    assert main([str(result), "--force"]) == 0
    assert [path.stat().st_size for path in drawn] == sizes


def test_a_comparison_has_no_figure_of_one_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary.json").write_text('{"groups": []}')
    shutil.copy(PUBLISHED, tmp_path)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'published.png'}\n"


def of_row(**values: Any) -> Callable[[str], str]:
    """Changes the agent's first row of a summary."""

    def change(text: str) -> str:
        summary = json.loads(text)
        summary["conditions"][0] |= values
        return json.dumps(summary)

    return change


def of_summary(**values: Any) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | values)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        # no such file
        ("summary.json", lambda text: text[:1000], "is not JSON"),
        ("summary.json", lambda text: "[]", "not a JSON object"),
        ("metrics.csv", lambda text: '"' + text, "metrics"),
        ("published.csv", lambda text: "", "no column 'group'"),
        # another structure
        ("summary.json", of_summary(environment="Maze-v9"), "'Maze-v9' is not one of"),
        ("summary.json", of_summary(conditions=3), "conditions 3 are not 1 ... 500 rows"),
        ("summary.json", of_row(coin=0.5), "coin 0.5 is not an estimate"),
        ("published.csv", lambda text: text.replace("p_train", "p"), "no column 'p_train'"),
        # values that are none
        ("metrics.csv", lambda text: text.replace("\n1,32768,", "\n1,many,"), "'many' of row 2"),
        (
            "published.csv",
            lambda text: text.replace(",558,0.", ",558,zero."),
            "'zero.030466' of row 2",
        ),
        (
            "published.csv",
            lambda text: text.replace(",558,0.030466", ",558,"),
            "row 2: a rate of the kept levels is missing",
        ),
        ("published.csv", lambda text: text.replace(",558,0.", ",558,,0."), "row 2 does not have"),
        ("published.csv", lambda text: text.replace(",2000,", ",2000,-"), "number of levels"),
    ],
)
def test_damaged_data_is_one_line(
    result: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    change: Callable[[str], str],
    words: str,
) -> None:
    path = result / name
    path.write_text(change(path.read_text()))
    before = sorted(result.iterdir())
    assert main([str(result)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 500
    assert words in captured.err
    assert sorted(result.iterdir()) == before


def test_titles_are_as_they_are_written(tmp_path: Path) -> None:
    text = (RESULTS / "quickstart" / "summary.json").read_text()
    (tmp_path / "summary.json").write_text(of_row(title=r"costs $\nothing{$")(text))
    assert main([str(tmp_path)]) == 0


def test_of_too_many_panels_there_is_no_figure(tmp_path: Path) -> None:
    head, *rows = PUBLISHED.read_text().splitlines()
    many = [head.replace("group,", "group,ppo.gamma,")]
    many += [row.replace(",", f",{number},", 1) for number in range(61) for row in rows[:2]]
    (tmp_path / "published.csv").write_text("\n".join(many) + "\n")
    assert main([str(tmp_path)]) == 2
    assert not (tmp_path / "published.png").exists()


def test_long_figures_are_drawn_coarser(tmp_path: Path) -> None:
    figure = plt.figure(figsize=(1, 1000))
    figures.save(figure, tmp_path / "long.png", "png")
    with Image.open(tmp_path / "long.png") as image:
        assert 2**15 < image.height < 2**16


@pytest.mark.parametrize("folder", ["none", "x" * 300, "."])
def test_where_there_is_nothing_to_draw_it_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([folder]) == 2
    words = "no published.csv, summary.json or metrics.csv that a figure can be drawn from"
    assert words in capsys.readouterr().err


def test_a_full_disk_leaves_the_figures_of_before(
    result: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (result / "outcomes.png").write_text("of before")
    before = sorted(result.iterdir())

    def fail(figure: Any, path: Path, kind: str) -> None:
        path.write_text("half of i")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(figures, "save", fail)
    assert main([str(result), "--force"]) == 1
    assert capsys.readouterr().err.endswith("No space left on device\n")
    assert sorted(result.iterdir()) == before
    assert (result / "outcomes.png").read_text() == "of before"
