"""Settings: what is written is what is read, and what cannot be used is said in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from coinrun_jax.checks import InputError
from coinrun_jax.coinrun.env_config import CoinRunConfig
from train.__main__ import main
from train.config import PPOConfig, TrainConfig, load_config, save_config
from train.overrides import override

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


def test_saved_config_reads_back_equal(tmp_path):
    config = TrainConfig(ppo=PPOConfig(num_envs=8, learning_rate=1e-5), seed=7)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_usable(path):
    assert load_config(path) != TrainConfig()


def test_yaml_scientific_notation_without_a_point_is_a_number(tmp_path):
    (tmp_path / "c.yaml").write_text("ppo: {learning_rate: 5e-4}")
    assert load_config(tmp_path / "c.yaml").ppo.learning_rate == 5e-4


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("pppo: {}", "pppo"),
        ("ppo: {learning_rat: 1}", "ppo.learning_rat"),
        ("ppo: 3", "ppo"),
        ("env: {num_levels: -1}", "env.num_levels"),
        ("env: {num_levels: many}", "env.num_levels"),
        ("env: {mode: medium}", "hard, easy"),
        ("env: {placement_probability: 1.01}", "outside [0, 1]"),
        ("ppo: {num_envs: 3, num_steps: 5, num_minibatches: 2}", "ppo.num_minibatches"),
        ("ppo: {num_steps: 6, num_minibatches: 4, shuffle: steps}", "ppo.shuffle"),
        ("ppo: {anneal_learning_rate: 1}", "ppo.anneal_learning_rate"),
        ("ppo: {learning_rate: .inf}", "ppo.learning_rate inf"),
        ("ppo: {entropy_coefficient: .nan}", "ppo.entropy_coefficient nan"),
        ("ppo: {value_coefficient: -1}", "ppo.value_coefficient -1"),
        ("total_steps: 0", "total_steps"),
        ("{unclosed", "not YAML"),
    ],
)
def test_unusable_settings_are_named(tmp_path, text, named):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        load_config(tmp_path / "c.yaml")
    assert named in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--config", "missing.yaml", "--run-dir", "new"], "missing.yaml"),
        (["--env.placement", "nowhere", "--run-dir", "new"], "nowhere"),
        (["--env.placement-probability", "2", "--run-dir", "new"], "placement_probability"),
        (["--env.num-levels", "-1", "--run-dir", "new"], "num_levels"),
        (["--env.start-level", "2147483647", "--env.num-levels", "1", "--run-dir", "new"], "held"),
        (["--env.start-level", "2146483648", "--run-dir", "new"], "held"),
        (["--num-processes", "two", "--run-dir", "new"], "two"),
        (["--network.kind", "impala", "--run-dir", "new"], "impala"),
        (["--ppo.nonsense", "3", "--run-dir", "new"], "--ppo.nonsense"),
        (["--env.mode", "medium", "--run-dir", "new"], "medium"),
        ([], "--run-dir"),
        (["--run-dir", "full"], "full"),
        (["--resume", "full"], "full"),
        (["--resume", "full", "--seed", "3"], "--resume"),
    ],
)
def test_bad_input_is_one_line_and_exit_2_and_leaves_nothing(
    tmp_path, monkeypatch, capsys, arguments, named
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    assert main(arguments) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ")
    assert complaint.count("\n") == 1
    assert named in complaint
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "thesis.txt"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"placement": "end"}, 0.0),
        ({"placement": "uniform", "placement_probability": 0.03}, 0.03),
        ({"placement": "end:3,uniform:1", "placement_probability": 0.5}, 0.125),
        ({"placement": "fixed"}, 1.0),
    ],
)
def test_how_often_the_coin_is_moved(settings, expected):
    assert CoinRunConfig(**settings).p_apart == pytest.approx(expected)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"seed: 2026-13-45"])
def test_what_is_no_text_is_no_yaml(tmp_path, content):
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"not YAML|not UTF-8"):
        load_config(tmp_path / "c.yaml")


def test_every_setting_has_a_default():
    assert dataclasses.asdict(TrainConfig())["env"]["placement"] == "end"


def test_lists_are_taken_from_a_sweep_as_it_gives_them() -> None:
    settings = ["--env.placement=fraction", "--env.placement_fraction=[0.8, 1.0]"]
    assert override(TrainConfig(), settings).env.placement_fraction == (0.8, 1.0)
    for yes, no in (("True", "False"), ("true", "false")):
        on = override(TrainConfig(), [f"--env.cues.mirrored={yes}"])
        off = override(TrainConfig(), [f"--ppo.normalize_advantage={no}"])
        assert on.env.cues.mirrored
        assert not off.ppo.normalize_advantage
    hidden = override(TrainConfig(), ["--env.cues.hide=['saw', 'coin']"])
    assert hidden.env.cues.hide == ("saw", "coin")
