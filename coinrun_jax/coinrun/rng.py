"""The first outputs of the 32-bit Mersenne Twister, which Procgen uses.

Matsumoto and Nishimura (1998), parameters of `std::mt19937`. A level needs at most 125
draws, and output k < 227 depends only on the seeded words k, k + 1 and k + 397, so the
full state of 624 words is never built.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

MAX_DRAWS = 125  # 123 in a hard level, two more for the random-coin variants of procgenAISC
_SHIFT = 397


def mt19937(seed: jax.Array) -> jax.Array:
    """First outputs of `std::mt19937(seed)`.

    Args:
      seed: uint32 [].

    Returns:
      uint32 [MAX_DRAWS].
    """

    def next_word(word: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        word = jnp.uint32(1812433253) * (word ^ (word >> 30)) + index
        return word, word

    first = jnp.asarray(seed, jnp.uint32)
    _, rest = jax.lax.scan(next_word, first, jnp.arange(1, MAX_DRAWS + _SHIFT, dtype=jnp.uint32))
    words = jnp.concatenate([first[None], rest])

    here, following = words[:MAX_DRAWS], words[1 : MAX_DRAWS + 1]
    mixed = (here & jnp.uint32(0x80000000)) | (following & jnp.uint32(0x7FFFFFFF))
    odd = jnp.where(following & 1 == 1, jnp.uint32(0x9908B0DF), jnp.uint32(0))
    out = words[_SHIFT:] ^ (mixed >> 1) ^ odd

    out ^= out >> 11
    out ^= (out << 7) & jnp.uint32(0x9D2C5680)
    out ^= (out << 15) & jnp.uint32(0xEFC60000)
    return out ^ (out >> 18)


def randn(output: jax.Array, n: jax.Array | int) -> jax.Array:
    """Procgen's integer draw: an output modulo n, int32 in [0, n); n < 1 counts as 1."""
    bound = jnp.maximum(jnp.asarray(n, jnp.int32), 1).astype(jnp.uint32)
    return (output % bound).astype(jnp.int32)


def rand01(output: jax.Array) -> jax.Array:
    """Procgen's float draw: an output over 2^32, float32 in [0, 1]."""
    return output.astype(jnp.float32) / jnp.float32(4294967296.0)
