"""What each of several processes side by side gets of a machine: cores, and GPUs.

Asks jax nothing, which would take the devices that the processes are to have.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

_VISIBLE, _MEMORY = "CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION"
_USABLE = 0.9
"""Share of a GPU's memory that the processes on it take together."""


@dataclasses.dataclass(frozen=True)
class Share:
    """One process's part."""

    cores: frozenset[int] = frozenset()
    """Empty where the system cannot bind processes to cores."""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Variables that give it its GPU."""


def shares(jobs: int) -> list[Share]:
    """One for each job."""
    pairs = zip(_of_cores(jobs), _of_gpus(gpus(), jobs), strict=True)
    return [Share(cores, environment) for cores, environment in pairs]


def _of_cores(jobs: int) -> list[frozenset[int]]:
    """Apart where there are enough, else all for each."""
    if not hasattr(os, "sched_getaffinity"):
        return [frozenset()] * jobs
    cores = sorted(os.sched_getaffinity(0))
    if jobs > len(cores):
        return [frozenset(cores)] * jobs
    return [frozenset(cores[job::jobs]) for job in range(jobs)]


def _of_gpus(names: list[str], jobs: int) -> list[dict[str, str]]:
    """One GPU for each job, shared where there are fewer; a job alone has all of them."""
    if jobs == 1 or not names:
        return [{}] * jobs
    found = []
    for job in range(jobs):
        own = job % len(names)
        beside = len(range(own, jobs, len(names)))
        variables = {_VISIBLE: names[own]}
        if beside > 1:  # each would take most of it
            variables[_MEMORY] = f"{_USABLE / beside:.3f}"
        found.append(variables)
    return found


def gpus(devices: Path = Path("/dev")) -> list[str]:
    """Names of the NVIDIA GPUs that processes here may use."""
    if (visible := os.environ.get(_VISIBLE)) is not None:
        names = (name.strip() for name in visible.split(","))
        return [name for name in names if name not in ("", "-1")]
    numbers = (path.name.removeprefix("nvidia") for path in devices.glob("nvidia[0-9]*"))
    return sorted((number for number in numbers if number.isdecimal()), key=int)
