"""Tables and summaries that figures are drawn from, checked as they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coinrun_jax.checks import InputError, flag, real, shown
from coinrun_jax.files import read_mapping, read_rows, shortened
from eval.results import POLICY_TITLES
from eval.suites import LONGEST_TEXT, MOST_CONDITIONS

_SHARES = ("coin", "accidental", "end", "death", "timeout")
_MEASURES = ("capability_robustness", "goal_misgeneralisation", "coin_attraction")


def read_numbers(
    path: Path,
    what: str,
    numbers: Sequence[str] = (),
    if_any: Sequence[str] = (),
    texts: Sequence[str] = (),
) -> list[dict[str, str]]:
    """Rows of a CSV file, as text.

    Args:
      what: what the file should be, for the message.
      numbers: columns of a number in every row.
      if_any: columns of a number or nothing; those that are not there do not matter.
      texts: columns that there must be besides.

    Raises:
      InputError: where it is no such table.
    """
    rows = read_rows(path, what, (*texts, *numbers))
    for line, row in enumerate(rows, start=2):
        known = [name for name in if_any if row.get(name)]
        for name in (*numbers, *known):
            if not _is_finite(row[name]):
                raise InputError(
                    f"{what} {shortened(path)}: {name} {shown(row[name])} of row {line} is not a "
                    "number"
                )
    return rows


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def read_summary(path: Path) -> dict[str, Any]:
    """`summary.json` of one agent or of several; of one, with all that `figures.draw` reads.

    Raises:
      InputError: where it is none.
    """
    summary = read_mapping(path, "summary")
    if "groups" in summary:
        return summary
    try:
        rows = _rows("conditions", summary.get("conditions"))
        references = summary.get("references")
        if not isinstance(references, dict) or not set(references) < set(POLICY_TITLES):
            raise InputError(f"references {shown(references)} are not those of an evaluation")
        for policy, others in references.items():
            names = [row["condition"] for row in _rows(policy, others)]
            if names != [row["condition"] for row in rows]:
                raise InputError(f"{policy} has other conditions than the agent")
    except InputError as error:
        raise InputError(f"summary {shortened(path)}: {error}") from error
    return summary


def _rows(what: str, rows: Any) -> list[dict[str, Any]]:
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_CONDITIONS:
        raise InputError(f"{what} {shown(rows)} are not 1 ... {MOST_CONDITIONS} rows")
    for row in rows:
        if not isinstance(row, dict):
            raise InputError(f"{what}: {shown(row)} is not a row")
        for name in ("condition", "title"):
            text = row.get(name)
            if not isinstance(text, str) or len(text) > LONGEST_TEXT:
                raise InputError(f"{what}: {name} {shown(text)} is not a name")
        if not isinstance(row.get("control_of"), str | None):
            raise InputError(f"{what}: control_of {shown(row['control_of'])} is not a name")
        flag(f"{what}: tells_coin_from_end", row.get("tells_coin_from_end"))
        for name in (*_SHARES, *_MEASURES):
            _require_estimate(f"{what}: {name}", row.get(name, {}))
    return rows


def _require_estimate(what: str, value: Mapping[str, Any] | None) -> None:
    if value is None:
        return
    if not isinstance(value, dict) or set(value) != {"estimate", "low", "high"}:
        raise InputError(f"{what} {shown(value)} is not an estimate with its bounds")
    for name, number in value.items():
        real(f"{what}.{name}", number)
