"""Whether a linear function can read the goal from the features.

Samples come in pairs of the same state: with the goal in view and taken away, or with the goal on
one side of the agent and as far on the other. Nothing else tells the two apart, so features that do
not encode the goal score .5. Each score has two controls: shuffled labels, and an untrained network
of the same architecture, whose random features pass on much of their input (Alain and Bengio 2016;
Hewitt and Liang 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from coinrun_jax.inspection import Describe, Probing
from eval.probes.answers import LinearProbe
from eval.probes.intervals import are_enough, auc
from eval.probes.visits import Visits
from eval.states import Model, Viewer
from eval.statistics import Estimate

MEASURE = "auc"
_PENALTIES = np.logspace(-4, 3, 15)  # ridge penalties, to be multiplied by the number of samples


class Samples(NamedTuple):
    """Samples to fit and test on."""

    features: np.ndarray  # float [n, F]
    labels: np.ndarray  # bool [n]
    level: np.ndarray  # int [n]


class _Target(NamedTuple):
    name: str
    change: Callable[[Any], Any]
    """Turns a state into the other one of its pair."""
    can_change: Describe | None
    is_true: Describe
    """The label of the first state; the other's is the opposite."""


def linear_probes(
    viewer: Viewer,
    trained: Model,
    untrained: Model,
    probing: Probing,
    noun: str,
    in_view: Visits,
    seed: int,
) -> tuple[LinearProbe, ...]:
    """Score every target.

    Args:
      noun: for the goal.
      in_view: states with the goal in view.
    """
    targets = (
        _Target(f"{noun} in view", probing.without, None, probing.in_view),
        _Target(
            f"{noun} {probing.ahead}", probing.opposite, probing.has_opposite, probing.is_ahead
        ),
    )
    found = []
    for target in targets:
        samples = _pairs(viewer, trained, in_view, target)
        mixed = np.random.default_rng(seed).permutation(samples.labels)
        fresh = _pairs(viewer, untrained, in_view, target)
        found.append(
            LinearProbe(
                target=target.name,
                measure=MEASURE,
                score=score(samples, seed),
                shuffled=score(samples._replace(labels=mixed), seed),
                untrained=score(fresh, seed),
                samples=samples.labels.size,
            )
        )
    return tuple(found)


def _pairs(viewer: Viewer, model: Model, visits: Visits, target: _Target) -> Samples:
    states, level = visits.states, visits.level
    if target.can_change is not None:
        keep = viewer.describe(target.can_change, states)
        states, level = jax.tree.map(lambda leaf: leaf[keep], states), level[keep]
    label = viewer.describe(target.is_true, states)
    both = (states, viewer.change(target.change, states))
    features = [viewer.show(model, each).output.features for each in both]
    return Samples(np.concatenate(features), np.concatenate([label, ~label]), np.tile(level, 2))


def score(samples: Samples, seed: int) -> Estimate | None:
    """AUC of a ridge classifier fitted on half of the levels and tested on the other half.

    Args:
      seed: of the split, and of the resampling of test levels.
    """
    levels = np.unique(samples.level)
    chosen = np.random.default_rng(seed).permutation(levels)[: levels.size // 2]
    learn = np.isin(samples.level, chosen)
    labels, tested = samples.labels[learn], samples.level[~learn]
    if not are_enough(tested) or labels.all() or not labels.any():
        return None
    centre, scale = _standard(samples.features[learn])
    standard = (samples.features.astype(float) - centre) / scale
    weights = ridge(standard[learn], np.where(labels, 1.0, -1.0))
    # Targets are +-1: differences this small are rounding, and must not separate equal states.
    scores = np.round(standard[~learn] @ weights, 9)
    return auc(scores, samples.labels[~learn], tested, seed)


def _standard(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature; infinite for constant ones, to drop them."""
    deviation = features.std(0, dtype=float)
    return features.mean(0, dtype=float), np.where(deviation > 1e-6, deviation, np.inf)


def ridge(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Ridge weights [F], with the penalty that minimises the generalised cross-validation error.

    See Golub, Heath and Wahba (1979).

    Args:
      inputs: float [n, F], centred.
      targets: float [n].
    """
    targets = targets - targets.mean()
    left, singular, right = np.linalg.svd(inputs, full_matrices=False)
    along = left.T @ targets
    outside = targets @ targets - along @ along

    def shrink(penalty: float) -> np.ndarray:
        squares = singular**2
        return squares / (squares + penalty * len(inputs))

    def criterion(penalty: float) -> float:
        kept = shrink(penalty)
        error = outside + np.sum(((1 - kept) * along) ** 2)
        return float(error / (len(inputs) - kept.sum()) ** 2)

    best = shrink(min(_PENALTIES, key=criterion))
    known = singular > 1e-9 * max(singular.max(initial=0.0), 1e-9)
    solution = np.divide(best * along, singular, out=np.zeros_like(singular), where=known)
    return right.T @ solution
