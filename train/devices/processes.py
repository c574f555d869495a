"""Several processes, one run: how they join, and what they exchange.

Imports nothing that initializes a backend: joining must come first, and importing gymnax already
initializes one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Fault


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    detected: bool = False,
) -> None:
    """Join the other processes of this run; does nothing if there is only one.

    Missing arguments come from `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID`, or from SLURM. Call it before using anything else from jax.

    Args:
      detected: join the processes that JAX finds by itself, as on a TPU pod.

    Raises:
      InputError: for incomplete or impossible arguments, or if the others do not join.
    """
    environment = os.environ
    coordinator = coordinator or environment.get("JAX_COORDINATOR_ADDRESS")
    num_processes = _number(num_processes, "JAX_NUM_PROCESSES")
    process_id = _number(process_id, "JAX_PROCESS_ID")
    by_slurm = (_number(None, "SLURM_NTASKS") or 1) > 1 and "SLURM_PROCID" in environment
    if coordinator is None and num_processes is None and process_id is None:
        if not by_slurm and not detected:
            return
    elif not by_slurm and (coordinator is None or num_processes is None or process_id is None):
        raise InputError(
            "--coordinator HOST:PORT, --num-processes and --process-id belong together "
            "(or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID)"
        )
    if num_processes is not None and process_id is not None:
        if not 0 <= process_id < num_processes:
            raise InputError(f"--process-id {process_id} is not within 0 ... {num_processes - 1}")
        if num_processes == 1:
            return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        if coordinator is None and not by_slurm:
            raise InputError(f"--distributed: JAX detects no cluster here ({reason})") from error
        where = f" at {coordinator}" if coordinator else ""
        raise InputError(f"cannot join the run{where}: {reason}") from error


def _number(given: int | None, variable: str) -> int | None:
    text = os.environ.get(variable)
    if given is not None or text is None:
        return given
    if not text.isdecimal():
        raise InputError(f"{variable} {text!r} is not a number")
    return int(text)


def is_main() -> bool:
    """Whether this process writes and prints; exactly one per run does."""
    return jax.process_index() == 0


def agree_on(mine: bool) -> bool:
    """True on every process if true on any. All processes must call it."""
    if jax.process_count() == 1:
        return mine
    return bool(multihost_utils.process_allgather(np.array([mine])).any())


def on_main(do: Callable[[], Any]) -> None:
    """Call `do` on the main process only; if it fails, all processes stop.

    Raises:
      Exception: on the main process what `do` raises, on the others a Fault; they would
        otherwise wait for the main process forever.
    """
    failure: Exception | None = None
    if is_main():
        try:
            do()
        except Exception as error:  # any type: it is raised below
            failure = error
    if agree_on(failure is not None):
        raise failure or Fault("the main process of this run has stopped; see its output")


def to_host(tree: Any) -> Any:
    """Global arrays as numpy arrays, complete on every process."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)
