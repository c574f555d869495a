"""Results as plain text, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from coinrun_jax.testbed import Testbed
from eval.lifetime import Lifetime
from eval.measures import outcome_columns
from eval.results import Comparison, Difference, Row, Screened, Summary, Verdict
from eval.statistics import Estimate

DASH = "–"


def number(value: float, signed: bool = False, digits: int = 3) -> str:
    """Decimals without a leading zero, as in .871."""
    value = round(value, digits) + 0.0  # no -0.0
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def estimate(measure: Estimate | None, signed: bool = False) -> str:
    """A measure with its interval, or a dash."""
    if measure is None:
        return DASH
    low, high = number(measure.low, signed), number(measure.high, signed)
    return f"{number(measure.estimate, signed)} [{low}, {high}]"


def outcome_titles(testbed: Testbed) -> dict[str, str]:
    """Column titles for what came first, with the empty cell after the goal."""
    titles = testbed.words.columns or {}
    first, *rest = outcome_columns(testbed)
    named = {name: titles.get(name, name) for name in rest}
    return {first: titles.get(first, first), "accidental": testbed.words.empty, **named}


def measure_titles(testbed: Testbed, summary: Summary) -> dict[str, str]:
    """Column titles for the measures where goal and proxy are apart."""
    objects = dict.fromkeys(each.object for row in summary.agent for each in row.contrasts)
    return {
        "capability_robustness": "capability robustness",
        "goal_misgeneralisation": "goal misgeneralisation",
        "unaided_misgeneralisation": "unaided misgeneralisation",
        "accidental": "accidental touches",
        **{f"{name}_attraction": f"{name} attraction" for name in objects},
    }


def policy_rows(summary: Summary) -> Iterator[tuple[str, Row]]:
    """(policy, row): by condition, the agent first."""
    for rows in zip(*summary.rows.values(), strict=True):
        yield from zip(summary.rows, rows, strict=True)


def outcomes(row: Row) -> dict[str, Estimate | None]:
    """What came first; accidental touches are shown for controls only."""
    return {**row.first, "accidental": row.accidental if row.control_of else None}


def competence_line(summary: Summary) -> str:
    """How the agent compares with the reference it must beat."""
    competence = summary.competence
    if competence is None or competence.above_reference is None:
        return "Competence: not identifiable."
    titles = {row.condition: row.title for row in summary.agent}
    excess = estimate(competence.above_reference, signed=True)
    return f"Goal rate above {competence.reference}, {titles[competence.condition]}: {excess}"


def verdict_lines(summary: Summary) -> str:
    """The verdict, and what it rests on."""
    verdict = summary.verdict
    lines = [f"Verdict: {verdict.headline}.", f"  {competence_line(summary)}"]
    if verdict.attraction is not None:
        lines.append(f"  {evidence(verdict)} ({', '.join(verdict.judged)})")
    return "\n".join(lines + [f"  {line}" for line in undetected(summary)])


def evidence(verdict: Verdict) -> str:
    """The measures that a verdict rests on, in a line."""
    moved = verdict.object
    return (
        f"{moved[:1].upper()}{moved[1:]} attraction {estimate(verdict.attraction)}, unaided goal "
        f"misgeneralisation {estimate(verdict.unaided_misgeneralisation)} in "
        f"{unaided_count(verdict)}"
    )


def unaided_count(verdict: Verdict) -> str:
    """What unaided goal misgeneralisation is a share of."""
    return f"{verdict.unaided_episodes:,} episodes on {verdict.unaided_levels:,} levels"


def undetected(summary: Summary) -> list[str]:
    """For each condition without a clear attraction, what would have been detected."""
    lines = []
    for row in summary.agent:
        attraction = row.attraction
        if attraction is not None and attraction.low <= 0 <= attraction.high:
            few = "runs" if summary.verdict.num_runs > 1 else "levels"
            least = None if row.main is None else row.main.detectable
            found = (
                f"with so few {few} no attraction would have been detected in 80 % of experiments."
                if least is None
                else f"an attraction of {number(least)} would have been detected in 80 % of "
                "experiments."
            )
            lines.append(
                f"No difference found between {row.title} and its control: "
                f"{estimate(attraction)}; {found}"
            )
    return lines


def screened_line(found: Screened, testbed: Testbed) -> str:
    """The rates on screened levels."""
    if not found.kept:
        return f"Langosco et al.'s protocol: none of the {found.levels:,} levels was kept."
    goal, proxy = testbed.goal, testbed.proxy
    return (
        f"Langosco et al.'s protocol, on the {found.kept:,} of {found.levels:,} levels kept: "
        f"{goal} {estimate(found.rates[goal])}, {proxy} {estimate(found.rates[proxy])}, "
        f"{goal} as in training {estimate(found.rates['ceiling'])}"
    )


def comparison_lines(comparison: Comparison) -> str:
    """The recipes one below the other, and how they differ from the first."""
    first = comparison.groups[0]
    lines = []
    for index, group in enumerate(comparison.groups):
        count = len(group.runs)
        verdict = group.summary.verdict
        lines.append(f"{group.label} ({count} run{'s' * (count > 1)}): {verdict.headline}")
        for row in group.summary.agent:
            if row.apart and row.main is not None and row.main.attraction is not None:
                lines.append(
                    f"  {row.title}: {row.main.object} attraction {estimate(row.main.attraction)}"
                )
        lines += [
            f"  against {first.label}, {each.title}: {each.measure.replace('_', ' ')} "
            f"{estimate(each.difference, signed=True)}, {reading(each)}"
            for each in comparison.differences
            if each.group == index and each.measure.endswith("_attraction")
        ]
    return "\n".join(lines)


def reading(difference: Difference) -> str:
    """A difference in words: of recipes, or only of the runs that were played."""
    found = difference.difference
    if found is None:
        return "not identifiable"
    if found.low <= 0 <= found.high:
        least = difference.detectable
        unseen = (
            "not even a difference of 1 would be detected"
            if least is None
            else f"least detectable {number(least)}"
        )
        words = f"no difference found; {unseen}"
    else:
        words = "higher" if found.estimate > 0 else "lower"
    if difference.of_recipes:
        return words
    return f"these runs on these levels: {words}; recipes: not identifiable"


def outcome_table(summary: Summary, testbed: Testbed) -> str:
    """What came first, by condition and policy."""
    titles = outcome_titles(testbed)
    rows = [(row.title, policy, outcomes(row)) for policy, row in policy_rows(summary)]
    return _plain(rows, titles, summary.titles)


def measure_table(summary: Summary, testbed: Testbed) -> str:
    """Measures where goal and proxy are apart."""
    titles = measure_titles(testbed, summary)
    rows = [(r.title, policy, r.measures()) for policy, r in policy_rows(summary) if r.apart]
    return _plain(rows, titles, summary.titles)


def lifetime_table(lifetime: Lifetime) -> str:
    """What a verdict would rest on, at each moment of training."""
    names = list(dict.fromkeys(name for age in lifetime.ages for name in age.evidence))
    cells = [["steps", *(name.replace("_", " ") for name in names)]]
    for age in lifetime.ages:
        cells.append([f"{age.steps:,}", *(estimate(age.evidence.get(name)) for name in names)])
    return _aligned(cells)


def _plain(
    rows: Sequence[tuple[str, str, Mapping[str, Estimate | None]]],
    columns: Mapping[str, str],
    policies: Mapping[str, str],
) -> str:
    """Rows (title of the condition, policy, measures) as aligned text."""
    cells = [["", *columns.values()]]
    group = None
    for title, policy, measures in rows:
        if title != group:
            cells.append([title])
            group = title
        cells.append([f"  {policies[policy]}", *(estimate(measures.get(c)) for c in columns)])
    return _aligned(cells)


def _aligned(cells: Sequence[Sequence[str]]) -> str:
    """Lines of cells; those of a single cell are headings."""
    full = [line for line in cells if len(line) > 1]
    widths = [max(len(line[column]) for line in full) for column in range(len(full[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in cells
    )
