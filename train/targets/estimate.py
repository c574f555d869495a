"""What bounds a program on an accelerator, and between which speeds it may run: an estimate.

Nothing here is measured. At best the three parts overlap completely, at worst not at all.
"""

from __future__ import annotations

import dataclasses

from train.targets.accelerators import Accelerator

BANDWIDTH = 0.9, 0.3
"""Fraction of the memory's bandwidth that is reached, best and worst; assumed."""
ARITHMETIC = 0.6, 0.1
"""Fraction of the peak of matrix products that is reached; assumed."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Seconds of one execution and steps per second, each the least and the most."""

    bound: str
    """`launches`, `memory` or `arithmetic`: the largest part, in the middle of its range."""
    seconds: tuple[float, float]
    steps_per_second: tuple[float, float]


def estimate(
    accelerator: Accelerator,
    precision: str,
    *,
    kernels: int,
    num_bytes: int,
    flops: float,
    steps: int,
    collective_bytes: int = 0,
) -> Estimate:
    """Of a program with so much work per device.

    Args:
      precision: of the network, `float32` or `bfloat16`.
      steps: environment steps of one execution, of all devices together.
      collective_bytes: count as memory traffic; the links' speed is not modelled.
    """
    moved = num_bytes + collective_bytes
    peak = accelerator.peak[precision]
    best, worst = (
        {
            "launches": kernels * accelerator.operation_seconds[end],
            "memory": moved / (accelerator.bandwidth * BANDWIDTH[end]),
            "arithmetic": flops / (peak * ARITHMETIC[end]),
        }
        for end in (0, 1)
    )
    middle = {name: (best[name] * worst[name]) ** 0.5 for name in best}
    seconds = max(max(best.values()), 1e-12), max(sum(worst.values()), 1e-12)
    return Estimate(
        bound=max(middle, key=lambda name: middle[name]),
        seconds=seconds,
        steps_per_second=(steps / seconds[1], steps / seconds[0]),
    )
