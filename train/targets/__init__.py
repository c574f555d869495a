"""Compile a run for an accelerator that is not present, and analyse the compiled program."""
