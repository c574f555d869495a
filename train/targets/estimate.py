"""Estimates what bounds a program on an accelerator, and its range of speeds.

Nothing here is measured. At best the four parts overlap completely, at worst not at all.
"""

from __future__ import annotations

import dataclasses
import math

from train.targets.accelerators import Accelerator

BANDWIDTH = 0.9, 0.3
"""Fraction of memory bandwidth reached, best and worst; assumed."""
ARITHMETIC = 0.6, 0.1
"""Fraction of the matrix-product peak reached, best and worst; assumed."""
LINKS = 0.8, 0.2
"""Fraction of the bandwidth between devices reached, best and worst; assumed."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Seconds of one execution and steps per second, each as (least, most)."""

    bound: str
    """`launches`, `memory`, `arithmetic` or `links`: the largest, in the middle of its range."""
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
    devices: int = 1,
    collectives: int = 0,
    collective_bytes: int = 0,
) -> Estimate:
    """Estimate a program with the given work per device.

    Args:
      precision: of the network, `float32` or `bfloat16`.
      steps: environment steps of one execution, over all devices.
      collectives: all-reduces of one execution, each in a ring, whose latency grows with the
        logarithm of the number of devices.
      collective_bytes: of their results, per device.
    """
    peak = accelerator.peak[precision]
    sent = 2 * collective_bytes * (devices - 1) / devices
    hops = collectives * math.log2(devices)
    best, worst = (
        {
            "launches": kernels * accelerator.operation_seconds[end],
            "memory": (num_bytes + collective_bytes) / (accelerator.bandwidth * BANDWIDTH[end]),
            "arithmetic": flops / (peak * ARITHMETIC[end]),
            "links": hops * accelerator.hop_seconds[end]
            + sent / (accelerator.link(devices) * LINKS[end]),
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
