"""Configuration: frozen dataclasses, read from YAML, overridden on the command line.

Every section checks its values when it is created, so that a bad one is reported in one line
before anything is compiled.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import yaml

from coinrun_jax.checks import InputError, positive, real, shown, whole
from coinrun_jax.files import read_yaml, write_text
from coinrun_jax.registry import DEFAULT, find_testbed, import_plugins
from coinrun_jax.settings import from_mapping, require_types
from coinrun_jax.testbed import EnvConfig

CONFIG = "config.yaml"
"""File in a run's directory: every setting, resolved."""

MOST_STEPS = 10**12  # of a run
MOST_ENVS, MOST_WIDTH = 2**20, 2**16


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The policy and value network; see `networks.py`."""

    kind: str = "mlp"
    """mlp, impala, or one that a plugin registers (`networks.register_network`)."""
    width: int = 256
    """Units of the hidden layers (mlp) or channels of the first block (impala)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the layers' arithmetic; parameters, logits and values are always float32."""

    def __post_init__(self) -> None:
        require_types(self, "network")
        whole("network.width", self.width, 1, MOST_WIDTH)


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimisation (Schulman et al. 2017)."""

    num_envs: int = 256
    num_steps: int = 256
    """Steps per environment and update."""
    num_minibatches: int = 8
    num_epochs: int = 3
    shuffle: Literal["samples", "steps"] = "samples"
    """What minibatches are drawn from: single samples, or whole steps of all environments. A step
    of many independent environments is well mixed, too, and contiguous in memory, which saves a
    third of an update's time on a CPU."""
    learning_rate: float = 5e-4
    anneal_learning_rate: bool = False
    """Decay the learning rate linearly to 0 over the run."""
    gamma: float = 0.999
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy_coefficient: float = 0.01
    anneal_entropy: bool = False
    """Decay the entropy coefficient linearly to 0 over the run."""
    value_coefficient: float = 0.5
    max_grad_norm: float = 0.5
    normalize_advantage: bool = True
    normalize_reward: bool = True
    """Divide rewards by the running standard deviation of the discounted return."""

    def __post_init__(self) -> None:
        require_types(self, "ppo")
        for name in ("num_envs", "num_steps", "num_minibatches", "num_epochs"):
            whole(f"ppo.{name}", getattr(self, name), 1, MOST_ENVS)
        _require(
            self.batch_size % self.num_minibatches == 0,
            f"ppo.num_minibatches {self.num_minibatches} does not divide the batch of "
            f"{self.batch_size} (num_envs * num_steps)",
        )
        _require(
            self.shuffle == "samples" or self.num_steps % self.num_minibatches == 0,
            f"ppo.num_minibatches {self.num_minibatches} does not divide num_steps "
            f"{self.num_steps}, which ppo.shuffle steps requires",
        )
        for name in ("gamma", "gae_lambda"):
            real(f"ppo.{name}", getattr(self, name), 0, 1)
        for name in ("learning_rate", "clip", "max_grad_norm"):
            positive(f"ppo.{name}", getattr(self, name))
        for name in ("entropy_coefficient", "value_coefficient"):
            real(f"ppo.{name}", getattr(self, name), 0)

    @property
    def batch_size(self) -> int:
        return self.num_envs * self.num_steps


@dataclasses.dataclass(frozen=True)
class WandbConfig:
    """Weights & Biases."""

    mode: Literal["online", "offline", "disabled"] = "disabled"
    project: str = "coinrun_jax"
    group: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        require_types(self, "wandb")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    env: EnvConfig = dataclasses.field(default_factory=lambda: env_config({}))
    """Of the testbed that `env.id` names."""
    network: NetworkConfig = NetworkConfig()
    ppo: PPOConfig = PPOConfig()
    wandb: WandbConfig = WandbConfig()
    total_steps: int = 25_000_000
    """Environment steps, rounded up to whole updates."""
    seed: int = 0
    num_seeds: int = 1
    """Agents trained side by side in one program, with seeds `seed`, `seed` + 1, ..."""
    checkpoint_every: int = 50
    """Updates between checkpoints."""
    keep_checkpoints: int = 2
    """How many of the newest checkpoints are kept, besides the one with the best return."""
    eval_every: int = 0
    """Updates between looks at held-out levels; 0: never."""
    eval_levels: int = 128
    """Levels of such a look; each is played once in every condition."""
    plugins: tuple[str, ...] = ()
    """Modules of your own to import first, such as one that registers a testbed."""

    def __post_init__(self) -> None:
        require_types(self, "")
        whole("total_steps", self.total_steps, 1, MOST_STEPS)
        _require(
            self.num_updates < 2**31,
            f"total_steps {self.total_steps} are {self.num_updates} updates; at most 2^31 - 1",
        )
        whole("seed", self.seed, 0, 2**32 - 1)
        whole("num_seeds", self.num_seeds, 1, 10_000)
        _require(
            self.seed + self.num_seeds <= 2**32,
            f"num_seeds {self.num_seeds} from seed {self.seed} reaches beyond 2^32 - 1",
        )
        for name in ("checkpoint_every", "keep_checkpoints"):
            whole(name, getattr(self, name), 1, 2**31)
        whole("eval_every", self.eval_every, 0, 2**31)
        whole("eval_levels", self.eval_levels, 1, 10_000)

    @property
    def num_updates(self) -> int:
        return -(-self.total_steps // self.ppo.batch_size)

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + self.num_seeds)

    def of_seed(self, seed: int) -> TrainConfig:
        """The config of a run of one seed alone."""
        return dataclasses.replace(self, seed=seed, num_seeds=1)


def env_config(section: Any) -> EnvConfig:
    """The settings of an environment, an instance of its testbed's `Config`.

    Args:
      section: a mapping; missing settings have their defaults, including the id.

    Raises:
      InputError: for an unknown id, key or value.
    """
    if not isinstance(section, dict):
        raise InputError(f"env is {shown(section)}, not a section of settings")
    section = {"id": DEFAULT, **section}
    return from_mapping(find_testbed(section["id"]).Config, section, "env")


def plugins_in(values: dict[str, Any]) -> list[str]:
    """The plugins that a mapping of settings names.

    Raises:
      InputError: for anything but a list of names.
    """
    plugins = values.get("plugins", [])
    if not isinstance(plugins, list | tuple) or not all(isinstance(name, str) for name in plugins):
        raise InputError(f"plugins {shown(plugins)} is not a list of names")
    return list(plugins)


def seed_folders(run_dir: Path, config: TrainConfig) -> list[Path]:
    """The folder of each seed's own files in a run's directory."""
    if config.num_seeds == 1:
        return [run_dir]
    return [run_dir / f"seed_{seed}" for seed in config.seeds]


def config_from_dict(values: Any) -> TrainConfig:
    """The config that a mapping describes; missing settings have their defaults.

    Imports the plugins that it names.

    Raises:
      InputError: for a key or value that cannot be used.
    """
    if not isinstance(values, dict):
        raise InputError(f"config is {shown(values)}, not a section of settings")
    import_plugins(plugins_in(values))
    config = from_mapping(TrainConfig, {name: values[name] for name in values if name != "env"})
    return dataclasses.replace(config, env=env_config(values.get("env", {})))


def flat_settings(config: TrainConfig) -> dict[str, Any]:
    """All settings by dotted name, such as `ppo.gamma`."""

    def flat(values: dict[str, Any], path: str) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for name, value in values.items():
            nested = isinstance(value, dict)
            settings |= flat(value, f"{path}{name}.") if nested else {path + name: value}
        return settings

    return flat(dataclasses.asdict(config), "")


def load_config(path: Path) -> TrainConfig:
    """Read a YAML file; missing settings have their defaults.

    Raises:
      InputError: if the file, a key or a value cannot be used.
    """
    values = read_yaml(path, "config")
    try:
        return config_from_dict({} if values is None else values)
    except InputError as error:
        raise InputError(f"config {path}: {error}") from error


def save_config(config: TrainConfig, path: Path) -> None:
    """Write all settings, including defaults, so that the file reproduces the run."""
    write_text(path, yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))
