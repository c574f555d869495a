"""What all command lines share: how they end, and the types of their arguments.

Exit status: 0 where all went well; 1 where something did not hold or the machine failed (a full
disk, too little memory); 2 for input that cannot be used; 130 and 143 where SIGINT or SIGTERM
stopped it, as in a shell. Whatever is said of a failure is one line on stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, Protocol, TextIO

from coinrun_jax.checks import InputError, one_line
from coinrun_jax.files import require_free, shortened
from coinrun_jax.testbed import NUM_SEEDS

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


class Fault(RuntimeError):
    """Why a command had to stop although its input was usable; one line, exit status 1."""


class Terminated(BaseException):
    """SIGTERM: unwinds like KeyboardInterrupt, so that no half-written file stays."""


_LONG = re.compile(r"'[^']{79,}'|\S{81,}")  # what argparse repeats of the arguments, or a part


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises an `InputError` instead of leaving the program."""

    def error(self, message: str) -> NoReturn:
        raise InputError(_LONG.sub(lambda found: f"{found[0][:57]}...", message))


class Main(Protocol):
    """Of a module that is run: takes arguments, or the command line's, and returns a status."""

    def __call__(self, arguments: list[str] | None = None) -> int: ...


def command(main: Main) -> Main:
    """Make a `main(arguments) -> exit status` end as this module says."""

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (_unbroken(stream) for stream in streams)
        before = _raise_on_sigterm()
        try:
            status = main(arguments)
            if sys.stdout is not None:
                sys.stdout.flush()  # or nobody would hear of what it cannot take
            return status
        except InputError as error:
            return _complain(error, 2)
        except KeyboardInterrupt:
            return _complain("interrupted", INTERRUPTED)
        except Terminated:
            return _complain("terminated", TERMINATED)
        except MemoryError:
            return _complain("not enough memory", 1)
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            return _complain(f"{name}{error.strerror or error}", 1)
        except Fault as error:
            return _complain(error, 1)
        except Exception as error:
            if "RESOURCE_EXHAUSTED" not in str(error):  # jax's word for too little memory
                raise
            return _complain(f"not enough memory: {error}", 1)
        finally:
            with contextlib.suppress(OSError):
                if sys.stdout is not None:
                    sys.stdout.flush()
            if before is not None:
                signal.signal(signal.SIGTERM, before)
            sys.stdout, sys.stderr = streams

    return run


def _complain(error: object, status: int) -> int:
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(f"error: {one_line(error)}", file=sys.stderr, flush=True)
    return status


def _raise_on_sigterm() -> Any:
    """The handler of before; None where signals are another's business."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def stop(number: int, frame: Any) -> NoReturn:
        raise Terminated

    return signal.signal(signal.SIGTERM, stop)


class _Unbroken:
    """A stream whose reader may leave: `train | head -1` must not end the training.

    What it cannot take otherwise is an `OSError` that names it, once, and not again as Python
    ends. Characters that it does not know are written as escapes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._go_on(self._stream.write, text) or len(text)
        except UnicodeEncodeError as error:
            known = text.encode(error.encoding, "backslashreplace").decode(error.encoding)
            return self._go_on(self._stream.write, known) or len(text)

    def flush(self) -> None:
        self._go_on(self._stream.flush)

    def _go_on(self, do: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return do(*arguments)
        except OSError as error:
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
            if isinstance(error, BrokenPipeError):
                return None
            name = getattr(self._stream, "name", None)
            raise OSError(error.errno, error.strerror, name) from error


def _unbroken(stream: Any) -> Any:
    """None where there is no such stream: `train >&-`."""
    return stream if stream is None or isinstance(stream, _Unbroken) else _Unbroken(stream)


def integer(low: int, high: int) -> Callable[[str], int]:
    """Type of an argument that is an integer in [low, high]."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(
                f"{_short(text)} is not an integer within {low} ... {high}"
            )
        return number

    return parse


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def add_force(parser: argparse.ArgumentParser) -> None:
    """--force, where outputs are otherwise not overwritten."""
    parser.add_argument("--force", action="store_true", help="overwrite what is there already")


def require_outputs(force: bool, *paths: Path | None, inputs: Iterable[Path | None] = ()) -> None:
    """Refuse outputs that exist or cannot be made, that are one file, or the one that is read.

    Args:
      force: let them exist.
      paths: of the outputs; None for those that are not wanted.
      inputs: files that are read, alike.

    Raises:
      InputError: for the first of them.
    """
    taken = {os.path.realpath(path) for path in inputs if path is not None}
    for path in paths:
        if path is None:
            continue
        if not os.path.isdir(path.absolute().parent):  # as Path asks it, a long path is an OSError
            raise InputError(f"the folder of {shortened(path)} does not exist")
        require_free(path, force)
        if (place := os.path.realpath(path)) in taken:
            raise InputError(f"{shortened(path)} cannot be two files of one command")
        taken.add(place)


def seed_range(text: str) -> range:
    """Type of an argument A:B, the level seeds A ... B - 1."""
    first, colon, stop = text.partition(":")
    if not (colon and first.isdecimal() and stop.isdecimal() and text.isascii() and len(text) < 40):
        raise argparse.ArgumentTypeError(f"{_short(text)} is not A:B, two level seeds")
    seeds = range(int(first), int(stop))
    if not len(seeds) or seeds.stop > NUM_SEEDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B with 0 <= A < B <= {NUM_SEEDS}")
    return seeds
