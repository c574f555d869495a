"""FLOP of the matrix products and convolutions in a traced program.

XLA's own count includes a loop's body once; here it counts as often as it runs.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr


def matmul_flops(traced: ClosedJaxpr | Jaxpr, platform: str) -> float:
    """FLOP of one execution, with the costliest branch of a `cond` and one round of a `while`.

    Args:
      traced: the program.
      platform: "cpu", "cuda" or "tpu", whose branch of `jax.lax.platform_dependent` counts.
    """
    return sum(_of(equation, platform) for equation in traced.eqns)


def _of(equation: Any, platform: str) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        inner = math.prod(left[axis] for axis in contracted)
        return 2.0 * math.prod(equation.outvars[0].aval.shape) * inner
    if name == "conv_general_dilated":
        # Every element of the result sums over a kernel without its output features. Zeros that
        # dilation inserts into an input, as in a strided gradient, are not multiplied.
        kernel = equation.invars[1].aval.shape
        features = kernel[params["dimension_numbers"].rhs_spec[0]]
        dense = 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) / features
        return dense / math.prod(params["lhs_dilation"]) / math.prod(params["rhs_dilation"])
    if name == "cond":
        branches, platforms = params["branches"], params.get("branches_platforms")
        if platforms is not None:  # of jax.lax.platform_dependent; None is the default, and last
            own = (platform in (names or [platform]) for names in platforms)
            branches = [next(itertools.compress(branches, own))]
        return max(matmul_flops(branch, platform) for branch in branches)
    parts = [value for value in params.values() if isinstance(value, ClosedJaxpr | Jaxpr)]
    rounds = params["length"] if name == "scan" else 1
    if name == "shard_map":
        rounds = params["mesh"].size
    return rounds * sum(matmul_flops(part, platform) for part in parts)
