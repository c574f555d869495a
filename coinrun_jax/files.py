"""Reading and writing files: all input is checked first, all output is written atomically.

There is one reader for each kind of file. It refuses invalid files with a one-line message,
executes nothing in them, and never uses more memory or time than its limits allow.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import dataclasses
import errno
import io
import json
import math
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import EllipsisType
from typing import IO, Any

import numpy as np

from coinrun_jax.checks import InputError, one_line, shown

MOST_JSON = 2**23  # bytes of a file
MOST_YAML = 2**18
MOST_ROWS = 2**25
MOST_ARRAYS = 2**30  # bytes of the arrays of an archive, unpacked
MOST_TEXT = 2**24  # bytes of a text array, whose items NumPy pads to the longest
MOST_NODES = 100_000  # values of a YAML file, aliases expanded
_LONGEST_NUMBER = 400  # characters, in a YAML file
_LONGEST_HEADER = 10_000  # characters, of an array


def shortened(path: Path) -> str:
    """A path, or its end, for a message."""
    text = str(path)
    return text if len(text) <= 80 else f"...{text[-77:]}"


def _open(path: Path, what: str, most: int | None = None) -> IO[bytes]:
    """Open a regular file; folders are refused, and so are pipes and devices, which may block."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{what} {shortened(path)} is not a file")
        if most is not None and status.st_size > most:
            raise InputError(
                f"{what} {shortened(path)} has {status.st_size:,} bytes; at most {most:,}"
            )
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"cannot read {what} {shortened(path)}: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {what} {shown(str(path))}: {error}") from error


def read_text(path: Path, what: str, most: int = MOST_JSON) -> str:
    """The content of a UTF-8 file.

    Args:
      what: what the file should be, for the message.
      most: bytes.

    Raises:
      InputError: if it cannot be read. The other readers raise it, too.
    """
    with _open(path, what, most) as file:
        try:
            content = file.read(most + 1)
            if len(content) > most:  # some files report no size
                raise InputError(f"{what} {shortened(path)} has more than {most:,} bytes")
            return content.decode("utf-8")
        except OSError as error:
            raise InputError(f"cannot read {what} {shortened(path)}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{what} {shortened(path)} is not UTF-8 text") from error


def read_json(path: Path, what: str, most: int = MOST_JSON) -> Any:
    """The content of a JSON file without repeated keys, NaN or infinity."""
    return parse_json(read_text(path, what, most), f"{what} {shortened(path)}")


def parse_json(text: str, what: str) -> Any:
    """The value of a JSON text, checked as in `read_json`.

    Args:
      what: what the text is, for the message.
    """

    def number(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError(f"{text} is not a finite number")
        return value

    def refuse(text: str) -> None:
        raise ValueError(f"{text} is not a finite number")

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if (key := _repeated(key for key, _ in pairs)) is not None:
            raise ValueError(f"key {shown(key)} is given twice")
        return dict(pairs)

    try:
        return json.loads(
            text, parse_float=number, parse_constant=refuse, object_pairs_hook=mapping
        )
    except RecursionError as error:
        raise InputError(f"{what} is nested too deeply") from error
    except ValueError as error:
        raise InputError(f"{what} is not JSON: {one_line(error)}") from error


def _repeated(keys: Iterable[Any]) -> Any:
    """The first key that occurs twice, or None."""
    seen = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return None


def read_mapping(path: Path, what: str, most: int = MOST_JSON) -> dict[str, Any]:
    """The content of a JSON file that holds an object."""
    content = read_json(path, what, most)
    if not isinstance(content, dict):
        raise InputError(f"{what} {shortened(path)} is {shown(content)}, not a JSON object")
    return content


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file: plain values, unique keys, limited size with aliases expanded."""
    import yaml  # from the extras `train` and `eval`

    text = read_text(path, what, MOST_YAML)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _require_plain(node, loader)
        return loader.construct_document(node)
    except RecursionError as error:
        raise InputError(f"{what} {shortened(path)} is nested too deeply") from error
    except InputError as error:
        raise InputError(f"{what} {shortened(path)}: {error}") from error
    except Exception as error:  # of many types, if a value does not fit its tag
        raise InputError(f"{what} {shortened(path)} is not YAML: {one_line(error)}") from error


def _require_plain(root: Any, loader: Any) -> None:
    """Require unique keys, no recursion, and a limited size with aliases expanded."""
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        if id(node) in sizes:
            if not sizes[id(node)]:
                raise InputError("an alias refers to the anchor it is part of")
            return sizes[id(node)]
        sizes[id(node)] = 0
        children = []
        if node.id == "mapping":
            # Compared as values: `1` and `0x1` are the same key, and only the last would count.
            keys = (
                loader.construct_object(key)
                for key, _ in node.value
                if key.id == "scalar" and not key.tag.endswith(":merge")
            )
            if (twice := _repeated(keys)) is not None:
                line = node.start_mark.line + 1
                raise InputError(
                    f"key {shown(twice)} is given twice, in the section that starts at line {line}"
                )
            children = [each for pair in node.value for each in pair]
        elif node.id == "sequence":
            children = node.value
        elif len(node.value) > _LONGEST_NUMBER and not node.tag.endswith(":str"):
            raise InputError(f"{shown(node.value)} is too long for a number")
        total = 1 + sum(size(child) for child in children)
        if total > MOST_NODES:
            raise InputError(f"more than {MOST_NODES:,} values")
        sizes[id(node)] = total
        return total

    size(root)


def read_rows(path: Path, what: str, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, as text.

    Args:
      columns: required ones; others are allowed.
    """
    reader = csv.DictReader(io.StringIO(read_text(path, what, MOST_ROWS), newline=""), strict=True)
    try:
        rows, names = list(reader), list(reader.fieldnames or ())
    except csv.Error as error:
        raise InputError(f"{what} {shortened(path)} is not CSV: {error}") from error
    if len(set(names)) < len(names):
        raise InputError(f"{what} {shortened(path)} has a duplicate column")
    for name in columns:
        if name not in names:
            raise InputError(f"{what} {shortened(path)} has no column {name!r}")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(
                f"{what} {shortened(path)}: row {number} does not have {len(names)} values"
            )
    return rows


@dataclasses.dataclass(frozen=True)
class Array:
    """Requirements on an array in an archive.

    A size in `shape` is a number, or a name that stands for the same size everywhere in the
    archive, or such a name followed by "+1"; a final `...` stands for any further sizes.
    """

    kind: str
    """One or more letters of `numpy.dtype.kind`: "iu" integers, "f" floats, "b", "U" text,
    "biuf"; or the name of a type, such as "float32"."""
    shape: tuple[int | str | EllipsisType, ...] = ()
    low: float | None = None
    high: float | None = None
    finite: bool = True
    optional: bool = False

    def takes(self, dtype: np.dtype) -> bool:
        """Whether an array of this type meets the requirements."""
        return dtype.kind in self.kind if self.kind in _KINDS else dtype.name == self.kind


_KINDS = {"b": "booleans", "iu": "integers", "f": "floats", "U": "text", "biuf": "numbers"}


def _kind_in_words(kind: str) -> str:
    words = [name for letters, name in _KINDS.items() if set(kind) <= set(letters)]
    return words[0] if words else kind


@dataclasses.dataclass(frozen=True)
class _Header:
    """Header of an array in an archive."""

    dtype: np.dtype
    shape: tuple[int, ...]
    member: zipfile.ZipInfo


def read_arrays(
    path: Path, what: str, expected: Mapping[str, Array], most: int = MOST_ARRAYS
) -> dict[str, np.ndarray]:
    """Arrays of an .npz archive; unexpected ones are ignored.

    Types and shapes are checked before memory is allocated, values afterwards.

    Args:
      what: what the file should be, for the message.
      expected: arrays by name.
      most: total bytes of the expected arrays.
    """
    with _open(path, what) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                headers = _headers(archive)
                _require_expected(headers, expected, most)
                found = {
                    name: _read(archive, headers[name]) for name in expected if name in headers
                }
            for name, array in found.items():
                _require_values(name, array, expected[name])
        except InputError as error:
            raise InputError(f"{what} {shortened(path)}: {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # of many types, depending on what is broken
            raise InputError(
                f"{what} {shortened(path)} is not an .npz archive, or is damaged: {one_line(error)}"
            ) from error
    return found


def array_names(path: Path, what: str) -> set[str]:
    """Names of the arrays of an .npz archive."""
    with _open(path, what) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return set(_headers(archive))
        except InputError as error:
            raise InputError(f"{what} {shortened(path)}: {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # as above
            raise InputError(
                f"{what} {shortened(path)} is not an .npz archive, or is damaged: {one_line(error)}"
            ) from error


def _headers(archive: zipfile.ZipFile) -> dict[str, _Header]:
    headers: dict[str, _Header] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in headers:
            raise InputError(f"array {shown(name)} occurs twice")
        if member.flag_bits & 1:
            raise InputError(f"array {shown(name)} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"array {shown(name)} is compressed in a way that NumPy does not use")
        with archive.open(member) as content:
            dtype, shape, start = _array_header(content, name)
        if dtype.hasobject or start + math.prod(shape) * dtype.itemsize != member.file_size:
            raise InputError(
                f"array {shown(name)} is {dtype} {list(shape)}, which does not match its "
                f"{member.file_size:,} bytes"
            )
        headers[name] = _Header(dtype, shape, member)
    return headers


def _array_header(content: IO[bytes], name: str) -> tuple[np.dtype, tuple[int, ...], int]:
    """Type, shape and length of the header of an array in NumPy's format, 1.0 to 3.0."""
    start = content.read(8)
    size = {1: 2, 2: 4, 3: 4}.get(start[6] if len(start) == 8 else 0)
    if start[:6] != b"\x93NUMPY" or size is None:
        raise InputError(f"{shown(name)} is not a NumPy array")
    (length,) = struct.unpack("<H" if size == 2 else "<I", content.read(size))
    if length > _LONGEST_HEADER:
        raise InputError(f"the header of array {shown(name)} is too long")
    try:
        header = ast.literal_eval(content.read(length).decode("latin1").strip())
    except (MemoryError, RecursionError) as error:  # either, if it is nested too deeply
        raise InputError(f"the header of array {shown(name)} is invalid") from error
    shape = header["shape"]
    if header["fortran_order"] not in (False, True) or not isinstance(shape, tuple):
        raise InputError(f"the header of array {shown(name)} is invalid")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise InputError(f"array {shown(name)} has shape {shown(shape)}")
    if not isinstance(header["descr"], str):
        raise InputError(f"array {shown(name)} is of type {shown(header['descr'])}")
    return np.dtype(header["descr"]), shape, 8 + size + length


def _require_expected(
    headers: Mapping[str, _Header], expected: Mapping[str, Array], most: int
) -> None:
    sizes: dict[str, int] = {}
    total = 0
    for name, wanted in expected.items():
        if name not in headers:
            if wanted.optional:
                continue
            raise InputError(f"it has no array {name!r}")
        header = headers[name]
        if not wanted.takes(header.dtype):
            raise InputError(
                f"array {name!r} is of type {header.dtype}, not {_kind_in_words(wanted.kind)}"
            )
        if not _fits(header.shape, wanted.shape, sizes):
            known = ", ".join(
                "..." if each is ... else str(_size(each, sizes)) for each in wanted.shape
            )
            raise InputError(f"array {name!r} has shape {list(header.shape)}, not [{known}]")
        if not header.dtype.itemsize:  # any number of items would take no bytes
            raise InputError(f"array {name!r} is of type {header.dtype}, which has no bytes")
        if header.dtype.kind == "U" and header.member.file_size > MOST_TEXT:
            raise InputError(
                f"array {name!r} has {header.member.file_size:,} bytes of text; at most "
                f"{MOST_TEXT:,}"
            )
        total += header.member.file_size
    if total > most:
        raise InputError(f"its arrays have {total:,} bytes; at most {most:,}")


def _size(wanted: int | str, sizes: Mapping[str, int]) -> int | str:
    """The number that a size stands for, if it is known already."""
    if isinstance(wanted, int):
        return wanted
    name, plus, _ = wanted.partition("+1")
    return sizes[name] + bool(plus) if name in sizes else wanted


def _fits(
    shape: tuple[int, ...], wanted: Sequence[int | str | EllipsisType], sizes: dict[str, int]
) -> bool:
    if wanted and wanted[-1] is ...:
        wanted = wanted[:-1]
        shape = shape[: len(wanted)]
    if len(shape) != len(wanted):
        return False
    for there, name in zip(shape, wanted, strict=True):
        assert name is not ...
        size = _size(name, sizes)
        if isinstance(size, str):
            base, plus, _ = size.partition("+1")
            sizes[base] = size = there - bool(plus)
            if size < 0:
                return False
            continue
        if there != size:
            return False
    return True


def _read(archive: zipfile.ZipFile, header: _Header) -> np.ndarray:
    with archive.open(header.member) as content:
        array = np.lib.format.read_array(
            content, allow_pickle=False, max_header_size=_LONGEST_HEADER
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _finite_extremes(array: np.ndarray) -> tuple[Any, Any]:
    finite = array[np.isfinite(array)]
    return (finite.min(), finite.max()) if finite.size else (0, 0)


def _require_values(name: str, array: np.ndarray, wanted: Array) -> None:
    if array.dtype.kind == "f" and wanted.finite and not np.isfinite(array).all():
        raise InputError(f"array {name!r} holds numbers that are not finite")
    if array.size and array.dtype.kind == "U":
        codes = np.ascontiguousarray(array).view(np.uint32)
        if ((codes > 0x10FFFF) | (codes >> 11 == 0xD800 >> 11)).any():
            raise InputError(f"array {name!r} contains values that are not text")
    if not array.size or array.dtype.kind not in "iuf":
        return
    least, most = (array.min(), array.max()) if wanted.finite else _finite_extremes(array)
    if (wanted.low is not None and least < wanted.low) or (
        wanted.high is not None and most > wanted.high
    ):
        low = "" if wanted.low is None else f" at least {wanted.low}"
        high = "" if wanted.high is None else f" at most {wanted.high}"
        raise InputError(
            f"array {name!r} holds {least} ... {most}, not{low}{' and' * bool(low and high)}{high}"
        )


def require_free(path: Path, force: bool = False) -> None:
    """Refuse to overwrite files unless forced to, and anything but regular files even then.

    Raises:
      InputError: if the file exists, or cannot be created.
    """
    require_makeable(path, "file")
    if path.is_dir():
        raise InputError(f"{shortened(path)} is a folder")
    if path.exists() and not path.is_file():
        raise InputError(f"{shortened(path)} is a device or a pipe, not a file")
    if not force and os.path.lexists(path):
        raise InputError(f"{shortened(path)} already exists; --force overwrites it")


def require_makeable(path: Path, what: str) -> None:
    """Refuse a file or folder that cannot be created, before there is anything to write.

    Raises:
      InputError: for a name that is too long, or a parent that is not a writable folder.
    """
    try:
        if os.path.lexists(path):
            path.stat()
            if not path.is_file():
                return
        here = path.absolute().parent
        while not os.path.lexists(here):
            _require_name(here)
            here = here.parent
        _require_name(path)
        if not here.is_dir():
            raise InputError(
                f"{what} {shortened(path)} cannot be created: {shortened(here)} is not a folder"
            )
        if not os.access(here, os.W_OK | os.X_OK):
            raise InputError(
                f"{what} {shortened(path)} cannot be created: {shortened(here)} is not writable"
            )
        attempt = here / _part_name("", os.getpid())  # folders may refuse it despite permissions
        attempt.touch()
        attempt.unlink()
    except OSError as error:
        raise InputError(f"{what} {shortened(path)} cannot be created: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} {shown(str(path))} cannot be created: {error}") from error


def _require_name(path: Path) -> None:
    if len(os.fsencode(path.absolute())) > os.pathconf("/", "PC_PATH_MAX") - 256:
        raise InputError(f"{shortened(path)} cannot be created: the path is too long")
    if len(os.fsencode(path.name)) > 255 - len(_part_name("", 2**22)):
        raise InputError(f"{shortened(path)} cannot be created: a name is too long")
    if "\0" in path.name:
        raise InputError(f"{shown(str(path))} cannot be created: a name contains a null byte")


def _part_name(name: str, number: int) -> str:
    return f".{name}.{number}.part"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path next to `path`; moved into place on success, removed on failure.

    with writing(path) as part:
        part.write_text(...)
    """
    part = path.with_name(_part_name(path.name, os.getpid()))
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        if error.filename not in (None, part, str(part)):
            raise
        why = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, why, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with writing(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    # A file's name may contain a lone surrogate, which JSON can escape.
    write_text(path, text.encode("utf-8", "backslashreplace").decode() + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a compressed .npz archive atomically."""
    with writing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():  # not np.savez, which may pickle in NumPy 2.0
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def write_rows(path: Path, columns: Sequence[str], rows: Any) -> None:
    """Write rows, each a sequence, to a CSV file atomically."""
    with writing(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


_PLAIN_NAME = re.compile(r"[^/\\\x00-\x1f]{1,200}")


def require_plain_name(what: str, name: Any) -> str:
    """Check that a name is a single path component.

    Raises:
      InputError: for separators, `.`, `..`, control characters, or an empty or long name.
    """
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name) or name in (".", ".."):
        raise InputError(
            f"{what} {shown(name)} is not a name of up to 200 characters without / or \\"
        )
    return name
