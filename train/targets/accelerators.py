"""The accelerators that a run can be compiled for, as `accelerators.yaml` describes them."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

from coinrun_jax.checks import InputError
from coinrun_jax.files import read_yaml

FILE = Path(__file__).with_name("accelerators.yaml")


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """One kind of device; in bytes, bytes/s, FLOP/s and seconds."""

    name: str
    platform: str
    """`cuda` or `tpu`."""
    source: str
    memory: float
    bandwidth: float
    peak: dict[str, float]
    """Peak rate of matrix products, by precision."""
    operation_seconds: tuple[float, float]
    """Overhead of a kernel launch or an operation, best and worst; assumed."""
    links: dict[int, float]
    """Bandwidth per device and direction, by the largest number of devices connected that way."""
    hop_seconds: tuple[float, float]
    """Latency of a collective per doubling of the devices, best and worst; assumed."""
    details: dict[str, Any]
    """Fields that only this platform's compiler needs."""

    def link(self, devices: int) -> float:
        """Bandwidth of the slowest link among so many devices, in bytes/s."""
        return next(speed for most, speed in sorted(self.links.items()) if devices <= most)

    def topology(self, devices: int) -> tuple[str, dict[str, str]]:
        """Name and options, for jax, of a topology with at least this many devices.

        Raises:
          InputError: for a device count without a topology.
        """
        if self.platform == "cuda":
            hosts = -(-devices // 8)
            if devices > 8 and devices % 8:
                raise InputError(f"--devices {devices} is above 8 and no multiple of 8")
            shape = f"1x{hosts}x{devices // hosts}"
            return "", {"topology": shape, "target_config": target_config(self)}
        named: dict[int, str] = self.details["topologies"]
        if devices not in named:
            allowed = ", ".join(map(str, named))
            raise InputError(f"--devices {devices} of {self.name} is not one of {allowed}")
        return named[devices], {}


def target_config(accelerator: Accelerator) -> str:
    """A GPU's description as a GpuTargetConfigProto in text format.

    Limits that all NVIDIA GPUs since Ampere share are hard-coded here.
    """
    of = accelerator.details
    major, minor = of["compute_capability"]
    fields = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "threads_per_core_limit": 2048,
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
        "shared_memory_per_block": 49152,
        "shared_memory_per_block_optin": of["shared_memory_per_block_optin"],
        "shared_memory_per_core": of["shared_memory_per_core"],
        "core_count": of["cores"],
        "fpus_per_core": of["fpus_per_core"],
        "l2_cache_size": of["l2_cache"],
        "clock_rate_ghz": of["clock_ghz"],
        "memory_bandwidth": int(accelerator.bandwidth),
        "device_memory_size": int(accelerator.memory),
    }
    lines = [f"{name}: {value}" for name, value in fields.items()]
    capability = f"cuda_compute_capability {{ major: {major} minor: {minor} }}"
    return "\n".join(
        [
            "gpu_device_info {",
            *lines,
            capability,
            "}",
            'platform_name: "CUDA"',
            "dnn_version_info { major: 9 minor: 10 patch: 0 }",
            f'device_description_str: "{accelerator.name}"',
        ]
    )


@cache
def accelerators() -> dict[str, Accelerator]:
    """All described accelerators, by the name that `--for` takes."""
    common = {field.name for field in dataclasses.fields(Accelerator)} - {"details"}
    found = {}
    for name, entry in read_yaml(FILE, "descriptions of accelerators").items():
        shared = {key: entry[key] for key in common}
        for pair in ("operation_seconds", "hop_seconds"):
            shared[pair] = tuple(entry[pair])
        details = {key: value for key, value in entry.items() if key not in common}
        found[name] = Accelerator(**shared, details=details)
    return found
