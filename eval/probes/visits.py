"""States that an agent visits, a few of each episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from coinrun_jax.arena import Arena
from coinrun_jax.inspection import Describe
from eval.results import AGENT
from eval.states import Viewer

KEPT = 8
"""Most states of a kind that are kept per episode."""
STEPS = 256
"""Steps after which an episode is no longer watched."""
_MOST_EPISODES = 256  # watched at a time


@dataclass(frozen=True)
class Visits:
    """M states of one kind."""

    states: Any  # [M]
    level: np.ndarray  # int [M], index into the arena's levels


def collect_visits(arena: Arena, kinds: Sequence[Describe], seed: int) -> list[Visits]:
    """Watch the agent once in every condition and on every level of the arena.

    Args:
      kinds: states to keep: for each kind, up to KEPT per episode, drawn from those in which the
        agent acts.
      seed: of these draws.

    Returns:
      one for each kind.
    """
    rng = np.random.default_rng(seed)
    viewer = Viewer.of(arena, 0)
    episodes = [(condition, level, 0) for condition, level in np.ndindex(arena.level_index.shape)]
    size = min(arena.lanes, _MOST_EPISODES)
    parts: list[list[Visits]] = [[] for _ in kinds]
    for start in range(0, len(episodes), size):
        part = episodes[start : start + size]
        watched = arena.watch(AGENT, part, STEPS)
        acts = np.arange(len(watched.actions)) < watched.record.steps[:, None]  # [E, T]
        episode, step = np.nonzero(acts)
        states = jax.tree.map(lambda leaf, at=(step, episode): leaf[at], watched.states)
        level = np.array([arena.level_index[each[:2]] for each in part])[episode]
        for found, kind in zip(parts, kinds, strict=True):
            kept = _draw(viewer.describe(kind, states), episode, rng)
            found.append(Visits(jax.tree.map(lambda leaf, at=kept: leaf[at], states), level[kept]))
    return [
        Visits(
            jax.tree.map(lambda *leaves: np.concatenate(leaves), *(each.states for each in found)),
            np.concatenate([each.level for each in found]),
        )
        for found in parts
    ]


def _draw(is_kind: np.ndarray, episode: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up to KEPT of the marked states of each episode, drawn uniformly; indices, in order."""
    marked = rng.permutation(np.flatnonzero(is_kind))
    order = marked[np.argsort(episode[marked], kind="stable")]
    _, first, count = np.unique(episode[order], return_index=True, return_counts=True)
    rank = np.arange(order.size) - np.repeat(first, count)
    return np.sort(order[rank < KEPT])
