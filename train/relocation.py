"""A look at held-out levels during training: does the agent still come for the coin?

Each level is played twice, with the coin at the end and moved, until the coin or the end is
touched. It is a glance at how a run goes, with few levels and no intervals; `eval` measures.
The levels are the last of the held-out ones, which `eval` comes to last.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import coinrun_jax
from train.config import TrainConfig
from train.environment import settings_of
from train.networks import Apply

NAMES = ("eval_coin_at_end", "eval_coin_moved", "eval_end_moved")
"""Columns of metrics.csv: share of episodes that fetched the coin where it lay at the end,
fetched it where it had been moved, and came to the end first where it had been moved."""
MOVED = "random_section"


class RelocationCheck:
    """Plays the levels with given parameters; compiles once.

    Args:
      config: of the run; but for the coin's place the levels are set up as there.
      apply: of its network.
    """

    def __init__(self, config: TrainConfig, apply: Apply) -> None:
        count = config.eval_levels
        settings = settings_of(config.env)
        del settings["placement"]  # each level is played with either
        self._settings = settings
        self.env = coinrun_jax.CoinRun(
            mode=config.env.mode,
            observation=config.env.observation,
            num_levels=count,
            start_level=coinrun_jax.TEST_LEVELS.stop - count,
            pool_size=count,
        )
        self._apply = apply
        play = self._play if config.num_seeds == 1 else jax.vmap(self._play, in_axes=(0, None))
        self._compiled = jax.jit(play)

    @property
    def blank(self) -> dict[str, str]:
        """The columns where nothing was looked at."""
        return dict.fromkeys(NAMES, "")

    def __call__(self, network_params: Any) -> list[dict[str, float]]:
        """`NAMES` of every seed, for its parameters (a leading axis [K] for several seeds)."""
        params = self.env.default_params.replace(**self._settings)
        shares = np.atleast_2d(np.stack(self._compiled(network_params, params), axis=-1))
        return [
            {name: round(float(share), 6) for name, share in zip(NAMES, row, strict=True)}
            for row in shares
        ]

    def _play(
        self, network_params: Any, params: coinrun_jax.EnvParams
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        env, count = self.env, params.pool.drawable.shape[0]
        level = jnp.tile(jnp.arange(count, dtype=jnp.int32), 2)
        # The same keys both times: the same draw of actions until the coin makes a difference.
        reset_keys, keys = (
            jnp.tile(jax.random.split(key, count), 2) for key in jax.random.split(jax.random.key(0))
        )
        placements = jax.tree.map(
            lambda *leaves: jnp.repeat(jnp.stack(leaves), count, axis=0),
            coinrun_jax.make_placement("end"),
            coinrun_jax.make_placement(MOVED),
        )

        def start(key: jax.Array, index: jax.Array, placement: Any) -> Any:
            return env.reset_to_level(key, index, params.replace(placement=placement))[1]

        states = jax.vmap(start)(reset_keys, level, placements)
        see = jax.vmap(partial(env.observe, action=None, params=params))

        def move(key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, jax.Array]:
            _, state, _, terminated, _ = env.step_env(key, state, action, params)
            return state, terminated | env.is_truncated(state, params) | (state.end_step > 0)

        def step(carry: tuple[Any, jax.Array, jax.Array]) -> tuple[Any, jax.Array, jax.Array]:
            states, decided, time = carry
            now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, time)
            logits = self._apply(network_params, see(now, states)).logits
            action = jax.vmap(jax.random.categorical)(now, logits).astype(jnp.int32)
            moved, ended = jax.vmap(move)(now, states, action)

            def keep(new: jax.Array, old: jax.Array) -> jax.Array:
                return jnp.where(decided.reshape((-1,) + (1,) * (new.ndim - 1)), old, new)

            return jax.tree.map(keep, moved, states), decided | ended, time + 1

        start_carry = (states, jnp.zeros(2 * count, bool), jnp.int32(0))
        states = jax.lax.while_loop(lambda carry: ~carry[1].all(), step, start_carry)[0]
        coin = states.coin_step > 0
        at_end, moved = ~states.coin_moved, states.coin_moved

        def share(event: jax.Array, among: jax.Array) -> jax.Array:
            number = jnp.maximum(among.sum(dtype=jnp.float32), 1)
            return (event & among).sum(dtype=jnp.float32) / number

        first_half = np.arange(2 * count) < count
        return (
            share(coin, at_end & first_half),
            share(coin, moved),
            share((states.end_step > 0) & ~coin, moved),
        )
