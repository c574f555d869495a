"""Policy and value networks, made by `make_network`.

A network maps observations [B, ...] to action logits [B, A], values [B] and the features
[B, F] from which both are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from coinrun_jax.checks import InputError, choice, shown
from train.config import NetworkConfig


class Output(NamedTuple):
    """Of a batch of observations."""

    logits: jax.Array  # float32 [B, A]
    value: jax.Array  # float32 [B]
    features: jax.Array  # float32 [B, F]


Apply = Callable[[Any, jax.Array], Output]
"""(network parameters, observations [B, ...]) -> `Output`."""


def _dense(width: int, dtype: jnp.dtype = jnp.float32, gain: float = 2**0.5) -> nn.Dense:
    return nn.Dense(width, dtype=dtype, kernel_init=nn.initializers.orthogonal(gain))


class _Heads(nn.Module):
    """Linear policy and value heads; the policy starts near uniform."""

    num_actions: int

    @nn.compact
    def __call__(self, features: jax.Array) -> Output:
        features = features.astype(jnp.float32)
        logits = _dense(self.num_actions, gain=0.01)(features)
        value = _dense(1, gain=1.0)(features)[..., 0]
        return Output(logits, value, features)


class MLP(nn.Module):
    """Two hidden layers over the flattened observation."""

    num_actions: int
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        x = observation.reshape(observation.shape[0], -1).astype(self.dtype)
        for _ in range(2):
            x = nn.relu(_dense(self.width, self.dtype)(x))
        return _Heads(self.num_actions)(x)


class _ResidualBlock(nn.Module):
    channels: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.Conv(self.channels, (3, 3), dtype=self.dtype)(nn.relu(x))
        y = nn.Conv(self.channels, (3, 3), dtype=self.dtype)(nn.relu(y))
        return x + y


class Impala(nn.Module):
    """IMPALA's residual network (Espeholt et al. 2018) as Procgen's agents use it.

    Three blocks of `width`, 2 `width` and 2 `width` channels, then 256 features.
    """

    num_actions: int
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        x = observation.astype(self.dtype)
        if observation.dtype == jnp.uint8:
            x = x / 255.0
        for channels in (self.width, 2 * self.width, 2 * self.width):
            x = nn.Conv(channels, (3, 3), dtype=self.dtype)(x)
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
            x = _ResidualBlock(channels, self.dtype)(x)
            x = _ResidualBlock(channels, self.dtype)(x)
        x = nn.relu(x).reshape(x.shape[0], -1)
        x = nn.relu(_dense(256, self.dtype)(x))
        return _Heads(self.num_actions)(x)


_NETWORKS: dict[str, type[nn.Module]] = {"mlp": MLP, "impala": Impala}
_READS_IMAGES = {"impala"}


def register_network(kind: str, module: type[nn.Module], reads_images: bool = False) -> None:
    """Make a network of your own known as `network.kind`, from a module given as a plugin.

    Args:
      kind: its name in configs.
      module: takes `num_actions`, `width` and `dtype`, and maps observations [B, ...] to `Output`.
      reads_images: whether observations must be [B, H, W, C].

    Raises:
      InputError: if the name belongs to another network.
    """
    if _NETWORKS.setdefault(kind, module) is not module:
        raise InputError(f"network.kind {shown(kind)} is registered already")
    if reads_images:
        _READS_IMAGES.add(kind)


class Network(NamedTuple):
    """A network's two functions."""

    init: Callable[[jax.Array, jax.Array], Any]
    """(key, observations [B, ...]) -> parameters."""
    apply: Apply


@cache
def make_network(
    config: NetworkConfig, observation_shape: tuple[int, ...], num_actions: int
) -> Network:
    """The network of a config. Equal arguments give the same functions and share programs.

    Raises:
      InputError: for an unknown kind, or one that cannot read such observations.
    """
    kind = choice("network.kind", config.kind, _NETWORKS)
    if kind in _READS_IMAGES and len(observation_shape) != 3:
        raise InputError(
            f"network.kind {kind} reads images, not observations of shape {observation_shape}"
        )
    module = _NETWORKS[kind](
        num_actions=num_actions, width=config.width, dtype=jnp.dtype(config.precision)
    )
    return Network(module.init, cast(Apply, module.apply))
