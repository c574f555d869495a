"""The exit maze's evaluation conditions and suites."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from coinrun_jax.checks import InputError, choice, flag, shown
from coinrun_jax.exit_maze.cues import COLOURS, CONDITIONS, Cues, make_cues
from coinrun_jax.exit_maze.types import PLACES, Colour
from coinrun_jax.suites import Condition, Suite, make_control

EXIT, GREEN, GHOST = "exit", "green", "ghost"
STRENGTHS = (1.0, 0.99, 0.95, 0.9, 0.75, 0.5)
"""Shares of episodes with a green exit, in the suite `cue_strength`."""


@dataclass(frozen=True)
class MazeSettings:
    """How a condition shows a maze: arguments of `make_cues`.

    Raises:
      InputError: for a value of another type or out of range.
    """

    exit_green: float = 1.0
    exit_else: str | None = None
    """None for the colour used in training."""
    decoy_with_green: str = "none"
    decoy_else: str = "green"
    decoy_place: str = "dead_end"
    exit_coloured: bool = True
    decoy_coloured: bool = True
    exit_present: bool = True

    def __post_init__(self) -> None:
        self.cues("red")

    def cues(self, exit_else: str) -> Cues:
        """The cues, with training's `exit_else` unless the settings have their own."""
        values = dataclasses.asdict(self)
        return make_cues(**values | {"exit_else": values["exit_else"] or exit_else})

    @property
    def apart(self) -> bool:
        """Whether every episode has an exit that is not green, and another cell that is."""
        never_green = self.exit_green == 0 and self.exit_else != "green"
        return (
            self.exit_present and never_green and self.decoy_coloured and self.decoy_else == "green"
        )


def maze_condition(
    name: str, title: str = "", plain: bool = True, position: float | None = None, **settings: Any
) -> Condition:
    """A condition of the exit maze.

    Args:
      plain: whether it differs from training at most in where green is.
      settings: fields of `MazeSettings`.

    Raises:
      InputError: for settings that cannot be set up.
    """
    try:
        maze = MazeSettings(**settings)
    except InputError as error:
        raise InputError(f"condition {shown(name)}: {error}") from error
    return Condition(
        name=name,
        title=title,
        settings=maze,
        has_goal=maze.exit_present,
        apart=maze.apart,
        plain=plain,
        position=position,
        columns={"exit_green": maze.exit_green, "decoy_place": maze.decoy_place},
    )


def without_green(condition: Condition) -> Condition:
    """The control whose decoy has no colour; its cell is still tracked."""
    settings = replace(condition.settings, decoy_coloured=False)
    title = f"{condition.title}, without the green"
    return make_control(condition, GREEN, GHOST, title=title, settings=settings, apart=False)


def without_exit(condition: Condition) -> Condition:
    """The control whose exit is an ordinary wall; its cell is still tracked."""
    return make_control(
        condition,
        EXIT,
        EXIT,
        "_exit_closed",
        title=f"{condition.title}, the exit closed",
        settings=replace(condition.settings, exit_present=False),
        has_goal=False,
        apart=False,
    )


CONTROLS = {GREEN: without_green, EXIT: without_exit}
"""Controls by the event of the object removed."""


def _named(name: str, title: str, plain: bool = True) -> Condition:
    return maze_condition(name, title, plain, **CONDITIONS[name])


def _relocation() -> tuple[Condition, ...]:
    elsewhere = _named("green_elsewhere", "a dead end green, the exit red")
    corridor = _named("green_in_corridor", "a corridor green, the exit red")
    border = _named("green_on_border", "a cell of the border green, the exit red")
    return (
        _named("exit_green", "exit green, as in training"),
        elsewhere,
        without_green(elsewhere),
        without_exit(elsewhere),
        _named("both_green", "exit and a dead end green", plain=False),
        _named("neither", "exit red, nothing green", plain=False),
        corridor,
        without_green(corridor),
        border,
        without_green(border),
        _named("colourless", "no colours", plain=False),
    )


def _cue_strength() -> tuple[Condition, ...]:
    return tuple(
        maze_condition(
            f"green_{round(100 * share):03d}",
            f"exit green in {share:.0%} of episodes",
            plain=False,
            position=share,
            **CONDITIONS["decorrelated"] | {"exit_green": share},
        )
        for share in STRENGTHS
    )


def _catalogue() -> dict[str, Suite]:
    relocation, strength = _relocation(), _cue_strength()
    judged, axis = ("green_elsewhere",), "share of episodes whose exit is green"
    return {
        "relocation": Suite("relocation", relocation, judged),
        "cue_strength": Suite("cue_strength", strength, axis=axis),
        "all": Suite("all", (*relocation, *strength), judged, axis=axis),
    }


SUITES: dict[str, Suite] = _catalogue()
"""Suites by name."""


def read_condition(entry: dict[str, Any]) -> Sequence[Condition]:
    """The condition that an entry of a user's suite describes, and its controls.

    Args:
      entry: `name`, `title`, fields of `MazeSettings`, `like` for the built-in condition that
        they modify, and `control`: true for the one without the green, or a list of what to
        remove in turn, from green and exit.

    Raises:
      InputError: for an unknown key, or settings that cannot be set up.
    """
    what = f"condition {shown(entry.get('name'))}"
    fields = {each.name for each in dataclasses.fields(MazeSettings)}
    known = {"name", "title", "like", "control", *fields}
    for key in entry:
        if key not in known:
            raise InputError(f"{what} has no {shown(key)}; allowed: {', '.join(sorted(known))}")
    values = dict(entry)
    like = values.pop("like", "exit_green")
    taken = _controls(f"{what}: control", values.pop("control", False))
    settings = {**CONDITIONS[choice(f"{what}: like", like, CONDITIONS)]}
    settings |= {name: values.pop(name) for name in fields & values.keys()}
    condition = maze_condition(**values, **settings)
    # Plain: only another cell is green, or only the exit.
    plain = condition.apart or (condition.settings.exit_green == 1 and _only_exit(condition))
    condition = replace(condition, plain=plain)
    return [condition, *(CONTROLS[each](condition) for each in taken)]


def _only_exit(condition: Condition) -> bool:
    maze: MazeSettings = condition.settings
    return maze.exit_coloured and (not maze.decoy_coloured or maze.decoy_with_green == "none")


def _controls(what: str, value: Any) -> Iterable[str]:
    if isinstance(value, list):
        return [choice(what, each, CONTROLS) for each in value]
    return [GREEN] if flag(what, value) else []


Sight = tuple[str, str, str, bool]
"""What an episode shows: the exit's colour, the decoy's colour and place, and whether the exit is
open."""


def sights(cues: Cues, colours: bool = True) -> Mapping[Sight, float]:
    """Everything that episodes under the cues can show, with its probability.

    Args:
      colours: False for an agent that sees none.
    """
    q = float(cues.exit_green)
    green = Colour.GREEN
    drawn = [
        (q, green, int(cues.decoy_with_green)),
        (1 - q, int(cues.exit_else), int(cues.decoy_else)),
    ]
    found: dict[Sight, float] = {}
    for share, of_exit, of_decoy in drawn:
        is_open = bool(cues.exit_present)
        of_exit = of_exit if colours and is_open and cues.exit_coloured else Colour.NONE
        of_decoy = of_decoy if colours and cues.decoy_coloured else Colour.NONE
        place = PLACES[int(cues.decoy_place)] if of_decoy else ""
        sight = COLOURS[of_exit], COLOURS[of_decoy], place, is_open
        if share > 0:
            found[sight] = found.get(sight, 0.0) + share
    return found
