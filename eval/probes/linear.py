"""Whether the coin can be read from the features by a linear function.

Samples come in pairs of the same state: the coin in view, and taken away; the coin on one
side of the agent, and as far on the other. Nothing else in a state tells which of the two
it is, so that features without the coin score .5. A score counts beside two controls: the
same with labels shuffled, and an untrained network of the same architecture, whose random
features pass on much of what they see (Alain and Bengio 2016; Hewitt and Liang 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from coinrun_jax import EnvState
from eval.probes.intervals import Clusters
from eval.probes.reading import Describe, Model, Reader, changed
from eval.probes.scene import coin_offset, has_opposite, with_coin_opposite, without_coin
from eval.probes.visits import Visits
from eval.statistics import Estimate, as_dict

MEASURE = "auc"
_PENALTIES = np.logspace(-4, 3, 15)  # of the ridge, times the number of samples


class Samples(NamedTuple):
    """To learn from and to be tested on."""

    features: np.ndarray  # float [n, F]
    labels: np.ndarray  # bool [n]
    level: np.ndarray  # int [n]


class _Target(NamedTuple):
    name: str
    change: Callable[[EnvState], EnvState]
    """To the other state of a pair."""
    can_change: Describe | None
    is_true: Describe
    """The label of the first state; the other's is the opposite."""


TARGETS = (
    _Target("coin in view", without_coin, None, lambda state, pool: state.coin_present),
    _Target(
        "coin to the right",
        with_coin_opposite,
        has_opposite,
        lambda state, pool: coin_offset(state)[0] > 0,
    ),
)


def linear_probes(
    ask: Reader, trained: Model, untrained: Model, in_view: Visits, seed: int
) -> list[dict[str, Any]]:
    """Score every target.

    Returns:
      for each `target`: `measure`, "auc", the chance that of two states of different labels
      the right one is ranked first, on levels that the probe did not learn from; `score` of
      the trained network, `shuffled` of the same with the labels mixed up, `untrained` of a
      fresh one, each `{"estimate", "low", "high"}` or None; `samples`.
    """
    rows = []
    for target in TARGETS:
        samples = _pairs(ask, trained, in_view, target)
        mixed = np.random.default_rng(seed).permutation(samples.labels)
        fresh = _pairs(ask, untrained, in_view, target)
        rows.append(
            {
                "target": target.name,
                "measure": MEASURE,
                "score": as_dict(score(samples, seed)),
                "shuffled": as_dict(score(samples._replace(labels=mixed), seed)),
                "untrained": as_dict(score(fresh, seed)),
                "samples": samples.labels.size,
            }
        )
    return rows


def _pairs(ask: Reader, model: Model, visits: Visits, target: _Target) -> Samples:
    keep = visits.filled.copy()
    if target.can_change is not None:
        keep &= ask.describe(visits.states, target.can_change)[0]
    label = ask.describe(visits.states, target.is_true)[0][keep]
    both = (visits.states, changed(visits.states, target.change))
    features = [ask.outputs(model, states).features[keep] for states in both]
    return Samples(
        np.concatenate(features),
        np.concatenate([label, ~label]),
        np.tile(visits.level[keep], 2),
    )


def score(samples: Samples, seed: int) -> Estimate | None:
    """AUC of a ridge classifier that learns on half of the levels, on the other half.

    Args:
      seed: of the halves, and of the resampling of test levels.
    """
    levels = np.unique(samples.level)
    chosen = np.random.default_rng(seed).permutation(levels)[: levels.size // 2]
    learn = np.isin(samples.level, chosen)
    test = Clusters(samples.level[~learn], seed)
    labels = samples.labels[learn]
    if not test.are_enough or labels.all() or not labels.any():
        return None
    centre, scale = _standard(samples.features[learn])
    standard = (samples.features.astype(float) - centre) / scale
    weights = ridge(standard[learn], np.where(labels, 1.0, -1.0))
    # Targets are +-1: what differs by less is rounding, and must not tell equal states apart.
    scores = np.round(standard[~learn] @ weights, 9)
    return test.auc(scores, samples.labels[~learn])


def _standard(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each feature; those that never vary are left out by an infinite one."""
    deviation = features.std(0, dtype=float)
    return features.mean(0, dtype=float), np.where(deviation > 1e-6, deviation, np.inf)


def ridge(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Weights [F] of least squares with the penalty of the least generalised cross-validation.

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
