"""`JAX_ENABLE_X64=1` changes nothing: no type, no draw, no number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.conftest import QUICK_COMPILE, ROOT
from tests.x64_program import arrays


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], pytest.param(["pixels"], marks=pytest.mark.thorough)])
def test_the_flag_changes_nothing(tmp_path: Path, more: list[str]) -> None:
    """In this process it is not set."""
    assert not jax.config.read("jax_enable_x64")
    path = tmp_path / "with_flag.npz"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.x64_program", str(path), *more],
        cwd=ROOT,
        env={**os.environ, **QUICK_COMPILE, "JAX_ENABLE_X64": "1"},
    )
    without = arrays(bool(more))
    assert process.wait() == 0
    with np.load(path) as with_flag:
        assert with_flag.files == list(without)
        for name, expected in without.items():
            found = with_flag[name]
            assert found.dtype == expected.dtype, name
            np.testing.assert_array_equal(found, expected, err_msg=name)
