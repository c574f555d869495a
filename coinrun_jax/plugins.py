"""Modules of the user's own, imported before anything is looked up by name.

Such a module registers what it adds as it is imported:

    # my_package/placements.py
    from coinrun_jax import register_placement
    register_placement("top", lambda terrain: ...)
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from coinrun_jax.checks import InputError, one_line, shown


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
        except (Exception, SystemExit) as error:  # whatever the module does
            raise InputError(
                f"plugin {name} cannot be imported: {type(error).__name__}: {one_line(error)}"
            ) from error
