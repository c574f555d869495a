"""Episodes to step through: the level as one picture, and what moved in numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import jax
import numpy as np

from coinrun_jax.coinrun.cues import LOOKS
from coinrun_jax.coinrun.observations.bodies import ANIMATION_STEPS
from coinrun_jax.coinrun.observations.render import level_map
from coinrun_jax.coinrun.observations.rgb import STILL_SPEED
from coinrun_jax.coinrun.physics import HALF_HEIGHT
from coinrun_jax.coinrun.pool import level_of
from coinrun_jax.coinrun.types import NEVER, Entity, Level
from eval.outcomes import OUTCOMES
from eval.repeat import thoughts_of
from eval.report.choice import Chosen
from eval.report.pictures import SPRITE_PIXELS, sprite_sheet, webp
from eval.results import AGENT, Evaluation
from eval.rollout import Arena, Replay

MAP_PIXELS = 24  # a tile
UNIT = 100  # positions are whole numbers of 1 / UNIT tiles
_NOWHERE = -8  # tiles: left of the map
ENDINGS = {
    "coin": "it takes the coin",
    "ghost": "it touches the cell that the coin was taken from",
    "end": "it reaches the end of the level",
    "death:saw": "a saw kills it",
    "death:enemy": "an enemy kills it",
    "death:lava": "it falls into lava",
    "timeout": "its time is up",
}


@dataclass(frozen=True)
class Film:
    """An episode in numbers, ready for JSON; see `film`."""

    title: str
    data: dict[str, Any]


def film(arena: Arena, evaluation: Evaluation, chosen: Chosen, replay: Replay) -> Film:
    """What the player needs of one episode.

    Its data: `about`, a sentence; `steps`; `picture` of the level without what moves, with
    `columns` and `rows`; `x`, `y`, `pose`, `right` of the agent by step, and its `theme`;
    `coin` with `cell`, `look` and `until`, the step at which it is gone (or None); `items`
    alike, each with `there` by step; `enemies`, each with `look`, `y`, `x` and `right` by step;
    `actions` and `values` by step, or None.
    """
    states, place = replay.states, chosen.place
    condition = evaluation.suite.conditions[place.condition]
    params = jax.device_get(arena.params_of(place.condition).replace(pool=None))
    level = _level(arena, place.condition, place.level)
    first = states[0]
    ground, background, theme = (int(each) for each in first.theme)
    empty = level.replace(
        wall_theme=np.int8(ground),
        background_index=np.int8(background),
        entity_type=np.where(level.entity_type == Entity.ENEMY, 0, level.entity_type),
    )
    coin = _NOWHERE, int(first.coin_cell[1])
    picture = level_map(empty, coin, pixels_per_tile=MAP_PIXELS, agent=False)
    thoughts = thoughts_of(arena, place, states)
    outcome = OUTCOMES[evaluation.played[AGENT].outcome[place]]
    steps = len(states) - 1
    about = (
        f"Level {evaluation.level_seeds[place.condition, place.level]}, {condition.title}. "
        f"After {steps} step{'s' * (steps != 1)} {ENDINGS[outcome]}."
    )
    if not condition.is_plain:
        about += " Drawn as the level is, not as it is shown to the agent."
    data = {
        "about": about,
        "steps": steps,
        "picture": webp(picture),
        "columns": picture.shape[1] // MAP_PIXELS,
        "rows": picture.shape[0] // MAP_PIXELS,
        "theme": theme,
        "x": _units([s.x for s in states]),
        "y": _units([s.y - HALF_HEIGHT for s in states]),
        "right": _bits([s.facing_right for s in states]),
        "pose": "".join(str(_pose(s)) for s in states),
        "coin": _coin(first, states[-1], params),
        "items": _items(states, params),
        "enemies": _enemies(level, states),
        "actions": None if thoughts is None else thoughts.actions.tolist(),
        "values": None if thoughts is None else np.round(thoughts.values.astype(float), 2).tolist(),
    }
    return Film(chosen.title, data)


def _level(arena: Arena, condition: int, level: int) -> Level:
    index = arena.level_index[condition, level]
    return jax.device_get(level_of(arena.params.pool, index))


def _units(values: Sequence[Any]) -> list[int]:
    return np.rint(np.array(values, float) * UNIT).astype(int).tolist()


def _bits(values: Sequence[Any]) -> str:
    return "".join("1" if value else "0" for value in values)


def _pose(state: Any) -> int:
    """Index into `creatures.AGENT_POSES`, as `rgb` chooses it."""
    if abs(state.vx) < STILL_SPEED and not state.walking and state.supported:
        return 0
    strides = state.time // ANIMATION_STEPS % 2 == 0 or not state.supported
    return 1 if strides else 2


def _coin(first: Any, last: Any, params: Any) -> dict[str, Any]:
    until = 0 if not first.coin_present else int(last.coin_step) or None
    return {
        "cell": first.coin_cell.tolist(),
        "look": LOOKS[int(params.cues.coin_look)],
        "there": bool(first.coin_present),
        "until": until,
    }


def _items(states: Sequence[Any], params: Any) -> list[dict[str, Any]]:
    first = states[0]
    return [
        {
            "cell": cell.tolist(),
            "look": LOOKS[int(params.items.look)],
            "there": _bits([s.item_due[number] <= s.time for s in states]),
        }
        for number, cell in enumerate(first.item_cell)
        if first.item_due[number] < NEVER and number < int(params.items.number)
    ]


def _enemies(level: Level, states: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "look": int(level.entity_theme[slot]),
            "y": round(float(level.entity_xy[slot, 1] - 0.5) * UNIT),
            "x": _units([s.entity_x[slot] for s in states]),
            "right": _bits([s.entity_vx[slot] > 0 for s in states]),
        }
        for slot in np.flatnonzero(np.asarray(level.entity_type) == Entity.ENEMY)
    ]


def player_html(films: Sequence[Film]) -> str:
    """The player with its data; its script is `player.js`."""
    sheet, places = sprite_sheet()
    shared = {
        "unit": UNIT,
        "sheet": sheet,
        "sprites": places,
        "spritePixels": SPRITE_PIXELS,
        "animationSteps": ANIMATION_STEPS,
    }
    content = {**shared, "films": [{"title": f.title, **f.data} for f in films]}
    text = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    buttons = "".join(
        f'<button type="button" data-film="{number}" aria-pressed="{str(number == 0).lower()}">'
        f"{escape(film.title)}</button>"
        for number, film in enumerate(films)
    )
    return f"""<div class="player" id="player" role="group" aria-label="Episode player" hidden>
<div class="choices" role="group" aria-label="Episode">{buttons}</div>
<p class="about" id="about" aria-live="polite"></p>
<canvas id="stage" tabindex="0" role="img" aria-label="The level around the agent"></canvas>
<div class="controls">
<button type="button" id="back" aria-label="One step back">&minus;1</button>
<button type="button" id="play" class="main">Play</button>
<button type="button" id="forward" aria-label="One step forward">+1</button>
<label class="slide">Step <input type="range" id="step" min="0" value="0" step="1"></label>
<label>Speed <select id="speed"><option value="5">⅓</option>
<option value="15" selected>1</option><option value="45">3</option></select></label>
<label><input type="checkbox" id="whole"> Whole level</label>
</div>
<p class="now"><output id="now"></output></p>
<canvas id="values" role="img" aria-label="The agent's value estimate by step"></canvas>
<p class="hint">Keys: <kbd>Space</kbd> plays and pauses, <kbd>←</kbd> <kbd>→</kbd> go a step,
<kbd>Home</kbd> <kbd>End</kbd> to the first and last one. Speed 1 is 15 steps a second.</p>
</div>
<script type="application/json" id="films">{text}</script>"""
