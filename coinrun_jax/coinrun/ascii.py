"""Levels as text: `level_to_ascii` and `level_from_ascii` are exact inverses of each other.

A picture with rows from top to bottom and one glyph per cell; its lower left glyph is cell (0, 0):

    .  empty                    *     saw
    #  solid ground             0..3  crate, by theme
    =  surface of the ground    a..i  enemy that starts moving left, by theme
    %  lava                     A..I  enemy that starts moving right
    ~  surface of lava          @     the agent's start
    |  turns enemies around     $     the end, where Procgen puts the coin

Outside the picture: to the right everything is solid; above, every `#` of the top line continues
upwards, the rest is empty, and the world's top row is solid.

Lines of `key:value` may precede or follow the picture, all of them optional (see `_DEFAULTS`):
`seed`, `difficulty`, `wall`, `agent`, `background` and `shift` are the level's fields,
`sections:5,3/14,5` the cells where sections begin (by default the end),
`also:14,3,2/14,4,0` further objects (column, row, glyph) in cells that show another one, and
`order:1,0,2` the order in which entities are created, as indices into the order in which they
are drawn: column by column from the left, each from the bottom up.
"""

from __future__ import annotations

import string
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.checks import InputError, shown
from coinrun_jax.coinrun.generator import ENEMY_SPEED
from coinrun_jax.coinrun.levels import require_levels
from coinrun_jax.coinrun.physics import HALF_HEIGHT
from coinrun_jax.coinrun.types import (
    MAX_ENTITIES,
    MAX_SECTIONS,
    NUM_AGENT_THEMES,
    NUM_BACKGROUNDS,
    NUM_CRATE_THEMES,
    NUM_ENEMY_THEMES,
    NUM_WALL_THEMES,
    WORLD_SIZE,
    Cell,
    Entity,
    Level,
)


class _Thing(NamedTuple):
    """An entity, without its position."""

    type: int
    theme: int = 0
    vx: float = 0.0


_Place = tuple[int, int]  # (column, row)

START, END = "@", "$"
TERRAIN = {
    ".": Cell.EMPTY,
    "#": Cell.SOLID,
    "=": Cell.SURFACE,
    "%": Cell.LAVA,
    "~": Cell.LAVA_SURFACE,
    "|": Cell.BARRIER,
}
_SPEED = float(np.float32(ENEMY_SPEED))
ENTITIES = {
    "*": _Thing(Entity.SAW),
    **{str(theme): _Thing(Entity.CRATE, theme) for theme in range(NUM_CRATE_THEMES)},
    **{
        letters[theme]: _Thing(Entity.ENEMY, theme, vx)
        for letters, vx in ((string.ascii_lowercase, -_SPEED), (string.ascii_uppercase, _SPEED))
        for theme in range(NUM_ENEMY_THEMES)
    },
}
_GLYPH_OF_CELL = {int(cell): glyph for glyph, cell in TERRAIN.items()}
_GLYPH_OF_THING = {thing: glyph for glyph, thing in ENTITIES.items()}
_GLYPHS = {*TERRAIN, *ENTITIES, START, END}
_ALLOWED = "".join([*TERRAIN, START, END, "*", "0-3a-iA-I"])

# Lowest and highest value of every field that is one number.
_RANGES: dict[str, tuple[int, int]] = {
    "seed": (0, 2**32 - 1),
    "difficulty": (1, 3),
    "wall": (0, NUM_WALL_THEMES - 1),
    "agent": (0, NUM_AGENT_THEMES - 1),
    "background": (0, NUM_BACKGROUNDS - 1),
    "shift": (0, 1),
}
_DEFAULTS = {"seed": "0", "difficulty": "1", "wall": "0", "agent": "0", "background": "0"}
_DEFAULTS |= {"shift": "0", "sections": "", "also": "", "order": ""}


def level_to_ascii(level: Level) -> str:
    """A level as text; `level_from_ascii` gives exactly this level back.

    Args:
      level: one level, not a batch.

    Raises:
      ValueError: for a batch; for anything but a level, as in `levels.require_levels`; and for
        what the text cannot express: entities or a start off the centre of a cell, enemies of
        another speed.
    """
    require_levels(level, one=True)
    level = jax.tree.map(np.asarray, level)
    places, glyphs = _entities(level)
    drawn = sorted(range(len(places)), key=places.__getitem__)  # stable: creation order in a cell
    contents: dict[_Place, list[str]] = {}
    for number in drawn:
        contents.setdefault(places[number], []).append(glyphs[number])
    x, y = level.end_cell.tolist()
    for place, glyph in ((_start_place(level), START), ((x, y), END)):
        contents.setdefault(place, []).append(glyph)

    grid = np.asarray(level.grid)
    rows, columns = _used_part(grid, contents)
    picture = [[_GLYPH_OF_CELL[code] for code in row[:columns]] for row in grid[:rows]]
    also = []
    for (column, row), things in sorted(contents.items()):
        below = picture[row][column]
        hidden = things[1:] + ([below] if below != "." else [])
        picture[row][column] = things[0]
        also += [f"{column},{row},{glyph}" for glyph in hidden]

    count = int(level.num_sections)
    sections = "/".join(f"{x},{y}" for x, y in level.section_cell[:count].tolist())
    shift = np.format_float_positional(np.float32(level.background_shift), trim="-")
    lines = [
        f"seed:{level.seed} difficulty:{level.difficulty} wall:{level.wall_theme} "
        f"agent:{level.agent_theme} background:{level.background_index} shift:{shift}",
        f"sections:{sections}",
        *("".join(row) for row in reversed(picture)),
    ]
    if also:
        lines.append("also:" + "/".join(also))
    created = np.argsort(drawn).tolist()
    if created != sorted(created):
        lines.append("order:" + ",".join(map(str, created)))
    return "\n".join(lines) + "\n"


def _entities(level: Level) -> tuple[list[_Place], list[str]]:
    """Cell and glyph of every entity, in creation order."""
    places, glyphs = [], []
    used = level.entity_type != Entity.NONE
    fields = (level.entity_type, level.entity_theme, level.entity_vx, level.entity_xy)
    for kind, theme, vx, (x, y) in zip(*(field[used].tolist() for field in fields), strict=True):
        glyph = _GLYPH_OF_THING.get(_Thing(kind, theme, vx))
        if glyph is None or x % 1 != 0.5 or y % 1 != 0.5:
            raise InputError(
                f"no glyph for an entity of type {kind}, theme {theme} and speed {vx} at ({x}, {y})"
            )
        places.append((int(x), int(y)))
        glyphs.append(glyph)
    return places, glyphs


def _start_xy(place: _Place) -> np.ndarray:
    column, row = place
    return np.array([column + 0.5, np.float32(row) + np.float32(HALF_HEIGHT)], np.float32)


def _start_place(level: Level) -> _Place:
    x, y = level.start_xy.tolist()
    place = int(x), int(y)
    if not np.array_equal(_start_xy(place), level.start_xy):
        raise InputError(f"the start ({x}, {y}) does not stand in the middle of a cell")
    return place


def _complete(picture: np.ndarray) -> np.ndarray:
    """Grid int8 [64, 64] of a picture's terrain [rows, columns], lowest row first."""
    rows, columns = picture.shape
    grid = np.full((WORLD_SIZE, WORLD_SIZE), Cell.SOLID, np.int8)
    grid[: WORLD_SIZE - 1, :columns] = np.where(picture[-1] == Cell.SOLID, Cell.SOLID, Cell.EMPTY)
    grid[:rows, :columns] = picture
    return grid


def _used_part(grid: np.ndarray, contents: dict[_Place, list[str]]) -> tuple[int, int]:
    """Rows and columns of the smallest complete picture."""
    columns = 1 + max([column for column, _ in contents])
    columns = max(columns, 1 + int(np.flatnonzero((grid != Cell.SOLID).any(0)).max(initial=0)))
    rows = lowest = 1 + max([row for _, row in contents])
    for rows in range(WORLD_SIZE, lowest, -1):
        if not np.array_equal(_complete(grid[: rows - 1, :columns]), grid):
            return rows, columns
    return lowest, columns


def level_from_ascii(text: str) -> Level:
    """The level that a text draws; the module's docstring lists the glyphs.

    Blank lines and indentation are ignored. Exactly one start and one end are needed.

    Returns:
      One concrete `Level`; `params.with_levels(level)` plays it.

    Raises:
      ValueError: says in one line where the error is (line and column of the text), what it is,
        and what is allowed there.
    """
    if not isinstance(text, str):
        raise InputError(f"{shown(text)} is not the text of a level")
    values, lines = _split(text)
    numbers = {key: _number(key, values[key]) for key in _RANGES}
    picture = _read_picture(lines)
    _add_hidden(values["also"], picture)

    entities = [
        (place, ENTITIES[glyph])
        for place in sorted(picture.contents)
        for glyph in picture.contents[place]
    ]
    entities = [entities[number] for number in _read_order(values["order"], len(entities))]
    sections = _read_sections(values["sections"]) or [picture.only(END)]

    def padded(rows: list, size: int, width: tuple[int, ...], dtype: type) -> np.ndarray:
        array: np.ndarray = np.zeros((size, *width), dtype)
        array[: len(rows)] = np.array(rows, dtype).reshape(-1, *width)
        return array

    def slots(values: list, dtype: type, *width: int) -> np.ndarray:
        return padded(values, MAX_ENTITIES, width, dtype)

    fields = {
        "seed": np.uint32(numbers["seed"]),
        "grid": picture.grid,
        "entity_type": slots([thing.type for _, thing in entities], np.int8),
        "entity_xy": slots([(x + 0.5, y + 0.5) for (x, y), _ in entities], np.float32, 2),
        "entity_vx": slots([thing.vx for _, thing in entities], np.float32),
        "entity_theme": slots([thing.theme for _, thing in entities], np.int8),
        "start_xy": _start_xy(picture.only(START)),
        "end_cell": np.array(picture.only(END), np.int8),
        "section_cell": padded(sections, MAX_SECTIONS, (2,), np.int8),
        "num_sections": np.int8(len(sections)),
        "difficulty": np.int8(numbers["difficulty"]),
        "wall_theme": np.int8(numbers["wall"]),
        "agent_theme": np.int8(numbers["agent"]),
        "background_index": np.int8(numbers["background"]),
        "background_shift": np.float32(numbers["shift"]),
    }
    level: Any = fields
    require_levels(Level(**level), one=True)
    return Level(**{name: jnp.asarray(value) for name, value in fields.items()})


def _split(text: str) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """The value of every key, and the picture's lines with their numbers."""
    values: dict[str, str] = {}
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if ":" in line:
            for word in line.split():
                key, colon, value = word.partition(":")
                if not colon or key not in _DEFAULTS:
                    allowed = ", ".join(f"{name}:" for name in _DEFAULTS)
                    raise InputError(f"line {number}: {shown(word)} is not one of {allowed}")
                if key in values:
                    raise InputError(
                        f"line {number}: {shown(word)} after {shown(f'{key}:{values[key]}')}"
                    )
                values[key] = value
        elif line.strip():
            lines.append((number, line))
    return _DEFAULTS | values, lines


class _Picture:
    """What a text draws: terrain, the entities of each cell, start and end."""

    def __init__(self) -> None:
        self.grid = np.zeros((0, 0), np.int8)
        self.contents: dict[_Place, list[str]] = {}
        self.marks: dict[str, list[_Place]] = {START: [], END: []}
        self.covered: set[_Place] = set()  # cells whose terrain `also` may still set

    def put(self, place: _Place, glyph: str) -> None:
        """Add an entity, the start or the end."""
        if glyph in self.marks:
            self.marks[glyph].append(place)
        else:
            self.contents.setdefault(place, []).append(glyph)

    def only(self, mark: str) -> _Place:
        """The one cell with a mark."""
        places = self.marks[mark]
        if len(places) != 1:
            name = {START: "start", END: "end"}[mark]
            raise InputError(f"{len(places)} cells with {mark!r}: a level has exactly one {name}")
        return places[0]


def _read_picture(lines: list[tuple[int, str]]) -> _Picture:
    if not lines:
        raise InputError("the text draws nothing: no line without a colon")
    width = len(lines[0][1].strip())
    if len(lines) > WORLD_SIZE or width > WORLD_SIZE:
        raise InputError(
            f"{len(lines)} lines of {width} glyphs: the world has {WORLD_SIZE} x {WORLD_SIZE} cells"
        )
    picture = _Picture()
    terrain = np.full((len(lines), width), Cell.EMPTY, np.int8)
    for row, (number, line) in enumerate(reversed(lines)):
        glyphs = line.strip()
        if len(glyphs) != width:
            raise InputError(f"line {number}: {len(glyphs)} glyphs, the first line has {width}")
        for column, glyph in enumerate(glyphs):
            if glyph in TERRAIN:
                terrain[row, column] = TERRAIN[glyph]
                continue
            if glyph not in ENTITIES and glyph not in picture.marks:
                at = line.index(glyphs) + column + 1
                raise InputError(
                    f"line {number}, column {at}: {shown(glyph)} is not one of {_ALLOWED}"
                )
            picture.put((column, row), glyph)
            picture.covered.add((column, row))
    picture.grid = _complete(terrain)
    return picture


def _add_hidden(text: str, picture: _Picture) -> None:
    for entry in text.split("/") if text else []:
        column, row, glyph = [*entry.split(","), "", ""][:3]
        if entry.count(",") != 2 or glyph == "." or glyph not in _GLYPHS:
            raise InputError(f"also: {shown(entry)} is not column,row,glyph with one of {_ALLOWED}")
        place = _integer("also", column, WORLD_SIZE - 1), _integer("also", row, WORLD_SIZE - 1)
        if place not in picture.covered:
            raise InputError(
                f"also: {shown(entry)} adds to a cell that draws no entity, start or end"
            )
        if glyph not in TERRAIN:
            picture.put(place, glyph)
        elif picture.grid[place[1], place[0]] != Cell.EMPTY:
            raise InputError(f"also: {shown(entry)} gives that cell a second terrain")
        else:
            picture.grid[place[1], place[0]] = TERRAIN[glyph]


def _number(key: str, text: str) -> float:
    low, high = _RANGES[key]
    try:
        number = float(text) if key == "shift" else _decimal(text)
    except ValueError:
        number = np.nan
    if not low <= number <= high:
        kind = "a number" if key == "shift" else "an integer"
        raise InputError(f"{key}: {shown(text)} is not {kind} in {low} ... {high}")
    return number


def _integer(key: str, text: str, highest: int) -> int:
    if not (number := _decimal(text)) <= highest:
        raise InputError(f"{key}: {shown(text)} is not an integer in 0 ... {highest}")
    return int(number)


def _decimal(text: str) -> float:
    """The value of plain digits, NaN for any other text; exact up to 15 digits."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= 15
    return int(text) if is_number else np.nan


def _read_sections(text: str) -> list[_Place]:
    cells = []
    for entry in text.split("/") if text else []:
        if entry.count(",") != 1:
            raise InputError(f"sections: {shown(entry)} is not column,row")
        column, row = (_integer("sections", part, WORLD_SIZE - 1) for part in entry.split(","))
        cells.append((column, row))
    if len(cells) > MAX_SECTIONS:
        raise InputError(f"sections: {len(cells)} cells, at most {MAX_SECTIONS}")
    return cells


def _read_order(text: str, count: int) -> list[int]:
    if count > MAX_ENTITIES:
        raise InputError(f"{count} crates, saws and enemies: a level has at most {MAX_ENTITIES}")
    if not text:
        return list(range(count))
    order = [_integer("order", part, max(count - 1, 0)) for part in text.split(",")]
    if sorted(order) != list(range(count)):
        raise InputError(f"order: {shown(text)} does not name each of 0 ... {count - 1} once")
    return order
