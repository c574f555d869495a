"""Trains and evaluates what the study lacks, then draws its figures.

python -m results.study.run [--list] [--jobs N] [EXPERIMENT ...]

Runs lie in runs/study, where each is trained once for all experiments and goes on from its
checkpoint; what is kept of their evaluation lies beside this file. Agents of a sweep that is
not done yet are left out, and the experiment is evaluated anew once there are more of them.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
from pathlib import Path

from results.study import provenance
from results.study.experiments import AT_END, EXPERIMENTS, NUM_LEVELS, ROOT, RUNS, Experiment
from train.sweep import is_done

KEPT = ("runs.csv", "published.csv")


def trained(experiment: Experiment) -> list[Path]:
    """Folders of the runs that are done."""
    return [folder for folder in experiment.folders() if is_done(folder)]


def evaluated(experiment: Experiment) -> set[str]:
    """Names of the runs in the experiment's results."""
    try:
        with (experiment.folder / "runs.csv").open(newline="") as file:
            return {row["run"] for row in csv.DictReader(file)} - {""}
    except OSError:
        return set()


def named(folders: list[Path]) -> list[str]:
    """Folders as commands and results name them."""
    return [str(folder.relative_to(ROOT)) for folder in folders]


def report(experiments: list[Experiment]) -> None:
    """A line for each experiment: what is there."""
    for each in experiments:
        there, known = named(trained(each)), evaluated(each)
        missing = len(each.folders()) - len(there)
        state = [f"{len(there)} of {len(each.folders())} agents trained"] if missing else []
        if set(there) - known:
            state.append(f"{len(set(there) - known)} to be evaluated")
        print(f"{each.name + ':':20}{', '.join(state) or 'complete'}")


def python(*words: str) -> None:
    """Run a command of the project.

    Raises:
      SystemExit: if it fails.
    """
    print("$ python", *words, flush=True)
    if code := subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode:
        raise SystemExit(code)


def train(experiments: list[Experiment], jobs: int) -> None:
    """Every sweep that the experiments read, once."""
    sweeps = dict.fromkeys(agents.sweep for each in experiments for agents in each.agents)
    for sweep in sweeps:
        file, out = f"configs/study/{sweep}.yaml", str(RUNS / sweep)
        python("-m", "train.sweep", file, "--jobs", str(jobs), "--out", out)


def evaluate(experiment: Experiment) -> None:
    """Play the suite, and keep its tables; nothing if no agent is new."""
    runs = trained(experiment)
    folders = named(runs)
    if not folders or set(folders) <= evaluated(experiment):
        return
    out = RUNS / "eval" / experiment.name
    shutil.rmtree(out, ignore_errors=True)
    words = ["--suite", experiment.suite_argument, "--num-levels", str(NUM_LEVELS)]
    if experiment.suite == "paper":
        words += ["--reference", named(list(AT_END.folders()))[0]]
    python("-m", "eval", "--compare", *folders, *words, "--out", str(out.relative_to(ROOT)))
    experiment.folder.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (out / name).exists():
            shutil.copy(out / name, experiment.folder / name)
    provenance.record(zip(folders, runs, strict=True))


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
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
