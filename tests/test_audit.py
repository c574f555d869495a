"""The audit: right about made-up distributions whose dependence is known, and about ours."""

from __future__ import annotations

import csv
import functools
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from coinrun_jax import CoinRun
from coinrun_jax.coinrun.env_config import CoinRunConfig
from eval.audit import __main__ as program
from eval.audit.__main__ import CSV, FIGURE, JSON, main
from eval.audit.dependence import (
    RESAMPLES,
    divergence,
    entropy,
    information,
    of_cells,
    of_levels,
)
from eval.resampling import Resampling
from tests.conftest import ROOT
from tests.refusals import refusal

N, OTHERS = 4000, 8
CONFIG = str(ROOT / "configs" / "quickstart.yaml")
NUM_LEVELS = 600
FEW = ["--num-levels", str(NUM_LEVELS)]
MAZE = ("--env.id", "ExitMaze-v1", "--env.size", "7")
RESAMPLING = Resampling(np.arange(N), RESAMPLES)


def cells(kinds: int, strength: float, value: int = 0, seed: int = 0) -> np.ndarray:
    """Codes of N goals that have a value with a strength, and of other cells: all alike."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(kinds, size=(N, 1 + OTHERS))
    codes[rng.random(N) < strength, 0] = value
    return codes


def cell_truth(kinds: int, strength: float) -> float:
    """Bits: 1 - the entropy of goal or other, knowing the value."""
    p = np.full(kinds, (1 - strength) / kinds)
    p[0] += strength
    q = np.full(kinds, 1 / kinds)
    posterior = np.stack([p, q], -1) / (p + q)[:, None]
    return float(1 - np.sum((p + q) / 2 * entropy(posterior)))


@pytest.mark.parametrize("kinds", [2, 10])
@pytest.mark.parametrize(
    ("strength", "verdict"), [(1.0, "confounded"), (0.5, "partly"), (0.0, "independent")]
)
def test_cells_of_known_dependence(kinds: int, strength: float, verdict: str) -> None:
    codes = cells(kinds, strength)
    found = of_cells(codes, codes.astype(float), RESAMPLING)
    assert found.verdict == verdict
    assert found.bits.estimate == pytest.approx(cell_truth(kinds, strength), abs=0.015)
    assert found.bits.low - 0.01 <= cell_truth(kinds, strength) <= found.bits.high + 0.01
    assert found.effect.estimate == pytest.approx(-strength * (kinds - 1) / 2, abs=0.15)
    assert found.tied.estimate == pytest.approx(1, abs=0.01) or strength < 1
    told = 0.5 + strength * (1 - 1 / kinds) / 2
    assert found.predicted == pytest.approx(told, abs=0.02)
    assert (found.p > 0.01) == (strength == 0)


def test_a_cell_property_without_room_is_constant() -> None:
    codes = np.ones((N, 1 + OTHERS), int)
    codes[:, 1:][np.random.default_rng(0).random((N, OTHERS)) < 0.05] = 0
    assert of_cells(codes, codes.astype(float), RESAMPLING).verdict == "constant"


def level_case(kinds: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """A property that is the goal's tenth (modulo its kinds) with a strength, else anything."""
    rng = np.random.default_rng(1)
    place = rng.integers(10, size=(N, 1 + OTHERS))
    tied = rng.random(N) < strength
    return np.where(tied, place[:, 0] % kinds, rng.integers(kinds, size=N)), place


@pytest.mark.parametrize("kinds", [5, 62])
@pytest.mark.parametrize(
    ("strength", "verdict"), [(1.0, "confounded"), (0.5, "partly"), (0.0, "independent")]
)
def test_levels_of_known_dependence(kinds: int, strength: float, verdict: str) -> None:
    prop, place = level_case(kinds, strength)
    given = strength * (np.arange(10)[:, None] % kinds == np.arange(kinds))
    truth = float(information((given + (1 - strength) / kinds) / 10))
    found = of_levels(prop, place, RESAMPLING)
    assert found.verdict == verdict
    assert found.bits.estimate == pytest.approx(truth, abs=0.04)  # of up to 3.3
    assert (found.tied.estimate > 0.97) == (strength == 1)
    assert found.predicted > found.chance + 0.1 or strength < 1
    assert found.effect.estimate == pytest.approx(strength, abs=0.1) or kinds == 62


def test_what_geometry_gives_to_all_cells_does_not_count() -> None:
    rng = np.random.default_rng(2)
    prop = rng.integers(3, size=N)
    place = prop[:, None] * 3 + rng.integers(3, size=(N, 1 + OTHERS))
    found = of_levels(prop, place, RESAMPLING)
    assert found.goal == pytest.approx(1, abs=0.01)
    assert found.bits.estimate < 0.02
    assert found.verdict == "independent"


def test_levels_that_cannot_vary_and_places_that_do_not() -> None:
    prop, place = level_case(5, 1.0)
    assert of_levels(np.zeros(N, int), place, RESAMPLING).verdict == "constant"
    place[:, 0] = 9
    found = of_levels(prop, place, RESAMPLING)
    assert found.verdict == "independent"
    assert found.chance == found.predicted == 1


def test_samples_of_a_level_stay_together() -> None:
    levels = np.repeat(np.array([7, 3, 9, 1, 5]), 3)
    resampling = Resampling(levels, 100)
    weights = resampling.of_samples().reshape(-1, 5, 3)
    assert (weights == weights[..., :1]).all()
    assert (weights[..., 0].sum(1) == 5).all()
    values = np.random.default_rng(0).normal(size=(15, 2))
    means = np.einsum("bm,mk->bk", resampling.of_samples(), values) / 15
    np.testing.assert_allclose(resampling.means(values), means)


def test_divergence_is_of_one_bit_at_most() -> None:
    assert divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1
    assert divergence(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0


BUILT = functools.cache(CoinRun.build_params)


@pytest.fixture(autouse=True)
def _one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audits of CoinRun are on the first levels, built once and no more than are looked at."""
    monkeypatch.setattr(CoinRunConfig, "pool_size", NUM_LEVELS)
    monkeypatch.setattr(CoinRun, "build_params", BUILT)


def audit(out: Path, *more: str) -> dict[str, dict[str, object]]:
    assert main(["--config", CONFIG, *FEW, "--out", str(out), *more]) == 0
    summary = json.loads((out / JSON).read_text())
    return {row["property"]: row for row in summary["properties"]}


def test_end_names_its_confounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = audit(tmp_path / "a", "--env.placement", "end")
    for name, title in [
        ("share_of_way", "rightmost"),
        ("at_end", "at the end wall"),
        ("distance", "far from the spawn"),
    ]:
        assert found[name]["verdict"] == "confounded"
        assert str(found[name]["sentence"]).startswith(title)
    themes = ("ground_theme", "background", "agent_colour", "difficulty")
    assert {found[name]["verdict"] for name in themes} == {"independent"}
    printed = capsys.readouterr().out
    assert all(str(row["sentence"]) in printed for row in found.values())
    assert "The reward is 10 for touching the coin and nothing else" in printed
    with (tmp_path / "a" / CSV).open() as file:
        assert [row["property"] for row in csv.DictReader(file)] == list(found)
    assert (tmp_path / "a" / FIGURE).read_bytes().startswith(b"\x89PNG")


def test_uniform_is_cleared(tmp_path: Path) -> None:
    found = audit(tmp_path / "a", "--env.placement", "uniform")
    never = {"near_decoy", "decoy", "at_end"}  # without decoys, and a moved coin leaves the end
    verdicts = {name: row["verdict"] for name, row in found.items() if name not in never}
    assert set(verdicts.values()) == {"independent"}, verdicts
    assert {found[name]["verdict"] for name in never} == {"constant"}


def test_a_tied_theme_is_found(tmp_path: Path) -> None:
    found = audit(tmp_path / "a", "--env.placement", "uniform", "--env.cues.tie-ground", "1")
    assert found["ground_theme"]["verdict"] == "confounded"
    assert found["background"]["verdict"] == found["agent_colour"]["verdict"] == "independent"


def test_green_is_confounded_with_the_exit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = audit(tmp_path / "a", *MAZE)
    confounded = {name for name, row in found.items() if row["verdict"] == "confounded"}
    assert confounded == {"green", "coloured"}
    green = found["green"]
    assert green["goal"] == 1
    assert green["other"] == 0
    assert "it tells the exit from other border cells of its level" in str(green["sentence"])
    assert "The reward is 1 for the exit and nothing else" in capsys.readouterr().out
    independent = {name for name, row in found.items() if row["verdict"] == "independent"}
    assert {"left", "right", "top", "bottom", "distance", "dead_end"} <= independent

    found = audit(tmp_path / "b", *MAZE, "--env.cues.exit-green", "0.5")
    assert found["green"]["verdict"] == "partly"
    assert found["coloured"]["verdict"] == "confounded"


def test_a_green_decoy_on_the_border_is_another_green_cell(tmp_path: Path) -> None:
    """On the least boards, one in about eleven other border cells."""
    decoy = ("--env.cues.decoy-place", "border", "--env.cues.decoy-with-green", "green")
    green = audit(tmp_path / "a", *MAZE, *decoy)["green"]
    assert green["goal"] == 1
    assert green["other"] == pytest.approx(1 / 11, abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--config"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--config", CONFIG, "--num-levels", "3"], "--num-levels: '3'"),
        (["--config", CONFIG, "--seed", "-1"], "--seed: '-1'"),
        (["--config", CONFIG, "--out", str(ROOT / "README.md")], "is not a folder"),
        (["--config", CONFIG, "--out", "x" * 300], "too long"),
        (["--config", CONFIG, "--env.placemint", "end"], "placemint"),
        (["--config", CONFIG, "--env.placement", "nowhere"], "nowhere"),
        (["--config", CONFIG, "--env.cues.coin-look", "blue"], "blue"),
        (["--config", CONFIG, "--env.placement", "absent"], "no episode"),
        (["--config", CONFIG, "--env.id", "CartPole-v1"], "CartPole-v1 has no audit"),
    ],
)
def test_bad_input_is_one_line_before_anything_compiles(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
    with jax.log_compiles():
        assert says in refusal(main, [*arguments, *out], capsys)
    assert not [each for each in caplog.messages if "ompiling" in each]
    assert not any(tmp_path.iterdir())


def test_an_audit_is_not_overwritten_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / CSV).write_text("mine")
    arguments = ["--config", CONFIG, "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "already exists; --force overwrites it" in capsys.readouterr().err

    def fail(*words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(program, "_audit", lambda *words: {})
    monkeypatch.setattr(program, "_write", fail)
    assert main([*arguments, "--force"]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}: No space left on device\n"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
