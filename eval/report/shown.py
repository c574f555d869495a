"""Episodes on a page: films to step through, and maps of whole levels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from coinrun_jax.arena import Arena, Replay
from coinrun_jax.scenes import Scene, Track
from eval.animations import Clip, sentence
from eval.report.chosen_episodes import Chosen, MapOf, choose_episodes, choose_maps
from eval.report.images import sprite_sheet, webp
from eval.report.inside import Inside, inside_data, look_inside
from eval.results import AGENT, Evaluation
from eval.states import replay, values_of
from train.policy import Policy

UNIT = 100  # positions are whole numbers of 1 / UNIT tiles
AGED = 3  # episodes shown at every moment of training


@dataclass(frozen=True)
class Film:
    """An episode to step through."""

    title: str
    about: str
    """A sentence or two."""
    scene: Scene
    actions: Sequence[int]
    """[T], the action taken in each state but the last."""
    values: Sequence[float] | None = None
    """[T + 1], the agent's value estimates."""
    inside: Inside | None = None
    """The agent's inside at moments of the episode, if that was asked for."""


@dataclass(frozen=True)
class Aged:
    """The same episodes as an agent played them at one moment of its training."""

    title: str
    films: Sequence[Film]


@dataclass(frozen=True)
class DrawnMap:
    """One map of a level."""

    seed: int
    caption: str
    image: np.ndarray
    """Uint8 [H, W, 3]."""


@dataclass(frozen=True)
class Shown:
    """Episodes on a page."""

    films: Sequence[Film] = ()
    maps: Sequence[Sequence[DrawnMap]] = ()
    """By level."""
    clips: Sequence[tuple[Clip, bytes]] = ()
    """For readers without JavaScript, and where there are no films."""
    ages: Sequence[Aged] = ()
    """From the first moment of training to the last, whose films are `films`."""


def show(
    arena: Arena,
    evaluation: Evaluation,
    clips: Sequence[tuple[Clip, bytes]],
    looked_into: Policy | None = None,
) -> Shown:
    """Choose the episodes of a page, and replay them.

    Args:
      looked_into: the agent, if its inside is shown too.
    """
    chosen, maps = choose_episodes(evaluation), choose_maps(evaluation)
    places = [each.place for each in chosen]
    places += [place for level in maps for which in level for place in which.places]
    again = dict(zip(places, replay(arena, evaluation, places), strict=True))
    films = (_film(arena, evaluation, each, again[each.place], looked_into) for each in chosen)
    drawn = (
        [_map(arena, evaluation, which, [again[place] for place in which.places]) for which in each]
        for each in maps
    )
    return Shown(
        films=[film for film in films if film is not None],
        maps=[known for level in drawn if (known := [each for each in level if each is not None])],
        clips=clips,
    )


def show_ages(shown: Shown, ages: Iterable[tuple[str, Arena, Evaluation]]) -> Shown:
    """`shown`, but with the same few episodes at every moment of an agent's training.

    Args:
      ages: title, arena and evaluation of each, the newest last.
    """
    every = list(ages)
    _, _, newest = every[-1]
    places = [chosen.place for chosen in choose_episodes(newest)[:AGED]]
    conditions = newest.suite.conditions
    chosen = [
        Chosen(f"{sentence(conditions[at.condition].title)}, {number}", at)
        for number, at in enumerate(places, start=1)
    ]
    found = []
    for title, arena, evaluation in every:
        replays = replay(arena, evaluation, places)
        films = [
            _film(arena, evaluation, *both, None) for both in zip(chosen, replays, strict=True)
        ]
        found.append(Aged(title, [film for film in films if film is not None]))
    return replace(shown, films=found[-1].films, ages=found)


def _film(
    arena: Arena,
    evaluation: Evaluation,
    chosen: Chosen,
    again: Replay,
    looked_into: Policy | None,
) -> Film | None:
    place, states = chosen.place, again.states
    scene = evaluation.testbed.scene(states, arena.params_of(place.condition))
    if scene is None:
        return None
    condition, steps = evaluation.suite.conditions[place.condition], len(states) - 1
    about = (
        f"Level {evaluation.level_seeds[place.condition, place.level]}, {condition.title}. After "
        f"{steps} step{'s' * (steps != 1)}: {_ending(evaluation, place)}."
    )
    if not condition.plain:
        about += " Drawn as the level really is, not as the agent sees it."
    values = values_of(arena, place.condition, states)
    return Film(
        title=chosen.title,
        about=about,
        scene=scene,
        actions=again.actions.tolist(),
        values=None if values is None else np.round(values.astype(float), 2).tolist(),
        inside=look_inside(looked_into, arena, place, again, scene) if looked_into else None,
    )


def _ending(evaluation: Evaluation, place: tuple[int, ...]) -> str:
    """How an episode ended, in words."""
    return evaluation.testbed.outcomes[evaluation.played[AGENT].outcome[place]].title


def _map(
    arena: Arena, evaluation: Evaluation, which: MapOf, replays: Sequence[Replay]
) -> DrawnMap | None:
    """A level with the paths of some episodes of one condition."""
    params = arena.params_of(which.condition)
    image = evaluation.testbed.map([again.states for again in replays], params)
    if image is None:
        return None
    ends = ", ".join(_ending(evaluation, place) for place in which.places)
    title = evaluation.suite.conditions[which.condition].title
    seed = evaluation.level_seeds[which.condition, which.places[0].level]
    return DrawnMap(int(seed), f"{sentence(title)}: {ends}.", image)


def player_data(shown: Shown, action_titles: Sequence[str]) -> dict[str, Any]:
    """What `player.js` reads, ready for JSON: sprites of all films in one sheet.

    Films of all ages follow one another, the first age first.
    """
    films = [film for age in shown.ages for film in age.films] or shown.films
    board_of = [webp(film.scene.board) for film in films]
    boards = list(dict.fromkeys(board_of))
    sprites: dict[str, np.ndarray] = {}
    names: list[dict[str, str]] = []  # for each film: its own name -> one shared by all films
    for film in films:
        own = {}
        for name, sprite in film.scene.sprites.items():
            key = name
            while key in sprites and not np.array_equal(sprites[key], sprite):
                key += "'"
            own[name], sprites[key] = key, sprite
        names.append(own)
    sheet, numbers = sprite_sheet(sprites), {name: i for i, name in enumerate(sprites)}
    return {
        "unit": UNIT,
        "sheet": sheet.address,
        "sprites": sheet.places,
        "actionTitles": list(action_titles),
        "ages": [age.title for age in shown.ages],
        "boards": boards,
        "films": [
            _film_data(film, boards.index(board), {name: numbers[key] for name, key in own.items()})
            for film, board, own in zip(films, board_of, names, strict=True)
        ],
    }


def _film_data(film: Film, board: int, numbers: dict[str, int]) -> dict[str, Any]:
    scene = film.scene
    rows, columns = (length // scene.tile for length in scene.board.shape[:2])
    return {
        "about": film.about,
        "steps": len(film.actions),
        "board": board,
        "columns": columns,
        "rows": rows,
        "tile": scene.tile,
        "view": scene.view,
        "focus": scene.focus,
        "marks": [list(mark) for mark in scene.marks],
        "tracks": [_track_data(track, numbers) for track in scene.tracks],
        "actions": film.actions,
        "values": film.values,
        "inside": film.inside and inside_data(film.inside),
    }


def _track_data(track: Track, numbers: dict[str, int]) -> dict[str, Any]:
    """Indices of sprites, -1 for none; what never changes has one entry."""

    def short(values: Sequence[int]) -> list[int]:
        return [int(each) for each in (values[:1] if len(set(values)) == 1 else values)]

    return {
        "sprite": short([numbers[name] if name else -1 for name in track.sprite]),
        "x": short(np.rint(np.asarray(track.x, float) * UNIT).tolist()),
        "y": short(np.rint(np.asarray(track.y, float) * UNIT).tolist()),
        "flip": short([int(each) for each in track.flip]),
    }
