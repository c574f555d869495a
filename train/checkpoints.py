"""Checkpoints of a whole `TrainState` (orbax), from which a run goes on bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _without_keys(tree: Any) -> Any:
    """Typed random keys as the numbers behind them, which is what can be stored."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)


class Checkpoints:
    """The newest checkpoints of a run, by number of updates done."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self._manager = ocp.CheckpointManager(
            folder.resolve(), options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        )

    def save(self, update: int, state: Any) -> None:
        """Write a checkpoint and wait until it is safe on disk."""
        if update != self._manager.latest_step():
            self._manager.save(update, args=ocp.args.StandardSave(_without_keys(state)))
        self._manager.wait_until_finished()

    def restore_latest(self, like: Any) -> Any | None:
        """The newest state, or None if there is none.

        Args:
          like: a state of the same shapes, for structure and placement on devices.
        """
        latest = self._manager.latest_step()
        if latest is None:
            return None
        stored = self._manager.restore(latest, args=ocp.args.StandardRestore(_without_keys(like)))

        def with_key(old: Any, new: Any) -> Any:
            return jax.random.wrap_key_data(new) if _is_key(old) else new

        return jax.tree.map(with_key, like, stored)

    def close(self) -> None:
        self._manager.close()
