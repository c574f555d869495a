"""Compile a run's PPO update for an accelerator that is not present, and report the result.

python -m train.targets --for h100|h200|a100|v5e|v5p|v6e [--config FILE] [--devices N]
                        [--program update|environment] [--json OUT] [--force]
                        [--section.key value ...]

Nothing runs on the accelerator: that the program compiles, and its memory, loops and transfers,
are reported by the compiler; the speed is an estimate.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jax

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, add_force, command, integer, require_outputs
from coinrun_jax.files import write_json
from train.overrides import configure
from train.provenance import source_commit
from train.targets.accelerators import accelerators
from train.targets.findings import as_text, find
from train.targets.target_compiler import (
    compile_for,
    compiler_environment,
    require_compiler,
    target_devices,
)

MOST_DEVICES = 4096


def _restart_with(variables: dict[str, str], arguments: list[str]) -> None:
    """Start this command again unless the variables are set."""
    if any(os.environ.get(name) != value for name, value in variables.items()):
        os.environ.update(variables)
        os.execv(sys.executable, [sys.executable, "-m", "train.targets", *arguments])


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = Parser(
        prog="python -m train.targets",
        description=(__doc__ or "").split("\n")[0],
        epilog="Settings of the config may follow, as --section.key value.",
        allow_abbrev=False,
    )
    add, known_targets = parser.add_argument, accelerators()
    add("--config", type=Path, metavar="FILE")
    add("--for", dest="target", choices=tuple(known_targets), required=True)
    add("--devices", type=integer(1, MOST_DEVICES), default=1, metavar="N", help="default: 1")
    add(
        "--program",
        choices=("update", "environment"),
        default="update",
        help="the whole update, or steps of the environment alone (default: update)",
    )
    add("--json", type=Path, metavar="OUT")
    add_force(parser)
    args, settings = parser.parse_known_args(arguments)
    config = configure(args.config, settings)
    if config.stages:
        raise InputError("one stage is compiled at a time; give a config without stages")
    require_outputs(args.force, args.json, inputs=[args.config])
    accelerator = known_targets[args.target]
    accelerator.topology(args.devices)
    require_compiler(accelerator.platform)
    _restart_with(compiler_environment(accelerator), arguments)
    devices = target_devices(accelerator, args.devices)
    compiled = compile_for(config, accelerator, devices, args.program == "environment")
    found = find(compiled, config, accelerator, args.target, args.devices, args.program)
    print(as_text(found))
    if args.json:
        words = " ".join(["python -m train.targets", *arguments])
        provenance = {"jax": jax.__version__, "commit": source_commit(), "command": words}
        write_json(args.json, found.as_json() | provenance)
    return 0


if __name__ == "__main__":
    sys.exit(main())
