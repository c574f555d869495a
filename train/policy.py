"""The policy alone: safe arrays and JSON that load on any device, without the run.

`policy.npz` holds the network's parameters by path, `policy.json` the config they belong
to. Neither can carry code.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

import coinrun_jax
from coinrun_jax.archive import DAMAGED
from train.config import EnvConfig, TrainConfig, config_from_dict
from train.networks import Apply, make_network

ARRAYS, DESCRIPTION = "policy.npz", "policy.json"
_FORMAT = 1


class PolicyError(ValueError):
    """A folder that holds no policy this version can load: says what is wrong with it."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """A trained network with what it was trained on."""

    config: TrainConfig
    params: Any
    network: Apply
    update: int
    """Updates that it was trained for."""

    @property
    def env_config(self) -> EnvConfig:
        return self.config.env

    def apply(self, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Logits [B, A] and values [B] of observations [B, ...]; pure, can be jitted."""
        output = self.network(self.params, observation)
        return output.logits, output.value


def save_policy(folder: Path, params: Any, config: TrainConfig, update: int) -> None:
    """Write the two files whole or not at all."""
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    description = {
        "format": _FORMAT,
        "environment": coinrun_jax.ENV_ID,
        "update": update,
        "steps": update * config.ppo.batch_size,
        "config": dataclasses.asdict(config),
    }
    arrays, text = folder / ARRAYS, folder / DESCRIPTION
    with open(f"{arrays}.part", "wb") as file:
        np.savez(file, allow_pickle=False, **{path: np.asarray(flat[path]) for path in flat})
    Path(f"{text}.part").write_text(json.dumps(description, indent=1) + "\n")
    os.replace(f"{arrays}.part", arrays)
    os.replace(f"{text}.part", text)


def _shapes(params: Any) -> dict[str, tuple[int, ...]]:
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    return {path: leaf.shape for path, leaf in flat.items()}


def load_policy(folder: str | Path) -> Policy:
    """Load the policy of a run directory, or of any folder with the two files.

    Raises:
      PolicyError: where there is none, or it belongs to another environment version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PolicyError(f"{folder} is not a run directory: there is no such folder")
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            flat = {path: jnp.asarray(arrays[path]) for path in arrays.files}
        if description["format"] != _FORMAT:
            raise PolicyError(f"{folder} has policy format {description['format']}, not {_FORMAT}")
        if description["environment"] != coinrun_jax.ENV_ID:
            raise PolicyError(
                f"{folder} was trained on {description['environment']}; this is "
                f"{coinrun_jax.ENV_ID}, where it would mean something else"
            )
        config = config_from_dict(description["config"])
        update = int(description["update"])
        env = coinrun_jax.CoinRun(mode=config.env.mode, observation=config.env.observation)
        shape = env.observation_space().shape
        network = make_network(config.network, shape, env.num_actions)
    except FileNotFoundError as error:
        seeds = sorted(path.parent.name for path in folder.glob(f"seed_*/{DESCRIPTION}"))
        if seeds:
            raise PolicyError(
                f"{folder} holds {len(seeds)} policies; give one of {', '.join(seeds)} in it"
            ) from error
        name = Path(error.filename).name
        raise PolicyError(f"{folder} holds no trained policy: {name} is missing") from error
    except PolicyError:
        raise
    except (OSError, KeyError, TypeError, *DAMAGED) as error:
        raise PolicyError(f"{folder} holds no readable policy: {error}") from error
    params = flax.traverse_util.unflatten_dict(flat, sep="/")
    one = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    expected = jax.eval_shape(network.init, jax.random.key(0), one)
    if _shapes(params) != _shapes(expected):
        raise PolicyError(
            f"{folder} holds a network that does not take {config.env.observation} observations "
            f"{shape}, or is not the one of its config"
        )
    return Policy(config=config, params=params, network=network.apply, update=update)
