"""Policy and value networks, built by `make_network`.

A network maps observations [B, ...] to action logits [B, A], values [B] and the features
[B, F] from which both are computed. A recurrent network maps `Remembered` observations and also
returns its new memory. Intermediate activations have names: see `activations`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from coinrun_jax.checks import InputError, choice, shown
from coinrun_jax.controllers import Remembered
from train.activations import Substitute, named, names, patch, run
from train.config import NetworkConfig


class Output(NamedTuple):
    """A network's output for a batch of observations."""

    logits: jax.Array  # float32 [B, A]
    value: jax.Array  # float32 [B]
    features: jax.Array  # float32 [B, F]
    memory: jax.Array | None = None  # float32 [B, M], if the network has one


Apply = Callable[[Any, Any], Output]
"""(network parameters, observations [B, ...]) -> `Output`. `Unrolled` for recurrent networks,
which take `Remembered` [B]."""


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


def _hidden_layers(x: jax.Array, width: int, dtype: Any) -> jax.Array:
    """Two hidden layers, within a compact method; [B, width]."""
    for number in (1, 2):
        x = named(f"hidden_{number}", nn.relu(_dense(width, dtype)(x)))
    return x


def _scaled(observation: jax.Array, dtype: Any) -> jax.Array:
    """uint8 observations scaled to [0, 1]; other types keep their values."""
    x = observation.astype(dtype)
    return x / 255.0 if observation.dtype == jnp.uint8 else x


class MLP(nn.Module):
    """Two hidden layers over the flattened observation."""

    num_actions: int
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        x = _scaled(observation.reshape(observation.shape[0], -1), self.dtype)
        return _Heads(self.num_actions)(_hidden_layers(x, self.width, self.dtype))


class _ResidualBlock(nn.Module):
    channels: int
    dtype: Any
    label: str
    """Name of its output; `label`_branch is what it adds to its input."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.Conv(self.channels, (3, 3), dtype=self.dtype)(nn.relu(x))
        y = nn.Conv(self.channels, (3, 3), dtype=self.dtype)(nn.relu(y))
        return named(self.label, x + named(f"{self.label}_branch", y))


def convolutional_features(
    observation: jax.Array, width: int, dtype: Any, pool_padding: Any
) -> jax.Array:
    """IMPALA's three blocks and 256 features, within a compact method; [B, 256]."""
    x = _scaled(observation, dtype)
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
    pool_padding: ClassVar[Any] = "SAME"

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        x = convolutional_features(observation, self.width, self.dtype, self.pool_padding)
        return _Heads(self.num_actions)(x)


class TorchImpala(Impala):
    """`Impala` as implemented in PyTorch, with the same parameters; `torch_impala` converts them.

    PyTorch pads both sides before pooling, so its windows begin one pixel earlier.
    """

    width: int = 16
    pool_padding: ClassVar[Any] = ((1, 1), (1, 1))


_PATCH = 4
_GREY = (0.299, 0.587, 0.114)
"""Luma of red, green and blue (ITU-R BT.601)."""


def _patches(image: jax.Array, size: int) -> jax.Array:
    """[B, H, W, C] -> [B, H / size, W / size, size * size * C]; zeros beyond the edges."""
    batch, *sides, channels = image.shape
    pad = [(0, -side % size) for side in sides]
    image = jnp.pad(image, ((0, 0), *pad, (0, 0)))
    rows, columns = (-(-side // size) for side in sides)
    parts = image.reshape(batch, rows, size, columns, size, channels).swapaxes(2, 3)
    return parts.reshape(batch, rows, columns, size * size * channels)


class Patches(nn.Module):
    """A small image network for CPUs, made only of large matrix products.

    One layer shared by all patches of 4 x 4 pixels, another by all 2 x 2 groups of these, then
    two hidden layers over everything. With width 256, a 64 x 64 image takes 1.9 MFLOP.
    """

    num_actions: int
    width: int
    dtype: Any = jnp.float32
    grey: ClassVar[bool] = False

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        x = _scaled(observation, self.dtype)
        if self.grey and x.shape[-1] == len(_GREY):
            x = jnp.sum(x * jnp.array(_GREY, self.dtype), axis=-1, keepdims=True)
        for number, size in enumerate((_PATCH, 2), start=1):
            channels = max(self.width // 32, 1) * 2**number
            x = nn.relu(_dense(channels, self.dtype)(_patches(x, size)))
            x = named(f"patches_{number}", x)
        x = _hidden_layers(x.reshape(x.shape[0], -1), self.width, self.dtype)
        return _Heads(self.num_actions)(x)


class GreyPatches(Patches):
    """`Patches` on greyscale images."""

    width: int = 256
    grey: ClassVar[bool] = True


class _Encoder(nn.Module):
    """One hidden layer for symbols; IMPALA with `width` / 16 channels for pixels."""

    width: int
    dtype: Any

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        if observation.dtype == jnp.uint8 and observation.ndim == 4:
            return convolutional_features(observation, max(self.width // 16, 1), self.dtype, "SAME")
        x = _scaled(observation.reshape(observation.shape[0], -1), self.dtype)
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
    """The memory after a step, twice, as `scan` expects."""
    features, fresh = step
    memory, _ = cell(jnp.where(fresh[:, None], 0.0, memory), features)
    return memory, memory


@dataclass(frozen=True)
class Unrolled:
    """`Apply` of a recurrent network."""

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
    """First observations [B, ...] of episodes, with an empty memory."""
    count = observations.shape[0]
    return Remembered(observations, jnp.zeros((count, size), jnp.float32), jnp.ones(count, bool))


_NETWORKS: dict[str, type[nn.Module]] = {
    "mlp": MLP,
    "impala": Impala,
    "torch_impala": TorchImpala,
    "patches": Patches,
    "grey_patches": GreyPatches,
    "gru": GRU,
}
_READS_IMAGES = {"impala", "torch_impala", "patches", "grey_patches"}


def register_network(kind: str, module: type[nn.Module], reads_images: bool = False) -> None:
    """Register your own network as a `network.kind`, from a plugin module.

    Args:
      kind: its name in configs.
      module: takes `num_actions`, `width` and `dtype`, and maps observations [B, ...] to `Output`.
      reads_images: whether observations must be [B, H, W, C].

    Raises:
      InputError: if the name belongs to another network.
    """
    if _NETWORKS.setdefault(kind, module) is not module:
        raise InputError(f"network.kind {shown(kind)} is already registered")
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
        """Its activations [B, ...] by name, in the order of computation."""
        return run(self.module, params, observations)[1]

    def intervene(
        self, params: Any, observations: jax.Array, replace: Mapping[str, Substitute]
    ) -> Output:
        """The output with some activations replaced; see `activations.run`.

        Raises:
          InputError: as `activations.run`.
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
    """The network of a config. Equal arguments give the same functions and compiled programs.

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
        return Network(unrolled.init, unrolled, module)
    return Network.of(module)


def has_memory(config: NetworkConfig) -> bool:
    """Whether a config's network carries a memory from step to step."""
    return hasattr(_NETWORKS.get(config.kind), "unroll")
