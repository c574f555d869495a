"""Which pixels a picture covers along one axis, and which of its own pixels each shows.

Procgen computes this in double precision, which JAX disables by default. A number is
therefore a pair (high, low) of float32 that stands for their exact sum, and products are
split into parts that float32 holds exactly. Sums alone are safe from compilers that fuse a
product with a sum; a product to which something is added goes through `physics.rounded`,
unless it is exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

FIXED = 2**16  # fixed-point units per pixel, for positions in a picture
_COARSE, _FINE = 2**11, 2**-1  # what the first two parts of a step are multiples of
_UPPER_BITS = ~0xFFF  # of a float32: half of its mantissa


class Pair(NamedTuple):
    """An exact number high + low; float32, any shape."""

    high: Any
    low: Any


class Axis(struct.PyTreeNode):
    """How a picture is stretched along one axis; all leaves have the same shape."""

    length: Pair  # of the rectangle, pixels of the frame
    step: Any  # int32, from one pixel of the frame to the next, in 1/FIXED of the picture's
    parts: tuple[Any, Any, Any]  # float32, whose sum is the ratio for the first position
    pixels: Any  # int32, of the picture


class Span(NamedTuple):
    """Pixels [start, stop) of the frame; pixel p shows (first + step * (p - start)) // FIXED."""

    start: jax.Array  # int32
    stop: jax.Array  # int32
    first: jax.Array  # int32
    step: jax.Array  # int32


class Lens(NamedTuple):
    """Constants of a frame's size, known in advance."""

    size: int
    unit: np.float32  # pixels per tile
    view: np.float32  # tiles

    def pixels(self, tiles: np.float32) -> float:
        """A length as in Procgen: rounded to float32."""
        return float(np.float32(tiles) * self.unit)


def lens_of(size: int) -> Lens:
    """The lens for frames of `size` pixels, both ways."""
    unit = np.float32(size / 13)
    return Lens(size, unit, np.float32(size) / unit)


def pair_of(value: Any) -> Pair:
    """Pair of NumPy doubles, to 48 bits."""
    high = np.asarray(value, np.float64).astype(np.float32)
    return Pair(high, (np.asarray(value, np.float64) - high).astype(np.float32))


def axis_of(pixels: Any, length: Any, exact: bool = False) -> Axis:
    """How a picture's pixels are stretched over a length; NumPy, known in advance.

    Args:
      pixels: of the picture; int, any shape.
      length: of the rectangle, pixels of the frame; double, likewise.
      exact: find the first position with the exact ratio, as Procgen does for backgrounds and
        faded pictures; for all others it uses the ratio truncated to fixed point.
    """
    pixels, length = np.broadcast_arrays(np.asarray(pixels), np.asarray(length, np.float64))
    ratio = FIXED * (pixels / length)
    step = ratio.astype(np.int32)
    if not exact:
        ratio = step.astype(np.float64)
    coarse = np.floor(ratio / _COARSE) * _COARSE
    fine = np.floor((ratio - coarse) / _FINE) * _FINE
    parts = [part.astype(np.float32) for part in (coarse, fine, ratio - coarse - fine)]
    return Axis(pair_of(length), step, (parts[0], parts[1], parts[2]), pixels.astype(np.int32))


def add(a: Any, b: Any) -> Pair:
    """Exact sum of two float32."""
    high = a + b
    back = high - a
    return Pair(high, (a - (high - back)) + (b - back))


def add_pairs(a: Pair, b: Pair) -> Pair:
    """Sum of two pairs, to about 48 bits."""
    total = add(a.high, b.high)
    return Pair(total.high, total.low + (a.low + b.low))


def split(value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two float32 of at most 12 bits each that add up to the value."""
    bits = jax.lax.bitcast_convert_type(value, jnp.int32) & _UPPER_BITS
    upper = jax.lax.bitcast_convert_type(bits, jnp.float32)
    return upper, value - upper


def multiply(a: jax.Array, b: jax.Array, product: jax.Array) -> Pair:
    """Exact product of two float32, given the rounded product."""
    (a1, a2), (b1, b2) = split(a), split(b)
    low = ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2
    return Pair(product, low)


def nearest(edge: Pair, size: int) -> jax.Array:
    """Nearest whole number, halves up, within 0 ... size. int32."""
    whole = jnp.floor(edge.high)
    part = edge.high - whole
    number = whole.astype(jnp.int32) + (edge.low >= 0.5 - part)
    return jnp.clip(number, 0, size)


def span_of(edge: Pair, axis: Axis, size: int, plain: jax.Array | bool = False) -> Span:
    """The pixels that a rectangle covers.

    Args:
      edge: where it begins.
      axis: how the picture is stretched over it, of a shape that broadcasts with the edge's.
      size: pixels of the frame.
      plain: whether it is filled with one colour: then every pixel shows the picture's first.
    """
    start = nearest(edge, size)
    stop = nearest(add_pairs(edge, axis.length), size)
    offset = add(start.astype(jnp.float32) + 0.5, -edge.high)
    terms = []
    for value in (*split(offset.high), offset.low - edge.low):
        terms += [value * part for part in axis.parts]
    whole = [jnp.floor(term) for term in terms]
    number = sum((each.astype(jnp.int32) for each in whole), jnp.int32(0))
    rest = sum((term - each for term, each in zip(terms, whole, strict=True)), jnp.float32(0))
    first = number + jnp.ceil(rest).astype(jnp.int32) - 1
    last = (first + axis.step * (stop - start - 1)) // FIXED
    # Procgen does not draw a last pixel that would lie beyond the picture.
    outside = (last < 0) | (last >= axis.pixels)
    drawn = stop - (outside & (stop > start))
    return Span(
        start,
        jnp.where(plain, stop, drawn),
        jnp.where(plain, 0, first),
        jnp.where(plain, 0, axis.step) + jnp.zeros_like(first),
    )


def shown(span: Span, pixel: Any) -> jax.Array:
    """The picture's pixel that a pixel of the frame shows; int32."""
    return (span.first + span.step * (pixel - span.start)) >> 16
