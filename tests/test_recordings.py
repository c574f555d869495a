"""What is no recording of Procgen is refused, in one line that says why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coinrun_jax import parity
from coinrun_jax.recordings import load
from tests.refusals import refusal

DATA = Path(__file__).parent / "data"
WHOLE = (DATA / "levels.npz").read_bytes()


@pytest.mark.parametrize(
    "content",
    [None, b"no archive", WHOLE[:211] + bytes(40) + WHOLE[251:], WHOLE[: len(WHOLE) // 2]],
    ids=["none", "text", "damaged", "half"],
)
def test_what_is_no_archive(tmp_path, capsys, content):
    path = tmp_path / "file.npz"
    if content is not None:
        path.write_bytes(content)
    assert "file.npz" in refusal(parity.main, [str(path)], capsys)


def set_(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


def moved(array):
    """Offsets that do not fit, with the same ends."""
    return set_(array, slice(1, -1), array[-1])


EPISODES = {
    "no episode": lambda a: {name: array[:0] for name, array in a.items() if array.ndim},
    "no array": lambda a: {"x": None},
    "another mode": lambda a: {"mode": np.array("memory")},
    "two modes": lambda a: {"mode": np.array(["hard", "easy"])},
    "mode of bytes": lambda a: {"mode": np.array(b"easy")},
    "seeds as floats": lambda a: {"level_seed": a["level_seed"] * 1.0},
    "seeds beyond 32 bits": lambda a: {"level_seed": a["level_seed"].astype(np.int64) + 2**32},
    "seeds below 0": lambda a: {"level_seed": -1 - a["level_seed"]},
    "a seed too few": lambda a: {"level_seed": a["level_seed"][1:]},
    "a grid of text": lambda a: {"grid": a["grid"].astype("U3")},
    "a small grid": lambda a: {"grid": a["grid"][:, :-1]},
    "an unknown cell": lambda a: {"grid": set_(a["grid"], (0, 0, 0), 77)},
    "actions as floats": lambda a: {"action": a["action"] * 1.0},
    "actions as objects": lambda a: {"action": a["action"].astype(object)},
    "an action of 15": lambda a: {"action": set_(a["action"], 0, 15)},
    "an action of -1": lambda a: {"action": set_(a["action"], 0, -1)},
    "an action too few": lambda a: {"action": a["action"][1:]},
    "complex positions": lambda a: {"x": a["x"] + 1j},
    "done as integers": lambda a: {"done": a["done"].astype(int)},
    "falling offsets": lambda a: {"step_off": a["step_off"][::-1]},
    "offsets beyond the rows": lambda a: {"step_off": a["step_off"] + 1},
    "offsets near 2^64": lambda a: {"saw_off": ~a["saw_off"].astype(np.uint64)},
    "an episode without a step": lambda a: {"step_off": set_(a["step_off"], 1, 0)},
    "an endless episode": lambda a: {"step_off": moved(a["step_off"])},
    "things of other episodes": lambda a: {"saw_off": moved(a["saw_off"])},
    "too many things": lambda a: {"ent_order_off": moved(a["ent_order_off"])},
    "things of other kinds": lambda a: {"ent_order_type": a["ent_order_type"][::-1]},
    "a cause beyond all": lambda a: {"cause": set_(a["cause"], 0, 99)},
    "causes as numbers": lambda a: {"causes": np.arange(6)},
    "enemies of other steps": lambda a: {"enemy_step_off": moved(a["enemy_step_off"])},
}
LEVELS = {
    "no level": lambda a: {name: array[:0] for name, array in a.items() if array.ndim},
    "entity types as text": lambda a: {"ent_type": a["ent_type"].astype(str)},
    "falling offsets": lambda a: {"ent_off": a["ent_off"][::-1]},
    "sections of three": lambda a: {"section": a["section"][:, :3]},
    "offsets of one more": lambda a: {"section_off": np.append(a["section_off"], 160)},
}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *(pytest.param("traj_easy", change, id=what) for what, change in EPISODES.items()),
        *(pytest.param("levels", change, id=f"levels: {what}") for what, change in LEVELS.items()),
    ],
)
def test_what_is_no_recording(name, change, tmp_path, capsys):
    arrays = dict(np.load(DATA / f"{name}.npz"))
    arrays |= change(arrays)
    path = tmp_path / "file.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    assert "file.npz" in refusal(parity.main, [str(path)], capsys)


def test_positions_that_are_no_numbers_are_read_and_do_not_match(tmp_path, capsys):
    arrays = dict(np.load(DATA / "traj_easy.npz"))
    arrays["x"] = set_(arrays["x"], 5, np.nan)
    arrays["enemy_x"] = set_(arrays["enemy_x"].astype(">f8"), 3, np.inf)
    path, out = tmp_path / "file.npz", tmp_path / "out.json"
    np.savez(path, **arrays)
    assert np.isnan(load(path)["x"]).sum() == 1
    assert parity.main([str(path), "--json", str(out)]) == 1
    assert "positions" in capsys.readouterr().out
    assert json.loads(out.read_text())["largest_position_error"] is None


def test_a_result_is_not_written_over_the_recording_nor_over_another(tmp_path, capsys):
    path = tmp_path / "file.npz"
    path.write_bytes(WHOLE)
    for force in ([], ["--force"]):
        refusal(parity.main, [str(path), "--json", str(path), *force], capsys)
    out = tmp_path / "out.json"
    out.write_text("precious")
    assert "--force" in refusal(parity.main, [str(path), "--json", str(out)], capsys)
    assert (path.read_bytes(), out.read_text()) == (WHOLE, "precious")
    assert parity.main([str(path), "--json", str(out), "--force"]) == 0
    assert json.loads(out.read_text())["matching"] == 60
