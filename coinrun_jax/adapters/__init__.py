"""CoinRun without JAX code: Gymnasium's single and vector environments.

Importing this registers "CoinRun-v1" with Gymnasium; `import coinrun_jax` does so too.
"""

from __future__ import annotations

import os

import gymnasium

GYMNASIUM_ID = "CoinRun-v1"

if GYMNASIUM_ID not in gymnasium.registry:
    gymnasium.register(
        GYMNASIUM_ID,
        entry_point="coinrun_jax.adapters.gymnasium_env:CoinRunEnv",
        vector_entry_point="coinrun_jax.adapters.gymnasium_vector:CoinRunVectorEnv",
        # Deterministic given a seed, and without TimeLimit: the game has its own time limit.
    )

_forked = False  # whether this process was forked from one that had imported this


def _mark_forked() -> None:
    global _forked
    _forked = True


# Importing this has started JAX (gymnax does so), whose threads do not survive a fork: computations
# in the child would never end.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_mark_forked)


def is_forked() -> bool:
    """Whether this process was forked from one in which JAX runs, so that JAX cannot run here."""
    return _forked


def refuse_if_forked() -> None:
    """Raise an error with instructions, instead of waiting forever.

    Raises:
      RuntimeError: in a forked process.
    """
    if _forked:
        raise RuntimeError(
            "CoinRun cannot run in a forked process, where JAX hangs: use "
            'gymnasium.make_vec("CoinRun-v1", num_envs=N), which needs no processes, or '
            'vectorization_mode="async" with vector_kwargs={"context": "spawn"}'
        )
