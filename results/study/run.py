"""Trains and evaluates what the study lacks, then draws its figures.

python -m results.study.run [--list] [--jobs N] [--no-training] [EXPERIMENT ...]

Runs are in runs/study, where each is trained once for all experiments and resumes from its
checkpoint; the tables of their evaluation are next to this file. An agent in an experiment's table
is neither trained nor evaluated again, so the study can be done in pieces and on several machines.
To measure an agent again, remove its rows from the tables of that suite.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from coinrun_jax.cli import Parser, command, integer
from results.study import provenance, tables
from results.study.experiments import EXPERIMENTS, NUM_LEVELS, ROOT, RUNS, Experiment
from train.config import TrainConfig
from train.provenance import source_commit
from train.sweep import config_of, is_done, require_usable, train_all

RUNS_TABLE = "runs.csv"
TABLES = ("published.csv", RUNS_TABLE)
"""What is kept of an evaluation. The last one determines which agents are known: an evaluation
that stops before it is written is repeated."""
REFERENCE = "results/policies/p0"
"""The p = 0 agent that selects the levels of the suite "paper": the study's first, as shipped."""


def evaluated(experiment: Experiment) -> set[str]:
    """Names of the runs in the experiment's table."""
    return {row["run"] for row in tables.read(experiment.folder / RUNS_TABLE)} - {""}


def lacking(experiment: Experiment) -> dict[str, list[str]]:
    """Runs that are not in its table: name -> arguments of `python -m train`."""
    known = evaluated(experiment)
    return {name: words for name, words in experiment.runs().items() if name not in known}


def trained(names: dict[str, list[str]]) -> list[str]:
    """Runs that are finished on this machine."""
    return [name for name in names if is_done(ROOT / name)]


def report(experiments: list[Experiment]) -> None:
    """Print the state of each experiment in a line."""
    for each in experiments:
        missing = lacking(each)
        there, count = trained(missing), len(each.runs())
        state = [f"{count - len(missing)} of {count} agents evaluated"] if missing else []
        if there:
            state.append(f"{len(there)} more trained")
        print(f"{each.name + ':':20}{', '.join(state) or 'complete'}")


def train(experiments: list[Experiment], jobs: int) -> None:
    """Train every run that an experiment lacks, once.

    Raises:
      SystemExit: if one of them does not finish.
    """
    missing = {name: words for each in experiments for name, words in lacking(each).items()}
    require_each_usable(missing)
    runs = [(str(Path(name).relative_to(RUNS)), words) for name, words in missing.items()]
    if status := train_all(runs, ROOT / RUNS, jobs):
        raise SystemExit(status)


def require_each_usable(names: dict[str, list[str]]) -> None:
    """Check the runs as `train.sweep` would check their sweeps, each in its own folder."""
    by_folder: dict[Path, list[tuple[str, list[str]]]] = {}
    for name, words in names.items():
        path = ROOT / name
        by_folder.setdefault(path.parent, []).append((path.name, words))
    for folder, runs in by_folder.items():
        require_usable(runs, folder)


def configs_of(experiment: Experiment) -> dict[str, TrainConfig]:
    """Configs of its runs, by name."""
    return {name: config_of(words) for name, words in experiment.runs().items()}


def adopt(experiment: Experiment) -> None:
    """Copy results of its agents from other experiments with the same test: what an agent
    does on a level does not depend on other agents.
    """
    path = experiment.folder / RUNS_TABLE
    for other in EXPERIMENTS:
        missing = evaluated(other) & set(lacking(experiment))
        if missing and other.has_the_test_of(experiment):
            rows = tables.read(other.folder / RUNS_TABLE)
            theirs = [row for row in rows if row["run"] in {*experiment.runs(), ""}]
            merged = tables.merge(theirs, tables.read(path), configs_of(experiment))
            provenance.share(missing, other.name, experiment.name)
            tables.write(merged, path)


def evaluate(experiment: Experiment, commit: str) -> None:
    """Play the suite with the new agents, and add them to its tables.

    Args:
      commit: of the code, read before any table was written: they are part of the checkout.

    Raises:
      SystemExit: if the evaluation fails.
    """
    missing = lacking(experiment)
    new = trained(missing)
    if not new:
        return
    require_each_usable({name: missing[name] for name in new})
    out = ROOT / RUNS / "eval" / experiment.name
    shutil.rmtree(out, ignore_errors=True)
    words = ["-m", "eval", "--compare", *new, "--suite", experiment.suite_argument]
    words += ["--num-levels", str(NUM_LEVELS), "--out", str(out.relative_to(ROOT))]
    if experiment.unseen_by:
        words += ["--unseen-by", str(experiment.unseen_by)]
    if experiment.suite == "paper":
        words += ["--reference", REFERENCE]
    print("$ python", *words, flush=True)
    if code := subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode:
        raise SystemExit(code)
    configs = configs_of(experiment)
    merged = {
        name: tables.merge(tables.read(experiment.folder / name), tables.read(out / name), configs)
        for name in TABLES
        if (out / name).exists()
    }
    provenance.record(experiment.name, new, commit)
    for name, rows in merged.items():
        tables.write(rows, experiment.folder / name)


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    parser = Parser(prog="python -m results.study.run", description=(__doc__ or "").split("\n")[0])
    names = [each.name for each in EXPERIMENTS]
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT", help=f"of {', '.join(names)}")
    parser.add_argument("--list", action="store_true", help="only list what is missing")
    parser.add_argument(
        "--jobs", type=integer(1, 1000), default=1, metavar="N", help="runs trained side by side"
    )
    parser.add_argument("--no-training", action="store_true", help="only evaluate trained agents")
    known = parser.parse_args(arguments)
    if unknown := set(known.names) - set(names):
        parser.error(f"{', '.join(sorted(unknown))} is not one of {', '.join(names)}")
    chosen = [each for each in EXPERIMENTS if each.name in (known.names or names)]
    report(chosen)
    if known.list:
        return 0
    commit = source_commit() or "unknown"
    for each in chosen:
        adopt(each)
    if not known.no_training:
        train(chosen, known.jobs)
    for each in chosen:
        evaluate(each, commit)
    from results.study.draw import draw  # importing it touches devices

    draw()
    report(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
