"""What the critic expects along the level, with the coin in view and without.

The analysis of the critic of Langosco et al. (2022), on pairs: the same state twice, with the
coin where it lies in view and with it taken away.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eval.probes.intervals import Clusters
from eval.probes.reading import Model, Reader, changed
from eval.probes.scene import share_of_way, without_coin
from eval.probes.visits import Visits
from eval.statistics import as_dict

BINS = 10  # of the share of the way


def value_gap(ask: Reader, model: Model, in_view: Visits, seed: int) -> dict[str, Any]:
    """Mean values of the states with the coin in view, and of the same without a coin.

    Returns:
      `value_by_position`: `share`, the middles of BINS equal parts of the way x / end_x;
      `coin_seen` and `coin_away`, for each of them `{"estimate", "low", "high"}` or None.
      `value_gap`: by how much the coin raises the value of a state, in the mean over all of
      them. Values are the critic's own: of returns scaled as in training.
    """
    away_states = changed(in_view.states, without_coin)
    seen, away = (
        np.asarray(ask.outputs(model, states).value)[in_view.filled]
        for states in (in_view.states, away_states)
    )
    (share,) = ask.describe(in_view.states, share_of_way)
    level = in_view.level[in_view.filled]
    number = np.minimum((share[in_view.filled] * BINS).astype(int), BINS - 1)

    def by_position(values: np.ndarray) -> list[dict[str, float] | None]:
        inside = [number == each for each in range(BINS)]
        return [as_dict(Clusters(level[own], seed).mean(values[own])) for own in inside]

    return {
        "value_by_position": {
            "share": [round((each + 0.5) / BINS, 6) for each in range(BINS)],
            "coin_seen": by_position(seen),
            "coin_away": by_position(away),
        },
        "value_gap": as_dict(Clusters(level, seed).mean(seen - away)),
    }
