"""A network's activations by name, and the network with some of them replaced.

A network names an activation by passing it through `named`. If it names none, every module's
output is an activation, named after the module's path. Everything here is a pure function of
parameters and observations, for jit, vmap and grad.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from coinrun_jax.checks import InputError, choice

Substitute = jax.Array | Callable[[jax.Array], jax.Array]
"""An array that replaces an activation, or a function from the activation to one."""


class _Named(nn.Module):
    """An identity module whose name `run` can find."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x


def named(name: str, x: jax.Array) -> jax.Array:
    """Name an activation, within a compact method of a module; returns it.

    Args:
      name: unique among the network's activations.
    """
    return _Named(name=name)(x)


def run(
    module: nn.Module,
    params: Any,
    observations: jax.Array,
    replace: Mapping[str, Substitute] | None = None,
) -> tuple[Any, dict[str, jax.Array]]:
    """Apply a network with some activations replaced.

    Args:
      observations: [B, ...].
      replace: substitutes by name, of the activation's shape or broadcast to it; everything
        downstream is computed from them.

    Returns:
      the network's output, and all activations [B, ...] by name, in the order of computation
      (jit sorts them: see `names`), with substitutes in place of replaced ones.

    Raises:
      InputError: for an unknown name or a shape that does not fit.
    """
    replace = replace or {}
    by_name: dict[str, jax.Array] = {}
    by_path: dict[str, jax.Array] = {}

    def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        result = call(*args, **kwargs)
        path = context.module.path
        if context.method_name != "__call__" or not path or not isinstance(result, jax.Array):
            return result
        is_named = isinstance(context.module, _Named)
        found = by_name if is_named else by_path
        name = _unused(path[-1] if is_named else "/".join(path), found)
        if name in replace:
            result = _replaced(name, result, replace[name])
        found[name] = result
        return result

    with nn.intercept_methods(intercept):
        output = module.apply(params, observations)
    for name in replace:
        choice("activation", name, [*by_name, *by_path])
    return output, by_name or by_path


def names(module: nn.Module, params: Any, observations: Any) -> tuple[str, ...]:
    """Names of a network's activations in the order of computation; nothing is computed.

    Args:
      params, observations: arrays, or shapes.
    """
    found: list[str] = []

    def trace(params: Any, observations: jax.Array) -> None:
        found.extend(run(module, params, observations)[1])

    jax.eval_shape(trace, params, observations)
    return tuple(found)


def patch(
    module: nn.Module,
    params: Any,
    observations: jax.Array,
    donors: Mapping[str, jax.Array],
    chosen: Mapping[str, jax.Array],
) -> tuple[Any, dict[str, jax.Array]]:
    """Like `run`, with chosen activations replaced by arrays; one program serves every choice.

    Different programs may round differently. In this one, replacing an activation by itself, as
    this program computed it, changes no bit.

    Args:
      donors: [B, ...], by activation name.
      chosen: bool, broadcastable to the donor's shape, under the same names; traced.
    """

    def choose(name: str) -> Substitute:
        return lambda own: jnp.where(chosen[name], donors[name].astype(own.dtype), own)

    return run(module, params, observations, {name: choose(name) for name in donors})


def _unused(name: str, found: Mapping[str, Any]) -> str:
    """The name, or name.2, name.3, ... where a module is called again."""
    number, unused = 1, name
    while unused in found:
        number += 1
        unused = f"{name}.{number}"
    return unused


def _replaced(name: str, activation: jax.Array, substitute: Substitute) -> jax.Array:
    new = jnp.asarray(substitute(activation) if callable(substitute) else substitute)
    try:
        return jnp.broadcast_to(new, activation.shape).astype(activation.dtype)
    except ValueError as error:
        raise InputError(
            f"activation {name!r} has shape {activation.shape}, its substitute {new.shape}"
        ) from error
