"""Shared by all command lines: exit status and argument types.

Exit status: 0 for success; 1 if a check failed or the machine did (a full disk, too little
memory); 2 for unusable input; 130 and 143 after SIGINT and SIGTERM, as in a shell. Failures are
reported in one line on stderr.
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
    """Stops a command whose input was usable; a one-line message and exit status 1."""


class Terminated(BaseException):
    """SIGTERM; unwinds like KeyboardInterrupt, so that no partial file is left behind."""


_LONG = re.compile(r"'[^']{79,}'|\S{81,}")  # arguments, or parts of them, as argparse quotes them


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises an `InputError` instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise InputError(_LONG.sub(lambda found: f"{found[0][:57]}...", message))


class Main(Protocol):
    """Takes arguments, by default those of the command line, and returns the exit status."""

    def __call__(self, arguments: list[str] | None = None) -> int: ...


def command(main: Main) -> Main:
    """Give a `main(arguments)` the exit status and error messages that this module describes."""

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (_unbroken(stream) for stream in streams)
        before = _raise_on_sigterm()
        try:
            status = main(arguments)
            if sys.stdout is not None:
                sys.stdout.flush()  # so that a full disk, say, is reported
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
            if "RESOURCE_EXHAUSTED" not in str(error):  # how JAX reports running out of memory
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
    """Returns the previous handler; None outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def stop(number: int, frame: Any) -> NoReturn:
        raise Terminated

    return signal.signal(signal.SIGTERM, stop)


class _Unbroken:
    """A stream whose reader may go away: `train | head -1` must not end the training.

    Other failures raise an `OSError` that names the stream, but only once: not again when Python
    exits. Characters that the stream cannot encode are escaped.
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
    """None if there is no such stream: `train >&-`."""
    return stream if stream is None or isinstance(stream, _Unbroken) else _Unbroken(stream)


def integer(low: int, high: int) -> Callable[[str], int]:
    """Argument type: an integer in [low, high]."""

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
    """Add --force, without which outputs are not overwritten."""
    parser.add_argument("--force", action="store_true", help="overwrite existing files")


def require_outputs(force: bool, *paths: Path | None, inputs: Iterable[Path | None] = ()) -> None:
    """Refuse outputs that exist, cannot be created, coincide, or are also inputs.

    Args:
      force: allow outputs to exist.
      paths: of the outputs; None for unused ones.
      inputs: files that are read; None for unused ones.

    Raises:
      InputError: for the first such output.
    """
    taken = {os.path.realpath(path) for path in inputs if path is not None}
    for path in paths:
        if path is None:
            continue
        if not os.path.isdir(path.absolute().parent):  # Path.is_dir raises OSError for a long path
            raise InputError(f"the folder of {shortened(path)} does not exist")
        require_free(path, force)
        if (place := os.path.realpath(path)) in taken:
            raise InputError(f"{shortened(path)} is given for two files of this command")
        taken.add(place)


def seed_range(text: str) -> range:
    """Argument type: A:B, the level seeds A ... B - 1."""
    first, colon, stop = text.partition(":")
    if not (colon and first.isdecimal() and stop.isdecimal() and text.isascii() and len(text) < 40):
        raise argparse.ArgumentTypeError(f"{_short(text)} is not of the form A:B, two level seeds")
    seeds = range(int(first), int(stop))
    if not len(seeds) or seeds.stop > NUM_SEEDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form A:B with 0 <= A < B <= {NUM_SEEDS}"
        )
    return seeds
