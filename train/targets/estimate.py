"""Estimates what bounds a program on an accelerator, and its range of speeds.

Nothing here is measured. At best the three parts overlap completely, at worst not at all.
"""

from __future__ import annotations

import dataclasses

from train.targets.accelerators import Accelerator

BANDWIDTH = 0.9, 0.3
"""Fraction of memory bandwidth reached, best and worst; assumed."""
ARITHMETIC = 0.6, 0.1
"""Fraction of the matrix-product peak reached, best and worst; assumed."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Seconds of one execution and steps per second, each as (least, most)."""

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
    """Estimate a program with the given work per device.

    Args:
      precision: of the network, `float32` or `bfloat16`.
      steps: environment steps of one execution, over all devices.
      collective_bytes: counted as memory traffic; link speed is not modelled.
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
