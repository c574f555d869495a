"""The layout hash counts what can be played, and only that; overlaps are counted right."""

from __future__ import annotations

import csv

import jax
import numpy as np
import pytest

from coinrun_jax import overlap
from coinrun_jax.coinrun.ascii import level_from_ascii, level_to_ascii
from coinrun_jax.coinrun.generator import generate_levels
from coinrun_jax.coinrun.layout import layout_hash
from coinrun_jax.coinrun.types import Entity
from tests.refusals import refusal

SEEDS = range(512)
ROOM = "#...1...\n#@.2.*a$\n########\n"


def changed(text, old, new):
    assert old in text
    return level_from_ascii(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1", "."),  # a crate less
        ("...1...", "..1...."),  # a crate elsewhere
        ("a", "A"),  # the other way
        ("*", "0"),  # another thing
        ("@.", ".@"),  # another start
        ("a$", "$a"),  # another end
        ("########", "#####=##"),  # another surface
        ("a$", "a$|"),  # the world ends later
    ],
)
def test_every_change_of_the_layout_changes_the_hash(old, new):
    text = ROOM.replace("1...", "1....").replace("####\n", "#####\n") if "|" in new else ROOM
    text = text.replace("a$", "a$#") if "|" in new else text
    old = "a$#" if "|" in new else old
    assert layout_hash(changed(text, old, new)) != layout_hash(level_from_ascii(text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2", "0"),  # theme of a crate
        ("a", "f"),  # of an enemy
        (ROOM, ROOM + "wall:3 agent:2 background:7"),
    ],
)
def test_looks_count_only_where_asked(old, new):
    level, other = level_from_ascii(ROOM), changed(ROOM, old, new)
    assert layout_hash(level) == layout_hash(other)
    assert layout_hash(level, looks=True) != layout_hash(other, looks=True)


@pytest.mark.parametrize("new", ["seed:7", "difficulty:2", "sections:1,1/3,1", "order:3,2,1,0"])
def test_what_leaves_no_trace_does_not_count(new):
    level, other = level_from_ascii(ROOM), level_from_ascii(ROOM + new)
    assert layout_hash(level) == layout_hash(other)
    assert layout_hash(level, looks=True) == layout_hash(other, looks=True)


def test_of_coinciding_crates_the_last_one_is_seen():
    once, twice, reverse = (
        level_from_ascii(ROOM + new)
        for new in ("", "also:4,2,3 order:0,1,2,3,4", "also:4,2,3 order:0,2,1,3,4")
    )
    assert layout_hash(once) == layout_hash(twice) == layout_hash(reverse)
    hashes = [layout_hash(level, looks=True) for level in (once, twice, reverse)]
    assert hashes[0] == hashes[2] != hashes[1]


@pytest.mark.parametrize("mode", ["hard", "easy"])
def test_equal_hashes_are_equal_pictures(mode):
    """Against an independent definition: the text, less what may differ."""
    levels = generate_levels(np.array(SEEDS, np.uint32), mode)
    hashes = layout_hash(levels)
    np.testing.assert_array_equal(hashes, overlap.hash_seeds(SEEDS, mode))
    levels = jax.device_get(levels)
    plain = {Entity.CRATE: "0", Entity.ENEMY: "aA", Entity.SAW: "*"}
    assert set(plain) == set(Entity) - {Entity.NONE}
    to_plain = str.maketrans("123bcdefghiBCDEFGHI", "0" * 3 + "a" * 8 + "A" * 8)
    pictures = []
    for i in SEEDS:
        text = level_to_ascii(jax.tree.map(lambda leaf: leaf[i], levels))  # noqa: B023
        pictures.append(
            "\n".join(line.translate(to_plain) for line in text.splitlines() if ":" not in line)
        )
    _, of_hash = np.unique(hashes, return_inverse=True)
    _, of_picture = np.unique(pictures, return_inverse=True)
    pairs = set(zip(of_hash.tolist(), of_picture.tolist(), strict=True))
    assert len(pairs) == len(set(of_hash.tolist())) == len(set(of_picture.tolist()))
    assert len(pairs) < len(SEEDS)  # some levels do share a layout


def test_a_hash_is_the_same_everywhere():
    # Pinned: files may refer to it.
    assert f"{overlap.hash_seeds(range(39, 40))[0]:016x}" == "22eb7f1919e64c28"


def test_seed_ranges_of_any_length():
    whole = overlap.hash_seeds(range(3, 1030))
    np.testing.assert_array_equal(overlap.hash_seeds(range(900, 1000)), whole[897:997])


def test_overlap_counts():
    counts = overlap.compare(np.array([1, 2, 2, 3, 9]), np.array([2, 2, 3, 4]))
    assert counts == overlap.Overlap(5, 4, 4, 3, 3, 2)
    assert counts.share_seen == 0.75


def test_command(tmp_path, capsys):
    path = tmp_path / "overlap.csv"
    command = ["--train", "0:512", "--test", "256:768", "--csv", str(path)]
    assert overlap.main(command) == 0
    assert "test levels" in capsys.readouterr().out
    assert overlap.main([*command, "--looks"]) == 0
    layouts, looks = csv.DictReader(path.open())
    assert layouts["train"] == "0:512"
    assert 256 < int(layouts["test_levels_seen"]) < 512  # half of the levels, and chance
    assert 256 <= int(looks["test_levels_seen"]) < int(layouts["test_levels_seen"])
    same = overlap.compare(*[overlap.hash_seeds(SEEDS)] * 2)
    assert same.share_seen == 1


@pytest.mark.parametrize(
    "text", ["5", "a:b", "5:5", "9:3", "-1:4", "0:2147483649", "1:2:3", "0:" + "9" * 10_000]
)
def test_wrong_ranges_are_one_line_and_exit_2(text, capsys):
    complaint = refusal(overlap.main, [f"--train={text}", "--test=0:5"], capsys)
    assert "is not of the form A:B" in complaint


def test_a_range_beyond_the_limit_is_refused(capsys):
    complaint = refusal(overlap.main, ["--train", "0:2000000000", "--test", "0:5"], capsys)
    assert f"at most {overlap.MOST_LEVELS:,}" in complaint


@pytest.mark.parametrize("content", ["mode,looks\nhard,False\n", "precious", '"' * 200_000])
def test_a_row_is_not_added_to_another_file(content, tmp_path, capsys):
    path = tmp_path / "other.csv"
    path.write_text(content)
    arguments = ["--train", "0:4", "--test", "0:4", "--csv", str(path)]
    assert "header mode,looks,train" in refusal(overlap.main, arguments, capsys)
    assert path.read_text() == content


def test_long_ranges_say_how_far_they_are(monkeypatch):
    monkeypatch.setattr(overlap, "PROGRESS", overlap.BATCH)
    heard = []
    overlap.hash_seeds(range(3, 1030), progress=lambda *numbers: heard.append(numbers))
    assert heard == [(512, 1027), (1024, 1027)]
