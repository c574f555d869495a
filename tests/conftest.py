"""Shared by all tests: how programs are compiled, and where they are kept."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# For this process and for those that tests start; an own folder that `make clean` empties.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

# Traces pile up in a process that runs all tests, and to go through them takes seconds.
gc.set_threshold(100_000, 20, 100)

QUICK_COMPILE = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
"""Environment of commands that compile for long to run for moments: half of the processor time.
They compile as most files do, and so find in the cache what was compiled here or there."""
OPTIMISED = {
    *("test_backend", "test_generator", "test_physics"),  # the game is exact as it is used
    "test_solver",
}
"""Files whose programs are compiled as users', because of what they show or as they run long."""


FIRST = (
    *("test_eval_main", "test_arena", "test_solver", "test_plugins", "test_procgen_pixels"),
    *("test_ppo", "test_rgb", "test_x64", "test_langosco", "test_audit", "test_kill"),
    *("test_env", "test_gymnasium", "test_wandb", "test_sharding", "test_eval_devices"),
    *("test_export", "test_report", "test_cues", "test_benchmark", "test_probes"),
)
"""Files that take longest, in this order: at the end no worker is alone with one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`FIRST` first; within a file, and of all others, the order stays."""
    names = [f"{name}.py" for name in FIRST]
    rank = {name: number for number, name in enumerate(names)}
    items.sort(key=lambda item: rank.get(item.path.name, len(names)))


@pytest.fixture(autouse=True, scope="module")
def _compilation(request: pytest.FixtureRequest) -> None:
    """Other files compile without optimisation, which takes two thirds of the processor time."""
    import jax  # reads the environment that is set above

    quick = request.module.__name__.rpartition(".")[2] not in OPTIMISED
    if jax.config.read("jax_disable_most_optimizations") and not quick:
        jax.clear_caches()  # programs are kept by what they compute, not by how
    jax.config.update("jax_disable_most_optimizations", quick)
