"""Play in a terminal, with two pixels per character, if there is no screen for a window.

A terminal reports when a key is pressed but not when it is released. So left and right keep the
agent going until another key is pressed, and a jump lasts for a few steps.
"""

from __future__ import annotations

import io
import os
import re
import select
import shutil
import sys
import time
from typing import Any, TextIO

import numpy as np

from coinrun_jax.play.screen import Command, Keys, ScreenError, action_of

KEYS = "A D or arrows to go left and right, S stand, W or space jump, R again, N next, Q quit"
PIPED = "standard input is not a terminal: one key is read per step until it ends"
HALF_BLOCK = "▀"  # its foreground is the upper pixel, its background the lower one
JUMP_STEPS = 3  # so that a jump pressed just before landing counts
SMALLEST, LARGEST = 26, 256  # pixels
ARROWS = {"\x1b[A": "w", "\x1b[B": "s", "\x1b[C": "d", "\x1b[D": "a"}
ARROWS |= {key.replace("[", "O"): letter for key, letter in ARROWS.items()}
COMMANDS = {
    "q": Command.QUIT,
    "\x1b": Command.QUIT,
    "\x03": Command.QUIT,  # Ctrl-C
    "\x04": Command.QUIT,  # Ctrl-D
    "r": Command.RESTART,
    "n": Command.NEXT,
    "\n": Command.NEXT,
    "\r": Command.NEXT,
}
_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)
_SEQUENCE_SECONDS = 0.05  # the rest of a special key arrives within it; otherwise it was Escape
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"  # alternate screen, no cursor, cleared
_LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"


def half_blocks(picture: np.ndarray) -> str:
    """A picture, uint8 [H, W, 3] with H even, as H / 2 lines of W coloured characters."""
    lines = []
    for upper, lower in zip(picture[::2].tolist(), picture[1::2].tolist(), strict=True):
        line, before = [], None
        for colours in zip(upper, lower, strict=True):
            if colours != before:  # unchanged colours need not be repeated
                (r, g, b), (s, h, c) = colours
                line.append(f"\x1b[38;2;{r};{g};{b};48;2;{s};{h};{c}m")
                before = colours
            line.append(HALF_BLOCK)
        lines.append("".join(line) + "\x1b[0m")
    return "\n".join(lines)


def split_keys(text: str) -> list[str]:
    """Single keys, arrows as the equivalent letters."""
    return [ARROWS.get(key, key.lower()) for key in _KEY.findall(text)]


class Terminal:
    """A terminal; without one, keys are read from standard input, one per step, until it ends.

    Args:
      size: height and width in pixels, even; as many as fit if None.
      fps: steps per second.
      stdin, stdout: where keys come from and pictures go to; the process's own if None.

    Raises:
      ScreenError: if the terminal is too small.
    """

    def __init__(
        self,
        size: int | None,
        fps: int,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
    ) -> None:
        # Closed streams are None in Python.
        self._in: TextIO = stdin or sys.stdin or io.StringIO()
        self._out: TextIO = stdout or sys.stdout or io.StringIO()
        self._fps = fps
        if isinstance(self._in, io.TextIOWrapper):
            self._in.reconfigure(errors="replace")  # a pipe may hold anything
        self._is_tty = self._in.isatty()
        self.keys = KEYS if self._is_tty else f"{PIPED}\n{KEYS}"
        columns, lines = shutil.get_terminal_size()
        fits = min(columns, 2 * (lines - 2), LARGEST) // 2 * 2
        if size is None and fits < SMALLEST:
            raise ScreenError(
                f"the terminal has {columns} x {lines} characters, not at least "
                f"{SMALLEST} x {SMALLEST // 2 + 2}"
            )
        self.size = fits if size is None else size // 2 * 2
        self._going = self._jumping = 0
        self._before: Any = None
        self._due = 0.0

    def open(self) -> None:
        """Take the terminal: keys arrive immediately and are not echoed."""
        if self._is_tty:
            try:
                import termios
                import tty
            except ImportError as error:
                raise ScreenError("this system's terminals are not supported") from error
            self._before = termios.tcgetattr(self._in)
            tty.setcbreak(self._in)
            self._out.write(_ENTER)
            self._out.flush()

    def read(self) -> Keys:
        """The effect of the keys pressed since the last call, or of the next one from a pipe."""
        command = None
        for key in self._pressed():
            if key in COMMANDS:
                command = COMMANDS[key]
                self._going = self._jumping = 0
            elif key in "ad":
                self._going = 1 if key == "d" else -1
            elif key == "s":
                self._going = 0
            elif key in "w ":
                self._jumping = JUMP_STEPS
        action = action_of(self._going < 0, self._going > 0, self._jumping > 0, False)
        self._jumping = max(0, self._jumping - 1)
        return Keys(action, command)

    def _pressed(self) -> list[str]:
        if self._is_tty:
            text = ""
            while select.select([self._in], [], [], _SEQUENCE_SECONDS * text.endswith("\x1b"))[0]:
                data = os.read(self._in.fileno(), 1024)
                text += data.decode(errors="ignore")
                if not data:
                    return ["q"]  # the terminal is gone
            return split_keys(text)
        key = self._in.read(1)
        if key == "\x1b":
            key += self._in.read(2)
        return split_keys(key) if key else ["q"]

    def show(self, picture: np.ndarray, caption: str, message: str = "") -> None:
        """Draw a picture with the caption under it."""
        home = "\x1b[H" if self._is_tty else ""
        line = " | ".join(filter(None, (caption, message)))
        clear = "\x1b[K"  # clears the rest of an earlier line
        self._out.write(f"{home}{half_blocks(picture)}{clear}\n{line}{clear}\n")
        self._out.flush()

    def wait(self) -> None:
        """Sleep until the next step is due."""
        now = time.monotonic()
        self._due = max(self._due, now - 1 / self._fps) + 1 / self._fps
        time.sleep(max(0.0, self._due - now))

    def close(self) -> None:
        """Restore the terminal."""
        if self._before is not None:
            import termios

            self._out.write(_LEAVE)
            self._out.flush()
            termios.tcsetattr(self._in, termios.TCSADRAIN, self._before)
            self._before = None
