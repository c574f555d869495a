"""Look inside an agent at one moment, change one thing, and see what it does.

Twins of the moment differ in one thing (`coinrun_jax.twins`); the network is shown all of them.
`fields` say what it thinks with an object in every cell, `attribution` which cells matter,
`layers` and `patching` which activations carry what an object does, `steering` what happens if
they are pushed.
"""
