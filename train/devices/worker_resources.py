"""The cores and GPUs that each of several worker processes on one machine gets.

Does not ask jax, which would claim the devices meant for the workers.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

_VISIBLE, _MEMORY = "CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION"
_USABLE = 0.9
"""Fraction of a GPU's memory that its workers together may take."""


@dataclasses.dataclass(frozen=True)
class Resources:
    """Resources of one worker."""

    cores: frozenset[int] = frozenset()
    """Empty if the system cannot bind processes to cores."""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Variables that select its GPU."""


def divide_machine(workers: int) -> list[Resources]:
    """Resources of each worker."""
    pairs = zip(_divide_cores(workers), _divide_gpus(gpus(), workers), strict=True)
    return [Resources(cores, environment) for cores, environment in pairs]


def _divide_cores(workers: int) -> list[frozenset[int]]:
    """Disjoint sets if there are enough cores, else all cores for each worker."""
    if not hasattr(os, "sched_getaffinity"):
        return [frozenset()] * workers
    cores = sorted(os.sched_getaffinity(0))
    if workers > len(cores):
        return [frozenset(cores)] * workers
    return [frozenset(cores[worker::workers]) for worker in range(workers)]


def _divide_gpus(names: list[str], workers: int) -> list[dict[str, str]]:
    """One GPU per worker, shared if there are fewer; a single worker gets all of them."""
    if workers == 1 or not names:
        return [{}] * workers
    found = []
    for worker in range(workers):
        own = worker % len(names)
        sharing = len(range(own, workers, len(names)))
        variables = {_VISIBLE: names[own]}
        if sharing > 1:  # by default, each would take most of it
            variables[_MEMORY] = f"{_USABLE / sharing:.3f}"
        found.append(variables)
    return found


def gpus(devices: Path = Path("/dev")) -> list[str]:
    """Names of the NVIDIA GPUs that processes here may use."""
    if (visible := os.environ.get(_VISIBLE)) is not None:
        names = (name.strip() for name in visible.split(","))
        return [name for name in names if name not in ("", "-1")]
    numbers = (path.name.removeprefix("nvidia") for path in devices.glob("nvidia[0-9]*"))
    return sorted((number for number in numbers if number.isdecimal()), key=int)
