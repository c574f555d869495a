"""Levels as text: exact both ways, playable, and wrong ones named in a line."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coinrun_jax import Action, Cause, CoinRun, EnvParams, generate_level
from coinrun_jax.coinrun.ascii import level_from_ascii, level_to_ascii
from coinrun_jax.coinrun.types import Cell, Entity

BATCH = 100
GENERATE = {
    mode: jax.jit(jax.vmap(partial(generate_level, mode=mode))) for mode in ("hard", "easy")
}

ROOM = """
    #..........
    #...1......
    #...2....$.
    #@..3.~~.==
    ###########
"""


def assert_same(level, other):
    for name in ("seed", *vars(level)):
        a, b = np.asarray(getattr(level, name)), np.asarray(getattr(other, name))
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32 - BATCH), st.sampled_from(["hard", "easy"]))
def test_round_trip_of_generated_levels_is_exact(first, mode):
    levels = jax.device_get(GENERATE[mode](np.arange(first, first + BATCH, dtype=np.uint32)))
    for i in range(BATCH):
        level = jax.tree.map(lambda leaf: leaf[i], levels)  # noqa: B023
        text = level_to_ascii(level)
        assert_same(level, level_from_ascii(text))
        assert level_to_ascii(level_from_ascii(text)) == text


def test_a_known_level_is_drawn_as_it_is():
    levels = jax.device_get(GENERATE["hard"](np.arange(BATCH, dtype=np.uint32)))
    assert level_to_ascii(jax.tree.map(lambda leaf: leaf[2], levels)) == (
        "seed:2 difficulty:1 wall:3 agent:3 background:19 shift:0.4359949\n"
        "sections:5,5\n"
        "#.....2..\n"
        "#.....3..\n"
        "#...|.3.$\n"
        "#....====\n"
        "#....####\n"
        "#....####\n"
        "#@...####\n"
        "#====####\n"
    )


def test_what_is_not_drawn():
    level = level_from_ascii("#.#\n#@$\n###")
    assert (level.grid[:, 3:] == Cell.SOLID).all()  # right of the picture
    assert (level.grid[3:63, 1] == Cell.EMPTY).all()  # above it
    assert (level.grid[3:63, [0, 2]] == Cell.SOLID).all()  # its walls go on
    assert (level.grid[63] == Cell.SOLID).all()
    assert level.start_xy.tolist() == pytest.approx([1.5, 1.5787])
    assert level.end_cell.tolist() == [2, 1]
    assert level.section_cell[: level.num_sections].tolist() == [[2, 1]]


def test_several_things_in_a_cell_and_their_order():
    level = level_from_ascii("#@1aB$\n######\nalso:2,1,3/5,1,*/2,1,|\norder:4,3,2,1,0")
    kinds = [Entity.SAW, Entity.ENEMY, Entity.ENEMY, Entity.CRATE, Entity.CRATE]
    assert level.entity_type[:5].tolist() == kinds
    assert level.entity_theme[:5].tolist() == [0, 1, 0, 3, 1]
    assert np.sign(level.entity_vx[1:3]).tolist() == [1, -1]
    assert level.grid[1, 2] == Cell.BARRIER
    assert_same(level, level_from_ascii(level_to_ascii(level)))


STEPS = 30
ENV = CoinRun()


@jax.jit
def run(params, actions):
    def step(state, action):
        state = ENV.advance(state, action, params)[0]
        return state, state

    start = ENV.start(jax.random.key(0), jnp.int32(0), params)
    return jax.lax.scan(step, start, actions)[1]


def play(text, actions, **placement):
    """States of the public environment on a level, after each action and then of standing."""
    params = EnvParams.on_levels(level_from_ascii(text)).with_placement(**placement)
    actions = [*actions, *[Action.NOOP] * (STEPS - len(actions))]
    return jax.device_get(run(params, np.array(actions, np.int32)))


def test_a_hand_drawn_level_is_played():
    onto_crates = [Action.RIGHT] * 3 + [Action.RIGHT_UP, Action.RIGHT] + [Action.LEFT] * 9
    states = play(ROOM, onto_crates)
    assert states.on_crate[-1]
    assert states.y[-1] == pytest.approx(4.5787)  # on the topmost of three
    assert states.cause[-1] == Cause.NONE
    states = play(ROOM, [Action.RIGHT] * STEPS)
    died = np.flatnonzero(states.cause == Cause.LAVA)[0]
    assert states.x[died - 1] < 5.501 < states.x[died]  # half a tile before its cell


def test_the_end_of_a_hand_drawn_level_has_the_coin():
    corridor = "#@..$\n#####"
    assert Cause.COIN in play(corridor, [Action.RIGHT] * STEPS).cause
    assert Cause.COIN not in play(corridor, [Action.RIGHT] * STEPS, present=False).cause


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the text draws nothing"),
        ("#@?$", r"line 1, column 3: '\?' is not one of .*@\$"),
        ("\n  #@$\n  #J##", r"line 3: 4 glyphs, the first line has 3"),
        ("\n  #@$\n  #J#", r"line 3, column 4: 'J' is not one of"),
        ("#@..", r"0 cells with '\$': a level has exactly one end"),
        ("@#@$", "2 cells with '@': a level has exactly one start"),
        ("." * 65, "1 lines of 65 glyphs: the world has 64 x 64 cells"),
        ("coin:3\n@$", r"line 1: 'coin:3' is not one of seed:, .*order:"),
        ("seed: 3\n@$", r"line 1: '3' is not one of seed:"),
        ("seed:3\n@$\nseed:4", "line 3: 'seed:4' after 'seed:3'"),
        ("wall:6\n@$", r"wall: '6' is not an integer in 0 \.\.\. 5"),
        ("shift:nan\n@$", r"shift: 'nan' is not a number in 0 \.\.\. 1"),
        ("sections:1\n@$", "sections: '1' is not column,row"),
        ("sections:1,64\n@$", r"sections: '64' is not an integer in 0 \.\.\. 63"),
        ("sections:" + "/".join(["1,1"] * 6) + "\n@$", "sections: 6 cells, at most 5"),
        ("@$\nalso:0,0,x", "also: '0,0,x' is not column,row,glyph"),
        ("@$\nalso:5,0,1", "adds to a cell that draws no entity"),
        ("@$\nalso:0,0,=/0,0,#", "also: '0,0,#' gives that cell a second terrain"),
        ("@$12\norder:0,0", r"order: '0,0' does not name each of 0 \.\.\. 1 once"),
        ("@$" + "1" * 41, "41 crates, saws and enemies: a level has at most 40"),
        ("@a1.1.1$", "walks through 3 separate rows of crates: at most 2"),
    ],
)
def test_wrong_texts_are_named_in_one_line(text, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        level_from_ascii(text)
    assert "\n" not in str(error.value)


def test_what_cannot_be_said_is_refused():
    level = generate_level(0)
    with pytest.raises(ValueError, match="one level, not a batch"):
        level_to_ascii(jax.tree.map(lambda leaf: leaf[None], level))
    with pytest.raises(ValueError, match="does not stand in the middle of a cell"):
        level_to_ascii(level.replace(start_xy=level.start_xy + 0.25))
    moved = level_from_ascii("@1$")
    moved = moved.replace(entity_xy=moved.entity_xy + 0.25)
    with pytest.raises(ValueError, match=r"no glyph .* type 20, .* \(1.75, 0.75\)"):
        level_to_ascii(moved)
