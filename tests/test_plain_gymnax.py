"""gymnax's own environments: they train, resume and load, and have no looks or events."""

from __future__ import annotations

import pytest

from coinrun_jax.registry import find_testbed
from tests.refusals import refusal
from tests.runs import assert_same_policy, read_metrics, without_clock
from train.__main__ import main
from train.logging.metrics_csv import CsvLogger
from train.policy import load_policy

SMALL = (
    *("--ppo.num-envs", "16", "--ppo.num-steps", "32", "--ppo.num-minibatches", "2"),
    *("--network.width", "32", "--ppo.learning-rate", "5e-3", "--ppo.gamma", "0.99"),
    *("--checkpoint-every", "2"),
)
BATCH = 16 * 32


def words(env_id, updates, folder):
    steps = str(updates * BATCH)
    return ["--env.id", env_id, *SMALL, "--total-steps", steps, "--run-dir", str(folder)]


def test_cart_pole_learns_and_resumes(tmp_path, monkeypatch):
    class Interrupted(Exception):
        pass

    updates, log = 24, CsvLogger.log

    def log_then_fail(self, row):
        log(self, row)
        if row["update"] == 3:
            raise Interrupted

    monkeypatch.setattr(CsvLogger, "log", log_then_fail)
    with pytest.raises(Interrupted):
        main(words("CartPole-v1", updates, tmp_path / "resumed"))
    monkeypatch.undo()
    assert main(["--resume", str(tmp_path / "resumed")]) == 0
    assert main(words("CartPole-v1", updates, tmp_path / "whole")) == 0
    rows = read_metrics(tmp_path / "whole")
    assert without_clock(rows) == without_clock(read_metrics(tmp_path / "resumed"))
    assert_same_policy(tmp_path / "whole", tmp_path / "resumed")
    assert [int(row["update"]) for row in rows] == list(range(1, updates + 1))
    assert [name for name in rows[0] if name.startswith(("rate_", "eval_"))] == [
        "rate_terminated",
        "rate_timeout",
    ]
    ended = [float(row["return"]) for row in rows if row["return"]]
    assert ended[-1] > 2 * ended[0]
    policy = load_policy(tmp_path / "whole")
    env = find_testbed("CartPole-v1").make_env(policy.env_config)
    assert policy.env_config.id == "CartPole-v1"
    assert policy.params["params"]["Dense_0"]["kernel"].shape == (
        *env.observation_space(None).shape,
        32,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "env_id", [pytest.param("Catch-bsuite", marks=pytest.mark.thorough), "Breakout-MinAtar"]
)
def test_boards_of_gymnax_train(tmp_path, env_id):
    assert main(words(env_id, 2, tmp_path / "run")) == 0
    rows = read_metrics(tmp_path / "run")
    assert sum(int(row["episodes"]) for row in rows) > 0
    assert load_policy(tmp_path / "run").update == 2


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--env.id", "Pendulum-v1"], "continuous actions"),
        (["--env.id", "CartPole-v1", "--eval-every", "1"], "no conditions to look at"),
        (["--env.id", "CartPole-v1", "--env.mode", "hard"], "--env.mode"),
        (["--env.id", "CartPole-v1", "--network.kind", "impala"], "impala"),
        (["--env.id", "CartPole-v7"], "'CartPole-v7' is not one of"),
    ],
)
def test_what_does_not_suit_them_is_refused(tmp_path, capsys, more, named):
    assert named in refusal(main, [*more, "--run-dir", str(tmp_path / "run")], capsys)
    assert not list(tmp_path.iterdir())
