"""Suites: those that come with the project, those of a file, and the levels they are played on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml

from coinrun_jax import TEST_LEVELS
from coinrun_jax.overlap import hash_seeds
from eval.catalogue import SUITES
from eval.levels import choose_levels
from eval.suite_files import SuiteError, find_suite
from eval.suites import Condition, LevelSet, Suite, control, with_control
from eval.variants import stack


@pytest.mark.parametrize("name", SUITES)
def test_every_moved_coin_has_its_control(name: str) -> None:
    suite = SUITES[name]
    assert suite.name == name
    for condition in suite.conditions:
        if condition.tells_coin_from_end:
            own = suite.control_of(condition.name)
            assert own is not None
            assert own == control(condition)
            assert not own.has_coin
            with_coin, without = condition.settings(), own.settings()
            changed = with_coin["placement"].replace(present=np.bool_(False))
            jax.tree.map(np.testing.assert_array_equal, without, with_coin | {"placement": changed})


def test_the_suites_hold_what_they_are_named_for() -> None:
    names = {name: {c.name for c in suite.conditions} for name, suite in SUITES.items()}
    placements = {"end", "random_section", "uniform", "off_path", "behind", "absent"}
    assert placements <= names["relocation"]
    assert {"red", "gem", "decoy", "end_hidden", "mirrored", "coin_hidden", "tied"} <= names["cues"]
    assert {"difficulty_3", "sections_5", "easy", "hard", "long"} <= names["capability"]
    shares = [c.fraction[0] for c in SUITES["placement_curve"].conditions if c.present]
    np.testing.assert_allclose(shares, np.linspace(0, 1, 11))
    curve = SUITES["placement_curve"]
    assert curve.at_the_end == "fraction_10"  # the whole way is the end
    assert curve.judged == tuple(f"fraction_{tenth:02d}" for tenth in range(10))
    for name in ("relocation", "placement_curve", "cues", "capability", "paper"):
        assert names[name] <= names["all"]
    assert SUITES["relocation"].judged == ("random_section", "uniform")
    assert SUITES["cues"].judged == ("plain",)
    assert SUITES["relocation"].at_the_end == "end"


def write(folder: Path, content: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def test_a_suite_of_ones_own(tmp_path: Path) -> None:
    suite = find_suite(
        write(
            tmp_path,
            {
                "conditions": [
                    {"name": "end"},
                    {
                        "name": "last_fifth",
                        "placement": "fraction",
                        "fraction": [0.8, 1.0],
                        "control": True,
                    },
                    {
                        "name": "red_and_long",
                        "placement": "uniform:3,off_path:1",
                        "cues": {"coin_look": "red", "hide": ["saw"]},
                        "items": {"number": 1, "placement": "end"},
                        "levels": {"min_length": 30, "mode": "easy"},
                    },
                ]
            },
        )
    )
    assert suite.name == "mine"
    assert [c.name for c in suite.conditions] == [
        "end",
        "last_fifth",
        "last_fifth_control",
        "red_and_long",
    ]
    assert suite.judged == ("last_fifth",)
    last = suite.conditions[1]
    assert last.title == "last fifth"
    np.testing.assert_allclose(last.settings()["placement"].fraction, [0.8, 1.0])
    red = suite.conditions[3]
    assert red.levels == LevelSet(mode="easy", min_length=30)
    assert red.settings()["cues"].hide_saw
    assert red.settings()["items"].number == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [", "no YAML"),
        ([1, 2], "list of `conditions`"),
        ({"conditions": []}, "must be some"),
        ({"conditions": [{"title": "x"}]}, "condition 1 must have a name"),
        ({"conditions": [{"name": "a"}, {"name": "a"}]}, "differ"),
        ({"conditions": [{"name": "a", "colour": "red"}]}, "'colour'"),
        ({"conditions": [{"name": "a", "placement": "up"}]}, "'up' is not one of"),
        ({"conditions": [{"name": "a", "cues": {"coin_look": "blue"}}]}, "'blue'"),
        ({"conditions": [{"name": "a", "cues": {"shape": 1}}]}, "shape"),
        ({"conditions": [{"name": "a", "levels": {"mode": "medium"}}]}, "'medium'"),
        ({"conditions": [{"name": "a", "levels": {"difficulty": 1, "sections": 3}}]}, "sections"),
        ({"conditions": [{"name": "a", "levels": 3}]}, "mapping"),
        ({"conditions": [{"name": "a"}], "judged": ["a"]}, "cannot be judged"),
        ({"conditions": [{"name": "a"}], "judged": "a"}, "judged 'a' is no list"),
        ({"conditions": [{"name": "a", "fraction": 0.5}]}, "fraction 0.5 of condition 'a'"),
        ({"conditions": [{"name": "a", "cell": [3]}]}, "cell [3] of condition 'a'"),
        ({"conditions": [{"name": "a", "control": True}]}, "'a' takes no control"),
        (
            {"conditions": [{"name": "a", "placement": "absent:1,uniform:1", "control": True}]},
            "'a' takes no control",
        ),
        (
            {"conditions": [{"name": "a", "placement": "uniform,end:0.5", "control": True}]},
            "'a' takes no control",
        ),
        ({"conditions": [{"name": "a"}], "levels": {}}, "'levels'"),
        ({"conditions": [{"name": "a", "title": 2024}]}, "title 2024 of condition 'a' is no str"),
        ({"conditions": [{"name": "a", "present": "no"}]}, "present 'no' of condition 'a'"),
        ({"conditions": [{"name": "a"}], "name": "paper"}, "'paper' belongs to a suite"),
    ],
)
def test_suites_that_make_no_sense_are_one_line(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(SuiteError) as caught:
        find_suite(write(tmp_path, content))
    message = str(caught.value)
    assert words in message
    assert "mine.yaml" in message
    assert "\n" not in message


def test_unknown_suites_are_named() -> None:
    with pytest.raises(SuiteError, match="'relocate' is not one of relocation"):
        find_suite("relocate")
    with pytest.raises(SuiteError, match="none"):
        find_suite("none.yaml")


def test_training_is_what_a_condition_leaves_alone() -> None:
    condition = Condition("red", cues={"coin_look": "red"})
    settings = condition.settings({"mirrored": True, "coin_look": "gem"}, {"number": 1})
    assert settings["cues"].mirrored
    assert settings["cues"].coin_look == 1
    assert settings["items"].number == 1
    with pytest.raises(ValueError, match="must not look like the coin"):
        condition.settings(items={"number": 1, "look": "red"})


def test_levels_of_every_kind() -> None:
    conditions = [
        Condition("any"),
        Condition("easy", levels=LevelSet(mode="easy")),
        Condition("long", levels=LevelSet(min_length=40)),
        Condition("middle", levels=LevelSet(difficulty=2, sections=3)),
    ]
    levels, index = choose_levels(Suite("s", tuple(conditions)), "hard", 20)
    assert index.shape == (4, 20)
    seeds = np.asarray(levels.seed)[index]
    assert seeds[0].tolist() == seeds[1].tolist() == list(TEST_LEVELS[:20])
    assert (index[0] != index[1]).all()  # the same seeds, other levels
    end = np.asarray(levels.end_cell)[index]
    assert (end[2, :, 0] >= 40).all()
    assert (np.asarray(levels.difficulty)[index[3]] == 2).all()
    assert (np.asarray(levels.num_sections)[index[3]] == 3).all()
    assert (np.diff(seeds.astype(np.int64)) > 0).all()
    assert np.isin(seeds, TEST_LEVELS).all()
    # The easy levels have less on them than the hard ones of the same seeds.
    enemies = (np.asarray(levels.entity_type) == 5).sum(1)
    assert enemies[index[1]].sum() < enemies[index[0]].sum()


def test_layouts_of_training_levels_are_left_out() -> None:
    sets = (Condition("any"), Condition("easy", levels=LevelSet(mode="easy", min_length=12)))
    suite, training = Suite("s", sets), range(200)
    levels, index = choose_levels(suite, "hard", 50, unseen_by=len(training))
    seeds = np.asarray(levels.seed)[index]
    hard, easy = (hash_seeds(training, mode) for mode in ("hard", "easy"))
    held_out = TEST_LEVELS[:1000]
    new = ~np.isin(hash_seeds(held_out, "hard"), hard)
    assert not new[:50].all()
    assert seeds[0].tolist() == np.array(held_out)[new][:50].tolist()
    known = dict(zip(held_out, hash_seeds(held_out, "easy"), strict=True))
    assert not np.isin([known[seed] for seed in seeds[1]], easy).any()
    assert (np.asarray(levels.end_cell)[index[1], 0] >= 12).all()


def test_only_what_differs_is_stacked() -> None:
    pair = with_control(Condition("uniform", placement="uniform"))
    variants = stack([condition.settings() for condition in pair])
    assert variants.number == 2
    assert sum(leaf is not None for leaf in variants.own) == 1  # whether the coin is there
    for number, condition in enumerate(pair):
        picked = variants.pick(np.int32(number))
        jax.tree.map(np.testing.assert_array_equal, picked, condition.settings())
