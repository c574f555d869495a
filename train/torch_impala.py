"""Converts PyTorch IMPALA weights to our network and back, as named arrays, without torch.

The layout is the usual one, of train-procgen-pytorch and its derivatives: a state dict with
`embedder.block1.conv.weight` ... `embedder.fc.weight`, `fc_policy.*`, `fc_value.*`.
Where torch is installed, this extracts the arrays; `weights_only` executes nothing in the file:

    saved = torch.load(FILE, map_location="cpu", weights_only=True)
    weights = saved.get("model_state_dict", saved.get("state_dict", saved))
    numpy.savez("weights.npz", **{name: value.numpy() for name, value in weights.items()})

They are the parameters of `network.kind: torch_impala`; `import_torch` is the command. Both
networks take uint8 images and divide them by 255.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import numpy as np

from coinrun_jax.checks import InputError, shown
from coinrun_jax.files import Array, array_names, read_arrays

FEATURES = 256
BLOCKS = 3
MOST_BYTES = 2**28  # of a file's arrays; the usual network has 2.5 MB
_SIDE = 8  # pixels of the last block's images, both ways
_FIRST_BIAS, _POLICY_BIAS = "embedder.block1.conv.bias", "fc_policy.bias"


class Shape(NamedTuple):
    """Size of a network."""

    width: int  # channels of the first block
    num_actions: int


def _layers() -> Iterator[tuple[str, str]]:
    """Each layer's name in torch and its path in our parameters."""
    for block in range(BLOCKS):
        torch = f"embedder.block{block + 1}"
        yield f"{torch}.conv", f"Conv_{block}"
        for residual in range(2):
            ours = f"_ResidualBlock_{2 * block + residual}"
            for conv in range(2):
                yield f"{torch}.res{residual + 1}.conv{conv + 1}", f"{ours}/Conv_{conv}"
    yield "embedder.fc", "Dense_0"
    yield "fc_policy", "_Heads_0/Dense_0"
    yield "fc_value", "_Heads_0/Dense_1"


def _torch_shapes(width: int, num_actions: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    channels = (3, width, 2 * width, 2 * width)
    for torch, _ in _layers():
        if "block" in torch:
            block = int(torch.partition("block")[2][0])
            read = channels[block - 1] if torch.endswith(".conv") else channels[block]
            weight: tuple[int, ...] = (channels[block], read, 3, 3)
        else:
            read = 2 * width * _SIDE * _SIDE if torch == "embedder.fc" else FEATURES
            weight = ({"fc_policy": num_actions, "fc_value": 1}.get(torch, FEATURES), read)
        shapes |= {f"{torch}.weight": weight, f"{torch}.bias": weight[:1]}
    return shapes


def _flat_order(width: int) -> np.ndarray:
    """Index of each of our flattened features among torch's: our channels come last."""
    channels = 2 * width
    order = np.arange(channels * _SIDE * _SIDE).reshape(channels, _SIDE, _SIDE)
    return order.transpose(1, 2, 0).reshape(-1)


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a state dict in an .npz archive; nothing in it is executed.

    Raises:
      InputError: for a file that is not an archive, or holds anything but finite floats.
    """
    names = array_names(path, "weights")
    expected = {name: Array("f", (...,)) for name in names}
    return read_arrays(path, "weights", expected, MOST_BYTES)


def shape_of(weights: Mapping[str, np.ndarray]) -> Shape:
    """The network's size, from its biases.

    Raises:
      InputError: if they are missing.
    """
    biases = {name: np.shape(weights.get(name, 0.0)) for name in (_POLICY_BIAS, _FIRST_BIAS)}
    if any(len(shape) != 1 for shape in biases.values()):
        raise InputError(
            "these are not the weights of an IMPALA network: no " + " or ".join(biases)
        )
    return Shape(biases[_FIRST_BIAS][0], biases[_POLICY_BIAS][0])


def from_torch(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Parameters of `networks.TorchImpala` from a state dict's arrays.

    Args:
      weights: float32 arrays by torch's names; nothing may be missing or left over.

    Returns:
      A tree of float32 numpy arrays, {"params": ...}.

    Raises:
      InputError: for names or shapes of another network, or non-finite numbers.
    """
    width, num_actions = shape_of(weights)
    expected = _torch_shapes(width, num_actions)
    if odd := sorted(set(weights) ^ set(expected)):
        what = "lack" if odd[0] in expected else "have an unexpected"
        raise InputError(f"the weights {what} {shown(odd[0])}")
    for name, shape in expected.items():
        array = np.asarray(weights[name])
        if array.shape != shape:
            raise InputError(f"{name} has shape {list(array.shape)}, not {list(shape)}")
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise InputError(f"{name} does not hold finite numbers")
    flat: dict[str, np.ndarray] = {}
    for torch, ours in _layers():
        weight = np.asarray(weights[f"{torch}.weight"], np.float32)
        if weight.ndim == 4:
            kernel = weight.transpose(2, 3, 1, 0)
        else:
            kernel = weight.T[_flat_order(width)] if torch == "embedder.fc" else weight.T
        flat[f"params/{ours}/kernel"] = kernel
        flat[f"params/{ours}/bias"] = np.asarray(weights[f"{torch}.bias"], np.float32)
    return flax.traverse_util.unflatten_dict(flat, sep="/")


def to_torch(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A state dict's arrays from parameters of `networks.TorchImpala`; the inverse of `from_torch`.

    Raises:
      InputError: for parameters of another network.
    """
    flat = flax.traverse_util.flatten_dict(dict(params), sep="/")
    layers = dict(_layers())
    expected = {f"params/{ours}/{kind}" for ours in layers.values() for kind in ("kernel", "bias")}
    if odd := sorted(set(flat) ^ expected):
        raise InputError(f"these are not the parameters of an IMPALA network: {shown(odd[0])}")
    weights: dict[str, np.ndarray] = {}
    width = flat["params/Conv_0/bias"].shape[0]
    for torch, ours in layers.items():
        kernel = np.asarray(flat[f"params/{ours}/kernel"], np.float32)
        if kernel.ndim == 4:
            weight = kernel.transpose(3, 2, 0, 1)
        else:
            restored = np.empty_like(kernel)
            restored[_flat_order(width) if torch == "embedder.fc" else slice(None)] = kernel
            weight = restored.T
        weights[f"{torch}.weight"] = np.ascontiguousarray(weight)
        weights[f"{torch}.bias"] = np.asarray(flat[f"params/{ours}/bias"], np.float32)
    return weights
