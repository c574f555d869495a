"""The summary as plain text, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eval.results import AGENT, POLICY_TITLES

DASH = "–"
OUTCOME_COLUMNS = {
    "coin": "coin",
    "accidental": "its cell",
    "end": "end",
    "death": "death",
    "timeout": "time-out",
}
MEASURE_COLUMNS = {
    "capability_robustness": "capability robustness",
    "goal_misgeneralisation": "goal misgeneralisation",
    "unaided_misgeneralisation": "unaided misgeneralisation",
    "accidental": "accidental pickups",
    "coin_attraction": "coin attraction",
}


def number(value: float, signed: bool = False, digits: int = 3) -> str:
    """Decimals without a leading zero, as in .871."""
    value = round(value, digits) + 0.0  # no -0.0
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def estimate(measure: dict[str, float] | None, signed: bool = False) -> str:
    """A measure with its interval, or a dash."""
    if measure is None:
        return DASH
    low, high = number(measure["low"], signed), number(measure["high"], signed)
    return f"{number(measure['estimate'], signed)} [{low}, {high}]"


def policy_rows(summary: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Rows with their policy: by condition, the agent first."""
    by_policy = {AGENT: summary["conditions"], **summary["references"]}
    for rows in zip(*by_policy.values(), strict=True):
        yield from zip(rows, by_policy, strict=True)


Rows = list[tuple[str, str, dict[str, Any]]]
"""(title of the condition, policy, measures), the rows of a condition together."""


def outcome_rows(summary: dict[str, Any]) -> Rows:
    """What came first, by condition and policy; for `OUTCOME_COLUMNS`."""
    rows = []
    for row, policy in policy_rows(summary):
        # A condition's accidental pickups are its control's outcome, not its own.
        hidden = {} if row["coin"] is None else {"accidental": None}
        rows.append((row["title"], policy, row | hidden))
    return rows


def measure_rows(summary: dict[str, Any]) -> Rows:
    """Conditions where the coin and the end are different things; for `MEASURE_COLUMNS`."""
    return [
        (row["title"], policy, row)
        for row, policy in policy_rows(summary)
        if row["tells_coin_from_end"]
    ]


def competence_line(summary: dict[str, Any]) -> str:
    """How the agent compares with the reference that needs no eyes."""
    competence = summary["competence"]
    if competence is None or competence["coin_above_reference"] is None:
        return "Competence: cannot be said."
    excess = competence["coin_above_reference"]
    reference = POLICY_TITLES[competence["reference"]]
    titles = {row["condition"]: row["title"] for row in summary["conditions"]}
    where = titles[competence["condition"]]
    return f"Coin rate above {reference}, {where}: {estimate(excess, signed=True)}"


def verdict_lines(summary: dict[str, Any]) -> str:
    """The verdict, and what it rests on."""
    verdict = summary["verdict"]
    lines = [f"Verdict: {verdict['headline']}.", f"  {competence_line(summary)}"]
    if verdict["coin_attraction"] is not None:
        where = ", ".join(verdict["judged"])
        lines.append(
            f"  Coin attraction {estimate(verdict['coin_attraction'])}, unaided goal "
            f"misgeneralisation {estimate(verdict['unaided_misgeneralisation'])} in "
            f"{unaided_count(verdict)} ({where})"
        )
    return "\n".join(lines + [f"  {line}" for line in undetected(summary)])


def unaided_count(verdict: dict[str, Any]) -> str:
    """What unaided goal misgeneralisation is a share of."""
    return f"{verdict['unaided_episodes']:,} episodes on {verdict['unaided_levels']:,} levels"


def undetected(summary: dict[str, Any]) -> list[str]:
    """For each condition without a clear coin attraction: what would have been found."""
    lines = []
    for row in summary["conditions"]:
        attraction = row["coin_attraction"]
        if attraction is not None and attraction["low"] <= 0 <= attraction["high"]:
            few = "runs" if summary["verdict"]["num_runs"] > 1 else "levels"
            found = (
                f"with so few {few} no attraction would have been found four times in five."
                if row["detectable"] is None
                else f"an attraction of {number(row['detectable'])} would have been found four "
                "times in five."
            )
            lines.append(
                f"No difference found between {row['title']} and its control: "
                f"{estimate(attraction)}; {found}"
            )
    return lines


def published_line(found: dict[str, Any]) -> str:
    """The published protocol's rates."""
    if not found["kept"]:
        return f"As in the paper: none of {found['levels']:,} levels is kept."
    return (
        f"As in the paper, on the {found['kept']:,} of {found['levels']:,} levels that are kept: "
        f"coin {estimate(found['coin'])}, end {estimate(found['end'])}, "
        f"coin at the end {estimate(found['ceiling'])}"
    )


def comparison_lines(comparison: dict[str, Any]) -> str:
    """The recipes one under the other, and how they differ from the first."""
    first, *rest = comparison["groups"]
    lines = []
    for index, group in enumerate([first, *rest]):
        count = len(group["runs"])
        lines.append(
            f"{group['label']} ({count} run{'s' * (count > 1)}): {group['verdict']['headline']}"
        )
        for row in group["conditions"]:
            if row["tells_coin_from_end"] and row["coin_attraction"] is not None:
                lines.append(
                    f"  {row['title']}: coin attraction {estimate(row['coin_attraction'])}"
                )
        lines += [
            f"  against {first['label']}, {each['title']}: {each['measure'].replace('_', ' ')} "
            f"{estimate(each['difference'], signed=True)}, {reading(each)}"
            for each in comparison["differences"]
            if each["group"] == index and each["measure"] == "coin_attraction"
        ]
    return "\n".join(lines)


def reading(difference: dict[str, Any]) -> str:
    """What a difference says, in words: of recipes, or only of the runs that were played."""
    found = difference["difference"]
    if found is None:
        return "cannot be said"
    if found["low"] <= 0 <= found["high"]:
        least = difference["detectable"]
        unseen = "none up to 1 detectable" if least is None else f"least detectable {number(least)}"
        words = f"no difference found; {unseen}"
    else:
        words = "higher" if found["estimate"] > 0 else "lower"
    if difference["of_recipes"]:
        return words
    return f"these runs on these levels: {words}; recipes: cannot be said"


def plain(rows: Rows, columns: dict[str, str]) -> str:
    """Rows as aligned text."""
    cells = [["", *columns.values()]]
    group = None
    for title, policy, row in rows:
        if title != group:
            cells.append([title])
            group = title
        measures = (estimate(row[name]) for name in columns)
        cells.append([f"  {POLICY_TITLES[policy]}", *measures])
    full = [line for line in cells if len(line) > 1]
    widths = [max(len(line[column]) for line in full) for column in range(len(columns) + 1)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in cells
    )
