"""Procgen's own pictures, from the user's own copy of Procgen: see `python -m coinrun_jax.art`."""
