"""What a network computes on the way, by name, and the network with some of it replaced.

A network names an activation by passing it through `named`. Of a network that names none, every
module's output is an activation, named after the module's path. Nothing here has side effects:
these are functions of parameters and observations, for jit, vmap and grad.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from coinrun_jax.checks import InputError, choice

Substitute = jax.Array | Callable[[jax.Array], jax.Array]
"""An array that takes an activation's place, or a function of the activation that gives one."""


class _Named(nn.Module):
    """Does nothing, under a name, where `run` can look."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x


def named(name: str, x: jax.Array) -> jax.Array:
    """Name an activation, within a compact method of a module; returns it.

    Args:
      name: unlike that of any other activation of the network.
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
      replace: by name; what depends on an activation is computed from its substitute, which
        has its shape or is broadcast to it.

    Returns:
      the network's output, and all activations [B, ...] by name, in the order of computation
      (jit sorts them: see `names`), replaced ones as they were replaced.

    Raises:
      InputError: for a name that is not among them, and a shape that does not fit.
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
    """As `run`, with chosen activations replaced by arrays, as one program for every choice.

    Programs that differ may round differently. In this one, an activation that is replaced by
    itself, as this program has given it, changes no bit.

    Args:
      donors: [B, ...], by name of an activation.
      chosen: bool, of a shape that broadcasts to the donor's, under the same names; traced.
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
