"""Suites: those that come with the project, those of a file, and the levels they are played on."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml

from coinrun_jax import TEST_LEVELS
from coinrun_jax.checks import InputError
from coinrun_jax.coinrun import level_sets
from coinrun_jax.coinrun.catalogue import SUITES
from coinrun_jax.coinrun.conditions import coin_condition, with_control, without_coin
from coinrun_jax.coinrun.generator import generate_levels
from coinrun_jax.coinrun.level_sets import LevelSet, choose
from coinrun_jax.coinrun.testbed import CoinRunTestbed
from coinrun_jax.overlap import hash_seeds
from coinrun_jax.suites import Condition, Suite, make_control
from coinrun_jax.variants import stack
from eval import suite_files
from tests.made_up import MOVED, SUITE, USUAL, WITHOUT_CHEESE, WITHOUT_CORNER

TESTBED = CoinRunTestbed()
DEFAULT = TESTBED.Config()


def find_suite(name: str) -> Suite:
    return suite_files.find_suite(TESTBED, name)


def settings(condition: Condition, **env: Any) -> dict[str, Any]:
    return TESTBED.overrides(condition, TESTBED.Config(**env))


@pytest.mark.parametrize("name", SUITES)
def test_every_moved_coin_has_its_control(name: str) -> None:
    suite = SUITES[name]
    assert suite.name == name
    for condition in suite.conditions:
        if condition.apart:
            (own,) = suite.controls_of(condition.name)
            assert own == without_coin(condition)
            assert not own.has_goal
            assert own.columns == condition.columns
            with_coin, without = settings(condition), settings(own)
            changed = with_coin["placement"].replace(present=np.bool_(False))
            jax.tree.map(np.testing.assert_array_equal, without, with_coin | {"placement": changed})


def test_the_suites_hold_what_they_are_named_for() -> None:
    names = {name: {c.name for c in suite.conditions} for name, suite in SUITES.items()}
    placements = {"end", "random_section", "uniform", "off_path", "behind", "absent"}
    assert placements <= names["relocation"]
    assert {"red", "gem", "decoy", "end_hidden", "mirrored", "coin_hidden", "tied"} <= names["cues"]
    assert {"difficulty_3", "sections_5", "easy", "hard", "long"} <= names["capability"]
    curve = SUITES["placement_curve"]
    shares = [c.settings.fraction[0] for c in curve.conditions if c.control is None]
    np.testing.assert_allclose(shares, np.linspace(0, 1, 11))
    assert [c.position for c in curve.conditions if c.control is None] == shares
    assert curve.judged == tuple(f"fraction_{tenth:02d}" for tenth in range(10))
    for name in ("relocation", "placement_curve", "cues", "capability", "paper"):
        assert names[name] <= names["all"]
    assert SUITES["relocation"].judged == SUITES["all"].judged == ("random_section", "uniform")
    assert SUITES["cues"].judged == ("plain",)
    assert [name for name, suite in SUITES.items() if suite.screened] == ["paper"]


@pytest.mark.parametrize(
    ("placement", "probability", "suite", "expected"),
    [
        ("end", 1.0, "relocation", ("end", True)),
        ("end", 1.0, "placement_curve", ("fraction_10", True)),  # the whole way is the end
        ("uniform", 0.3, "relocation", ("end", True)),
        ("uniform", 1.0, "relocation", ("uniform", True)),
        ("fraction", 1.0, "relocation", ("end", False)),
        ("uniform:1,behind:1", 1.0, "relocation", ("end", False)),
    ],
)
def test_competence_is_read_where_the_coin_was_in_most_of_training(
    placement: str, probability: float, suite: str, expected: tuple[str, bool]
) -> None:
    config = TESTBED.Config(placement=placement, placement_probability=probability)
    assert TESTBED.trained_condition(SUITES[suite], config) == expected


@pytest.mark.parametrize(
    ("condition", "env", "shifted"),
    [
        (coin_condition("a"), {}, False),
        (coin_condition("a", placement="uniform"), {}, True),
        (coin_condition("a", placement="uniform"), {"placement": "uniform"}, False),
        (
            coin_condition("a", placement="uniform"),
            {"placement": "uniform:1,behind:1", "placement_probability": 0.2},
            False,
        ),
        (coin_condition("a", levels=LevelSet(difficulty=3)), {}, False),
        (coin_condition("a", levels=LevelSet(mode="easy")), {}, True),
        (coin_condition("a", cues={"coin_look": "red"}), {}, True),
        (without_coin(coin_condition("a", placement="uniform")), {"placement": "uniform"}, True),
    ],
)
def test_a_shift_is_what_training_does_not_show(
    condition: Condition, env: dict[str, Any], shifted: bool
) -> None:
    assert TESTBED.is_shifted(condition, TESTBED.Config(**env)) is shifted


def test_a_suite_knows_its_controls() -> None:
    assert SUITE.controls_of("moved") == (WITHOUT_CHEESE, WITHOUT_CORNER)
    assert SUITE.controls_of("usual") == ()
    assert SUITE.judged == ("moved",)
    assert WITHOUT_CHEESE.name == "moved_control"
    assert WITHOUT_CHEESE.control_of == "moved"
    assert not WITHOUT_CHEESE.apart
    assert WITHOUT_CHEESE.columns == MOVED.columns
    assert SUITE.index("moved_no_corner") == 3


def test_what_is_judged_by_default_takes_one_object_away() -> None:
    """A verdict is on one object; conditions with another one are for the tables."""
    other = Condition("other", apart=True)
    unlike = Condition("unlike", apart=True, plain=False)
    suite = Suite(
        "s",
        (
            USUAL,
            *(MOVED, WITHOUT_CHEESE, WITHOUT_CORNER),
            *(other, make_control(other, "corner", "corner")),
            *(unlike, make_control(unlike, "cheese", "crumbs")),
        ),
    )
    assert suite.judged == ("moved",)
    with pytest.raises(InputError, match="suite 's': judged conditions must all"):
        Suite("s", suite.conditions, judged=("moved", "other"))
    assert Suite("s", suite.conditions, judged=("moved", "unlike")).judged == ("moved", "unlike")


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ((WITHOUT_CHEESE,), "'moved_control' is a control of 'moved', which is not a condition"),
        ((MOVED, WITHOUT_CHEESE, make_control(WITHOUT_CHEESE, "corner", "corner")), "is a control"),
        ((USUAL, make_control(USUAL, "cheese", "crumbs")), "'usual' cannot have a control"),
    ],
)
def test_controls_without_their_conditions_are_refused(
    conditions: tuple[Condition, ...], words: str
) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        Suite("s", conditions)


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
    np.testing.assert_allclose(settings(last)["placement"].fraction, [0.8, 1.0])
    red = suite.conditions[3]
    assert red.levels == LevelSet(mode="easy", min_length=30)
    assert not red.plain
    assert red.also == ("item",)
    assert settings(red)["cues"].hide_saw
    assert settings(red)["items"].number == 1


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
        (
            {"conditions": [OF_A], "name": "paper"},
            "'paper' is the name of one of the environment's suites",
        ),
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
        ({"conditions": [OF_A], "judged": ["a"]}, "'a' cannot be judged: it needs a control"),
        ({"conditions": [OF_A], "judged": "a"}, "judged 'a' is not a list"),
        ({"conditions": [OF_A], "judged": [["a"]]}, "judged [['a']] is not a list"),
        ({"conditions": [{**OF_A, "control": True}]}, "'a' cannot have a control"),
        (
            {"conditions": [{**OF_A, "placement": "absent:1,uniform:1", "control": True}]},
            "'a' cannot have a control",
        ),
        (
            {"conditions": [{**OF_A, "placement": "uniform,end:0.5", "control": True}]},
            "'a' cannot have a control",
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
    condition = coin_condition("red", cues={"coin_look": "red"})
    cues = {"mirrored": True, "coin_look": "gem"}
    config = dataclasses.replace(
        DEFAULT,
        cues=dataclasses.replace(DEFAULT.cues, **cues),
        items=dataclasses.replace(DEFAULT.items, number=1, look="gem"),
    )
    found = TESTBED.overrides(condition, config)
    assert found["cues"].mirrored
    assert found["cues"].coin_look == 1
    assert found["items"].number == 1
    red = dataclasses.replace(config, items=dataclasses.replace(config.items, look="red"))
    with pytest.raises(InputError, match=r"condition 'red': .*must not look like the coin"):
        TESTBED.overrides(condition, red)


def test_levels_of_every_kind() -> None:
    sets = (
        *(LevelSet(), LevelSet(mode="easy"), LevelSet(min_length=40)),
        LevelSet(difficulty=2, sections=3),
    )
    levels, own, index = choose(sets, "hard", 20)
    assert index.shape == (4, 20)
    np.testing.assert_array_equal(own, levels.seed)
    seeds = own[index]
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
        LevelSet(mode="easy", difficulty=2),
        LevelSet(sections=3),
        LevelSet(min_length=30),
        LevelSet(difficulty=2, sections=3, min_length=20),
    ],
)
def test_how_many_levels_are_of_a_kind_is_known_beforehand(level_set: LevelSet) -> None:
    number = 4096
    seeds = np.array(TEST_LEVELS[:number], np.uint32)
    level = jax.device_get(generate_levels(seeds, level_set.mode or "hard"))
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
    monkeypatch.setattr(level_sets, "generate_levels", None)
    longest = coin_condition("longest", levels=LevelSet(min_length=50))
    words = "only about 14 of the 1,000,000 held-out ones are with the end in column 50 or later"
    with pytest.raises(InputError, match=words):
        TESTBED.choose_levels([longest], DEFAULT, 100)
    with pytest.raises(InputError, match=words):
        TESTBED.require_enough_levels([longest], 100)


def test_layouts_of_training_levels_are_left_out() -> None:
    sets, training = (LevelSet(), LevelSet(mode="easy", min_length=12)), range(200)
    levels, own, index = choose(sets, "hard", 50, unlike=len(training))
    seeds = own[index]
    hard, easy = (hash_seeds(training, mode) for mode in ("hard", "easy"))
    held_out = TEST_LEVELS[:1000]
    new = ~np.isin(hash_seeds(held_out, "hard"), hard)
    assert not new[:50].all()
    assert seeds[0].tolist() == np.array(held_out)[new][:50].tolist()
    known = dict(zip(held_out, hash_seeds(held_out, "easy"), strict=True))
    assert not np.isin([known[seed] for seed in seeds[1]], easy).any()
    assert (np.asarray(levels.end_cell)[index[1], 0] >= 12).all()


def test_only_what_differs_is_stacked() -> None:
    pair = with_control(coin_condition("uniform", placement="uniform"))
    variants = stack([settings(condition) for condition in pair])
    assert variants.number == 2
    assert sum(leaf is not None for leaf in variants.own) == 1  # whether the coin is there
    for number, condition in enumerate(pair):
        picked = variants.pick(np.int32(number))
        jax.tree.map(np.testing.assert_array_equal, picked, settings(condition))
