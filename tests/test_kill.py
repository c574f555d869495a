"""SIGKILL at random moments, while a checkpoint is written included: nothing is lost.

COINRUN_KILLS sets how many times the run is killed; the default keeps `make test` short.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.runs import (
    IN_CORRIDOR,
    TINY,
    arguments,
    assert_same_policy,
    finish,
    launch,
    read_metrics,
    read_policy,
    without_clock,
)
from train import run

KILLS = int(os.environ.get("COINRUN_KILLS", "1"))
UPDATES_PER_KILL = 24
UPDATES = UPDATES_PER_KILL * KILLS


def is_writing_a_checkpoint(folder: Path) -> bool:
    return any("tmp" in path.name for path in (folder / "checkpoints").glob("*"))


def updates_done(folder: Path) -> int:
    path = folder / "metrics.csv"
    return max(path.read_bytes().count(b"\n") - 1, 0) if path.exists() else 0


def kill_at_some_moment(process, folder: Path, number: int, rng: random.Random) -> bool:
    """Every other time while a checkpoint is written; False if the run ended before.

    The moment is some updates on, then within an update: in seconds alone, the run would be
    over on a fast machine.
    """
    target = updates_done(folder) + rng.randint(1, UPDATES_PER_KILL // 4)
    while process.poll() is None and updates_done(folder) < target:
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.1))
    while number % 2 == 0 and process.poll() is None and not is_writing_a_checkpoint(folder):
        time.sleep(0.0005)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return alive


@pytest.mark.slow
def test_killed_runs_end_as_the_uninterrupted_one_does(tmp_path):
    words = arguments(*IN_CORRIDOR, updates=UPDATES, checkpoint_every=1)
    config = dataclasses.replace(TINY, total_steps=UPDATES * 64, checkpoint_every=1)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = launch(*words, "--run-dir", str(broken))
    rng = random.Random(0)
    kills, in_writing = 0, 0
    for number in range(KILLS):
        if kill_at_some_moment(process, broken, number, rng):
            kills += 1
            in_writing += is_writing_a_checkpoint(broken)
            if (broken / "policy.npz").exists():
                read_policy(broken)  # whole at any moment
        process = launch("--resume", str(broken))
    finish(process)
    assert run.start(config, whole) == 0
    print(f"{kills} kills, {in_writing} of them while a checkpoint was being written")
    assert kills == KILLS
    assert without_clock(read_metrics(broken)) == without_clock(read_metrics(whole))
    assert [int(row["update"]) for row in read_metrics(broken)] == list(range(1, UPDATES + 1))
    assert_same_policy(whole, broken)
    # What is kept, the best among it, is as if nothing had happened.
    kept = sorted(path.name for path in (broken / "checkpoints").iterdir())
    assert kept == sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert len(kept) <= 3
