"""Pictures of everything that a testbed's conditions can change.

python -m eval.gallery --out FOLDER [--env ID] [--art NAME] [--plugins MODULE ...] [--force]
"""

from __future__ import annotations

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Parser, add_force, command
from coinrun_jax.registry import DEFAULT, find_testbed, import_plugins
from eval.staging import folder, require_folder, staging


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `coinrun_jax.cli` for the exit status."""
    parser = Parser(prog="python -m eval.gallery", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=folder, required=True, help="folder for the pictures")
    parser.add_argument(
        "--env", default=DEFAULT, metavar="ID", help=f"testbed, by default {DEFAULT}"
    )
    parser.add_argument("--art", metavar="NAME", help="art to draw with, such as procgen")
    parser.add_argument("--plugins", nargs="+", default=[], metavar="MODULE")
    add_force(parser)
    known = parser.parse_args(arguments)
    import_plugins(known.plugins)
    testbed = find_testbed(known.env)
    if known.art is not None:
        testbed.require_art(known.art)
    pictures = testbed.gallery() if known.art is None else testbed.gallery(known.art)
    if not pictures:
        raise InputError(f"{known.env} has no gallery")
    require_folder(known.out, tuple(pictures), known.force)
    with staging(known.out, force=known.force) as part:
        for name, draw in pictures.items():
            figure = draw()
            figure.savefig(part / name, dpi=72, metadata={"Software": None})
            plt.close(figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
