"""The policy alone: plain arrays and JSON that load on any device, without the run.

`policy.npz` holds the network's parameters by path, `policy.json` the run's config. Neither can
contain code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import InputError, shown, whole
from coinrun_jax.files import (
    Array,
    array_names,
    read_arrays,
    read_mapping,
    write_json,
    writing,
)
from coinrun_jax.registry import testbed_of
from coinrun_jax.testbed import EnvConfig
from train.config import TrainConfig, config_from_dict, plugins_in
from train.environment import network_of, observation_space
from train.networks import Apply, Network, has_memory

ARRAYS, DESCRIPTION = "policy.npz", "policy.json"
MOST_DESCRIPTION = 2**20  # bytes
_FORMAT = 1


class PolicyError(InputError):
    """A folder's policy cannot be loaded."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """A trained network and the config of its run."""

    config: TrainConfig
    params: Any
    """A tree of float32 numpy arrays; loading puts nothing on a device."""
    network: Apply
    update: int
    """Number of updates of training."""

    @property
    def env_config(self) -> EnvConfig:
        return self.config.env

    @property
    def steps(self) -> int:
        """Environment steps of training."""
        return self.config.steps_at(self.update)

    @property
    def sha256(self) -> str:
        """Hash of the parameters' paths, shapes and bytes."""
        digest = hashlib.sha256()
        for path, leaf in sorted(flax.traverse_util.flatten_dict(self.params, sep="/").items()):
            digest.update(f"{path} {leaf.shape} ".encode() + np.asarray(leaf).tobytes())
        return digest.hexdigest()

    @property
    def has_memory(self) -> bool:
        """Whether the network carries a memory from step to step."""
        return has_memory(self.config.network)

    def apply(self, observation: Any) -> tuple[jax.Array, jax.Array]:
        """Logits [B, A] and values [B] for observations [B, ...], `Remembered` for a recurrent
        network; pure, can be jitted.
        """
        output = self.network(self.params, observation)
        return output.logits, output.value


def save_policy(folder: Path, params: Any, config: TrainConfig, update: int) -> None:
    """Write the two files, each atomically.

    Args:
      config: of the run; stored with the settings of the stage that the update belongs to.
    """
    config = config.as_of(update)
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    description = {
        "format": _FORMAT,
        "environment": config.env.id,
        "update": update,
        "steps": config.steps_at(update),
        "config": dataclasses.asdict(config),
    }
    with writing(folder / ARRAYS) as part, open(part, "wb") as file:
        np.savez(file, allow_pickle=False, **{path: np.asarray(flat[path]) for path in flat})
    write_json(folder / DESCRIPTION, description)


def updates_of(folder: Path) -> int:
    """Updates of a folder's policy; -1 if there is no readable one."""
    try:
        update = _read_description(folder).get("update")
    except InputError:
        return -1
    return update if isinstance(update, int) else -1


def _read_description(folder: Path) -> dict[str, Any]:
    return read_mapping(folder / DESCRIPTION, "policy", MOST_DESCRIPTION)


def load_policy(folder: str | Path, plugins: Sequence[str] = ()) -> Policy:
    """Load the policy of a run directory, or of any folder with the two files.

    Compiles nothing, and runs no code that only the folder names.

    Args:
      plugins: modules named by the user; they must include those used in training.

    Raises:
      PolicyError: if there is no policy, or it does not fit this version of its environment.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise PolicyError(f"{folder} is not a run directory: there is no such folder")
    for name in (DESCRIPTION, ARRAYS):
        if not os.path.lexists(folder / name):
            raise PolicyError(_missing(folder, name))
    try:
        description = _read_description(folder)
        config, update = _described(description, plugins)
        network = network_of(config.network, config.env)
        shapes = _shapes(network, config)
        flat = read_arrays(folder / ARRAYS, "policy", _expected(folder, shapes))
    except PolicyError as error:
        raise PolicyError(f"{folder} {error}") from error
    except InputError as error:
        raise PolicyError(f"{folder} holds no readable policy: {error}") from error
    params = flax.traverse_util.unflatten_dict(flat, sep="/")
    return Policy(config=config, params=params, network=network.apply, update=update)


def _missing(folder: Path, name: str) -> str:
    seeds = sorted(path.parent.name for path in folder.glob(f"seed_*/{DESCRIPTION}"))
    if seeds:
        return f"{folder} holds {len(seeds)} policies; give one of {', '.join(seeds)} in it"
    return f"{folder} holds no trained policy: {name} is missing"


def _described(description: dict[str, Any], plugins: Sequence[str]) -> tuple[TrainConfig, int]:
    """Config and updates.

    Raises:
      InputError: if this version cannot play the policy.
    """
    for name in ("format", "environment", "update", "config"):
        if name not in description:
            raise InputError(f"{DESCRIPTION} has no {name!r}")
    if description["format"] != _FORMAT:
        raise PolicyError(f"has policy format {shown(description['format'])}, not {_FORMAT}")
    values = description["config"]
    named = plugins_in(values) if isinstance(values, dict) else []
    if missing := [name for name in named if name not in plugins]:
        raise PolicyError(f"was trained with plugins; give --plugins {' '.join(missing)}")
    config = config_from_dict(values)
    if description["environment"] != config.env.id:
        raise PolicyError(
            f"was trained on {shown(description['environment'])}; its config names {config.env.id}"
        )
    testbed_of(config.env).require_usable(config.env)
    return config, whole("update", description["update"], 0, 2**31 - 1)


def _shapes(network: Network, config: TrainConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the network's parameters, by path."""

    def init() -> Any:
        space = observation_space(config.env)
        return network.init(jax.random.key(0), jnp.zeros((1, *space.shape), space.dtype))

    flat = flax.traverse_util.flatten_dict(jax.eval_shape(init), sep="/")
    return {path: leaf.shape for path, leaf in flat.items()}


def _expected(folder: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    names = array_names(folder / ARRAYS, "policy")
    if names != set(shapes):
        odd = ", ".join(sorted(names ^ set(shapes)))
        raise InputError(f"its parameters do not fit its config's network: {shown(odd)}")
    return {path: Array("float32", shape) for path, shape in shapes.items()}
