"""Proofs that coins can be reached: actions that collect the coin of a level.

`solve` searches for them, `replay` plays them through the public environment. The command
`python -m coinrun_jax.solver` does both for a range of levels and a placement.
"""

from coinrun_jax.solver.proofs import STAGES, Proofs, solve
from coinrun_jax.solver.replay import Replay, replay
from coinrun_jax.solver.search import Settings

__all__ = ["STAGES", "Proofs", "Replay", "Settings", "replay", "solve"]
