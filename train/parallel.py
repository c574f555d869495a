"""Devices and hosts: one program over all of them, on jax's own engine.

A run uses every local device, and with several processes those of all of them. Several
seeds are divided among the devices where their number allows it, which needs no
communication; otherwise the environments of each are.
"""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from train.config import ConfigError, TrainConfig
from train.ppo import ReturnScale, TrainState
from train.shards import WHOLE, Shards

AXIS = "devices"


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Join the other processes of this run; nothing to do where there is only one.

    Arguments that are left out come from `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID`, or from SLURM. Call it before anything else of jax.

    Raises:
      ConfigError: for an incomplete or impossible description, or if the others do not come.
    """
    environment = os.environ
    coordinator = coordinator or environment.get("JAX_COORDINATOR_ADDRESS")
    num_processes = _number(num_processes, "JAX_NUM_PROCESSES")
    process_id = _number(process_id, "JAX_PROCESS_ID")
    by_slurm = int(environment.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in environment
    if coordinator is None and num_processes is None and process_id is None:
        if not by_slurm:
            return
    elif not by_slurm and (coordinator is None or num_processes is None or process_id is None):
        raise ConfigError(
            "--coordinator HOST:PORT, --num-processes and --process-id belong together "
            "(or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID)"
        )
    if num_processes is not None and process_id is not None:
        if not 0 <= process_id < num_processes:
            raise ConfigError(f"--process-id {process_id} is not within 0 ... {num_processes - 1}")
        if num_processes == 1:
            return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot join the run at {coordinator}: {reason}") from error


def _number(given: int | None, variable: str) -> int | None:
    text = os.environ.get(variable)
    if given is not None or text is None:
        return given
    if not text.isdecimal():
        raise ConfigError(f"{variable} {text!r} is not a number")
    return int(text)


def is_main() -> bool:
    """Whether this is the process that writes and prints; there is one in every run."""
    return jax.process_index() == 0


def agree_on(mine: bool) -> bool:
    """True everywhere if it is true anywhere; a meeting point of all processes."""
    if jax.process_count() == 1:
        return mine
    return bool(multihost_utils.process_allgather(np.array([mine])).any())


def to_host(tree: Any) -> Any:
    """Numpy arrays of a tree of global arrays, whole on every process."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


class Layout:
    """Where the parts of a `TrainState` lie.

    Raises:
      ConfigError: where the work cannot be divided equally.
    """

    def __init__(self, config: TrainConfig) -> None:
        count = jax.device_count()
        self.num_seeds = config.num_seeds
        self.mesh = Mesh(np.array(jax.devices()), (AXIS,)) if count > 1 else None
        self.divides_seeds = count > 1 and config.num_seeds % count == 0
        self.shards = WHOLE
        if count > 1 and not self.divides_seeds:
            _require_divisible(config, count)
            self.shards = Shards(count, AXIS)

    def specs(self) -> TrainState:
        """Partition specs of a state, by its fields."""
        each: Any = PartitionSpec(*(() if self.num_seeds == 1 else (None,)), AXIS)
        shared: Any = PartitionSpec()
        if self.divides_seeds:
            each = shared = PartitionSpec(AXIS)
        return TrainState(
            params=shared,
            opt_state=shared,
            env_state=each,
            env_params=shared,
            observation=each,
            return_scale=ReturnScale(each, shared, shared, shared),
            key=shared,
            update=shared,
        )

    def place(self, state: TrainState) -> TrainState:
        """A state that is whole on every host, put where its parts belong."""
        if self.mesh is None:
            return jax.device_put(state)

        def put(spec: PartitionSpec, part: Any) -> Any:
            sharding = NamedSharding(self.mesh, spec)  # type: ignore[arg-type]
            return jax.tree.map(
                lambda leaf: jax.make_array_from_callback(
                    np.shape(leaf), sharding, lambda index: np.asarray(leaf)[index]
                ),
                part,
            )

        is_spec = lambda node: isinstance(node, PartitionSpec)  # noqa: E731
        return jax.tree.map(put, self.specs(), state, is_leaf=is_spec)


def _require_divisible(config: TrainConfig, count: int) -> None:
    ppo = config.ppo
    minibatch = ppo.batch_size // ppo.num_minibatches
    for name, size in (("ppo.num_envs", ppo.num_envs), ("the minibatch", minibatch)):
        if size % count:
            raise ConfigError(f"{name} of {size} cannot be divided among {count} devices")
