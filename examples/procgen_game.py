"""The real C++ game, played over a pipe: Procgen 0.10.7 in whichever Python has it.

Protocol, all numbers little-endian. The other process gets messages of 5 bytes, a letter and an
int32: `L` starts the level with this seed in a new game, `A` takes this action. It answers each
with the reward, float32, a byte that is 1 where an episode has begun, and the 64x64x3 bytes of
the frame. It ends when its input does.
"""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from coinrun_jax.checks import InputError, one_line, shown
from coinrun_jax.cli import Fault
from coinrun_jax.coinrun.observations.look import Look

FRAME = (64, 64, 3)
OPTIONS = ("no_backgrounds", "restrict_themes", "paint_vel_info", "monochrome")
"""Procgen's drawing options; by default none is set."""

_PROGRAM = """
import json, os, struct, sys
import numpy as np
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what the game prints is no answer
from procgen import ProcgenGym3Env
settings = json.loads(sys.argv[1])
game = None
while True:
    message = sys.stdin.buffer.read(5)
    if len(message) < 5:
        break
    kind, number = struct.unpack("<ci", message)
    if kind == b"L":
        game = ProcgenGym3Env(
            num=1, env_name="coinrun", start_level=number, num_levels=1, num_threads=0, **settings
        )
    else:
        game.act(np.array([number], np.int32))
    reward, observation, first = game.observe()
    answers.write(struct.pack("<fB", reward[0], first[0]))
    answers.write(np.ascontiguousarray(observation["rgb"][0]).tobytes())
    answers.flush()
"""


def look_of(options: Sequence[str]) -> Look:
    """Our switches for some of OPTIONS."""
    return Look(
        backgrounds="no_backgrounds" not in options,
        restrict_themes="restrict_themes" in options,
        paint_velocity="paint_vel_info" in options,
        monochrome="monochrome" in options,
    )


class RealGame:
    """The game in its own process; a context manager that ends it.

    Args:
      python: an interpreter with procgen 0.10.7.
      mode: "hard" or "easy".
      options: some of OPTIONS.

    Raises:
      InputError: on entry, if the interpreter cannot be run.
      Fault: later, if the game ends.
    """

    def __init__(self, python: str, mode: str, options: Sequence[str] = ()) -> None:
        settings = {
            "distribution_mode": mode,
            "use_backgrounds": "no_backgrounds" not in options,
            "restrict_themes": "restrict_themes" in options,
            "paint_vel_info": "paint_vel_info" in options,
            "use_monochrome_assets": "monochrome" in options,
        }
        self._command = [python, "-c", _PROGRAM, json.dumps(settings)]

    def __enter__(self) -> RealGame:
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            python = shown(self._command[0])
            raise InputError(f"--procgen {python} cannot be run: {error.strerror}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, seed: int) -> np.ndarray:
        """The first frame of a level; uint8 [64, 64, 3]."""
        return self._send(b"L", seed)[0]

    def step(self, action: int) -> tuple[np.ndarray, float, bool]:
        """(frame, reward, whether the episode is over and the frame is the next one's)."""
        return self._send(b"A", action)

    def _send(self, kind: bytes, number: int) -> tuple[np.ndarray, float, bool]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        size = struct.calcsize("<fB")
        try:
            self._process.stdin.write(struct.pack("<ci", kind, number))
            self._process.stdin.flush()
            answer = self._process.stdout.read(size + int(np.prod(FRAME)))
        except BrokenPipeError:
            answer = b""
        if len(answer) < size + np.prod(FRAME):
            assert self._process.stderr is not None
            lines = self._process.stderr.read().decode(errors="replace").strip().splitlines()
            raise Fault(f"the real game ended: {one_line(lines[-1] if lines else 'no reason')}")
        reward, first = struct.unpack("<fB", answer[:size])
        return np.frombuffer(answer[size:], np.uint8).reshape(FRAME), reward, bool(first)
