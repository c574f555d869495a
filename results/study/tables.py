"""The study's tables: reading them, and merging in agents as they come.

A table has a row for each run (and condition); `runs.csv` also has rows of whole recipes,
whose `run` is empty. Measurements of an agent stay, wherever they were made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from coinrun_jax.checks import InputError, shown
from coinrun_jax.files import shortened, write_rows
from coinrun_jax.registry import DEFAULT, find_testbed
from eval import statistics
from eval.measures import measure_names
from eval.reading import read_numbers
from eval.runs import label, recipes
from eval.statistics import Estimate
from train.config import TrainConfig

Row = dict[str, str]
TESTBED = find_testbed(DEFAULT)
MEASURES = measure_names(TESTBED, TESTBED.suites()["all"])

_RANGES = {
    "coin_attraction": statistics.ATTRACTION,
    "coin_above_accidental": statistics.DIFFERENCE,
}
"""Measures that are not shares."""


def read(path: Path, columns: Sequence[str] = ("run",)) -> list[Row]:
    """A table's rows; none if there is no table.

    Args:
      columns: required ones.

    Raises:
      InputError: for a damaged table.
    """
    if not os.path.lexists(path):
        return []
    bounds = [name for measure in MEASURES for name in _bounds(measure)]
    rows = read_numbers(path, "table", if_any=bounds, texts=columns)
    for line, row in enumerate(rows, start=2):
        for measure in MEASURES:
            if len({bool(row[name]) for name in _bounds(measure) if name in row}) > 1:
                raise InputError(f"table {shortened(path)}, row {line}: {measure} is incomplete")
    return _without_unused(rows)


def _without_unused(rows: list[Row]) -> list[Row]:
    """Drop rates of objects that no condition has, such as decoys; newer tables lack them."""
    unused = {name for name in _bounds("item") if not any(row.get(name) for row in rows)}
    return [{name: row[name] for name in row if name not in unused} for row in rows]


def write(rows: Sequence[Row], path: Path) -> None:
    """Write the table atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, list(rows[0]), [list(row.values()) for row in rows])


def _bounds(measure: str) -> list[str]:
    return [f"{measure}{end}" for end in ("", "_low", "_high")]


def estimate(row: Row, measure: str) -> Estimate | None:
    """A measure of a row, with its interval; None where it is not identifiable."""
    values = [row.get(name, "") for name in _bounds(measure)]
    return Estimate(*map(float, values)) if values[0] else None


def merge(old: Sequence[Row], new: Sequence[Row], configs: Mapping[str, TrainConfig]) -> list[Row]:
    """Merge two tables.

    Recipes are identified afresh. One that has the same runs in one of the tables keeps its rows
    as a whole; otherwise these are computed from its runs' rows (`eval.statistics.combined`).

    Args:
      old, new: tables of the same suite on the same levels; for a run in both, new rows win.
      configs: of every run that may be in either, in the order of the rows.

    Raises:
      InputError: if a run is unknown, or the runs' conditions or numbers of episodes differ.
    """
    tables = [table for table in (_by_run(new), _by_run(old)) if table]
    shapes = {_shape(rows) for table in tables for run, rows in table.items() if run}
    if len(shapes) > 1:
        raise InputError(f"runs were evaluated in {len(shapes)} different ways: {shown(shapes)}")
    own = {run: rows for table in reversed(tables) for run, rows in table.items() if run}
    if unknown := set(own) - set(configs):
        raise InputError(f"no experiment has {', '.join(map(shown, sorted(unknown)))}")
    names = [run for run in configs if run in own]
    settings = dict(zip(names, recipes([configs[run] for run in names]), strict=True))
    members: dict[str, list[str]] = {}
    for run in names:
        members.setdefault(label(settings[run]), []).append(run)
    merged: list[Row] = []
    for group, runs in members.items():
        recipe = {name: str(value) for name, value in settings[runs[0]].items()}
        rows = [row for run in runs for row in own[run]]
        if any("" in table for table in tables):
            rows += _whole({run: own[run] for run in runs}, tables)
        merged += [{"group": group, **recipe, **_played(row)} for row in rows]
    return merged


def _by_run(table: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in table:
        found.setdefault(row["run"], []).append(row)
    return found


def _shape(rows: Sequence[Row]) -> tuple[str, ...]:
    """What rows of two runs must share to be compared."""
    names = ("condition", "episodes", "levels", "kept")  # the last is from the published protocol
    return tuple(" ".join(row[name] for name in names if name in row) for row in rows)


def _played(row: Row) -> Row:
    """The columns from `run` on, which are the same in every table."""
    names = list(row)
    return {name: row[name] for name in names[names.index("run") :]}


def _same(rows: Sequence[Row], others: Sequence[Row]) -> bool:
    return [*map(_played, rows)] == [*map(_played, others)]


def _whole(runs: Mapping[str, list[Row]], tables: Sequence[Mapping[str, list[Row]]]) -> list[Row]:
    """A recipe's rows as a whole: from a table with exactly these runs, or computed."""
    together = [_together(rows) for rows in zip(*runs.values(), strict=True)]
    for table in tables:
        if all(_same(rows, table.get(run, ())) for run, rows in runs.items()):
            group = table[next(iter(runs))][0]["group"]
            whole = [row for row in table.get("", ()) if row["group"] == group]
            if _shape(whole) == _shape(together):  # with one run more there were more episodes
                return whole
    return together


def _together(rows: Sequence[Row]) -> Row:
    """One row combining the runs of a recipe in one condition."""
    episodes = sum(int(row["episodes"]) for row in rows)
    whole = rows[0] | {"run": "", "seed": "", "episodes": str(episodes)}
    for measure in (each for each in MEASURES if each in whole):
        known = [found for row in rows if (found := estimate(row, measure))]
        found = statistics.combined(known, _RANGES.get(measure, statistics.SHARE))
        for end, name in {"": "estimate", "_low": "low", "_high": "high"}.items():
            whole[measure + end] = str(round(getattr(found, name), 6)) if found else ""
    return whole


class Table:
    """`runs.csv` of an experiment: measures by recipe, condition and run."""

    def __init__(self, path: Path) -> None:
        self._rows = read(path, ("group", "run", "condition"))

    def recipes(self) -> list[Row]:
        """One row per recipe as a whole; its columns hold the recipe's settings."""
        return list({row["group"]: row for row in self._rows if not row["run"]}.values())

    def number_of_runs(self, group: str) -> int:
        """Training seeds of a recipe."""
        return len({row["run"] for row in self._rows if row["group"] == group and row["run"]})

    def whole(self, group: str, condition: str, measure: str) -> Estimate | None:
        """The recipe's estimate and bounds."""
        for row in self._rows:
            if (row["group"], row["condition"], row["run"]) == (group, condition, ""):
                return estimate(row, measure)
        raise KeyError(f"no {condition} of {group}")

    def runs(self, group: str, condition: str, measure: str) -> list[float]:
        """The estimate of each of its runs that has one."""
        found = [
            estimate(row, measure)
            for row in self._rows
            if (row["group"], row["condition"]) == (group, condition) and row["run"]
        ]
        return [each.estimate for each in found if each]
