"""The Mersenne Twister against NumPy's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.rng import MAX_DRAWS, mt19937, rand01, randn


def numpys(seed: int) -> np.ndarray:
    twister = np.random.MT19937()
    twister._legacy_seeding(seed)
    return twister.random_raw(MAX_DRAWS).astype(np.uint32)


def test_first_outputs_equal_numpys_for_any_seed():
    seeds = [0, 1, 5489, 2**31 - 1, 2**32 - 1, *np.random.default_rng(0).integers(2**32, size=20)]
    outputs = jax.jit(jax.vmap(mt19937))(jnp.array(seeds, jnp.uint32))
    for seed, output in zip(seeds, outputs, strict=True):
        np.testing.assert_array_equal(output, numpys(int(seed)))


def test_randn_is_the_remainder_of_an_unsigned_word():
    words = jnp.array([0, 7, 2**31 + 5, 2**32 - 1], jnp.uint32)
    np.testing.assert_array_equal(randn(words, 10), [0, 7, (2**31 + 5) % 10, (2**32 - 1) % 10])


def test_rand01_rounds_to_float32():
    words = np.array([0, 1, 2**31, 2**32 - 1], np.uint32)
    np.testing.assert_array_equal(rand01(jnp.asarray(words)), words.astype(np.float32) / 2**32)
