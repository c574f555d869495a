"""The files that an evaluation writes, and what it prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import yaml

import coinrun_jax
from coinrun_jax.arena import Arena
from coinrun_jax.files import write_json
from coinrun_jax.hardware import device_name
from coinrun_jax.testbed import TEST_LEVELS, Testbed
from eval import animations, figures, report, table
from eval.compare import compare, write_runs
from eval.episodes import write_episodes, write_episodes_of_runs
from eval.evaluate import arena_of
from eval.export.features import FEATURES, write_features
from eval.export.trajectories import TRAJECTORIES, write_trajectories
from eval.figures.lifetime_figure import draw_lifetime, in_steps
from eval.langosco import screened_rows, write_screened
from eval.lifetime import follow, write_lifetime
from eval.measures import summarise
from eval.options import Options
from eval.probes import probe
from eval.probes.answers import Probes
from eval.results import Evaluation, Screened
from train.policy import Policy
from train.provenance import source_commit

EPISODES, RUNS, SUMMARY = "episodes.csv", "runs.csv", "summary.json"
SCREENED, SCREENED_FIGURE = "published.csv", "published.png"
REPORT, FIGURE = "report.html", "outcomes.png"
LIFETIME, LIFETIME_FIGURE = "lifetime.csv", "lifetime.png"
_FILES = {
    EPISODES: "one row per episode",
    RUNS: "one row per run and condition",
    LIFETIME: "one row per kept policy, condition and measure",
    LIFETIME_FIGURE: "its figure",
    SCREENED: "every run, by the protocol of Langosco et al.",
    SCREENED_FIGURE: "its figure",
    SUMMARY: "every number on this page",
    FIGURE: "the first figure",
    TRAJECTORIES: "the agent's actions, from which its episodes can be replayed",
    FEATURES: "the agent's observations, features and actions, labelled by condition",
}


def written(testbed: Testbed) -> tuple[str, ...]:
    """Names of all files that an evaluation may write."""
    return (*_FILES, REPORT, *(f"{name}.gif" for name in animations.names(testbed)))


def write_evaluation(
    options: Options,
    evaluations: Sequence[Evaluation],
    arena: Arena,
    screened: Screened | None,
    seconds: float,
    out: Path,
) -> str:
    """Write everything about one agent, episodes first so that they survive later failures.

    Args:
      evaluations: of the agent and, if asked for, of its earlier policies.
      out: folder to write to.

    Returns:
      the text to print.
    """
    run, evaluation, testbed = options.runs[0], evaluations[0], options.testbed
    if options.lifetime:
        write_episodes_of_runs(evaluations, out / EPISODES)
    else:
        write_episodes(evaluation, out / EPISODES)
    provenance = _provenance(options, seconds)
    summary = summarise([evaluation])
    content = {**summary.as_json(), "provenance": provenance}
    if screened:
        content["published"] = screened.as_json()
    write_json(out / SUMMARY, content)
    if options.trajectories:
        write_trajectories(evaluation, out / TRAJECTORIES)
    if options.features:
        write_features(evaluation, arena, run.policy, options.features, out / FEATURES)
    probes: list[Probes | None] = [None] * len(options.runs)
    if options.probes:
        print("probing the network ...", flush=True)
        probes = [probe(each.policy, options.protocol) for each in options.runs]
        content["probes"] = probes[0].as_json() if probes[0] else None
        write_json(out / SUMMARY, content)
    lifetime = None
    if options.lifetime:
        lifetime = follow(options.runs, evaluations, probes)
        write_lifetime(lifetime, out / LIFETIME)
        write_json(out / SUMMARY, {**content, "lifetime": lifetime.as_json()})

    figures.save(figures.draw(summary, testbed), out / FIGURE, "png")
    if lifetime:
        figures.save(draw_lifetime(lifetime, testbed), out / LIFETIME_FIGURE, "png")
    clips = animations.make_gifs(arena, evaluation, options.art)
    for clip, data in clips:
        (out / f"{clip.name}.gif").write_bytes(data)
    page = report.build_single(
        summary,
        evaluation,
        provenance,
        _config(run.policy),
        _show(options, evaluations, arena, clips),
        _files(options, clips),
        screened,
        probes[0],
        lifetime,
    )
    (out / REPORT).write_text(page, encoding="utf-8")
    lines = [
        f"\n{provenance['Run']} on {provenance['Levels']}; actions {provenance['Actions']}.",
        "What came first, as a share of episodes [95 % interval]:\n",
        table.outcome_table(summary, testbed),
        "",
        table.measure_table(summary, testbed),
        f"\n{table.screened_line(screened, testbed)}" if screened else None,
        f"\n{table.lifetime_table(lifetime)}" if lifetime else None,
        f"\n{table.verdict_lines(summary)}\nReport: {options.out / REPORT}",
    ]
    return "\n".join(line for line in lines if line is not None)


def _show(
    options: Options,
    evaluations: Sequence[Evaluation],
    arena: Arena,
    clips: Sequence[tuple[animations.Clip, bytes]],
) -> report.Shown:
    """What the page's player shows."""
    looked_into = options.runs[0].policy if options.microscope else None
    if looked_into:
        print("looking inside the network ...", flush=True)
    shown = report.show(arena, evaluations[0], clips, looked_into)
    if options.lifetime:
        return report.show_ages(shown, _older(options, evaluations, arena))
    return shown


def _files(options: Options, clips: Sequence[tuple[animations.Clip, bytes]]) -> dict[str, str]:
    """The files beside the page: name -> description."""
    names = [EPISODES, SUMMARY, FIGURE]
    names += [LIFETIME, LIFETIME_FIGURE] * options.lifetime
    names += [TRAJECTORIES] * options.trajectories + [FEATURES] * bool(options.features)
    return {name: _FILES[name] for name in names} | {
        f"{clip.name}.gif": clip.caption.rstrip(".") for clip, _ in clips
    }


def _older(
    options: Options, evaluations: Sequence[Evaluation], arena: Arena
) -> Iterator[tuple[str, Arena, Evaluation]]:
    """The agent at each moment of training, earliest first: title, arena and evaluation."""
    for run, evaluation in reversed(list(zip(options.runs, evaluations, strict=True))):
        title = f"{in_steps(run.policy.steps)} steps"
        if stages := run.policy.config.stages:
            number = run.policy.config.part_at(run.policy.update)
            title += f", {stages[number].title(number)}"
        yield title, arena_of(run.policy, options.protocol, arena), evaluation


def write_comparison(
    options: Options,
    evaluations: Sequence[Evaluation],
    screened: Sequence[Screened] | None,
    seconds: float,
    out: Path,
) -> str:
    """Write everything about several agents, as `write_evaluation` does; episodes first."""
    testbed = options.testbed
    write_episodes_of_runs(evaluations, out / EPISODES)
    provenance = _provenance(options, seconds)
    comparison = compare(options.runs, evaluations, screened)
    write_json(out / SUMMARY, {**comparison.as_json(), "provenance": provenance})
    write_runs(comparison, testbed, out / RUNS)
    names = [EPISODES, RUNS, SUMMARY]
    if screened:
        rows = screened_rows(comparison)
        write_screened(rows, out / SCREENED)
        names.append(SCREENED)
        if figure := figures.draw_screened(rows, testbed):
            figures.save(figure, out / SCREENED_FIGURE, "png")
            names.append(SCREENED_FIGURE)

    files = {name: _FILES[name] for name in names}
    config = _config(options.runs[0].policy)
    page = report.build_several(comparison, testbed, provenance, config, files)
    (out / REPORT).write_text(page, encoding="utf-8")
    count = len(options.runs)
    runs = f"{count} run{'s' * (count > 1)}"
    return (
        f"\n{runs} on {provenance['Levels']}; actions {provenance['Actions']}.\n\n"
        f"{table.comparison_lines(comparison)}\n\n"
        f"Runs: {options.out / RUNS}\nReport: {options.out / REPORT}"
    )


def _config(policy: Policy) -> str:
    return yaml.safe_dump(dataclasses.asdict(policy.config), sort_keys=False)


def _training(policy: Policy) -> str:
    """What an agent was trained on, and for how long."""
    config = policy.config
    return f"{policy.steps / 1e6:.1f}M steps, seed {config.seed}, {config.env.in_words()}"


def _provenance(options: Options, seconds: float) -> dict[str, Any]:
    protocol = options.protocol
    env = options.runs[0].policy.env_config
    runs = options.runs[:1] if options.lifetime else options.runs
    trained = [_training(run.policy) for run in runs]
    unseen = (
        f" unlike any of the first {protocol.unseen_by:,} training levels"
        if protocol.unseen_by
        else ""
    )
    modes = {
        "sample": "drawn from the policy",
        "greedy": "the likeliest",
        "both": "drawn from the policy, and the likeliest in separate rows",
    }
    kind = options.testbed.level_kind(protocol.suite.conditions[0], env)
    levels = " ".join(filter(None, ("held-out", kind, "levels")))
    return {
        "Run": ", ".join(run.name for run in runs),
        "Environment": env.id,
        "Trained": "; ".join(dict.fromkeys(trained)),
        "Suite": protocol.suite.name,
        "Levels": f"{protocol.num_levels:,} {levels}{unseen}, seeds from "
        f"{TEST_LEVELS[0]}, {protocol.num_samples} episode"
        f"{'s' * (protocol.num_samples > 1)} each",
        "Actions": modes[protocol.action_mode],
        "Seed": str(protocol.seed),
        "Version": f"coinrun_jax {coinrun_jax.__version__}, commit "
        f"{source_commit() or 'unknown'}, jax {jax.__version__}",
        "Device": device_name(),
        "Time": f"{seconds:.0f} s",
    }
