"""Procgen's own picture of the game, bit for bit, from the pictures that `coinrun_jax.art` keeps.

`pictures` holds the pixels, `spans` the arithmetic of Procgen's nearest-pixel scaling, `scene`
what stands where on a frame, `paint` puts it there, `observe` is the whole.
"""
