"""Replays recorded Procgen episodes: `python -m coinrun_jax.parity FILE.npz [--json OUT]`.

A file holds either episodes (arrays `step_off`, `action`, `x`, ...) or levels (`ent_off`,
`ent_type`, ...). Every level is generated from its seed and compared with the recorded one;
every episode is then replayed open loop on *our* level, with the recorded actions, through
`step_env`. An episode matches if its level, every terminal flag, the cause, every reward and
every support flag are the same, and no position of the agent or of an enemy is ever more than
`TOLERANCE` from the recorded one.

Exit status: 0 if everything matches, 1 if not; otherwise as in `cli`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import one_line
from coinrun_jax.cli import Parser, add_force, command, require_outputs
from coinrun_jax.coinrun.env import CoinRun
from coinrun_jax.coinrun.generator import MODES, generate_levels
from coinrun_jax.coinrun.levels import level_to_arrays
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.placement import make_placement
from coinrun_jax.coinrun.pool import build_pool
from coinrun_jax.coinrun.types import Action, Cause, Entity, EnvState, Level
from coinrun_jax.files import write_json
from coinrun_jax.hardware import device_name
from coinrun_jax.recordings import THEMES, Arrays, load

TOLERANCE = 1e-4  # tiles
BATCH = 256  # episodes that are played together
CHUNK = 64  # steps per compiled call
SHOWN = 10  # mismatches named one by one


class Mismatch(NamedTuple):
    """What differs in one episode or level."""

    number: int
    level_seed: int
    cause: str
    differs: tuple[str, ...]


class Report(NamedTuple):
    """Outcome of a comparison; counts are of episodes, or of levels."""

    kind: str  # "episodes" or "levels"
    mode: str
    counts: dict[str, tuple[int, int]]  # by cause: (matching, all)
    mismatches: list[Mismatch]
    steps: int
    largest_position_error: float  # tiles

    @property
    def total(self) -> int:
        return sum(count for _, count in self.counts.values())

    @property
    def matching(self) -> int:
        return sum(count for count, _ in self.counts.values())


def _generate(seeds: np.ndarray, mode: str) -> Level:
    """Levels of many seeds, as numpy arrays with a leading axis, built a batch at a time."""
    padded = np.resize(seeds, -(-len(seeds) // BATCH) * BATCH).astype(np.uint32)
    parts = [jax.device_get(generate_levels(part, mode)) for part in padded.reshape(-1, BATCH)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(seeds)], *parts)


def _entry(levels: Level, index: int) -> Level:
    return jax.tree.map(lambda leaf: leaf[index], levels)


def detect_mode(arrays: Arrays) -> str:
    """The mode that the file names; failing that, the one that reproduces more of its grids."""
    if "mode" in arrays:
        return str(arrays["mode"])

    def rebuilt(mode: str) -> int:
        levels = _generate(arrays["level_seed"][:BATCH], mode)
        same = [
            np.array_equal(level_to_arrays(_entry(levels, i))["grid"], grid)
            for i, grid in enumerate(arrays["grid"][:BATCH])
        ]
        return sum(same)

    return max(MODES, key=rebuilt)


def _recorded_entities(arrays: Arrays, index: int) -> dict[str, np.ndarray]:
    """Entities of one recorded level in creation order: type, x, y, vx, theme."""

    def rows(offset: str, name: str) -> np.ndarray:
        return arrays[name][slice(*arrays[offset][index : index + 2])]

    if "ent_off" in arrays:
        return {name: rows("ent_off", f"ent_{name}") for name in ("type", "x", "y", "vx", "theme")}
    kind = rows("ent_order_off", "ent_order_type")
    entities = {"type": kind}
    saws, crates = rows("saw_off", "saw_xy"), rows("crate_off", "crate_xy")
    enemies = rows("enemy_off", "enemy_xy0")
    by_kind: dict[int, tuple[np.ndarray, ...]] = {
        Entity.SAW: (*saws.T, np.zeros(len(saws)), np.zeros(len(saws))),
        Entity.CRATE: (*crates.T, np.zeros(len(crates)), rows("crate_off", "crate_theme")),
        Entity.ENEMY: (
            *enemies.T,
            rows("enemy_off", "enemy_vx0"),
            rows("enemy_off", "enemy_theme"),
        ),
    }
    for column, name in enumerate(("x", "y", "vx", "theme")):
        entities[name] = np.full(len(kind), np.nan, np.float32)
        for code, columns in by_kind.items():
            entities[name][kind == code] = columns[column]
    return entities


def _level_differs(arrays: Arrays, levels: Level, index: int) -> list[str]:
    """Names of what differs between a generated level and the recorded one."""
    level = _entry(levels, index)
    ours = level_to_arrays(level)
    count = len(ours["entity_type"])
    generated = {
        "type": level.entity_type[:count],
        "x": level.entity_xy[:count, 0],
        "y": level.entity_xy[:count, 1],
        "vx": level.entity_vx[:count],
        "theme": level.entity_theme[:count],
    }
    recorded = _recorded_entities(arrays, index)
    same = {
        "grid": np.array_equal(ours["grid"], arrays["grid"][index]),
        "entities": all(np.array_equal(generated[name], recorded[name]) for name in generated),
        "themes": all(ours[name] == arrays[name][index] for name in THEMES)
        and level.background_shift == arrays["bg_pct_x"][index],
    }
    if "agent_init" in arrays:
        start = np.append(level.start_xy, [0, 0])
        same["start"] = bool((np.abs(start - arrays["agent_init"][index]) <= TOLERANCE).all())
    if "section_off" in arrays:
        sections = arrays["section"][slice(*arrays["section_off"][index : index + 2]), :2]
        same["sections"] = np.array_equal(level.section_cell[: level.num_sections], sections)
        same["difficulty"] = level.difficulty == arrays["difficulty"][index]
    return [name for name, equal in same.items() if not equal]


class _Trace(NamedTuple):
    """What is compared at every step; axes [step, episode], numpy after `_play`."""

    x: Any  # float32 [T, N]
    y: Any  # float32 [T, N]
    enemy_x: Any  # float32 [T, N, 40], by entity slot
    supported: Any  # bool [T, N], when the step began
    reward: Any  # float32 [T, N]
    done: Any  # bool [T, N]
    cause: Any  # int8 [T, N]


_ENV = CoinRun()
"""Steps levels of either mode: modes differ only in how levels are built."""


def _start(levels: Level) -> tuple[EnvState, EnvParams]:
    """First states of a batch, one on each of its levels, and the params to play it with."""
    params = EnvParams(pool=build_pool(levels), placement=make_placement("end"))
    return _reset_batch(params), params


@jax.jit
def _reset_batch(params: EnvParams) -> EnvState:
    keys = jax.random.split(jax.random.key(0), BATCH)  # unused: the coin is at the end
    return jax.vmap(_ENV.start, (0, 0, None))(keys, jnp.arange(BATCH), params)


@jax.jit
def _play_batch(state: EnvState, actions: jax.Array, params: EnvParams) -> tuple[EnvState, _Trace]:
    """Further steps of a batch; actions int32 [T, BATCH]."""

    def step(state: EnvState, action: jax.Array) -> tuple[EnvState, _Trace]:
        _, state, reward, terminated, info = jax.vmap(_ENV.step_env, (None, 0, 0, None))(
            jax.random.key(0), state, action, params
        )
        trace = _Trace(
            x=state.x,
            y=state.y,
            enemy_x=state.entity_x,
            supported=state.supported,
            reward=reward,
            done=terminated | _ENV.is_truncated(state, params),
            cause=info["outcome"],
        )
        return state, trace

    return jax.lax.scan(step, state, actions)


def _play(levels: Level, actions: list[np.ndarray]) -> Iterator[tuple[int, _Trace]]:
    """Play every level with its own actions; yields (episode, trace of its steps).

    Episodes of similar length are played together, so that short ones do not wait for the
    longest one of the file.
    """
    lengths = np.array([len(sent) for sent in actions])
    order = np.argsort(lengths, kind="stable")
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        longest = lengths[batch[-1]]
        sent = np.full((-(-longest // CHUNK) * CHUNK, BATCH), Action.NOOP, np.int32)
        for column, episode in enumerate(batch):
            sent[: lengths[episode], column] = actions[episode]
        some = np.resize(batch, BATCH)  # a short batch repeats itself
        state, params = _start(jax.tree.map(lambda leaf: leaf[some], levels))  # noqa: B023
        traces = []
        for begin in range(0, len(sent), CHUNK):
            state, trace = _play_batch(state, jnp.asarray(sent[begin : begin + CHUNK]), params)
            traces.append(jax.tree.map(np.asarray, trace))
        whole = _Trace(*(np.concatenate(parts) for parts in zip(*traces, strict=True)))
        for column, episode in enumerate(batch):
            yield (
                int(episode),
                _Trace(*(leaf[: lengths[episode], column] for leaf in whole)),
            )


def _episode_differs(arrays: Arrays, index: int, trace: _Trace) -> tuple[list[str], float]:
    """Names of what differs between an episode and the recording, and the position error."""
    steps = slice(*arrays["step_off"][index : index + 2])
    kind = arrays["ent_order_type"][slice(*arrays["ent_order_off"][index : index + 2])]
    slots = np.flatnonzero(kind == Entity.ENEMY)
    enemy_x = arrays["enemy_x"][slice(*arrays["enemy_step_off"][index : index + 2])]
    enemy_x = enemy_x.reshape(len(trace.x), len(slots))
    errors = np.concatenate(
        [
            np.abs(trace.x - arrays["x"][steps]),
            np.abs(trace.y - arrays["y"][steps]),
            np.abs(trace.enemy_x[:, slots] - enemy_x).reshape(-1),
        ]
    )
    cause = arrays["causes"][arrays["cause"][index]]
    same = {
        "terminal step": np.array_equal(trace.done, arrays["done"][steps]),
        "cause": Cause(trace.cause[-1]).name.lower() == cause,
        "reward": np.array_equal(trace.reward, arrays["reward"][steps]),
        "support": np.array_equal(trace.supported, (arrays["flags"][steps] & 1).astype(bool)),
        # Not "no error is larger": a NaN position must not match.
        "positions": bool((errors <= TOLERANCE).all()),
    }
    largest = errors.max() if np.isfinite(errors).all() else np.inf
    return [name for name, equal in same.items() if not equal], float(largest)


def compare(arrays: Arrays) -> Report:
    """Generate and replay everything in a recording from `load`."""
    mode = detect_mode(arrays)
    seeds = arrays["level_seed"]
    levels = _generate(seeds, mode)
    differs = [_level_differs(arrays, levels, i) for i in range(len(seeds))]
    causes, steps, worst = ["level"] * len(seeds), 0, 0.0
    if "step_off" in arrays:
        causes = [one_line(arrays["causes"][code]) for code in arrays["cause"]]
        bounds = arrays["step_off"]
        steps = int(bounds[-1])
        actions = [arrays["action"][slice(*bounds[i : i + 2])] for i in range(len(seeds))]
        for index, trace in _play(levels, actions):
            found, error = _episode_differs(arrays, index, trace)
            differs[index] += found
            worst = max(worst, error)
    order = list(dict.fromkeys([*(c.name.lower() for c in Cause), *sorted(set(causes))]))
    counts = {
        cause: (
            sum(not found for found, of in zip(differs, causes, strict=True) if of == cause),
            causes.count(cause),
        )
        for cause in order
        if cause in causes
    }
    mismatches = [
        Mismatch(index, int(seeds[index]), causes[index], tuple(found))
        for index, found in enumerate(differs)
        if found
    ]
    kind = "episodes" if "step_off" in arrays else "levels"
    return Report(kind, mode, counts, mismatches, steps, worst)


def _print(report: Report) -> None:
    def line(name: str, matching: int, count: int) -> None:
        print(f"{name:<10} {matching:>6} of {count:>6}  ({matching / count:7.2%})")

    for mismatch in report.mismatches[:SHOWN]:
        print(
            f"{report.kind[:-1]} {mismatch.number} (level seed {mismatch.level_seed}, "
            f"{mismatch.cause}) differs in: {', '.join(mismatch.differs)}"
        )
    if len(report.mismatches) > SHOWN:
        print(f"... and {len(report.mismatches) - SHOWN} more")
    if report.kind == "episodes":
        for cause, (matching, count) in report.counts.items():
            line(cause, matching, count)
    line("all", report.matching, report.total)
    if report.kind == "episodes":
        print(
            f"{report.total} episodes, {report.steps} steps, mode {report.mode}, largest position "
            f"error {report.largest_position_error:.2g} tiles"
        )
    else:
        print(f"{report.total} levels, mode {report.mode}")


def _as_json(report: Report, path: str) -> dict[str, Any]:
    error = report.largest_position_error
    return {
        "file": path,
        "kind": report.kind,
        "mode": report.mode,
        "device": device_name(),
        "total": report.total,
        "matching": report.matching,
        "by_cause": {
            cause: {"matching": matching, "total": count}
            for cause, (matching, count) in report.counts.items()
        },
        "steps": report.steps,
        "largest_position_error": error if np.isfinite(error) else None,
        "mismatches": [mismatch._asdict() for mismatch in report.mismatches],
    }


@command
def main(arguments: list[str] | None = None) -> int:
    """Compare one file; returns the exit status."""
    parser = Parser(
        prog="python -m coinrun_jax.parity",
        description="Replay recorded Procgen episodes or levels; exit 1 unless all match.",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE.npz", help="a recording of episodes or of levels"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the result there")
    add_force(parser)
    args = parser.parse_args(arguments)
    require_outputs(args.force, args.json, inputs=[args.file])
    report = compare(load(args.file))
    _print(report)
    if args.json:
        write_json(args.json, _as_json(report, str(args.file)))
    return 0 if report.matching == report.total else 1


if __name__ == "__main__":
    sys.exit(main())
