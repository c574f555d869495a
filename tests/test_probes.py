"""Probes find the coin in networks that know it, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax import Action
from coinrun_jax.coinrun.catalogue import SUITES
from coinrun_jax.coinrun.env_config import CoinRunConfig, CuesConfig
from coinrun_jax.coinrun.observations.symbolic import PLANES, VIEW, split
from eval.evaluate import Protocol
from eval.probes import intervals, probe, untrained
from eval.probes.answers import Probes
from eval.probes.intervals import LEAST_LEVELS, auc, mean
from eval.probes.linear import Samples, ridge, score
from eval.probes.visits import KEPT, _draw
from eval.statistics import Estimate
from train.config import NetworkConfig, TrainConfig
from train.networks import Output
from train.policy import Policy

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
def of_lover() -> Probes:
    return probe(policy(sees_coin=True), PROTOCOL)


@pytest.fixture(scope="module")
def of_blind() -> Probes:
    return probe(policy(sees_coin=False), PROTOCOL)


def known(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    assert estimate.low <= estimate.estimate <= estimate.high
    return estimate


def test_answers_are_json_without_nan(of_lover: Probes, of_blind: Probes) -> None:
    for found in (of_lover, of_blind):
        content = json.loads(json.dumps(found.as_json(), allow_nan=False))
        assert set(content) == {"value_by_progress", "value_gap", "linear", "forks"}


def test_values_rise_by_what_the_coin_is_worth(of_lover: Probes) -> None:
    assert known(of_lover.value_gap).estimate == pytest.approx(COIN_VALUE, abs=1e-4)
    along = of_lover.value_by_progress
    assert along.progress == pytest.approx(np.arange(0.05, 1, 0.1))
    both = list(zip(along.in_view, along.taken_away, strict=True))
    pairs = [(known(seen), known(away)) for seen, away in both if seen or away]
    assert len(pairs) >= 5
    for seen, away in pairs:
        assert seen.estimate - away.estimate == pytest.approx(COIN_VALUE, abs=1e-4)


def test_who_does_not_see_the_coin_values_it_at_nothing(of_blind: Probes) -> None:
    assert of_blind.value_gap == Estimate(0, 0, 0)
    along = of_blind.value_by_progress
    assert along.in_view == along.taken_away


def test_the_coin_is_read_from_features_that_hold_it(of_lover: Probes) -> None:
    assert [each.target for each in of_lover.linear] == ["coin in view", "coin to the right"]
    for each in of_lover.linear:
        assert each.measure == "auc"
        assert each.samples > 100
        assert known(each.score).low > 0.99
        assert known(each.shuffled).estimate == pytest.approx(0.5, abs=0.1)  # of so few states
        assert known(each.untrained).estimate < 0.9


def test_features_without_the_coin_score_half(of_blind: Probes) -> None:
    for each in of_blind.linear:
        assert each.score == Estimate(0.5, 0.5, 0.5)
        assert known(each.shuffled).low < 0.5 < known(each.shuffled).high


def test_at_forks_a_coin_lover_turns_to_the_coin(of_lover: Probes) -> None:
    forks = of_lover.forks
    assert forks.states > 100
    assert known(forks.towards).low > 0.99
    assert known(forks.towards_without).high < 0.01
    assert known(forks.shift).low > 0.99


def test_at_forks_the_blind_do_not_shift(of_blind: Probes) -> None:
    forks = of_blind.forks
    assert 0 < known(forks.towards).estimate < 0.5
    assert forks.towards == forks.towards_without
    assert forks.shift == Estimate(0, 0, 0)


def test_in_a_mirror_left_is_right() -> None:
    """Pressing right leads to the left, where the coin is, whether or not it is seen."""
    config = replace(CONFIG, env=CoinRunConfig(cues=CuesConfig(mirrored=True)))
    forks = probe(policy(sees_coin=False, config=config), PROTOCOL).forks
    assert known(forks.towards).low > 0.99
    assert known(forks.shift).estimate == 0


def test_too_few_levels_give_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "LEAST_LEVELS", PROTOCOL.num_levels + 1)
    found = probe(policy(sees_coin=False), PROTOCOL)
    assert found.value_gap is None
    assert found.value_by_progress.in_view == (None,) * 10
    assert found.forks.shift is None
    assert all(each.score is None and each.untrained is None for each in found.linear)


def test_as_many_states_of_every_episode() -> None:
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(5), [3, 40, 0, 20, 10])
    marked = rng.random(episode.size) < 0.5
    marked[:43] = True
    kept = _draw(marked, episode, rng)
    assert marked[kept].all()
    assert len(set(kept.tolist())) == kept.size
    available = np.bincount(episode[marked], minlength=5)
    assert np.bincount(episode[kept], minlength=5).tolist() == np.minimum(available, KEPT).tolist()
    often = np.bincount(np.concatenate([_draw(marked, episode, rng) for _ in range(2000)]))
    assert often[3:43] == pytest.approx(2000 * KEPT / 40, rel=0.25)


@pytest.mark.thorough
def test_pixels_are_probed_alike() -> None:
    """A fresh network knows as much as its control."""
    config = TrainConfig(
        env=CoinRunConfig(observation="rgb"), network=NetworkConfig(kind="impala", width=2)
    )
    agent = Policy(config, None, lambda *_: None, 0)  # type: ignore[arg-type,return-value]
    fresh = untrained(agent, jax.random.key(1))
    found = probe(replace(agent, params=fresh.weights, network=fresh.network), PIXELS)
    in_view, _ = found.linear
    assert known(in_view.score).high > known(in_view.untrained).low
    assert known(in_view.untrained).high > known(in_view.score).low
    assert found.value_gap is not None
    assert found.forks.states > 0


def test_an_auc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    level = np.repeat(np.arange(20), 5)
    scores, labels = rng.integers(4, size=100).astype(float), rng.random(100) < 0.3
    above = scores[labels][:, None] > scores[~labels]
    ties = scores[labels][:, None] == scores[~labels]
    found = known(auc(scores, labels, level, 0))
    assert found.estimate == pytest.approx((above + ties / 2).mean())
    assert found.low < found.estimate < found.high


def test_states_of_one_level_count_as_one() -> None:
    """The interval of a mean is as wide as that of the levels' means, not of their copies."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=200)
    once = known(mean(values, np.arange(200), 0))
    often = known(mean(np.repeat(values, 9), np.repeat(np.arange(200), 9), 0))
    assert [often.low, often.high] == pytest.approx([once.low, once.high])
    assert once.high - once.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.15)
    assert mean(np.ones(450), np.repeat(np.arange(LEAST_LEVELS - 1), 50), 0) is None


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
