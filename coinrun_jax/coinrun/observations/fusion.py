"""Where XLA's fusion has to stop.

On CPU, XLA folds whatever it can into one loop over the final array. This makes a frame fast,
but an intermediate array that many pixels look up is then recomputed for every pixel, and a
reshape of the result determines the loop's shape, and with it whether LLVM can vectorise it.
On CPU, XLA drops `optimization_barrier` before it fuses, but it respects a branch that it cannot
decide at compile time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap


def written_out(function: Callable[..., Any], clock: jax.Array, *args: Any) -> Any:
    """`function(*args)`, computed once and written to memory before anything reads it.

    Args:
      function: pure; takes and returns pytrees of arrays.
      clock: int32, never negative, which XLA cannot know.
      *args: what `function` takes.
    """
    return _guarded(jax.jit(function))(clock, *args)  # jit: traced only once


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    @custom_vmap
    def call(clock: jax.Array, *args: Any) -> Any:
        return lax.platform_dependent(clock, *args, cpu=branch, default=barrier)

    def branch(clock: jax.Array, *args: Any) -> Any:
        shapes = jax.eval_shape(function, *args)

        def nothing(*args: Any) -> Any:
            del args
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        return lax.cond(clock.reshape(-1)[0] >= 0, function, nothing, *args)

    def barrier(clock: jax.Array, *args: Any) -> Any:
        del clock
        return lax.optimization_barrier(function(*args))

    @call.def_vmap
    def rule(size: int, batched: list[Any], clock: jax.Array, *args: Any) -> tuple[Any, Any]:
        # A plain vmap would batch the condition too and turn the branch into a select.
        axes = [jax.tree.map(lambda is_batched: 0 if is_batched else None, b) for b in batched[1:]]
        many = jax.vmap(function, in_axes=tuple(axes), axis_size=size)
        out = _guarded(many)(clock, *args)
        return out, jax.tree.map(lambda _: True, out)

    return call
