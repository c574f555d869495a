"""What a measurement ran on, in words."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

import jax


def device_name() -> str:
    """Kind and number of jax's devices; on CPU the processor's name and the cores we may use."""
    devices = jax.devices()
    if devices[0].platform != "cpu":
        return f"{len(devices)} x {devices[0].device_kind}"
    cores = num_cores()
    several = f", {len(devices)} jax devices" if len(devices) > 1 else ""
    return f"{_processor()}, {cores} core{'s' * (cores > 1)}{several}"


def num_cores() -> int:
    """That this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        return os.cpu_count() or 1


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
