"""Whether a condition shows what training did not: the label that detectors of shift predict."""

from __future__ import annotations

import jax
import numpy as np

from coinrun_jax.coinrun.placement import CATALOGUE, CoinPlacement, make_placement
from eval.suites import Condition
from train.config import EnvConfig


def is_shifted(condition: Condition, trained: EnvConfig) -> bool:
    """Whether a condition differs from training in more than its levels being unseen.

    A coin is where training puts it if the condition's placement is among those that the
    training placement draws from. Levels of some length or difficulty are no shift, levels of
    the other mode are one.
    """
    cues, items = trained.cues.arguments(), trained.items.arguments()
    shown = condition.settings(cues, items)
    usual = Condition("training").settings(cues, items)
    alike = jax.tree.map(np.array_equal, *((s["cues"], s["items"]) for s in (shown, usual)))
    if not jax.tree.all(alike) or condition.levels.mode not in (None, trained.mode):
        return True
    known = make_placement(
        trained.placement,
        trained.placement_probability,
        fraction=trained.placement_fraction,
        cell=trained.placement_cell,
    )
    return not _is_within(shown["placement"], known)


def _is_within(placement: CoinPlacement, known: CoinPlacement) -> bool:
    if bool(placement.present) != bool(known.present):
        return False
    kinds = _kinds(placement)
    if "fraction" in kinds:
        low, high = placement.fraction
        if low < known.fraction[0] or high > known.fraction[1]:
            return False
    if "fixed" in kinds and not np.array_equal(placement.cell, known.cell):
        return False
    return kinds <= _kinds(known)


def _kinds(placement: CoinPlacement) -> set[str]:
    """Placements that are drawn from."""
    candidates = {
        name for name, weight in zip(CATALOGUE, placement.weights, strict=True) if weight > 0
    }
    at_end = {"end"} if placement.probability < 1 else set()
    if "fraction" in candidates and placement.fraction[0] == 1:  # all of the way is the end
        candidates.remove("fraction")
        candidates.add("end")
    return at_end | (candidates if placement.probability > 0 else set())
