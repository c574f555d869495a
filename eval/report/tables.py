"""Tables of measures by condition and policy."""

from __future__ import annotations

from html import escape
from typing import Any

from eval.report.page import measure, scrolling
from eval.results import AGENT, POLICY_TITLES
from eval.table import DASH, MEASURE_COLUMNS, OUTCOME_COLUMNS, measure_rows, number, outcome_rows

_EXTRA = {"cohens_h": "Cohen's h", "detectable": "least detectable attraction"}
Rows = list[tuple[str, str, dict[str, Any]]]


def outcome_table(summary: dict[str, Any], of: str = "") -> str:
    """What came first.

    Args:
      of: whose table it is, where the page has several.
    """
    rows = outcome_rows(summary)
    columns = dict(OUTCOME_COLUMNS)
    if any(row["item"] is not None for _, _, row in rows):
        columns["item"] = "a decoy or pickup, ever"
    return _table(rows, columns, _words("Outcomes", of))


def measure_table(summary: dict[str, Any], of: str = "") -> str:
    """What that says, where the coin and the end are different things."""
    rows = measure_rows(summary)
    if not rows:
        return ""
    return _table(rows, {**MEASURE_COLUMNS, **_EXTRA}, _words("Measures", of))


def _words(what: str, of: str) -> str:
    return f"{what} by condition and policy{f', {of}' if of else ''}"


def _table(rows: Rows, columns: dict[str, str], words: str) -> str:
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in columns.values())
    lines, group = [], None
    for title, policy, row in rows:
        if title != group:
            group = title
            lines.append(
                f'<tr class="group"><th colspan="{len(columns) + 1}" scope="rowgroup">'
                f"{escape(title)}</th></tr>"
            )
        cells = "".join(f"<td>{_value(row[name])}</td>" for name in columns)
        mark = ' class="agent"' if policy == AGENT else ""
        lines.append(f'<tr{mark}><th scope="row">{escape(POLICY_TITLES[policy])}</th>{cells}</tr>')
    return scrolling(
        f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>",
        words,
    )


def _value(value: dict[str, float] | float | None) -> str:
    if value is None:
        return DASH
    return number(value) if isinstance(value, float | int) else measure(value)
