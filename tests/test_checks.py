"""Arguments that cannot be used are refused where they are given, in one line."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import (
    CoinRun,
    EnvParams,
    generate_level,
    level_to_arrays,
    make,
    make_placement,
    register_placement,
)
from coinrun_jax.checks import InputError, known, one_line, shown, whole
from coinrun_jax.coinrun.ascii import level_from_ascii, level_to_ascii
from coinrun_jax.coinrun.cues import make_cues
from coinrun_jax.coinrun.items import make_items
from coinrun_jax.coinrun.layout import layout_hash
from coinrun_jax.coinrun.observations import atlas
from coinrun_jax.coinrun.observations.render import level_map
from coinrun_jax.coinrun.placement import CATALOGUE
from coinrun_jax.coinrun.reward import make_reward
from coinrun_jax.coinrun.types import Cell, Entity

ENV = CoinRun(num_levels=4)
HUGE = 10**5000
NOT_WHOLE = (1.5, 1.0, True, "1", None, [], [1], (1, 2), {}, float("nan"), HUGE, -HUGE, -1, 1j)
NOT_WHOLE += (np.float32(1), np.bool_(True), np.array([1]), np.array("1"), jnp.float32(1), b"1")
NOT_REAL = (float("nan"), float("inf"), 1e300, -1e300, HUGE, "1", None, True, [1.0], {}, 1j)
NOT_REAL += (np.float64("nan"), np.array([0.5, 0.5]), np.complex64(1), jnp.bool_(True))
NOT_FLAG = ("no", "true", 1, 0, 0.0, None, [], np.int32(1), np.array([True]))
NOT_NAME = ("moon", "", " ", 3, None, True, [], {}, b"end", "x" * 100_000, "a\nb", np.zeros(3))

WHOLE = {
    "num_levels": lambda value: CoinRun(num_levels=value),
    "start_level": lambda value: CoinRun(start_level=value),
    "pool_size": lambda value: CoinRun(pool_size=value),
    "level seed": generate_level,
    "level index": lambda value: reset(value),
    "frame size": lambda value: ENV.render(None, None, size=value),
    "size of the tables": atlas.load,
    "pixels_per_tile": lambda value: level_map(LEVEL, pixels_per_tile=value),
    "coin_spread": lambda value: make_cues(coin_spread=value),
    "number of items": lambda value: make_items(number=value),
    "item respawn": lambda value: make_items(1, respawn=value),
    "x of a cell": lambda value: make_placement("fixed", cell=(value, 4)),
    "y of a cell": lambda value: make_placement("fixed", cell=(4, value)),
}
REAL = {
    "probability": lambda value: make_placement("uniform", value),
    "fraction": lambda value: make_placement("fraction", fraction=value),
    "low": lambda value: make_placement("fraction", fraction=(value, 1.0)),
    "high": lambda value: make_placement("fraction", fraction=(0.0, value)),
    "weight": lambda value: make_placement({"uniform": value, "end": 1.0}),
    "worth": lambda value: make_items(1, worth=value),
    "tie": lambda value: make_cues(tie={"ground": value}),
    **{
        part: lambda value, part=part: make_reward(**{part: value})
        for part in ("coin", "progress", "step", "end")
    },
}
FLAG = {
    "present": lambda value: make_placement("end", present=value),
    "mirrored": lambda value: make_cues(mirrored=value),
}
NAME = {
    "mode": lambda value: CoinRun(mode=value),
    "observation": lambda value: CoinRun(observation=value),
    "mode of a level": lambda value: generate_level(0, value),
    "environment": make,
    "placement": make_placement,
    "weights": lambda value: make_placement({value: 1.0} if value.__hash__ else value),
    "item look": lambda value: make_items(1, look=value),
    "coin look": lambda value: make_cues(coin_look=value),
    "end wall": lambda value: make_cues(end_wall=value),
    "hidden": lambda value: make_cues(hide=["saw", value]),
    "tied": lambda value: make_cues(tie={value: 0.5} if value.__hash__ else [value]),
}
NEVER = {"item respawn": None}  # stands for never there
ROOM = "#...1...\n#@.2.*a$\n########\n"
LEVEL = jax.device_get(level_from_ascii(ROOM))


def reset(index):
    """With shapes of params that nothing was compiled for: they say how many levels there are."""
    return ENV.reset_to_level(None, index, jax.eval_shape(ENV.build_params))


def assert_refused(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    complaint = str(caught.value)
    assert "\n" not in complaint
    assert 10 < len(complaint) < 480


def cases(calls, values):
    for (name, call), value in itertools.product(calls.items(), values):
        if name not in NEVER or value is not NEVER[name]:
            yield pytest.param(call, value, id=f"{name}: {shown(value)[:30]}")


@pytest.mark.parametrize(
    ("call", "value"),
    [
        *cases(WHOLE, NOT_WHOLE),
        *cases(REAL, NOT_REAL),
        *cases(FLAG, NOT_FLAG),
        *cases(NAME, NOT_NAME),
    ],
)
def test_values_of_another_kind(call, value):
    assert_refused(call, value)


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (lambda value: CoinRun(num_levels=value), 2**31 + 1),
        (lambda value: CoinRun(num_levels=5, start_level=value), 2**31 - 4),
        (lambda value: CoinRun(pool_size=value), 0),
        (lambda value: CoinRun(pool_size=value), 2**24 + 1),
        (generate_level, 2**32),
        (generate_level, np.int64(-1)),
        (generate_level, jnp.arange(3)),
        (lambda value: jax.vmap(generate_level)(value), jnp.array([0, -1])),
        (lambda value: jax.vmap(generate_level)(value), jnp.array([0.0])),
        (lambda value: jax.jit(generate_level)(value), 1.5),
        (lambda value: ENV.render(None, None, size=value), 12),
        (lambda value: ENV.render(None, None, size=value), 4097),
        (lambda value: level_map(LEVEL, pixels_per_tile=value), 65),
        (reset, 4),
        (reset, -1),
        (lambda value: jax.vmap(reset)(value), jnp.array([0, 99])),
        (make_placement, "uniform:1,uniform:2"),
        (make_placement, "uniform,uniform"),
        (make_placement, "uniform:"),
        (make_placement, "uniform:nan"),
        (make_placement, "uniform:1e39"),
        (make_placement, {"uniform": 3e38, "end": 3e38}),
        (make_placement, {"uniform": 1e-60}),
        (make_placement, {}),
        (make_placement, ["uniform"]),
        (lambda value: make_placement("fraction", fraction=value), (0.6, 0.4)),
        (lambda value: make_placement("fraction", fraction=value), (0.1, 0.2, 0.3)),
        (lambda value: make_placement("fixed", cell=value), (1,)),
        (lambda value: make_placement("fixed", cell=value), "12"),
        (lambda value: make_placement("fixed", cell=value), (0, 1)),
        (lambda value: make_placement("end", cell=value), {}),
        (lambda value: make_cues(hide=value), "sawenemy"),
        (lambda value: make_cues(hide=value), {"saw": False}),
        (lambda value: make_cues(hide=value), 3),
        (lambda value: make_cues(tie=value), "ground"),
        (lambda value: make_items(1, look=value), "gold"),
        (lambda value: register_placement(value, lambda terrain: terrain), "a:b"),
        (lambda value: register_placement(value, lambda terrain: terrain), ""),
        (lambda value: register_placement("new", value), "cells"),
        (level_from_ascii, 3),
        (level_from_ascii, b"@$"),
        (level_from_ascii, "seed:" + "9" * 10_000 + "\n@$"),
        (level_from_ascii, "@$\nalso:" + "9" * 10_000 + ",0,1"),
        (level_from_ascii, "x" * 100_000 + ":\n@$"),
        (level_from_ascii, "@$\norder:" + "0," * 10_000),
        (level_from_ascii, "#@$\n###\nalso:1,1,#"),
    ],
)
def test_values_out_of_range(call, value):
    assert_refused(call, value)
    assert "new" not in CATALOGUE


def level_with(index=None, **fields):
    """The room, with some fields or some of their elements replaced."""
    if index is None:
        return LEVEL.replace(**fields)
    arrays = {name: np.array(getattr(LEVEL, name)) for name in fields}
    for name, value in fields.items():
        arrays[name][index] = value
    return LEVEL.replace(**arrays)


def stacked(*levels):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *levels)


BAD_LEVELS = {
    "nothing": None,
    "text": ROOM,
    "an unknown cell": level_with((5, 5), grid=77),
    "a cell below 0": level_with((5, 5), grid=-1),
    "a coin": level_with((5, 5), grid=Cell.COIN),
    "cells as floats": level_with(grid=LEVEL.grid.astype(np.float32)),
    "cells of 64 bits": level_with(grid=LEVEL.grid.astype(np.int64)),
    "cells as text": level_with(grid=LEVEL.grid.astype(str)),
    "ragged cells": level_with(grid=[[1], [1, 2]]),
    "no cells": level_with(grid=None),
    "a small grid": level_with(grid=LEVEL.grid[1:]),
    "a start that is no number": level_with(0, start_xy=np.nan),
    "an endless start": level_with(1, start_xy=np.inf),
    "a start outside": level_with(0, start_xy=64.0),
    "a start below": level_with(1, start_xy=-0.5),
    "a start in the ground": level_with(1, start_xy=0.5),
    "an end outside": level_with(0, end_cell=64),
    "a thing outside": level_with((0, 0), entity_xy=-1.0),
    "a thing nowhere": level_with((0, 1), entity_xy=np.nan),
    "an unknown thing": level_with(0, entity_type=9),
    "a crate of theme 4": level_with(0, entity_type=Entity.CRATE, entity_theme=4),
    "a saw of theme 1": level_with(0, entity_type=Entity.SAW, entity_theme=1),
    "an enemy beyond all speed": level_with(0, entity_vx=np.inf),
    "a theme outside": level_with(wall_theme=np.int8(6)),
    "a background outside": level_with(background_index=np.int8(62)),
    "a shift that is no number": level_with(background_shift=np.float32("nan")),
    "a difficulty of 0": level_with(difficulty=np.int8(0)),
    "6 sections": level_with(num_sections=np.int8(6)),
    "a seed below 0": level_with(seed=-1),
    "a seed too many": level_with(seed=np.zeros(2, np.uint32)),
    "two fields of a batch": stacked(LEVEL, LEVEL).replace(seed=LEVEL.seed),
    "the second of a batch": stacked(LEVEL, level_with(0, start_xy=np.nan)),
    "a batch of none": jax.tree.map(lambda leaf: leaf[:0], stacked(LEVEL)),
    "a batch of batches": stacked(stacked(LEVEL)),
}


@pytest.mark.parametrize("level", BAD_LEVELS.values(), ids=BAD_LEVELS)
def test_levels_that_cannot_be_played(level):
    for use in (EnvParams.on_levels, level_to_arrays, level_to_ascii, level_map, layout_hash):
        assert_refused(use, level)


def test_a_batch_is_not_one_level():
    for use in (level_to_arrays, level_to_ascii, level_map):
        assert_refused(use, stacked(LEVEL, LEVEL))


def test_levels_that_come_one_after_the_other_are_named():
    levels = stacked(LEVEL, level_with(seed=np.uint32(7), difficulty=np.int8(4)))
    with pytest.raises(ValueError, match="level 1 of 2, seed 7: difficulty holds 4"):
        EnvParams.on_levels(levels)


def test_what_is_right_is_taken_as_it_was():
    number, share = np.int16(2), np.float64(0.5)
    assert CoinRun(num_levels=number, start_level=jnp.int32(5)) == CoinRun(
        num_levels=2, start_level=5
    )
    assert make_placement({"uniform": number, "end": 0}, share).probability == 0.5
    assert make_cues(mirrored=np.True_, hide=("saw",), tie={"ground": 1}).tie_ground == 1
    assert make_items(number, respawn=number, worth=1).respawn == 2
    assert make_reward(coin=3, step=-share).step == -0.5
    assert not make_placement("end", present=jnp.bool_(False)).present


def test_known_values_are_those_that_jit_does_not_trace():
    seen = []
    jax.vmap(lambda value: seen.append(known(value)))(jnp.arange(3))
    np.testing.assert_array_equal(seen.pop(), np.arange(3))
    jax.jit(lambda value: seen.append(known(value)))(3)
    assert seen == [None]
    assert known(3) == 3


def test_messages_stay_one_short_line():
    values = (HUGE, [HUGE] * 100, "x\n" * 10_000, {"a": HUGE}, np.zeros((100, 100)), object())
    for value in values:
        assert len(shown(value)) <= 80
        assert "\n" not in shown(value)
    line = one_line(ValueError("two\nlines, \x1b[31mred\udcff " + "x" * 10_000))
    assert line.startswith(r"two lines, \x1b[31mred\udcff xxx")
    assert len(line) <= 420
    with pytest.raises(InputError, match="bits is not within 0"):
        whole("number", HUGE, 0, 1)
