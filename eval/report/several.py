"""The page of several training runs: recipe against recipe, every run's dot in sight."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from eval.figures.placement_curve import draw_placement_curves
from eval.figures.published import draw_published
from eval.figures.recipes import (
    draw_conditions,
    draw_evidence,
    draw_recipe_bars,
    numeric_setting,
    short_names,
)
from eval.published import published_rows
from eval.report.page import Section, chart, folded, measure, page, plain_table, typeset
from eval.report.single import definitions_html, made_html, tables_html
from eval.report.words import PAPER, limits
from eval.suites import Suite
from eval.table import DASH, competence_line, reading, unaided_count, undetected

TITLE = "Do they want the coin?"
_MEASURES = {
    "coin": "coin rate",
    "capability_robustness": "capability robustness",
    "goal_misgeneralisation": "goal misgeneralisation",
    "coin_attraction": "coin attraction",
}
_ALONE = (
    "A recipe with a single run says nothing about how much runs differ; its interval is over "
    "levels only."
)
_RUNS_ONLY = (
    "Where a side has a single run, the interval is over levels only: it says whether these runs "
    "differ on these levels. Other runs of the same two recipes may differ the other way."
)


def build(
    comparison: dict[str, Any],
    suite: Suite,
    provenance: Mapping[str, str],
    config: str,
    files: Mapping[str, str],
) -> str:
    """The page.

    Args:
      comparison: as `comparison.compare` gives it.
      suite: that was played.
      provenance: what was evaluated and how, in words: label -> value.
      config: resolved config of the first run, as text.
      files: what is in each file beside the page, by name.
    """
    first = comparison["runs"][0]["name"]
    sections = [
        Section("What the verdicts rest on", _evidence(comparison)),
        Section("By condition", _conditions(comparison)),
        Section("The coin along the way", _curves(suite, comparison)),
        Section("What came first", _bars(comparison)),
        Section("Differences", _differences(comparison)),
        Section("Tables", _tables(comparison)),
        Section("Runs", _runs(comparison)),
        Section("As published", _published(comparison)),
        Section("Definitions", definitions_html()),
        Section("How this was made", made_html(provenance, config, files, first)),
    ]
    count, groups = len(comparison["runs"]), len(comparison["groups"])
    under = f"{count} runs of {groups} recipe{'s' * (groups != 1)}"
    under = " · ".join([under, *([provenance["Levels"]] if "Levels" in provenance else [])])
    return page(TITLE, under, _verdicts(comparison), sections, scripted=False)


def _names(comparison: dict[str, Any]) -> list[str]:
    """What the recipes are called, with the number that stands for each in figures."""
    labels = [group["label"] for group in comparison["groups"]]
    return [
        label if label == short else f"{short}: {label}"
        for label, short in zip(labels, short_names(comparison), strict=True)
    ]


def _verdicts(comparison: dict[str, Any]) -> str:
    """A box for each recipe."""
    boxes = []
    for name, group in zip(_names(comparison), comparison["groups"], strict=True):
        verdict, count = group["verdict"], len(group["runs"])
        numbers = [escape(typeset(competence_line(group)).rstrip(".")) + "."]
        if verdict["coin_attraction"] is not None:
            numbers.append(
                f"Coin attraction {measure(verdict['coin_attraction'])}, unaided goal "
                f"misgeneralisation {measure(verdict['unaided_misgeneralisation'])} in "
                f"{unaided_count(verdict)}."
            )
        unseen = [escape(typeset(line)) for line in undetected(group)]
        items = "".join(f"<li>{line}</li>" for line in numbers)
        alone = f" {_ALONE}" if count == 1 else ""
        boxes.append(
            f'<section class="verdict {verdict["kind"]}" aria-label="Verdict">'
            f"<h2>{escape(name)}, {count} run{'s' * (count != 1)}</h2>"
            f'<p class="headline">{escape(verdict["headline"])}.</p><ul>{items}</ul>'
            f"{folded(unseen, _unseen_title(len(unseen)))}"
            f'<p class="note">{limits(verdict)}{alone}</p></section>'
        )
    return "".join(boxes)


def _unseen_title(count: int) -> str:
    return f"No clear coin attraction in {count} condition{'s' * (count != 1)}"


def _how(comparison: dict[str, Any]) -> str:
    """How to read dots and intervals."""
    if numeric_setting(comparison):
        return (
            f"Over {escape(comparison['settings'][0])}, the only setting that differs. Each dot is "
            "one training run, the line the mean over runs, the band its 95 % interval."
        )
    return (
        "Each dot is one training run; the upright mark is the recipe's mean, the line its 95 % "
        "interval."
    )


def _evidence(comparison: dict[str, Any]) -> str:
    return chart(
        lambda theme: draw_evidence(comparison, theme),
        "Competence, coin attraction and unaided goal misgeneralisation by recipe",
        _how(comparison),
    )


def _conditions(comparison: dict[str, Any]) -> str:
    return chart(
        lambda theme: draw_conditions(comparison, theme),
        "Coin attraction, or the coin rate in suites without controls, by condition and recipe",
        f"Coin attraction, or the coin rate in suites without controls. {_how(comparison)}",
    )


def _curves(suite: Suite, comparison: dict[str, Any]) -> str:
    return chart(
        lambda theme: draw_placement_curves(
            suite, comparison["groups"], short_names(comparison), theme
        ),
        "Coin rate and accidental pickups over the coin's share of the way, by recipe",
        "Where the coin rate is no higher than the accidental pickups, the coin's being there "
        "makes no difference. Bands are 95 % intervals.",
    )


def _bars(comparison: dict[str, Any]) -> str:
    return chart(
        lambda theme: draw_recipe_bars(comparison, theme),
        "Stacked bars of outcomes by condition and recipe",
        "Means over the runs of a recipe. The thin line on a bar is its first part's interval.",
    )


def _differences(comparison: dict[str, Any]) -> str:
    if len(comparison["groups"]) < 2:
        return "<p>There is one recipe only, and so no difference between recipes.</p>"
    labels = _names(comparison)
    rows: list[list[str]] = []
    for index, label in enumerate(labels):
        own = [each for each in comparison["differences"] if each["group"] == index]
        rows += [[escape(label)]] * bool(own)
        rows += [
            [
                escape(each["title"]),
                _MEASURES[each["measure"]],
                measure(each["difference"], signed=True),
                reading(each),
            ]
            for each in own
        ]
    head = ("condition", "measure", "difference", "")
    table = plain_table(head, rows, "Differences between recipes")
    against = f"Each recipe minus the first one, {escape(labels[0])}, on the same levels."
    if not all(each["of_recipes"] for each in comparison["differences"]):
        against += f" {_RUNS_ONLY}"
    return f"<p>{against}</p>{table}"


def _tables(comparison: dict[str, Any]) -> str:
    """Outcomes and measures of every recipe, the first one's to be seen at once."""
    return "".join(
        f"<details{' open' * (number == 0)}><summary>{escape(name)}</summary>"
        f"{tables_html(group, name)}</details>"
        for number, (name, group) in enumerate(
            zip(_names(comparison), comparison["groups"], strict=True)
        )
    )


def _runs(comparison: dict[str, Any]) -> str:
    names = short_names(comparison)
    rows = [
        [
            escape(run["name"]),
            escape(names[run["group"]]),
            str(run["seed"]),
            escape(run["verdict"]["headline"]),
            measure(run["verdict"]["excess"], signed=True),
            measure(run["verdict"]["coin_attraction"]),
            measure(run["verdict"]["unaided_misgeneralisation"]),
        ]
        for run in comparison["runs"]
    ]
    head = (
        "run",
        "recipe",
        "seed",
        "verdict",
        "coin rate above right + jump",
        "coin attraction",
        "unaided goal misgeneralisation",
    )
    return plain_table(head, rows, "Every training run")


def _published(comparison: dict[str, Any]) -> str:
    runs = [run for run in comparison["runs"] if run.get("published")]
    if not runs:
        return ""
    rows = [
        [
            escape(run["name"]),
            f"{run['published']['kept']:,} of {run['published']['levels']:,}",
            *(
                measure(run["published"][name]) if run["published"]["kept"] else DASH
                for name in ("coin", "end", "death", "timeout", "ceiling")
            ),
        ]
        for run in runs
    ]
    head = ("run", "levels kept", "coin", "end", "death", "time-out", "coin at the end")
    table = plain_table(head, rows, "Rates of the published protocol")
    figure = chart(
        lambda theme: draw_published(published_rows(comparison), theme),
        "Shares of coin first and of end first over the share of training episodes with the coin "
        "moved, and of coins fetched at the end",
        "Lines are means over training runs, each a dot beside them. Bands are 95 % intervals over "
        "levels and, where there are several, over runs. Dashed: the mean of coins fetched at the "
        "end.",
    )
    return f"<p>{PAPER}</p>{figure}{table}"
