"""The file that holds Procgen's pictures, and where it is.

An .npz archive: `format` int32 [], sprites `s0`, `s1`, ... uint8 [H, W, 4] and backgrounds
`b0`, ... uint8 [H, W, 3], in the order of `manifest`. Reading it needs NumPy alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coinrun_jax.art.manifest import BACKGROUND_PATHS, SPRITE_PATHS, pictures
from coinrun_jax.checks import InputError
from coinrun_jax.files import Array, read_arrays, shortened, write_arrays

FORMAT = 1
VARIABLE = "COINRUN_PROCGEN_ART"
"""Environment variable that names the file, if it is not in the cache."""


def default_path() -> Path:
    """The path in the user's cache, or the one the environment variable names."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "coinrun_jax" / f"procgen_art_{FORMAT}.npz"


def require_art() -> Path:
    """The file's path.

    Raises:
      InputError: if there is none, saying how to get it.
    """
    path = default_path()
    if not path.is_file():
        raise InputError(
            f"Procgen's pictures are not at {shortened(path)}: `python -m coinrun_jax.art` says "
            "how to get them"
        )
    return path


def write_art(path: Path, sprites: Sequence[np.ndarray], backgrounds: Sequence[np.ndarray]) -> None:
    """Write the file atomically."""
    arrays: dict[str, Any] = {"format": np.int32(FORMAT)}
    arrays |= {f"s{number}": sprite for number, sprite in enumerate(sprites)}
    arrays |= {f"b{number}": background for number, background in enumerate(backgrounds)}
    write_arrays(path, arrays)


def read_sprites(path: Path) -> list[np.ndarray]:
    """All sprites, uint8 [H, W, 4], alpha not premultiplied.

    Raises:
      InputError: for a file that is not of this format.
    """
    known = pictures()[: len(SPRITE_PATHS)]
    expected = {"format": Array("int32", low=FORMAT, high=FORMAT)}
    expected |= {
        f"s{number}": Array("uint8", (each.height, each.width, 4))
        for number, each in enumerate(known)
    }
    found = read_arrays(path, "picture file", expected)
    return [found[f"s{number}"] for number in range(len(known))]


def read_backgrounds(path: Path, numbers: Iterable[int]) -> dict[int, np.ndarray]:
    """Some backgrounds, uint8 [H, W, 3], by number.

    Raises:
      InputError: as `read_sprites`.
    """
    known = pictures()[len(SPRITE_PATHS) :]
    assert len(known) == len(BACKGROUND_PATHS)
    expected = {
        f"b{number}": Array("uint8", (known[number].height, known[number].width, 3))
        for number in numbers
    }
    found = read_arrays(path, "picture file", expected)
    return {int(name[1:]): array for name, array in found.items()}
