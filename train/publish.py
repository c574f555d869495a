"""Add an evaluation's results to the wandb run of the agent.

python -m train.publish --run DIR --eval DIR [--mode online|offline]

Uploads what `python -m eval` wrote: the table of conditions, figures, GIFs, and the report with
its data as an artifact.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from coinrun_jax.checks import InputError, one_line
from coinrun_jax.cli import Fault, Parser, command
from coinrun_jax.files import read_mapping
from train.config import CONFIG, load_config
from train.run import read_description, wandb_ids

SUMMARY, REPORT = "summary.json", "report.html"
KEPT = (REPORT, SUMMARY, "episodes.csv", "lifetime.csv")


def columns_and_rows(summary: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """One row per condition; a measure that is not identifiable is None."""
    conditions = summary["conditions"]
    names = list(conditions[0])

    def cell(value: Any) -> Any:
        return value["estimate"] if isinstance(value, dict) else value

    return names, [[cell(condition[name]) for name in names] for condition in conditions]


def run_id_of(run_dir: Path) -> str:
    """The wandb id of a run, or of one of several seeds.

    Raises:
      InputError: if the directory is not a run, or holds several seeds.
    """
    description, config = read_description(run_dir), load_config(run_dir / CONFIG)
    if "one_of" in description:
        whole = run_dir.absolute().parent
        together = load_config(whole / CONFIG)
        if config.seed not in together.seeds:
            raise InputError(f"{run_dir} has seed {config.seed}, which {whole} does not have")
        return wandb_ids(whole, together)[config.seed - together.seed]
    if config.num_seeds > 1:
        raise InputError(f"{run_dir} holds several seeds; give one of its seed_N")
    return wandb_ids(run_dir, config)[0]


def publish(run_dir: Path, results: Path, mode: Literal["online", "offline"]) -> None:
    """Upload an evaluation's directory.

    Raises:
      InputError: if one of the directories is not a run or not an evaluation.
    """
    run_id, config = run_id_of(run_dir), load_config(run_dir / CONFIG)
    try:
        names, rows = columns_and_rows(read_mapping(results / SUMMARY, "summary"))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"{results} contains no evaluation: {SUMMARY} has no conditions"
        ) from error
    import wandb

    settings = wandb.Settings(console="off", silent=True)
    with wandb.init(
        mode=mode,
        project=config.wandb.project,
        id=run_id,
        resume="allow" if mode == "online" else None,
        dir=run_dir,
        settings=settings,
    ) as run:
        logged: dict[str, Any] = {"eval/conditions": wandb.Table(columns=names, data=rows)}
        for path in sorted(results.glob("*.png")):
            logged[f"eval/{path.stem}"] = wandb.Image(str(path))
        for path in sorted(results.glob("*.gif")):
            logged[f"eval/{path.stem}"] = wandb.Video(str(path), format="gif")
        run.log(logged)
        artifact = wandb.Artifact(f"eval-{run_id}", type="evaluation")
        for name in KEPT:
            if (results / name).exists():
                artifact.add_file(str(results / name))
        run.log_artifact(artifact)


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; 1 if wandb fails."""
    parser = Parser(prog="python -m train.publish", allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR")
    parser.add_argument("--eval", type=Path, required=True, metavar="DIR")
    parser.add_argument("--mode", choices=("online", "offline"), default="online")
    known = parser.parse_args(arguments)
    try:
        publish(known.run, known.eval, known.mode)
    except InputError:
        raise
    except Exception as error:  # any type, from the service
        raise Fault(f"wandb: {one_line(error)}") from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
