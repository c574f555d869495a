"""Measures over states, with bootstrap intervals over the levels that the states are from.

With too few levels or states, a measure is None.
"""

from __future__ import annotations

import numpy as np

from eval.resampling import Resampling
from eval.statistics import Estimate, interval

LEAST_LEVELS, LEAST_STATES = 10, 30
_RESAMPLES = 1000
_CHUNK = 50  # resamples at a time: bounds the memory of an AUC


def are_enough(levels: np.ndarray) -> bool:
    """Whether M states, of levels int [M], allow an estimate."""
    return levels.size >= LEAST_STATES and np.unique(levels).size >= LEAST_LEVELS


def mean(values: np.ndarray, levels: np.ndarray, seed: int) -> Estimate | None:
    """Mean over M states.

    Args:
      values: float [M].
      levels: int [M], the level of each state.
      seed: of the resampling; states of one level are resampled together.
    """
    if not are_enough(levels):
        return None
    values = values.astype(float)
    return interval(float(values.mean()), Resampling(levels, _RESAMPLES, seed).means(values))


def auc(scores: np.ndarray, labels: np.ndarray, levels: np.ndarray, seed: int) -> Estimate | None:
    """Probability that a positive state has a higher score than a negative one; ties count half.

    Args:
      scores: float [M].
      labels: bool [M].
      levels, seed: as for `mean`.
    """
    if not are_enough(levels) or labels.all() or not labels.any():
        return None
    order = np.argsort(scores, kind="stable")
    positive = labels[order]
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of runs of ties

    def areas(weights: np.ndarray) -> np.ndarray:
        each = weights[:, order].astype(float)  # [b, M]
        above, below = (np.add.reduceat(each * which, starts, 1) for which in (positive, ~positive))
        beaten = np.cumsum(below, 1) - below / 2
        pairs = above.sum(1) * below.sum(1)
        area = (above * beaten).sum(1)
        return np.divide(area, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)

    resampling = Resampling(levels, _RESAMPLES, seed)
    chunks = (slice(start, start + _CHUNK) for start in range(0, _RESAMPLES, _CHUNK))
    resampled = np.concatenate([areas(resampling.of_samples(chunk)) for chunk in chunks])
    (centre,) = areas(np.ones((1, scores.size)))
    return interval(float(centre), resampled)
