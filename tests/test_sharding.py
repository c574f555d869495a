"""The same learning on one device, on several, and on several processes.

COINRUN_DEVICES (in all) and COINRUN_PROCESSES set how many; the defaults keep `make test` short.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from coinrun_jax.checks import InputError
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
from train.devices import processes

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


JOIN = """
from train.devices import processes
processes.initialize()
import jax
from jax.experimental.multihost_utils import process_allgather
print(process_allgather(jax.numpy.int32(jax.process_index())).tolist(), processes.is_main())
"""


def test_processes_of_a_slurm_job_find_each_other():
    """Four tasks on one node, as `srun` starts them."""
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "127.0.0.1"}
    job |= {"SLURM_STEP_NUM_NODES": "1", "SLURM_NTASKS": "4"}
    tasks = [
        subprocess.Popen(
            [sys.executable, "-c", JOIN],
            env={**os.environ, **job, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(4)
    ]
    printed = [task.communicate(timeout=300)[0].split("\n")[-2] for task in tasks]
    assert printed == [f"[0, 1, 2, 3] {i == 0}" for i in range(4)]


def test_a_cluster_that_is_not_there_is_said():
    with pytest.raises(InputError, match="--distributed: JAX detects no cluster here"):
        processes.initialize(detected=True)
