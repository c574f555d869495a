"""The symbolic observation says what stands where the state and the level say it does."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import CoinRun
from coinrun_jax.coinrun.observations import symbolic
from coinrun_jax.coinrun.types import WORLD_SIZE, Cell, Entity

NUM_ENVS = 64
HALF = symbolic.VIEW // 2
PLANE = {name: number for number, name in enumerate(symbolic.PLANES)}


@pytest.fixture(scope="module")
def env():
    return CoinRun(num_levels=NUM_ENVS, start_level=3000)


STEPS = 120


@partial(jax.jit, static_argnums=0)
def play(env, params):
    """(observation, state) after each step of random play, which goes on after an end; [T, N, ...].

    Observed at once, which takes half as long to compile as in each step.
    """
    actions = jax.random.randint(jax.random.key(2), (STEPS, NUM_ENVS), 0, 15)
    keys = jax.random.split(jax.random.key(0), NUM_ENVS)
    start = jax.vmap(env.start, in_axes=(0, 0, None))

    def step(state, action):
        state = jax.vmap(env.advance, in_axes=(0, 0, None))(state, action, params)[0]
        return state, state

    start = start(keys, jnp.arange(NUM_ENVS), params)
    states = jax.lax.scan(step, start, jnp.where(actions < 9, actions, 8))[1]
    observe = jax.vmap(jax.vmap(lambda state: env.observe(keys[0], state, None, params)))
    return observe(states), states


@pytest.fixture(scope="module")
def played(env):
    """Random play with the coin anywhere."""
    params = env.default_params.with_placement("random_section", 0.5).with_items(2, respawn=9)
    return jax.device_get(play(env, params))


@pytest.fixture(scope="module")
def moments(played):
    """(observation, state) of many moments of it."""
    chosen = np.random.default_rng(0).permutation(STEPS * NUM_ENVS)[: 8 * NUM_ENVS]
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[chosen], played)


@pytest.fixture(scope="module")
def state(played):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[0, 0]), played[1])


observe = jax.jit(symbolic.observe)


def slow_observation(state, level):
    """Planes [column, plane, row] and scalars of one state, cell by cell."""
    planes = np.zeros((symbolic.VIEW, len(symbolic.PLANES), symbolic.VIEW))
    left, low = int(np.floor(state.x)) - HALF, int(np.floor(state.y)) - HALF

    def enter(name, column, row, share=1.0):
        column, row = column - left, row - low
        if 0 <= column < symbolic.VIEW and 0 <= row < symbolic.VIEW:
            place = (column, PLANE[name], row)
            planes[place] = max(planes[place], share)

    for column in range(left, left + symbolic.VIEW):
        for row in range(low, low + symbolic.VIEW):
            inside = 0 <= column < WORLD_SIZE and 0 <= row < WORLD_SIZE
            code = level.grid[row, column] if inside else Cell.SOLID
            if code in (Cell.SOLID, Cell.SURFACE):
                enter("solid", column, row)
            if code in (Cell.LAVA, Cell.LAVA_SURFACE):
                enter("lava", column, row)
    for kind, xy, x, vx in zip(
        level.entity_type, level.entity_xy, state.entity_x, state.entity_vx, strict=True
    ):
        column, row = np.floor(xy).astype(int)
        if kind == Entity.SAW:
            enter("saw", column, row)
        if kind == Entity.CRATE:
            enter("crate", column, row)
        if kind == Entity.ENEMY:
            heading = "enemy_right" if vx > 0 else "enemy_left"
            for column in (int(np.floor(x - 0.5)), int(np.floor(x - 0.5)) + 1):
                share = min(x + 0.5, column + 1) - max(x - 0.5, column)
                enter(heading, column, row, share)
    if state.coin_present:
        enter("coin", *state.coin_cell)
    for cell, due in zip(state.item_cell, state.item_due, strict=True):
        if due <= state.time:
            enter("item", *cell)
    return planes, [
        state.x - np.floor(state.x),
        state.y - np.floor(state.y),
        state.vx / 0.5,
        state.vy / 1.5,
    ]


def test_objects_are_in_the_cells_where_they_stand(env, moments):
    observations, states = moments
    pool = jax.device_get(env.default_params.pool)
    planes, scalars = symbolic.split(observations)
    seen = np.zeros(len(symbolic.PLANES), int)
    for index in range(len(observations)):
        state = jax.tree.map(lambda leaf: leaf[index], states)  # noqa: B023
        level = jax.tree.map(lambda leaf: leaf[state.level_index], pool.levels)  # noqa: B023
        expected, motion = slow_observation(state, level)
        np.testing.assert_allclose(planes[index], expected, atol=1e-5)
        np.testing.assert_allclose(scalars[index, :4], motion, atol=1e-6)
        seen += expected.any((0, 2))
    assert (seen >= 5).all(), dict(zip(symbolic.PLANES, seen.tolist(), strict=True))


def test_bytes_are_the_same_numbers_rounded(env, moments):
    observations, states = moments
    as_bytes = CoinRun(observation="symbolic_uint8", num_levels=NUM_ENVS)
    params = env.default_params.with_items(2, respawn=9)
    observe = jax.vmap(lambda state: as_bytes.observe(jax.random.key(0), state, None, params))
    found = np.asarray(jax.jit(observe)(states))
    space = as_bytes.observation_space(params)
    assert (found.dtype, found.shape[1:]) == (space.dtype, space.shape) == (np.uint8, (1357,))
    velocities = symbolic.SIZE - len(symbolic.SCALARS) + np.array([2, 3])
    expected = 255 * observations
    expected[:, velocities] = 127 + 127 * observations[:, velocities]
    assert np.abs(found - expected).max() < 0.501
    assert len(np.unique(found[:, velocities])) > 50


def test_an_enemy_covers_one_tile_in_all(env, state):
    pool = env.default_params.pool
    state = state.replace(level_index=jnp.int32(0), x=jnp.float32(1.5), y=jnp.float32(1.5))
    slot = 0
    kinds = pool.levels.entity_type.at[0].set(Entity.NONE).at[0, slot].set(Entity.ENEMY)
    xy = pool.levels.entity_xy.at[0, slot].set(jnp.array([4.5, 2.5]))
    pool = pool.replace(levels=pool.levels.replace(entity_type=kinds, entity_xy=xy))
    for x, heading in ((4.5, 1), (4.25, -1), (4.9, 1)):
        moved = state.replace(
            entity_x=state.entity_x.at[slot].set(x),
            entity_vx=state.entity_vx.at[slot].set(0.15 * heading),
        )
        planes, _ = symbolic.split(observe(moved, pool))
        enemies = planes[:, [PLANE["enemy_left"], PLANE["enemy_right"]]]
        assert enemies.sum() == pytest.approx(1.0)
        assert enemies[:, 0 if heading > 0 else 1].sum() == 0
        column, share = int(x - 0.5) - (1 - HALF), 1 - (x - 0.5) % 1
        assert enemies[column, int(heading > 0), 2 - (1 - HALF)] == pytest.approx(share, abs=1e-6)


def test_outside_the_world_everything_is_solid(env, state):
    corner = state.replace(x=jnp.float32(63.5), y=jnp.float32(63.5))
    planes, _ = symbolic.split(observe(corner, env.default_params.pool))
    assert (planes[HALF + 1 :, PLANE["solid"]] == 1).all()
    assert (planes[:, PLANE["solid"], HALF + 1 :] == 1).all()
    assert planes.sum() == planes[:, PLANE["solid"]].sum()


def test_support_is_of_the_moment_not_of_the_last_step(played):
    """Right after landing the agent can jump: the policy has to know before it acts."""
    observations, states = played
    supported = symbolic.split(observations)[1][..., symbolic.SCALARS.index("supported")]
    np.testing.assert_array_equal(supported[:-1], states.supported[1:])
    assert (states.supported[:-1] != states.supported[1:]).any()


def test_an_absent_coin_is_not_shown(env):
    for kind in ("random_section", "end"):
        observations, states = play(env, env.default_params.with_placement(kind, present=False))
        planes, _ = symbolic.split(observations)
        assert not planes[..., PLANE["coin"], :].any()
        near = jnp.abs(states.coin_cell[..., 0] + 0.5 - states.x) < HALF
        assert near.any(), "some would be in view"


def test_split_takes_an_observation_apart_and_loses_nothing():
    flat = jnp.arange(3.0 * symbolic.SIZE).reshape(3, symbolic.SIZE)
    planes, scalars = symbolic.split(flat)
    size = symbolic.VIEW
    assert planes.shape == (3, size, len(symbolic.PLANES), size)
    assert scalars.shape == (3, len(symbolic.SCALARS))
    joined = np.concatenate([planes.reshape(3, -1), scalars], -1)
    np.testing.assert_array_equal(joined, flat)
