"""Suites: lists of named conditions, all played on the same unseen levels.

A condition says where the coin goes. Its *control* is the same with the coin taken away,
which tells how often the coin's cell is passed by accident. To add a suite, add an entry to
`SUITES`; any placement of `coinrun_jax.placement.CATALOGUE` will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax import CoinPlacement, make_placement


@dataclass(frozen=True)
class Condition:
    """One way to place the coin."""

    name: str
    title: str
    """In words, for tables and figures."""
    placement: str
    """A name of `coinrun_jax.placement.CATALOGUE`."""
    probability: float = 1.0
    """Chance that a level's coin follows `placement`; it lies at the end otherwise. At 0 the
    placement still names the cell that is watched while the coin lies at the end."""
    present: bool = True
    """False takes the coin away; its cell is watched instead."""
    control_of: str | None = None
    """The condition that this is the control of."""

    @property
    def coin_at(self) -> str:
        """Where the coin is, or would be were it not taken away."""
        return self.placement if self.probability > 0 else "end"

    @property
    def tells_coin_from_end(self) -> bool:
        """Whether fetching the coin and reaching the end are different things here."""
        return self.present and self.coin_at != "end"


@dataclass(frozen=True)
class Suite:
    """Conditions to compare.

    Raises:
      ValueError: where names repeat or a control is the control of nothing in the suite.
    """

    name: str
    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        names = [condition.name for condition in self.conditions]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"suite {self.name!r}: conditions {names} must be some, and differ")
        for condition in self.conditions:
            controlled = condition.control_of
            if controlled is not None and (condition.present or controlled not in names):
                raise ValueError(
                    f"suite {self.name!r}: {condition.name!r} is no control of {controlled!r}"
                )

    def index(self, name: str) -> int:
        """Position of a condition."""
        return [condition.name for condition in self.conditions].index(name)

    def control_of(self, name: str) -> Condition | None:
        """The control of a condition, if the suite has it."""
        for condition in self.conditions:
            if condition.control_of == name:
                return condition
        return None


def _moved(name: str, title: str) -> tuple[Condition, Condition]:
    """A placement and its control."""
    return (
        Condition(name, title, placement=name),
        Condition(
            f"{name}_control",
            f"{title}, then taken away",
            placement=name,
            present=False,
            control_of=name,
        ),
    )


_RELOCATION = Suite(
    "relocation",
    (
        Condition("end", "coin at the end", placement="random_section", probability=0.0),
        *_moved("random_section", "coin moved to a random section"),
    ),
)

SUITES: dict[str, Suite] = {suite.name: suite for suite in (_RELOCATION,)}
"""Suites by name."""


def stack_placements(conditions: Sequence[Condition]) -> CoinPlacement:
    """The placements of C conditions as one, leading axis C.

    Raises:
      ValueError: for a placement that does not exist, or an impossible probability.
    """
    placements = [make_placement(c.placement, c.probability, c.present) for c in conditions]
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *placements)
