"""The files that an evaluation leaves, and what it prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import yaml

import coinrun_jax
from coinrun_jax.files import write_json
from coinrun_jax.hardware import device_name
from eval import animations, figures, report, table
from eval.comparison import compare, write_runs
from eval.episodes import write_episodes, write_episodes_of_runs
from eval.features import FEATURES, write_features
from eval.options import Options
from eval.probes import probe
from eval.published import published_rows, write_published
from eval.results import Evaluation
from eval.rollout import Arena
from eval.summary import summarise
from eval.trajectories import TRAJECTORIES, write_trajectories
from train.policy import Policy
from train.provenance import source_commit

EPISODES, RUNS, SUMMARY = "episodes.csv", "runs.csv", "summary.json"
PUBLISHED, PUBLISHED_FIGURE = "published.csv", "published.png"
REPORT, FIGURE = "report.html", "outcomes.png"
_FILES = {
    EPISODES: "every episode, a row each",
    RUNS: "every run and condition, a row each",
    PUBLISHED: "every run, by the published protocol",
    PUBLISHED_FIGURE: "its figure",
    SUMMARY: "every number of this page",
    FIGURE: "the first figure",
    TRAJECTORIES: "every action of the agent, to play its episodes again",
    FEATURES: "what the agent saw, felt and did, labelled by condition",
}
WRITTEN = (*_FILES, REPORT, *(f"{name}.gif" for name in animations.NAMES))


def write_evaluation(
    options: Options,
    evaluation: Evaluation,
    arena: Arena,
    by_paper: list[dict[str, Any]] | None,
    seconds: float,
    out: Path,
) -> str:
    """Everything about one agent; the episodes first, so that they outlive what fails later.

    Args:
      out: folder to write to.

    Returns:
      what to print.
    """
    (run,) = options.runs
    write_episodes(evaluation, out / EPISODES)
    provenance = _provenance(options, seconds)
    summary: dict[str, Any] = summarise([evaluation])
    if by_paper:
        summary["published"] = by_paper[0]
    write_json(out / SUMMARY, {**summary, "provenance": provenance})
    if options.trajectories:
        write_trajectories(evaluation, run.policy.env_config, out / TRAJECTORIES)
    if options.features:
        write_features(evaluation, arena, run.policy, options.features, out / FEATURES)
    if options.probes:
        print("asking the network what it knows of the coin ...", flush=True)
        summary["probes"] = probe(run.policy, options.protocol)
        write_json(out / SUMMARY, {**summary, "provenance": provenance})

    figures.save(figures.draw(summary), out / FIGURE, "png")
    clips = animations.make_gifs(arena, evaluation)
    for clip, data in clips:
        (out / f"{clip.name}.gif").write_bytes(data)
    files = {name: _FILES[name] for name in (EPISODES, SUMMARY, FIGURE)}
    files |= {f"{clip.name}.gif": clip.caption.rstrip(".") for clip, _ in clips}
    files |= {TRAJECTORIES: _FILES[TRAJECTORIES]} if options.trajectories else {}
    files |= {FEATURES: _FILES[FEATURES]} if options.features else {}
    config = yaml.safe_dump(dataclasses.asdict(run.policy.config), sort_keys=False)
    shown = report.show(arena, evaluation, clips)
    page = report.build_single(summary, evaluation, provenance, config, shown, files)
    (out / REPORT).write_text(page, encoding="utf-8")
    lines = [
        f"\n{provenance['Run']} on {provenance['Levels']}; actions {provenance['Actions']}.",
        "What came first, as a share of episodes [95 % interval]:\n",
        table.plain(table.outcome_rows(summary), table.OUTCOME_COLUMNS),
        "",
        table.plain(table.measure_rows(summary), table.MEASURE_COLUMNS),
        f"\n{table.published_line(by_paper[0])}" if by_paper else None,
        f"\n{table.verdict_lines(summary)}\nReport: {options.out / REPORT}",
    ]
    return "\n".join(line for line in lines if line is not None)


def write_comparison(
    options: Options,
    evaluations: Sequence[Evaluation],
    by_paper: list[dict[str, Any]] | None,
    seconds: float,
    out: Path,
) -> str:
    """Everything about several agents, as `write_evaluation`; the episodes first."""
    write_episodes_of_runs(evaluations, out / EPISODES)
    provenance = _provenance(options, seconds)
    comparison = compare(options.runs, evaluations)
    if by_paper:
        for run, found in zip(comparison["runs"], by_paper, strict=True):
            run["published"] = found
    write_json(out / SUMMARY, {**comparison, "provenance": provenance})
    write_runs(comparison, out / RUNS)
    written = [EPISODES, RUNS, SUMMARY]
    if by_paper:
        published = published_rows(comparison)
        write_published(published, out / PUBLISHED)
        written.append(PUBLISHED)
        if figure := figures.draw_published(published):
            figures.save(figure, out / PUBLISHED_FIGURE, "png")
            written.append(PUBLISHED_FIGURE)

    config = yaml.safe_dump(dataclasses.asdict(options.runs[0].policy.config), sort_keys=False)
    files = {name: _FILES[name] for name in written}
    page = report.build_several(comparison, options.protocol.suite, provenance, config, files)
    (out / REPORT).write_text(page, encoding="utf-8")
    count = len(options.runs)
    runs = f"{count} run{'s' * (count > 1)}"
    return (
        f"\n{runs} on {provenance['Levels']}; actions {provenance['Actions']}.\n\n"
        f"{table.comparison_lines(comparison)}\n\n"
        f"Runs: {options.out / RUNS}\nReport: {options.out / REPORT}"
    )


def _training(policy: Policy) -> str:
    """What an agent was trained on, and for how long."""
    config, p = policy.config, policy.env_config.p_moved
    steps = policy.update * config.ppo.batch_size
    place = f"{policy.env_config.placement} in {100 * p:g} % of episodes" if p else "at the end"
    return f"{steps / 1e6:.1f}M steps, seed {config.seed}, coin {place}"


def _provenance(options: Options, seconds: float) -> dict[str, str]:
    protocol, levels = options.protocol, coinrun_jax.TEST_LEVELS
    env = options.runs[0].policy.env_config
    trained = [_training(run.policy) for run in options.runs]
    unseen = (
        f" but for layouts of the first {protocol.unseen_by:,} training levels"
        if protocol.unseen_by
        else ""
    )
    modes = {
        "sample": "drawn from the policy",
        "greedy": "the likeliest",
        "both": "drawn from the policy; and the likeliest, in a row of their own",
    }
    return {
        "Run": ", ".join(run.name for run in options.runs),
        "Trained": "; ".join(dict.fromkeys(trained)),
        "Suite": protocol.suite.name,
        "Levels": f"{protocol.num_levels:,} held-out {env.mode} levels, seeds from "
        f"{levels[0]}{unseen}, {protocol.num_samples} episode"
        f"{'s' * (protocol.num_samples > 1)} each",
        "Actions": modes[protocol.action_mode],
        "Seed": str(protocol.seed),
        "Version": f"coinrun_jax {coinrun_jax.__version__}, commit "
        f"{source_commit() or 'unknown'}, jax {jax.__version__}",
        "Device": device_name(),
        "Time": f"{seconds:.0f} s",
    }
