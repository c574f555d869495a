"""Policies that a run keeps for good, in RUN/kept/STEPS, apart from its checkpoints."""

from __future__ import annotations

from pathlib import Path

from train.policy import updates_of

KEPT = "kept"


def kept_folder(run_dir: Path, steps: int) -> Path:
    """Where the policy after `steps` environment steps is kept."""
    return run_dir / KEPT / str(steps)


def find_kept(run_dir: Path) -> dict[int, Path]:
    """Folders of a run's policies by update, in order: those that it kept, and the newest."""
    folders = [run_dir, *(run_dir / KEPT).glob("*")]
    found = {update: folder for folder in folders if (update := updates_of(folder)) >= 0}
    return dict(sorted(found.items()))
