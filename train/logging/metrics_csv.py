"""metrics.csv: complete after any interruption, without missing or repeated rows."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coinrun_jax.checks import InputError, shown
from coinrun_jax.files import read_text, write_text

_MOST = 2**28  # bytes of a file: a million updates
_ADVICE = "restore the file, or start a new run in another --run-dir"
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?|inf|nan)")


def read_rows(path: Path) -> list[dict[str, str]]:
    """The complete rows of a metrics file, in order; a truncated last row is left out.

    Raises:
      InputError: if there is no such file.
    """
    text = read_text(path, "metrics", _MOST)
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    try:
        return [row for row in reader if None not in row and None not in row.values()]
    except csv.Error as error:
        raise InputError(f"metrics {path} is not CSV: {error}") from error


def has_rows(path: Path) -> bool:
    """Whether a metrics file has more than its header.

    Raises:
      InputError: if it cannot be read.
    """
    return read_text(path, "metrics", _MOST).rstrip().count("\n") > 0


def rows_of_updates(path: Path, columns: Sequence[str], done: int) -> list[dict[str, str]]:
    """The rows of the first `done` updates, which a checkpoint covers.

    Raises:
      InputError: if one is missing or holds something other than numbers, or the file has other
        columns.
    """
    text = read_text(path, "metrics", _MOST) if os.path.lexists(path) else ""
    header = text.partition("\n")[0].strip().split(",")
    if text and header != list(columns):
        odd = ", ".join(sorted(set(header) ^ set(columns)))
        raise InputError(
            f"{path} has different columns from those this version writes ({shown(odd)}); {_ADVICE}"
        )
    rows = read_rows(path)[:done] if text else []
    if [row["update"] for row in rows] != [str(update) for update in range(1, done + 1)]:
        raise InputError(
            f"{path} does not begin with rows 1 ... {done}, those before the checkpoint; {_ADVICE}"
        )
    for row in rows:
        for name, value in row.items():
            if value and not _NUMBER.fullmatch(value):
                raise InputError(
                    f"{path}: {name} of update {row['update']} is {shown(value)}, not a number; "
                    f"{_ADVICE}"
                )
    return rows


class CsvLogger:
    """Appends a row per update.

    Args:
      kept: initial rows of the file, from `rows_of_updates`. An existing file is replaced
        atomically.

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
        self._file = open(path, "a", newline="")  # noqa: SIM115, open during the whole run
        self._writer = csv.DictWriter(self._file, columns)

    def log(self, row: dict[str, Any]) -> None:
        self._writer.writerow(row)
        self._file.flush()

    def close(self) -> None:
        self._file.close()
