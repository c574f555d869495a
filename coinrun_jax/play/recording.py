"""Recordings of play: small JSON files with everything needed to replay and check episodes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from coinrun_jax.checks import InputError, choice, shown, whole
from coinrun_jax.coinrun.generator import MODES
from coinrun_jax.coinrun.placement import CATALOGUE
from coinrun_jax.coinrun.types import NUM_ACTIONS, NUM_SEEDS, TIME_LIMIT, WORLD_SIZE, Cause
from coinrun_jax.files import read_mapping, shortened, write_text

FORMAT = "coinrun_jax play 1"
MOST_BYTES = 2**24  # of a recording: 10,000 episodes of a minute each
OUTCOMES = tuple(cause.name.lower() for cause in Cause)
_DIGITS = "0123456789abcde"  # one for each action
assert len(_DIGITS) == NUM_ACTIONS
PLACEMENTS = tuple(name for name in CATALOGUE if name != "fixed")
"""Placements that need no further settings."""


@dataclass(frozen=True)
class Setup:
    """Everything that determines the start of an episode."""

    mode: str
    level_seed: int
    placement: str  # of `PLACEMENTS`
    coin_seed: int  # of the key that draws the coin's cell


_KEYS = {field.name for field in fields(Setup)} | {"coin_cell", "outcome", "actions"}


@dataclass(frozen=True)
class Episode:
    """A setup, the actions taken in it, and how the episode ended."""

    setup: Setup
    actions: tuple[int, ...]  # codes 0 ... 14, one a step
    outcome: str  # of `OUTCOMES`; "none" if the player broke off
    coin_cell: tuple[int, int]  # (x, y); (-1, -1) for none


def save(path: Path, episodes: list[Episode]) -> None:
    """Write a recording atomically."""
    rows = [_to_json(episode) for episode in episodes]
    lines = ",\n".join(json.dumps(row) for row in rows)
    write_text(path, f'{{"format": "{FORMAT}", "episodes": [\n{lines}\n]}}\n')


def load(path: Path) -> list[Episode]:
    """The episodes of a recording, at least one.

    Raises:
      InputError: if there is no such file, or `save` could not have written it.
    """
    data = read_mapping(path, "recording", MOST_BYTES)
    try:
        choice("format", data.get("format"), [FORMAT])
        rows = data.get("episodes")
        if not isinstance(rows, list) or not rows:
            raise InputError(f"episodes {shown(rows)} is not a list of at least one")
        return [_from_json(row, f"episode {number}") for number, row in enumerate(rows, start=1)]
    except InputError as error:
        raise InputError(f"recording {shortened(path)}: {error}") from error


def _to_json(episode: Episode) -> dict[str, Any]:
    return {
        **asdict(episode.setup),
        "coin_cell": list(episode.coin_cell),
        "outcome": episode.outcome,
        "actions": "".join(_DIGITS[action] for action in episode.actions),
    }


def _from_json(row: Any, what: str) -> Episode:
    if not isinstance(row, dict) or set(row) != _KEYS:
        raise InputError(f"{what} {shown(row)} must have the keys {', '.join(sorted(_KEYS))}")
    placement = choice(f"{what}: placement", row["placement"], PLACEMENTS)
    setup = Setup(
        mode=choice(f"{what}: mode", row["mode"], MODES),
        level_seed=whole(f"{what}: level_seed", row["level_seed"], 0, NUM_SEEDS - 1),
        placement=placement,
        coin_seed=whole(f"{what}: coin_seed", row["coin_seed"], 0, NUM_SEEDS - 1),
    )
    cell, low, high = row["coin_cell"], 0, WORLD_SIZE - 1
    if placement == "absent":
        low = high = -1
    if not isinstance(cell, list) or len(cell) != 2:
        raise InputError(f"{what}: coin_cell {shown(cell)} is not a pair")
    x, y = (whole(f"{what}: coin_cell", number, low, high) for number in cell)
    actions = row["actions"]
    if not isinstance(actions, str) or not set(actions) <= set(_DIGITS):
        raise InputError(f"{what}: actions {shown(actions)} must be text made of {_DIGITS}")
    whole(f"{what}: number of actions", len(actions), 1, TIME_LIMIT)
    outcome = choice(f"{what}: outcome", row["outcome"], OUTCOMES)
    return Episode(setup, tuple(map(_DIGITS.index, actions)), outcome, (x, y))
