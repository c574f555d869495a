"""Procgen's CoinRun level for a seed: the same draws in the same order.

The layout is a column profile (ground height, lava rows, pit platforms), painted into the
grid once at the end, and a list of entities with eight slots per section.
Source: openai/procgen `coinrun.cpp` (MIT), 0.10.7; verified against recorded levels.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.batches import share_programs
from coinrun_jax.checks import choice, whole_or_traced
from coinrun_jax.coinrun.rng import mt19937, rand01, randn
from coinrun_jax.coinrun.types import (
    MAX_ENTITIES,
    MAX_SECTIONS,
    NUM_AGENT_THEMES,
    NUM_BACKGROUNDS,
    NUM_CRATE_THEMES,
    NUM_ENEMY_THEMES,
    NUM_WALL_THEMES,
    WORLD_SIZE,
    Cell,
    Entity,
    Level,
)

MODES = ("hard", "easy")
START_X = 1.5
START_Y = np.float32(1) + np.float32(0.5787)  # centre of an agent on row 0, rounded as in Procgen
ENEMY_SPEED = 0.15
FIRST_SECTION_X = 5
MAX_PIT_WIDTH = 7
SLOTS_PER_SECTION = 8  # 1 saw, 1 enemy, two piles of 3 crates; or 7 in a pit
PIT_LAVA, PIT_SAWS, PIT_ENEMIES = 0, 1, 2


class _Draws(NamedTuple):
    """A cursor over the generator's outputs; drawing returns a new cursor."""

    outputs: jax.Array  # uint32 [MAX_DRAWS]
    used: jax.Array  # int32 []

    def peek(self, n: jax.Array | int, ahead: jax.Array | np.ndarray | int = 0) -> jax.Array:
        return randn(self.outputs[self.used + ahead], n)

    def skip(self, count: jax.Array | int) -> _Draws:
        return self._replace(used=self.used + count)

    def randn(self, n: jax.Array | int, when: jax.Array | bool = True) -> tuple[jax.Array, _Draws]:
        """Draw from [0, n) if `when`; otherwise return 0 and consume nothing."""
        taken = jnp.asarray(when).astype(jnp.int32)
        return self.peek(n) * taken, self.skip(taken)


class _Slots(struct.PyTreeNode):
    """Entities of one section, unused slots of type 0."""

    type: jax.Array  # int8 [SLOTS_PER_SECTION]
    x: jax.Array  # int32 [.], columns
    y: jax.Array  # int32 [.], rows
    rightward: jax.Array  # bool [.]
    theme: jax.Array  # int8 [.]


class _Profile(struct.PyTreeNode):
    """Terrain by column."""

    height: jax.Array  # int32 [64], rows of ground
    lava: jax.Array  # int32 [64], rows of lava above row 0
    platform: jax.Array  # int32 [64], row of a one-tile platform, 0 for none
    barrier: jax.Array  # int32 [64, 2], rows of enemy barriers, 0 for none


class _Section(NamedTuple):
    x: jax.Array
    y: jax.Array
    width: jax.Array


_COLUMN = np.arange(WORLD_SIZE, dtype=np.int32)
_SLOT = np.arange(SLOTS_PER_SECTION, dtype=np.int32)


def _pit(
    draws: _Draws, section: _Section, hazard: jax.Array, profile: _Profile
) -> tuple[_Draws, _Profile, _Slots]:
    x, y, width = section
    lip, draws = draws.randn(3)
    far_lip, draws = draws.randn(3)
    first = x + lip + 1
    pit_width = jnp.minimum(width - lip - far_lip - 2, MAX_PIT_WIDTH)
    lava_rows, draws = draws.randn(y - 3)

    in_pit = (_COLUMN >= first) & (_COLUMN < first + pit_width)
    in_section = (_COLUMN >= x) & (_COLUMN < x + width)
    height = jnp.where(in_pit, 1, jnp.where(in_section, y, profile.height))
    lava = jnp.where(in_pit & (hazard == PIT_LAVA), lava_rows + 1, profile.lava)

    # Saws draw nothing; an enemy draws its direction, then its theme.
    enemies = hazard == PIT_ENEMIES
    used = _SLOT < pit_width
    slots = _Slots(
        type=jnp.where(
            used & (hazard != PIT_LAVA), jnp.where(enemies, Entity.ENEMY, Entity.SAW), Entity.NONE
        ).astype(jnp.int8),
        x=first + _SLOT,
        y=jnp.ones_like(_SLOT),
        rightward=draws.peek(2, 2 * _SLOT) == 1,
        theme=jnp.where(enemies, draws.peek(NUM_ENEMY_THEMES, 2 * _SLOT + 1), 0).astype(jnp.int8),
    )
    draws = draws.skip(jnp.where(enemies, 2 * pit_width, 0))

    has_platform = pit_width > 4
    left_gap, draws = draws.randn(2, has_platform)
    second, draws = draws.randn(2, has_platform)
    left_gap = left_gap + jnp.where(pit_width == 5, 1, 2)
    size = jnp.where(pit_width == MAX_PIT_WIDTH, pit_width - left_gap - 2 - second, 1 + second)
    platform_x = first + left_gap
    on_platform = has_platform & (_COLUMN >= platform_x) & (_COLUMN < platform_x + size)
    platform = jnp.where(on_platform, y - 1, profile.platform)
    return draws, profile.replace(height=height, lava=lava, platform=platform), slots


def _flat(
    draws: _Draws, section: _Section, difficulty: jax.Array, hard: bool, profile: _Profile
) -> tuple[_Draws, _Profile, _Slots]:
    x, y, width = section
    in_section = (_COLUMN >= x) & (_COLUMN < x + width)
    wide = width > 3

    chance, draws = draws.randn(10)
    has_saw = (chance < 2 * difficulty) & wide
    saw_column, draws = draws.randn(width - 2, has_saw)
    saw_column += 1

    chance, draws = draws.randn(10)
    has_enemy = (chance < difficulty) & wide & hard
    enemy_column, draws = draws.randn(width - 2, has_enemy)
    enemy_column += 1
    direction, draws = draws.randn(2, has_enemy)
    enemy_theme, draws = draws.randn(NUM_ENEMY_THEMES, has_enemy)

    piles = []
    for _ in range(2):
        column, draws = draws.randn(width - 2)
        column += 1
        wanted, draws = draws.randn(2)
        taken = (has_saw & (column == saw_column)) | (has_enemy & (column == enemy_column))
        has_pile = (wanted == 1) & ~taken
        count, draws = draws.randn(3, has_pile)
        count = jnp.where(has_pile, count + 1, 0)
        rows = jnp.arange(3, dtype=jnp.int32)
        theme = draws.peek(NUM_CRATE_THEMES, rows)
        draws = draws.skip(count)
        piles.append((rows < count, jnp.full(3, column), rows, theme))
    is_crate, crate_column, crate_row, crate_theme = (
        jnp.concatenate(parts) for parts in zip(*piles, strict=True)
    )

    kinds = np.array([Entity.SAW, Entity.ENEMY] + [Entity.CRATE] * 6, np.int8)
    used = jnp.concatenate([jnp.stack([has_saw, has_enemy]), is_crate])
    slots = _Slots(
        type=jnp.where(used, kinds, Entity.NONE).astype(jnp.int8),
        x=x + jnp.concatenate([jnp.stack([saw_column, enemy_column]), crate_column]),
        y=y + jnp.concatenate([jnp.zeros(2, jnp.int32), crate_row]),
        rightward=jnp.zeros(SLOTS_PER_SECTION, bool).at[1].set(direction == 1),
        theme=jnp.concatenate([jnp.stack([0, enemy_theme]), crate_theme]).astype(jnp.int8),
    )
    return draws, profile.replace(height=jnp.where(in_section, y, profile.height)), slots


def _paint(profile: _Profile, end_x: jax.Array) -> jax.Array:
    """Grid of a profile: ground, lava, platforms, barriers in empty cells, the world's frame."""
    column, row = _COLUMN[None, :], _COLUMN[:, None]
    height, lava, platform = profile.height, profile.lava, profile.platform
    grid = jnp.full((WORLD_SIZE, WORLD_SIZE), Cell.EMPTY, jnp.int32)
    grid = jnp.where((row == profile.barrier.T[:, None]).any(0) & (row > 0), Cell.BARRIER, grid)
    grid = jnp.where((row > 0) & (row < lava), Cell.LAVA, grid)
    grid = jnp.where((row > 0) & (row == lava), Cell.LAVA_SURFACE, grid)
    grid = jnp.where((row > 0) & (row == platform), Cell.SURFACE, grid)
    grid = jnp.where(row < height, Cell.SOLID, grid)
    grid = jnp.where(row == height - 1, Cell.SURFACE, grid)
    last = WORLD_SIZE - 1
    frame = (column == 0) | (column == last) | (row == last) | (column > end_x)
    return jnp.where(frame, Cell.SOLID, grid).astype(jnp.int8)


def _compact(slots: _Slots) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Creation order without gaps: (type, xy, vx, theme), zeros in unused slots."""
    flat = jax.tree.map(lambda leaf: leaf.reshape(MAX_ENTITIES), slots)
    order = jnp.argsort(flat.type == Entity.NONE, stable=True)
    flat = jax.tree.map(lambda leaf: leaf[order], flat)
    used = flat.type != Entity.NONE
    xy = jnp.stack([flat.x, flat.y], -1).astype(jnp.float32) + 0.5
    vx = jnp.where(flat.rightward, ENEMY_SPEED, -ENEMY_SPEED).astype(jnp.float32)
    return (
        flat.type,
        jnp.where(used[:, None], xy, 0.0),
        jnp.where(flat.type == Entity.ENEMY, vx, 0.0),
        jnp.where(used, flat.theme, 0),
    )


def generate_level(seed: jax.Array | int, mode: str = "hard") -> Level:
    """The level that Procgen's CoinRun 0.10.7 builds for a level seed.

    Args:
      seed: uint32 [], a level seed in [0, 2^32) (Procgen draws them below 2^31).
      mode: "hard" or "easy" (fewer enemies; themes and background fixed). Static.

    Returns:
      One `Level`; `vmap` over seeds for a batch.

    Raises:
      ValueError: for another mode, or a concrete seed out of range.
    """
    seed = whole_or_traced("level seed", seed, 0, 2**32 - 1)
    known = seed if isinstance(seed, jax.Array) else np.uint32(seed)
    return _generate_level(known, choice("mode", mode, MODES))


@partial(jax.jit, static_argnames="mode")
def _generate_level(seed: jax.Array, mode: str) -> Level:
    hard = mode == "hard"
    draws = _Draws(mt19937(seed), jnp.int32(0))

    background_shift = rand01(draws.outputs[0])
    background, draws = draws.skip(1).randn(NUM_BACKGROUNDS)
    draws = draws.skip(2)  # two draws that the game discards
    agent_theme, draws = draws.randn(NUM_AGENT_THEMES, hard)
    wall_theme, draws = draws.randn(NUM_WALL_THEMES, hard)

    difficulty, draws = draws.randn(3)
    difficulty += 1
    num_sections, draws = draws.randn(difficulty)
    num_sections += difficulty
    hazard, draws = draws.randn(3)

    def add_section(carry: tuple, index: jax.Array) -> tuple[tuple, tuple[_Slots, jax.Array]]:
        old_draws, old_x, old_y, old_profile = carry
        wanted = index < num_sections

        step, draws = old_draws.randn(4)
        step = jnp.minimum(step + 1 + difficulty // 3, 5)
        flip, draws = draws.randn(2, (old_y >= 5) & (old_y < 20))
        y = jnp.maximum(1, old_y + jnp.where((old_y >= 20) | (flip == 1), -step, step))
        width, draws = draws.randn(2 * difficulty)
        section = _Section(old_x, y, width + 3 + difficulty // 3)

        may_be_pit = (section.width > 7) & (y > 3)
        chance, draws = draws.randn(20, may_be_pit)
        is_pit = may_be_pit & (chance >= difficulty)
        pit = _pit(draws, section, hazard, old_profile)
        flat = _flat(draws, section, difficulty, hard, old_profile)
        draws, profile, slots = jax.tree.map(partial(jnp.where, is_pit), pit, flat)

        next_x = section.x + section.width
        barrier = profile.barrier.at[section.x - 1, 0].set(y).at[next_x, 1].set(y)
        new = (draws, next_x, y, profile.replace(barrier=barrier))
        carry = jax.tree.map(partial(jnp.where, wanted), new, carry)
        slots = slots.replace(type=jnp.where(wanted, slots.type, Entity.NONE))
        cell = jnp.where(wanted, jnp.stack([section.x, y]), 0).astype(jnp.int8)
        return carry, (slots, cell)

    ground = jnp.ones(WORLD_SIZE, jnp.int32)
    profile = _Profile(ground, ground * 0, ground * 0, jnp.zeros((WORLD_SIZE, 2), jnp.int32))
    start = (draws, jnp.int32(FIRST_SECTION_X), jnp.int32(1), profile)
    (_, end_x, end_y, profile), (slots, section_cell) = jax.lax.scan(
        add_section, start, jnp.arange(MAX_SECTIONS, dtype=jnp.int32)
    )
    # The coin stands on a one-column block, and replaces the last barrier.
    profile = profile.replace(
        height=profile.height.at[end_x].set(end_y), barrier=profile.barrier.at[end_x].set(0)
    )
    entity_type, entity_xy, entity_vx, entity_theme = _compact(slots)
    return Level(
        seed=jnp.asarray(seed, jnp.uint32),
        grid=_paint(profile, end_x),
        entity_type=entity_type,
        entity_xy=entity_xy,
        entity_vx=entity_vx,
        entity_theme=entity_theme,
        start_xy=jnp.array([START_X, START_Y], jnp.float32),
        end_cell=jnp.stack([end_x, end_y]).astype(jnp.int8),
        section_cell=section_cell,
        num_sections=num_sections.astype(jnp.int8),
        difficulty=difficulty.astype(jnp.int8),
        wall_theme=wall_theme.astype(jnp.int8),
        agent_theme=agent_theme.astype(jnp.int8),
        background_index=(background if hard else jnp.int32(0)).astype(jnp.int8),
        background_shift=background_shift,
    )


@share_programs
@partial(jax.jit, static_argnames="mode")
def generate_levels(seeds: jax.Array, mode: str = "hard") -> Level:
    """Levels for seeds [N], as from `generate_level`; leading axis N."""
    return jax.vmap(partial(generate_level, mode=mode))(seeds)
