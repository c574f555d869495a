"""Tables and summaries that figures are drawn from, checked as they are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from coinrun_jax.checks import InputError, flag, real, shown, whole
from coinrun_jax.files import read_mapping, read_rows, shortened
from coinrun_jax.registry import find_testbed
from coinrun_jax.suites import MOST_CONDITIONS, text
from eval.measures import outcome_columns
from eval.results import AGENT, Competence, Contrast, Row, Summary, Verdict
from eval.statistics import Estimate


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


def read_summary(path: Path) -> Summary | None:
    """The summary of one agent that `summary.json` holds; None if it compares several.

    Raises:
      InputError: where it is neither.
    """
    content = read_mapping(path, "summary")
    if "groups" in content:
        return None
    try:
        testbed = find_testbed(content.get("environment"))
        columns = outcome_columns(testbed)
        rows = {AGENT: _rows("conditions", content.get("conditions"), columns)}
        references = _mapping("references", content.get("references"))
        rows |= {policy: _rows(policy, others, columns) for policy, others in references.items()}
        names = [row.condition for row in rows[AGENT]]
        for policy, own in rows.items():
            if [row.condition for row in own] != names:
                raise InputError(f"{policy} has other conditions than the agent")
        titles = {
            name: text("title", t) for name, t in _mapping("titles", content["titles"]).items()
        }
        if missing := set(rows) - set(titles):
            raise InputError(f"titles have no {shown(min(missing))}")
        return Summary(
            environment=testbed.id,
            suite=text("suite", content.get("suite")),
            titles=titles,
            rows=rows,
            competence=_of(Competence, "competence", content.get("competence")),
            verdict=_of(Verdict, "verdict", content["verdict"]),
        )
    except KeyError as error:
        raise InputError(f"summary {shortened(path)} has no {error}") from error
    except InputError as error:
        raise InputError(f"summary {shortened(path)}: {error}") from error


def _mapping(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{what} {shown(value)} are not a JSON object")
    return value


def _rows(what: str, rows: Any, columns: Sequence[str]) -> tuple[Row, ...]:
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_CONDITIONS:
        raise InputError(f"{what} {shown(rows)} are not 1 ... {MOST_CONDITIONS} rows")
    return tuple(_row(f"{what} {number}", row, columns) for number, row in enumerate(rows))


def _row(what: str, row: Any, columns: Sequence[str]) -> Row:
    row = _mapping(what, row)
    control_of = row.get("control_of")
    contrasts = row.get("contrasts", [])
    if not isinstance(contrasts, list):
        raise InputError(f"{what}: contrasts {shown(contrasts)} are not a list")

    def measure(name: str) -> Estimate | None:
        return _estimate(f"{what}: {name}", row.get(name))

    return Row(
        condition=text(f"{what}: condition", row.get("condition")),
        title=text(f"{what}: title", row.get("title")),
        apart=flag(f"{what}: apart", row.get("apart")),
        control_of=None if control_of is None else text(f"{what}: control_of", control_of),
        episodes=whole(f"{what}: episodes", row.get("episodes"), 0, 2**53),
        first={name: measure(name) for name in columns},
        accidental=measure("accidental"),
        capability_robustness=measure("capability_robustness"),
        goal_misgeneralisation=measure("goal_misgeneralisation"),
        contrasts=tuple(_of(Contrast, f"{what}: contrast", each) for each in contrasts),
    )


def _of(kind: type[Any], what: str, value: Any) -> Any:
    """A dataclass of estimates and plain values; None for None."""
    if value is None:
        return None
    values, hints = _mapping(what, value), get_type_hints(kind)
    if set(values) != set(hints):
        odd = min(set(values) ^ set(hints))
        raise InputError(f"{what}: {shown(odd)} is missing or unknown")
    return kind(
        **{
            name: _estimate(f"{what}: {name}", each) if Estimate in get_args(hints[name]) else each
            for name, each in values.items()
        }
    )


def _estimate(what: str, value: Any) -> Estimate | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"estimate", "low", "high"}:
        raise InputError(f"{what} {shown(value)} is not an estimate with its bounds")
    return Estimate(**{name: real(f"{what}.{name}", number) for name, number in value.items()})
