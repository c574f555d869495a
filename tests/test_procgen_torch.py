"""PyTorch's IMPALA weights in our network, against the network written out in NumPy; then as a
policy that is evaluated.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from coinrun_jax.checks import InputError
from coinrun_jax.coinrun.conditions import coin_condition
from coinrun_jax.controllers import AgentController
from coinrun_jax.suites import Suite
from eval.evaluate import Protocol, make_arena
from eval.results import AGENT
from tests.procgen_art import pictures_at_hand
from tests.refusals import refusal
from train import torch_impala
from train.import_torch import main as import_torch
from train.networks import TorchImpala
from train.policy import Policy, load_policy
from train.torch_impala import from_torch, to_torch

ACTIONS = 15


def random_weights(width: int = 16, num_actions: int = ACTIONS) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = torch_impala._torch_shapes(width, num_actions)
    return {
        name: random.normal(0, 0.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def conv(x: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    """torch.nn.Conv2d(3, padding=1) of images [B, C, H, W]."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    mixed = np.einsum("bchwyx,ocyx->bohw", windows, weights[f"{name}.weight"], optimize=True)
    return mixed + weights[f"{name}.bias"][:, None, None]


def pool(x: np.ndarray) -> np.ndarray:
    """torch.nn.MaxPool2d(kernel_size=3, stride=2, padding=1)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return windows[:, :, ::2, ::2].max((-1, -2))


def torch_network(
    frames: np.ndarray, weights: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Logits [B, A] and values [B], as train-procgen-pytorch computes them, in doubles."""
    x = frames.astype(np.float64).transpose(0, 3, 1, 2) / 255
    for block in (1, 2, 3):
        x = pool(conv(x, weights, f"embedder.block{block}.conv"))
        for residual in ("res1", "res2"):
            name = f"embedder.block{block}.{residual}"
            y = conv(np.maximum(x, 0), weights, f"{name}.conv1")
            x = x + conv(np.maximum(y, 0), weights, f"{name}.conv2")
    x = np.maximum(x, 0).reshape(len(x), -1)
    x = np.maximum(x @ weights["embedder.fc.weight"].T + weights["embedder.fc.bias"], 0)
    logits = x @ weights["fc_policy.weight"].T + weights["fc_policy.bias"]
    value = x @ weights["fc_value.weight"].T + weights["fc_value.bias"]
    return logits, value[:, 0]


def test_logits_are_those_of_the_torch_network() -> None:
    weights = random_weights()
    frames = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    output = jax.jit(TorchImpala(ACTIONS).apply)(from_torch(weights), frames)
    logits, value = torch_network(frames, weights)
    assert np.abs(logits).max() > 0.1
    np.testing.assert_allclose(output.logits, logits, atol=1e-5)
    np.testing.assert_allclose(output.value, value, atol=1e-5)


def test_parameters_are_those_of_the_network() -> None:
    network = TorchImpala(ACTIONS)
    frames = jax.ShapeDtypeStruct((1, 64, 64, 3), np.uint8)
    made = jax.eval_shape(network.init, jax.eval_shape(lambda: jax.random.key(0)), frames)
    loaded = from_torch(random_weights())
    assert jax.tree.map(np.shape, loaded) == jax.tree.map(lambda leaf: leaf.shape, made)


@pytest.mark.parametrize("width", [16, 32])
def test_there_and_back(width: int) -> None:
    weights = random_weights(width)
    again = to_torch(from_torch(weights))
    assert again.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("fc_value.bias"), "lack 'fc_value.bias'"),
        (lambda w: w.pop("fc_policy.bias"), "not the weights of an IMPALA network"),
        (lambda w: w.update({"gru.weight": np.zeros(3, np.float32)}), "gru.weight"),
        (lambda w: w.update({"fc_value.bias": np.zeros(2, np.float32)}), "shape"),
        (lambda w: w.update({"fc_value.bias": np.full(1, np.nan, np.float32)}), "finite"),
    ],
)
def test_other_weights_are_refused(change, message: str) -> None:
    weights = random_weights()
    change(weights)
    with pytest.raises(InputError, match=message) as caught:
        from_torch(weights)
    assert "\n" not in str(caught.value)


def save_weights(path: Path, **kwargs: int) -> str:
    np.savez(path, **random_weights(**kwargs))
    return str(path)


SUITE = Suite("two", (coin_condition("end"), coin_condition("moved", placement="random_section")))


def import_weights(tmp_path: Path) -> Policy:
    """A policy of random weights, narrower than Procgen's."""
    weights, run = (str(tmp_path / name) for name in ("weights.npz", "run"))
    save_weights(Path(weights), width=2)
    trained = ("--env.num-levels", "500", "--total-steps", "1000000")
    assert import_torch(["--weights", weights, "--out", run, *trained]) == 0
    return load_policy(run)


def test_weights_become_a_policy_that_acts_as_they_did(tmp_path: Path) -> None:
    weights = random_weights(2)
    with pictures_at_hand(tmp_path):
        policy = import_weights(tmp_path)
    assert policy.steps >= 1_000_000
    assert policy.config.env.observation == "procgen"
    again = to_torch(policy.params)
    for name, array in weights.items():
        np.testing.assert_array_equal(again[name], array)
    frames = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    output = jax.jit(policy.network)(policy.params, frames)
    logits, value = torch_network(frames, weights)
    np.testing.assert_allclose(output.logits, logits, atol=1e-5)
    np.testing.assert_allclose(output.value, value, atol=1e-5)


@pytest.mark.thorough
def test_the_policy_is_evaluated(tmp_path: Path) -> None:
    """As any other policy, in Procgen's pixels."""
    with pictures_at_hand(tmp_path):
        policy = import_weights(tmp_path)
        agent = AgentController(policy.params, policy.network)
        arena = make_arena(policy.env_config, {AGENT: agent}, Protocol(SUITE, num_levels=2))
        params = arena.params.replace(max_steps_in_episode=np.int32(20))
        record = replace(arena, params=params).play(AGENT)
    assert record.steps.shape == (2, 2, 1)
    assert ((record.steps > 0) & (record.steps <= 20)).all()
    assert (record.cause > 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--network.kind", "mlp"], "the weights determine"),
        (["--env.observation", "symbolic"], "reads images"),
        (["--env.mode", "medium"], "medium"),
        ([], "9 actions"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    settings: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = save_weights(tmp_path / "weights.npz", width=2, num_actions=9)
    settings = settings or ["--env.observation", "rgb"]
    out = tmp_path / "out"
    said = refusal(import_torch, ["--weights", weights, "--out", str(out), *settings], capsys)
    assert message in said
    assert not out.exists()


def test_files_of_other_kinds_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "model.pth"
    checkpoint.write_bytes(b"\x80\x02}q\x00.")
    out = str(tmp_path / "out")
    for weights, message in ((checkpoint, "not an .npz archive"), (tmp_path, "not a file")):
        said = refusal(import_torch, ["--weights", str(weights), "--out", out], capsys)
        assert message in said
    assert "--out DIR is missing" in refusal(import_torch, ["--weights", "w.npz"], capsys)
