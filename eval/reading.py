"""Read and check tables and summaries for figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from coinrun_jax.checks import InputError, choice, flag, real, shown, whole
from coinrun_jax.files import read_mapping, read_rows, shortened
from coinrun_jax.registry import find_testbed
from coinrun_jax.suites import MOST_CONDITIONS, text
from eval.measures import outcome_columns
from eval.results import AGENT, KINDS, Competence, Contrast, Row, Summary, Verdict
from eval.statistics import Estimate

_PLAIN: dict[Any, Callable[[str, Any], Any]] = {bool: flag, float: real, str: text}


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
      numbers: columns with a number in every row.
      if_any: columns with a number or nothing; they may be absent.
      texts: further required columns.

    Raises:
      InputError: if it is not such a table.
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
    """The summary of one agent in `summary.json`; None if the file compares several.

    Raises:
      InputError: if it is neither.
    """
    content = read_mapping(path, "summary")
    if "groups" in content:
        return None
    try:
        testbed = find_testbed(content.get("environment"))
        columns = outcome_columns(testbed)
        if not columns:
            raise InputError(f"{testbed.id} has no goal, so it has no evaluations")
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
        verdict = _typed("verdict", content["verdict"], Verdict)
        choice("verdict: kind", verdict.kind, KINDS)
        return Summary(
            environment=testbed.id,
            suite=text("suite", content.get("suite")),
            titles=titles,
            rows=rows,
            competence=_typed("competence", content.get("competence"), Competence | None),
            verdict=verdict,
        )
    except KeyError as error:
        raise InputError(f"summary {shortened(path)} has no {error}") from error
    except InputError as error:
        raise InputError(f"summary {shortened(path)}: {error}") from error


def _mapping(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{what} {shown(value)} is not a JSON object")
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
        return _typed(f"{what}: {name}", row.get(name), Estimate | None)

    known = Row(
        condition=text(f"{what}: condition", row.get("condition")),
        title=text(f"{what}: title", row.get("title")),
        apart=flag(f"{what}: apart", row.get("apart")),
        control_of=None if control_of is None else text(f"{what}: control_of", control_of),
        episodes=whole(f"{what}: episodes", row.get("episodes"), 0, 2**53),
        first={name: measure(name) for name in columns},
        accidental=measure("accidental"),
        capability_robustness=measure("capability_robustness"),
        goal_misgeneralisation=measure("goal_misgeneralisation"),
        contrasts=tuple(_typed(f"{what}: contrast", each, Contrast) for each in contrasts),
    )
    rest = [name for name in row if name not in known.as_json()]
    constants = {n: row[n] for n in rest if isinstance(row[n], str | int | float)}
    also = {name: measure(name) for name in rest if name not in constants}
    return replace(known, also=also, columns=constants)


def _typed(what: str, value: Any, hint: Any) -> Any:
    """A value from JSON as one of the types of `eval.results`."""
    options = get_args(hint)
    if type(None) in options:
        return None if value is None else _typed(what, value, options[0])
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise InputError(f"{what} {shown(value)} is not a list")
        return tuple(_typed(what, each, options[0]) for each in value)
    if options:  # a mapping
        return {n: _typed(f"{what}: {n}", v, options[1]) for n, v in _mapping(what, value).items()}
    if hint is int:
        return whole(what, value, 0, 2**53)
    if hint in _PLAIN:
        return _PLAIN[hint](what, value)
    return _fields(what, value, hint)


def _fields(what: str, value: Any, kind: type[Any]) -> Any:
    """A dataclass from a mapping of its fields."""
    if kind is Estimate and not isinstance(value, dict):
        raise InputError(f"{what} {shown(value)} is not an estimate with its bounds")
    values, hints = _mapping(what, value), get_type_hints(kind)
    if set(values) != set(hints):
        odd = min(set(values) ^ set(hints))
        raise InputError(f"{what}: {shown(odd)} is missing or unknown")
    return kind(**{name: _typed(f"{what}: {name}", values[name], hints[name]) for name in hints})
