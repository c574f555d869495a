"""Play by keyboard, record what was played, and see it again: `python -m coinrun_jax.play`."""
