"""How much of what an object does passes through each activation: copies from one twin to another.

Of M moments, the network is shown the view with the studied object and the twin without it. One
activation is copied from the twin into the run with the object, and the reverse. The *share
carried* is how far the output moves towards the twin's: with d the difference that the object
makes to it, and q the difference that the copy makes, the sum of q d over that of d d. It is 1 if
the copy does all that taking the object away does, 0 if nothing; nothing keeps it in between.

An activation that everything passes through carries all of it, whatever it is. Where all do, one
after the other, the question is how few of their units do (`UNITS`).
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
"""How many units are copied, those with the largest mean difference on other moments."""


@dataclass(frozen=True)
class Carried:
    """What one activation carries."""

    activation: str
    units: int
    """How many are copied,"""
    of: int
    """of how many; of images, channels."""
    direction: str
    """Of DIRECTIONS."""
    output: str
    """Of OUTPUTS."""
    share: Estimate | None
    """None where the object makes no difference."""


@dataclass(frozen=True)
class Difference:
    """How much of an activation an object changes."""

    activation: str
    size: float
    """Root of the sum of squared differences over that of squared activations with the object; mean
    of squares over moments."""
    changed: float
    """Share of units that differ in any moment."""


@dataclass(frozen=True)
class Effect:
    """What the object does to the output, over moments."""

    value: Estimate
    """Mean difference of the value with it and without it, its sign left out,"""
    moved: Estimate
    """and mean share of probability that it moves between actions."""


@dataclass(frozen=True)
class Pair:
    """M moments with the studied object and without it, as one program has shown them."""

    real: Look
    twin: Look
    levels: np.ndarray  # [M]


def look_twice(scope: Scope, moments: Moments) -> Pair:
    """Show the network all moments, with the object and without it."""
    real, twin = scope.look_unpatched(moments.states), scope.look_unpatched(moments.without)
    return Pair(real, twin, moments.levels)


def effect(pair: Pair, seed: int = 0) -> Effect:
    """How much there is to be carried."""
    value = np.abs(pair.real.values - pair.twin.values)
    moved = np.abs(pair.real.probabilities - pair.twin.probabilities).sum(1) / 2
    sampled = Resampling(pair.levels, RESAMPLES, seed)
    return Effect(*(interval(float(each.mean()), sampled.means(each)) for each in (value, moved)))


def differences(pair: Pair) -> list[Difference]:
    """Of every activation, in the order of computation."""
    found = []
    for name, real in pair.real.activations.items():
        difference = pair.twin.activations[name] - real
        base = float(np.sqrt((real.astype(float) ** 2).sum()))
        size = float(np.sqrt((difference.astype(float) ** 2).sum()))
        changed = float((difference != 0).any(0).mean())
        found.append(Difference(name, size / base if base else 0.0, changed))
    return found


def patch_layers(scope: Scope, pair: Pair, seed: int = 0) -> list[Carried]:
    """Every activation as a whole, in both directions."""
    sampled = Resampling(pair.levels, RESAMPLES, seed)
    found = []
    for name in scope.names:
        number = _units(pair.real.activations[name])
        found += _carried(scope, pair, sampled, name, np.bool_(True), number)
    return found


def patch_units(scope: Scope, pair: Pair, seed: int = 0) -> list[Carried]:
    """Some units of every activation, chosen on one half of the levels, measured on the other."""
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
    """Numbers of a vector, channels of an image; 1 for a single number. Of [M, ...]."""
    return activation.shape[-1] if activation.ndim > 1 else 1


def _carried(
    scope: Scope, pair: Pair, sampled: Resampling, name: str, mask: Any, number: int
) -> list[Carried]:
    """Both directions and outputs of one choice of units."""
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
    """Sum of q d over sum of d d, for q `made` and d `whole`, [M, ...]; None where d is 0."""
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
