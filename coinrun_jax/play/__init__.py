"""Play with the keyboard, record episodes and replay them: `python -m coinrun_jax.play`."""
