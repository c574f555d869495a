"""The interface of screens: windows and terminals."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import numpy as np

from coinrun_jax.checks import InputError
from coinrun_jax.coinrun.types import Action


class Command(Enum):
    """What a player can ask for besides moving."""

    QUIT = auto()
    RESTART = auto()
    NEXT = auto()


@dataclass(frozen=True)
class Keys:
    """The keys pressed in one step."""

    action: int = Action.NOOP
    command: Command | None = None


class ScreenError(InputError):
    """There is no usable screen."""


class Screen(Protocol):
    """Shows pictures, reads keys, keeps time."""

    size: int  # width and height of its pictures, in pixels
    keys: str  # help text: which keys do what

    def open(self) -> None:
        """Take the screen. Raises ScreenError."""

    def read(self) -> Keys:
        """The keys for the next step."""

    def show(self, picture: np.ndarray, caption: str, message: str = "") -> None:
        """Show a picture, uint8 [size, size, 3], a line about it, and a message in it."""

    def wait(self) -> None:
        """Sleep until the next step is due."""

    def close(self) -> None:
        """Release the screen."""


def action_of(left: bool, right: bool, up: bool, down: bool) -> int:
    """Procgen's action for the pressed directions; opposite ones cancel out."""
    horizontal, vertical = right - left, up - down
    return Action.NOOP + 3 * horizontal + vertical
