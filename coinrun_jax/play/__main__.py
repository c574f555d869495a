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

from coinrun_jax.commands import Parser, integer_from, output_path
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.env import NUM_SEEDS, TEST_LEVELS
from coinrun_jax.play.game import Game, Scene
from coinrun_jax.play.gif import write_gif
from coinrun_jax.play.quiet import quiet_libraries
from coinrun_jax.play.recording import PLACEMENTS, Episode, RecordingError, Setup, load, save
from coinrun_jax.play.screen import Screen, ScreenError
from coinrun_jax.play.session import play, show

SMALLEST_SIZE, DEFAULT_SIZE, GIF_SIZE = 26, 512, 256  # pixels
FPS = 15  # steps per second of Procgen's own interactive play


def main(argv: list[str] | None = None) -> int:
    """Play, or show or draw a recording. Returns the exit status: 1 if one does not repeat."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        if args.gif:
            _need_pillow(parser)
        return _replay(args) if args.replay else _play(args)
    except (RecordingError, ScreenError, OSError) as error:
        parser.error(str(error))


def _parser() -> Parser:
    parser = Parser(prog="python -m coinrun_jax.play", description=__doc__)
    add = parser.add_argument
    add("--level", type=_level, metavar="SEED", help="first level; by default a held-out one")
    add("--placement", choices=PLACEMENTS, default="end", help="where the coin is")
    add("--coin-seed", type=_level, default=0, metavar="SEED", help="of the coin's place")
    add("--easy", action="store_true", help="easy levels instead of hard ones")
    add("--size", type=integer_from(SMALLEST_SIZE), help=f"pixels; {DEFAULT_SIZE} in a window")
    add("--fps", type=integer_from(1), default=FPS, help=f"steps per second; {FPS} as in Procgen")
    add("--record", type=_new_path, metavar="FILE", help="write what is played to a new file")
    add("--replay", type=Path, metavar="FILE", help="show a recording instead of playing")
    add("--gif", type=_new_path, metavar="FILE", help="draw what was played, or the recording")
    add("--terminal", action="store_true", help="play in the terminal, without a window")
    return parser


def _level(text: str) -> int:
    number = integer_from(0)(text)
    if number >= NUM_SEEDS:
        raise argparse.ArgumentTypeError(f"{text} is not below 2^31")
    return number


def _new_path(text: str) -> Path:
    path = output_path(text)
    if path.exists():
        raise argparse.ArgumentTypeError(f"{text} exists already; nothing is overwritten")
    return path


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


def _need_pillow(parser: Parser) -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        parser.error(f"--gif needs Pillow ({error}): install the extra `play`")


def _play(args: argparse.Namespace) -> int:
    screen = _screen(args)
    level = random.choice(TEST_LEVELS) if args.level is None else args.level
    setup = Setup("easy" if args.easy else "hard", level, args.placement, args.coin_seed)
    episodes: list[Episode] = []

    def keep(episode: Episode) -> None:
        episodes.append(episode)
        if args.record:
            save(args.record, episodes)

    game = _compiled(setup.mode, screen.size)
    _say(screen.keys)
    with _opened(screen), contextlib.suppress(KeyboardInterrupt):
        play(game, screen, setup, keep)
    for episode in episodes:
        _say(_line(episode))
    if args.record:
        _say(f"recorded in {args.record}" if episodes else "nothing was played, nothing recorded")
    if args.gif and episodes:
        replays = [game.replay(episode)[0] for episode in episodes]
        _draw(args, game, replays, screen.size)
    return 0


def _replay(args: argparse.Namespace) -> int:
    episodes = load(args.replay)
    screen = None if args.gif else _screen(args)
    size = args.size or GIF_SIZE if screen is None else screen.size
    games: dict[str, Game] = {}
    replays, amiss = [], 0
    for episode in episodes:
        mode = episode.setup.mode
        if mode not in games:
            games[mode] = _compiled(mode, size)
        scenes, fault = games[mode].replay(episode)
        replays.append(scenes)
        amiss += fault is not None
        _say(f"{_line(episode)}: {fault or 'as recorded'}")
    game = next(iter(games.values()))  # either draws levels of both modes
    if screen is None:
        _draw(args, game, replays, size)
    else:
        with _opened(screen), contextlib.suppress(KeyboardInterrupt):
            show(game, screen, replays, [episode.outcome for episode in episodes])
    return 1 if amiss else 0


def _compiled(mode: str, size: int) -> Game:
    _say("compiling: some seconds, the first time more")
    enable_compilation_cache()
    game = Game(mode)
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


def _draw(args: argparse.Namespace, game: Game, replays: list[list[Scene]], size: int) -> None:
    scenes = [scene for replay in replays for scene in replay]
    write_gif(args.gif, scenes, lambda scene: game.picture(scene, size), args.fps)
    _say(f"drawn in {args.gif}")


def _line(episode: Episode) -> str:
    setup = episode.setup
    where = f"{setup.mode} level {setup.level_seed}, coin: {setup.placement}"
    return f"{where}, {len(episode.actions)} steps, {episode.outcome}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
