"""The episodes of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.outcomes import OUTCOMES, Record
from eval.suites import Suite

AGENT, GREEDY, BAR = "agent", "greedy", "right_jump"
POLICY_TITLES = {
    AGENT: "agent",
    GREEDY: "agent, likeliest action",
    BAR: "right + jump, eyes closed",
    "random": "uniformly random",
}
"""Who plays. BAR is the reference that an agent must clearly beat to count as competent."""


@dataclass(frozen=True)
class Played:
    """All episodes of one policy; C conditions x N levels x S samples."""

    record: Record  # numpy, [C, N, S]
    outcome: np.ndarray  # int8 [C, N, S], index into OUTCOMES
    first_step: np.ndarray  # int32 [C, N, S]


def happened(plays: Sequence[Played], condition: int, *names: str) -> np.ndarray:
    """Whether episodes of a condition came to one of these; bool [R, N, S] of R policies."""
    codes = [OUTCOMES.index(name) for name in names]
    return np.stack([np.isin(played.outcome[condition], codes) for played in plays])


@dataclass(frozen=True)
class Trained:
    """What an agent was trained on, as far as tables tell."""

    name: str
    """The run's folder."""
    seed: int
    p: float
    """Share of training episodes whose coin did not stay at the end."""
    placement: str = "end"
    """Where it went then; a name or mixture of `coinrun_jax.coinrun.placement.CATALOGUE`."""


@dataclass(frozen=True)
class Evaluation:
    """What was played: policies by name, the agent first."""

    suite: Suite
    played: Mapping[str, Played]
    level_seeds: np.ndarray  # uint32 [C, N]
    end_cells: np.ndarray  # int [C, N, 2]
    trained: Trained
    seed: int = 0

    @property
    def agents(self) -> tuple[str, ...]:
        """Those of the policies that are the agent's."""
        return tuple(policy for policy in self.played if policy in (AGENT, GREEDY))
