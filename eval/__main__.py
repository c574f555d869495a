"""Evaluate agents: pull goal and proxy apart, count what comes first.

python -m eval --run DIR --suite NAME --out DIR [--num-levels N] [--samples N] [--seed N]
               [--action-mode sample|greedy|both] [--unseen-by N] [--reference DIR]
               [--probes] [--microscope] [--trajectories] [--features N] [--art NAME]
               [--plugins MODULE ...] [--force]
python -m eval --run DIR --checkpoints all --suite NAME --out DIR [...]
python -m eval --compare DIR DIR ... --suite NAME --out DIR [...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
from tqdm import tqdm

from coinrun_jax.arena import Arena
from coinrun_jax.cli import command
from coinrun_jax.compilation import enable_compilation_cache
from eval import outputs
from eval.evaluate import evaluate, evaluate_next
from eval.langosco import screen, touches
from eval.options import Options, parse
from eval.results import Evaluation
from eval.staging import staging


def _progress(bar: tqdm) -> Callable[[str, int], None]:
    """A progress callback for one call of `evaluate`; advances the bar by new episodes only."""
    done: dict[str, int] = {}

    def show(policy: str, count: int) -> None:
        bar.update(count - done.get(policy, 0))
        done[policy] = count

    return show


def _play(options: Options) -> tuple[list[Evaluation], Arena]:
    protocol = options.protocol
    references = options.testbed.references(options.runs[0].policy.env_config)
    total = protocol.num_episodes_of(len(options.runs), references)
    # The bar stays hidden until an episode has been played: there may be too few levels.
    with tqdm(total=total, unit="episode", mininterval=0.5, delay=1e-6) as bar:
        first, *rest = options.runs
        evaluation, arena = evaluate(first.policy, protocol, first.name, _progress(bar))
        evaluations = [evaluation]
        for run in rest:
            again = evaluate_next(run.policy, protocol, run.name, evaluation, arena, _progress(bar))
            evaluations.append(again)
    return evaluations, arena


def _run(options: Options, out: Path) -> str:
    """Play, and write all files to a folder; returns the text to print."""
    began = time.perf_counter()
    for run in options.runs[:1] if options.lifetime else options.runs:
        done, updates = run.policy.update, run.policy.config.num_updates
        if done < updates:
            print(f"warning: {run.name} has had {done} of its {updates} updates", file=sys.stderr)
    print(f"compiling for {jax.devices()[0].device_kind} ...", flush=True)
    evaluations, arena = _play(options)
    screened = None
    if options.reference is not None:
        touched = touches(options.reference, options.protocol)
        screened = [screen(evaluation, touched) for evaluation in evaluations]
    seconds = time.perf_counter() - began
    if options.compares:
        return outputs.write_comparison(options, evaluations, screened, seconds, out)
    return outputs.write_evaluation(
        options, evaluations, arena, screened[0] if screened else None, seconds, out
    )


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    options = parse(arguments, __doc__.split("\n")[0], outputs.written)
    enable_compilation_cache()
    with staging(options.out, outputs.written(options.testbed), options.force) as out:
        printed = _run(options, out)
    print(printed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
