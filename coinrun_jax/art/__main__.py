"""Keep Procgen's own pictures: `python -m coinrun_jax.art --from WHEEL|FOLDER|procgen`.

The pictures are not ours to ship, so they come from your copy of Procgen 0.10.7: its wheel,
which is read but not installed, a folder it was unpacked to, or the installed package
(`procgen`). Each is checked by its hash. `observation="procgen"` is drawn from them.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from pathlib import Path

from coinrun_jax.art.manifest import VERSION
from coinrun_jax.art.source import read_pictures
from coinrun_jax.art.store import VARIABLE, default_path, write_art
from coinrun_jax.cli import Parser, command, require_outputs
from coinrun_jax.files import require_makeable

HOW = f"""\
pip download procgen=={VERSION} --no-deps --only-binary=:all: --python-version 3.10 \
--platform manylinux2014_x86_64
python -m coinrun_jax.art --from procgen-{VERSION}-*.whl"""


def _arguments(arguments: list[str] | None) -> Namespace:
    parser = Parser(prog="python -m coinrun_jax.art", description=__doc__)
    parser.add_argument("--from", dest="source", metavar="WHEEL|FOLDER|procgen")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"write here instead of the cache; see {VARIABLE}"
    )
    return parser.parse_args(arguments)


@command
def main(arguments: list[str] | None = None) -> int:
    """Read, check and keep the pictures; returns the exit status."""
    args = _arguments(arguments)
    if args.source is None:
        print(HOW)
        return 0
    path = args.out or default_path()
    require_makeable(path, "picture file")
    if args.out is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    require_outputs(True, path, inputs=[Path(args.source)])  # made again from the same pictures
    begin = time.perf_counter()
    sprites, backgrounds = read_pictures(args.source)
    write_art(path, sprites, backgrounds)
    seconds, size = time.perf_counter() - begin, path.stat().st_size
    print(f"{len(sprites)} sprites and {len(backgrounds)} backgrounds of procgen {VERSION}")
    print(f"kept in {path}: {size / 1e6:.1f} MB, in {seconds:.0f} s")
    if args.out is not None and path != default_path():
        print(f"to use it: export {VARIABLE}={path.absolute()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
