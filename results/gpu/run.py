"""Measures what only an accelerator can show: python -m results.gpu.run [--list] [STEP ...].

Each step is a list of the project's commands; later steps rely on earlier ones. Tables are written
next to this file, runs to runs/gpu, where stopped sweeps resume and complete evaluations are kept.
Failed steps are named at the end, and do not stop the others.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, command

ROOT = Path(__file__).resolve().parents[2]
HERE, RUNS = "results/gpu", "runs/gpu"
SYMBOLIC, PIXELS = "configs/paper_symbolic.yaml", "configs/paper_rgb.yaml"
NUM_ENVS = [str(2**k) for k in range(8, 17)]
Command = list[str]


def _benchmark(config: str, *settings: str) -> Command:
    """Where an update's time goes, by batch and precision; what does not fit is skipped."""
    sizes, precisions = ["256", "1024", "4096"], ["float32", "bfloat16"]
    words = ["train.benchmark", "breakdown", "--config", config, "--csv", f"{HERE}/breakdown.csv"]
    return [*words, "--num-envs", *sizes, "--precision", *precisions, *settings]


def _sweep(name: str, into: str, *settings: str) -> Command:
    return ["train.sweep", f"configs/sweeps/{name}.yaml", "--out", f"{RUNS}/{into}", *settings]


def _compare(runs: str, suite: str, *words: str) -> Command:
    out = f"{RUNS}/{runs}_{suite}"
    return ["eval", "--compare", f"{RUNS}/{runs}", "--suite", suite, "--out", out, *words]


def _curve(name: str, sweep: str, reference: str, *settings: str) -> list[Command]:
    """Agents by how often training moved the coin, and both of their tests.

    Args:
      reference: the run, trained at p = 0, that selects the levels of the suite "paper".
    """
    reference = f"{RUNS}/{name}/{reference}"
    return [
        _sweep(sweep, name, *settings),
        _compare(name, "relocation", "--num-levels", "2000"),
        _compare(name, "paper", "--num-levels", "2000", "--reference", reference),
    ]


STEPS: dict[str, tuple[str, list[Command]]] = {
    "exact": (
        "does it match the C++ game here, too, and compiled programs single operations?",
        [
            ["coinrun_jax.parity", "tests/data/traj_hard.npz"],
            ["coinrun_jax.parity", "tests/data/traj_easy.npz"],
            ["coinrun_jax.parity", "tests/data/levels.npz"],
            ["pytest", "-q", "-m", "thorough", "tests/test_backend.py"],
            ["pytest", "-q", "tests/test_generator.py", "tests/test_physics.py"],
        ],
    ),
    "environment": (
        "how many steps per second, and where does it saturate?",
        [
            [
                *("coinrun_jax.benchmark", "--observation", "symbolic", "rgb"),
                *("--num-envs", *NUM_ENVS, "--csv", f"{HERE}/environment.csv"),
            ]
        ],
    ),
    "learner": (
        "how fast is training, at which batch and precision, and where does the time go?",
        [
            _benchmark(PIXELS),
            _benchmark(PIXELS, "--ppo.num-minibatches", "128"),
            _benchmark(SYMBOLIC),
            [
                *("train.benchmark", "seeds", "--config", SYMBOLIC),
                *("--num-seeds", "8", "--csv", f"{HERE}/seeds.csv"),
            ],
        ],
    ),
    "observation": (
        "what do agents on pixels and on symbols learn with the coin at the end?",
        [_sweep("observation", "observation"), _compare("observation", "relocation")],
    ),
    "symbolic_curve": (
        "how often must the coin be elsewhere, for agents on symbols?",
        _curve("symbolic_curve", "coin_randomisation_seeds", "placement_probability-0.0/seed_0"),
    ),
    "pixel_curve": (
        "and for agents on pixels, each of which fills a GPU?",
        _curve(
            "pixel_curve",
            "coin_randomisation",
            "placement_probability-0.0_seed-0",
            *("--config", PIXELS),
        ),
    ),
}
"""Steps by name: the question, and the commands, as `python -m` takes them."""


def _is_evaluated(out: Path) -> bool:
    """Whether there is an evaluation; its files appear together."""
    return (out / "report.html").exists()


def run(name: str) -> bool:
    """Run a step; returns False if one of its commands failed."""
    whole = True
    for words in STEPS[name][1]:
        print("$ python -m", *words, flush=True)
        if words[0] == "eval" and _is_evaluated(ROOT / words[words.index("--out") + 1]):
            print("done before", flush=True)
            continue
        if subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=False).returncode:
            whole = False
    return whole


def backend() -> str:
    """JAX's default backend, found in a separate process, which releases the GPU."""
    words = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    answer = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    return (answer.stdout.split() or ["nothing"])[-1]


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns 1 if a step failed, 2 if there is no accelerator."""
    parser = Parser(prog="python -m results.gpu.run", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--list", action="store_true", help="only list the steps")
    known = parser.parse_args(arguments)
    if unknown := set(known.names) - set(STEPS):
        parser.error(f"{', '.join(sorted(unknown))} is not one of {', '.join(STEPS)}")
    chosen = known.names or list(STEPS)
    if known.list:
        for name in chosen:
            asks, commands = STEPS[name]
            print(f"{name}: {asks}", *(f"    python -m {' '.join(c)}" for c in commands), sep="\n")
        return 0

    if (found := backend()) in ("cpu", "nothing"):
        raise InputError(
            f"jax finds no accelerator (backend: {found}); `make install-cuda` adds it to jax, "
            "with CUDA=cuda12 for an older driver"
        )
    failed = [name for name in chosen if not run(name)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
