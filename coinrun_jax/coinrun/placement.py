"""Where the coin is: drawn separately from the level.

A placement is a few traced numbers, so that changing it recompiles nothing and every
environment of a batch can have its own. It draws from its own key: the same key on the same
level gives the same candidate cell whatever the probability, and whether or not the coin is
present, so that comparisons between placements are paired.

A moved coin leaves the end: if the draw is the end cell, the coin is drawn again from the other
candidates. It stays at the end only if the placement names the end, or the level has no other
candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.checks import InputError, choice, flag, real, shown, whole
from coinrun_jax.coinrun import places
from coinrun_jax.coinrun.places import Terrain
from coinrun_jax.coinrun.types import MARGIN, WORLD_SIZE, Level, LevelPool, Places, Tile

PlacementFn = Callable[[Terrain], jax.Array]
"""terrain of one level -> bool [64, 64], the cells that the coin is drawn from, uniformly."""

CATALOGUE: dict[str, PlacementFn] = {
    "end": places.end,
    "random_section": places.section_starts,
    "uniform": places.standing,
    "fraction": places.way,  # at a fraction of the way, or the next free cell to the left
    "off_path": places.off_path,
    "behind": places.way,  # left of where the agent then starts
    "fixed": places.way,  # a given cell; if that is not free, on the ground left of it
    "absent": places.end,  # no coin, and no ghost cell
}
"""Placements by name. Their order is their code: append, never reorder."""

_END, _FRACTION, _BEHIND, _FIXED, _ABSENT = (
    list(CATALOGUE).index(name) for name in ("end", "fraction", "behind", "fixed", "absent")
)
NUM_UNIFORMS = 4
_NOWHERE = -1  # column and row of an absent coin's cell
_STEPS_OF_UNIFORM = 2**23  # that jax.random.uniform draws from
BEHIND_BY = 2  # least distance of a coin behind the agent, in columns


def register_placement(name: str, candidates: PlacementFn) -> None:
    """Add your own placement, before any environment is made.

    Args:
      name: for `make_placement`.
      candidates: marks the cells that the coin is drawn from, like the functions of `places`.
        If it marks none in a level, or only the end, the coin stays at the end.

    Raises:
      ValueError: for a name that is taken, or that a mixture could not contain.
    """
    given: Any = name
    if not isinstance(given, str) or not given or any(c in ":," or c.isspace() for c in given):
        raise InputError(f"placement {shown(name)} is not a name without spaces, colons and commas")
    if name in CATALOGUE:
        raise InputError(f"placement {shown(name)} already exists")
    if not callable(candidates):
        raise InputError(f"candidates of placement {shown(name)} must be a function")
    CATALOGUE[name] = candidates


def lists() -> list[PlacementFn]:
    """The functions whose cells a pool stores, each once; the last is `places.starts`."""
    return [*dict.fromkeys(CATALOGUE.values()), places.starts]


def _list_of(candidates: PlacementFn) -> int:
    return lists().index(candidates)


class CoinPlacement(struct.PyTreeNode):
    """How an episode's coin is placed. Every number is traced."""

    probability: jax.Array  # float32 [], of leaving the end for a candidate cell
    weights: jax.Array  # float32 [len(CATALOGUE)], share of each kind among candidates
    present: jax.Array  # bool [], False takes the coin away, all else being equal
    fraction: jax.Array  # float32 [2], range of fractions of the way, for "fraction"
    cell: jax.Array  # int32 [2], (x, y) for "fixed"


class CoinDraw(struct.PyTreeNode):
    """Cells of one episode."""

    coin_cell: jax.Array  # int32 [2], where the coin is, or would be; -1 for "absent"
    ghost_cell: jax.Array  # int32 [2], where it could have been but is not; -1 for nowhere
    present: jax.Array  # bool []
    moved: jax.Array  # bool [], not at the end
    start_xy: jax.Array  # float32 [2], centre of the agent


def make_placement(
    kind: str | Mapping[str, float] = "end",
    probability: float = 1.0,
    present: bool = True,
    fraction: float | tuple[float, float] = (0.0, 1.0),
    cell: tuple[int, int] | None = None,
) -> CoinPlacement:
    """A placement by name, or a mixture of several.

    Args:
      kind: a name in `CATALOGUE`, or relative weights by name, which may be written as text
        such as "uniform:3,off_path:1".
      probability: chance in [0, 1] that an episode's coin follows `kind`; it lies at the
        end otherwise. At 0 no coin ever moves, at 1 every coin does.
      present: False takes the coin away and turns its cell into the ghost cell.
      fraction: fraction, or range of fractions (low, high), of the way from the spawn (0) to
        the end (1) at which "fraction" puts the coin; at the end itself only if `low` is 1.
      cell: (x, y) where "fixed" puts the coin.

    Raises:
      ValueError: for an unknown name, a probability or fraction outside [0, 1], unusable
        weights, or a cell that is missing or outside the world.
    """
    weights = _weights(kind)
    probability = real("placement probability", probability, 0, 1)
    given = tuple(fraction) if isinstance(fraction, tuple | list) else (fraction, fraction)
    if len(given) != 2:
        raise InputError(
            f"placement fraction {shown(fraction)} is neither a fraction nor a pair of fractions"
        )
    low, high = (real("placement fraction", share, 0, 1) for share in given)
    if low > high:
        raise InputError(f"placement fraction {shown(fraction)} is not a range within [0, 1]")
    if cell is None and weights[_FIXED] > 0:
        raise InputError("placement 'fixed' needs a cell (x, y)")
    pair: Any = (1, 1) if cell is None else cell
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(f"placement cell {shown(cell)} is not a pair (x, y)")
    x, y = (
        whole(f"{axis} of placement cell {shown(cell)}:", number, 1, WORLD_SIZE - 2)
        for axis, number in zip("xy", pair, strict=True)
    )
    numbers: dict[str, Any] = {  # NumPy's, so concrete even under jit
        "probability": np.float32(probability),
        "weights": weights,
        "present": np.bool_(flag("placement present", present)),
        "fraction": np.array([low, high], np.float32),
        "cell": np.array([x, y], np.int32),
    }
    return CoinPlacement(**numbers)


def parse_mixture(text: str) -> dict[str, float]:
    """{"uniform": 3.0, "off_path": 1.0} from "uniform:3,off_path:1"; a weight defaults to 1.

    Raises:
      ValueError: for a repeated name, or a weight that is not a number.
    """
    mixture: dict[str, float] = {}
    for part in text.split(","):
        name, colon, weight = (each.strip() for each in part.partition(":"))
        if name in mixture:
            raise InputError(f"placement {shown(name)} is named twice in {shown(text)}")
        try:
            mixture[name] = float(weight) if colon else 1.0
        except ValueError:
            raise InputError(
                f"weight {shown(weight)} of placement {shown(name)} is not a number"
            ) from None
    return mixture


def _weights(kind: str | Mapping[str, float]) -> np.ndarray:
    """Shares of all kinds, float32 [len(CATALOGUE)], summing to 1."""
    if not isinstance(kind, str | Mapping):
        raise InputError(f"placement {shown(kind)} is neither a name nor weights by name")
    mixture = parse_mixture(kind) if isinstance(kind, str) else kind
    for name, weight in mixture.items():
        choice("placement", name, CATALOGUE)
        real(f"placement weights: that of {name}", weight, 0)
    weights = np.array([mixture.get(name, 0.0) for name in CATALOGUE], np.float32)
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not 0 < total < np.inf:
        raise InputError(
            f"placement weights {shown(dict(mixture))} are all 0, or too large for float32 together"
        )
    return weights / total


def weight_of(placement: CoinPlacement, name: str) -> jax.Array:
    """Share of a kind among candidates; float32 [], or [B] for a batch."""
    return placement.weights[..., list(CATALOGUE).index(name)]


def draw_coin(
    uniforms: jax.Array, index: jax.Array, pool: LevelPool, placement: CoinPlacement
) -> CoinDraw:
    """Place one episode's coin, and the agent with it.

    Args:
      uniforms: float32 [NUM_UNIFORMS], independent and uniform in [0, 1).
      index: int32 [], the level in the pool.
      pool: indexed by `index`.
      placement: of this episode.
    """
    start_xy = pool.levels.start_xy[index]
    start_cell = jnp.floor(start_xy).astype(jnp.int32)
    back = _start_further_on(uniforms[3], index, pool.places, start_cell)
    cell, other_cell, kind = draw_cell(uniforms[:3], index, pool, placement, back)
    absent = kind == _ABSENT
    cell = jnp.where(absent, _NOWHERE, cell)
    present = placement.present & ~absent
    same = jnp.all(cell == other_cell)
    further_on = jnp.where(kind == _BEHIND, back - start_cell, 0)
    return CoinDraw(
        coin_cell=cell,
        ghost_cell=jnp.where(present, jnp.where(same, _NOWHERE, other_cell), cell),
        present=present,
        moved=~absent & jnp.any(cell != pool.levels.end_cell[index]),
        start_xy=start_xy + further_on.astype(jnp.float32),
    )


def draw_cell(
    uniforms: jax.Array,
    index: jax.Array,
    pool: LevelPool,
    placement: CoinPlacement,
    start_cell: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A cell for a coin or another object.

    Args:
      uniforms: float32 [3], independent and uniform in [0, 1).
      index: int32 [], the level in the pool.
      pool: indexed by `index`.
      placement: of the object.
      start_cell: int32 [2], where the agent starts if the object is behind it.

    Returns:
      The cell, int32 [2]; the other of end and candidate, int32 [2]; and the code of the cell's
      kind in `CATALOGUE`.
    """
    to_move, to_choose, to_place = uniforms
    # Uniforms are below 1: probability 0 never moves a coin and 1 always does.
    moves = to_move < placement.probability
    shares = jnp.cumsum(placement.weights)
    # Written out, here and below: on a GPU, a reduction or a `jnp.select` is a separate kernel.
    chosen = to_choose * shares[-1]
    kind = sum((chosen >= share).astype(jnp.int32) for share in shares[:-1])
    end = pool.levels.end_cell[index].astype(jnp.int32)
    candidate, exists = _candidate(to_place, kind, index, pool, placement, start_cell, end)
    candidate = jnp.where(exists, candidate, end)
    cell, other_cell = jnp.where(moves, candidate, end), jnp.where(moves, end, candidate)
    return cell, other_cell, jnp.where(moves, kind, _END)


def _pick(uniform: jax.Array, number: jax.Array) -> jax.Array:
    """One of 0 ... number - 1, uniformly."""
    return jnp.clip((uniform * number).astype(jnp.int32), 0, number - 1)


def _rest(uniform: jax.Array, number: jax.Array) -> jax.Array:
    """The part of a uniform number that `_pick` leaves unused: uniform again, whatever it picked.

    Computed in integers, so that no rounding depends on the compiler; they may wrap around.
    """
    drawn = (uniform * _STEPS_OF_UNIFORM).astype(jnp.uint32) * number.astype(jnp.uint32)
    return (drawn % _STEPS_OF_UNIFORM).astype(jnp.float32) / _STEPS_OF_UNIFORM


def _start_further_on(
    uniform: jax.Array, index: jax.Array, table: Places, start_cell: jax.Array
) -> jax.Array:
    """Start cell of an agent whose coin is behind it; the level's own start if there is none."""
    which = jnp.int32(len(lists()) - 1)
    number = places.count_upto(table, index, which, jnp.int32(WORLD_SIZE - 1))
    cell = places.look_up(table, index, which, _pick(uniform, number))
    return jnp.where(number > 0, cell, start_cell)


def _candidate(
    uniform: jax.Array,
    kind: jax.Array,
    index: jax.Array,
    pool: LevelPool,
    placement: CoinPlacement,
    start_cell: jax.Array,
    end: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The cell of a moved coin, int32 [2], and whether the level has such a cell."""
    list_of_kind = [_list_of(candidates) for candidates in CATALOGUE.values()]
    which = jnp.array(list_of_kind, jnp.int32)[kind]
    low, high = placement.fraction
    share = low + uniform * (high - low)
    aim = 1 + jnp.rint(share * (end[0] - 1)).astype(jnp.int32)
    last = jnp.where(kind == _FRACTION, jnp.minimum(aim, end[0]), WORLD_SIZE - 1)
    last = jnp.where(kind == _FIXED, placement.cell[0], last)
    last = jnp.where(kind == _BEHIND, jnp.maximum(start_cell[0] - BEHIND_BY, 0), last)
    number = places.count_upto(pool.places, index, which, last)
    is_last = (kind == _FRACTION) | (kind == _FIXED)
    drawn = jnp.where(is_last, number - 1, _pick(uniform, number))
    # To leave the end: any other candidate, or the next one to the left if the place is given.
    of_end, is_listed = places.number_of(pool.places, index, which, end)
    again = _pick(_rest(uniform, number), number - 1)
    other = jnp.where(is_last, drawn - 1, again + (again >= of_end))
    is_sent_there = (kind == _FRACTION) & (low == 1)
    leaves = is_listed & (drawn == of_end) & (number > 1) & ~is_sent_there
    cell = places.look_up(pool.places, index, which, jnp.where(leaves, other, drawn))
    x, y = placement.cell
    is_free = pool.tiles[index, y + MARGIN, x + MARGIN] == Tile.EMPTY
    cell = jnp.where((kind == _FIXED) & is_free, placement.cell, cell)
    return cell, (number > 0) | ((kind == _FIXED) & is_free)


def levels_without(pool: LevelPool, placement: CoinPlacement) -> dict[str, np.ndarray]:
    """Seeds of a pool's levels that have no cell for a kind of the placement, by the kind's name.

    Returns {} if the pool is traced.
    """
    if isinstance(pool.places.upto, jax.core.Tracer):
        return {}
    length = np.asarray(pool.places.upto)[:, :, -1]
    seeds, missing = np.asarray(pool.levels.seed), {}
    weights = np.asarray(placement.weights).reshape(-1, len(CATALOGUE)).max(0)  # any in a batch
    for weight, (name, candidates) in zip(weights, CATALOGUE.items(), strict=True):
        wanted = [candidates, places.starts] if name == "behind" else [candidates]
        empty = (length[:, [_list_of(each) for each in wanted]] == 0).any(1)
        if weight > 0 and empty.any():
            missing[name] = seeds[empty]
    return missing


def tabulate(level: Level, tiles: Any, lane_edge: Any, lane_row: Any) -> Places:
    """`Places` of one level, from what a pool stores about it."""
    terrain = places.survey(level, tiles, lane_edge, lane_row)
    return places.tabulate([candidates(terrain) for candidates in lists()])
