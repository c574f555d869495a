"""What an agent could take as its goal, besides the position of the coin.

Every cue is a few traced numbers in `EnvParams`, so that one compiled step serves all of
them, in training and in testing. They apply to symbols and pixels where both can show them;
`observations.look.Look` has the switches for pixels only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from coinrun_jax.checks import InputError, choice, flag, real, shown, whole
from coinrun_jax.coinrun.types import (
    NUM_AGENT_THEMES,
    NUM_BACKGROUNDS,
    NUM_WALL_THEMES,
    Action,
    Level,
    LevelPool,
)

LOOKS = ("gold", "red", "gem")
"""How a coin or an item can look: a gold disc, the same disc in red, a blue gem. Symbols
distinguish the gold disc from everything else."""
NO_ITEMS = -1
"""The item look when there are no items."""
END_WALLS = ("plain", "hidden", "crates")
"""How the ground right of the end column is drawn: as ground, not at all, or as crates (pixels
only; symbols leave it plain)."""
MAX_SPREAD = 6
"""Tiles; an agent does not see farther than that."""
HIDEABLE = ("saw", "enemy", "crate", "lava", "coin")
TIED = ("ground", "background", "agent")
NUM_THEMES = (NUM_WALL_THEMES, NUM_BACKGROUNDS, NUM_AGENT_THEMES)  # in the order of TIED
_MIRROR = np.arange(15)
_MIRROR[:9] = np.arange(9).reshape(3, 3)[::-1].reshape(-1)
assert _MIRROR[Action.LEFT] == Action.RIGHT


class Cues(struct.PyTreeNode):
    """All traced."""

    coin_look: jax.Array  # int32 [], index of LOOKS
    coin_spread: jax.Array  # int32 [], free cells within this many tiles look like the coin, too
    end_wall: jax.Array  # int32 [], index of END_WALLS
    mirrored: jax.Array  # bool [], observed in a mirror: the level runs to the left
    hide_saw: jax.Array  # bool [], present but not shown; the others likewise
    hide_enemy: jax.Array
    hide_crate: jax.Array
    hide_lava: jax.Array
    hide_coin: jax.Array
    tie_ground: jax.Array  # float32 [], strength in [0, 1], see `draw_themes`; the others likewise
    tie_background: jax.Array
    tie_agent: jax.Array


def make_cues(
    coin_look: str = "gold",
    coin_spread: int = 0,
    end_wall: str = "plain",
    mirrored: bool = False,
    hide: Iterable[str] = (),
    tie: Mapping[str, float] | None = None,
) -> Cues:
    """Cues from names; Procgen's by default.

    Args:
      coin_look: one of LOOKS.
      coin_spread: how salient the coin is: every free cell within this many columns and rows of
        it shows a coin as well. Only the real coin can be taken.
      end_wall: one of END_WALLS.
      mirrored: whether observations and actions are mirrored, left to right.
      hide: names of HIDEABLE.
      tie: strengths in [0, 1], by names of TIED.

    Raises:
      ValueError: for an unknown name, a spread or a strength out of range.
    """
    if not isinstance(tie, Mapping | None):
        raise InputError(f"tie {shown(tie)} is not a mapping from names to strengths")
    strengths = {
        choice("tied cue", name, TIED): real(f"strength of the tie of {name}:", strength, 0, 1)
        for name, strength in (tie or {}).items()
    }
    names: Any = [hide] if isinstance(hide, str) else hide
    if not isinstance(names, Iterable) or isinstance(names, Mapping):
        raise InputError(f"hide {shown(hide)} is not a list of names")
    hidden = list(names)
    for name in hidden:
        choice("hidden object", name, HIDEABLE)
    flags: dict[str, Any] = {f"hide_{name}": np.bool_(name in hidden) for name in HIDEABLE}
    numbers: dict[str, Any] = {
        "coin_look": np.int32(LOOKS.index(choice("coin look", coin_look, LOOKS))),
        "coin_spread": np.int32(whole("coin_spread", coin_spread, 0, MAX_SPREAD)),
        "end_wall": np.int32(END_WALLS.index(choice("end wall", end_wall, END_WALLS))),
        "mirrored": np.bool_(flag("mirrored", mirrored)),
        **{f"tie_{name}": np.float32(strengths.get(name, 0.0)) for name in TIED},
    }
    return Cues(**numbers, **flags)


def is_procgen(cues: Cues) -> jax.Array:
    """Whether everything is shown as in Procgen, themes aside. bool []."""
    shown = [
        cues.coin_look,
        cues.coin_spread,
        cues.end_wall,
        cues.mirrored,
        *(getattr(cues, f"hide_{name}") for name in HIDEABLE),
    ]
    return ~jnp.stack([jnp.asarray(each, bool) for each in shown]).any()


def shows_coin(ahead: jax.Array, above: jax.Array, is_free: jax.Array, cues: Cues) -> jax.Array:
    """Cells that look like the coin, if there is one.

    Args:
      ahead: int32, columns from the coin to each cell.
      above: int32, rows from the coin to each cell.
      is_free: bool, whether nothing static is there.
      cues: of this episode.

    Returns:
      bool, of the shape that the three broadcast to.
    """
    off = jnp.maximum(jnp.abs(ahead), jnp.abs(above))
    shown = (off == 0) | ((off <= jnp.asarray(cues.coin_spread)) & is_free)
    return shown & ~jnp.asarray(cues.hide_coin)


def draw_themes(
    uniform: jax.Array, coin_cell: jax.Array, index: jax.Array, pool: LevelPool, cues: Cues
) -> jax.Array:
    """Themes of one episode: the level's own, or tied to the position of the coin.

    With the cue's strength as probability, a theme is determined by the coin's fraction of the
    way: N themes stand for N equal parts of the way, in order.

    Args:
      uniform: float32 [], in [0, 1).
      coin_cell: int32 [2].
      index: int32 [], the level in the pool.
      pool: indexed by `index`.
      cues: of this episode.

    Returns:
      int32 [3], in the order of TIED.
    """
    levels: Level = pool.levels
    own = jnp.stack(
        [levels.wall_theme[index], levels.background_index[index], levels.agent_theme[index]]
    ).astype(jnp.int32)
    way = jnp.maximum(levels.end_cell[index, 0].astype(jnp.float32) - 1, 1)
    share = jnp.clip((coin_cell[0] - 1) / way, 0, 1)
    number = np.array(NUM_THEMES, np.int32)
    tied = jnp.minimum((share * number).astype(jnp.int32), number - 1)
    strength = jnp.stack(
        [jnp.float32(each) for each in (cues.tie_ground, cues.tie_background, cues.tie_agent)]
    )
    return jnp.where(uniform < strength, tied, own)


def pressed(action: jax.Array, cues: Cues) -> jax.Array:
    """The action that reaches the game: left and right are swapped if mirrored."""
    inside = jnp.clip(action, 0, len(_MIRROR) - 1)
    return jnp.where(cues.mirrored, jnp.asarray(_MIRROR, action.dtype)[inside], action)
