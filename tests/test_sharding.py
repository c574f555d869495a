"""The same learning on one device, on several, and on several processes.

COINRUN_DEVICES (in all) and COINRUN_PROCESSES set how many; the defaults keep `make test` short.
"""

from __future__ import annotations

import os
import socket

import pytest

from tests.runs import (
    IN_CORRIDOR,
    TINY,
    arguments,
    assert_same_policy,
    finish,
    launch,
    read_metrics,
)
from train import run

DEVICES = int(os.environ.get("COINRUN_DEVICES", "4"))
PROCESSES = int(os.environ.get("COINRUN_PROCESSES", "2"))
LOSSES = ("policy_loss", "value_loss", "entropy", "kl", "explained_variance", "grad_norm")


@pytest.mark.slow
def test_several_processes_of_several_devices_learn_as_one_device_does(tmp_path):
    single = tmp_path / "single"
    run.start(TINY, single)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = arguments(*IN_CORRIDOR, "--run-dir", str(tmp_path / "run"))
    words += ["--coordinator", f"127.0.0.1:{port}", "--num-processes", str(PROCESSES)]
    flags = f"--xla_force_host_platform_device_count={DEVICES // PROCESSES}"
    processes = [launch(*words, "--process-id", str(i), XLA_FLAGS=flags) for i in range(PROCESSES)]
    outputs = [finish(process) for process in processes]
    assert f"compiling for {DEVICES} x" in "".join(outputs)
    rows, expected = read_metrics(tmp_path / "run"), read_metrics(single)
    assert len(rows) == len(expected)
    for a, b in zip(rows, expected, strict=True):
        assert a["episodes"] == b["episodes"]
        for name in LOSSES:
            assert float(a[name]) == pytest.approx(float(b[name]), abs=1e-5, rel=1e-4), name
    assert_same_policy(tmp_path / "run", single, atol=1e-5)
