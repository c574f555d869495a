"""Frames show every thing where the state says that it is, and change when they should.

The plain look (one colour for each kind of thing) is compared pixel by pixel with a slow
reading of the camera's formula; the drawings are checked for what distinguishes them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import CoinRun
from coinrun_jax.coinrun.observations import atlas as art
from coinrun_jax.coinrun.observations import creatures, rgb, tiles
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.physics import HALF_HEIGHT
from coinrun_jax.coinrun.pool import build_pool, level_of
from coinrun_jax.coinrun.types import NEVER, Cell, Entity, EnvState

GOLDEN = Path(__file__).parent / "data" / "rgb_golden.npz"
NUMBER = 100
PLAIN = Look(monochrome=True, backgrounds=False, enemy_trails=False)
BARE = Look(backgrounds=False)
LAYERS = 2  # in scenes, of which one needs as many
VIEW = 13
FEW = np.s_[:8]


ENV = CoinRun(num_levels=NUMBER)


@pytest.fixture(scope="module")
def params():
    return ENV.default_params


@pytest.fixture(scope="module")
def states(params):
    return random_states(params)


def random_states(params):
    """One state a level, with the agent, the enemies and the coin put anywhere."""
    start = jax.jit(jax.vmap(ENV.start, in_axes=(0, 0, None)))
    keys = jax.random.split(jax.random.key(0), NUMBER)
    state = jax.device_get(start(keys, jnp.arange(NUMBER), params))
    random = np.random.default_rng(0)
    end = np.asarray(params.pool.levels.end_cell)
    x = 1 + random.random(NUMBER) * (end[:, 0] - 1)
    low, high = np.asarray(params.pool.lane_edge).transpose(1, 0, 2)
    low, high = low + 0.5, high - 0.5
    share = random.random(low.shape)
    is_enemy = np.asarray(params.pool.levels.entity_type) == Entity.ENEMY
    entity_x = np.where(is_enemy, low + share * (high - low), state.entity_x)
    heading = random.choice([-0.15, 0.15], low.shape)
    return state.replace(
        time=jnp.array(random.integers(0, 100, NUMBER), jnp.int32),
        x=jnp.array(x, jnp.float32),
        y=jnp.array(1 + random.random(NUMBER) * 20, jnp.float32),
        vx=jnp.array(random.uniform(-0.5, 0.5, NUMBER), jnp.float32),
        vy=jnp.array(random.uniform(-1.5, 1.5, NUMBER), jnp.float32),
        facing_right=jnp.array(random.random(NUMBER) < 0.5),
        entity_x=jnp.array(entity_x, jnp.float32),
        entity_vx=jnp.array(np.where(is_enemy, heading, 0), jnp.float32),
        coin_cell=jnp.array(
            np.stack([x + random.integers(-4, 5, NUMBER), state.y + 2], 1).astype(int)
        ),
        coin_present=jnp.array(random.random(NUMBER) < 0.8),
    )


@partial(jax.jit, static_argnames="size")
def _draw(states, pool, look, size):
    return jax.vmap(lambda state: rgb.observe(state, pool, look, size))(states)


def draw(states, pool, look, size=rgb.SIZE):
    return _draw(states, pool, look, size)  # to jax a size that is left out is another size


draw_one = jax.jit(rgb.observe)


def pick(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def plain_frame(state, level, size):
    """What the plain look shows, by the book, and where an edge is too close to call.

    Returns:
      uint8 [size, size, 3] and bool [size, size].
    """
    offset = (np.arange(size) + 0.5 - size / 2) * VIEW / size
    x, y = np.float64(state.x) + offset[None, :], np.float64(state.y) - offset[:, None]
    column, row = (np.broadcast_to(np.floor(a).astype(int), (size, size)) for a in (x, y))
    inside = (column >= 0) & (column < 64) & (row >= 0) & (row < 64)
    code = np.where(inside, level.grid[np.clip(row, 0, 63), np.clip(column, 0, 63)], Cell.SOLID)
    ground = tiles.GROUND_THEMES[int(level.wall_theme)]
    frame = np.zeros((size, size, 3), np.uint8)
    frame[code == Cell.SOLID] = ground.interior
    frame[code == Cell.SURFACE] = ground.strip
    frame[(code == Cell.LAVA) | (code == Cell.LAVA_SURFACE)] = tiles.LAVA
    centre = level.entity_xy
    for kind, colour in ((Entity.SAW, tiles.STEEL), (Entity.CRATE, tiles.WOOD)):
        for slot in np.flatnonzero(level.entity_type == kind):
            frame[(column == int(centre[slot, 0])) & (row == int(centre[slot, 1]))] = colour
    if state.coin_present:
        frame[(column == state.coin_cell[0]) & (row == state.coin_cell[1])] = tiles.GOLD
    body = (np.abs(offset) < 0.5)[None, :] & (np.abs(offset) < HALF_HEIGHT)[:, None]
    frame[body] = creatures.AGENT_COLOURS[int(level.agent_theme)]
    unsure = np.minimum(x % 1, -x % 1) + 0 * y < 1e-4
    unsure |= np.minimum(y % 1, -y % 1) + 0 * x < 1e-4
    for slot in np.flatnonzero(level.entity_type == Entity.ENEMY):
        dx, dy = x - state.entity_x[slot], y - np.floor(centre[slot, 1])
        frame[(np.abs(dx) < 0.5) & (dy >= 0) & (dy < 0.75)] = art.PLAIN_ENEMY_COLOUR
        near = (np.abs(np.abs(dx) - 0.5) < 0.02) & (dy >= 0) & (dy < 1)
        unsure |= near | ((np.abs(dx) < 0.6) & (np.abs(dy - 0.75) < 0.05))
    return frame, unsure


@pytest.mark.parametrize(
    "size", [64, *(pytest.param(size, marks=pytest.mark.thorough) for size in (52, 84))]
)
def test_everything_is_at_the_pixels_where_the_state_says(params, states, size):
    frames = np.asarray(draw(states, params.pool, PLAIN, size))
    on_host, levels = jax.device_get((states, params.pool.levels))
    seen = set()
    for index in range(0, NUMBER, 1 if size == rgb.SIZE else 2):
        expected, unsure = plain_frame(pick(on_host, index), pick(levels, index), size)
        wrong = (frames[index] != expected).any(-1) & ~unsure
        assert not wrong.any(), (index, np.argwhere(wrong)[:5])
        seen |= {tuple(colour) for colour in expected.reshape(-1, 3)}
    kinds = [tiles.LAVA, tiles.STEEL, tiles.WOOD, tiles.GOLD, art.PLAIN_ENEMY_COLOUR]
    assert seen.issuperset([*kinds, *creatures.AGENT_COLOURS])


def one_thing(kind, theme=0, vx=0.0, wall_theme=0):
    """A level of flat ground, 16 tiles wide, with one thing in its middle, in cell (8, 1)."""
    level = jax.device_get(level_of(ENV.default_params.pool, 0))
    grid = np.full((64, 64), Cell.EMPTY, np.int8)
    grid[0] = Cell.SURFACE
    grid[:, :1] = grid[:, 16:] = Cell.SOLID
    kinds, xy = np.zeros(40, np.int8), np.zeros((40, 2), np.float32)
    velocity, themes = np.zeros(40, np.float32), np.zeros(40, np.int8)
    kinds[0], xy[0], velocity[0], themes[0] = kind, (8.5, 1.5), vx, theme
    return level.replace(
        grid=grid,
        entity_type=kinds,
        entity_xy=xy,
        entity_vx=velocity,
        entity_theme=themes,
        end_cell=np.array([15, 1], np.int8),
        wall_theme=np.int8(wall_theme),
    )


def scene(level, look=BARE, **changes):
    """A frame from (8.5, 4.5), in the middle of `one_thing`; its agent hides nothing below."""
    pool = build_pool(level, LAYERS)
    state = EnvState(
        time=jnp.int32(0),
        level_index=jnp.int32(0),
        x=jnp.float32(8.5),
        y=jnp.float32(4.5),
        vx=jnp.float32(0),
        vy=jnp.float32(0),
        on_crate=jnp.bool_(False),
        facing_right=jnp.bool_(True),
        walking=jnp.bool_(False),
        supported=jnp.bool_(True),
        entity_x=jnp.asarray(level.entity_xy[:, 0]),
        entity_vx=jnp.asarray(level.entity_vx),
        coin_cell=jnp.array([10, 3], jnp.int32),
        coin_present=jnp.bool_(False),
        coin_moved=jnp.bool_(False),
        ghost_cell=jnp.zeros(2, jnp.int32),
        coin_step=jnp.int32(0),
        end_step=jnp.int32(0),
        ghost_step=jnp.int32(0),
        item_cell=jnp.zeros((2, 2), jnp.int32),
        item_due=jnp.full(2, NEVER, jnp.int32),
        item_step=jnp.int32(0),
        theme=jnp.array([level.wall_theme, level.background_index, level.agent_theme], jnp.int32),
        episode_return=jnp.float32(0),
        cause=jnp.int8(0),
    )
    changes = {
        name: jnp.asarray(value, getattr(state, name).dtype) for name, value in changes.items()
    }
    return np.asarray(draw_one(state.replace(**changes), pool, look))


AGENT = np.s_[27:37, 28:36]  # pixels that an agent can cover


def agent(**changes):
    """Pixels of the agent in mid air, over a level of ground alone."""
    return scene(one_thing(Entity.NONE), y=20.0, **changes)[AGENT]


def test_agent_mirrors_with_its_facing():
    right, left = agent(facing_right=True), agent(facing_right=False)
    np.testing.assert_array_equal(left, right[:, ::-1])
    assert (left != right).any()


def test_agent_walks_stands_and_jumps():
    def pose(time, vx, walking, supported):
        return agent(time=time, vx=vx, walking=walking, supported=supported).tobytes()

    stand = pose(0, 0.0, False, True)
    stride, passing = pose(0, 0.3, True, True), pose(5, 0.3, True, True)
    assert len({stand, stride, passing}) == 3
    assert pose(9, 0.0, False, True) == stand == pose(5, 0.009, False, True)
    assert pose(4, 0.3, True, True) == stride == pose(10, 0.3, True, True)
    assert pose(5, 0.0, True, True) == passing == pose(5, 0.02, False, True)
    assert pose(5, 0.3, True, False) == stride == pose(5, 0.0, False, False)


def test_saws_turn_every_step_and_stand_in_the_lower_part_of_their_tile():
    frames = [scene(one_thing(Entity.SAW), time=time) for time in range(3)]
    assert (frames[0] != frames[1]).any()
    np.testing.assert_array_equal(frames[0], frames[2])
    empty = scene(one_thing(Entity.NONE))
    rows = np.flatnonzero((frames[0] != empty).any((1, 2)))
    assert len(rows) in (2, 3)  # of 4.9
    assert (frames[0][44 : rows[0]] == empty[44 : rows[0]]).all()


def test_enemies_change_every_five_steps_and_mirror_moving_right():
    for theme in range(9):
        left = [scene(one_thing(Entity.ENEMY, theme, -0.15), time=time) for time in (0, 4, 5, 10)]
        np.testing.assert_array_equal(left[0], left[1])
        np.testing.assert_array_equal(left[0], left[3])
        assert (left[0] != left[2]).any(), theme
        quiet = Look(backgrounds=False, enemy_trails=False)
        level = one_thing(Entity.ENEMY, theme, 0.15)
        right, mirror = scene(level, quiet), scene(level, quiet, entity_vx=jnp.full(40, -0.15))
        assert (right != mirror).any(), theme


def test_nine_enemies_and_four_crates_look_different():
    enemies = {scene(one_thing(Entity.ENEMY, theme, -0.15)).tobytes() for theme in range(9)}
    crates = {scene(one_thing(Entity.CRATE, theme)).tobytes() for theme in range(4)}
    assert (len(enemies), len(crates)) == (9, 4)
    alike = Look(restrict_themes=True, backgrounds=False)
    assert len({scene(one_thing(Entity.ENEMY, t, -0.15), alike).tobytes() for t in range(9)}) == 1
    assert len({scene(one_thing(Entity.CRATE, t), alike).tobytes() for t in range(4)}) == 1


def test_dust_lies_behind_enemies_within_their_lane():
    def dust(vx, x, trails=True):
        """Pixel columns with dust."""
        look = Look(backgrounds=False, enemy_trails=trails)
        place = jnp.zeros(40).at[0].set(x)
        frame = scene(one_thing(Entity.ENEMY, 0, vx), look, entity_x=place)
        return np.flatnonzero((frame == rgb.DUST_COLOUR).all(-1).any(0))

    centre = 32 + (9.0 - 8.5) * 64 / 13
    assert len(dust(-0.15, 9.0)) >= 3
    assert dust(-0.15, 9.0).min() > centre
    assert len(dust(0.15, 9.0)) >= 3
    assert dust(0.15, 9.0).max() < centre
    assert len(dust(-0.15, 9.0, trails=False)) == 0
    assert len(dust(-0.15, 15.5)) == 0  # it has just turned at the wall on the right


def test_later_enemies_hide_earlier_ones():
    level = one_thing(Entity.ENEMY, 6, -0.15)
    both = level.replace(
        entity_type=np.where(np.arange(40) < 2, Entity.ENEMY, 0).astype(np.int8),
        entity_xy=np.where(np.arange(40)[:, None] < 2, level.entity_xy[0], 0).astype(np.float32),
        entity_theme=np.where(np.arange(40) == 1, 0, level.entity_theme).astype(np.int8),
        entity_vx=np.where(np.arange(40) < 2, np.float32(-0.15), 0).astype(np.float32),
    )
    above = scene(one_thing(Entity.ENEMY, 0, -0.15))
    covered = (above != scene(one_thing(Entity.NONE))).any(-1)
    np.testing.assert_array_equal(scene(both)[covered], above[covered])


def test_lanes_above_one_another_need_layers():
    level = one_thing(Entity.ENEMY, 3, -0.15)
    grid = np.array(level.grid)
    grid[4, 1:16] = Cell.SURFACE
    both = level.replace(
        grid=grid,
        entity_type=np.where(np.arange(40) < 2, Entity.ENEMY, 0).astype(np.int8),
        entity_xy=np.array([[8.5, 1.5], [7.5, 5.5]] + [[0, 0]] * 38, np.float32),
        entity_theme=np.where(np.arange(40) < 2, 3, 0).astype(np.int8),
    )
    bodies = (scene(both, PLAIN) == art.PLAIN_ENEMY_COLOUR).all(-1)
    rows = np.flatnonzero(bodies.any(1))
    assert rows.min() < 32 < 40 < rows.max()


def test_coin_is_drawn_where_it_is_and_only_if_it_is():
    empty = scene(one_thing(Entity.NONE))
    coin = scene(one_thing(Entity.NONE), coin_present=True, coin_cell=[10, 3])
    changed = np.argwhere((coin != empty).any(-1))
    expected = [32 + (4.5 - 3.5) * 64 / 13, 32 + (10.5 - 8.5) * 64 / 13]
    np.testing.assert_allclose(changed.mean(0) + 0.5, expected, atol=0.6)
    assert 4 <= len(changed) <= 9  # a disc in the central half: 2.5 pixels across
    red, green, blue = coin[tuple(changed.T)].mean(0)
    assert red > green > 2 * blue


def test_themes_of_the_ground():
    frames = [scene(one_thing(Entity.NONE, wall_theme=theme)) for theme in range(6)]
    assert len({frame.tobytes() for frame in frames}) == 6
    alike = Look(restrict_themes=True, backgrounds=False)
    same = {scene(one_thing(Entity.NONE, wall_theme=t), alike).tobytes() for t in range(6)}
    assert len(same) == 1


def test_backgrounds_cover_all_indices_scroll_and_can_be_left_out():
    def background(index, shift=0.0, look=None, x=8.5):
        level = one_thing(Entity.NONE).replace(
            background_index=np.int8(index), background_shift=np.float32(shift)
        )
        return scene(level, look or Look(), x=x)[2:20, 2:40]

    assert len({background(index).tobytes() for index in range(62)}) >= 16
    assert (background(1) != background(1, shift=0.5)).any()
    here, there = background(1), background(1, x=8.5 + 10 * 13 / 64)
    np.testing.assert_array_equal(here[:, 10:], there[:, :-10])
    assert not background(1, look=BARE).any()


def test_velocity_squares():
    look = Look(backgrounds=False, paint_velocity=True)
    changes = {"vx": 0.25, "vy": -1.5}
    painted, plain = (scene(one_thing(Entity.NONE), k, **changes) for k in (look, BARE))
    assert (painted[:13, :13] == 191).all()
    assert (painted[:13, 13:26] == 1).all()
    np.testing.assert_array_equal(painted[13:], plain[13:])
    np.testing.assert_array_equal(painted[:, 26:], plain[:, 26:])


@pytest.fixture(scope="module")
def frames(params, states):
    """Of the first few states."""
    return np.asarray(draw(states, params.pool, Look()))[FEW]


def test_alone_as_in_a_batch(params, states, frames):
    """And with room for more layers of lanes than a generated level needs."""
    for index, frame in enumerate(frames[:3]):
        pool = build_pool(jax.device_get(level_of(params.pool, index)), LAYERS)
        state = pick(states, index).replace(level_index=jnp.int32(0))
        np.testing.assert_array_equal(draw_one(state, pool, Look()), frame)


@pytest.mark.thorough
def test_without_jit_as_with_it(params, states, frames):
    with jax.disable_jit():
        slow = rgb.observe(pick(states, 0), params.pool, Look())
    np.testing.assert_array_equal(slow, frames[0])


def test_a_look_for_each_environment(params, states):
    few = pick(states, FEW)
    looks = Look(**{name: jnp.arange(8) % 2 == 1 for name in vars(Look())})
    each = jax.jit(jax.vmap(rgb.observe, (0, None, 0)))(few, params.pool, looks)
    for index in range(2):
        expected = draw(states, params.pool, pick(looks, index))[index]
        np.testing.assert_array_equal(each[index], expected)


def test_golden_frames(frames):
    """The drawings of a few states; a pixel may differ where a machine rounds otherwise.

    `python -m tests.test_rgb` records them anew, after a change of the art that was meant.
    """
    with np.load(GOLDEN) as golden:
        same = (frames == golden["frames"]).all(-1).mean((1, 2))
    assert same.min() > 0.99, same


def test_frames_smaller_than_a_pixel_a_tile_are_refused(params, states):
    with pytest.raises(ValueError, match="frame size 12"):
        draw(pick(states, np.s_[:1]), params.pool, Look(), 12)


if __name__ == "__main__":
    drawn = draw(random_states(ENV.default_params), ENV.default_params.pool, Look())
    np.savez_compressed(GOLDEN, frames=np.asarray(drawn)[FEW])
