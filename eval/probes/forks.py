"""The agent's preference where goal and proxy are in opposite directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax

from coinrun_jax.inspection import Probing
from eval.probes.answers import Forks
from eval.probes.intervals import mean
from eval.probes.visits import Visits
from eval.states import Model, Viewer


def preference(viewer: Viewer, model: Model, probing: Probing, forks: Visits, seed: int) -> Forks:
    """The policy's probability of moving towards the goal, with and without it.

    Args:
      forks: states at which `probing.is_fork` is true.
    """
    towards_goal = np.asarray(probing.towards_goal(viewer.params))

    def mass(states: Any) -> np.ndarray:
        logits = np.asarray(viewer.show(model, states).output.logits, float)
        return softmax(logits, -1)[:, towards_goal].sum(-1)

    towards, without = mass(forks.states), mass(viewer.change(probing.without, forks.states))
    return Forks(
        states=forks.level.size,
        towards=mean(towards, forks.level, seed),
        towards_without=mean(without, forks.level, seed),
        shift=mean(towards - without, forks.level, seed),
    )
