"""Compile once per machine: JAX's persistent compilation cache, in the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax


def enable_compilation_cache() -> None:
    """Turn the cache on, unless the user has configured it."""
    config: Any = jax.config  # its attributes are made at run time
    if config.jax_compilation_cache_dir is None:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        config.update("jax_compilation_cache_dir", str(Path(caches) / "coinrun_jax" / "xla"))
