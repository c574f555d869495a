"""Play CoinRun: `python -m coinrun_jax.play [--level SEED] [--placement NAME] ...`.

In a window (pygame-ce, the extra `play`), or with --terminal in the terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from coinrun_jax.art.store import require_art
from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, add_force, command, integer, require_outputs
from coinrun_jax.coinrun.env import ART
from coinrun_jax.coinrun.observations.atlas import MAX_SIZE
from coinrun_jax.coinrun.types import NUM_SEEDS, TEST_LEVELS
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.files import writing
from coinrun_jax.gif import require_frames, write_gif
from coinrun_jax.play.game import Game, Scene
from coinrun_jax.play.quiet import quiet_libraries
from coinrun_jax.play.recording import PLACEMENTS, Episode, Setup, load, save
from coinrun_jax.play.screen import Screen, ScreenError
from coinrun_jax.play.session import play, show

SMALLEST_SIZE, DEFAULT_SIZE, GIF_SIZE = 26, 512, 256  # pixels
FPS, MOST_FPS = 15, 1000  # steps per second; 15 in Procgen's own interactive play


@command
def main(arguments: list[str] | None = None) -> int:
    """Play, or show or draw a recording. Returns 1 if an episode does not replay as recorded."""
    args = _parser().parse_args(arguments)
    require_outputs(args.force, args.record, args.gif, inputs=[args.replay])
    if args.replay and args.record:
        raise InputError(
            "--record and --replay are mutually exclusive: a replay has nothing new to record"
        )
    if args.gif:
        _need_pillow()
    if args.art == "procgen":
        require_art()
    return _replay(args) if args.replay else _play(args)


def _parser() -> Parser:
    parser = Parser(prog="python -m coinrun_jax.play", description=__doc__)
    add, seed = parser.add_argument, integer(0, NUM_SEEDS - 1)
    add("--level", type=seed, metavar="SEED", help="first level; by default a held-out one")
    add("--placement", choices=PLACEMENTS, default="end", help="where the coin is")
    add("--coin-seed", type=seed, default=0, metavar="SEED", help="of the coin's position")
    add("--easy", action="store_true", help="easy levels instead of hard ones")
    size = integer(SMALLEST_SIZE, MAX_SIZE)
    add("--size", type=size, help=f"pixels; {DEFAULT_SIZE} in a window")
    add("--fps", type=integer(1, MOST_FPS), default=FPS, help="steps per second; 15 as in Procgen")
    add("--record", type=Path, metavar="FILE", help="record the episodes in a new file")
    add("--replay", type=Path, metavar="FILE", help="show a recording instead of playing")
    add("--gif", type=Path, metavar="FILE", help="draw the episodes, or the recording")
    add("--terminal", action="store_true", help="play in the terminal, without a window")
    add(
        "--art",
        choices=ART,
        default="own",
        help="procgen: Procgen's own pictures; see coinrun_jax.art",
    )
    add_force(parser)
    return parser


def _screen(args: argparse.Namespace) -> Screen:
    if args.terminal:
        from coinrun_jax.play.terminal import Terminal

        return Terminal(args.size, args.fps)
    try:
        from coinrun_jax.play.window import Window
    except ImportError as error:
        raise ScreenError(
            f"pygame-ce is not installed ({error}): install the extra `play`, or add --terminal"
        ) from error
    try:
        return Window(args.size or DEFAULT_SIZE, args.fps)
    except ScreenError as error:
        raise ScreenError(f"{error}; --terminal needs none") from error


def _need_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise InputError(f"--gif needs Pillow ({error}): install the extra `play`") from error


def _play(args: argparse.Namespace) -> int:
    screen = _screen(args)
    level = random.choice(TEST_LEVELS) if args.level is None else args.level
    setup = Setup("easy" if args.easy else "hard", level, args.placement, args.coin_seed)
    episodes: list[Episode] = []

    def keep(episode: Episode) -> None:
        episodes.append(episode)
        if args.record:
            save(args.record, episodes)

    game = _compiled(setup.mode, screen.size, args.art)
    _say(screen.keys)
    with _opened(screen), contextlib.suppress(KeyboardInterrupt):
        play(game, screen, setup, keep)
    for episode in episodes:
        _say(_line(episode))
    if args.record:
        _say(f"recorded in {args.record}" if episodes else "nothing was played, nothing recorded")
    if args.gif and episodes:
        require_frames(_frames(episodes), screen.size)
        _draw(args, {setup.mode: game}, episodes, screen.size)
    return 0


def _replay(args: argparse.Namespace) -> int:
    episodes = load(args.replay)
    screen = None if args.gif else _screen(args)
    size = args.size or GIF_SIZE if screen is None else screen.size
    if screen is None:
        require_frames(_frames(episodes), size)
    games: dict[str, Game] = {}
    amiss = 0
    for episode in episodes:
        mode = episode.setup.mode
        if mode not in games:
            games[mode] = _compiled(mode, size, args.art)
        fault = games[mode].replay(episode)[1]
        amiss += fault is not None
        _say(f"{_line(episode)}: {fault or 'as recorded'}")
    if screen is None:
        _draw(args, games, episodes, size)
    else:
        game = next(iter(games.values()))  # each draws levels of both modes
        with _opened(screen), contextlib.suppress(KeyboardInterrupt):
            show(game, screen, lambda episode: _scenes(games, episode), episodes)
    return 1 if amiss else 0


def _scenes(games: dict[str, Game], episode: Episode) -> list[Scene]:
    """Replayed on demand: those of a whole recording may not fit in memory."""
    return games[episode.setup.mode].replay(episode)[0]


def _frames(episodes: list[Episode]) -> int:
    return sum(len(episode.actions) + 1 for episode in episodes)


def _compiled(mode: str, size: int, art: str) -> Game:
    _say("compiling: a few seconds, longer the first time")
    enable_compilation_cache()
    game = Game(mode, art)
    with quiet_libraries():
        game.compile(size)
    return game


@contextlib.contextmanager
def _opened(screen: Screen) -> Iterator[None]:
    screen.open()
    try:
        yield
    finally:
        screen.close()


def _draw(
    args: argparse.Namespace, games: dict[str, Game], episodes: list[Episode], size: int
) -> None:
    scenes = [scene for episode in episodes for scene in _scenes(games, episode)]
    game = next(iter(games.values()))
    with writing(args.gif) as part:
        write_gif(part, scenes, lambda scene: game.picture(scene, size), round(1000 / args.fps))
    _say(f"drawn in {args.gif}")


def _line(episode: Episode) -> str:
    setup = episode.setup
    where = f"{setup.mode} level {setup.level_seed}, coin: {setup.placement}"
    return f"{where}, {len(episode.actions)} steps, {episode.outcome}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
