"""metrics.csv: complete whatever happens, without a row missing or twice."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, Protocol


class Logger(Protocol):
    """Where an update's row goes."""

    def log(self, row: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


def read_rows(path: Path) -> list[dict[str, str]]:
    """The whole rows of a metrics file, in order; a last one that was cut short is left out."""
    with open(path, newline="") as file:
        text = file.read()
    lines = text[: text.rfind("\n") + 1].splitlines()
    reader = csv.DictReader(lines)
    return [row for row in reader if None not in row and None not in row.values()]


class MetricsError(ValueError):
    """A metrics file that cannot be gone on with: says why."""


class CsvLogger:
    """One row per update. After a resume the rows past the checkpoint are dropped first.

    Raises:
      OSError: if the file cannot be written.
      MetricsError: if rows of updates already done are missing from it, or have other columns.
    """

    def __init__(self, path: Path, done_updates: int = 0) -> None:
        rows = read_rows(path) if path.exists() else []
        kept = [row for row in rows if int(row["update"]) <= done_updates]
        if [int(row["update"]) for row in kept] != list(range(1, done_updates + 1)):
            raise MetricsError(
                f"{path} has {len(kept)} of the rows 1 ... {done_updates} that came before the "
                "checkpoint; restore the file, or move it and the checkpoints away"
            )
        self._fields: list[str] | None = list(kept[0]) if kept else None
        # The file that is there stays as it is until the one in its place is whole.
        part = Path(f"{path}.part")
        with open(part, "w", newline="") as file:
            if self._fields:
                writer = csv.DictWriter(file, self._fields)
                writer.writeheader()
                writer.writerows(kept)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        self._file = open(path, "a", newline="")  # noqa: SIM115, open as long as the run

    def log(self, row: dict[str, Any]) -> None:
        if self._fields is None:
            self._fields = list(row)
            csv.DictWriter(self._file, self._fields).writeheader()
        if set(row) != set(self._fields):
            odd = ", ".join(sorted(set(row) ^ set(self._fields)))
            raise MetricsError(f"{self._file.name} was begun by another version: without {odd}")
        csv.DictWriter(self._file, self._fields).writerow(row)
        self._file.flush()

    def close(self) -> None:
        self._file.close()
