"""The critic's values along the way, with the goal in view and without.

The critic analysis of Langosco et al. (2022), on pairs: the same state with the goal in view and
with it taken away.
"""

from __future__ import annotations

import numpy as np

from coinrun_jax.inspection import Probing
from eval.probes.answers import ValueByProgress
from eval.probes.intervals import mean
from eval.probes.visits import Visits
from eval.states import Model, Viewer
from eval.statistics import Estimate

BINS = 10  # of the way


def value_gap(
    viewer: Viewer, model: Model, probing: Probing, in_view: Visits, seed: int
) -> tuple[ValueByProgress, Estimate | None]:
    """Mean values of states with the goal in view and taken away, and their mean difference."""
    away_states = viewer.change(probing.without, in_view.states)
    seen, away = (
        np.asarray(viewer.show(model, states).output.value)
        for states in (in_view.states, away_states)
    )
    level = in_view.level
    progress = viewer.describe(probing.progress, in_view.states)
    number = np.minimum((progress * BINS).astype(int), BINS - 1)

    def by_progress(values: np.ndarray) -> tuple[Estimate | None, ...]:
        inside = [number == each for each in range(BINS)]
        return tuple(mean(values[own], level[own], seed) for own in inside)

    middles = tuple(round((each + 0.5) / BINS, 6) for each in range(BINS))
    along = ValueByProgress(middles, by_progress(seen), by_progress(away))
    return along, mean(seen - away, level, seed)
