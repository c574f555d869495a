"""Check that none of Procgen's images is in the repository or its history.

    python results/procgen/history.py WHEEL

Reads every object that any branch or tag reaches. None may be one of the wheel's images, by hash,
or contain the first compressed bytes of such an image's pixels, which stay as they are in an
archive that is stored without compression. Prints what was searched.

Exit status: 0 if there is none, 1 if there is; otherwise as in `coinrun_jax.cli`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from coinrun_jax.art.manifest import pictures
from coinrun_jax.checks import InputError, one_line
from coinrun_jax.cli import Parser, command

ROOT = Path(__file__).resolve().parents[2]
IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".bmp")
_PIXELS = b"IDAT"  # begins the pixels of a PNG
_ENOUGH = 64  # bytes of pixels


def images_of(wheel: Path) -> dict[str, bytes]:
    """All images of a wheel by their path.

    Raises:
      InputError: for a file that is not a wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(IMAGES)]
            return {name: archive.read(name) for name in names}
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"a wheel of procgen is needed: {one_line(error)}") from error


def blobs() -> Iterator[tuple[str, str, bytes]]:
    """Hash, one path and content of every file in the history."""
    listed = subprocess.run(
        ["git", "rev-list", "--objects", "--all"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode("utf-8", "replace")
    paths = dict(line.partition(" ")[::2] for line in listed.splitlines())
    with subprocess.Popen(
        ["git", "cat-file", "--batch"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for code, path in paths.items():
            process.stdin.write(f"{code}\n".encode())
            process.stdin.flush()
            _, kind, size = process.stdout.readline().split()
            content = process.stdout.read(int(size))
            process.stdout.read(1)
            if kind == b"blob":
                yield code, path, content
        process.stdin.close()


@command
def main(arguments: list[str] | None = None) -> int:
    """Search; returns the exit status."""
    parser = Parser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path, metavar="WHEEL")
    images = images_of(parser.parse_args(arguments).wheel)
    hashes = {hashlib.sha256(content).digest() for content in images.values()}
    hashes |= {bytes.fromhex(picture.sha256) for picture in pictures()}
    begins = {
        content[at : at + _ENOUGH]
        for content in images.values()
        if (at := content.find(_PIXELS)) >= 0
    }
    count, pictured, found = 0, 0, []
    for code, path, content in blobs():
        count += 1
        pictured += path.lower().endswith(IMAGES)
        if hashlib.sha256(content).digest() in hashes:
            found.append(f"{code} {path}: an image of Procgen's")
        parts = content.split(_PIXELS)[1:]
        if any(_PIXELS + part[: _ENOUGH - len(_PIXELS)] in begins for part in parts):
            found.append(f"{code} {path}: contains pixels of one")
    print(
        f"{len(found)} of {count} files in the history, {pictured} of them images, hold one of "
        f"Procgen's {len(images)} images",
        *found,
        sep="\n",
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
