"""Cues, items and rewards change what they name, and nothing else."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import CoinRun
from coinrun_jax.coinrun.ascii import level_from_ascii
from coinrun_jax.coinrun.cues import HIDEABLE, NUM_THEMES, TIED
from coinrun_jax.coinrun.observations import symbolic
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.placement import CATALOGUE
from coinrun_jax.coinrun.types import Action

NUM_ENVS = 64
STEPS = 40
PLANE = {name: number for number, name in enumerate(symbolic.PLANES)}
MIRRORED_ACTION = np.array([6, 7, 8, 3, 4, 5, 0, 1, 2, *range(9, 15)])
ENV = CoinRun(num_levels=NUM_ENVS, start_level=4000)
PIXELS = CoinRun(num_levels=NUM_ENVS, start_level=4000, observation="rgb")
KEYS = jax.random.split(jax.random.key(0), NUM_ENVS)
INDEX = np.arange(NUM_ENVS)
SHORT = level_from_ascii("#.#\n#@$\n###")  # nothing can be behind the agent
ACTIONS = jnp.minimum(jax.random.randint(jax.random.key(1), (STEPS, NUM_ENVS), 0, 14), 8)


@pytest.fixture(scope="module")
def params():
    return ENV.default_params.with_placement("uniform")


def play(params, actions):
    """The first state, and all that the steps return."""
    first = start(KEYS, INDEX, params)
    return first, play_on(first, params, actions)


@jax.jit
def play_on(first, params, actions):
    def step(state, action):
        observation, state, reward, terminated, info = jax.vmap(
            ENV.step_env, in_axes=(0, 0, 0, None)
        )(KEYS, state, action, params)
        return state, (observation, state, reward, terminated, info)

    return jax.lax.scan(step, first, actions)[1]


@jax.jit
def start(keys, index, params):
    return jax.vmap(ENV.start, in_axes=(0, 0, None))(keys, index, params)


@partial(jax.jit, static_argnums=0)
def observe(env, state, params):
    return jax.vmap(lambda each: env.observe(KEYS[0], each, None, params))(state)


def picture(state, params):
    return np.asarray(observe(PIXELS, state, params))


def first_pictures(*variants):
    return [picture(start(KEYS, INDEX, each), each) for each in variants]


def positions(played):
    return np.asarray(played[1][1].x), np.asarray(played[1][1].y)


def planes_of(played):
    return np.asarray(symbolic.split(played[1][0])[0])


def test_one_compiled_step_serves_all_placements_cues_items_and_rewards(params):
    traces = []

    @jax.jit
    def step(state, params):
        traces.append(1)
        reset = ENV.reset_to_level(KEYS[0], 3, params)
        return ENV.step(KEYS[0], state, jnp.int32(7), params), reset

    state = jax.eval_shape(ENV.reset_to_level, KEYS[0], 0, params)[1]
    trace = partial(jax.eval_shape, step, state)
    trace(params)
    for kind in CATALOGUE:
        trace(params.with_placement(kind, 0.5, cell=(9, 4)))
    trace(params.with_items(2, look="red", worth=1.0, respawn=5))
    trace(params.with_cues(coin_look="gem", mirrored=True, hide=HIDEABLE))
    trace(params.with_cues(end_wall="crates", tie=dict.fromkeys(TIED, 0.5)))
    trace(params.with_reward(progress=1.0, step=-0.1, end=5.0))
    trace(params.replace(max_steps_in_episode=np.int32(50), look=Look(greyscale=True)))
    assert len(traces) == 1


def test_mirrored_is_the_same_game_seen_in_a_mirror(params):
    mirror = params.with_cues(mirrored=True)
    plain, mirrored = play(params, ACTIONS), play(mirror, MIRRORED_ACTION[ACTIONS])
    np.testing.assert_array_equal(positions(plain), positions(mirrored))
    seen, seen_mirrored = planes_of(plain), planes_of(mirrored)
    order = [PLANE[n] for n in symbolic.PLANES]
    left, right = PLANE["enemy_left"], PLANE["enemy_right"]
    order[left], order[right] = right, left
    np.testing.assert_allclose(seen_mirrored, seen[:, :, ::-1, order], atol=1e-6)
    (_, a), (_, b) = symbolic.split(plain[1][0]), symbolic.split(mirrored[1][0])
    np.testing.assert_allclose(b[..., 0], 1 - a[..., 0], atol=1e-6)
    np.testing.assert_allclose(b[..., 2], -a[..., 2], atol=1e-6)
    np.testing.assert_array_equal(b[..., [1, 3, 4]], a[..., [1, 3, 4]])
    for step in (0, 2, STEPS - 1):
        first, second = (
            picture(jax.tree.map(lambda leaf: leaf[step], played[1][1]), p)  # noqa: B023
            for played, p in ((plain, params), (mirrored, mirror))
        )
        np.testing.assert_array_equal(second, first[:, :, ::-1])


@pytest.mark.parametrize("name", HIDEABLE)
def test_hidden_things_are_there_but_not_seen(params, name):
    plain, hidden = (play(p, ACTIONS) for p in (params, params.with_cues(hide=[name])))
    np.testing.assert_array_equal(positions(plain), positions(hidden))
    mine = [PLANE[plane] for plane in symbolic.PLANES if plane.startswith(name)]
    others = [number for number in range(len(symbolic.PLANES)) if number not in mine]
    assert planes_of(plain)[..., mine, :].any()
    assert not planes_of(hidden)[..., mine, :].any()
    np.testing.assert_array_equal(
        planes_of(plain)[..., others, :], planes_of(hidden)[..., others, :]
    )
    bare = params.replace(look=Look(monochrome=True, enemy_trails=False))
    frames = first_pictures(bare, bare.with_cues(hide=[name]))
    assert (frames[0] != frames[1]).any()


def test_a_coin_of_another_look_is_an_item_to_symbols_and_has_its_colour_in_pixels(params):
    gold, red, gem = (params.with_cues(coin_look=look) for look in ("gold", "red", "gem"))
    seen = [planes_of(play(p, ACTIONS)) for p in (gold, red, gem)]
    coin, item = PLANE["coin"], PLANE["item"]
    for changed in seen[1:]:
        np.testing.assert_array_equal(changed[..., item, :], seen[0][..., coin, :])
        assert not changed[..., coin, :].any()
    frames = first_pictures(gold, red, gem)
    for changed, channel in ((frames[1], 0), (frames[2], 2)):
        pixels = changed[(changed != frames[0]).any(-1)]
        assert len(pixels) > 20
        assert (pixels.mean(0).argmax()) == channel


@pytest.mark.parametrize("spread", [1, 3])
def test_a_coin_may_be_seen_from_more_cells_but_is_taken_in_one(params, spread):
    """Free cells around it look like it, in symbols and in pixels alike."""
    plain, salient = (
        play(each, ACTIONS) for each in (params, params.with_cues(coin_spread=spread))
    )
    np.testing.assert_array_equal(positions(plain), positions(salient))
    np.testing.assert_array_equal(plain[1][2], salient[1][2])  # rewards
    before, after = planes_of(plain), planes_of(salient)
    others = [number for name, number in PLANE.items() if name != "coin"]
    np.testing.assert_array_equal(before[..., others, :], after[..., others, :])
    state = jax.tree.map(np.asarray, plain[1][1])
    corner = np.stack([np.floor(state.x), np.floor(state.y)], -1) - symbolic.VIEW // 2
    x, y = np.moveaxis(state.coin_cell - corner, -1, 0)[..., None, None]
    cells = np.arange(symbolic.VIEW)
    near = (np.abs(cells[:, None] - x) <= spread) & (np.abs(cells - y) <= spread)
    near &= state.coin_present[..., None, None]
    still = before[..., [PLANE[name] for name in ("solid", "lava", "saw", "crate")], :].any(-2)
    expected = before[..., PLANE["coin"], :].astype(bool) | (near & ~still)
    np.testing.assert_array_equal(after[..., PLANE["coin"], :], expected)
    assert expected.sum() > 2 * before[..., PLANE["coin"], :].sum()


def test_a_salient_coin_is_drawn_in_every_cell_that_shows_it(params):
    first = [
        each.astype(int)
        for each in first_pictures(
            params.with_cues(hide=["coin"]), params, params.with_cues(coin_spread=2)
        )
    ]
    one, many = (np.abs(each - first[0]).any(-1).sum((1, 2)) for each in first[1:])
    seen = one > 0
    assert (many[seen] > 2 * one[seen]).mean() > 0.9
    assert (many >= one).all()


def test_the_end_wall_is_hidden_or_of_crates(params):
    near_end = params.with_placement("end")
    plain, hidden, crates = (
        near_end.with_cues(end_wall=kind) for kind in ("plain", "hidden", "crates")
    )
    state = start(KEYS, INDEX, plain)
    end = np.asarray(plain.pool.levels.end_cell)
    state = state.replace(
        x=jnp.asarray(end[:, 0] - 0.5, jnp.float32), y=jnp.asarray(end[:, 1] + 0.6, jnp.float32)
    )

    def look(params):
        return picture(state, params)

    solid = [
        np.asarray(symbolic.split(observe(ENV, state, p))[0])[:, :, PLANE["solid"]]
        for p in (plain, hidden)
    ]
    beyond = symbolic.VIEW // 2 + 2  # the agent stands in the column before the end
    assert solid[0][:, beyond:].all()
    assert not solid[1][:, beyond:].any()
    np.testing.assert_array_equal(solid[0][:, :beyond], solid[1][:, :beyond])
    frames = [look(p) for p in (plain, hidden, crates)]
    assert (frames[0] != frames[1]).any((1, 2, 3)).all()
    assert (frames[0] != frames[2]).any((1, 2, 3)).all()
    spread, unseen = (
        look(near_end.with_cues(end_wall="hidden", coin_spread=1, hide=hide))
        for hide in ((), ("coin",))
    )
    differs = (spread != unseen).any((0, 1, 3))  # by column; what is hidden is no free cell
    assert differs[:39].any()
    assert not differs[41:].any()


def test_greyscale_has_no_colour_and_keeps_the_brightness(params):
    grey = params.replace(look=Look(greyscale=True))
    frames, coloured = (each.astype(float) for each in first_pictures(grey, params))
    assert (frames.max(-1) == frames.min(-1)).all()
    np.testing.assert_allclose(frames[..., 0], coloured @ [0.299, 0.587, 0.114], atol=0.51)


@pytest.mark.parametrize("number", range(3))
def test_a_tied_theme_follows_the_coin_with_its_strength(params, number):
    times, params = 16, params.with_placement("fraction")
    keys = jax.random.split(jax.random.key(3), (times, NUM_ENVS))
    index = np.tile(INDEX, times)

    def themes(strength):
        tied = params.with_cues(tie={TIED[number]: strength})
        found = [jax.device_get(start(some, INDEX, tied)) for some in keys]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)

    free, half, tied = (themes(strength) for strength in (0.0, 0.5, 1.0))
    share = (tied.coin_cell[:, 0] - 1) / (np.asarray(params.pool.levels.end_cell)[index, 0] - 1)
    parts = np.minimum((share * NUM_THEMES[number]).astype(int), NUM_THEMES[number] - 1)
    np.testing.assert_array_equal(tied.theme[:, number], parts)
    others = [k for k in range(3) if k != number]
    np.testing.assert_array_equal(tied.theme[:, others], free.theme[:, others])
    by_chance = (free.theme[:, number] == parts).mean()
    assert (half.theme[:, number] == parts).mean() == pytest.approx(0.5 + 0.5 * by_chance, abs=0.07)


def test_items_pay_come_back_and_never_lie_on_the_coin():
    params = ENV.default_params.with_placement("end").with_items(
        1, placement="fixed", cell=(3, 1), worth=2.0, respawn=6
    )
    actions = jnp.full((STEPS, NUM_ENVS), Action.RIGHT)
    actions = actions.at[5:].set(Action.NOOP)  # past the item, it comes to rest in it
    first, (_, state, reward, _, info) = play(params, actions)
    assert (first.item_due[:, 0] == 0).all()
    assert (first.item_due[:, 1] > 1000).all()  # only one piece
    paid = np.asarray(reward)
    assert (paid[paid != 10] % 2 == 0).all()
    here = np.asarray((jnp.abs(state.x - 3.5) < 0.9) & (state.y < 1.6))
    stays = here[12:].all(0)
    assert stays.any()
    taken = np.argwhere(paid[:, stays] == 2.0)
    gaps = np.diff(taken[taken[:, 1] == 0][:, 0])
    assert len(gaps) >= 4
    assert (gaps == 6).all()
    steps = np.asarray(info["item_step"])[-1]
    assert (steps[stays] == taken[taken[:, 1] == 0][0, 0] + 1).all()
    np.testing.assert_allclose(np.asarray(info["episode_return"])[-1], paid.sum(0), rtol=1e-5)

    for present in (True, False):  # a control has no item where the coin would be, either
        both = ENV.default_params.with_placement("fixed", cell=(3, 1), present=present)
        both = both.with_items(1, placement="fixed", cell=(3, 1))
        assert (play(both, actions)[0].item_due > 1000).all()


def test_rewards_are_what_they_say_and_events_do_not_change(params):
    at_end = params.with_placement("end", present=False)
    spec = at_end.with_reward(coin=0.0, progress=0.5, step=-0.01, end=3.0)
    actions = jnp.full((STEPS, NUM_ENVS), Action.RIGHT_UP)
    plain, other = play(at_end, actions), play(spec, actions)
    for name in ("end_step", "ghost_step", "coin_step", "outcome"):
        np.testing.assert_array_equal(plain[1][4][name], other[1][4][name])
    x = np.concatenate([np.asarray(other[0].x)[None], positions(other)[0]])
    end_step = np.asarray(other[1][4]["end_step"])
    first_touch = (end_step == np.arange(1, STEPS + 1)[:, None]) & (end_step > 0)
    assert first_touch.any()
    expected = 0.5 * np.diff(x, axis=0) - 0.01 + 3.0 * first_touch
    np.testing.assert_allclose(other[1][2], expected, atol=1e-4)
    np.testing.assert_allclose(
        np.asarray(other[1][4]["episode_return"])[-1], expected.sum(0), atol=1e-2
    )
    assert not np.asarray(plain[1][2]).any()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda p: p.with_cues(coin_look="green"), "green"),
        (lambda p: p.with_cues(end_wall="moon"), "moon"),
        (lambda p: p.with_cues(hide=["agent"]), "agent"),
        (lambda p: p.with_cues(tie={"sky": 1.0}), "sky"),
        (lambda p: p.with_cues(tie={"ground": 1.5}), "1.5"),
        (lambda p: p.with_items(3), "3"),
        (lambda p: p.with_items(1, look="gold"), "gold"),
        (lambda p: p.with_items(1, worth=float("nan")), "nan"),
        (lambda p: p.with_items(1, respawn=0), "respawn 0"),
        (lambda p: p.with_items(1, respawn=2**31 - 1), "respawn 2147483647"),
        (lambda p: p.with_items(1, placement="moon"), "moon"),
        (lambda p: p.with_items(1, placement="absent"), "absent"),
        (lambda p: p.with_items(1, placement="behind"), "behind"),
        (lambda p: p.with_items(1, placement="end").with_placement("end"), "end of every level"),
        (lambda p: p.with_cues(coin_look="red").with_items(1, look="gold").with_cues(), "gold"),
        (lambda p: p.with_placement("behind").with_levels(SHORT), "no cell in 1"),
        (lambda p: p.with_placement("end").with_items(1, placement="end"), "end of every level"),
        (lambda p: p.with_items(1, look="red").with_cues(coin_look="red"), "red"),
        (lambda p: p.with_reward(progress=float("inf")), "progress inf"),
    ],
)
def test_impossible_requests_are_refused(params, change, named):
    with pytest.raises(ValueError, match=named):
        change(params)
