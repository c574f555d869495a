"""Testbeds by id, and plugins that add to them.

A plugin is a module that registers its testbeds on import:

    # my_package/beds.py
    from coinrun_jax.registry import register
    register(MyTestbed())
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any

from coinrun_jax.checks import InputError, one_line, shown
from coinrun_jax.testbed import EnvConfig, Testbed

ENTRY_POINTS = "coinrun_jax.testbeds"
"""Entry-point group; each entry names a module to import."""
DEFAULT = "CoinRun-v1"
_OWN = {
    "CoinRun-v1": "coinrun_jax.coinrun.testbed",
    "ExitMaze-v1": "coinrun_jax.exit_maze.testbed",
}
"""Modules of the testbeds that come with the package."""
_TESTBEDS: dict[str, Testbed] = {}


def register(testbed: Testbed) -> None:
    """Register a testbed by its id.

    Raises:
      InputError: if the id belongs to another testbed.
    """
    known = _TESTBEDS.setdefault(testbed.id, testbed)
    if type(known) is not type(testbed):
        raise InputError(f"environment {shown(testbed.id)} is already registered")


def find_testbed(env_id: Any) -> Testbed:
    """The testbed with an id; for gymnax's own environments, a testbed without events.

    Raises:
      InputError: for an unknown id.
    """
    if isinstance(env_id, str):
        if env_id in _OWN:
            importlib.import_module(_OWN[env_id])
        elif env_id not in _TESTBEDS:
            for entry in entry_points(group=ENTRY_POINTS):
                import_plugins([entry.module])
        if env_id in _TESTBEDS:
            return _TESTBEDS[env_id]
        from coinrun_jax.plain_gymnax import PlainTestbed, plain_ids

        if env_id in plain_ids():
            return PlainTestbed(env_id)
    ids = ", ".join(sorted({*_OWN, *_TESTBEDS}))
    raise InputError(
        f"env.id {shown(env_id)} is not one of {ids}, nor one of gymnax's environments; add your "
        "own with --plugins MODULE"
    )


def testbed_of(config: EnvConfig) -> Testbed:
    """The testbed of a config."""
    return find_testbed(config.id)


def import_plugins(modules: Iterable[str]) -> None:
    """Import each module once, in order.

    Raises:
      InputError: for one that cannot be imported.
    """
    for name in modules:
        if not all(part.isidentifier() for part in name.split(".")):
            raise InputError(f"plugin {shown(name)} is not the name of a module")
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # whatever the module raises
            raise InputError(
                f"plugin {name} cannot be imported: {type(error).__name__}: {one_line(error)}"
            ) from error
