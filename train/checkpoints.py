"""Checkpoints of a whole run (orbax), from which it goes on bit for bit.

A checkpoint holds plain arrays, whole, so that it can be read with any number of devices
and hosts, and the checksum of every array, so that one that was damaged later is known.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    BestN,
    LatestN,
)

STATE, CHECKSUMS, SCORE = "state", "checksums", "score"


class CheckpointError(RuntimeError):
    """A checkpoint that could not be written, or none that can be read."""


class Checkpoints:
    """The newest checkpoints of a run and the one with the best score, by updates done.

    Args:
      folder: made if it does not exist.
      keep: how many of the newest are kept.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        policy = AnyPreservationPolicy([LatestN(keep), BestN(get_metric_fn=_score, n=1)])
        self._manager = ocp.CheckpointManager(
            folder.resolve(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy, create=True, cleanup_tmp_directories=True
            ),
        )

    @property
    def updates(self) -> list[int]:
        """Of the checkpoints there are, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, update: int, state: Any, score: float) -> None:
        """Write a checkpoint and wait until it is on disk; nothing to do if it is there.

        Args:
          state: a tree of numpy arrays.
          score: the higher, the better.

        Raises:
          CheckpointError: if it could not be written. Earlier ones are untouched.
        """
        if update in self._manager.all_steps():
            return
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            checksums=ocp.args.JsonSave({"crc32": _checksums(state)}),
        )
        try:
            self._manager.save(update, args=args, metrics={SCORE: score}, force=True)
            self._manager.wait_until_finished()
        except Exception as error:  # of many types, by where it came from
            raise CheckpointError(
                f"checkpoint {update} could not be written: {_first_line(error)}"
            ) from error

    def restore(self, like: Any) -> tuple[int, Any] | None:
        """The newest checkpoint that is whole: updates done and state; None without any.

        Says on stderr which newer ones were passed over, and removes them: the run will
        write its own in their place.

        Args:
          like: a tree of the same structure, shapes and types.

        Raises:
          CheckpointError: if there are checkpoints and none of them is whole.
        """
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), like)
        found = self.updates
        for update in reversed(found):
            try:
                state = self._read(update, shapes)
            except Exception as error:  # of many types, by what is broken
                print(
                    f"warning: checkpoint {update} cannot be read and is passed over "
                    f"({_first_line(error)})",
                    file=sys.stderr,
                )
                continue
            for newer in (other for other in found if other > update):
                self._manager.delete(newer)
            return update, state
        if found:
            raise CheckpointError(
                f"none of the checkpoints {found} can be read: damaged, or of another version "
                "of the code (run.json names the commit)"
            )
        return None

    def _read(self, update: int, shapes: Any) -> Any:
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(jax.tree.map(_blank, shapes)),
            checksums=ocp.args.JsonRestore(),
        )
        restored = self._manager.restore(update, args=args)
        state = restored[STATE]
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(shapes), strict=True):
            if a.shape != b.shape or a.dtype != b.dtype:
                raise ValueError(f"an array is {a.dtype} {a.shape}, not {b.dtype} {b.shape}")
        if _checksums(state) != restored[CHECKSUMS]["crc32"]:
            raise ValueError("its arrays are not those that were written")
        return state

    def close(self) -> None:
        self._manager.close()


def _score(metrics: Any) -> float:
    return metrics[SCORE]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0][:200]


def _blank(shape: jax.ShapeDtypeStruct) -> np.ndarray:
    return np.zeros(shape.shape, shape.dtype)


def _checksums(state: Any) -> list[int]:
    """CRC-32 of every array, in the tree's order."""
    return [zlib.crc32(np.ascontiguousarray(leaf).data) for leaf in jax.tree.leaves(state)]
