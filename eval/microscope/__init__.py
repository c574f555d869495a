"""Look inside an agent at one moment, change one thing, and see what it does.

Twins of the moment differ in one thing (`coinrun_jax.twins`); the network is shown all of them.
`fields` gives its outputs with an object in every cell, `attribution` which cells matter,
`patching` which activations carry an object's effect, and `steering` what happens when a vector is
added to them.
"""
