"""Running batches of many sizes through few compiled programs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax
import numpy as np

_LEAST, _MOST = 64, 4096
_P = ParamSpec("_P")
_T = TypeVar("_T")


def shared_size(number: int) -> int:
    """The smallest batch size of at least `number` that programs are compiled for: 1, powers of
    two from 64 to 4,096, then multiples of 4,096.
    """
    if number <= 1:  # single levels often come one after another
        return number
    if number > _MOST:
        return -(-number // _MOST) * _MOST
    return max(_LEAST, 1 << (number - 1).bit_length())


def share_programs(
    function: Callable[Concatenate[Any, _P], _T],
) -> Callable[Concatenate[Any, _P], _T]:
    """Pad a jitted function's batches and trim its results, so that few sizes are compiled.

    Args:
      function: jitted; maps its first argument, a pytree of arrays [N, ...], to another one, row
        by row. When it is traced into another program, nothing is padded.
    """

    @wraps(function)
    def padded(batch: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        leaves = jax.tree.leaves(batch)
        number = len(leaves[0])
        size = shared_size(number)
        if number == size or any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return function(batch, *args, **kwargs)
        rows = np.arange(size) % number
        whole = function(jax.tree.map(lambda leaf: np.asarray(leaf)[rows], batch), *args, **kwargs)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(whole)):
            return jax.tree.map(lambda leaf: leaf[:number], whole)
        # On the host, where slicing compiles nothing.
        own = jax.tree.map(lambda leaf: leaf[:number], jax.device_get(whole))
        return jax.device_put(own)

    return padded
