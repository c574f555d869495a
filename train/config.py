"""Configuration: frozen dataclasses, read from YAML, overridden on the command line.

Every section validates its values on creation, so a bad one is reported in one line before
anything is compiled.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from coinrun_jax.checks import InputError, positive, real, shown, whole
from coinrun_jax.files import read_yaml, write_text
from coinrun_jax.registry import DEFAULT, find_testbed, import_plugins
from coinrun_jax.settings import from_mapping, require_types
from coinrun_jax.testbed import EnvConfig
from train.keep_at import steps_to_keep

CONFIG = "config.yaml"
"""File in a run's directory with every setting, resolved."""

MOST_STEPS = 10**12  # per run
MOST_ENVS, MOST_WIDTH, MOST_STAGES = 2**20, 2**16, 1000


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The policy and value network; see `networks.py`."""

    kind: str = "mlp"
    """mlp, impala, torch_impala, patches, grey_patches, gru, or a kind that a plugin registers
    with `networks.register_network`."""
    width: int = 256
    """Units of the hidden layers (mlp, patches, grey_patches, gru) or channels of the first block
    (impala, torch_impala)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the layers; parameters, logits and values are always float32."""

    def __post_init__(self) -> None:
        require_types(self, "network")
        whole("network.width", self.width, 1, MOST_WIDTH)


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimisation (Schulman et al. 2017)."""

    num_envs: int = 256
    num_steps: int = 256
    """Steps per environment per update."""
    num_minibatches: int = 8
    num_epochs: int = 3
    shuffle: Literal["samples", "steps"] = "samples"
    """What minibatches are drawn from: single samples, or whole time steps of all environments. A
    time step of many independent environments is also well mixed, and contiguous in memory, which
    saves a third of the update time on a CPU. Recurrent networks ignore this: they always learn
    from all steps of some environments."""
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


Optimizer = Literal["fresh", "kept"]
"""Whether Adam's moments and the reward scale start fresh or are kept on further training."""


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """A stage of a run, with its own settings; those left out are the run's."""

    name: str = ""
    """Label in figures."""
    total_steps: int | None = None
    """Environment steps of the stage, rounded up to whole updates."""
    optimizer: Optimizer | None = None
    """As `optimizer` of a run, for what the previous stage learned."""
    env: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Settings of the environment, except its id."""
    ppo: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        require_types(self, "stage")
        if self.total_steps is not None:
            whole("stage.total_steps", self.total_steps, 1, MOST_STEPS)

    def title(self, index: int) -> str:
        """A readable name; `index` is the stage's position, from 0."""
        return self.name or f"stage {index + 1}"


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    env: EnvConfig = dataclasses.field(default_factory=lambda: env_config({}))
    """Settings of the testbed that `env.id` names."""
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
    """Updates between evaluations on held-out levels; 0: never."""
    eval_levels: int = 128
    """Levels per evaluation; each is played once in every condition."""
    plugins: tuple[str, ...] = ()
    """Your own modules to import first, such as one that registers a testbed."""
    init: str | None = None
    """RUN or RUN@UPDATE: the run to start from, at its newest policy or at one that it kept."""
    optimizer: Optimizer = "fresh"
    """Whether Adam's moments and the reward scale of `init` are kept or start fresh."""
    keep_at: str | None = None
    """Steps at which policies are kept for good: 0,1e5,1e6, or log:N for step 0 and N - 1 more,
    log-spaced up to the end."""
    stages: tuple[StageConfig, ...] | None = None
    """Successive parts of the run, each with its own settings; from a YAML file only."""

    def __post_init__(self) -> None:
        require_types(self, "")
        whole("total_steps", self.total_steps, 1, MOST_STEPS)
        if self.stages is not None:
            count = len(self.stages)
            _require(
                0 < count <= MOST_STAGES,
                f"stages has {count} entries; it must have 1 ... {MOST_STAGES}",
            )
        _require(
            self.num_updates < 2**31,
            f"total_steps {self.total_steps} means {self.num_updates} updates; at most 2^31 - 1 "
            "are allowed",
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
        self.kept_updates  # noqa: B018 (raises)

    @cached_property
    def parts(self) -> tuple[TrainConfig, ...]:
        """The stages in order, each as the config of a separate run; without stages, this config.

        Raises:
          InputError: for settings that a stage cannot have.
        """
        return (self,) if self.stages is None else tuple(self._parts(self.stages))

    def _parts(self, stages: tuple[StageConfig, ...]) -> Iterator[TrainConfig]:
        for number, stage in enumerate(stages, start=1):
            _require(
                stage.env.get("id", self.env.id) == self.env.id,
                f"stages[{number}]: env.id must be the run's, {self.env.id}",
            )
            try:
                yield dataclasses.replace(
                    self,
                    env=env_config(_merged(dataclasses.asdict(self.env), stage.env)),
                    ppo=from_mapping(PPOConfig, dataclasses.asdict(self.ppo) | stage.ppo, "ppo"),
                    total_steps=stage.total_steps or self.total_steps,
                    optimizer=stage.optimizer or self.optimizer,
                    init=None,
                    keep_at=None,
                    stages=None,
                )
            except InputError as error:
                raise InputError(f"stages[{number}]: {error}") from error

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The last update of each of the `parts`, counted from the start of the run."""
        if self.stages is None:
            return (-(-self.total_steps // self.ppo.batch_size),)
        return tuple(itertools.accumulate(part.num_updates for part in self.parts))

    @property
    def num_updates(self) -> int:
        return self.ends[-1]

    def part_at(self, update: int) -> int:
        """Index of the part that an update belongs to; update 0 belongs to part 0."""
        return min(bisect.bisect_left(self.ends, update), len(self.ends) - 1)

    def steps_at(self, update: int) -> int:
        """Environment steps after `update` updates."""
        begins = (0, *self.ends)
        return sum(
            part.ppo.batch_size * max(0, min(update, end) - begin)
            for part, begin, end in zip(self.parts, begins, self.ends, strict=False)
        )

    @cached_property
    def kept_updates(self) -> frozenset[int]:
        """Updates after which policies are kept for good: the first ones to reach `keep_at`.

        Raises:
          InputError: if `keep_at` names steps outside the run.
        """
        if self.keep_at is None:
            return frozenset()
        steps = steps_to_keep(self.keep_at, self.steps_at(1), self.steps_at(self.num_updates))
        updates = range(self.num_updates + 1)
        return frozenset(bisect.bisect_left(updates, each, key=self.steps_at) for each in steps)

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + self.num_seeds)

    def of_seed(self, seed: int) -> TrainConfig:
        """The config of a run with this seed alone."""
        return dataclasses.replace(self, seed=seed, num_seeds=1)

    def as_of(self, update: int) -> TrainConfig:
        """The config of the run with the settings of the stage that an update belongs to."""
        if self.stages is None:
            return self
        now = self.parts[self.part_at(update)]
        stages = tuple(
            StageConfig(
                stage.name,
                part.total_steps,
                part.optimizer,
                dataclasses.asdict(part.env),
                dataclasses.asdict(part.ppo),
            )
            for stage, part in zip(self.stages, self.parts, strict=True)
        )
        return dataclasses.replace(
            self, env=now.env, ppo=now.ppo, total_steps=now.total_steps, stages=stages
        )


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A section with some settings changed, recursively."""
    return values | {
        name: _merged(values[name], value)
        if isinstance(value, dict) and isinstance(values.get(name), dict)
        else value
        for name, value in changes.items()
    }


def env_config(section: Any) -> EnvConfig:
    """The settings of an environment, an instance of its testbed's `Config`.

    Args:
      section: a mapping; missing settings, including the id, take their defaults.

    Raises:
      InputError: for an unknown id, key or value.
    """
    if not isinstance(section, dict):
        raise InputError(f"env is {shown(section)}, not a mapping of settings")
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
    """The config that a mapping describes; missing settings take their defaults.

    Imports the plugins that it names.

    Raises:
      InputError: for a key or value that cannot be used.
    """
    if not isinstance(values, dict):
        raise InputError(f"config is {shown(values)}, not a mapping of settings")
    import_plugins(plugins_in(values))
    plain = {name: values[name] for name in values if name not in ("env", "stages", "keep_at")}
    return dataclasses.replace(
        from_mapping(TrainConfig, plain),
        env=env_config(values.get("env", {})),
        stages=_stages(values.get("stages")),
        keep_at=values.get("keep_at"),
    )


def _stages(values: Any) -> tuple[StageConfig, ...] | None:
    if values is None:
        return None
    if not isinstance(values, list | tuple):
        raise InputError(f"stages is {shown(values)}, not a list of sections")
    return tuple(
        from_mapping(StageConfig, each, f"stages[{number}]")
        for number, each in enumerate(values, 1)
    )


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
    """Read a YAML file; missing settings take their defaults.

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
