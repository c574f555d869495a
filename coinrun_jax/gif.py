"""Episodes as animated GIFs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from coinrun_jax.checks import InputError

Frame = TypeVar("Frame")

LAST_FRAME_MS = 1500
MOST_FRAMES = 20_000
MOST_PIXELS = 2**31  # of all frames: one byte each, held until they are written
_SAMPLES = 8  # frames that the palette is made from


def require_frames(count: int, size: int) -> None:
    """Refuse a GIF that is too large to be assembled in memory.

    Args:
      count: frames.
      size: pixels of each, both ways.

    Raises:
      InputError: for more frames than `MOST_FRAMES`, or more pixels than `MOST_PIXELS`.
    """
    if count > MOST_FRAMES or count * size * size > MOST_PIXELS:
        raise InputError(
            f"a GIF of {count:,} frames of {size} x {size} pixels is too large: at most "
            f"{MOST_FRAMES:,} frames and {MOST_PIXELS:,} pixels in total (lower --size)"
        )


def write_gif(
    file: IO[bytes] | Path,
    frames: Sequence[Frame],
    draw: Callable[[Frame], np.ndarray],
    frame_ms: int,
    colours: int = 256,
) -> None:
    """Write a GIF that shows its last frame for longer.

    Args:
      file: to write to.
      frames: at least one.
      draw: a frame's picture, uint8 [H, W, 3], all of one size.
      frame_ms: how long each is shown; GIF counts in hundredths of a second, and browsers slow
        down anything under two of them.
      colours: of the palette that all frames share.
    """
    from PIL import Image

    # One palette for all frames, taken from a few of them, so that colours do not flicker.
    sample = np.concatenate([draw(frame) for frame in frames[:: -(-len(frames) // _SAMPLES)]])
    palette = Image.fromarray(sample).quantize(colours, method=Image.Quantize.MEDIANCUT)

    def encoded(frame: Frame) -> Image.Image:
        return Image.fromarray(draw(frame)).quantize(palette=palette, dither=Image.Dither.NONE)

    frame_ms = max(20, round(frame_ms / 10) * 10)
    encoded(frames[0]).save(
        file,
        format="GIF",
        save_all=True,
        append_images=(encoded(frame) for frame in frames[1:]),
        duration=[frame_ms] * (len(frames) - 1) + [LAST_FRAME_MS],
        loop=0,
        optimize=False,
    )
