"""Reads Procgen's pictures from a wheel, a folder or an installed procgen; executes none of it.

A file is decoded only if its hash is that of Procgen 0.10.7.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from coinrun_jax.art.manifest import FOLDER, SPRITE_PATHS, VERSION, Picture, pictures
from coinrun_jax.checks import InputError, one_line, shown
from coinrun_jax.files import shortened

MOST_BYTES = 2**20  # of a picture's file; the largest has 756,290
MOST_MEMBERS = 100_000  # of a wheel
_INFO = re.compile(r"procgen-([^/]{1,40})\.dist-info/")

Reader = Callable[[str], bytes]


@contextmanager
def open_source(source: str) -> Iterator[Reader]:
    """A function that reads a picture's file by its path below `procgen/data/assets`.

    Args:
      source: a wheel's path, a folder's, or "procgen" for the installed package.

    Raises:
      InputError: if it is none of these.
    """
    path = _installed() if source == "procgen" and not Path(source).exists() else Path(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot read --from {shown(source)}: {why}") from error
    if stat.S_ISDIR(mode):
        yield _folder_reader(path)
    elif stat.S_ISREG(mode):
        with _wheel_reader(path) as reader:
            yield reader
    else:
        raise InputError(f"--from {shortened(path)} is neither a wheel nor a folder")


def _installed() -> Path:
    spec = importlib.util.find_spec("procgen")  # finds, does not import
    if spec is None or not spec.submodule_search_locations:
        raise InputError("procgen is not installed in this Python: give its wheel or its folder")
    return Path(next(iter(spec.submodule_search_locations))) / "data" / "assets"


def _folder_reader(folder: Path) -> Reader:
    """Reader of a folder that holds the pictures or `procgen`, or of the package's own folder."""
    first = SPRITE_PATHS[0]
    for inside in (FOLDER, FOLDER.partition("/")[2], "assets", "."):
        if (folder / inside / first).is_file():
            root = folder / inside
            break
    else:
        raise InputError(f"--from {shortened(folder)} holds no folder {FOLDER} with pictures")

    def read(name: str) -> bytes:
        try:
            path = root / name
            if not path.is_file():
                raise InputError(f"--from {shortened(folder)} has no picture {name}")
            with open(path, "rb") as file:
                return file.read(MOST_BYTES + 1)
        except OSError as error:
            raise InputError(f"cannot read {shortened(root / name)}: {error.strerror}") from error

    return read


@contextmanager
def _wheel_reader(path: Path) -> Iterator[Reader]:
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            yield _member_reader(archive, path)
    except InputError:
        raise
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        why = one_line(error)
        raise InputError(
            f"--from {shortened(path)} is not a wheel, or is damaged: {why}"
        ) from error


def _member_reader(archive: zipfile.ZipFile, path: Path) -> Reader:
    listed = archive.infolist()
    if len(listed) > MOST_MEMBERS:
        raise InputError(
            f"--from {shortened(path)} has {len(listed):,} members, too many for a wheel"
        )
    members: dict[str, zipfile.ZipInfo] = {}
    for member in listed:
        info = _INFO.match(member.filename)
        if info and info[1] != VERSION:
            raise InputError(
                f"--from {shortened(path)} is procgen {shown(info[1])}; {VERSION} is needed"
            )
        if member.filename in members and member.filename.startswith(FOLDER):
            raise InputError(f"--from {shortened(path)} has {shown(member.filename)} twice")
        members[member.filename] = member

    def read(name: str) -> bytes:
        member = members.get(f"{FOLDER}/{name}")
        if member is None:
            raise InputError(f"--from {shortened(path)} has no picture {FOLDER}/{name}")
        if member.flag_bits & 1 or member.file_size > MOST_BYTES:
            raise InputError(f"--from {shortened(path)}: {name} is encrypted or too large")
        try:
            with archive.open(member) as file:
                return file.read(MOST_BYTES + 1)  # whatever its header says
        except Exception as error:  # many types, depending on what is broken
            raise InputError(
                f"--from {shortened(path)}: {name} is damaged: {one_line(error)}"
            ) from error

    return read


def read_pictures(source: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """All pictures, each checked by its hash.

    Returns:
      sprites uint8 [H, W, 4], alpha not premultiplied, and backgrounds uint8 [H, W, 3], in the
      order of `manifest`.

    Raises:
      InputError: for a source without pictures, of another version, or damaged; or if Pillow is
        not installed.
    """
    try:
        from PIL import Image  # of the extra `procgen`
    except ImportError as error:
        raise InputError(
            "decoding pictures needs Pillow: pip install 'coinrun-jax[procgen]'"
        ) from error

    def decode(picture: Picture, content: bytes, mode: str) -> np.ndarray:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            array = np.asarray(image.convert(mode))
        if array.shape[:2] != (picture.height, picture.width):
            height, width = array.shape[:2]
            raise InputError(
                f"{picture.path} has {width}x{height} pixels, not {picture.width}x{picture.height}"
            )
        return array

    sprites, backgrounds = [], []
    with open_source(source) as read:
        for number, picture in enumerate(pictures()):
            content = read(picture.path)
            if hashlib.sha256(content).hexdigest() != picture.sha256:
                raise InputError(
                    f"--from {shown(source)}: {picture.path} is not that of procgen {VERSION}"
                )
            if number < len(SPRITE_PATHS):
                sprites.append(decode(picture, content, "RGBA"))
            else:
                backgrounds.append(decode(picture, content, "RGBA")[..., :3])
    return sprites, backgrounds
