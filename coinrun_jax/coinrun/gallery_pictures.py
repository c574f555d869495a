"""Every placement and every cue on one level, for `python -m eval.gallery`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from coinrun_jax.coinrun.env import CoinRun
from coinrun_jax.coinrun.observations.look import Look
from coinrun_jax.coinrun.observations.render import level_map
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.placement import CATALOGUE
from coinrun_jax.coinrun.pool import level_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 386
NUM_COINS = 12  # keys per placement
_WHERE: dict[str, Any] = {"fixed": {"cell": (9, 6)}, "fraction": {"fraction": (0.8, 1.0)}}
_TITLES = {"fraction": "fraction, of .8 to 1", "fixed": "fixed, column 9, row 6"}


def cue_variants(params: EnvParams) -> dict[str, EnvParams]:
    """Each cue by its title, on levels with the coin near the end."""
    look = Look()
    base = params.with_placement("fraction", fraction=0.93)
    return {
        "Procgen's": base,
        "red coin": base.with_cues(coin_look="red"),
        "gem for a coin": base.with_cues(coin_look="gem"),
        "decoy at the end": base.with_items(1, placement="end"),
        "end wall hidden": base.with_cues(end_wall="hidden"),
        "end wall of crates": base.with_cues(end_wall="crates"),
        "mirrored": base.with_cues(mirrored=True),
        "coin hidden": base.with_cues(hide=["coin"]),
        "crates hidden": base.with_cues(hide=["crate"]),
        "themes tied to placement": base.with_cues(
            tie={"ground": 1.0, "background": 1.0, "agent": 1.0}
        ),
        "greyscale": base.replace(look=look.replace(greyscale=True)),
        "velocity painted": base.replace(look=look.replace(paint_velocity=True)),
        "no backgrounds": base.replace(look=look.replace(backgrounds=False)),
        "monochrome": base.replace(look=look.replace(monochrome=True)),
    }


def draw_placements() -> Figure:
    """A map for every placement, circling the coins of NUM_COINS keys; the first one is drawn."""
    import matplotlib.pyplot as plt

    env = CoinRun(num_levels=1, start_level=LEVEL)
    params, keys = env.default_params, jax.random.split(jax.random.key(0), NUM_COINS)
    level = level_of(params.pool, jnp.int32(0))
    start = jax.jit(jax.vmap(env.start, in_axes=(0, None, None)))
    figure, axes = plt.subplots(-(-len(CATALOGUE) // 2), 2, figsize=(11, 10), layout="tight")
    for axis, name in zip(axes.flat, CATALOGUE, strict=False):
        variant = params.with_placement(name, **_WHERE.get(name, {}))
        state = jax.device_get(start(keys, jnp.int32(0), variant))
        here = level.replace(start_xy=np.array([state.x[0], state.y[0]]))
        image = level_map(here, state.coin_cell[0], pixels_per_tile=24)
        axis.imshow(image, extent=(0, image.shape[1] / 24, 0, image.shape[0] / 24))
        cells = np.unique(state.coin_cell[state.coin_present], axis=0) + 0.5
        axis.scatter(*cells.T, s=70, color="none", edgecolors="#d81b60", linewidths=1.6)
        axis.set_title(_TITLES.get(name, name), loc="left", fontsize=11)
        axis.axis("off")
    return figure


def draw_cues(art: str = "own") -> Figure:
    """What the agent sees three tiles before the coin, for every cue.

    Args:
      art: of `env.ART`.
    """
    import matplotlib.pyplot as plt

    observation = "procgen" if art == "procgen" else "rgb"
    env = CoinRun(observation=observation, num_levels=1, start_level=LEVEL)
    variants = cue_variants(env.default_params)

    @jax.jit
    def look(params: EnvParams) -> jax.Array:
        key = jax.random.key(0)
        state = env.start(key, jnp.int32(0), params)
        x, y = state.coin_cell
        beside = state.replace(x=x - jnp.float32(2.5), y=y + jnp.float32(0.5787))
        return env.observe(key, beside, None, params)

    figure, axes = plt.subplots(2, -(-len(variants) // 2), figsize=(14, 4.6), layout="tight")
    for axis, (title, params) in zip(axes.flat, variants.items(), strict=False):
        axis.imshow(look(params))
        axis.set_title(title, loc="left", fontsize=10)
        axis.axis("off")
    return figure
