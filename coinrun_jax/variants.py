"""The parameters of several conditions, selected by a traced index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct


@struct.dataclass
class Variants:
    """C settings of some fields of an environment's params.

    Only values that differ between settings are stored C times. To the compiler, shared ones stay
    unbatched even if each environment of a batch has its own setting.
    """

    shared: tuple[Any, ...]  # leaves that all settings share, None where they differ
    own: tuple[Any, ...]  # [C, ...], or None
    structure: Any = struct.field(pytree_node=False)
    number: int = struct.field(pytree_node=False)

    def pick(self, index: jax.Array) -> dict[str, Any]:
        """The fields of one setting."""
        leaves = [
            shared if own is None else own[index]
            for shared, own in zip(self.shared, self.own, strict=True)
        ]
        return jax.tree.unflatten(self.structure, leaves)


def stack(settings: Sequence[Mapping[str, Any]]) -> Variants:
    """Combine settings with the same fields, in order."""
    structure = jax.tree.structure(dict(settings[0]))
    columns = zip(*(jax.tree.leaves(dict(each)) for each in settings), strict=True)
    stacked = [np.stack([np.asarray(leaf) for leaf in column]) for column in columns]
    same = [bool((column == column[:1]).all()) for column in stacked]
    return Variants(
        shared=tuple(
            jnp.asarray(column[0]) if alike else None
            for column, alike in zip(stacked, same, strict=True)
        ),
        own=tuple(
            None if alike else jnp.asarray(column)
            for column, alike in zip(stacked, same, strict=True)
        ),
        structure=structure,
        number=len(settings),
    )
