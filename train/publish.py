"""Add an evaluation's results to the wandb run that it is of.

python -m train.publish --run DIR --eval DIR [--mode online|offline]

Takes what `python -m eval` wrote: the table of conditions, the figure, the GIFs, and the
report with its data as an artifact.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from train.config import CONFIG, ConfigError, load_config
from train.overrides import Parser

SUMMARY, REPORT = "summary.json", "report.html"
KEPT = (REPORT, SUMMARY, "episodes.csv")


def columns_and_rows(summary: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """One row per condition; a measure that cannot be said is None."""
    conditions = summary["conditions"]
    names = list(conditions[0])

    def cell(value: Any) -> Any:
        return value["estimate"] if isinstance(value, dict) else value

    return names, [[cell(condition[name]) for name in names] for condition in conditions]


def run_id_of(run_dir: Path) -> str:
    """The wandb id of a run, or of one of several seeds.

    Raises:
      ConfigError: if the directory is no run, or holds several.
    """
    try:
        description = json.loads((run_dir / "run.json").read_text())
        config = load_config(run_dir / CONFIG)
        if "one_of" in description:
            whole = run_dir.parent
            seeds = load_config(whole / CONFIG).seeds
            ids = json.loads((whole / "run.json").read_text())["wandb_ids"]
            return ids[config.seed - seeds.start]
        if config.num_seeds > 1:
            raise ConfigError(f"{run_dir} holds several runs; give one of its seed_N")
        return description["wandb_ids"][0]
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise ConfigError(f"{run_dir} is not a run directory: {error}") from error


def publish(run_dir: Path, results: Path, mode: Literal["online", "offline"]) -> None:
    """Log an evaluation's directory.

    Raises:
      ConfigError: if either directory is not what it should be.
    """
    run_id, config = run_id_of(run_dir), load_config(run_dir / CONFIG)
    try:
        names, rows = columns_and_rows(json.loads((results / SUMMARY).read_text()))
    except (OSError, json.JSONDecodeError, KeyError, IndexError) as error:
        raise ConfigError(f"{results} holds no evaluation: {error}") from error
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


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 for unusable input and 1 where wandb fails, each in one line."""
    parser = Parser(prog="python -m train.publish", allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR")
    parser.add_argument("--eval", type=Path, required=True, metavar="DIR")
    parser.add_argument("--mode", choices=("online", "offline"), default="online")
    try:
        known = parser.parse_args(arguments)
        publish(known.run, known.eval, known.mode)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # whatever the service says
        print(f"error: wandb: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
