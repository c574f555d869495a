"""Policy and value networks, made by `make_network`.

A network maps observations [B, ...] to action logits [B, A], values [B] and the features
[B, F] from which both are computed. What it computes on the way has names: see `activations`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from coinrun_jax.checks import InputError, choice, shown
from train.activations import Substitute, named, names, patch, run
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
        features = named("features", features.astype(jnp.float32))
        logits = named("logits", _dense(self.num_actions, gain=0.01)(features))
        value = named("value", _dense(1, gain=1.0)(features)[..., 0])
        return Output(logits, value, features)


class MLP(nn.Module):
    """Two hidden layers over the flattened observation."""

    num_actions: int
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        x = observation.reshape(observation.shape[0], -1).astype(self.dtype)
        for number in (1, 2):
            x = named(f"hidden_{number}", nn.relu(_dense(self.width, self.dtype)(x)))
        return _Heads(self.num_actions)(x)


class _ResidualBlock(nn.Module):
    channels: int
    dtype: Any
    label: str
    """Of its output; `label`_branch is what it adds to its input."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.Conv(self.channels, (3, 3), dtype=self.dtype)(nn.relu(x))
        y = nn.Conv(self.channels, (3, 3), dtype=self.dtype)(nn.relu(y))
        return named(self.label, x + named(f"{self.label}_branch", y))


def convolutional_features(
    observation: jax.Array, width: int, dtype: Any, pool_padding: Any
) -> jax.Array:
    """IMPALA's three blocks and 256 features, within a compact method; [B, 256]."""
    x = observation.astype(dtype)
    if observation.dtype == jnp.uint8:
        x = x / 255.0
    for number, channels in enumerate((width, 2 * width, 2 * width), start=1):
        x = nn.Conv(channels, (3, 3), dtype=dtype)(x)
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=pool_padding)
        x = named(f"block_{number}_pooled", x)
        for residual in (1, 2):
            x = _ResidualBlock(channels, dtype, f"block_{number}_residual_{residual}")(x)
    x = nn.relu(x).reshape(x.shape[0], -1)
    return nn.relu(_dense(256, dtype)(x))


class Impala(nn.Module):
    """IMPALA's residual network (Espeholt et al. 2018) as Procgen's agents use it.

    Three blocks of `width`, 2 `width` and 2 `width` channels, then 256 features.
    """

    num_actions: int
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        x = convolutional_features(observation, self.width, self.dtype, "SAME")
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
    """A network's functions."""

    init: Callable[[jax.Array, jax.Array], Any]
    """(key, observations [B, ...]) -> parameters."""
    apply: Apply
    module: nn.Module

    @classmethod
    def of(cls, module: nn.Module) -> Network:
        """The functions of a module."""
        return cls(module.init, cast(Apply, module.apply), module)

    def activations(self, params: Any, observations: jax.Array) -> dict[str, jax.Array]:
        """What it computes on the way; [B, ...] by name, in the order of computation."""
        return run(self.module, params, observations)[1]

    def intervene(
        self, params: Any, observations: jax.Array, replace: Mapping[str, Substitute]
    ) -> Output:
        """The output with some activations replaced; see `activations.run`.

        Raises:
          InputError: as there.
        """
        return run(self.module, params, observations, replace)[0]

    def names(self, params: Any, observations: Any) -> tuple[str, ...]:
        """Names of its activations in the order of computation; arguments may be shapes."""
        return names(self.module, params, observations)

    def patch(
        self,
        params: Any,
        observations: jax.Array,
        donors: Mapping[str, jax.Array],
        chosen: Mapping[str, jax.Array],
    ) -> tuple[Output, dict[str, jax.Array]]:
        """Output and activations, chosen ones replaced by arrays; see `activations.patch`."""
        return patch(self.module, params, observations, donors, chosen)


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
    return Network.of(module)
