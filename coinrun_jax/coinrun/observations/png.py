"""Writing PNG files with the standard library alone."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from coinrun_jax.files import writing

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TRUECOLOUR = 2


def encode_png(image: np.ndarray) -> bytes:
    """A PNG file of an image.

    Raises:
      ValueError: for anything but uint8 [H, W, 3].
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"not an image, uint8 [H, W, 3]: {image.dtype} {image.shape}")
    height, width, _ = image.shape
    lines = np.pad(image.reshape(height, -1), ((0, 0), (1, 0)))  # filter 0 before each

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, _TRUECOLOUR, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
    return _SIGNATURE + body + chunk(b"IEND", b"")


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write an image, uint8 [H, W, 3], to a PNG file atomically."""
    with writing(Path(path)) as part:
        part.write_bytes(encode_png(image))
