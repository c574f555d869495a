"""The bootstrap: which levels each resample holds, for all measures.

States, starts and episodes on one level are correlated, so levels are resampled instead of these.
Training runs are too few to be resampled: `statistics.Bootstrap` adds their spread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Resampling:
    """Bootstrap over the levels of M samples; samples of one level are resampled together."""

    levels: np.ndarray
    """Int [M], the level of each sample."""
    resamples: int
    seed: int = 0
    made_up: int = 0
    """Pseudo-levels, which come last; they can be drawn too, but hold no samples."""
    _number: np.ndarray = field(init=False, repr=False)
    """Int [M], the index of the sample's level among the distinct ones."""
    _counts: np.ndarray = field(init=False, repr=False)
    """Int [L], samples of each level."""

    def __post_init__(self) -> None:
        _, number, counts = np.unique(self.levels, return_inverse=True, return_counts=True)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_counts", counts)

    @property
    def num_levels(self) -> int:
        """Distinct levels that have samples."""
        return self._counts.size

    @property
    def num_samples(self) -> int:
        return self.levels.size

    @cached_property
    def weights(self) -> np.ndarray:
        """How often each resample holds each level; float32 [resamples, L + made_up]."""
        rng = np.random.default_rng(self.seed)
        number, total = self.num_levels, self.num_levels + self.made_up
        weights = np.empty((self.resamples, total), np.float32)
        for row in weights:
            row[:] = np.bincount(rng.integers(total, size=number), minlength=total)
        return weights

    def of_samples(self, chunk: slice = slice(None)) -> np.ndarray:
        """How often some of the resamples hold each sample; float32 [b, M]."""
        return self.weights[chunk][:, self._number]

    def means(self, values: np.ndarray) -> np.ndarray:
        """Means of values [M, ...] over the samples of each resample; float [resamples, ...]."""
        flat = values.reshape(len(values), -1)
        flat = flat if flat.dtype.kind == "f" else flat.astype(float)
        if self.num_samples > self.num_levels:
            order = np.argsort(self._number, kind="stable")
            starts = np.cumsum(self._counts) - self._counts
            totals = np.add.reduceat(flat[order], starts, 0)
        else:
            totals = np.empty_like(flat)
            totals[self._number] = flat
        weights = self.weights[:, : self.num_levels].astype(flat.dtype)
        means = (weights @ totals) / (weights @ self._counts.astype(flat.dtype))[:, None]
        return means.reshape(self.resamples, *values.shape[1:]).astype(float)
