"""The learner against slow and plain versions of itself."""

from __future__ import annotations

import dataclasses
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments.environment import Environment

from tests.runs import TINY
from train.config import NetworkConfig, PPOConfig
from train.networks import Output, make_network
from train.ppo import (
    Batch,
    Learner,
    ReturnScale,
    _take_rows,
    _take_steps,
    advantages,
    ppo_loss,
    scale_rewards,
)
from train.program import make_learner
from train.rollout import Transition

SMALL = dataclasses.replace(TINY, total_steps=10 * 64)


def random_transitions(steps, envs, seed=0):
    rng = np.random.default_rng(seed)
    ends = rng.random((steps, envs))
    truncated = (ends >= 0.1) & (ends < 0.2)
    return Transition(
        observation=None,
        action=None,
        log_prob=None,
        value=rng.normal(size=(steps, envs)).astype(np.float32),
        reward=rng.normal(size=(steps, envs)).astype(np.float32),
        terminated=ends < 0.1,
        truncated=truncated,
        final_value=np.where(truncated, rng.normal(size=(steps, envs)), 0).astype(np.float32),
    )


def test_advantages_sum_discounted_errors_within_each_episode():
    gamma, lam, steps, envs = 0.97, 0.9, 40, 6
    t = random_transitions(steps, envs)
    last = np.random.default_rng(1).normal(size=envs).astype(np.float32)
    expected = np.zeros((steps, envs))
    for n in range(envs):
        for start in range(steps):
            weight = 1.0
            for step in range(start, steps):
                following = t.value[step + 1, n] if step + 1 < steps else last[n]
                if t.terminated[step, n]:
                    following = 0.0
                elif t.truncated[step, n]:
                    following = t.final_value[step, n]
                error = t.reward[step, n] + gamma * following - t.value[step, n]
                expected[start, n] += weight * error
                weight *= gamma * lam
                if t.terminated[step, n] or t.truncated[step, n]:
                    break
    actual = advantages(jax.tree.map(jnp.asarray, t), jnp.asarray(last), gamma, lam)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_rewards_are_scaled_by_the_deviation_of_all_returns_so_far():
    gamma, envs = 0.9, 5
    rng = np.random.default_rng(0)
    scale = ReturnScale(jnp.zeros(envs), jnp.float32(0), jnp.float32(1), jnp.float32(1e-4))
    running, returns = np.zeros(envs), []
    for _ in range(3):
        reward, done = rng.normal(3, 2, (7, envs)), rng.random((7, envs)) < 0.2
        scale, scaled = scale_rewards(
            scale, jnp.asarray(reward, jnp.float32), jnp.asarray(done), gamma
        )
        for r, d in zip(reward, done, strict=True):
            running = running * gamma + r
            returns.append(running)
            running = np.where(d, 0, running)
        np.testing.assert_allclose(scaled, reward / np.std(returns), rtol=1e-3)


LOSS = PPOConfig(clip=0.2, value_coefficient=0.7)
ENTROPY = 0.03


def random_batch(size=200, observations=10, actions=5, seed=0):
    """Logits and values by observation, and a batch whose policy and values were others."""
    rng = np.random.default_rng(seed)
    params = {
        "logits": rng.normal(size=(observations, actions)),
        "value": rng.normal(size=observations),
    }
    observation, action = rng.integers(observations, size=size), rng.integers(actions, size=size)
    logits = params["logits"] + rng.normal(0, 0.4, (observations, actions))
    log_prob = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    value = params["value"][observation] + rng.normal(0, 0.3, size)
    advantage, target = rng.normal(size=(2, size))
    old = log_prob[observation, action]
    return params, Batch(observation, action, old, value, advantage, target)


def plain_loss(params, batch, config, entropy_coefficient):
    """Loss, metrics, and what was clipped, one sample at a time."""
    sums, clipped = dict.fromkeys(("policy_loss", "value_loss", "entropy", "kl"), 0.0), []
    for observation, action, log_prob, value, advantage, target in zip(*batch, strict=True):
        weights = np.exp(params["logits"][observation])
        probabilities = weights / weights.sum()
        ratio = probabilities[action] / np.exp(log_prob)
        low, high = 1 - config.clip, 1 + config.clip
        # No further in the direction that pays.
        gain = min(ratio, high) if advantage > 0 else max(ratio, low)
        sums["policy_loss"] -= gain * advantage
        now = params["value"][observation]
        near = min(max(now, value - config.clip), value + config.clip)
        worse = max((now - target) ** 2, (near - target) ** 2)
        sums["value_loss"] += worse / 2
        sums["entropy"] -= sum(p * np.log(p) for p in probabilities)
        sums["kl"] += ratio - 1 - np.log(ratio)
        side = int(ratio > high) - int(ratio < low)
        value_side = np.sign(now - near) if worse == (near - target) ** 2 else 0
        clipped.append((side, advantage > 0, value_side))
    means = {name: total / len(batch.action) for name, total in sums.items()}
    means["clip_fraction"] = np.mean([side != 0 for side, _, _ in clipped])
    loss = means["policy_loss"] + config.value_coefficient * means["value_loss"]
    return loss - entropy_coefficient * means["entropy"], means, clipped


def test_the_loss_and_its_gradient_are_those_of_a_plain_one():
    params, batch = random_batch()
    expected, expected_means, clipped = plain_loss(params, batch, LOSS, ENTROPY)
    sides = {(side, is_good) for side, is_good, _ in clipped}
    assert sides == {(side, is_good) for side in (-1, 0, 1) for is_good in (False, True)}
    assert {value_side for _, _, value_side in clipped} == {-1, 0, 1}

    def apply(params, observation):
        return Output(params["logits"][observation], params["value"][observation], None)

    given = jax.tree.map(jnp.asarray, (params, batch))
    loss = jax.jit(jax.value_and_grad(ppo_loss, has_aux=True), static_argnums=(1, 3))
    (actual, means), gradient = loss(given[0], apply, given[1], LOSS, ENTROPY)
    assert actual == pytest.approx(expected, rel=1e-5)
    assert means == pytest.approx(expected_means, rel=1e-4)

    step = 1e-6
    for name, leaf in params.items():
        for place in np.ndindex(leaf.shape):
            change = np.zeros_like(leaf)
            change[place] = step
            up, down = (
                plain_loss({**params, name: leaf + sign * change}, batch, LOSS, ENTROPY)[0]
                for sign in (1, -1)
            )
            slope = (up - down) / (2 * step)
            assert gradient[name][place] == pytest.approx(slope, rel=1e-3, abs=1e-6)


class Shown(Environment):
    """Pays for the action that the observation shows; another one is shown in every step."""

    events, outcomes = (), ("none", "timeout")
    num_actions = 8

    @struct.dataclass
    class State:
        time: jax.Array
        shown: jax.Array
        episode_return: jax.Array

    @struct.dataclass
    class Params:
        max_steps_in_episode: int = 4

    def reset_env(self, key, params):
        shown = jax.random.randint(key, (), 0, self.num_actions)
        state = self.State(jnp.int32(0), shown, jnp.float32(0))
        return self.observe(key, state, None, params), state

    def step_env(self, key, state, action, params):
        reward = (action == state.shown).astype(jnp.float32)
        shown = jax.random.randint(key, (), 0, self.num_actions)
        state = self.State(state.time + 1, shown, state.episode_return + reward)
        info = {
            "final_state": state,
            "episode_length": state.time,
            "episode_return": state.episode_return,
            "outcome": self.is_truncated(state, params).astype(jnp.int32),
            "events": jnp.zeros(0, jnp.int32),
        }
        return self.observe(key, state, action, params), state, reward, jnp.bool_(False), info

    def observe(self, key, state, action, params):
        return jax.nn.one_hot(state.shown, self.num_actions)


@pytest.fixture(scope="module")
def shown():
    network = make_network(NetworkConfig(width=32), (Shown.num_actions,), Shown.num_actions)
    config = PPOConfig(num_envs=16, num_steps=16, num_minibatches=4, learning_rate=5e-3, gamma=0.5)
    return Learner(Shown(), Shown.Params(), network, config, num_updates=20)


def test_every_seed_learns_to_do_what_it_is_shown(shown):
    learner, actions = shown, Shown.num_actions
    state = jax.jit(jax.vmap(learner.init))(jax.random.split(jax.random.key(0), 3))
    update = jax.jit(jax.vmap(partial(learner.update, seeds="seeds"), axis_name="seeds"))
    for _ in range(20):
        state, metrics = update(state)
    logits = jax.vmap(learner.network.apply, in_axes=(0, None))(
        state.params, jnp.eye(actions)
    ).logits
    accuracy = (logits.argmax(-1) == jnp.arange(actions)).mean(-1)
    assert (accuracy > 0.95).all()
    assert (metrics.episodes.reward > 3.5 * metrics.episodes.episodes).all()  # of 4 steps


@pytest.fixture(scope="module")
def learner():
    learner = make_learner(SMALL)
    short = learner.env_params.replace(max_steps_in_episode=6)  # time-outs too
    learner.env_params = short
    return learner


@pytest.fixture(scope="module")
def init(learner):
    return jax.jit(learner.init)


@pytest.fixture(scope="module")
def update(learner):
    return jax.jit(learner.update)


def test_update_is_deterministic(init, update):
    state = init(jax.random.key(0))
    once, metrics = update(state)
    again, _ = update(state)
    for a, b in zip(jax.tree.leaves(once.params), jax.tree.leaves(again.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(metrics))


def test_seeds_side_by_side_value_time_outs_only_where_there_are_some(shown):
    """Under a plain `vmap` a branch becomes a choice between two results, both computed."""
    states = jax.eval_shape(jax.vmap(shown.init), jax.random.split(jax.random.key(3), 2))

    def branches(update):
        return str(jax.make_jaxpr(update)(states)).count("cond[")

    together = jax.vmap(partial(shown.update, seeds="seeds"), axis_name="seeds")
    assert branches(together) == branches(jax.vmap(shown.update)) + 1


@pytest.mark.thorough
def test_vmapped_seeds_equal_single_runs(learner, init, update):
    keys = jax.random.split(jax.random.key(3), 2)
    together = jax.vmap(learner.init)(keys)
    side_by_side = jax.vmap(partial(learner.update, seeds="seeds"), axis_name="seeds")
    together, _ = jax.jit(side_by_side)(together)
    for index in range(2):
        alone, _ = update(init(keys[index]))
        for a, b in zip(
            jax.tree.leaves(together.params), jax.tree.leaves(alone.params), strict=True
        ):
            np.testing.assert_allclose(a[index], b, atol=1e-5)


def test_minibatches_hold_every_sample_once_whichever_way_they_are_drawn():
    steps, envs = 6, 4
    samples = jnp.arange(steps * envs).reshape(steps, envs)
    order = jax.random.permutation(jax.random.key(0), steps).reshape(3, 2)
    by_step = jnp.concatenate([_take_steps(samples, rows) for rows in order])
    assert sorted(by_step.tolist()) == list(range(steps * envs))
    order = jax.random.permutation(jax.random.key(0), steps * envs).reshape(3, -1)
    by_row = jnp.concatenate([_take_rows(samples.reshape(-1), rows) for rows in order])
    assert sorted(by_row.tolist()) == list(range(steps * envs))


def test_update_compiles_once_over_a_run(init, update):
    state = init(jax.random.key(0))
    for _ in range(3):
        state, _ = update(state)
    assert update._cache_size() == 1


def test_the_compiled_update_never_talks_to_the_host(init, update):
    state = init(jax.random.key(0))
    assert jax.tree.all(jax.tree.map(lambda leaf: isinstance(leaf, jax.Array), state))
    text = update.lower(state).compile().as_text()
    for operation in ("infeed", "outfeed", r"send(-done)?\(", r"recv(-done)?\(", "callback"):
        assert not re.search(operation, text), operation


def test_episode_sums_count_each_finished_episode_once(learner, init, update):
    state = init(jax.random.key(1))
    episodes = []
    for _ in range(6):
        state, metrics = update(state)
        episodes.append(metrics.episodes)
    counts = sum(int(e.episodes) for e in episodes)
    assert counts > 0
    assert sum(np.asarray(e.outcomes) for e in episodes).sum() == counts
    assert sum(int(e.outcomes[0]) for e in episodes) == 0  # "none" is not an end
    door, timeout = (learner.env.outcomes.index(name) for name in ("door", "timeout"))
    assert sum(int(e.outcomes[timeout]) for e in episodes) > 0
    assert sum(float(e.reward) for e in episodes) == sum(int(e.outcomes[door]) for e in episodes)
    running = int(state.env_state.time.sum())
    assert sum(int(e.length) for e in episodes) + running == 6 * SMALL.ppo.batch_size


def test_refreshing_levels_never_changes_a_level_under_a_running_episode(learner, init):
    state = init(jax.random.key(2))
    seeds = state.env_params.pool.levels.seed[state.env_state.level_index]
    refreshed = learner.env.refresh(jax.random.key(9), state.env_state, state.env_params)
    np.testing.assert_array_equal(refreshed.pool.levels.seed[state.env_state.level_index], seeds)
    assert (refreshed.pool.levels.seed != state.env_params.pool.levels.seed).any()
    saved = learner.env.save_levels(refreshed)  # as in a checkpoint
    again = learner.env.load_levels(jax.device_get(saved), state.env_params)
    jax.tree.map(np.testing.assert_array_equal, again, refreshed)
