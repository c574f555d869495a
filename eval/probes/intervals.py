"""Measures of states with intervals by bootstrap over levels.

States of one level are alike, so that levels are resampled and not states. What is said of
too few of either is None.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from eval.statistics import Estimate, interval

LEAST_LEVELS, LEAST_STATES = 10, 30
_RESAMPLES = 1000
_CHUNK = 50  # resamples at a time: bounds the memory of an AUC


class Clusters:
    """M states by the level that they are from.

    Args:
      level: int [M].
      seed: of the resampling; the same levels are resampled alike.
    """

    def __init__(self, level: np.ndarray, seed: int) -> None:
        self.num_states = level.size
        self._seed = seed
        self._names, self._of = np.unique(level, return_inverse=True)

    @property
    def are_enough(self) -> bool:
        """Whether anything can be said of so few."""
        return self._names.size >= LEAST_LEVELS and self.num_states >= LEAST_STATES

    @cached_property
    def _weights(self) -> np.ndarray:
        """How often each resample holds each level; int [B, L]."""
        count = self._names.size
        rng = np.random.default_rng(self._seed)
        return rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)

    def mean(self, values: np.ndarray) -> Estimate | None:
        """Mean of float [M]."""
        if not self.are_enough:
            return None
        values = values.astype(float)
        total = np.bincount(self._of, values)
        resampled = (self._weights @ total) / (self._weights @ np.bincount(self._of))
        return interval(float(values.mean()), resampled)

    def auc(self, scores: np.ndarray, labels: np.ndarray) -> Estimate | None:
        """Chance that a positive state has a higher score than a negative one, ties half.

        Args:
          scores: float [M].
          labels: bool [M].
        """
        if not self.are_enough or labels.all() or not labels.any():
            return None
        order = np.argsort(scores, kind="stable")
        level, positive = self._of[order], labels[order]
        starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of runs of ties

        def areas(weights: np.ndarray) -> np.ndarray:
            each = weights[:, level].astype(float)  # [b, M]
            above, below = (
                np.add.reduceat(each * which, starts, 1) for which in (positive, ~positive)
            )
            beaten = np.cumsum(below, 1) - below / 2
            pairs = above.sum(1) * below.sum(1)
            area = (above * beaten).sum(1)
            return np.divide(area, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)

        chunks = np.array_split(self._weights, _RESAMPLES // _CHUNK)
        resampled = np.concatenate([areas(chunk) for chunk in chunks])
        (centre,) = areas(np.ones((1, self._names.size)))
        return interval(float(centre), resampled)
