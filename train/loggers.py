"""metrics.csv: complete whatever happens, without a row missing or twice."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from coinrun_jax.checks import InputError, shown
from coinrun_jax.files import read_text, write_text


class Logger(Protocol):
    """Where an update's row goes."""

    def log(self, row: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


def read_rows(path: Path) -> list[dict[str, str]]:
    """The whole rows of a metrics file, in order; a last one that was cut short is left out.

    Raises:
      InputError: where there is no such file.
    """
    text = read_text(path, "metrics")
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    try:
        return [row for row in reader if None not in row and None not in row.values()]
    except csv.Error as error:
        raise InputError(f"metrics {path} is not CSV: {error}") from error


def rows_of_updates(path: Path, columns: Sequence[str], done: int) -> list[dict[str, str]]:
    """The rows of the updates that a checkpoint has done.

    Raises:
      InputError: if one is missing, or the file has other columns: it is not the run's.
    """
    rows = read_rows(path) if path.exists() else []
    if rows and list(rows[0]) != list(columns):
        odd = sorted(set(rows[0]) ^ set(columns))
        raise InputError(
            f"{path} has other columns than this version writes ({shown(', '.join(odd))}); restore "
            "the file, or move it and the checkpoints away"
        )
    kept = [row for row in rows if row["update"].isdecimal() and int(row["update"]) <= done]
    if [int(row["update"]) for row in kept] != list(range(1, done + 1)):
        raise InputError(
            f"{path} has {len(kept)} of the rows 1 ... {done} that came before the checkpoint; "
            "restore the file, or move it and the checkpoints away"
        )
    return kept


class CsvLogger:
    """One row per update.

    Args:
      columns: of every row.
      kept: rows that the file begins with, as `rows_of_updates` gives them. The file that is
        there stays as it is until the one in its place is whole.

    Raises:
      OSError: if the file cannot be written.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], kept: Sequence[dict[str, str]] = ()
    ) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(kept)
        write_text(path, text.getvalue())
        self._file = open(path, "a", newline="")  # noqa: SIM115, open as long as the run
        self._writer = csv.DictWriter(self._file, columns)

    def log(self, row: dict[str, Any]) -> None:
        self._writer.writerow(row)
        self._file.flush()

    def close(self) -> None:
        self._file.close()
