"""Coins are reached by proofs that hold in the public environment, and unreachable ones are not."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import CoinRun, EnvParams
from coinrun_jax.coinrun.ascii import level_from_ascii
from coinrun_jax.coinrun.generator import generate_levels
from coinrun_jax.coinrun.types import Action
from coinrun_jax.solver import Proofs, Replay, replay, solve
from coinrun_jax.solver import proofs as proofs_module
from coinrun_jax.solver.__main__ import _Totals, main, start_states
from coinrun_jax.solver.distance import FAR, STANDING, least_steps
from coinrun_jax.solver.proofs import QUICK, THOROUGH, distance_maps
from tests.refusals import refusal

NUMBER = 24
FIRST = 100_000
PLACEMENT = "random_section,end"
ENV = CoinRun(num_levels=1)  # only steps, as the command's own

# Each needs something else of the search; the coin is at the end.
DRAWN = {
    "back up the stairs": """
        #..............
        #$=............
        #.#............
        #.#....=.......
        #.#............
        #.#.........=..
        #.#............
        #.#@...........
        ###############
        """,
    "over saws and lava": """
        #......................
        #......................
        #@......*....~~~.....*$
        #============%%%=======
        """,
    "an enemy in a narrow lane": """
        #................
        #................
        #@..|...a...|...$
        #################
        """,
    "on a pile of crates": """
        #.........$
        #.........2
        #.........3
        #.........1
        #.........0
        #@........1
        ###########
        """,
    "under a roof": """
        #...............
        #.====..........
        #.#..#..........
        #.#.............
        #.#$...........@
        ################
        """,
}
SEALED = """
    #............
    #.....======.
    #.....#....#.
    #.....#....#.
    #@....#..$.#.
    #############
"""


def drawn(*texts):
    """Pool and starts of drawn levels, over and over to the size of the other tests' pool."""
    levels = [level_from_ascii(texts[number % len(texts)]) for number in range(NUMBER)]
    params = EnvParams.on_levels(jax.tree.map(lambda *a: np.stack(a), *levels))
    return params, start_states(ENV, params)


@pytest.fixture(scope="module")
def generated():
    levels = generate_levels(np.arange(FIRST, FIRST + NUMBER, dtype=np.uint32), "hard")
    params = EnvParams.on_levels(levels).with_placement(PLACEMENT)
    states = start_states(ENV, params)
    return params, states, solve(params, states, [QUICK])


def test_generated_levels_are_proven(generated):
    params, states, proofs = generated
    played = replay(ENV, params, states, proofs)
    assert proofs.solved.all()
    assert played.collected.all()
    assert (played.episode_return == 10).all()
    assert played.path.shape == (NUMBER, proofs.actions.shape[1] + 1, 2)
    assert (np.abs(np.diff(played.path, axis=1)) <= [0.5, 1.5]).all()  # no faster than it runs
    steps = np.arange(proofs.actions.shape[1])
    assert (proofs.actions[steps >= proofs.length[:, None]] == Action.NOOP).all()


def test_proofs_press_the_keys_of_a_mirrored_level(generated):
    params, states, proofs = generated
    mirrored = params.with_cues(mirrored=True)
    seen = solve(mirrored, states, [QUICK])
    assert replay(ENV, mirrored, states, seen).collected.all()
    np.testing.assert_array_equal(seen.length, proofs.length)
    assert (seen.actions != proofs.actions).any()


def test_no_proof_is_shorter_than_the_straight_line(generated):
    _, states, proofs = generated
    assert (proofs.length >= least_steps(states.x, states.y, states.coin_cell)).all()


def test_a_proof_that_does_not_hold_is_noticed(generated):
    params, states, proofs = generated
    index = int(proofs.length.argmax())
    actions = proofs.actions.copy()
    actions[index, : proofs.length[index] // 2] = Action.NOOP
    assert not replay(ENV, params, states, proofs._replace(actions=actions)).collected[index]
    shifted = proofs._replace(length=proofs.length + 1)  # the coin came before
    shifted = shifted._replace(actions=np.pad(proofs.actions, ((0, 0), (0, 1))))
    assert not replay(ENV, params, states, shifted).collected.any()
    unsolved = proofs._replace(solved=np.zeros(NUMBER, bool), length=np.zeros(NUMBER, np.int32))
    assert not replay(ENV, params, states, unsolved).collected.any()


def test_drawn_levels_are_proven():
    params, states = drawn(*DRAWN.values())
    played = replay(ENV, params, states, solve(params, states, [QUICK]))
    assert dict(zip(DRAWN, played.collected.tolist(), strict=False)) == dict.fromkeys(DRAWN, True)


def test_what_is_sealed_off_is_unsolved_and_kept():
    params, states = drawn(SEALED, DRAWN["under a roof"])
    proofs = solve(params, states, [QUICK])
    assert proofs.solved.tolist() == [False, True] * (NUMBER // 2)
    assert (proofs.length[::2] == 0).all()
    assert (replay(ENV, params, states, proofs).collected == proofs.solved).all()


def test_it_starts_where_the_state_stands_and_when():
    """In full run towards the coin, and less and less before the time is over."""
    room = "#......................\n#....$.............@...\n#######################"
    params, states = drawn(room)
    limit = int(params.max_steps_in_episode)
    states = states.replace(
        x=states.x - 12, vx=states.vx - 0.5, time=states.time + limit - jnp.arange(1, NUMBER + 1)
    )
    rest = solve(params, states, [QUICK])
    assert (replay(ENV, params, states, rest).collected == rest.solved).all()
    needed = rest.length.max()
    assert 2 < needed < 8
    assert (rest.solved == (limit - np.asarray(states.time) >= needed)).all()


def test_the_time_limit_counts(generated):
    params, states, proofs = generated
    limit = np.int32(np.median(proofs.length))  # of the type that is compiled for
    short = params.replace(max_steps_in_episode=limit)
    within = solve(short, states, [QUICK])
    assert (within.length <= limit).all()
    assert 0 < within.solved.sum() < NUMBER
    assert (replay(ENV, short, states, within).collected == within.solved).all()


def test_what_a_stage_leaves_the_next_one_solves(generated, monkeypatch):
    """What a first stage leaves unsolved, here every other state, goes to the next."""
    params, states, proofs = generated
    search, searched, again = proofs_module._search, [], QUICK._replace()

    def search_half(params, states, which, size, settings, known):
        searched.append(which.tolist())
        which = which if settings is again else which[::2]
        return search(params, states, which, size, settings, known)

    monkeypatch.setattr(proofs_module, "_search", search_half)
    rest = solve(params, states, [QUICK, again])
    every = list(range(NUMBER))
    assert searched == [every, every[1::2]]
    assert replay(ENV, params, states, rest).collected.all()
    np.testing.assert_array_equal(rest.length, proofs.length)


@pytest.mark.thorough
def test_proofs_are_shortened(generated):
    params, states, proofs = generated
    shorter = solve(params, states, [QUICK], shorten=True)
    assert replay(ENV, params, states, shorter).collected.all()
    assert (shorter.length <= proofs.length).all()
    assert shorter.length.mean() < proofs.length.mean()


@pytest.mark.thorough
def test_the_thorough_stage_solves(generated):
    params, states, _ = generated
    rest = solve(params, states, [QUICK._replace(iterations=8), THOROUGH])
    assert replay(ENV, params, states, rest).collected.all()


def test_distances_know_walls_and_jumps():
    params, states = drawn(SEALED, DRAWN["back up the stairs"])
    maps = distance_maps(*jax.device_get((params.pool, states)), np.arange(2))
    assert maps[0, STANDING, 1, 1] == FAR  # sealed off
    stairs = maps[1, STANDING]
    assert stairs[1, 3] > stairs[6, 7] > stairs[7, 1] == 0  # up, and back left


LEVELS = ["--levels", f"{FIRST}:{FIRST + NUMBER}"]


def test_command_names_and_draws_what_is_not_proven(tmp_path, capsys, monkeypatch):
    nothing = Proofs(np.arange(NUMBER) > 1, np.full((NUMBER, 1), 4, np.int8), np.zeros(NUMBER, int))
    monkeypatch.setattr("coinrun_jax.solver.__main__.solve", lambda *args, **kwargs: nothing)
    monkeypatch.setattr(
        "coinrun_jax.solver.__main__.replay",
        lambda *args: Replay(nothing.solved, np.zeros(NUMBER), np.zeros((NUMBER, 2, 2))),
    )
    assert main([*LEVELS, "--pictures", str(tmp_path / "pictures")]) == 1
    printed = capsys.readouterr().out
    assert f"not proven: level {FIRST}, coin in cell (" in printed
    assert printed.count("not proven: level") == 2
    drawn = sorted(file.name for file in (tmp_path / "pictures").iterdir())
    assert drawn == [f"hard_end_{FIRST}.png", f"hard_end_{FIRST + 1}.png"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--placement", "nowhere"], "placement 'nowhere' is not one of end, "),
        (["--placement", "uniform:1,uniform:2"], "named twice"),
        (["--placement", "uniform:1e300"], "float32"),
        (["--fraction", "nan,1"], "not finite"),
        (["--levels", "7"], "'7' is not of the form A:B"),
        (["--levels", "0:2000000000", "--save", "proofs.npz"], "at most 100,000 levels"),
        (["--cell", "1"], "'1' is not two numbers"),
        (["--seed", "-1"], "within 0"),
        (["--save", "missing/file.npz"], "the folder of missing/file.npz does not exist"),
        (["--save", __file__], "--force"),
        (["--pictures", __file__], "is not a folder"),
        (["--pictures", str(Path(__file__).parent)], "is not empty; --force draws into it"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(arguments, complaint, capsys):
    assert complaint in refusal(main, ["--levels", "0:4", *arguments], capsys)


def test_command_saves_its_proofs_and_solves_many_levels_in_pieces(
    generated, tmp_path, capsys, monkeypatch
):
    """With the same results as for a piece alone, and a line about each piece."""
    _, states, proofs = generated
    number, path = 2 * NUMBER, tmp_path / "proofs.npz"
    monkeypatch.setattr("coinrun_jax.solver.__main__.PIECE", NUMBER)
    levels = f"{FIRST}:{FIRST + number}"
    assert main(["--levels", levels, "--placement", PLACEMENT, "--save", str(path)]) == 0
    printed = capsys.readouterr()
    assert f"coin collected in {number} (100.00%)" in printed.out.splitlines()[0]
    assert printed.err.count(f"of {number} levels, coin collected in") == 2
    with np.load(path) as file:
        saved = dict(file)
    assert saved["collected"].all()
    assert saved["level_seed"].tolist() == list(range(FIRST, FIRST + number))
    assert saved["actions"].shape == (number, saved["length"].max())
    np.testing.assert_array_equal(saved["coin_cell"][:NUMBER], states.coin_cell)
    np.testing.assert_array_equal(saved["length"][:NUMBER], proofs.length)
    longest = proofs.actions.shape[1]
    np.testing.assert_array_equal(saved["actions"][:NUMBER, :longest], proofs.actions)
    assert (saved["actions"][:NUMBER, longest:] == Action.NOOP).all()


def test_percentiles_of_counts_are_those_of_the_lengths():
    lengths = np.random.default_rng(0).integers(1, 60, 37)
    totals = _Totals()
    totals.proven = len(lengths)
    totals._with_length[:60] = np.bincount(lengths, minlength=60)
    for share in (0, 0.05, 0.5, 0.95, 1):
        assert totals._percentile(share) == pytest.approx(np.quantile(lengths, share))


def test_states_without_a_leading_axis_are_refused(generated):
    params, states, _ = generated
    with pytest.raises(ValueError, match="one leading axis"):
        solve(params, jax.tree.map(lambda leaf: leaf[0], states))
