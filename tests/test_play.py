"""Play by keyboard, its recordings, and seeing them again; all without a screen."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from coinrun_jax.coinrun.types import Action
from coinrun_jax.play import __main__ as program
from coinrun_jax.play.game import Game
from coinrun_jax.play.recording import Episode, Setup, load, save
from coinrun_jax.play.screen import Command, Keys, ScreenError, action_of
from coinrun_jax.play.session import play
from coinrun_jax.play.terminal import Terminal, half_blocks, split_keys
from tests.refusals import refusal

SIZE = 64  # pixels: what other tests compile, too
SETUP = Setup("hard", 39, "random_section", 7)
FAST = ["--fps", "1000", "--size", str(SIZE)]


@pytest.fixture(scope="module")
def game() -> Game:
    return Game("hard")


class Script:
    """A screen whose player does as written, and which keeps what it was shown."""

    size, keys = SIZE, ""

    def __init__(self, keys: Iterator[Keys]) -> None:
        self._keys = keys
        self.captions: list[str] = []

    def read(self) -> Keys:
        return next(self._keys, Keys(command=Command.QUIT))

    def show(self, picture: np.ndarray, caption: str, message: str = "") -> None:
        assert picture.shape == (SIZE, SIZE, 3)
        self.captions.append(caption)

    def open(self) -> None: ...
    def wait(self) -> None: ...
    def close(self) -> None: ...


def right_and_jump(steps: int) -> Iterator[Keys]:
    for number in range(steps):
        yield Keys(Action.RIGHT_UP if number % 9 < 6 else Action.RIGHT)


def played(game: Game, *commands: Command) -> list[Episode]:
    """Episodes of a player who runs to each end, and there gives a command."""
    episodes: list[Episode] = []
    keys = (key for command in commands for key in [*right_and_jump(100), Keys(command=command)])
    play(game, Script(keys), SETUP, episodes.append)
    return episodes


def test_replay_lands_where_play_did_bit_for_bit(game: Game) -> None:
    """Against the environment itself, stepped by hand."""
    (episode,) = played(game, Command.QUIT)
    assert episode.outcome != "none"
    scenes, fault = game.replay(episode)
    assert fault is None
    scene = game.start(SETUP)
    for action, seen in zip(episode.actions, scenes[1:], strict=True):
        scene, outcome = game.step(scene, action)
        same = jax.tree.map(np.array_equal, scene.state, seen.state)
        assert jax.tree.all(same)
    assert outcome == episode.outcome


def test_next_and_restart(game: Game) -> None:
    first, again, following = played(game, Command.RESTART, Command.NEXT, Command.QUIT)
    assert again == first, "the same keys on the same level"
    assert following.setup.level_seed == SETUP.level_seed + 1
    seen = Script(right_and_jump(3))
    episodes: list[Episode] = []
    play(game, seen, SETUP, episodes.append)
    assert [e.outcome for e in episodes] == ["none"], "broken off"
    assert seen.captions[-1] == "hard level 39, coin: random_section, 3 steps"


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row | {"outcome": "saw" if row["outcome"] != "saw" else "coin"},
        lambda row: row | {"actions": row["actions"][:-1]},
        lambda row: row | {"actions": "4" * len(row["actions"])},
        lambda row: row | {"coin_cell": [1, 1]},
    ],
)
def test_replay_says_what_is_amiss(
    game: Game, tmp_path: Path, change: Callable[[dict], dict]
) -> None:
    path = tmp_path / "play.json"
    save(path, played(game, Command.QUIT))
    assert game.replay(load(path)[0])[1] is None
    data = json.loads(path.read_text())
    data["episodes"] = [change(data["episodes"][0])]
    path.write_text(json.dumps(data))
    fault = game.replay(load(path)[0])[1]
    assert fault is not None
    assert " not " in fault


def test_recordings_round_trip(tmp_path: Path) -> None:
    episodes = [
        Episode(SETUP, tuple(range(15)), "coin", (3, 4)),
        Episode(Setup("easy", 2**31 - 1, "end", 0), (7,) * 1000, "timeout", (60, 1)),
        Episode(Setup("hard", 3, "absent", 0), (7,), "none", (-1, -1)),
    ]
    path = tmp_path / "play.json"
    save(path, episodes[:1])
    save(path, episodes)
    assert load(path) == episodes
    assert path.stat().st_size < 2000
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


def row(**changes: object) -> dict[str, object]:
    setup = {"mode": "hard", "level_seed": 1, "placement": "end", "coin_seed": 0}
    return {**setup, "coin_cell": [1, 2], "outcome": "coin", "actions": "7", **changes}


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"format": "coinrun_jax play 9", "episodes": [row()]},
        {"format": ["coinrun_jax play 1"], "episodes": [row()]},
        *(
            {"format": "coinrun_jax play 1", "episodes": bad}
            for bad in (None, [], {}, "episodes", [3], [{}], [row(), None], [row(colour="red")])
        ),
        *(
            {"format": "coinrun_jax play 1", "episodes": [row(**{key: bad})]}
            for key, wrong in {
                "mode": ("memory", None, []),
                "level_seed": (2**31, -1, "1", 1.0, True, None, 10**60),
                "placement": ("moon", ["end"], "fixed"),
                "coin_seed": (2**31, False, {}),
                "coin_cell": ([-1, -1], [1], [1, 99], [1, True], [1.0, 2], "12", None),
                "outcome": ("won", 1, ["coin"]),
                "actions": ("", "7f", "7" * 1001, 7, ["7"], "７"),
            }.items()
            for bad in wrong
        ),
    ],
)
def test_what_is_no_recording(
    tmp_path: Path, content: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(content))
    assert str(path)[-77:] in refusal(program.main, ["--replay", str(path)], capsys)


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        (["--level", "-1"], "'-1'"),
        (["--level", str(2**31)], "2147483647"),
        (["--placement", "moon"], "random_section"),
        (["--size", "5"], "within 26 ... 4096"),
        (["--size", "1000000"], "within 26 ... 4096"),
        (["--fps", "0"], "within 1 ... 1000"),
        (["--replay", "no/such.json"], "no/such.json"),
        (["--replay", "no/such.json", "--record", "new.json"], "--record"),
        (["--record", "no/such/folder.json"], "no/such"),
        (["--record", "new", "--gif", "./new"], "two files"),
        (["--lvel", "3"], "--lvel"),
    ],
)
def test_wrong_flags(argv: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert what in refusal(program.main, argv, capsys)


@pytest.mark.parametrize("flag", ["--record", "--gif"])
def test_nothing_is_overwritten(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "there"
    path.write_text("precious")
    assert "--force" in refusal(program.main, [flag, str(path)], capsys)
    assert path.read_text() == "precious"


def test_a_gif_too_large_for_memory_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, gif = tmp_path / "play.json", tmp_path / "play.gif"
    save(path, [Episode(SETUP, (7,) * 1000, "none", (3, 4))] * 3)
    argv = ["--replay", str(path), "--gif", str(gif), "--size", "4096"]
    assert "3,003 frames of 4096 x 4096" in refusal(program.main, argv, capsys)
    assert not gif.exists()


def test_no_screen_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    assert "--terminal" in refusal(program.main, ["--level", "3"], capsys)


def test_terminal_plays_and_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole program: piped keys to a recording, that to a GIF and back to the terminal."""
    record, gif = tmp_path / "play.json", tmp_path / "play.gif"
    monkeypatch.setattr("sys.stdin", io.StringIO("dw" + "....w...." * 20))
    argv = ["--terminal", "--level", "39", "--placement", "random_section"]
    assert program.main([*argv, "--record", str(record), *FAST]) == 0
    printed = capsys.readouterr()
    assert "standard input is not a terminal" in printed.err
    (episode,) = load(record)
    assert episode.setup == Setup("hard", 39, "random_section", 0)
    assert episode.actions[:5] == (7, 8, 8, 8, 7), "right, then a jump of three steps"
    assert f"{len(episode.actions)} steps, {episode.outcome}" in printed.out

    assert program.main(["--replay", str(record), "--gif", str(gif), *FAST]) == 0
    assert "as recorded" in capsys.readouterr().err
    with Image.open(gif) as image:
        assert image.size == (SIZE, SIZE)
        assert 1 < image.n_frames <= len(episode.actions) + 1  # equal frames become one

    monkeypatch.setattr("sys.stdin", io.StringIO("." * 5))
    assert program.main(["--replay", str(record), "--terminal", *FAST]) == 0
    assert "5 steps" in capsys.readouterr().out

    data = record.read_text()
    record.write_text(data.replace(f'"outcome": "{episode.outcome}"', '"outcome": "timeout"'))
    assert program.main(["--replay", str(record), "--gif", str(gif), "--force", *FAST]) == 1
    assert f"not timeout after {len(episode.actions)} steps" in capsys.readouterr().err


def test_terminal_shows_the_right_colours() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    picture[0:2, 2] = picture[0:2, 1]  # a colour that goes on is said once
    lines = half_blocks(picture).split("\n")
    assert [line.count("▀") for line in lines] == [4, 4, 4]
    seen = np.zeros_like(picture)
    for row_number, line in enumerate(lines):
        column = 0
        for code, blocks in re.findall(r"\x1b\[38;2;([\d;]+)m(▀+)", line):
            numbers = [int(n) for n in code.replace("48;2;", "").split(";")]
            for _ in blocks:
                seen[2 * row_number, column] = numbers[:3]
                seen[2 * row_number + 1, column] = numbers[3:]
                column += 1
    np.testing.assert_array_equal(seen, picture)


def test_a_pipe_may_hold_anything() -> None:
    screen = Terminal(SIZE, 1000, io.TextIOWrapper(io.BytesIO(b"\xff\x00d")), io.StringIO())
    assert [screen.read().action for _ in range(3)] == [Action.NOOP, Action.NOOP, Action.RIGHT]


def test_terminal_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_keys("a\x1b[CW\x1bOA\x1b[5~ ") == ["a", "d", "w", "w", "\x1b[5~", " "]
    screen = Terminal(SIZE, 1000, io.StringIO("a s\x1b[Cn"), io.StringIO())
    keys = [screen.read() for _ in range(6)]
    assert [key.action for key in keys[:4]] == [
        Action.LEFT,
        Action.LEFT_UP,
        Action.UP,  # the jump goes on
        Action.RIGHT_UP,
    ]
    assert keys[4].command == Command.NEXT
    assert keys[5].command == Command.QUIT, "no more keys"
    monkeypatch.setenv("COLUMNS", "20")
    with pytest.raises(ScreenError, match="20 x"):
        Terminal(None, 15)


def test_actions_of_keys() -> None:
    assert action_of(False, False, False, False) == Action.NOOP
    assert action_of(True, False, True, False) == Action.LEFT_UP
    assert action_of(False, True, False, True) == Action.RIGHT_DOWN
    assert action_of(True, True, True, True) == Action.NOOP


def test_window(monkeypatch: pytest.MonkeyPatch, game: Game, tmp_path: Path) -> None:
    """Key events of a player: run right with a tapped jump, let go, quit."""
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from coinrun_jax.play.window import Window

    screen = Window(SIZE, 1000)
    screen.open()
    press = {
        1: [(pygame.KEYDOWN, pygame.K_RIGHT)],
        3: [(pygame.KEYDOWN, pygame.K_SPACE), (pygame.KEYUP, pygame.K_SPACE)],
        5: [(pygame.KEYUP, pygame.K_RIGHT), (pygame.KEYDOWN, pygame.K_a)],
        6: [(pygame.KEYDOWN, pygame.K_ESCAPE)],
    }
    asked = 0
    read = Window.read

    def post_and_read(self: Window) -> Keys:
        nonlocal asked
        for kind, key in press.get(asked, []):
            pygame.event.post(pygame.event.Event(kind, key=key))
        asked += 1
        return read(self)

    monkeypatch.setattr(Window, "read", post_and_read)
    episodes: list[Episode] = []
    play(game, screen, SETUP, episodes.append)
    (episode,) = episodes
    assert episode.actions == (4, 7, 7, 8, 7, 1)
    assert pygame.display.get_caption()[0].endswith("random_section, 6 steps")
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    scenes, _ = game.replay(episode)
    np.testing.assert_array_equal(shown, game.picture(scenes[-1], SIZE))
    screen.close()
