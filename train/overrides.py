"""Command-line overrides of a config: `--section.key value`."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from coinrun_jax.checks import InputError, shown
from coinrun_jax.registry import import_plugins
from train.config import TrainConfig, config_from_dict, env_config, load_config

_HELP = {"--help", "-h"}


_PROGRAM = "python -m train"


def configure(
    path: Path | None,
    arguments: Sequence[str],
    about: str = "Settings.",
    program: str = _PROGRAM,
) -> TrainConfig:
    """The config of a YAML file, or the default one, with the given settings changed.

    Plugins among the settings are imported before the file is read, which may need them.

    Args:
      arguments, about, program: see `override`.

    Raises:
      InputError: for a file or a setting that cannot be used.
    """
    import_plugins(_words_by_name(arguments).get("plugins", []))
    return override(load_config(path) if path else TrainConfig(), arguments, about, program)


def override(
    config: TrainConfig,
    arguments: Sequence[str],
    about: str = "Settings.",
    program: str = _PROGRAM,
) -> TrainConfig:
    """The config with the given settings changed.

    Takes `--section.key value ...`, `--section.key=value`, flags `--section.key` and
    `--section.no-key`, and lists in the form that sweeps use, `--section.key=[a, b]`. Dashes may
    replace underscores, and the last of repeated settings wins. A new `env.id` starts from that
    environment's defaults.

    Args:
      about: what `--help` says above the settings.
      program: the name shown in the help.

    Raises:
      InputError: for an unknown setting or an invalid value.
    """
    given, hints = _words_by_name(arguments), _hints(TrainConfig)
    import_plugins(given.get("plugins", config.plugins))
    _, env_id = _parsed("env.id", given.get("env.id", [config.env.id]), hints)
    if env_id != config.env.id:
        config = dataclasses.replace(config, env=env_config({"id": env_id}))
    hints |= _hints(type(config.env), "env.")
    values = dataclasses.asdict(config)
    for name, words in given.items():
        setting, value = _parsed(name, words, hints)
        *path, last = setting.split(".")
        section = values
        for part in path:
            section = section[part]
        section[last] = value
    config = config_from_dict(values)
    if not _HELP.isdisjoint(arguments):
        import tyro

        tyro.cli(
            TrainConfig,
            default=dataclasses.replace(config, stages=None),  # they are not for the command line
            args=["--help"],
            prog=program,
            description=about,
            config=(tyro.conf.AvoidSubcommands,),
        )
    return config


def _words_by_name(arguments: Iterable[str]) -> dict[str, list[str]]:
    """The words that follow each `--name`; the last of repeated ones wins."""
    given: dict[str, list[str]] = {}
    words: list[str] | None = None
    for argument in arguments:
        if argument in _HELP:
            continue
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            given[name.replace("-", "_")] = words = _listed(value) if equals else []
        elif words is None:
            raise InputError(f"{shown(argument)} follows no --setting")
        else:
            words.append(argument)
    return given


def _listed(value: str) -> list[str]:
    """The values in `[a, b]`, or the one value."""
    if not (value.startswith("[") and value.endswith("]")):
        return [value]
    return [part.strip(" '\"") for part in value[1:-1].split(",") if part.strip()]


def _hints(cls: type, prefix: str = "") -> dict[str, Any]:
    """The type of every setting, by its dotted name."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            found |= _hints(hint, f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            found[prefix + name] = hint
    return found


def _parsed(name: str, words: list[str], hints: dict[str, Any]) -> tuple[str, Any]:
    """The setting that a name stands for, and its value, which the config validates.

    Raises:
      InputError: for an unknown setting, or a wrong number of words.
    """
    if name not in hints:
        section, dot, last = name.rpartition(".")
        flag = f"{section}{dot}{last.removeprefix('no_')}"
        if hints.get(flag) is not bool:
            raise InputError(f"unknown setting {_option(name)}{_suggestion(name, hints)}")
        if words:
            raise InputError(f"{_option(name)} takes no value")
        return flag, False
    hint = hints[name]
    if get_origin(hint) is tuple:
        return name, [_typed(word, get_args(hint)[0]) for word in words]
    if hint is bool and not words:
        return name, True
    if len(words) != 1:
        raise InputError(f"{_option(name)} takes one value, not {len(words)}")
    return name, _typed(words[0], hint)


def _typed(word: str, hint: Any) -> Any:
    """The value that a word stands for; the word itself if its type is wrong."""
    if type(None) in get_args(hint):
        return None if word in ("None", "null") else _typed(word, get_args(hint)[0])
    if hint is bool:
        return {"true": True, "false": False}.get(word.lower(), word)
    if hint is int:
        try:
            return int(word)
        except ValueError:
            return word
    return word  # text, or a number that `require_types` reads


def _suggestion(name: str, hints: dict[str, Any]) -> str:
    """Names that the user may have meant."""
    last = name.rpartition(".")[2]
    alike = [known for known in hints if known.rpartition(".")[2] == last]
    alike += difflib.get_close_matches(name, hints)
    options = " or ".join(map(_option, list(dict.fromkeys(alike))[:3]))
    return f"; did you mean {options}?" if options else ""


def _option(name: str) -> str:
    text = "--" + name.replace("_", "-")
    return text if len(text) <= 60 and text.isprintable() else shown(text)
