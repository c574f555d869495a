"""Probes find the coin in networks that know it, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import Action, CoinRun
from coinrun_jax.coinrun.observations.symbolic import PLANES, VIEW, split
from eval.catalogue import SUITES
from eval.evaluate import Protocol
from eval.probes import intervals, probe
from eval.probes.intervals import LEAST_LEVELS, Clusters
from eval.probes.linear import Samples, ridge, score
from eval.probes.reading import untrained
from train.config import EnvConfig, NetworkConfig, TrainConfig
from train.networks import Output
from train.policy import Policy
from train.variants import CuesConfig

CONFIG = TrainConfig(network=NetworkConfig(width=16))
PROTOCOL = Protocol(SUITES["relocation"], num_levels=48)
PIXELS = replace(PROTOCOL, num_levels=24)
COIN_VALUE = 3.0


def network(weights: jax.Array, observations: jax.Array) -> Output:
    """Goes for the coin where it sees one, and expects more there; sees it if `weights` is 1."""
    planes, _ = split(observations)
    coin = weights * planes[:, :, PLANES.index("coin")].sum(-1)  # by column
    ground = planes[:, :, PLANES.index("solid")].sum(-1)
    left, right = coin[:, : VIEW // 2].sum(-1), coin[:, VIEW // 2 + 1 :].sum(-1)
    logits = jnp.zeros((len(coin), 15)).at[:, Action.RIGHT_UP].set(10.0)
    logits = logits.at[:, Action.LEFT_UP].add(30.0 * left)
    features = jnp.stack([left - right, coin.sum(-1)], 1)
    value = ground.mean(-1) / VIEW + COIN_VALUE * coin.sum(-1)
    return Output(logits, value, jnp.concatenate([features, ground], 1))


def policy(sees_coin: bool, config: TrainConfig = CONFIG) -> Policy:
    return Policy(config=config, params=jnp.float32(sees_coin), network=network, update=0)


@pytest.fixture(scope="module")
def of_lover() -> dict[str, Any]:
    return probe(policy(sees_coin=True), PROTOCOL)


@pytest.fixture(scope="module")
def of_blind() -> dict[str, Any]:
    return probe(policy(sees_coin=False), PROTOCOL)


def test_answers_are_json_without_nan(of_lover: dict[str, Any], of_blind: dict[str, Any]) -> None:
    for found in (of_lover, of_blind):
        assert set(found) == {"value_by_position", "value_gap", "linear", "forks"}
        json.dumps(found, allow_nan=False)


def test_values_rise_by_what_the_coin_is_worth(of_lover: dict[str, Any]) -> None:
    gap = of_lover["value_gap"]
    assert gap["estimate"] == pytest.approx(COIN_VALUE, abs=1e-4)
    by_position = of_lover["value_by_position"]
    assert by_position["share"] == pytest.approx(np.arange(0.05, 1, 0.1))
    known = 0
    for seen, away in zip(by_position["coin_seen"], by_position["coin_away"], strict=True):
        assert (seen is None) == (away is None)
        if seen is not None:
            assert seen["estimate"] - away["estimate"] == pytest.approx(COIN_VALUE, abs=1e-4)
            assert seen["low"] <= seen["estimate"] <= seen["high"]
            known += 1
    assert known >= 5


def test_who_does_not_see_the_coin_values_it_at_nothing(of_blind: dict[str, Any]) -> None:
    assert of_blind["value_gap"] == {"estimate": 0.0, "low": 0.0, "high": 0.0}
    by_position = of_blind["value_by_position"]
    assert by_position["coin_seen"] == by_position["coin_away"]


def test_the_coin_is_read_from_features_that_hold_it(of_lover: dict[str, Any]) -> None:
    assert [row["target"] for row in of_lover["linear"]] == ["coin in view", "coin to the right"]
    for row in of_lover["linear"]:
        assert row["measure"] == "auc"
        assert row["samples"] > 100
        assert row["score"]["low"] > 0.99
        assert row["shuffled"]["estimate"] == pytest.approx(0.5, abs=0.1)  # of so few states
        assert row["untrained"]["estimate"] < 0.9


def test_features_without_the_coin_score_half(of_blind: dict[str, Any]) -> None:
    for row in of_blind["linear"]:
        assert row["score"] == {"estimate": 0.5, "low": 0.5, "high": 0.5}
        assert row["shuffled"]["low"] < 0.5 < row["shuffled"]["high"]


def test_at_forks_a_coin_lover_turns_to_the_coin(of_lover: dict[str, Any]) -> None:
    forks = of_lover["forks"]
    assert forks["states"] > 100
    assert forks["towards_coin"]["low"] > 0.99
    assert forks["towards_coin_without"]["high"] < 0.01
    assert forks["shift"]["low"] > 0.99


def test_at_forks_the_blind_do_not_shift(of_blind: dict[str, Any]) -> None:
    forks = of_blind["forks"]
    assert 0 < forks["towards_coin"]["estimate"] < 0.5
    assert forks["towards_coin"] == forks["towards_coin_without"]
    assert forks["shift"] == {"estimate": 0.0, "low": 0.0, "high": 0.0}


def test_in_a_mirror_left_is_right() -> None:
    """Pressing right leads to the left, where the coin is, whether or not it is seen."""
    config = replace(CONFIG, env=EnvConfig(cues=CuesConfig(mirrored=True)))
    forks = probe(policy(sees_coin=False, config=config), PROTOCOL)["forks"]
    assert forks["towards_coin"]["low"] > 0.99
    assert forks["shift"]["estimate"] == 0


def test_of_too_few_levels_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "LEAST_LEVELS", PROTOCOL.num_levels + 1)
    found = probe(policy(sees_coin=False), PROTOCOL)
    assert found["value_gap"] is None
    assert found["value_by_position"]["coin_seen"] == [None] * 10
    assert found["forks"]["shift"] is None
    assert all(row["score"] is None and row["untrained"] is None for row in found["linear"])


@pytest.mark.thorough
def test_pixels_are_probed_alike() -> None:
    """A fresh network knows as much as its control."""
    config = TrainConfig(
        env=EnvConfig(observation="rgb"), network=NetworkConfig(kind="impala", width=2)
    )
    agent = Policy(config, None, lambda *_: None, 0)  # type: ignore[arg-type,return-value]
    fresh = untrained(agent, CoinRun(observation="rgb", num_levels=1), jax.random.key(1))
    found = probe(replace(agent, params=fresh.weights, network=fresh.network), PIXELS)
    json.dumps(found, allow_nan=False)
    in_view = found["linear"][0]
    assert in_view["score"]["high"] > in_view["untrained"]["low"]
    assert in_view["untrained"]["high"] > in_view["score"]["low"]
    assert found["value_gap"] is not None
    assert found["forks"]["states"] > 0


def test_an_auc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    level = np.repeat(np.arange(20), 5)
    scores, labels = rng.integers(4, size=100).astype(float), rng.random(100) < 0.3
    above = scores[labels][:, None] > scores[~labels]
    ties = scores[labels][:, None] == scores[~labels]
    found = Clusters(level, 0).auc(scores, labels)
    assert found is not None
    assert found.estimate == pytest.approx((above + ties / 2).mean())
    assert found.low < found.estimate < found.high


def test_states_of_one_level_count_as_one() -> None:
    """The interval of a mean is as wide as that of the levels' means, not of their copies."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=200)
    once = Clusters(np.arange(200), 0).mean(values)
    often = Clusters(np.repeat(np.arange(200), 9), 0).mean(np.repeat(values, 9))
    assert once is not None
    assert often is not None
    assert [often.low, often.high] == pytest.approx([once.low, once.high])
    assert once.high - once.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.15)
    assert Clusters(np.repeat(np.arange(LEAST_LEVELS - 1), 50), 0).mean(np.ones(450)) is None


def test_ridge_finds_the_weights_and_shrinks_what_is_noise() -> None:
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(500, 20))
    weights = rng.normal(size=20)
    np.testing.assert_allclose(ridge(inputs, inputs @ weights), weights, atol=0.02)
    assert np.abs(ridge(inputs, rng.normal(size=500))).max() < 0.1


def test_a_probe_is_tested_on_other_levels() -> None:
    """Features that name the level of a state do not help."""
    rng = np.random.default_rng(3)
    level = np.repeat(np.arange(40), 10)
    labels = rng.random(40)[level] < 0.5
    features = np.eye(40)[level]
    found = score(Samples(features, labels, level), 0)
    assert found is not None
    assert found.estimate == pytest.approx(0.5)
