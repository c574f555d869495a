"""Result folders: the files of a command are written atomically, all together."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from coinrun_jax.checks import InputError, shown
from coinrun_jax.cli import Fault
from coinrun_jax.files import require_free, require_makeable


def folder(text: str) -> Path:
    """Argument type for a result folder; an empty name does not mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name of a folder is missing")
    return Path(text)


def require_folder(out: Path, names: Sequence[str], force: bool) -> None:
    """Refuse a folder that cannot be created or written to, or that contains one of the files.

    Args:
      names: of the files.
      force: whether they may be overwritten.

    Raises:
      InputError: for such a folder.
    """
    if not str(out).isprintable():
        raise InputError(f"folder {shown(str(out))} has characters that cannot be printed")
    require_makeable(out, "folder")
    if out.exists():
        if not out.is_dir():
            raise InputError(f"{shown(str(out))} is not a folder")
        if not os.access(out, os.W_OK | os.X_OK):
            raise InputError(f"folder {shown(str(out))} cannot be written to")
    for name in names:
        require_free(out / name, force)


@contextlib.contextmanager
def staging(out: Path, names: Sequence[str] = (), force: bool = False) -> Iterator[Path]:
    """A hidden folder in `out` to write to; its files are moved to `out` together at the end.

    If the command fails or is stopped, nothing is left behind, not even a folder made for it. Only
    an unexpected error keeps the files written so far, which may be hours of play, and says where
    they are; they do not block the next attempt.

    Args:
      names: all files that may be written; with `force`, old ones not written anew are deleted.
      force: whether existing files may be overwritten.
    """
    with contextlib.ExitStack() as made:
        for each in reversed([out, *out.parents]):
            if not each.exists():
                each.mkdir(exist_ok=True)
                made.callback(_remove_if_empty, each)
        part = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=out))
        made.callback(shutil.rmtree, part, ignore_errors=True)
        try:
            yield part
            _move(part, out, names, force)
        except OSError as error:
            written = error.filename is None or str(error.filename).startswith(str(part))
            name = str(out) if written else error.filename
            raise OSError(error.errno, error.strerror or str(error), name) from error
        except Exception as error:
            if isinstance(error, InputError) or not any(part.iterdir()):
                raise
            made.pop_all()
            kept = f"the files written so far are in {part}"
            if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
                raise Fault(f"not enough memory; {kept}") from error
            if isinstance(error, Fault):
                raise Fault(f"{error}; {kept}") from error
            print(kept, file=sys.stderr)
            raise


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()


def _move(part: Path, out: Path, names: Sequence[str], force: bool) -> None:
    files = sorted(part.iterdir())
    for file in files:
        with file.open("rb+") as content:
            os.fsync(content.fileno())
        if not force and os.path.lexists(out / file.name):
            raise Fault(f"{out / file.name} has been created in the meantime")
    with _undisturbed():
        for file in files:
            os.replace(file, out / file.name)
        for name in {*names} - {file.name for file in files} if force else ():
            (out / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Delay SIGINT and SIGTERM until the operation is complete."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for caught, handler in handlers.items():
            signal.signal(caught, signal.SIG_DFL if handler is None else handler)
    for number in came:
        signal.raise_signal(number)
