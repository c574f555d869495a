"""Which cells of the view matter to the network, and which objects.

Two methods, since they disagree: *integrated gradients* (Sundararajan et al. 2017) divide the
difference in output between the view and an empty one among all entries of the view; *occlusion*
empties one cell at a time, and measures how the output changes. For objects, occlusion is exact:
they are hidden in the environment, by `coinrun_jax.twins`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import InputError
from coinrun_jax.twins import HIDDEN, ObservedCells, Twins
from eval.microscope.scope import Look, Scope
from train.networks import Network

STEPS = 64
"""Points between the empty view and the view at which gradients are taken."""
TARGETS = ("value", "action")
"""The value, and the log-probability of the likeliest action with nothing hidden."""
_TOLERANCE = 1e-3
_TOGETHER = 16  # observations in one pass


@dataclass(frozen=True)
class Attribution:
    """Attributions of one moment; leading axes are TARGETS."""

    action: int
    """The likeliest action."""
    gradients: np.ndarray
    """float32 [2, ...], integrated gradients for every entry of the observation."""
    occlusion: np.ndarray
    """float32 [2, cells], drop in output when a cell of the view is emptied."""
    total: np.ndarray
    """float32 [2], output for the view minus that for an empty one: what gradients add up to."""

    def by_cell(self, cells: ObservedCells) -> np.ndarray:
        """Integrated gradients summed over each cell; float32 [2, rows * columns]."""
        inside, number = cells.cell >= 0, cells.shape[0] * cells.shape[1]
        added = [np.bincount(cells.cell[inside], each[inside], number) for each in self.gradients]
        return np.stack(added).astype(np.float32)


@dataclass(frozen=True)
class HiddenObject:
    """The network's output without an object minus that with it."""

    title: str
    value: float
    probabilities: np.ndarray
    """float32 [A]."""

    @property
    def moved(self) -> float:
        """Probability that moves to other actions, 0 ... 1."""
        return float(np.abs(self.probabilities).sum() / 2)


Target = Callable[[jax.Array], jax.Array]
"""Observation as floats -> float32 [2], the TARGETS."""


def attribute(scope: Scope, state: Any, cells: ObservedCells | None) -> Attribution:
    """Attributions of one state.

    Args:
      cells: those that the observation shows; None if it shows none, which skips occlusion.

    Raises:
      InputError: if the network scales bytes in an unusual way.
    """
    seen = scope.look_once(state)
    observation, action = seen.observations[0], int(seen.logits[0].argmax())
    scale = _scale(scope, observation, seen.logits[0])
    floats = observation.astype(np.float32) / scale
    empty = np.zeros_like(floats)
    if cells is not None and cells.is_picture:
        empty[:] = floats.mean(tuple(range(floats.ndim - 1)))
    if cells is not None:
        empty = np.where(cells.cell >= 0, empty, floats)
    gradients = _integrated(scope.network, scope.weights, floats, empty, action)
    number = 0 if cells is None else cells.shape[0] * cells.shape[1]
    hidden = [empty] + [
        np.where(cells.cell == cell, empty, floats) for cell in range(number) if cells is not None
    ]
    outputs = _outputs(scope, [floats, *hidden], action)
    return Attribution(
        action=action,
        gradients=np.asarray(gradients),
        occlusion=(outputs[:1] - outputs[2:]).T,
        total=outputs[0] - outputs[1],
    )


def hide_each(scope: Scope, state: Any) -> list[HiddenObject]:
    """Hide every object in turn."""
    before = scope.look_once(state)
    found = []
    for change in scope.testbed.changes():
        if change.kind == HIDDEN:
            found += without_each(scope, before, scope.twins(change, state))
    return found


def without_each(scope: Scope, before: Look, twins: Twins) -> list[HiddenObject]:
    """Effects of hidden objects, one per twin.

    Args:
      before: the moment with nothing hidden.
    """
    if not twins.number:
        return []
    after = scope.look_at(twins)
    values = after.values - before.values
    probabilities = after.probabilities - before.probabilities
    parts = zip(twins.titles, values, probabilities, strict=True)
    return [HiddenObject(title, float(value), p) for title, value, p in parts]


def _scale(scope: Scope, observation: np.ndarray, logits: np.ndarray) -> float:
    """The divisor that makes the network read an observation's floats as it reads bytes."""
    if observation.dtype != np.uint8:
        return 1.0
    for scale in (255.0, 1.0):
        floats = jnp.asarray(observation[None] / np.float32(scale))
        again = scope.network.apply(scope.weights, floats).logits[0]
        if np.allclose(again, logits, atol=_TOLERANCE * max(1.0, float(np.abs(logits).max()))):
            return scale
    raise InputError(
        "attribution: the network's output on floats, raw or divided by 255, does not match that "
        "on bytes"
    )


def _targets(network: Network, weights: Any, action: int, observations: jax.Array) -> jax.Array:
    """The TARGETS, float32 [B, 2]."""
    output = network.apply(weights, observations)
    chosen = jax.nn.log_softmax(output.logits)[:, action]
    return jnp.stack([output.value, chosen], -1)


@partial(jax.jit, static_argnums=0)
def _integrated(
    network: Network, weights: Any, floats: jax.Array, empty: jax.Array, action: int
) -> jax.Array:
    """Integrated gradients of both targets, float32 [2, ...], by the midpoint rule."""
    shares = (jnp.arange(STEPS, dtype=jnp.float32) + 0.5) / STEPS

    def add(total: jax.Array, share: jax.Array) -> tuple[jax.Array, None]:
        def at(observation: jax.Array) -> jax.Array:
            return _targets(network, weights, action, observation[None])[0]

        return total + jax.jacrev(at)(empty + share * (floats - empty)), None

    total, _ = jax.lax.scan(add, jnp.zeros((len(TARGETS), *floats.shape), jnp.float32), shares)
    return total / STEPS * (floats - empty)


@partial(jax.jit, static_argnums=0)
def _batch(network: Network, weights: Any, observations: jax.Array, action: int) -> jax.Array:
    return _targets(network, weights, action, observations)


def _outputs(scope: Scope, observations: list[np.ndarray], action: int) -> np.ndarray:
    """The TARGETS of observations, float32 [N, 2]; the last batch is padded."""
    padding = -len(observations) % _TOGETHER
    stacked = np.stack([*observations, *observations[:1] * padding])
    parts = [
        np.asarray(_batch(scope.network, scope.weights, part, action))
        for part in np.split(stacked, len(stacked) // _TOGETHER)
    ]
    return np.concatenate(parts)[: len(observations)]
