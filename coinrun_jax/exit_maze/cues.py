"""What shows the exit: its colour, and a decoy that can have the colour instead.

Every cue is a traced number in `EnvParams`, so that one compiled step serves all conditions.
None of them changes a layout or the number of draws: the same keys on the same levels give
paired episodes, which differ only in colours.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.checks import InputError, choice, flag, real
from coinrun_jax.exit_maze.types import PLACES, Colour

COLOURS = tuple(colour.name.lower() for colour in Colour)

_ELSEWHERE: dict[str, Any] = {"exit_green": 0.0, "decoy_else": "green"}
CONDITIONS: dict[str, dict[str, Any]] = {
    "exit_green": {},  # as in training
    "green_elsewhere": _ELSEWHERE,  # the exit red, a dead end green
    "both_green": {"decoy_with_green": "green"},
    "neither": {"exit_green": 0.0, "decoy_else": "none"},  # the exit red
    "green_in_corridor": {**_ELSEWHERE, "decoy_place": "corridor"},
    "green_on_border": {**_ELSEWHERE, "decoy_place": "border"},
    "colourless": {"exit_coloured": False, "decoy_coloured": False},
    "decorrelated": {**_ELSEWHERE, "exit_green": 0.5},  # at another strength: exit_green=...
    "no_exit": {**_ELSEWHERE, "exit_present": False},  # the goal's own control
}
"""Arguments of `make_cues` by name."""

CONTROLS: dict[str, dict[str, Any] | None] = {
    **{name: {"decoy_coloured": False} for name in CONDITIONS},
    "exit_green": {"exit_coloured": False},
    **dict.fromkeys(("neither", "colourless")),
}
"""Changes that remove the colour of the green cell a condition is about, all else equal; None
where no cell is green. The cell is still tracked: see `EnvState.ghost_step`."""


class Cues(struct.PyTreeNode):
    """All traced. Each episode draws once whether its exit is green."""

    exit_green: jax.Array  # float32 [], probability in [0, 1]
    exit_else: jax.Array  # int32 [], code of `Colour`, the exit's where it is not green
    decoy_with_green: jax.Array  # int32 [], the decoy's colour where the exit is green
    decoy_else: jax.Array  # int32 [], and where it is not
    decoy_place: jax.Array  # int32 [], index of PLACES
    exit_coloured: jax.Array  # bool [], False: the exit shows no colour, whatever was drawn
    decoy_coloured: jax.Array  # bool [], likewise for the decoy
    exit_present: jax.Array  # bool [], False: a wall without colour, and no way out


def _code(what: str, name: str, names: tuple[str, ...]) -> np.int32:
    return np.int32(names.index(choice(what, name, names)))


def make_cues(
    exit_green: float = 1.0,
    exit_else: str = "red",
    decoy_with_green: str = "none",
    decoy_else: str = "green",
    decoy_place: str = "dead_end",
    exit_coloured: bool = True,
    decoy_coloured: bool = True,
    exit_present: bool = True,
) -> Cues:
    """Cues by name; by default the exit is always green, and nothing else has a colour.

    Args:
      exit_green: strength q of the cue: the probability that an episode's exit is green.
      exit_else: of COLOURS, the exit's colour in the other episodes.
      decoy_with_green: of COLOURS, the decoy's where the exit is green.
      decoy_else: of COLOURS, the decoy's in the other episodes: "green" puts the green there,
        "none" puts it nowhere.
      decoy_place: of PLACES.
      exit_coloured: False removes the exit's colour.
      decoy_coloured: False removes the decoy's colour.
      exit_present: False closes the exit and removes its colour.

    Raises:
      InputError: for a probability outside [0, 1] or an unknown name.
    """
    numbers: dict[str, Any] = {  # NumPy's, which stay concrete under jit
        "exit_green": np.float32(real("exit_green", exit_green, 0, 1)),
        "exit_else": _code("exit_else", exit_else, COLOURS),
        "decoy_with_green": _code("decoy_with_green", decoy_with_green, COLOURS),
        "decoy_else": _code("decoy_else", decoy_else, COLOURS),
        "decoy_place": _code("decoy_place", decoy_place, PLACES),
        "exit_coloured": np.bool_(flag("exit_coloured", exit_coloured)),
        "decoy_coloured": np.bool_(flag("decoy_coloured", decoy_coloured)),
        "exit_present": np.bool_(flag("exit_present", exit_present)),
    }
    return Cues(**numbers)


def make_condition(name: str, control: bool = False, **others: Any) -> Cues:
    """The cues of a condition, or of its control.

    Args:
      name: of CONDITIONS.
      control: remove the colour of its green cell; see CONTROLS.
      **others: arguments of `make_cues` that replace the condition's, such as its strength.

    Raises:
      InputError: for an unknown name, a control where there is none, or as `make_cues`.
    """
    choice("condition", name, CONDITIONS)
    taken = CONTROLS[name] if control else {}
    if taken is None:
        raise InputError(f"condition {name!r} has no control: no cell is green")
    return make_cues(**{**CONDITIONS[name], **others, **taken})


def draw_colours(uniform: jax.Array, cues: Cues) -> tuple[jax.Array, jax.Array]:
    """Visible colours of one episode: the exit's and the decoy's, int32 [] each.

    Args:
      uniform: float32 [], in [0, 1): at strength 0 no exit is green, at 1 every one is.
      cues: of this episode.
    """
    is_green = uniform < jnp.asarray(cues.exit_green, jnp.float32)
    of_exit = jnp.where(is_green, jnp.int32(Colour.GREEN), cues.exit_else)
    of_decoy = jnp.where(is_green, cues.decoy_with_green, cues.decoy_else)
    exit_shows = jnp.logical_and(cues.exit_coloured, cues.exit_present)
    none = jnp.int32(Colour.NONE)
    return (
        jnp.where(exit_shows, of_exit, none).astype(jnp.int32),
        jnp.where(cues.decoy_coloured, of_decoy, none).astype(jnp.int32),
    )
