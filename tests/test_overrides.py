"""Settings on the command line: what they may look like, and what is said of the others."""

from __future__ import annotations

import pytest

from coinrun_jax.checks import InputError
from coinrun_jax.coinrun.env_config import CoinRunConfig
from train.config import TrainConfig
from train.overrides import configure, override


def test_settings_of_sections_flags_and_lists() -> None:
    words = ["--seed", "3", "--ppo.learning-rate=1e-3", "--ppo.num_envs", "512"]
    words += ["--env.cues.mirrored", "--ppo.no-normalize-reward", "--wandb.group", "None"]
    words += ["--env.placement-fraction", "0.5", "1", "--seed=4"]
    config = override(TrainConfig(), words)
    assert config.seed == 4  # the last one counts
    assert (config.ppo.learning_rate, config.ppo.num_envs) == (1e-3, 512)
    assert not config.ppo.normalize_reward
    assert config.wandb.group is None
    assert isinstance(config.env, CoinRunConfig)
    assert config.env.cues.mirrored
    assert config.env.placement_fraction == (0.5, 1.0)


def test_another_environment_has_its_own_settings() -> None:
    before = override(TrainConfig(), ["--env.num-levels", "7", "--env.id", "CoinRun-v1"])
    assert before.env.num_levels == 7
    after = override(before, ["--env.pool-size", "9", "--env.id", "ExitMaze-v1"])
    assert (after.env.id, after.env.pool_size, after.env.num_levels) == ("ExitMaze-v1", 9, 0)


def test_a_file_may_need_a_plugin_of_the_command_line(tmp_path) -> None:
    path = tmp_path / "corridor.yaml"
    path.write_text("env: {id: Corridor-v0, num_levels: 5}")
    config = configure(path, ["--plugins", "tests.tiny_testbed", "--seed", "1"])
    assert (config.env.id, config.env.num_levels, config.seed) == ("Corridor-v0", 5, 1)
    assert config.plugins == ("tests.tiny_testbed",)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--num-envs", "3"], "unknown setting --num-envs; did you mean --ppo.num-envs"),
        (["--ppo.gama", "1"], "did you mean --ppo.gamma"),
        (["--env.no-mode"], "unknown setting --env.no-mode; did you mean --env.mode"),
        (["--xyzzy", "1"], "unknown setting --xyzzy"),
        (["--x" * 1000], "unknown setting"),
        (["--ppo", "3"], "unknown setting --ppo"),
        (["3"], "'3' follows no --setting"),
        (["--seed"], "--seed takes one value, not 0"),
        (["--seed", "1", "2"], "--seed takes one value, not 2"),
        (["--ppo.no-normalize-reward", "yes"], "--ppo.no-normalize-reward takes no value"),
        (["--ppo.anneal-entropy=maybe"], "ppo.anneal_entropy 'maybe' is not true or false"),
        (["--seed", "many"], "seed 'many' is not a whole number"),
        (["--env.placement-fraction", "1"], "env.placement_fraction ['1'] is not a list of 2"),
        (["--env.id", "Maze-v9"], "env.id 'Maze-v9' is not one of"),
        (["--env.id", "ExitMaze-v1", "--env.placement", "end"], "unknown setting --env.placement"),
        (["--plugins", "no.such"], "plugin no.such cannot be imported"),
    ],
)
def test_what_cannot_be_set_is_one_line(words, said) -> None:
    with pytest.raises(InputError) as error:
        override(TrainConfig(), words)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_help_shows_the_settings_of_the_environment(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        override(TrainConfig(), ["--env.id", "ExitMaze-v1", "--help"], about="About.")
    assert not stop.value.code
    shown = capsys.readouterr().out
    assert "About." in shown
    assert "--env.size" in shown
    assert "--env.mode" not in shown
