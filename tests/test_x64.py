"""`JAX_ENABLE_X64=1` changes nothing: no type, no draw, no number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import QUICK_COMPILE, ROOT


def launch(path: Path, flag: str) -> subprocess.Popen[bytes]:
    environment = {**QUICK_COMPILE, "JAX_ENABLE_X64": flag}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.x64_program", str(path)],
        cwd=ROOT,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
def test_the_flag_changes_nothing(tmp_path: Path) -> None:
    paths = [tmp_path / f"{flag}.npz" for flag in "01"]
    processes = [launch(path, path.stem) for path in paths]
    assert [process.wait() for process in processes] == [0, 0]
    with np.load(paths[0]) as without, np.load(paths[1]) as with_flag:
        assert without.files == with_flag.files
        for name in without.files:
            expected, found = without[name], with_flag[name]
            assert found.dtype == expected.dtype, name
            np.testing.assert_array_equal(found, expected, err_msg=name)
