"""Compile a run for an accelerator that is not there, and read what the compiler made of it."""
