"""Episodes as an animation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from coinrun_jax.checks import InputError
from coinrun_jax.files import writing
from coinrun_jax.play.game import Scene

LAST_FRAME_MS = 1500
MOST_FRAMES = 20_000
MOST_PIXELS = 2**31  # of all frames: a byte each, until they are written
_COLOURS = 256
_SAMPLES = 8  # frames that the palette is made from


def require_frames(count: int, size: int) -> None:
    """Refuse a GIF that is too large to be put together in memory.

    Args:
      count: frames.
      size: pixels of each, both ways.

    Raises:
      InputError: for more than `MOST_FRAMES`, and for more pixels than `MOST_PIXELS`.
    """
    if count > MOST_FRAMES or count * size * size > MOST_PIXELS:
        raise InputError(
            f"a GIF of {count:,} frames of {size} x {size} pixels: at most {MOST_FRAMES:,} frames, "
            f"and {MOST_PIXELS:,} pixels of them all (lower --size)"
        )


def write_gif(
    path: Path, scenes: Sequence[Scene], draw: Callable[[Scene], np.ndarray], fps: int
) -> None:
    """Write a GIF with one frame for every scene, the last one for longer; whole or not at all.

    Args:
      path: file to write.
      scenes: at least one.
      draw: a scene's picture, uint8 [H, W, 3], all of one size.
      fps: frames per second; GIF knows hundredths of a second only.
    """
    from PIL import Image

    # One palette for all frames, taken from a few of them: colours do not flicker.
    sample = np.concatenate([draw(scene) for scene in scenes[:: -(-len(scenes) // _SAMPLES)]])
    palette = Image.fromarray(sample).quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)

    def frame(scene: Scene) -> Image.Image:
        image = Image.fromarray(draw(scene))
        return image.quantize(palette=palette, dither=Image.Dither.NONE)

    frame_ms = max(20, round(100 / fps) * 10)  # browsers slow down what is faster
    with writing(path) as part:
        frame(scenes[0]).save(
            part,
            format="GIF",
            save_all=True,
            append_images=(frame(scene) for scene in scenes[1:]),
            duration=[frame_ms] * (len(scenes) - 1) + [LAST_FRAME_MS],
            loop=0,
            optimize=False,
        )
