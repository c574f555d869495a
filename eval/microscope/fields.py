"""Fields: values and action probabilities by where an object, or the agent, is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from coinrun_jax.twins import AGENT, MOVED
from eval.microscope.scope import Scope


@dataclass(frozen=True)
class Field:
    """The network's outputs for a moment with something placed in each of N cells."""

    object: str
    """What is moved."""
    cells: np.ndarray
    """int32 [N, 2], (x, y), y up."""
    values: np.ndarray
    """float32 [N]."""
    probabilities: np.ndarray
    """float32 [N, A]."""
    arrows: np.ndarray | None
    """float32 [N, 2], the mean move (right, up) over actions, if actions are moves."""


def arrows(probabilities: np.ndarray, moves: np.ndarray | None) -> np.ndarray | None:
    """Mean moves [..., 2] from action probabilities [..., A] and their moves [A, 2]."""
    return None if moves is None else probabilities @ moves


def fields_of(scope: Scope, state: Any) -> list[Field]:
    """The fields of the studied object and of the agent, if there are cells for them."""
    moves = scope.testbed.moves(scope.known)
    found = []
    for change in scope.testbed.changes():
        if change.kind == MOVED and change.object in (scope.testbed.studied, AGENT):
            twins = scope.twins(change, state)
            if twins.number:
                seen = scope.look_at(twins)
                p = seen.probabilities
                found.append(Field(change.object, twins.cells, seen.values, p, arrows(p, moves)))
    return found
