"""How commands end: one line on stderr and an exit status that says why."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Fault, Parser, Terminated, command, integer, seed_range

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("size 5 is not within 13 ... 4096"), 2, "size 5 is not within 13 ... 4096"),
        (InputError("many\nlines " + "x" * 10_000), 2, None),
        (Fault("no devices"), 1, "no devices"),
        (OSError(errno.ENOSPC, "No space left on device", "out"), 1, "out: No space left"),
        (OSError("3 requested and 0 written"), 1, "3 requested"),
        (MemoryError(), 1, "not enough memory"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating"), 1, "not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
    ],
)
def test_errors_are_a_line_and_a_status(error, status, line, capsys):
    @command
    def main(arguments=None):
        raise error

    assert main([]) == status
    out, complaint = capsys.readouterr()
    assert not out
    assert complaint.startswith(f"error: {line or ''}")
    assert complaint.count("\n") == 1
    assert len(complaint) < 500


def test_what_nobody_foresaw_is_not_hidden():
    @command
    def main(arguments=None):
        raise KeyError("a fault of ours")

    with pytest.raises(KeyError):
        main([])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "x" * 100_000],
        ["--size", "9" * 100_000],
        ["--mode", "x" * 100_000],
        ["--mode", "x y " * 10_000],
        ["--mode", "'\"" * 10_000],
        ["--levels", "1:" + "9" * 100_000],
        ["--no-such=" + "x" * 100_000],
        ["x" * 100_000],
        ["--size"],
        ["--mode", "half\udcff\n\x1b[2J"],
    ],
    ids=lambda arguments: " ".join(arguments)[:20].encode("unicode_escape").decode(),
)
def test_long_arguments_are_shortened(arguments):
    parser = Parser()
    parser.add_argument("--size", type=integer(1, 5))
    parser.add_argument("--mode", choices=["hard", "easy"])
    parser.add_argument("--levels", type=seed_range)
    with pytest.raises(InputError) as caught:
        parser.parse_args(arguments)
    assert len(str(caught.value)) < 400


class Gone(io.StringIO):
    """A stream that nobody reads any more."""

    def write(self, text):
        raise BrokenPipeError


def test_a_reader_that_leaves_ends_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Gone())

    @command
    def main(arguments=None):
        print("hello", flush=True)
        return 0

    assert main([]) == 0
    monkeypatch.setattr(sys, "stdout", None)  # closed: `train >&-`
    assert main([]) == 0


def test_characters_that_a_stream_does_not_know_are_escaped(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)

    @command
    def main(arguments=None):
        print("größe half\udcff")
        return 0

    assert main([]) == 0
    assert stream.buffer.getvalue() == b"gr\\xf6\\xdfe half\\udcff\n"


PROGRAM = """
import sys, time
from coinrun_jax.cli import command
@command
def main(arguments=None):
    print("begun", flush=True)
    if sys.argv[1] == "write":
        return 0
    for _ in range(600):  # no single sleep: the signal may reach another thread
        time.sleep(0.1)
    return 0
sys.exit(main())
"""


def test_a_full_output_is_one_line_and_exit_1():
    if not Path("/dev/full").exists():
        pytest.skip("a device of Linux")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "write"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: <stdout>: No space left on device\n"


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")]
)
def test_signals_are_one_line_and_their_status(number, word):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "sleep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert complaint == f"error: {word}\n"


REFUSALS = """
import sys
import numpy as np
import jax, jax.numpy as jnp
from coinrun_jax import CoinRun, EnvParams, benchmark, contact_sheet, generate_level, overlap
from coinrun_jax import parity
from coinrun_jax.coinrun.ascii import level_from_ascii
from coinrun_jax.play.__main__ import main as play
from coinrun_jax.solver.__main__ import main as solver
there, folder = sys.argv[1:]
level = level_from_ascii("#@.$\\n####")
print("all is there", file=sys.stderr)
commands = [
    (benchmark.main, ["--num-envs", "0"]),
    (benchmark.main, ["--observation", "rgb", "--num-envs", "1048576", "--csv", there]),
    (solver, ["--levels", "0:4", "--placement", "moon"]),
    (solver, ["--levels", "0:4", "--save", there]),
    (solver, ["--levels", "0:4", "--pictures", folder]),
    (overlap.main, ["--train", "0:4", "--test", "0:4", "--csv", there]),
    (parity.main, [there]),
    (contact_sheet.main, ["--out", there]),
    (play, ["--replay", there]),
    (play, ["--record", there]),
]
for main, arguments in commands:
    assert main(arguments) == 2, arguments
env = CoinRun(num_levels=4)
for call in [
    lambda: CoinRun(num_levels=1.5),
    lambda: generate_level(-1),
    lambda: env.reset_to_level(None, 99, jax.eval_shape(env.build_params)),
    lambda: env.render(None, None, size=5000),
    lambda: EnvParams.on_levels(level.replace(grid=np.full((64, 64), 77, np.int8))),
]:
    try:
        call()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
    else:
        raise AssertionError(call)
print("and now a program", file=sys.stderr)
jax.jit(lambda x: x + 1)(1).block_until_ready()
"""


def test_nothing_is_compiled_for_what_is_refused(tmp_path):
    there = tmp_path / "there"
    there.write_text("precious")
    done = subprocess.run(
        [sys.executable, "-c", REFUSALS, str(there), str(tmp_path)],
        env=os.environ | {"JAX_LOG_COMPILES": "1", "SDL_VIDEODRIVER": "dummy"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # The import of gymnax compiles trifles.
    refused, after = done.stderr.partition("all is there\n")[2].split("and now a program")
    assert "Compiling" in after  # it would be heard of
    assert "Compiling" not in refused
    lines = [line for line in refused.splitlines() if line.startswith("error: ")]
    assert len(lines) == 15
    assert max(map(len, lines)) < 500
    assert there.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [there]
