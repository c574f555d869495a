"""Policy and value networks, made by `make_network`.

A network maps observations [B, ...] to action logits [B, A], values [B] and the features
[B, F] from which both are computed. One with a memory maps `Remembered` observations, and gives
its new memory, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from coinrun_jax.checks import InputError, choice, shown
from coinrun_jax.controllers import Remembered
from train.config import NetworkConfig


class Output(NamedTuple):
    """Of a batch of observations."""

    logits: jax.Array  # float32 [B, A]
    value: jax.Array  # float32 [B]
    features: jax.Array  # float32 [B, F]
    memory: jax.Array | None = None  # float32 [B, M], of a network that has one


Apply = Callable[[Any, Any], Output]
"""(network parameters, observations [B, ...]) -> `Output`. `Unrolled` for networks with a memory,
which take `Remembered` [B]."""


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
        return _Heads(self.num_actions)(_read_image(observation, self.width, self.dtype))


def _read_image(observation: jax.Array, width: int, dtype: Any) -> jax.Array:
    """IMPALA's features [B, 256] of images, within the module that calls it."""
    x = observation.astype(dtype)
    if observation.dtype == jnp.uint8:
        x = x / 255.0
    for channels in (width, 2 * width, 2 * width):
        x = nn.Conv(channels, (3, 3), dtype=dtype)(x)
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        x = _ResidualBlock(channels, dtype)(x)
        x = _ResidualBlock(channels, dtype)(x)
    x = nn.relu(x).reshape(x.shape[0], -1)
    return nn.relu(_dense(256, dtype)(x))


class _Encoder(nn.Module):
    """One hidden layer for symbols; for pixels IMPALA's, with a sixteenth of the channels."""

    width: int
    dtype: Any

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        if observation.dtype == jnp.uint8 and observation.ndim == 4:
            return _read_image(observation, max(self.width // 16, 1), self.dtype)
        x = observation.reshape(observation.shape[0], -1).astype(self.dtype)
        return nn.relu(_dense(self.width, self.dtype)(x))


class GRU(nn.Module):
    """A gated recurrent unit (Cho et al. 2014) between an encoder and the heads."""

    num_actions: int
    width: int
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.encoder = _Encoder(self.width, self.dtype)
        self.cell = nn.GRUCell(self.width)
        self.heads = _Heads(self.num_actions)

    def __call__(self, given: Remembered) -> Output:
        """One step of B episodes."""
        features = self.encoder(given.seen).astype(jnp.float32)
        memory = _go_on(self.cell, given.memory, (features, given.fresh))[0]
        return self.heads(memory)._replace(memory=memory)

    def unroll(self, given: Remembered) -> Output:
        """T steps of B episodes [T, B], from the memory of the first step; `Output` [T * B]."""
        steps, size = given.fresh.shape
        seen = given.seen.reshape(steps * size, *given.seen.shape[2:])
        features = self.encoder(seen).astype(jnp.float32).reshape(steps, size, -1)
        scan = nn.scan(_go_on, variable_broadcast="params", split_rngs={"params": False})
        _, memory = scan(self.cell, given.memory[0], (features, given.fresh))
        memory = memory.reshape(steps * size, self.width)
        return self.heads(memory)._replace(memory=memory)


def _go_on(
    cell: nn.GRUCell, memory: jax.Array, step: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The memory after a step, twice, as `scan` wants it."""
    features, fresh = step
    memory, _ = cell(jnp.where(fresh[:, None], 0.0, memory), features)
    return memory, memory


@dataclass(frozen=True)
class Unrolled:
    """`Apply` of a network with a memory."""

    module: nn.Module
    memory: int
    """Size M."""

    def __call__(self, params: Any, given: Remembered) -> Output:
        return cast(Output, self.module.apply(params, given))

    def unroll(self, params: Any, given: Remembered) -> Output:
        """T steps at once: `Remembered` [T, B] -> `Output` [T * B]."""
        return cast(Output, self.module.apply(params, given, method="unroll"))

    def init(self, key: jax.Array, observations: jax.Array) -> Any:
        """Parameters; consumes `key`."""
        return self.module.init(key, nothing_remembered(observations, self.memory))


def nothing_remembered(observations: jax.Array, size: int) -> Remembered:
    """Observations [B, ...] with which episodes begin."""
    count = observations.shape[0]
    return Remembered(observations, jnp.zeros((count, size), jnp.float32), jnp.ones(count, bool))


_NETWORKS: dict[str, type[nn.Module]] = {"mlp": MLP, "impala": Impala, "gru": GRU}
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
    if has_memory(config):
        unrolled = Unrolled(module, config.width)
        return Network(unrolled.init, unrolled)
    return Network(module.init, cast(Apply, module.apply))


def has_memory(config: NetworkConfig) -> bool:
    """Whether a config's network carries a memory from step to step."""
    return hasattr(_NETWORKS.get(config.kind), "unroll")
