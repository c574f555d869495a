"""The version of the code."""

from __future__ import annotations

import subprocess
from pathlib import Path


def source_commit() -> str | None:
    """Commit of this checkout, with `-dirty` if files differ from it; None outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # no git
        return None
    return described.stdout.strip() or None
