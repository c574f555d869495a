"""Checkpoints of a complete run (orbax), from which it resumes bit for bit.

A checkpoint holds plain, unsharded arrays, which any number of devices and hosts can read; a
checksum of every array, which reveals later damage; and a score. Which ones are kept depends only
on what is on disk, not on how often a run was interrupted.
"""

from __future__ import annotations

import logging
import math
import re
import shutil
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from coinrun_jax.checks import InputError, one_line
from coinrun_jax.files import read_mapping
from train.devices import processes

CHECKPOINTS = "checkpoints"
"""Folder in a run's directory."""
STATE, ABOUT = "state", "about"
_DAMAGED, _DELETED = "damaged-", "deleted-"
_NAME = re.compile("0|[1-9][0-9]{0,9}")
_OF_THE_MACHINE = ("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAVAILABLE")
"""Prefixes of tensorstore errors unrelated to the file; the others are OSErrors."""

# This module reports a failure once, in one line; orbax and asyncio would add tracebacks, the
# latter also for writes that end after the failed one.
for _name in ("absl", "asyncio"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)
_say_ignored = sys.unraisablehook


def _say_other_ignored(ignored: sys.UnraisableHookArgs) -> None:
    if str(ignored.exc_value) != "Event loop is closed":
        _say_ignored(ignored)


sys.unraisablehook = _say_other_ignored


class CheckpointError(RuntimeError):
    """A checkpoint that could not be written."""


class UnreadableCheckpoint(ValueError):
    """A checkpoint cannot be read, and is itself at fault."""


class Checkpoints:
    """The newest checkpoints of a run and the one with the best score, by updates done.

    Args:
      folder: created with the first checkpoint.
      keep: how many of the newest are kept.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self._folder, self._keep = folder.absolute(), keep
        self._orbax = ocp.Checkpointer(ocp.CompositeCheckpointHandler())

    @property
    def updates(self) -> list[int]:
        """Updates of the existing checkpoints, readable or not, in ascending order."""
        if not self._folder.is_dir():
            return []
        names = [path.name for path in self._folder.iterdir() if path.is_dir()]
        return sorted(int(name) for name in names if _NAME.fullmatch(name))

    def save(self, update: int, state: Any, score: float | None) -> None:
        """Write a checkpoint, then delete those that are neither recent nor the best.

        Args:
          state: a tree of numpy arrays.
          score: higher is better; None if it cannot be the best.

        Raises:
          CheckpointError: if it could not be written. Earlier ones are untouched.
        """
        if update in self.updates:
            return
        if score is not None and not np.isfinite(score):
            score = None
        about = {"crc32": _checksums(state), "score": score}
        args = ocp.args.Composite(
            **{STATE: ocp.args.StandardSave(state), ABOUT: ocp.args.JsonSave(about)}
        )
        try:
            self._orbax.save(self._path(update), args=args)
        except Exception as error:  # many types occur
            if processes.is_main():
                self.tidy()
            raise CheckpointError(
                f"checkpoint {update} could not be written: {_reason(error)}"
            ) from error
        processes.on_main(self._delete_old)

    def tidy(self) -> None:
        """Remove what a killed process left half-written or half-deleted."""
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if path.name.startswith(_DELETED) or ".orbax-checkpoint-tmp" in path.name:
                shutil.rmtree(path, ignore_errors=True)

    def restore(self, shapes: Callable[[int], Any]) -> tuple[int, Any] | None:
        """Updates and state of the newest readable checkpoint; None if there are no checkpoints.

        Warns on stderr about newer ones that are skipped. Changes nothing.

        Args:
          shapes: updates -> a tree of the same structure with shapes and dtypes.

        Raises:
          InputError: if there are checkpoints but none is readable.
          CheckpointError: if the machine failed, not the checkpoint.
        """
        found = self.updates
        for update in reversed(found):
            try:
                return update, self.read(update, shapes(update))
            except UnreadableCheckpoint as error:
                print(
                    f"warning: checkpoint {update} cannot be read and is skipped ({error})",
                    file=sys.stderr,
                )
        if found:
            raise InputError(
                f"none of the checkpoints {found} in {self._folder} can be read: damaged, or of "
                "another version of the code (run.json names the commit)"
            )
        return None

    def read(self, update: int, shapes: Any) -> Any:
        """The state of a checkpoint.

        Raises:
          UnreadableCheckpoint: if it is damaged, or its arrays do not match `shapes`.
          CheckpointError: if the machine failed, not the checkpoint.
        """
        try:
            return self._read(update, shapes)
        except Exception as error:  # many types occur
            if _is_of_the_machine(error):
                raise CheckpointError(
                    f"checkpoint {update} could not be read: {_reason(error)}"
                ) from error
            raise UnreadableCheckpoint(_reason(error)) from error

    def set_aside_after(self, update: int) -> None:
        """Rename the checkpoints that `restore` skipped: the run will write new ones."""
        for newer in (other for other in self.updates if other > update):
            self._rename(newer, _DAMAGED)

    def _path(self, update: int) -> Path:
        return self._folder / str(update)

    def _read(self, update: int, shapes: Any) -> Any:
        blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        args = ocp.args.Composite(
            **{STATE: ocp.args.StandardRestore(blank), ABOUT: ocp.args.JsonRestore()}
        )
        restored = self._orbax.restore(self._path(update), args=args)
        state = restored[STATE]
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(shapes), strict=True):
            if a.shape != b.shape or a.dtype != b.dtype:
                raise ValueError(f"an array is {a.dtype} {a.shape}, not {b.dtype} {b.shape}")
        if _checksums(state) != restored[ABOUT]["crc32"]:
            raise ValueError("its arrays have changed since they were written")
        return state

    def _score(self, update: int) -> float:
        """Minus infinity if there is no readable score."""
        # Not through orbax, whose reads wait for all processes.
        try:
            about = read_mapping(self._path(update) / ABOUT / "metadata", "checkpoint")
        except InputError:
            return -math.inf
        score = about.get("score")
        return float(score) if isinstance(score, int | float) else -math.inf

    def _delete_old(self) -> None:
        updates = self.updates
        best = max(updates, key=lambda update: (self._score(update), update))
        for update in updates[: -self._keep]:
            if update != best:
                shutil.rmtree(self._rename(update, _DELETED))

    def _rename(self, update: int, prefix: str) -> Path:
        """Rename atomically, so that no checkpoint is ever incomplete; returns the new path."""
        path, number = self._folder / f"{prefix}{update}", 1
        while path.exists():
            number += 1
            path = self._folder / f"{prefix}{update}-{number}"
        self._path(update).rename(path)
        return path

    def close(self) -> None:
        self._orbax.close()


def _is_of_the_machine(error: BaseException) -> bool:
    """Whether an error is unrelated to the file that was read."""
    if isinstance(error, MemoryError) or str(error).startswith(_OF_THE_MACHINE):
        return True
    if isinstance(error, OSError):
        return not isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError)
    cause = error.__cause__ or error.__context__
    return cause is not None and _is_of_the_machine(cause)


def _reason(error: BaseException) -> str:
    """The root cause in one line: orbax wraps the system's errors."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    strerror = getattr(error, "strerror", None)
    return one_line(strerror or str(error).strip().split("\n")[0] or error)[:200]


def _checksums(state: Any) -> list[int]:
    """CRC-32 of every array, in the order of the tree."""
    return [zlib.crc32(np.ascontiguousarray(leaf).data) for leaf in jax.tree.leaves(state)]
