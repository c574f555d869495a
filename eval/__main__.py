"""Evaluate agents: move the coin, count what comes first.

python -m eval --run DIR --suite NAME --out DIR [--num-levels N] [--samples N] [--seed N]
               [--action-mode sample|greedy|both] [--unseen-by N] [--reference DIR]
               [--probes] [--trajectories] [--features N]
python -m eval --compare DIR DIR ... --suite NAME --out DIR [...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import jax
from tqdm import tqdm

from coinrun_jax.compilation import enable_compilation_cache
from eval import outputs
from eval.evaluate import MOST_LEVELS, evaluate, evaluate_next
from eval.levels import LevelError
from eval.options import Options, UsageError, parse
from eval.published import published, spot_touches
from eval.results import AGENT, GREEDY, POLICY_TITLES, Evaluation
from eval.rollout import Arena
from eval.suite_files import SuiteError
from train.policy import PolicyError


def _episodes(options: Options) -> int:
    """How many will be played."""
    protocol = options.protocol
    agents = [AGENT, GREEDY] if protocol.action_mode == "both" else [AGENT]
    references = [policy for policy in POLICY_TITLES if policy not in (AGENT, GREEDY)]
    levels = [
        min(protocol.num_levels, MOST_LEVELS.get(policy, protocol.num_levels))
        for policy in agents * len(options.runs) + references
    ]
    return sum(levels) * len(protocol.suite.conditions) * protocol.num_samples


def _progress(bar: tqdm) -> Callable[[str, int], None]:
    """A report for one call of `evaluate`: moves the bar by what was not yet counted."""
    done: dict[str, int] = {}

    def show(policy: str, count: int) -> None:
        bar.update(count - done.get(policy, 0))
        done[policy] = count

    return show


def _play(options: Options) -> tuple[list[Evaluation], Arena]:
    protocol = options.protocol
    with tqdm(total=_episodes(options), unit="episode", mininterval=0.5) as bar:
        first, *rest = options.runs
        evaluation, arena = evaluate(first.policy, protocol, first.name, _progress(bar))
        evaluations = [evaluation]
        for run in rest:
            again = evaluate_next(run.policy, protocol, run.name, evaluation, arena, _progress(bar))
            evaluations.append(again)
    return evaluations, arena


def _run(options: Options) -> None:
    began = time.perf_counter()
    for run in options.runs:
        done, updates = run.policy.update, run.policy.config.num_updates
        if done < updates:
            print(f"warning: {run.name} has had {done} of its {updates} updates", file=sys.stderr)
    print(f"compiling for {jax.devices()[0].device_kind} ...", flush=True)
    evaluations, arena = _play(options)
    by_paper = None
    if options.reference is not None:
        touches = spot_touches(options.reference, options.protocol)
        by_paper = [published(evaluation, touches) for evaluation in evaluations]
    seconds = time.perf_counter() - began
    if options.compares:
        outputs.write_comparison(options, evaluations, by_paper, seconds)
    else:
        outputs.write_evaluation(options, evaluations[0], arena, by_paper, seconds)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 for unusable input, said in one line on stderr, 130 if interrupted."""
    try:
        options = parse(arguments, __doc__.split("\n")[0], outputs.WRITTEN)
        options.out.mkdir(parents=True, exist_ok=True)
    except (UsageError, SuiteError, PolicyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    enable_compilation_cache()
    try:
        _run(options)
    except LevelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
