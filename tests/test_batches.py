"""One program for batches of many sizes: the same results, and fewer compilations."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coinrun_jax.batches import share_programs, shared_size
from coinrun_jax.coinrun.generator import generate_levels
from coinrun_jax.coinrun.pool import build_pool


@jax.jit
def plain(batch):
    return {"both": batch["a"] * 2 + batch["b"][:, 0], "b": batch["b"]}


shared = share_programs(plain)


def batch_of(number):
    return {"a": np.arange(number, dtype=np.float32), "b": np.ones((number, 3), np.float32)}


@given(st.integers(1, 10**7))
def test_a_shared_size_is_at_least_the_size_and_not_far_above(number):
    size = shared_size(number)
    assert size >= number
    assert size <= max(64, 2 * number)
    assert size - number < 4096
    assert shared_size(size) == size


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 300))
def test_results_are_those_of_the_batch_alone(number):
    if number:
        jax.tree.map(
            np.testing.assert_array_equal, shared(batch_of(number)), plain(batch_of(number))
        )
    else:
        assert shared(batch_of(0))["both"].shape == (0,)


def test_sizes_share_programs():
    counted = jax.jit(lambda batch: batch["a"] + 1)
    for number in (2, 20, 64, 65, 100, 128):
        assert share_programs(counted)(batch_of(number)).shape == (number,)
    assert counted._cache_size() == 2


@pytest.mark.parametrize("inside", [jax.jit, jax.vmap])
def test_traced_into_another_program_nothing_is_padded(inside):
    several = {name: np.stack([leaf] * 2) for name, leaf in batch_of(5).items()}
    given = several if inside is jax.vmap else batch_of(5)
    traced = str(jax.make_jaxpr(inside(shared))(given))
    assert "64" not in traced
    constant = jax.jit(lambda: shared(batch_of(5)))()  # known, and yet traced
    np.testing.assert_array_equal(constant["both"], plain(batch_of(5))["both"])


def test_pools_of_few_levels_are_those_of_many():
    many = build_pool(generate_levels(np.arange(100, dtype=np.uint32), "hard"))
    few = build_pool(generate_levels(np.arange(70, dtype=np.uint32), "hard"))
    assert few.num_drawable == 70
    assert few.drawable.tolist() == list(range(70))
    count = {"drawable": 0, "num_drawable": 0}
    few, many = jax.device_get((few.replace(**count), many.replace(**count)))
    own = jax.tree.map(lambda leaf: leaf[:70] if np.ndim(leaf) else leaf, many)
    jax.tree.map(np.testing.assert_array_equal, few, own)
