"""CoinRun for those who do not write JAX: Gymnasium's single and vector environments.

Importing this registers "CoinRun-v1" with Gymnasium; `import coinrun_jax` does so too.
"""

from __future__ import annotations

import gymnasium

GYMNASIUM_ID = "CoinRun-v1"

if GYMNASIUM_ID not in gymnasium.registry:
    gymnasium.register(
        GYMNASIUM_ID,
        entry_point="coinrun_jax.adapters.gymnasium_env:CoinRunEnv",
        vector_entry_point="coinrun_jax.adapters.gymnasium_vector:CoinRunVectorEnv",
        # Deterministic given a seed, and no TimeLimit around it: time-outs are the game's own.
    )
