"""Procgen's pictures for tests: from its wheel, or from the file that has been kept of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coinrun_jax.art import store
from coinrun_jax.art.__main__ import main as art_main

WHEEL = os.environ.get("COINRUN_PROCGEN_WHEEL", "")
NO_PICTURES = (
    "no pictures of Procgen: set COINRUN_PROCGEN_WHEEL to its wheel, or run "
    "`python -m coinrun_jax.art`"
)


@contextmanager
def pictures_at_hand(folder: Path) -> Iterator[None]:
    """Procgen's pictures can be loaded within; they are written to a folder if there is a wheel.

    Skips the test where they cannot be had.
    """
    with pytest.MonkeyPatch.context() as patch:
        if WHEEL:
            path = folder / "art.npz"
            assert art_main(["--from", WHEEL, "--out", str(path)]) == 0
            patch.setenv(store.VARIABLE, str(path))
        elif not store.default_path().is_file():
            pytest.skip(NO_PICTURES)
        yield
