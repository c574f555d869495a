"""Procgen's own pixels: equal to the real game's frames, in batch, alone, and under every cue.

The pictures come from a copy of Procgen: from the wheel that COINRUN_PROCGEN_WHEEL names, or
from the file that `python -m coinrun_jax.art` has kept. Without them what draws is skipped.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax.art import store
from coinrun_jax.checks import InputError
from coinrun_jax.coinrun.env import CoinRun
from coinrun_jax.coinrun.generator import generate_level
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.observations.procgen import pictures
from coinrun_jax.coinrun.observations.procgen.spans import (
    Pair,
    add,
    axis_of,
    multiply,
    nearest,
    pair_of,
    span_of,
)
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.types import Cell, Entity, EnvState
from tests.procgen_art import pictures_at_hand

DATA = Path(__file__).parent / "data" / "procgen_frames.npz"


@pytest.fixture(scope="module")
def art(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pictures.Art]:
    with pictures_at_hand(tmp_path_factory.mktemp("art")):
        yield pictures.load()


FIRST_FRAMES = {
    10: "103e13af0322707125236a47e6fb2ae4aa4022d9abf53b52d599afbef1d53ef3",
    41: "873ea5fff270d906bedb091c80c8367f9f9c1e695db5f04dc4cd4d8ca0b60792",
    61: "f4145aed92e53e33057d5aeabda5d188c5b2aa23c15cad042080313862a0410d",
}
"""Hashes of the real game's first frame by hard level seed; enemies are to be seen."""

FADED = 1206, "55be0975aa39169156ae6866978b85234a0ccc893ce56d7a490709153690c663"
"""An easy level seed, and the hash of the frame after these actions."""
FADED_KEYS = (1, 6, 1, 6, 8, 1, 8, 1, 8, 1, 6, 8, 6, 7, 1, 7, 1, 9)
FADED_ACTIONS = np.repeat(
    FADED_KEYS, (3, 1, 26, 3, 1, 2, 1, 1, 1, 3, 8, 6, 2, 2, 1, 4, 1, 26)
).astype(np.int32)


class Recording:
    """Recorded episodes of the real game; of its frames only the hashes.

    After the recorded episodes come those of FIRST_FRAMES, in which nothing is done, and of FADED:
    all are played and drawn by the same two programs.
    """

    def __init__(self) -> None:
        with np.load(DATA) as file:
            self.arrays = {name: file[name] for name in file}
        self.number = len(self.arrays["level_seed"])
        seeds = [*FIRST_FRAMES, FADED[0]]
        self.seeds = np.append(self.arrays["level_seed"], seeds).astype(np.uint32)
        self.mode = np.append(self.arrays["mode"], ["hard"] * len(FIRST_FRAMES) + ["easy"])

    def levels(self) -> Any:
        """Levels of all episodes, [N]."""
        parts = {
            each: jax.jit(jax.vmap(partial(generate_level, mode=each)))(self.seeds)
            for each in np.unique(self.mode).tolist()
        }
        hard = self.mode == "hard"

        def choose(a: jax.Array, b: jax.Array) -> np.ndarray:
            where = hard.reshape((-1,) + (1,) * (a.ndim - 1))
            return np.where(where, np.asarray(a), np.asarray(b))

        return jax.tree.map(choose, parts["hard"], parts["easy"])

    def actions(self) -> np.ndarray:
        """int32 [T, N], padded with no key."""
        ends = self.arrays["action_off"]
        sent = np.full((np.diff(ends).max(), len(self.seeds)), 4, np.int32)
        for column, (first, stop) in enumerate(itertools.pairwise(ends)):
            sent[: stop - first, column] = self.arrays["action"][first:stop]
        sent[: len(FADED_ACTIONS), -1] = FADED_ACTIONS
        return sent

    def frames(self, setting: str) -> list[tuple[int, int, bytes]]:
        """(step, episode, hash) of the frames recorded in a setting."""
        found = []
        for episode in np.flatnonzero(self.arrays["setting"] == setting):
            for row in range(*self.arrays["frame_off"][episode : episode + 2]):
                step, code = self.arrays["frame_step"][row], self.arrays["sha256"][row]
                found.append((int(step), int(episode), code.tobytes()))
        return found


KEY = jax.random.key(0)  # of observations, which draw nothing


@partial(jax.jit, static_argnames="env")
def replay(env: CoinRun, params: EnvParams, actions: jax.Array) -> tuple[EnvState, EnvState]:
    """First states [N] and later ones [T, N], without what is seen of them."""
    number = actions.shape[1]
    keys = jax.random.split(jax.random.key(0), number)
    begin = jax.vmap(env.start, (0, 0, None))(keys, jnp.arange(number), params)

    def step(state: EnvState, action: jax.Array) -> tuple[EnvState, EnvState]:
        state = jax.vmap(env.advance, (0, 0, None))(state, action, params)[0]
        return state, state

    return begin, jax.lax.scan(step, begin, actions)[1]


@partial(jax.jit, static_argnames="env")
def draw(env: CoinRun, states: EnvState, params: EnvParams) -> jax.Array:
    return jax.vmap(lambda state: env.observe(KEY, state, None, params))(states)


@partial(jax.jit, static_argnames="env")
def draw_one(env: CoinRun, state: EnvState, params: EnvParams) -> jax.Array:
    return env.observe(KEY, state, None, params)


def code_of(frame: jax.Array | np.ndarray) -> str:
    return hashlib.sha256(np.asarray(frame).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def played(art: pictures.Art) -> tuple[CoinRun, EnvState, EnvParams, Recording]:
    """All states of the recorded episodes, numpy [T, N, ...]."""
    recording = Recording()
    env = CoinRun(observation="procgen")
    params = EnvParams.on_levels(recording.levels()).replace(art=art)
    begin, states = replay(env, params, recording.actions())
    states = jax.tree.map(lambda a, b: np.concatenate([a[None], b]), begin, states)
    return env, states, params, recording


def take(states: EnvState, steps: list[int], episodes: list[int]) -> EnvState:
    return jax.tree.map(lambda leaf: leaf[steps, episodes], states)


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting", ["default", "no_backgrounds", "restrict_themes", "paint_vel_info", "monochrome"]
)
def test_frames_equal_the_real_games(played: Any, setting: str) -> None:
    env, states, params, recording = played
    params = params.replace(
        look=Look(
            backgrounds=setting != "no_backgrounds",
            restrict_themes=setting == "restrict_themes",
            paint_velocity=setting == "paint_vel_info",
            monochrome=setting == "monochrome",
        )
    )
    wanted = recording.frames(setting)
    assert len(wanted) % 100 == 0
    different = []
    for first in range(0, len(wanted), 100):
        steps, episodes, hashes = zip(*wanted[first : first + 100], strict=True)
        frames = np.asarray(draw(env, take(states, list(steps), list(episodes)), params))
        for frame, code, step, episode in zip(frames, hashes, steps, episodes, strict=True):
            if hashlib.sha256(frame.tobytes()).digest() != code:
                different.append((episode, step))
    assert not different


def some(states: EnvState) -> EnvState:
    """100 states, enemies and their puffs among them."""
    number = states.time.shape[1]
    return take(states, [40] * 100, list(range(0, number, number // 100))[:100])


@pytest.mark.slow
def test_first_frames_with_enemies_equal_the_real_games(played: Any) -> None:
    env, states, params, recording = played
    columns = np.resize(recording.number + np.arange(len(FIRST_FRAMES)), 100)
    frames = draw(env, take(states, [0] * 100, columns.tolist()), params)
    for frame, (seed, code) in zip(frames, FIRST_FRAMES.items(), strict=False):
        assert code_of(frame) == code, seed


@pytest.mark.slow
def test_alone_and_in_a_batch_the_same(played: Any) -> None:
    """Alone with the pictures that easy levels need, and so with these as with all."""
    env, states, params, recording = played
    easy = np.flatnonzero(recording.mode[: recording.number] == "easy")
    steps, columns = [0, 40, 60, *[len(FADED_ACTIONS)] * 97], [*easy[[0, 7, -1]], *[-1] * 97]
    chosen = take(states, steps, columns)
    together = np.asarray(draw(env, chosen, params))
    few = params.replace(art=pictures.load([0]))
    for number in range(4):
        state = jax.tree.map(lambda leaf, n=number: leaf[n], chosen)
        alone = draw_one(env, state, few)
        np.testing.assert_array_equal(alone, together[number])
    # The last one is a frame in which a puff's column of pixels is nearly between two of its
    # picture's: faded pictures are scaled as in the real game.
    assert code_of(alone) == FADED[1]


@pytest.mark.slow
def test_in_a_batch_of_batches_the_same(played: Any) -> None:
    env, states, params, _ = played
    chosen = some(states)
    together = np.asarray(draw(env, chosen, params))
    nested = jax.jit(jax.vmap(partial(draw.__wrapped__, env), (0, None)))
    pairs = jax.tree.map(lambda leaf: leaf.reshape(50, 2, *leaf.shape[1:]), chosen)
    np.testing.assert_array_equal(nested(pairs, params).reshape(together.shape), together)


@pytest.mark.thorough
def test_without_jit_the_same(played: Any) -> None:
    env, states, params, _ = played
    chosen = some(states)
    together = np.asarray(draw(env, chosen, params))
    state = jax.tree.map(lambda leaf: leaf[0], chosen)
    with jax.disable_jit():
        np.testing.assert_array_equal(env.observe(KEY, state, None, params), together[0])


def beside(name: str, states: EnvState, params: EnvParams) -> EnvState:
    """100 states in which the agent is near such a thing, which another may hide now and then."""
    levels = jax.tree.map(np.asarray, params.pool.levels)
    codes = {"saw": Entity.SAW, "enemy": Entity.ENEMY, "crate": Entity.CRATE}
    if name in codes:
        level, slot = np.nonzero(levels.entity_type == codes[name])
        xy = levels.entity_xy[level, slot]
    elif name == "lava":
        level, row, column = np.nonzero(levels.grid == Cell.LAVA_SURFACE)
        xy = np.stack([column, row], -1) + np.float32(0.5)
    else:
        level = np.arange(len(levels.seed))
        xy = levels.end_cell + np.float32(0.5)
    chosen = np.resize(np.arange(len(level)), 100)
    state = take(states, [0] * 100, level[chosen].tolist())
    x, y = xy[chosen].T.astype(np.float32)
    return state.replace(x=np.maximum(x - np.float32(2.3), 1), y=y + np.float32(1.7))


@pytest.mark.slow
def test_what_is_hidden_moved_and_mirrored(played: Any) -> None:
    env, states, params, _ = played
    chosen = some(states)
    plain = np.asarray(draw(env, chosen, params))
    mirrored = draw(env, chosen, params.with_cues(mirrored=True))
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])
    for name in ("saw", "enemy", "crate", "lava", "coin"):
        near = beside(name, states, params)
        shown = np.asarray(draw(env, near, params))
        hidden = np.asarray(draw(env, near, params.with_cues(hide=[name])))
        assert (hidden != shown).any((1, 2, 3)).mean() > 0.8, name
    near = beside("coin", states, params)
    shown = np.asarray(draw(env, near, params))
    absent = near.replace(coin_present=np.zeros_like(near.coin_present))
    hidden = draw(env, near, params.with_cues(hide=["coin"]))
    np.testing.assert_array_equal(draw(env, absent, params), hidden)
    for cues in ({"coin_look": "red"}, {"coin_look": "gem"}, {"coin_spread": 2}):
        other = np.asarray(draw(env, near, params.with_cues(**cues)))
        assert (other != shown).any((1, 2, 3)).mean() > 0.8, cues
    for wall in ("hidden", "crates"):
        other = np.asarray(draw(env, near, params.with_cues(end_wall=wall)))
        assert (other != shown).any((1, 2, 3)).mean() > 0.8, wall
    no_trails = params.replace(look=Look(enemy_trails=False))
    assert (np.asarray(draw(env, chosen, no_trails)) != plain).any()
    grey = np.asarray(draw(env, chosen, params.replace(look=Look(greyscale=True))))
    assert (grey == grey[..., :1]).all()


def test_a_moved_coin_is_the_same_coin(played: Any) -> None:
    """The same pixels change, to the same values, wherever in the air above the start it is."""
    env, states, params, _ = played
    state = take(states, [0] * 100, list(range(100)))
    none = state.replace(coin_present=np.zeros_like(state.coin_present))
    before = np.asarray(draw(env, none, params))
    coins = []
    for cell in ((2, 6), (3, 6)):
        cells = np.broadcast_to(np.int32(cell), state.coin_cell.shape)
        frames = np.asarray(draw(env, state.replace(coin_cell=cells), params))
        assert (frames != before).any((1, 2, 3)).all()
        gold = (frames[..., 0] > 200) & (frames[..., 1] > 150) & (frames[..., 2] < 90)
        coins.append((gold & (frames != before).any(-1)).sum((1, 2)))
    assert (np.abs(coins[0] - coins[1]) <= 2).all()


def test_pictures_are_held_as_far_as_they_can_be_seen(
    played: Any, art: pictures.Art, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Levels take long to compile, and pictures do not depend on them.
    monkeypatch.setattr(CoinRun, "pool_of", lambda self, seeds: played[2].pool)
    everything, nothing = art.pixels.nbytes, pictures.load([]).pixels.nbytes
    assert everything < 300e6
    assert nothing < 30e6
    assert pictures.load(height=64).pixels.nbytes < 300e6
    params = CoinRun(observation="procgen", num_levels=2).default_params
    assert params.art is not None
    assert params.art.pixels is art.pixels
    bare = params.with_look(backgrounds=False)
    assert bare.art is not None
    assert bare.art.pixels.nbytes == nothing
    easy = CoinRun(mode="easy", observation="procgen", num_levels=2).default_params
    assert easy.art is not None
    assert easy.art.pixels is pictures.load([0]).pixels
    assert easy.art.pixels.nbytes < 30e6
    tied = easy.with_cues(tie={"background": 1.0})
    assert tied.art is not None
    assert tied.art.pixels.nbytes == everything


def test_without_pictures_one_line_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "none.npz"))
    with pytest.raises(InputError, match=r"python -m coinrun_jax\.art") as caught:
        CoinRun(observation="procgen")
    assert "\n" not in str(caught.value)
    CoinRun(observation="rgb")  # our own art needs nothing


# The arithmetic, against Python's doubles.


def test_spans_are_those_of_double_precision() -> None:
    random = np.random.default_rng(0)
    edges = random.uniform(-8, 66, 20_000).astype(np.float32)
    edges[::50] = np.round(edges[::50] * 2) / 2  # halves
    for pixels, length in ((128, 4.923077), (256, 9.9228), (17, 2.953), (128, 5.12)):
        axis = axis_of(pixels, float(np.float32(length)))
        ours = jax.device_get(span_of(Pair(edges, np.zeros_like(edges)), axis, 64))
        for number in range(0, len(edges), 7):
            assert span_in_doubles(float(edges[number]), float(np.float32(length)), pixels) == [
                int(leaf[number]) for leaf in (ours.start, ours.stop, ours.first)
            ]


def span_in_doubles(left: float, length: float, pixels: int) -> list[int]:
    def nearest_whole(value: float) -> int:
        return min(max(int(np.floor(value + 0.5)), 0), 64)

    start, stop = nearest_whole(left), nearest_whole(left + length)
    step = int(65536 * (pixels / length))
    first = int(np.ceil((start + 0.5 - left) * step)) - 1
    last = (first + step * (stop - start - 1)) >> 16
    return [start, stop - (stop > start and not 0 <= last < pixels), first]


def test_pairs_are_exact() -> None:
    random = np.random.default_rng(1)
    a, b = random.uniform(-300, 300, (2, 1000)).astype(np.float32)
    total, product = add(a, b), multiply(jnp.asarray(a), jnp.asarray(b), jnp.asarray(a * b))
    exact = a.astype(np.float64)
    assert (np.float64(total.high) + np.float64(total.low) == exact + b).all()
    assert (np.float64(product.high) + np.float64(product.low) == exact * b).all()
    value = random.uniform(0, 1000, 100)
    pair = pair_of(value)
    assert np.abs(np.float64(pair.high) + np.float64(pair.low) - value).max() < 1e-10
    halves = Pair(np.float32([0.5, 0.5, 1.5]), np.float32([0, -1e-9, 1e-9]))
    assert nearest(halves, 64).tolist() == [1, 0, 2]
