"""Episodes for people: a scene for the player, and a map with the agent's paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from coinrun_jax.coinrun.cues import LOOKS
from coinrun_jax.coinrun.observations import creatures, tiles
from coinrun_jax.coinrun.observations.atlas import VIEW
from coinrun_jax.coinrun.observations.bodies import ANIMATION_STEPS
from coinrun_jax.coinrun.observations.canvas import RESOLUTION, Texture, sample
from coinrun_jax.coinrun.observations.render import level_map
from coinrun_jax.coinrun.observations.rgb import STILL_SPEED
from coinrun_jax.coinrun.physics import HALF_HEIGHT
from coinrun_jax.coinrun.pool import level_of
from coinrun_jax.coinrun.types import NEVER, Entity, Level
from coinrun_jax.scenes import Scene, Track

TILE = 32  # pixels, of scenes
MAP_TILE = 16  # pixels, of maps
_NOWHERE = -8  # tiles: left of the picture
_FRAME = np.array([216, 27, 96], np.uint8)  # around the cell that the coin was taken from
_COINS = {"gold": tiles.coin, "red": lambda: tiles.coin(tiles.RED), "gem": tiles.gem}


def make_scene(states: Sequence[Any], params: Any) -> Scene:
    """The scene of an episode, with the coin, pickups, enemies and the agent on tracks.

    Args:
      states: numpy, starting with the reset.
      params: of the condition.
    """
    first = states[0]
    level = _level(first, params)
    knobs = jax.device_get(params.replace(pool=None))
    shown = level.replace(
        wall_theme=np.int8(first.theme[0]),
        background_index=np.int8(first.theme[1]),
        entity_type=np.where(level.entity_type == Entity.ENEMY, 0, level.entity_type),
    )
    nowhere = _NOWHERE, int(first.coin_cell[1])
    tracks = [*_coins(states, knobs), *_enemies(states, level), _agent(states)]
    names = dict.fromkeys(name for track in tracks for name in track.sprite if name)
    return Scene(
        board=level_map(shown, nowhere, pixels_per_tile=TILE, agent=False),
        tile=TILE,
        sprites={name: _sprite(name) for name in names},
        tracks=tracks,
        focus=len(tracks) - 1,
        view=VIEW,
        marks=() if first.coin_present else (_cell(first),),
    )


def draw_map(episodes: Sequence[Sequence[Any]], params: Any) -> np.ndarray:
    """The level of some episodes with their paths, and a frame where a coin was taken away."""
    first = episodes[0][0]
    paths = [np.array([(state.x, state.y) for state in states]) for states in episodes]
    level, coin = _level(first, params), _cell(first)
    if first.coin_present:
        return level_map(level, coin, paths, pixels_per_tile=MAP_TILE)
    image = level_map(level, (_NOWHERE, 0), paths, pixels_per_tile=MAP_TILE)
    x, y = coin
    bottom, left = image.shape[0] - y * MAP_TILE, x * MAP_TILE
    part = image[max(bottom - MAP_TILE, 0) : max(bottom, 0), left : left + MAP_TILE]
    inside = part[2:-2, 2:-2].copy()
    part[:] = _FRAME
    part[2:-2, 2:-2] = inside
    return image


def _level(state: Any, params: Any) -> Level:
    return jax.device_get(level_of(params.pool, state.level_index))


def _cell(state: Any) -> tuple[int, int]:
    x, y = state.coin_cell
    return int(x), int(y)


def _still(sprite: Sequence[str], cell: Any) -> Track:
    x, y = (np.array([each + 0.5]) for each in cell)
    return Track(sprite, x, y, np.zeros(1, bool))


def _coins(states: Sequence[Any], params: Any) -> Iterator[Track]:
    """The coin until it is taken, and pickups while they are there."""
    first = states[0]
    if first.coin_present:
        look = LOOKS[int(params.cues.coin_look)]
        yield _still([look if not s.coin_step else "" for s in states], first.coin_cell)
    look = LOOKS[int(params.items.look)]
    for number, cell in enumerate(first.item_cell):
        if first.item_due[number] < NEVER and number < int(params.items.number):
            yield _still([look if s.item_due[number] <= s.time else "" for s in states], cell)


def _enemies(states: Sequence[Any], level: Level) -> Iterator[Track]:
    for slot in np.flatnonzero(level.entity_type == Entity.ENEMY):
        look = int(level.entity_theme[slot])
        yield Track(
            sprite=[f"enemy {look} {s.time // ANIMATION_STEPS % 2}" for s in states],
            x=np.array([s.entity_x[slot] for s in states]),
            y=np.array([level.entity_xy[slot, 1]]),
            flip=np.array([s.entity_vx[slot] > 0 for s in states]),  # they are drawn heading left
        )


def _agent(states: Sequence[Any]) -> Track:
    theme = int(states[0].theme[2])
    middle = creatures.AGENT_HEIGHT / 2 - HALF_HEIGHT  # the sprite's centre above the body's
    return Track(
        sprite=[f"agent {theme} {_pose(s)}" for s in states],
        x=np.array([s.x for s in states]),
        y=np.array([s.y + middle for s in states]),
        flip=np.array([not s.facing_right for s in states]),
    )


def _pose(state: Any) -> int:
    """Index into `creatures.AGENT_POSES`, as `rgb` chooses it."""
    if abs(state.vx) < STILL_SPEED and not state.walking and state.supported:
        return 0
    return 1 if state.time // ANIMATION_STEPS % 2 == 0 or not state.supported else 2


def _sprite(name: str) -> np.ndarray:
    """Uint8 [h, w, 4], top row first."""
    kind, *numbers = name.split()
    if kind == "agent":
        theme, pose = map(int, numbers)
        return _rgba(creatures.agent(theme, creatures.AGENT_POSES[pose]))
    if kind == "enemy":
        return _rgba(creatures.enemy(*map(int, numbers)))
    return _rgba(_COINS[kind]())


def _rgba(texture: Texture) -> np.ndarray:
    rows, columns = (round(n * TILE / RESOLUTION) for n in texture.alpha.shape)
    u, v = ((np.arange(n) + 0.5) / TILE for n in (columns, rows))
    rgb = sample(texture, u, v, 1 / TILE)[::-1]
    alpha = np.where(rgb.any(-1, keepdims=True), np.uint8(255), np.uint8(0))
    return np.concatenate([rgb, alpha], -1)
