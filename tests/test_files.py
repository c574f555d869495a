"""Readers refuse what is no such file, whoever made it; writers write all of it or nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from coinrun_jax.checks import InputError
from coinrun_jax.cli import require_outputs
from coinrun_jax.files import (
    Array,
    array_names,
    read_arrays,
    read_json,
    read_mapping,
    read_rows,
    read_text,
    read_yaml,
    require_free,
    require_makeable,
    write_arrays,
    write_json,
    write_rows,
    write_text,
    writing,
)

READERS = {
    "text": lambda path: read_text(path, "file"),
    "json": lambda path: read_json(path, "file"),
    "mapping": lambda path: read_mapping(path, "file"),
    "yaml": lambda path: read_yaml(path, "file"),
    "rows": lambda path: read_rows(path, "file"),
    "arrays": lambda path: read_arrays(path, "file", {}),
    "names": lambda path: array_names(path, "file"),
}
SECONDS = 20  # that nothing here comes near, on whatever machine


def assert_refused(read, *named):
    """One short line that names the file and, if given, what is wrong."""
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        read()
    assert time.monotonic() - began < SECONDS
    complaint = str(caught.value)
    assert "\n" not in complaint
    assert len(complaint) < 480
    for name in named:
        assert name in complaint


def folder(path):
    path.mkdir()


def missing(path):
    pass


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def circle(path):
    path.symlink_to(path.name)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("make", [folder, missing, pipe, endless, circle])
def test_what_is_no_file_is_not_read(reader, make, tmp_path):
    path = tmp_path / "file"
    make(path)
    assert_refused(lambda: READERS[reader](path), "file")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["x" * 300, "null\0byte", "half\udcff", "e\x1b[2Jscape"])
def test_names_that_no_file_has(reader, name, tmp_path):
    assert_refused(lambda: READERS[reader](tmp_path / name), "file")


def test_a_file_beyond_its_limit_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("1234")
    assert read_text(path, "file", 4) == "1234"
    assert_refused(lambda: read_text(path, "file", 3), "at most 3")
    if Path("/proc/self/status").exists():  # of a size that it does not say
        assert_refused(lambda: read_text(Path("/proc/self/status"), "file", 3), "more than 3")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": 1, "a": 2}',
        b"[NaN]",
        b"[-Infinity]",
        b"[1e999]",
        b"1" * 5000,
        b"[1] [2]",
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b"\x00",
        b"\x93NUMPY",
    ],
)
def test_what_is_no_json(content, tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    assert_refused(lambda: read_json(path, "recording"), "recording", "file.json")


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"'])
def test_what_is_no_mapping(content, tmp_path):
    path = tmp_path / "file.json"
    path.write_text(content)
    assert_refused(lambda: read_mapping(path, "recording"), "not a JSON object")


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{','.join([f'*a{n - 1}'] * 9)}]\n  k{n}: 1\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        "- " * 50_000,
        "{a: " * 50_000,
        BOMB,
        MERGES,
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a: 1\na: 2",
        "1: a\n0x1: b",
        "true: a\nTRUE: b",
        "[a]: b",
        "{a: 1}: b",
        "!!python/object/apply:os.system [true]",
        "!!int word",
        "2020-99-99",
        "a: b: c",
        "a\n--- \nb",
        "\x07",
        "'" + "x" * 2**18 + "'",
    ],
    ids=lambda content: content[:12],
)
def test_what_is_no_yaml_of_ours(content, tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text(content)
    assert_refused(lambda: read_yaml(path, "config"), "config", "file.yaml")


def test_yaml_may_have_anchors_and_merges(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("base: &base {a: 1, b: 2}\nmore:\n  <<: *base\n  b: 3\nlist: [*base, *base]")
    read = read_yaml(path, "config")
    assert read["more"] == {"a": 1, "b": 3}
    assert read["list"] == [{"a": 1, "b": 2}] * 2


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "no column 'a'"),
        ("b\n1\n", "no column 'a'"),
        ("a,a\n1,2\n", "duplicate column"),
        ("a,b\n1\n", "row 2"),
        ("a,b\n1,2,3\n", "row 2"),
        ('a,b\n1,"2\n', "CSV"),
        ('a\n"' + "x" * 200_000 + '"\n', "CSV"),
        (b"a\n\xff\n", "UTF-8"),
    ],
)
def test_what_are_no_rows(content, named, tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_refused(lambda: read_rows(path, "table", ["a"]), "file.csv", named)


def npy(header, data=b"", version=1):
    """An array file with a header of one's own."""
    text = header.encode("latin1")
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def header(descr="'<i4'", shape="(2,)", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"


def saved(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zipped(content, compression=zipfile.ZIP_STORED, names=("a.npy",)):
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as archive:
        warnings.simplefilter("ignore")  # about a name that comes twice
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


def patched(local, central, value):
    """An archive with two bytes of its headers changed."""
    data = bytearray(saved(a=np.arange(2, dtype=np.int32)))
    for start, offset in ((data.index(b"PK\3\4"), local), (data.index(b"PK\1\2"), central)):
        data[start + offset : start + offset + 2] = value.to_bytes(2, "little")
    return bytes(data)


GOOD = np.arange(2, dtype=np.int32)
WHOLE = saved(a=GOOD)
HOSTILE = {
    "empty": b"",
    "text": b"no archive",
    "array alone": npy(header(), bytes(8)),
    "truncated": WHOLE[: len(WHOLE) // 2],
    "no end": WHOLE[:-10],
    "other bytes": WHOLE.replace(GOOD.tobytes(), bytes(8)),
    "encrypted": patched(6, 8, 1),
    "unknown compression": patched(8, 10, 99),
    "bzip2": zipped(npy(header(), bytes(8)), zipfile.ZIP_BZIP2),
    "duplicate member": zipped(npy(header(), bytes(8)), names=("a.npy", "a.npy")),
    "duplicate name": zipped(npy(header(), bytes(8)), names=("a.npy", "a")),
    "no array": zipped(b"hello"),
    "version 9": zipped(npy(header(), bytes(8), version=9)),
    "10^12 elements": zipped(npy(header(shape=f"({10**12},)"), bytes(8))),
    "10^12 elements of nothing": zipped(npy(header("'<U0'", f"({10**12},)"))),
    "endless header": zipped(b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(100)),
    "a byte too few": zipped(npy(header(), bytes(7))),
    "deep header": zipped(npy("[" * 9000)),
    "deep signs": zipped(npy("-" * 9000 + "1")),
    "header runs code": zipped(npy("__import__('os').abort()")),
    "shape of a list": zipped(npy(header(shape="[2]"), bytes(8))),
    "shape below 0": zipped(npy(header(shape="(-2, -1)"), bytes(8))),
    "shape of floats": zipped(npy(header(shape="(2.0,)"), bytes(8))),
    "shape of booleans": zipped(npy(header("'<i8'", "(True,)"), bytes(8))),
    "too many axes": zipped(npy(header(shape=str((1,) * 100)), bytes(4))),
    "order of its own": zipped(npy(header(order="'C'"), bytes(8))),
    "type of its own": zipped(npy(header("'moon'"), bytes(8))),
    "structure": zipped(npy(header("[('x', '<i4')]"), bytes(8))),
    "objects": saved(a=np.array([1, None], object)),
    "complex": saved(a=GOOD + 1j),
    "text as numbers": saved(a=np.array(["1", "2"])),
    "bytes": saved(a=np.array([b"1", b"2"])),
    "dates": saved(a=np.array(["2020-01-01", "NaT"], "M8[D]")),
    "booleans": saved(a=GOOD == 1),
    "floats": saved(a=GOOD * 1.0),
    "another name": saved(b=GOOD),
    "another shape": saved(a=GOOD[None]),
    "a scalar": saved(a=GOOD[0]),
    "beyond the range": saved(a=GOOD + 9),
    "below the range": saved(a=GOOD - 1),
    "beyond 64 bits": saved(a=np.array([0, 2**64 - 1], np.uint64)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_archive_of_ours(content, tmp_path):
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    wanted = {"a": Array("iu", ("rows",), low=0, high=5)}
    assert_refused(lambda: read_arrays(path, "recording", wanted), "recording", "file.npz")


@pytest.mark.parametrize(
    ("wanted", "array"),
    [
        (Array("f", ("rows",)), [1.0, np.nan]),
        (Array("f", ("rows",)), [1.0, np.inf]),
        (Array("f", ("rows",), finite=False, high=2), [3.0, np.nan]),
        (Array("U", ("rows",)), np.array([0x110000], np.uint32).view("<U1")),
        (Array("U", ("rows",)), np.array([0xD800], np.uint32).view("<U1")),
        (Array("iu", ("rows", "rows")), np.zeros((2, 3), int)),
        (Array("iu", ("rows", "rows+1")), np.zeros((2, 2), int)),
        (Array("iu", ("rows+1",)), np.zeros(0, int)),
        (Array("float32", ("rows",)), np.zeros(2)),
    ],
)
def test_values_and_sizes_that_are_not_wanted(wanted, array, tmp_path):
    path = tmp_path / "file.npz"
    path.write_bytes(saved(a=array))
    assert_refused(lambda: read_arrays(path, "recording", {"a": wanted}), "array 'a'")


def test_arrays_beyond_the_limit_are_refused(tmp_path):
    path = tmp_path / "file.npz"
    path.write_bytes(
        zipped(npy(header("'u1'", "(100000000,)"), bytes(10**8)), zipfile.ZIP_DEFLATED)
    )
    assert path.stat().st_size < 200_000
    wanted = {"a": Array("iu", ("rows",))}
    assert_refused(lambda: read_arrays(path, "recording", wanted, 10**7), "at most 10,000,000")


def test_arrays_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "file.npz"
    arrays = {
        "steps": np.arange(3, dtype=np.int16),
        "x": np.array([[0.5, np.nan]], np.float32),
        "name": np.array("level"),
        "done": np.array([True, False, True]),
    }
    write_arrays(path, arrays)
    wanted = {
        "x": Array("f", ("levels", 2), finite=False),
        "steps": Array("iu", ("steps",), low=0, high=2),
        "name": Array("U"),
        "done": Array("b", ("steps",)),
        "more": Array("f", optional=True),
    }
    read = read_arrays(path, "recording", wanted)
    assert set(read) == array_names(path, "recording") == set(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    path.write_bytes(saved(steps=arrays["steps"].astype(">i4")))  # as another machine may
    (read,) = read_arrays(path, "recording", {"steps": wanted["steps"]}).values()
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, arrays["steps"])


class Stop(BaseException):
    """As Ctrl-C."""


@pytest.mark.parametrize("error", [ValueError, Stop, MemoryError])
def test_a_failure_leaves_what_was_there(error, tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")

    def fail():
        with writing(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_json(path, {"a": float("nan")}),
        lambda path: write_json(path, {"a": object()}),
        lambda path: write_arrays(path, {"a": np.array([1, None], object)}),
        lambda path: write_rows(path, ["a"], [[1], None]),
        lambda path: write_text(path, "half\udcff"),
    ],
)
def test_what_cannot_be_written_leaves_what_was_there(write, tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises((ValueError, TypeError, csv.Error)):
        write(path)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_json_of_names_that_are_no_text(tmp_path):
    path = tmp_path / "file.json"
    content = {"file": "half\udcff", "größe": 1}
    write_json(path, content)
    assert read_json(path, "file") == content
    assert "größe" in path.read_text(encoding="utf-8")


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from coinrun_jax import files
from coinrun_jax.cli import command
from coinrun_jax.coinrun.observations.png import write_png
write = {
    "text": lambda path: files.write_text(path, "x" * 10**6),
    "json": lambda path: files.write_json(path, ["x" * 10**6]),
    "rows": lambda path: files.write_rows(path, ["a"], [["x" * 10**6]]),
    "arrays": lambda path: files.write_arrays(
        path, {"a": np.random.default_rng(0).random(10**6), "b": np.zeros(3)}
    ),
    "png": lambda path: write_png(
        path, np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8)
    ),
}
@command
def main(arguments=None):
    write[sys.argv[1]](Path(sys.argv[2]))
    return 0
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
sys.exit(main())
"""


@pytest.mark.parametrize("what", ["text", "json", "rows", "arrays", "png"])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(what, tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    done = subprocess.run(
        [sys.executable, "-c", FULL, what, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {path}: ")
    assert done.stderr.count("\n") == 1
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_outputs_are_free_only_if_nothing_is_there(tmp_path):
    path = tmp_path / "file"
    require_free(path)
    path.write_text("precious")
    assert_refused(lambda: require_free(path), "--force")
    require_free(path, force=True)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "precious"


@pytest.mark.parametrize("make", [folder, pipe, endless, circle])
def test_what_is_no_file_is_not_overwritten_either(make, tmp_path):
    path = tmp_path / "file"
    make(path)
    assert_refused(lambda: require_free(path, force=True), "file")


@pytest.mark.parametrize("name", ["x" * 250, "null\0byte", "file/inside", "/proc/file"])
def test_what_cannot_be_made_is_known_before(name, tmp_path):
    if name.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("a folder that takes nothing, of Linux")
    (tmp_path / "file").touch()
    assert_refused(lambda: require_makeable(tmp_path / name, "result"), "cannot be created")


def test_files_of_one_command_are_not_one_file(tmp_path):
    path, other, link = tmp_path / "file", tmp_path / "other", tmp_path / "link"
    other.touch()
    link.symlink_to(other)
    require_outputs(True, path, None, other)
    for again in (path, tmp_path / "." / "file"):
        assert_refused(lambda again=again: require_outputs(True, path, again), "two files")
    assert_refused(lambda: require_outputs(True, link, inputs=[other]), "two files")
    for missing in ("no/file", "y/" * 3000):
        assert_refused(lambda no=missing: require_outputs(True, tmp_path / no), "does not exist")


def test_numbers_of_any_size_stay_one_line(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("[0x" + "f" * 10_000 + "]")
    assert_refused(lambda: read_yaml(path, "config"), "too long for a number")
    path.write_text("seed: " + "1:" * 50_000 + "1")  # of base 60: seconds to add up
    assert_refused(lambda: read_yaml(path, "config"), "too long for a number")
    path.write_text(json.dumps([9 * 10**400]))
    assert_refused(lambda: read_mapping(path, "file"), "bits")
