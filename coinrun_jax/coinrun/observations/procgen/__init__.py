"""Procgen's own picture of the game, bit for bit, from the pictures that `coinrun_jax.art` keeps.

`pictures` holds the pixels, `spans` the arithmetic of Procgen's nearest-pixel scaling, and
`scene` what is where on a frame; `paint` draws it, and `observe` does it all.
"""
