"""Activation patching between twins: how much of an object's effect each activation carries.

At M moments, the network is shown the view with the studied object and the twin without it. One
activation is patched from the twin into the forward pass with the object, and vice versa. The
*share carried* is how far the output moves towards the twin's: with d the difference that the
object makes to the output, and q the difference that the patch makes, the sum of q d over that of
d d. It is 1 if the patch does all that removing the object does and 0 if it does nothing, but is
not confined to [0, 1].

A bottleneck carries the whole effect, whatever it represents. Where every layer is one, the
question is how few of its units carry it (`UNITS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.microscope.moments import Moments
from eval.microscope.scope import Look, Scope
from eval.resampling import Resampling
from eval.statistics import RESAMPLES, Estimate, interval

REMOVED, ADDED = DIRECTIONS = ("without into with", "with into without")
OUTPUTS: Mapping[str, Callable[[Look], np.ndarray]] = {
    "value": lambda look: look.values[:, None],
    "action": lambda look: look.probabilities,
}
"""What is compared, [M, ...]: the value, and the probabilities of all actions."""
UNITS = (1, 2, 4, 8, 16, 32, 64)
"""How many units are patched: those with the largest mean difference on other moments."""


@dataclass(frozen=True)
class Carried:
    """What one activation carries."""

    activation: str
    units: int
    """Number of units patched,"""
    of: int
    """out of this many; for images, channels."""
    direction: str
    """One of DIRECTIONS."""
    output: str
    """One of OUTPUTS."""
    share: Estimate | None
    """None if the object makes no difference."""


@dataclass(frozen=True)
class Difference:
    """How much an object changes an activation."""

    activation: str
    size: float
    """Norm of the difference over that of the activation with the object, each over all moments."""
    changed: float
    """Share of entries that differ at any moment."""


@dataclass(frozen=True)
class Effect:
    """The object's effect on the output, over moments."""

    value: Estimate
    """Mean absolute difference in value with and without it,"""
    moved: Estimate
    """and mean probability mass that it moves between actions."""


@dataclass(frozen=True)
class Pair:
    """M moments with and without the studied object, shown by the same program."""

    real: Look
    twin: Look
    levels: np.ndarray  # [M]


def look_twice(scope: Scope, moments: Moments) -> Pair:
    """Show the network all moments, with and without the object."""
    real, twin = scope.look_unpatched(moments.states), scope.look_unpatched(moments.without)
    return Pair(real, twin, moments.levels)


def effect(pair: Pair, seed: int = 0) -> Effect:
    """The size of the effect to be carried."""
    value = np.abs(pair.real.values - pair.twin.values)
    moved = np.abs(pair.real.probabilities - pair.twin.probabilities).sum(1) / 2
    sampled = Resampling(pair.levels, RESAMPLES, seed)
    return Effect(*(interval(float(each.mean()), sampled.means(each)) for each in (value, moved)))


def differences(pair: Pair) -> list[Difference]:
    """Differences of every activation, in the order of computation."""
    found = []
    for name, real in pair.real.activations.items():
        difference = pair.twin.activations[name] - real
        base = float(np.sqrt((real.astype(float) ** 2).sum()))
        size = float(np.sqrt((difference.astype(float) ** 2).sum()))
        changed = float((difference != 0).any(0).mean())
        found.append(Difference(name, size / base if base else 0.0, changed))
    return found


def patch_layers(scope: Scope, pair: Pair, seed: int = 0) -> list[Carried]:
    """Patch every activation as a whole, in both directions."""
    sampled = Resampling(pair.levels, RESAMPLES, seed)
    found = []
    for name in scope.names:
        number = _units(pair.real.activations[name])
        found += _carried(scope, pair, sampled, name, np.bool_(True), number)
    return found


def patch_units(scope: Scope, pair: Pair, seed: int = 0) -> list[Carried]:
    """Patch some units of every activation, chosen on half of the levels, measured on the rest."""
    levels = np.unique(pair.levels)
    first = np.isin(pair.levels, levels[::2])
    if first.all():
        return []
    found = []
    rest = Pair(pair.real.pick(~first), pair.twin.pick(~first), pair.levels[~first])
    sampled = Resampling(rest.levels, RESAMPLES, seed)
    for name in scope.names:
        change = np.abs(pair.twin.activations[name] - pair.real.activations[name])[first]
        mean = change.reshape(-1, _units(change)).mean(0) if change.ndim > 1 else change[:1]
        order = np.argsort(-mean, kind="stable")
        for number in (each for each in UNITS if each < len(order)):
            mask = np.zeros(len(order), bool)
            mask[order[:number]] = True
            found += _carried(scope, rest, sampled, name, mask, number)
    return found


def _units(activation: np.ndarray) -> int:
    """Units of an activation [M, ...]: vector entries or image channels; 1 for a scalar."""
    return activation.shape[-1] if activation.ndim > 1 else 1


def _carried(
    scope: Scope, pair: Pair, sampled: Resampling, name: str, mask: Any, number: int
) -> list[Carried]:
    """Both directions and outputs for one choice of units."""
    found = []
    for direction in DIRECTIONS:
        receiver, donor = pair.real, pair.twin
        if direction == ADDED:
            receiver, donor = donor, receiver
        patched = scope.patch(receiver.observations, donor.activations, {name: mask})
        for output, of in OUTPUTS.items():
            made, whole = of(patched) - of(receiver), of(donor) - of(receiver)
            share = share_carried(made, whole, sampled)
            total = _units(pair.real.activations[name])
            found.append(Carried(name, number, total, direction, output, share))
    return found


def share_carried(made: np.ndarray, whole: np.ndarray, sampled: Resampling) -> Estimate | None:
    """Sum of q d over sum of d d, for q `made` and d `whole`, [M, ...]; None if d is 0."""
    share = mean_share(made, whole)
    if share is None:
        return None
    resampled = sampled.means(_products(made, whole))
    known = resampled[:, 1] > 0
    return interval(share, resampled[known, 0] / resampled[known, 1])


def mean_share(made: np.ndarray, whole: np.ndarray) -> float | None:
    """`share_carried` without an interval, for moments that are not resampled."""
    top, bottom = _products(made, whole).mean(0)
    return float(top / bottom) if bottom else None


def _products(made: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The products q d and d d of every moment, float64 [M, 2]."""
    axes = tuple(range(1, whole.ndim))
    return np.stack([(made * whole).sum(axes), (whole * whole).sum(axes)], -1).astype(float)
