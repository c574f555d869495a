"""Suites: those that come with the project, those of a file, and the levels they are played on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml

from coinrun_jax import TEST_LEVELS
from coinrun_jax.checks import InputError
from coinrun_jax.overlap import hash_seeds
from eval.catalogue import SUITES
from eval.levels import build_levels, choose_levels
from eval.suite_files import find_suite
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


OF_A = {"name": "a"}
AT_A_SHARE = {"name": "a", "placement": "fraction"}
LONG = "x" * 100_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        # no suite
        ("a: [", "is not YAML"),
        ([1, 2], "list of `conditions`"),
        ({"conditions": {"a": 1}}, "list of `conditions`"),
        ({"conditions": [OF_A], "levels": {}}, "'levels'"),
        # how many, and what they are called
        ({"conditions": []}, "0 conditions"),
        ({"conditions": [{"name": f"a{i}"} for i in range(501)]}, "501 conditions; at most 500"),
        (
            {"conditions": [{**AT_A_SHARE, "name": f"a{i}", "control": True} for i in range(251)]},
            "502 conditions",
        ),
        ({"conditions": [OF_A, OF_A]}, "two conditions are called 'a'"),
        ({"conditions": [{"title": "x"}]}, "condition 1 must have a name"),
        ({"conditions": [{"name": 1}]}, "condition 1 must have a name"),
        ({"conditions": [{"name": "a/b"}]}, "'a/b' is not a name"),
        ({"conditions": [{"name": "a\x1b[2J"}]}, "is not a name"),
        ({"conditions": [{"name": "a\u202e"}]}, "printable"),
        ({"conditions": [{"name": LONG}]}, "is not a name of up to 200"),
        ({"conditions": [OF_A], "name": "paper"}, "'paper' belongs to a suite"),
        ({"conditions": [OF_A], "name": ["a"]}, "suite ['a'] is not a name"),
        # fields of another type
        ({"conditions": [{**OF_A, "colour": "red"}]}, "'colour'"),
        ({"conditions": [{**OF_A, "title": 2024}]}, "condition 'a': title 2024 is not text"),
        ({"conditions": [{**OF_A, "placement": {"end": 1}}]}, "is not text"),
        ({"conditions": [{**OF_A, "placement": "up"}]}, "'up' is not one of"),
        ({"conditions": [{**OF_A, "present": "no"}]}, "present 'no' is not true or false"),
        ({"conditions": [{**OF_A, "moved": 1}]}, "moved 1 is not true or false"),
        ({"conditions": [{**OF_A, "control": "yes"}]}, "control 'yes' is not true or false"),
        ({"conditions": [{**AT_A_SHARE, "fraction": 0.5}]}, "fraction 0.5 is not a list of two"),
        ({"conditions": [{**AT_A_SHARE, "fraction": [0, "1"]}]}, "fraction '1' is not a number"),
        ({"conditions": [{**AT_A_SHARE, "fraction": [0, [1]]}]}, "fraction [1] is not a number"),
        ({"conditions": [{**AT_A_SHARE, "fraction": [0.9, 0.1]}]}, "fraction"),
        ({"conditions": [{**AT_A_SHARE, "fraction": [0, 1.5]}]}, "is outside [0, 1]"),
        ({"conditions": [{**OF_A, "cell": [3]}]}, "cell [3] is not a list of two"),
        ({"conditions": [{**OF_A, "cell": [2.7, 3.2]}]}, "cell 2.7 is not a whole number"),
        ({"conditions": [{**OF_A, "cell": [2, 64]}]}, "cell 64 is not within 1 ... 62"),
        # cues and items
        ({"conditions": [{**OF_A, "cues": ["red"]}]}, "must be a mapping"),
        ({"conditions": [{**OF_A, "cues": {"shape": 1}}]}, "'shape'"),
        ({"conditions": [{**OF_A, "cues": {1: 1}}]}, "no 1"),
        ({"conditions": [{**OF_A, "cues": {"coin_look": "blue"}}]}, "'blue'"),
        ({"conditions": [{**OF_A, "cues": {"coin_look": ["red"]}}]}, "['red']"),
        ({"conditions": [{**OF_A, "cues": {"mirrored": "no"}}]}, "'no'"),
        ({"conditions": [{**OF_A, "items": None}]}, "must be a mapping"),
        ({"conditions": [{**OF_A, "items": {"number": 1.5}}]}, "1.5"),
        ({"conditions": [{**OF_A, "items": {"coin_look": "red"}}]}, "'coin_look'"),
        # levels
        ({"conditions": [{**OF_A, "levels": 3}]}, "mapping"),
        ({"conditions": [{**OF_A, "levels": {"long": True}}]}, "'long'"),
        ({"conditions": [{**OF_A, "levels": {"mode": "medium"}}]}, "'medium'"),
        ({"conditions": [{**OF_A, "levels": {"mode": ["hard"]}}]}, "['hard']"),
        ({"conditions": [{**OF_A, "levels": {"difficulty": 1.0}}]}, "1.0 is not a whole"),
        ({"conditions": [{**OF_A, "levels": {"min_length": True}}]}, "True is not a whole"),
        ({"conditions": [{**OF_A, "levels": {"difficulty": 1, "sections": 3}}]}, "3 sections"),
        ({"conditions": [{**OF_A, "levels": {"min_length": 51}}]}, "column 50"),
        # what is judged
        ({"conditions": [OF_A], "judged": ["a"]}, "'a' cannot be judged by"),
        ({"conditions": [OF_A], "judged": "a"}, "judged 'a' is not a list"),
        ({"conditions": [OF_A], "judged": [["a"]]}, "judged [['a']] is not a list"),
        ({"conditions": [{**OF_A, "control": True}]}, "'a' takes no control"),
        (
            {"conditions": [{**OF_A, "placement": "absent:1,uniform:1", "control": True}]},
            "'a' takes no control",
        ),
        (
            {"conditions": [{**OF_A, "placement": "uniform,end:0.5", "control": True}]},
            "'a' takes no control",
        ),
    ],
)
def test_suites_that_make_no_sense_are_one_short_line(
    tmp_path: Path, content: Any, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        find_suite(write(tmp_path, content))
    message = str(caught.value)
    assert words in message
    assert "mine.yaml" in message
    assert "\n" not in message
    assert len(message) < 490 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("relocate", "'relocate' is not one of relocation"),
        ("none.yaml", "none.yaml: No such file"),
        (LONG, "xxx' is not one of relocation"),
        (f"{LONG}.yaml", "xxx.yaml: File name too long"),
    ],
)
def test_unknown_suites_are_named(name: str, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        find_suite(name)
    assert len(str(caught.value)) < 490


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


@pytest.mark.parametrize(
    "level_set",
    [
        LevelSet(),
        LevelSet(mode="easy", difficulty=2),
        LevelSet(sections=3),
        LevelSet(min_length=30),
        LevelSet(difficulty=2, sections=3, min_length=20),
    ],
)
def test_how_many_levels_are_of_a_kind_is_known_beforehand(level_set: LevelSet) -> None:
    number = 4096
    seeds = np.array(TEST_LEVELS[:number], np.uint32)
    level = jax.device_get(build_levels(seeds, level_set.mode or "hard"))
    belongs = level.end_cell[:, 0] >= level_set.min_length
    belongs &= np.isin(level.difficulty, level_set.difficulty or [1, 2, 3])
    belongs &= np.isin(level.num_sections, level_set.sections or range(1, 6))
    deviation = np.sqrt(number * level_set.share * (1 - level_set.share))
    assert abs(belongs.sum() - number * level_set.share) <= 4 * deviation
    ends = [first + len(chances) - 1 for first, chances in level_set._ends()]
    assert level.end_cell[belongs, 0].max() <= max(ends)


@pytest.mark.parametrize("min_length", [51, 63])
def test_levels_longer_than_any_are_refused(min_length: int) -> None:
    with pytest.raises(InputError, match="column 50"):
        LevelSet(min_length=min_length)


def test_levels_that_hardly_any_is_are_refused_before_one_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eval.levels.build_levels", None)
    longest = Suite("s", (Condition("longest", levels=LevelSet(min_length=50)),))
    with pytest.raises(InputError, match=r"about 14 are with the end in column 50 or later"):
        choose_levels(longest, "hard", 100)


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
