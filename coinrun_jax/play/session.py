"""Playing, and showing recordings, on a screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coinrun_jax.play.game import Game, Scene
from coinrun_jax.play.recording import Episode, Setup
from coinrun_jax.play.screen import Command, Screen

Keep = Callable[[Episode], None]
ScenesOf = Callable[[Episode], list[Scene]]


def play(game: Game, screen: Screen, setup: Setup, keep: Keep) -> None:
    """Play episode after episode until the player quits.

    Args:
      game: compiled for the screen's size.
      screen: open.
      setup: of the first episode; the next level has the next seed.
      keep: called with every episode of at least one step once it is over or broken off.
    """
    while True:
        command = _play_one(game, screen, setup, keep)
        if command == Command.QUIT:
            return
        if command == Command.NEXT:
            setup = next_level(setup)


def next_level(setup: Setup) -> Setup:
    """The same setup with the next level seed; the first one follows the last."""
    return Setup(setup.mode, (setup.level_seed + 1) % 2**31, setup.placement, setup.coin_seed)


def _play_one(game: Game, screen: Screen, setup: Setup, keep: Keep) -> Command:
    scene, outcome = game.start(setup), None
    coin_cell = scene.coin_cell
    actions: list[int] = []
    try:
        while outcome is None:
            screen.show(game.picture(scene, screen.size), caption(scene))
            screen.wait()
            keys = screen.read()
            if keys.command is not None:
                return keys.command
            scene, outcome = game.step(scene, keys.action)
            actions.append(keys.action)
    finally:  # episodes ended by Ctrl-C are kept, too
        if actions:
            keep(Episode(setup, tuple(actions), outcome or "none", coin_cell))
    return _ask(game, screen, scene, outcome)


def _ask(game: Game, screen: Screen, scene: Scene, outcome: str) -> Command:
    picture = game.picture(scene, screen.size)
    while True:
        screen.show(picture, caption(scene, outcome), f"{outcome}: N next, R again, Q quit")
        screen.wait()
        command = screen.read().command
        if command is not None:
            return command


def show(game: Game, screen: Screen, scenes_of: ScenesOf, episodes: Sequence[Episode]) -> None:
    """Show recorded episodes at the speed of play; N goes to the next one, R starts it again."""
    number = 0
    while number < len(episodes):
        episode = episodes[number]
        command = _show_one(game, screen, scenes_of(episode), episode.outcome)
        if command == Command.QUIT:
            return
        number += command != Command.RESTART


def _show_one(game: Game, screen: Screen, scenes: list[Scene], end: str) -> Command:
    for scene in scenes:
        last = scene is scenes[-1]
        screen.show(game.picture(scene, screen.size), caption(scene, end if last else ""))
        screen.wait()
        command = screen.read().command
        if command is not None:
            return command
    return _ask(game, screen, scenes[-1], end)


def caption(scene: Scene, outcome: str = "") -> str:
    """A line about a moment: level, placement, steps, outcome."""
    setup = scene.setup
    parts = [f"{setup.mode} level {setup.level_seed}", f"coin: {setup.placement}"]
    return ", ".join([*parts, f"{scene.steps} steps", *filter(None, [outcome])])
