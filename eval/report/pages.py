"""Build pages: fill the templates in `templates/` with values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from coinrun_jax.testbed import Testbed
from eval.animations import sentence
from eval.figures.agent_figure import draw
from eval.figures.condition_curves import draw_curve, draw_curves
from eval.figures.endings import draw_failures, find_failures
from eval.figures.lifetime_figure import draw_lifetime
from eval.figures.probe_figures import draw_linear, draw_values
from eval.figures.recipe_figures import (
    draw_conditions,
    draw_evidence,
    draw_recipe_bars,
    numeric_setting,
    short_names,
)
from eval.figures.screened_levels import draw_screened, draw_screened_agent
from eval.langosco import CEILING, LEFT_OUT, screened_rows
from eval.lifetime import Lifetime
from eval.measures import outcome_columns
from eval.probes.answers import Probes
from eval.report.images import data_url, drawings, first_frame, webp
from eval.report.shown import Film, Shown, player_data
from eval.results import AGENT, AGENT_TITLES, Comparison, Evaluation, Screened, Summary
from eval.statistics import Estimate
from eval.table import (
    DASH,
    estimate,
    measure_titles,
    number,
    outcome_titles,
    outcomes,
    policy_rows,
    reading,
    undetected,
)

_TEMPLATES = Path(__file__).parent / "templates"
TableRow = tuple[str, Sequence[Any], bool]
"""(heading of a group, cells, whether it is the agent's)."""


def typeset(text: str) -> Markup:
    """Text with a minus where a hyphen stands before a number."""
    return escape(re.sub(r"(?<![\w.])-(?=\.?\d)", "−", text))


def measure(value: Estimate | float | None, signed: bool = False) -> Markup:
    """A measure with its interval in small type, a number, or a dash."""
    if isinstance(value, float | int):
        return typeset(number(value, signed))
    text, _, interval = typeset(estimate(value, signed)).partition(" ")
    return Markup("{} <small>{}</small>").format(text, interval) if interval else Markup(text)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        extensions=["jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "anchor": lambda name: name.lower().replace(" ", "-"),
        "decimal": lambda value, digits: number(value, digits=digits),
        "first_frame": first_frame,
        "gif": partial(data_url, "image/gif"),
        "measure": measure,
        "s": lambda count: "" if count == 1 else "s",
        "sentence": sentence,
        "typeset": typeset,
        "webp": webp,
    }
    return environment


def _page(template: str, testbed: Testbed, titles: Mapping[str, str], **values: Any) -> str:
    """Render a page.

    Args:
      titles: of the policies.
      **values: further names that the template knows.
    """
    scripted = bool(values.get("shown") and values["shown"].films)
    *some, last = (title for name, title in outcome_titles(testbed).items() if name != "accidental")
    known: dict[str, Any] = {
        "testbed": testbed,
        "words": testbed.words,
        "title": testbed.words.question,
        "style": _source("style.css"),
        "script": _scripts(values["shown"].films) if scripted else "",
        "sections": [],
        "drawings": drawings,
        "titles": lambda summary: {row.condition: row.title for row in summary.agent},
        "undetected": undetected,
        "outcome_table": partial(_outcome_table, testbed),
        "measure_table": partial(_measure_table, testbed),
        "counted": f"{', '.join(some)} or {last}",
        "references": [title for name, title in titles.items() if name not in AGENT_TITLES],
        "bar": titles.get(testbed.bar),
    }
    return _templates().get_template(template).render(known, **values).strip() + "\n"


def _scripts(films: Sequence[Film]) -> Markup:
    looks_inside = any(film.inside for film in films)
    return _source("player.js") + (_source("inside.js") if looks_inside else "")


def _source(name: str) -> Markup:
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def build_single(
    summary: Summary,
    evaluation: Evaluation,
    provenance: Mapping[str, str],
    config: str,
    shown: Shown,
    files: Mapping[str, str],
    screened: Screened | None = None,
    probes: Probes | None = None,
    lifetime: Lifetime | None = None,
) -> str:
    """The page of one agent.

    Args:
      evaluation: the one that is summarised.
      provenance: what was evaluated and how, in words: label -> value.
      config: the run's resolved config, as text.
      shown: the episodes on the page.
      files: what is in each file beside the page, by name.
      screened: rates on screened levels, if the suite has them.
      probes: what `probes.probe` gives, if it was asked for.
      lifetime: the agent over training, if that was asked for.
    """
    testbed, suite = evaluation.testbed, evaluation.suite
    titles = {row.condition: row.title for row in summary.agent}
    found = find_failures(evaluation)
    failures = {name: int(each.sum()) for name, each in found.items() if each.any()}
    films = player_data(shown, testbed.action_titles) if shown.films else None
    data = json.dumps(films, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    real = [row.episodes for row in summary.agent if row.control_of is None]
    return _page(
        "single.html",
        testbed,
        summary.titles,
        summary=summary,
        suite=suite,
        judged=[titles[name] for name in summary.verdict.judged],
        shown=shown,
        player_data=Markup(data),
        inside=next((film.inside.nouns for film in shown.films if film.inside), None),
        failures={"counts": failures, "episodes": sum(real)},
        screened=screened,
        screened_rows=_screened_agent_rows(testbed, screened),
        probes=probes,
        figures={
            "bars": partial(draw, summary, testbed),
            "curve": partial(draw_curve, summary, suite, testbed),
            "failures": partial(draw_failures, evaluation),
            "screened": screened and partial(draw_screened_agent, screened, testbed),
            "expected": probes and partial(draw_values, probes, testbed),
            "linear": probes and partial(draw_linear, probes),
            "lifetime": lifetime and partial(draw_lifetime, lifetime, testbed),
        },
        lifetime=lifetime,
        under=_under(*(provenance.get(name) for name in ("Run", "Levels"))),
        provenance=provenance,
        config=config,
        files=files,
    )


def build_several(
    comparison: Comparison,
    testbed: Testbed,
    provenance: Mapping[str, str],
    config: str,
    files: Mapping[str, str],
) -> str:
    """The page of several training runs, compared by recipe and run by run.

    Args:
      provenance: what was evaluated and how, in words: label -> value.
      config: resolved config of the first run, as text.
      files: what is in each file beside the page, by name.
    """
    short, groups = short_names(comparison), comparison.groups
    names = [
        group.label if group.label == name else f"{name}: {group.label}"
        for name, group in zip(short, groups, strict=True)
    ]
    first = groups[0].summary
    head, rows = _runs(comparison, testbed, short)
    screened_head, screened = _screened_runs(comparison, testbed)
    count = f"{len(comparison.runs)} runs of {len(groups)} recipe{'s' * (len(groups) != 1)}"
    return _page(
        "several.html",
        testbed,
        first.titles,
        comparison=comparison,
        named=list(zip(names, groups, strict=True)),
        is_curve=bool(numeric_setting(comparison)),
        differences=_differences(comparison, testbed, names),
        run_head=head,
        runs=rows,
        screened_head=screened_head,
        screened=screened,
        figures={
            "evidence": partial(draw_evidence, comparison, testbed),
            "conditions": partial(draw_conditions, comparison, testbed),
            "curves": partial(draw_curves, comparison, short, testbed),
            "bars": partial(draw_recipe_bars, comparison, testbed),
            "screened": partial(draw_screened, screened_rows(comparison), testbed),
        },
        under=_under(count, provenance.get("Levels")),
        provenance=provenance,
        config=config,
        files=files,
    )


def _under(*parts: str | None) -> str:
    return " · ".join(part for part in parts if part)


def _outcome_table(testbed: Testbed, summary: Summary) -> tuple[list[str], list[TableRow]]:
    """What came first: (head, rows), the references below the agent."""
    columns = outcome_titles(testbed)
    also = dict.fromkeys(name for row in summary.agent for name in row.also)
    columns |= {name: f"{testbed.noun(name)}, ever" for name in also}
    rows: list[TableRow] = [
        (
            row.title,
            _cells(summary, policy, {**outcomes(row), **row.also}, columns),
            policy == AGENT,
        )
        for policy, row in policy_rows(summary)
    ]
    return ["", *columns.values()], rows


def _measure_table(testbed: Testbed, summary: Summary) -> tuple[list[str], list[TableRow]]:
    """Measures where goal and proxy are apart: (head, rows)."""
    columns = measure_titles(testbed, summary)
    columns |= {"cohens_h": "Cohen’s h", "detectable": "least detectable attraction"}
    rows: list[TableRow] = []
    for policy, row in policy_rows(summary):
        if row.apart:
            values: dict[str, Any] = row.measures()
            if row.main:
                values |= {"cohens_h": row.main.cohens_h, "detectable": row.main.detectable}
            rows.append((row.title, _cells(summary, policy, values, columns), policy == AGENT))
    return ["", *columns.values()], rows


def _cells(
    summary: Summary, policy: str, values: Mapping[str, Any], columns: Mapping[str, str]
) -> list[Any]:
    return [summary.titles[policy], *(measure(values.get(name)) for name in columns)]


def _screened_agent_rows(testbed: Testbed, found: Screened | None) -> list[TableRow]:
    if found is None:
        return []
    goal = testbed.words.goal
    titles = {
        **outcome_titles(testbed),
        **{name: f"{testbed.noun(name)} first" for name in (testbed.goal, testbed.proxy)},
        CEILING: f"{goal} first on the same levels, all as in training",
        LEFT_OUT: f"{goal} first on the levels that were left out",
    }
    rates = found.rates
    return [("", (titles[name], measure(rate)), False) for name, rate in rates.items()]


def _screened_runs(
    comparison: Comparison, testbed: Testbed
) -> tuple[tuple[str, ...], list[TableRow]]:
    titles = outcome_titles(testbed)
    columns = {name: titles[name] for name in outcome_columns(testbed)}
    columns[CEILING] = f"{testbed.words.goal} as in training"
    rows: list[TableRow] = []
    for run in comparison.runs:
        if found := run.screened:
            rates = (measure(found.rates[name]) if found.kept else DASH for name in columns)
            rows.append(("", (run.name, f"{found.kept:,} of {found.levels:,}", *rates), False))
    return ("run", "levels kept", *columns.values()), rows


def _differences(comparison: Comparison, testbed: Testbed, names: Sequence[str]) -> list[TableRow]:
    titles = {testbed.goal: f"{testbed.words.goal} rate"}
    return [
        (
            names[each.group],
            (
                each.title,
                titles.get(each.measure, each.measure.replace("_", " ")),
                measure(each.difference, signed=True),
                reading(each),
            ),
            False,
        )
        for each in comparison.differences
    ]


def _runs(
    comparison: Comparison, testbed: Testbed, names: Sequence[str]
) -> tuple[tuple[str, ...], list[TableRow]]:
    first = comparison.groups[0].summary
    above = first.competence.reference if first.competence else "the reference"
    moved = first.verdict.object
    head = (
        "run",
        "recipe",
        "seed",
        "verdict",
        f"{testbed.words.goal} rate above {above}",
        f"{moved} attraction".strip(),
        "unaided goal misgeneralisation",
    )
    return head, [
        (
            "",
            (
                run.name,
                names[run.group],
                run.seed,
                run.verdict.headline,
                measure(run.excess, signed=True),
                measure(run.verdict.attraction),
                measure(run.verdict.unaided_misgeneralisation),
            ),
            False,
        )
        for run in comparison.runs
    ]
