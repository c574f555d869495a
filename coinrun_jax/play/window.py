"""A window to play in, with pygame-ce."""

from __future__ import annotations

import os

import numpy as np

from coinrun_jax.play.quiet import quiet_libraries
from coinrun_jax.play.screen import Command, Keys, ScreenError, action_of

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame

LEFT = {pygame.K_LEFT, pygame.K_a}
RIGHT = {pygame.K_RIGHT, pygame.K_d}
UP = {pygame.K_UP, pygame.K_w, pygame.K_SPACE}
DOWN = {pygame.K_DOWN, pygame.K_s}
COMMANDS = {
    pygame.K_ESCAPE: Command.QUIT,
    pygame.K_q: Command.QUIT,
    pygame.K_r: Command.RESTART,
    pygame.K_n: Command.NEXT,
    pygame.K_RETURN: Command.NEXT,
}
MESSAGE_HEIGHT = 1 / 16  # of the window
INK, PAPER = (255, 255, 255), (0, 0, 0)


class Window:
    """A pygame window.

    Args:
      size: height and width in pixels.
      fps: steps per second.

    Raises:
      ScreenError: if no window can be opened.
    """

    keys = "arrows or WASD to move, space to jump, R again, N next level, Q quit"

    def __init__(self, size: int, fps: int) -> None:
        self.size, self._fps = size, fps
        try:
            with quiet_libraries():
                pygame.display.init()
        except pygame.error as error:
            raise ScreenError(f"no window can be opened ({error})") from error
        # Without a screen, SDL may silently fall back to drawing into memory.
        if pygame.display.get_driver() == "offscreen" and "SDL_VIDEODRIVER" not in os.environ:
            pygame.display.quit()
            raise ScreenError("no window can be opened (there is no screen)")
        self._clock = pygame.time.Clock()
        self._held: set[int] = set()

    def open(self) -> None:
        """Open the window. Raises ScreenError."""
        try:
            self._surface = pygame.display.set_mode((self.size, self.size))
        except pygame.error as error:
            raise ScreenError(f"no window can be opened ({error})") from error
        pygame.font.init()
        self._font = pygame.font.Font(None, max(16, round(self.size * MESSAGE_HEIGHT)))

    def read(self) -> Keys:
        """Keys that are held down, or were pressed, however briefly, since the last call."""
        tapped = set()
        command = None
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                command = Command.QUIT
            elif event.type == pygame.KEYDOWN:
                tapped.add(event.key)
                self._held.add(event.key)
                command = COMMANDS.get(event.key, command)
            elif event.type == pygame.KEYUP:
                self._held.discard(event.key)
            elif event.type == pygame.WINDOWFOCUSLOST:
                self._held.clear()  # keys released outside the window are not reported
        pressed = self._held | tapped
        action = action_of(*(bool(pressed & keys) for keys in (LEFT, RIGHT, UP, DOWN)))
        return Keys(action, command)

    def show(self, picture: np.ndarray, caption: str, message: str = "") -> None:
        """Show a picture, with the caption as the window's title."""
        image = pygame.image.frombuffer(picture.tobytes(), picture.shape[1::-1], "RGB")
        self._surface.blit(image, (0, 0))
        if message:
            text = self._font.render(f" {message} ", True, INK, PAPER)
            self._surface.blit(text, text.get_rect(center=(self.size // 2, self.size // 6)))
        pygame.display.set_caption(f"CoinRun: {caption}")
        pygame.display.flip()

    def wait(self) -> None:
        """Sleep until the next step is due."""
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Close the window."""
        pygame.display.quit()
