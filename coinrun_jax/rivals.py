"""Other builds of the game, Procgen's C++ and EnvPool's, timed in interpreters that have them.

They need an older Python, or packages that we do not want to depend on. So each runs in its own
process, which plays a round on request.
"""

from __future__ import annotations

import contextlib
import select
import shutil
import subprocess
import tempfile
from types import TracebackType

from coinrun_jax.checks import InputError, positive, shown

NUM_ENVS = (64, 256)
START_SECONDS = 120  # for a program to import its game, or to create environments
END_SECONDS = 5  # for it to exit after its last answer
MOST_CHARACTERS = 1000  # of an answer

# A program reads lines "threads num_envs seconds", plays at random for that time, and answers
# with its steps per second. Environments are reused from round to round.
_LOOP = """
import sys, time
import numpy as np
mode = sys.argv[1]
kept = {}
print("ready", flush=True)
for line in sys.stdin:
    threads, num_envs, seconds = line.split()
    threads, num_envs, seconds = int(threads), int(num_envs), float(seconds)
    if (threads, num_envs) not in kept:
        kept[threads, num_envs] = make(threads, num_envs)
        for _ in range(20):
            kept[threads, num_envs]()
    play = kept[threads, num_envs]
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        steps += play()
    print(steps / (time.perf_counter() - begin), flush=True)
"""
_PROGRAMS = {
    "procgen": """
from procgen import ProcgenGym3Env
def make(threads, num_envs):
    env = ProcgenGym3Env(
        num=num_envs, env_name="coinrun", distribution_mode=mode, num_threads=threads
    )
    actions = np.random.default_rng(0).integers(0, 15, (20, num_envs)).astype(np.int32)
    def play():
        for action in actions:
            env.act(action)
            env.observe()
        return actions.size
    return play
"""
    + _LOOP,
    "envpool": """
import envpool
def make(threads, num_envs):
    task = "CoinrunHard-v0" if mode == "hard" else "CoinrunEasy-v0"
    env = envpool.make(task, "gymnasium", num_envs=num_envs, num_threads=threads)
    env.reset()
    actions = np.random.default_rng(0).integers(0, 15, (20, num_envs)).astype(np.int32)
    def play():
        for action in actions:
            env.step(action)
        return actions.size
    return play
"""
    + _LOOP,
}


class RivalError(InputError):
    """An interpreter that cannot run the program."""


class Rival:
    """A program in a separate process; a context manager that ends it.

    Args:
      name: "procgen" or "envpool".
      python: the interpreter that has it.
      mode: "hard" or "easy".
      cores: how many it may use.

    Raises:
      RivalError: on entry or later, if the process fails.
    """

    def __init__(self, name: str, python: str, mode: str, cores: int) -> None:
        self.name = name
        self.best = {
            (threads, num_envs): 0.0 for threads in (cores, 2 * cores) for num_envs in NUM_ENVS
        }
        """Steps per second by (threads, num_envs)."""
        self._command = [python, "-c", _PROGRAMS[name], mode]

    def __enter__(self) -> Rival:
        if shutil.which(self._command[0]) is None:
            raise RivalError(f"{self._option} is not an interpreter")
        self._complaints = tempfile.TemporaryFile("w+", errors="replace")
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise RivalError(f"{self._option} cannot be run: {error.strerror}") from error
        try:
            if (answer := self._answer(START_SECONDS)) != "ready":
                raise RivalError(
                    f"{self._option} is not a suitable interpreter: it printed {shown(answer)}"
                )
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._complaints.close()

    @property
    def _option(self) -> str:
        return f"--{self.name} {shown(self._command[0])}"

    def _answer(self, seconds: float) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise RivalError(f"{self._option} has not answered for {seconds:.0f} s")
        line = self._process.stdout.readline(MOST_CHARACTERS)
        if not line:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
            self._complaints.seek(0)
            last = [line for line in self._complaints.read().splitlines() if line][-1:]
            raise RivalError(f"{self._option} failed: {' '.join(last)}")
        return line.strip()

    def play_round(self, seconds: float) -> None:
        """Play every configuration for the given time and keep the best speeds so far."""
        assert self._process.stdin is not None
        for threads, num_envs in self.best:
            with contextlib.suppress(BrokenPipeError):  # it has ended: `_answer` says how
                self._process.stdin.write(f"{threads} {num_envs} {seconds}\n")
                self._process.stdin.flush()
            answer = self._answer(START_SECONDS + 2 * seconds)
            try:
                speed = positive("speed", float(answer))
            except ValueError as error:
                raise RivalError(f"{self._option} gives {shown(answer)} as its speed") from error
            self.best[threads, num_envs] = max(self.best[threads, num_envs], speed)
