"""Settings from the command line: `--section.key value` over a config."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, get_args, get_origin, get_type_hints

from coinrun_jax.checks import InputError, shown
from coinrun_jax.registry import import_plugins
from train.config import TrainConfig, config_from_dict, env_config

_HELP = ("--help", "-h")


def override(
    config: TrainConfig, arguments: Sequence[str], about: str = "Settings."
) -> TrainConfig:
    """The config with the given settings changed.

    Takes `--section.key value ...`, `--section.key=value`, flags `--section.key` and
    `--section.no-key`, and lists in the form that sweeps use, `--section.key=[a, b]`. Dashes may
    replace underscores. A new `env.id` starts from that environment's defaults.

    Args:
      about: what `--help` says above the settings.

    Raises:
      InputError: for an unknown setting or a value that it cannot have.
    """
    own = [word for word in arguments if word not in _HELP]
    given = _words_by_name(own)
    hints = _hints(TrainConfig)
    if "plugins" in given:
        config = dataclasses.replace(config, plugins=_value("plugins", given, hints))
    import_plugins(config.plugins)
    if "env.id" in given and (env_id := _value("env.id", given, hints)) != config.env.id:
        config = dataclasses.replace(config, env=env_config({"id": env_id}))
    hints |= _hints(type(config.env), "env.")
    values = dataclasses.asdict(config)
    for name in given:
        is_negated = name not in hints and _negated(name) in hints
        setting = _negated(name) if is_negated else name
        *path, last = setting.split(".")
        value = _off(name, given, hints) if is_negated else _value(name, given, hints)
        section = values
        for part in path:
            section = section[part]
        section[last] = value
    config = config_from_dict(values)
    if len(own) < len(arguments):
        _show_help(config, about)
    return config


def _words_by_name(arguments: Iterable[str]) -> dict[str, list[str]]:
    """The words that follow each `--name`; of a repeated one, the last."""
    given: dict[str, list[str]] = {}
    words: list[str] | None = None
    for argument in arguments:
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


def _negated(name: str) -> str:
    """`section.key` of the flag `section.no_key`."""
    section, dot, last = name.rpartition(".")
    return f"{section}{dot}{last.removeprefix('no_')}"


def _off(name: str, given: dict[str, list[str]], hints: dict[str, Any]) -> bool:
    if hints[_negated(name)] is not bool or given[name]:
        raise InputError(f"{_option(name)} turns off a flag, and takes no value")
    return False


def _value(name: str, given: dict[str, list[str]], hints: dict[str, Any]) -> Any:
    """What the words of a setting stand for; the config checks whether it can have that.

    Raises:
      InputError: for an unknown setting, or too many words or too few.
    """
    words = given[name]
    if name not in hints:
        raise InputError(f"unknown setting {_option(name)}{_suggestion(name, hints)}")
    hint = hints[name]
    if get_origin(hint) is tuple:
        return [_typed(word, get_args(hint)[0]) for word in words]
    if hint is bool and not words:
        return True
    if len(words) != 1:
        raise InputError(f"{_option(name)} takes one value, not {len(words)}")
    return _typed(words[0], hint)


def _typed(word: str, hint: Any) -> Any:
    """A word as what it stands for, or as it is where it cannot be that."""
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
    """The names that may have been meant."""
    last = name.rpartition(".")[2]
    alike = [known for known in hints if known.rpartition(".")[2] == last]
    alike += difflib.get_close_matches(name, hints)
    options = " or ".join(map(_option, list(dict.fromkeys(alike))[:3]))
    return f"; did you mean {options}?" if options else ""


def _option(name: str) -> str:
    text = "--" + name.replace("_", "-")
    return text if len(text) <= 60 and text.isprintable() else shown(text)


def _show_help(config: TrainConfig, about: str) -> None:
    """Print every setting with its default, and leave the program."""
    import tyro

    tyro.cli(
        TrainConfig, default=config, args=["--help"], prog="python -m train", description=about
    )
