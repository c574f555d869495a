"""What was played, as a small JSON file: all that is needed to play it again, and its end."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from coinrun_jax.env import NUM_SEEDS
from coinrun_jax.generator import MODES
from coinrun_jax.placement import CATALOGUE
from coinrun_jax.types import NUM_ACTIONS, TIME_LIMIT, WORLD_SIZE, Cause

FORMAT = "coinrun_jax play 1"
OUTCOMES = tuple(cause.name.lower() for cause in Cause)
_DIGITS = "0123456789abcde"  # one for each action
assert len(_DIGITS) == NUM_ACTIONS
PLACEMENTS = tuple(name for name in CATALOGUE if name != "fixed")
"""Those that a name is enough for."""


@dataclass(frozen=True)
class Setup:
    """All that an episode starts from."""

    mode: str
    level_seed: int
    placement: str  # of `PLACEMENTS`
    coin_seed: int  # of the key that draws the coin's cell


@dataclass(frozen=True)
class Episode:
    """A setup, what was done in it, and where that led."""

    setup: Setup
    actions: tuple[int, ...]  # codes 0 ... 14, one a step
    outcome: str  # of `OUTCOMES`; "none" where the player broke off
    coin_cell: tuple[int, int]  # (x, y); (-1, -1) for none


class RecordingError(ValueError):
    """A file that is no recording; the message is one line and names the file."""


def save(path: Path, episodes: list[Episode]) -> None:
    """Write a recording: all of it or, if interrupted, nothing of it."""
    rows = [_to_json(episode) for episode in episodes]
    lines = ",\n".join(json.dumps(row) for row in rows)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(f'{{"format": "{FORMAT}", "episodes": [\n{lines}\n]}}\n', encoding="utf-8")
    part.replace(path)


def load(path: Path) -> list[Episode]:
    """The episodes of a recording, at least one.

    Raises:
      RecordingError: if there is no such file, or anything in it is not what `save` writes.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{path} is no recording: not JSON") from error
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise RecordingError(f"{path} is no recording: its format is {found!r}, not {FORMAT!r}")
    rows = data.get("episodes")
    if not isinstance(rows, list) or not rows:
        raise RecordingError(f"{path} has no episodes")
    try:
        return [_from_json(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise RecordingError(f"{path} is not a recording of this version: {error}") from error


def _to_json(episode: Episode) -> dict[str, Any]:
    return {
        **asdict(episode.setup),
        "coin_cell": list(episode.coin_cell),
        "outcome": episode.outcome,
        "actions": "".join(_DIGITS[action] for action in episode.actions),
    }


def _from_json(row: dict[str, Any]) -> Episode:
    setup = Setup(**{field.name: row[field.name] for field in fields(Setup)})
    actions = tuple(_DIGITS.index(digit) for digit in row["actions"])
    x, y = row["coin_cell"]
    wrong = [
        f"{name} {value!r}"
        for name, value, right in [
            ("mode", setup.mode, setup.mode in MODES),
            ("level_seed", setup.level_seed, _is_integer(setup.level_seed, NUM_SEEDS)),
            ("placement", setup.placement, setup.placement in PLACEMENTS),
            ("coin_seed", setup.coin_seed, _is_integer(setup.coin_seed, NUM_SEEDS)),
            (
                "coin_cell",
                [x, y],
                (x, y) == (-1, -1) if setup.placement == "absent" else _is_cell(x, y),
            ),
            ("outcome", row["outcome"], row["outcome"] in OUTCOMES),
            ("number of actions", len(actions), 1 <= len(actions) <= TIME_LIMIT),
        ]
        if not right
    ]
    if wrong:
        raise ValueError(", ".join(wrong))
    return Episode(setup, actions, row["outcome"], (x, y))


def _is_cell(x: Any, y: Any) -> bool:
    return _is_integer(x, WORLD_SIZE) and _is_integer(y, WORLD_SIZE)


def _is_integer(value: Any, bound: int) -> bool:
    return type(value) is int and 0 <= value < bound
