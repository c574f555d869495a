"""Perfect mazes by seed: exactly one path leads from any cell to any other.

A maze is a spanning tree of the grid of rooms, drawn uniformly from all spanning trees by cycle
popping: each room except the root points to a neighbour chosen uniformly; as long as pointers
form cycles, the rooms on them choose again. The result is a uniform spanning tree, whatever the
order in which cycles are popped, so here all are popped at once. (Kruskal's algorithm with edges
in random order, and depth-first search, prefer some trees to others.)

Source: D. B. Wilson, "Generating random spanning trees more quickly than the cover time"
(STOC 1996), section 3; J. G. Propp and D. B. Wilson, "How to get a perfectly random sample
from a generic Markov chain and generate a random spanning tree of a directed graph" (Journal
of Algorithms 27, 1998).

All random words come from Threefry through `fold_in`, so no flag of JAX changes a level.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import InputError, shown, whole
from coinrun_jax.exit_maze.types import FAR, MAX_SIZE, MIN_SIZE, MOVES

_ROOT = 0  # any room will do


def check_size(size: int, what: str = "size") -> int:
    """The size of a board, as a Python int.

    Raises:
      InputError: for anything but an odd number from MIN_SIZE to MAX_SIZE.
    """
    number = whole(what, size, -(2**63), 2**63)
    if number not in range(MIN_SIZE, MAX_SIZE + 1, 2):
        raise InputError(f"{what} {shown(size)} is not an odd number from {MIN_SIZE} to {MAX_SIZE}")
    return number


def level_key(seed: jax.Array) -> jax.Array:
    """The key that all draws of a level descend from; `seed` is uint32 []."""
    return jax.random.key(jnp.asarray(seed, jnp.uint32), impl="threefry2x32")


def words(key: jax.Array, number: int) -> jax.Array:
    """Independent random words, uint32 [number]. Modulo d they are uniform up to d / 2^32."""
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return jax.random.key_data(fold(key, jnp.arange(number, dtype=jnp.uint32)))[:, 0]


def _grid(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rooms of a board.

    Returns:
      Cells int32 [n, 2]; neighbours int32 [n, 4], padded with zeros; and the number of
      neighbours, uint32 [n].
    """
    side = size // 2
    room = np.arange(side * side).reshape(side, side)
    cells = np.stack(np.divmod(room.reshape(-1), side), 1) * 2 + 1
    neighbours = np.zeros((room.size, len(MOVES)), np.int32)
    degree = np.zeros(room.size, np.uint32)
    for row, column in np.ndindex(side, side):
        around = [(row + dy, column + dx) for dy, dx in MOVES.tolist()]
        found = [room[at] for at in around if 0 <= min(at) and max(at) < side]
        neighbours[room[row, column], : len(found)] = found
        degree[room[row, column]] = len(found)
    return cells.astype(np.int32), neighbours, degree


def _on_cycle(arrow: jax.Array) -> jax.Array:
    """Rooms on a cycle of pointers, except the root; bool [n].

    After n or more steps every walk is on a cycle, and every room on a cycle is reached.
    """
    number = arrow.shape[0]
    after = arrow
    for _ in range((number - 1).bit_length()):
        after = after[after]
    return jnp.zeros(number, bool).at[after].set(True).at[_ROOT].set(False)


def generate_walls(key: jax.Array, size: int) -> jax.Array:
    """A maze, uniform among all perfect mazes of the size.

    Args:
      key: consumed.
      size: of the board, odd; static.

    Returns:
      bool [size, size], True for wall; the border is all wall.
    """
    cells, neighbours, degree = _grid(size)
    room = jnp.arange(len(cells), dtype=jnp.int32)

    def point(arrow: jax.Array, anew: jax.Array, turn: jax.Array) -> jax.Array:
        draw = words(jax.random.fold_in(key, turn), len(cells)) % degree
        return jnp.where(anew, jnp.asarray(neighbours)[room, draw.astype(jnp.int32)], arrow)

    def pop(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        arrow, cyclic, turn = carry
        arrow = point(arrow, cyclic, turn)
        return arrow, _on_cycle(arrow), turn + jnp.uint32(1)

    arrow = jnp.full(len(cells), _ROOT, jnp.int32)
    begin: tuple[jax.Array, ...] = (arrow, room != _ROOT, jnp.uint32(0))
    arrow, _, _ = jax.lax.while_loop(lambda carry: carry[1].any(), pop, begin)
    # The root points to itself, so the cell between is the root.
    between = (jnp.asarray(cells) + jnp.asarray(cells)[arrow]) // 2
    walls = jnp.ones((size, size), bool).at[cells[:, 0], cells[:, 1]].set(False)
    return walls.at[between[:, 0], between[:, 1]].set(False)


def marked(cell: jax.Array, size: int) -> jax.Array:
    """One cell of a board, bool [size, size]."""
    index = np.arange(size, dtype=np.int32)
    return (index[:, None] == cell[0]) & (index == cell[1])


def around(values: jax.Array, outside: jax.typing.ArrayLike) -> jax.Array:
    """The values left, right, above and below each cell, in the order of `Action`.

    Args:
      values: [S, S].
      outside: value of cells outside the board.

    Returns:
      [4, S, S].
    """
    height, width = values.shape
    padded = jnp.pad(values, 1, constant_values=outside)
    shifts = [padded[1 + dy :, 1 + dx :][:height, :width] for dy, dx in MOVES.tolist()]
    return jnp.stack(shifts)


def distances(walls: jax.Array, cell: jax.Array) -> jax.Array:
    """Fewest steps from every cell to `cell`, by breadth-first search.

    Args:
      walls: bool [S, S].
      cell: int [2], the target; it counts as open.

    Returns:
      int16 [S, S], FAR where there is no path.
    """
    row, column = cell.astype(jnp.int32)
    is_open = (~walls).at[row, column].set(True)
    begin = jnp.full(walls.shape, FAR).at[row, column].set(0)

    def relax(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        steps, _ = carry
        nearer = jnp.minimum(steps, around(steps, FAR).min(0) + jnp.int16(1))
        nearer = jnp.where(is_open, nearer, FAR)
        return nearer, jnp.any(nearer != steps)

    return jax.lax.while_loop(lambda carry: carry[1], relax, (begin, jnp.bool_(True)))[0]
