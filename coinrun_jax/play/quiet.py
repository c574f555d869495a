"""Silences C and C++ libraries, which write to standard error without Python."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop what is written to file descriptor 2; exceptions are still raised.

    XLA prints pages about the processor whenever it loads a program from the compilation cache
    (it reads its log level when jax is imported, which is too early for us), and SDL
    complains about missing desktops.
    """
    try:
        kept = os.dup(2)
    except OSError:  # closed: silent anyway
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
