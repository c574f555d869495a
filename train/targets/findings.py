"""Findings about one program on one target, as a table row and as text."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from pathlib import Path
from typing import Any

from train.config import TrainConfig
from train.targets.accelerators import Accelerator
from train.targets.estimate import Estimate, estimate
from train.targets.hlo import parse
from train.targets.hlo_counts import (
    NOTHING,
    collectives,
    counts,
    host_transfers,
    loops,
    over_environments,
    step_loop,
)
from train.targets.target_compiler import Compiled


@dataclasses.dataclass(frozen=True)
class LoopsAt:
    """Loops over environments that come from one line of the source."""

    source: str
    op_name: str
    trips: int
    count: int


@dataclasses.dataclass(frozen=True)
class Findings:
    """Facts about a compiled program. Sizes in bytes, per device; FLOP over all devices."""

    target: str
    devices: int
    program: str
    """`update` or `environment`."""
    observation: str
    num_envs: int
    compile_seconds: float
    memory: int
    memory_available: int
    flops: float
    """FLOP of matrix products and convolutions, per execution."""
    bytes: int
    """Read and written per execution."""
    kernels_per_step: int
    """Per step of all environments; for an update, including the policy's network."""
    loops_per_step: int
    host_predicates_per_step: int
    kernels: int
    """Per execution."""
    loops_over_environments: tuple[LoopsAt, ...]
    host_transfers: int
    collectives: int
    collective_bytes: int
    estimate: Estimate

    def as_json(self) -> dict[str, Any]:
        """The findings as plain values."""
        return dataclasses.asdict(self)


def find(
    compiled: Compiled,
    config: TrainConfig,
    accelerator: Accelerator,
    target: str,
    devices: int,
    program: str,
) -> Findings:
    """Read a compiled program."""
    hlo = parse(compiled.text)
    num_envs = config.ppo.num_envs
    step = step_loop(hlo, compiled.num_steps)
    per_step = counts(hlo, step.body) if step else NOTHING
    whole = counts(hlo, hlo.entry)
    by_environment = Counter(
        (_shortened(loop.source), loop.op_name, loop.trips or 0)
        for loop in over_environments(loops(hlo), max(1, num_envs // devices))
    )
    moved = collectives(hlo)
    return Findings(
        target=target,
        devices=devices,
        program=program,
        observation=str(getattr(config.env, "observation", config.env.id)),
        num_envs=num_envs,
        compile_seconds=round(compiled.seconds, 1),
        memory=compiled.memory,
        memory_available=int(accelerator.memory),
        flops=compiled.flops,
        bytes=whole.bytes,
        kernels_per_step=per_step.kernels,
        loops_per_step=per_step.loops,
        host_predicates_per_step=per_step.host_predicates,
        kernels=whole.kernels,
        loops_over_environments=tuple(
            LoopsAt(*where, number) for where, number in by_environment.items()
        ),
        host_transfers=host_transfers(hlo),
        collectives=moved.count,
        collective_bytes=moved.bytes,
        estimate=estimate(
            accelerator,
            config.network.precision,
            kernels=whole.kernels,
            num_bytes=whole.bytes,
            flops=compiled.flops / devices,
            steps=compiled.num_steps * num_envs * config.num_seeds,
            devices=devices,
            collectives=moved.count,
            collective_bytes=moved.bytes,
        ),
    )


def _shortened(source: str) -> str:
    """The path relative to the checkout, if inside it."""
    root = str(Path(__file__).resolve().parents[2])
    return os.path.relpath(source, root) if source.startswith(root) else source


def as_text(found: Findings) -> str:
    """The findings as text for a terminal."""
    of_loops = sum(where.count for where in found.loops_over_environments)
    fits = "fits" if found.memory <= found.memory_available else "does NOT fit"
    low, high = found.estimate.steps_per_second
    lines = [
        f"{found.program} for {found.devices} x {found.target}: compiled in "
        f"{found.compile_seconds:.0f} s",
        f"memory per device: {found.memory / 1e9:.2f} of "
        f"{found.memory_available / 1e9:.1f} GB, {fits}",
        f"work per execution: {found.flops:.3g} FLOP of matrix products on all devices, "
        f"{found.bytes:.3g} bytes and {found.kernels:,} kernels per device",
        f"per environment step: {found.kernels_per_step:,} kernels, {found.loops_per_step} loops, "
        f"{found.host_predicates_per_step} branches that a GPU's host decides",
        f"loops over environments: {of_loops}",
    ]
    for where in found.loops_over_environments:
        name = where.op_name.rpartition("/")[2]
        lines.append(f"  {where.count} x {name} at {where.source}, {where.trips:,} rounds")
    lines.append(f"host transfers: {found.host_transfers}")
    if found.devices > 1:
        lines.append(
            f"collectives: {found.collectives}, {found.collective_bytes:.3g} bytes per device"
        )
    lines.append(
        f"ESTIMATE, nothing was run: {low:,.0f} to {high:,.0f} steps/s, bound by "
        f"{found.estimate.bound}"
    )
    return "\n".join(lines)
