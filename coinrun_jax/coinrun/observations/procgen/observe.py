"""The observation `procgen`."""

from __future__ import annotations

import jax

from coinrun_jax.coinrun.cues import NO_ITEMS, Cues, make_cues
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.observations.procgen.paint import paint
from coinrun_jax.coinrun.observations.procgen.pictures import Art
from coinrun_jax.coinrun.observations.procgen.scene import scene_of
from coinrun_jax.coinrun.observations.procgen.spans import lens_of
from coinrun_jax.coinrun.types import EnvState, LevelPool

SIZE = 64  # pixels of an observation, both ways
_PROCGEN = make_cues()


def observe(
    state: EnvState,
    pool: LevelPool,
    look: Look,
    pictures: Art,
    size: int = SIZE,
    cues: Cues = _PROCGEN,
    item_look: jax.Array | int = NO_ITEMS,
) -> jax.Array:
    """Frame of one state, as Procgen draws it.

    Args:
      state: of one environment.
      pool: indexed by `state.level_index`.
      look: switches.
      pictures: from `pictures.load`.
      size: pixels, both ways; static.
      cues: what is shown differently from Procgen.
      item_look: index of `cues.LOOKS`, or NO_ITEMS.

    Returns:
      uint8 [size, size, 3], top row first.
    """
    lens = lens_of(size)
    return paint(scene_of(state, pool, look, pictures, cues, item_look, lens), pictures, lens)
