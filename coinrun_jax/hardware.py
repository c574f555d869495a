"""A description of the hardware that a measurement ran on."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

import jax

# Versions 2 and 1 of Linux's control groups.
_CONTAINER_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def device_name() -> str:
    """Kind and number of JAX devices; on CPU the processor's name and the usable cores."""
    devices = jax.devices()
    if devices[0].platform != "cpu":
        return f"{len(devices)} x {devices[0].device_kind}"
    cores = num_cores()
    several = f", {len(devices)} jax devices" if len(devices) > 1 else ""
    return f"{_processor()}, {cores} core{'s' * (cores > 1)}{several}"


def num_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        return os.cpu_count() or 1


def memory_per_device() -> int | None:
    """Bytes of a device's memory that a program may use; None if unknown."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats.get("bytes_limit")
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):  # not on this system
        return None
    for path in _CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # not in a container, or "max"
            size = min(size, int(Path(path).read_text()))
    return size // jax.local_device_count()


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
