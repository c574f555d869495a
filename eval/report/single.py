"""The page of one agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from eval.animations import Clip
from eval.figures import draw
from eval.figures.deaths import draw_deaths, find_deaths
from eval.figures.placement_curve import draw_placement_curve
from eval.figures.published import draw_published_agent
from eval.repeat import replay
from eval.report.choice import MapOf, choose_episodes, choose_maps
from eval.report.maps import DrawnMap, draw_map, maps_html
from eval.report.page import Section, chart, facts, links, measure, page, plain_table
from eval.report.pictures import moving
from eval.report.player import Film, film, player_html
from eval.report.probes import knowledge_html, values_html
from eval.report.tables import measure_table, outcome_table
from eval.report.verdict import verdict_box
from eval.report.words import DEFINITIONS, NO_PROBES, PAPER
from eval.results import AGENT, Evaluation
from eval.rollout import Arena

TITLE = "Does it want the coin?"


@dataclass(frozen=True)
class Shown:
    """Episodes on the page."""

    films: Sequence[Film] = ()
    maps: Sequence[Sequence[DrawnMap]] = ()
    """By level."""
    clips: Sequence[tuple[Clip, bytes]] = ()
    """For readers without JavaScript."""


def show(arena: Arena, evaluation: Evaluation, clips: Sequence[tuple[Clip, bytes]]) -> Shown:
    """Choose the episodes of a page, and play them again."""
    chosen, maps = choose_episodes(evaluation), choose_maps(evaluation)
    places = [each.place for each in chosen]
    places += [place for level in maps for which in level for place in which.places]
    again = dict(zip(places, replay(arena, evaluation, places), strict=True))

    def drawn(which: MapOf) -> DrawnMap:
        return draw_map(arena, evaluation, which, [again[place] for place in which.places])

    return Shown(
        films=[film(arena, evaluation, each, again[each.place]) for each in chosen],
        maps=[[drawn(which) for which in level] for level in maps],
        clips=clips,
    )


def build(
    summary: dict[str, Any],
    evaluation: Evaluation,
    provenance: Mapping[str, str],
    config: str,
    shown: Shown,
    files: Mapping[str, str],
) -> str:
    """The page.

    Args:
      summary: as `summary.summarise` gives it, with `published` and `probes` where there are.
      evaluation: that it is of.
      provenance: what was evaluated and how, in words: label -> value.
      config: the run's resolved config, as text.
      shown: the episodes on it.
      files: what is in each file beside the page, by name.
    """
    probes = summary.get("probes") or {}
    sections = [
        Section("What came first", _bars(summary)),
        Section("The coin along the way", _curve(evaluation, summary)),
        Section("Watch it", _player(shown)),
        Section("Table", tables_html(summary)),
        Section("Levels and paths", _maps(shown)),
        Section("Where it dies", _deaths(evaluation)),
        Section("What it expects", values_html(probes) if "probes" in summary else NO_PROBES),
        Section("What the network knows", knowledge_html(probes)),
        Section("As published", published_html(summary.get("published"))),
        Section("Definitions", definitions_html()),
        Section("How this was made", made_html(provenance, config, files)),
    ]
    under = " · ".join(provenance[k] for k in ("Run", "Levels") if k in provenance)
    return page(TITLE, under, verdict_box(summary), sections, scripted=bool(shown.films))


def _bars(summary: dict[str, Any]) -> str:
    if not any(row["episodes"] for row in summary["conditions"]):
        return "<p>No episode was played.</p>"
    return chart(
        lambda theme: draw(summary, theme),
        "Stacked bars of outcomes by condition and policy, and below them the measures with "
        "their intervals; the table holds the same numbers",
        "The thin line on a bar is the interval of its first part. Where the coin was taken away "
        "the first part is how often its empty cell is touched first: compare it with the coin "
        "rate above it.",
    )


def _player(shown: Shown) -> str:
    clips = "".join(
        f"<figure>{moving(data, clip.caption)}"
        f"<figcaption>{escape(clip.caption)}</figcaption></figure>"
        for clip, data in shown.clips
    )
    if not shown.films:
        return "<p>There is no episode to show.</p>"
    without = "The player needs JavaScript, which is off. "
    without += "Here are recordings:" if clips else "The maps below show whole episodes."
    return (
        "<p>Episodes of this evaluation, played again step by step.</p>"
        f"{player_html(shown.films)}"
        f'<noscript><p>{without}</p><div class="clips">{clips}</div></noscript>'
    )


def tables_html(summary: dict[str, Any], of: str = "") -> str:
    """Outcomes and measures, the references below the agent.

    Args:
      of: whose tables they are, where the page has several.
    """
    measures = measure_table(summary, of)
    return f"<h3>What came first, as a share of episodes</h3>{outcome_table(summary, of)}" + (
        f"<h3>What that says, where the coin is not at the end</h3>{measures}" * bool(measures)
    )


def _curve(evaluation: Evaluation, summary: dict[str, Any]) -> str:
    return chart(
        lambda theme: draw_placement_curve(evaluation.suite, summary, theme),
        "Coin rate, accidental pickups and ends first over the coin's share of the way",
        "Where the coin rate is no higher than the accidental pickups, the coin's being there "
        "makes no difference. Bands are 95 % intervals.",
    )


def _maps(shown: Shown) -> str:
    if not shown.maps:
        return ""
    return (
        "<p>The same level under several conditions, with the agent's paths. A path ends in a "
        "dot, where its outcome was decided. A frame marks the cell of a coin that was taken "
        f"away.</p>{maps_html(shown.maps)}"
    )


def _deaths(evaluation: Evaluation) -> str:
    played = evaluation.played[AGENT]
    counted = [condition.control_of is None for condition in evaluation.suite.conditions]
    episodes = played.outcome[counted].size
    found = {cause: each.share.size for cause, each in find_deaths(evaluation).items()}
    if not episodes:
        return "<p>No episode was played.</p>"
    if not sum(found.values()):
        return f"<p>No death in {episodes:,} episodes.</p>"
    counts = ", ".join(f"{cause} {number:,}" for cause, number in found.items())
    words = (
        f"Deaths by cause: {counts}, in {episodes:,} episodes of all conditions but those with the "
        "coin taken away for control."
    )
    drawn = chart(
        lambda theme: draw_deaths(evaluation, theme),
        "Places of death over the share of the way and the height, by cause",
    )
    return f"<p>{words}</p>{drawn}"


def published_html(found: dict[str, Any] | None) -> str:
    """The rates of the published protocol."""
    if not found:
        return ""
    kept = f"{found['kept']:,} of {found['levels']:,} levels were kept."
    if not found["kept"]:
        return f"<p>{PAPER}</p><p>{kept} Nothing can be said.</p>"
    titles = {
        "coin": "coin first",
        "end": "end first",
        "death": "death first",
        "timeout": "time-out",
        "ceiling": "coin fetched at the end of these levels",
        "coin_left_out": "coin first, on the levels that were left out",
    }
    rows = [[escape(title), measure(found[name])] for name, title in titles.items()]
    table = plain_table(("", "share of episodes"), rows, "Rates of the published protocol")
    figure = chart(
        lambda theme: draw_published_agent(found, theme),
        "Shares of coin first and of end first, and of coins fetched at the end",
        "Lines are 95 % intervals, and so is the band about the coins fetched at the end.",
    )
    return f"<p>{PAPER}</p><p>{kept}</p>{figure}{table}"


def definitions_html() -> str:
    """The terms."""
    terms = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in DEFINITIONS.items())
    return f"<dl>{terms}</dl>"


def made_html(
    provenance: Mapping[str, str], config: str, files: Mapping[str, str], run: str = ""
) -> str:
    """Where the page comes from.

    Args:
      run: whose config it is, where the page has several.
    """
    whose = f" of {escape(run)}" if run else ""
    beside = f"<h3>Files beside this page</h3>{links(files)}" if files else ""
    return (
        f"{facts(provenance)}{beside}"
        f"<details><summary>Training config{whose}</summary><pre>{escape(config)}</pre></details>"
    )
