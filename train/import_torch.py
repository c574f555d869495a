"""Turn PyTorch IMPALA weights into a policy that `python -m eval --run` can evaluate.

    python -m train.import_torch --weights FILE.npz --out DIR [--config FILE]
                                 [--section.key value ...]

FILE.npz holds the state dict's arrays by their names: docs/pixels.md says how to get it from a
checkpoint. DIR is a new folder. Settings are those of `python -m train` and say how the agent was
trained: --env.mode, --env.num-levels, --total-steps and so on. Observations are Procgen's pixels
unless --env.observation says otherwise; the weights themselves determine the network.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from coinrun_jax.checks import InputError, shown
from coinrun_jax.cli import Parser, command
from coinrun_jax.files import require_makeable
from train.config import TrainConfig
from train.environment import num_actions, require_usable
from train.overrides import configure
from train.policy import ARRAYS, DESCRIPTION, save_policy
from train.torch_impala import Shape, from_torch, read_weights, shape_of

KIND = "torch_impala"
_PROGRAM = "python -m train.import_torch"
_SEEN = ("--env.observation", "procgen")  # unless the settings say otherwise


def _config(path: Path | None, settings: Sequence[str], shape: Shape) -> TrainConfig:
    """How the agent was trained, with the network of its weights.

    Raises:
      InputError: for settings that cannot be used, or weights for another number of actions.
    """
    for word in settings:
        if word.startswith("--network"):
            raise InputError(f"{shown(word)}: the weights determine the network")
    seen = () if path else _SEEN
    config = configure(path, [*seen, *settings], __doc__ or "", _PROGRAM)
    network = dataclasses.replace(config.network, kind=KIND, width=shape.width)
    config = dataclasses.replace(config, network=network)
    require_usable(config)
    if shape.num_actions != num_actions(config.env):
        raise InputError(
            f"the weights are for {shape.num_actions} actions; {config.env.id} has "
            f"{num_actions(config.env)}"
        )
    return config


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    parser = Parser(prog=_PROGRAM, add_help=False, allow_abbrev=False)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--config", type=Path)
    known, settings = parser.parse_known_args(arguments)
    if not {"--help", "-h"}.isdisjoint(settings):
        configure(known.config, settings, __doc__ or "", _PROGRAM)
    for name, value in (("--weights FILE.npz", known.weights), ("--out DIR", known.out)):
        if value is None:
            raise InputError(f"{name} is missing")
    require_makeable(known.out, "folder")
    if known.out.exists():
        raise InputError(f"--out {shown(str(known.out))} already exists: give a new folder")
    weights = read_weights(known.weights)
    params = from_torch(weights)
    config = _config(known.config, settings, shape_of(weights))
    known.out.mkdir(parents=True)
    save_policy(known.out, params, config, config.num_updates)
    print(f"wrote {known.out / ARRAYS} and {known.out / DESCRIPTION}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
