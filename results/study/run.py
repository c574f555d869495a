"""Trains and evaluates what the study lacks, then draws its figures.

python -m results.study.run [--list] [--jobs N] [--no-training] [EXPERIMENT ...]

Runs lie in runs/study, where each is trained once for all experiments and goes on from its
checkpoint; what is kept of their evaluation lies beside this file. An agent that is in an
experiment's table is needed no more: the study can go on in pieces, on several machines, and
what it has found stays. Who wants an agent measured anew takes its rows out of the table.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from results.study import provenance, tables
from results.study.experiments import EXPERIMENTS, NUM_LEVELS, ROOT, RUNS, Experiment
from train.sweep import config_of, is_done, require_usable, train_all

KEPT = ("runs.csv", "published.csv")
REFERENCE = "results/policies/p0"
"""The p = 0 agent that chooses the levels of the suite "paper": the study's first, as shipped."""


def evaluated(experiment: Experiment) -> set[str]:
    """Names of the runs in the experiment's table."""
    return {row["run"] for row in tables.read(experiment.folder / KEPT[0])} - {""}


def lacking(experiment: Experiment) -> dict[str, list[str]]:
    """Runs that are not in its table: name -> arguments of `python -m train`."""
    known = evaluated(experiment)
    return {name: words for name, words in experiment.runs().items() if name not in known}


def trained(names: dict[str, list[str]]) -> list[str]:
    """Those that are done, on this machine."""
    return [name for name in names if is_done(ROOT / name)]


def report(experiments: list[Experiment]) -> None:
    """A line for each experiment: what is there."""
    for each in experiments:
        missing = lacking(each)
        there, count = trained(missing), len(each.runs())
        state = [f"{count - len(missing)} of {count} agents evaluated"] if missing else []
        if there:
            state.append(f"{len(there)} more trained")
        print(f"{each.name + ':':20}{', '.join(state) or 'complete'}")


def train(experiments: list[Experiment], jobs: int) -> None:
    """Every run that an experiment lacks, once.

    Raises:
      SystemExit: if one of them is not done then.
    """
    missing = {name: words for each in experiments for name, words in lacking(each).items()}
    runs = [(str(Path(name).relative_to(RUNS)), words) for name, words in missing.items()]
    require_usable(runs, ROOT / RUNS)
    if not train_all(runs, ROOT / RUNS, jobs):
        raise SystemExit(1)


def enter(experiment: Experiment, name: str, rows: list[tables.Row]) -> None:
    """Merge rows into one of an experiment's tables."""
    configs = {run: config_of(words) for run, words in experiment.runs().items()}
    experiment.folder.mkdir(parents=True, exist_ok=True)
    table = experiment.folder / name
    tables.write(tables.merge(tables.read(table), rows, configs), table)


def adopt(experiment: Experiment) -> None:
    """Take what other experiments have measured of its agents by the same suite: what an agent
    does on a level depends on no other agent.
    """
    for other in EXPERIMENTS:
        known = evaluated(other) & set(experiment.runs())
        if other.suite == experiment.suite and known & set(lacking(experiment)):
            rows = tables.read(other.folder / KEPT[0])
            enter(experiment, KEPT[0], [row for row in rows if row["run"] in {*known, ""}])
            provenance.share(known, other.name, experiment.name)


def evaluate(experiment: Experiment) -> None:
    """Play the suite with the agents that are new, and enter them in its tables.

    Raises:
      SystemExit: if the evaluation fails.
    """
    new = trained(lacking(experiment))
    if not new:
        return
    out = ROOT / RUNS / "eval" / experiment.name
    shutil.rmtree(out, ignore_errors=True)
    words = ["-m", "eval", "--compare", *new, "--suite", experiment.suite_argument]
    words += ["--num-levels", str(NUM_LEVELS), "--out", str(out.relative_to(ROOT))]
    if experiment.suite == "paper":
        words += ["--reference", REFERENCE]
    print("$ python", *words, flush=True)
    if code := subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode:
        raise SystemExit(code)
    for name in KEPT:
        if (out / name).exists():
            enter(experiment, name, tables.read(out / name))
    provenance.record(experiment.name, new)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    names = [each.name for each in EXPERIMENTS]
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT", help=f"of {', '.join(names)}")
    parser.add_argument("--list", action="store_true", help="say what is missing, and stop")
    parser.add_argument("--jobs", type=int, default=1, help="runs trained side by side")
    parser.add_argument("--no-training", action="store_true", help="with the agents there are")
    known = parser.parse_args()
    if unknown := set(known.names) - set(names):
        parser.error(f"{', '.join(sorted(unknown))} is not one of {', '.join(names)}")
    chosen = [each for each in EXPERIMENTS if each.name in (known.names or names)]
    report(chosen)
    if known.list:
        return 0
    for each in chosen:
        adopt(each)
    if not known.no_training:
        train(chosen, known.jobs)
    for each in chosen:
        evaluate(each)
    from results.study.draw import draw  # touches devices, as it is imported

    draw()
    report(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
