"""Settings from the command line: `--section.key value` over a config."""

from __future__ import annotations

import contextlib
import io

import tyro

from coinrun_jax.checks import InputError
from train.config import TrainConfig


def override(config: TrainConfig, arguments: list[str], about: str = "Settings.") -> TrainConfig:
    """The config with the given settings changed.

    Args:
      about: what `--help` says above the settings.

    Raises:
      InputError: for an unknown setting or a value that it cannot have, in one line.
    """
    complaint = io.StringIO()
    words = [word for argument in arguments for word in _words(argument)]
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                TrainConfig, default=config, args=words, prog="python -m train", description=about
            )
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        raise InputError(_one_line(complaint.getvalue())) from None


def _words(argument: str) -> list[str]:
    """The argument as tyro wants it where sweeps write `--name=[a, b]` or `--name=True`."""
    name, is_setting, value = argument.partition("=")
    if is_setting and value in ("True", "true"):
        return [name]
    if is_setting and value in ("False", "false"):
        section, dot, last = name.removeprefix("--").rpartition(".")
        return [f"--{section}{dot}no-{last}"]
    if not (is_setting and value.startswith("[") and value.endswith("]")):
        return [argument]
    return [name, *(part.strip(" '\"") for part in value[1:-1].split(",") if part.strip())]


def _one_line(box: str) -> str:
    """The message inside the box that tyro draws, with the names that it thinks were meant, and
    without its title and its hint at --help.
    """
    lines = [line.strip("│ \n") for line in box.splitlines()[1:-1]]
    rules = [number for number, line in enumerate(lines) if set(line) == {"─"}]
    message = lines[: rules[0]] if rules else lines
    words = " ".join(" ".join(message).replace("─", " ").split())
    meant = [line.split()[0] for line in lines[len(message) :] if line.startswith("--")]
    meant = [name for name in meant if name not in words]
    return words + (f"; perhaps {' or '.join(meant)} was meant" if meant else "")
