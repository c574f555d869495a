"""Twins of a state: the same state with one thing changed, as a batch.

A change affects the state, or the fields of the params that determine what is seen; everything
else stays bit-identical. Nothing here is traced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

MOVED, HIDDEN, RECOLOURED = KINDS = ("moved", "hidden", "recoloured")
AGENT = "agent"
"""The object that every testbed with changes can move: the agent itself."""
NOWHERE = (-1, -1)


@dataclass(frozen=True)
class Twins:
    """N twins of one state, N >= 0; numpy."""

    states: Any
    """[N, ...], states of the environment."""
    titles: tuple[str, ...]
    """What is different, such as "coin at (3, 4)"."""
    cells: np.ndarray
    """int32 [N, 2], (x, y) of the object that was moved, y up from the board's lower edge;
    NOWHERE for other changes."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the params, leaves [N, ...]; the others stay as they are."""

    @property
    def number(self) -> int:
        return len(self.titles)


@dataclass(frozen=True)
class Change:
    """One kind of change that can be made to a state."""

    object: str
    """Such as "coin"."""
    kind: str
    """One of KINDS."""
    make: Callable[[Any, Any], Twins]
    """(state, params) of one environment, numpy -> its twins: one for every cell that the object
    can be in, or for every way to hide or recolour it; none if there is nothing to change."""

    @property
    def name(self) -> str:
        """Such as "coin_moved"."""
        return f"{self.object}_{self.kind}".replace(" ", "_")


def repeated(tree: Any, number: int) -> Any:
    """A tree of arrays, repeated along a new leading axis; numpy."""

    def repeat(leaf: Any) -> np.ndarray:
        array = np.asarray(leaf)
        return np.repeat(array[None], number, 0)

    return jax.tree.map(repeat, tree)


def with_fields(
    state: Any,
    titles: Sequence[str],
    cells: Any = None,
    overrides: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Twins:
    """Twins that differ from a state in the given fields alone.

    Args:
      state: of one environment.
      titles: one for each twin.
      cells: as in `Twins`; NOWHERE by default.
      overrides: as in `Twins`.
      fields: of the state, [N, ...] each, cast to the state's dtypes.
    """
    number = len(titles)
    states = repeated(state, number)
    own = {
        name: np.asarray(values, getattr(states, name).dtype).reshape(getattr(states, name).shape)
        for name, values in fields.items()
    }
    where = np.tile(np.array(NOWHERE, np.int32), (number, 1)) if cells is None else cells
    return Twins(
        states.replace(**own),
        tuple(titles),
        np.asarray(where, np.int32).reshape(number, 2),
        overrides or {},
    )


def moved_to(state: Any, noun: str, cells: np.ndarray, **fields: Any) -> Twins:
    """Twins with an object in each of N cells.

    Args:
      noun: for the object.
      cells: int [N, 2], (x, y) as in `Twins`.
      fields: of the state, that place the object there.
    """
    return with_fields(state, [f"{noun} at ({x}, {y})" for x, y in cells], cells, **fields)


@dataclass(frozen=True)
class ObservedCells:
    """Which cell of the view, and which of its features, each number of an observation shows."""

    shape: tuple[int, int]
    """Rows and columns of the view."""
    cell: np.ndarray
    """int32, of an observation's shape: row * columns + column, row 0 at the top; -1 for none."""
    feature: np.ndarray
    """int32, of an observation's shape, index into `features`."""
    features: tuple[str, ...]
    """Such as "coin", "walls" or "red"."""
    corner: Callable[[Any], tuple[float, float]]
    """state -> (x, y) of the view's lower left corner on the board, in tiles, y up."""
    is_picture: bool = False
    """Whether a hidden cell takes the picture's mean colour instead of zeros."""
    wraps: bool = False
    """Whether the view is as large as the board and wraps around its edges."""
