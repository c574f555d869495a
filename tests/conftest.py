"""Shared by all tests: one compilation cache, so that equal programs compile once."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# For this process and for those that tests start; an own folder that `make clean` empties.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

QUICK_COMPILE = "--xla_backend_optimization_level=0"
"""XLA_FLAGS for commands that compile for long to run for moments: half of the processor time."""
