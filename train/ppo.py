"""PPO: advantages, loss, and the whole update as one pure function.

Schulman et al. 2017, with the details of the Procgen baseline (Cobbe et al. 2020):
clipped values, advantages normalised per batch, rewards divided by the running standard
deviation of the discounted return. Time-outs bootstrap from the value of the final observation;
terminations do not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from train.config import PPOConfig
from train.devices.layout import ONE_SHARD, EnvShards
from train.networks import Apply, Network, Unrolled, nothing_remembered
from train.rollout import EpisodeSums, Transition, rollout


class ReturnScale(struct.PyTreeNode):
    """Running moments of the discounted return, as in OpenAI baselines' VecNormalize."""

    running: jax.Array  # float32 [N], discounted return of each environment so far
    mean: jax.Array  # float32 []
    variance: jax.Array  # float32 []
    count: jax.Array  # float32 []


class TrainState(struct.PyTreeNode):
    """Everything an update reads and writes; a run resumes exactly from a checkpoint of it."""

    params: Any
    opt_state: Any
    env_state: Any  # [N]
    env_params: Any
    observation: Any  # [N, ...]; `Remembered` for a recurrent network
    return_scale: ReturnScale
    key: jax.Array  # uint32 [2], the numbers behind a random key
    update: jax.Array  # int32 [], updates done


class Metrics(NamedTuple):
    """Metrics of one update; losses are means over its epochs and minibatches."""

    episodes: EpisodeSums
    policy_loss: jax.Array
    value_loss: jax.Array
    entropy: jax.Array
    kl: jax.Array  # estimate of KL(old policy || new policy)
    clip_fraction: jax.Array
    explained_variance: jax.Array
    grad_norm: jax.Array
    learning_rate: jax.Array  # at the start of the update
    entropy_coefficient: jax.Array  # likewise


class Batch(NamedTuple):
    """What the loss needs from each step: [T, N], or [B] in a minibatch. For a recurrent network,
    a minibatch's observations are `Remembered` [T, n].
    """

    observation: Any
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    advantage: jax.Array
    target: jax.Array


def advantages(
    transitions: Transition, last_value: jax.Array, gamma: float, gae_lambda: float
) -> jax.Array:
    """Generalised advantage estimates (Schulman et al. 2016), [T, N].

    A truncated step bootstraps from `final_value`, a terminated one does not bootstrap; no
    advantage flows back across the end of an episode.
    """

    def backward(carry: tuple, step: Transition) -> tuple[tuple, jax.Array]:
        next_value, next_advantage = carry
        done = step.terminated | step.truncated
        bootstrap = jnp.where(step.truncated, step.final_value, jnp.where(done, 0.0, next_value))
        delta = step.reward + gamma * bootstrap - step.value
        advantage = delta + gamma * gae_lambda * jnp.where(done, 0.0, next_advantage)
        return (step.value, advantage), advantage

    start = (last_value, jnp.zeros_like(last_value))
    return jax.lax.scan(backward, start, transitions, reverse=True)[1]


def _moments(values: jax.Array, shards: EnvShards) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of `values` over all shards."""
    mean = shards.mean(values.mean())
    return mean, shards.mean(jnp.square(values - mean).mean())


def scale_rewards(
    scale: ReturnScale,
    reward: jax.Array,
    done: jax.Array,
    gamma: float,
    shards: EnvShards = ONE_SHARD,
) -> tuple[ReturnScale, jax.Array]:
    """Divide rewards [T, N] by the standard deviation of all discounted returns so far."""

    def accumulate(running: jax.Array, step: tuple) -> tuple[jax.Array, jax.Array]:
        reward, done = step
        running = running * gamma + reward
        return jnp.where(done, 0.0, running), running

    running, returns = jax.lax.scan(accumulate, scale.running, (reward, done))
    # Chan et al.'s parallel update of mean and variance.
    size = jnp.float32(returns.size * shards.count)
    total = scale.count + size
    new_mean, new_variance = _moments(returns, shards)
    shift = new_mean - scale.mean
    mean = scale.mean + shift * size / total
    spread = scale.variance * scale.count + new_variance * size
    variance = (spread + shift**2 * scale.count * size / total) / total
    new = ReturnScale(running, mean, variance, total)
    return new, reward / jnp.sqrt(variance + 1e-8)


def ppo_loss(
    params: Any,
    apply: Apply,
    batch: Batch,
    config: PPOConfig,
    entropy_coefficient: jax.Array | float,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Clipped surrogate, clipped value loss and entropy of a minibatch."""
    output = apply(params, batch.observation)
    log_probs = jax.nn.log_softmax(output.logits)
    log_prob = jnp.take_along_axis(log_probs, batch.action[:, None], axis=-1)[:, 0]
    log_ratio = log_prob - batch.log_prob
    ratio = jnp.exp(log_ratio)
    clipped_ratio = jnp.clip(ratio, 1 - config.clip, 1 + config.clip)
    policy_loss = -jnp.minimum(ratio * batch.advantage, clipped_ratio * batch.advantage).mean()

    change = jnp.clip(output.value - batch.value, -config.clip, config.clip)
    error = jnp.square(output.value - batch.target)
    clipped_error = jnp.square(batch.value + change - batch.target)
    value_loss = 0.5 * jnp.maximum(error, clipped_error).mean()

    entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, -1).mean()
    loss = policy_loss + config.value_coefficient * value_loss - entropy_coefficient * entropy
    return loss, {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "kl": (ratio - 1 - log_ratio).mean(),
        "clip_fraction": (jnp.abs(ratio - 1) > config.clip).mean(dtype=jnp.float32),
    }


def _take_rows(leaf: jax.Array, rows: jax.Array) -> jax.Array:
    """Rows of [T * N, ...], copied one by one."""
    return leaf[rows]


def _take_steps(leaf: jax.Array, steps: jax.Array) -> jax.Array:
    """Steps of [T, N, ...] as rows [len(steps) * N, ...], copied as whole blocks."""
    blocks = [jax.lax.dynamic_index_in_dim(leaf, step, keepdims=False) for step in steps]
    return jnp.concatenate(blocks)


def _take_episodes(leaf: jax.Array, envs: jax.Array) -> jax.Array:
    """All steps of some environments, from [T, N, ...]."""
    return leaf[:, envs]


def _schedule(value: float, anneal: bool, steps: int) -> Callable[[jax.Array], jax.Array]:
    """A constant, or a linear decay to 0."""
    schedule = (
        optax.linear_schedule(value, 0.0, steps) if anneal else optax.constant_schedule(value)
    )

    def at(step: jax.Array) -> jax.Array:
        with jax.enable_x64(False):  # optax would compute in the widest type
            return jnp.asarray(schedule(step), jnp.float32)

    return at


class Learner:
    """PPO on one environment: `init(key)` and a pure `update(state)`.

    Both can be jitted and vmapped (over keys, for several agents in one program), and
    `update` can run under `jax.shard_map` on one shard of the environments per device: the result
    is that of a single device, up to summation order.

    Args:
      env: as `coinrun_jax.testbed` describes it. If it has `refresh`, its levels are renewed
        before every update.
      env_params: its initial params; shapes suffice if `init` receives others.
      network: from `networks.make_network`.
      num_updates: length of the run, for the schedules.
      shards: how many shards of the environments there are; `update` gets one.
    """

    def __init__(
        self,
        env: Any,
        env_params: Any,
        network: Network,
        config: PPOConfig,
        num_updates: int,
        shards: EnvShards = ONE_SHARD,
    ) -> None:
        self.env = env
        self.env_params = env_params
        self.network = network
        self.config = config
        self.shards = shards
        self._steps_per_update = config.num_epochs * config.num_minibatches
        self._learning_rate = _schedule(
            config.learning_rate, config.anneal_learning_rate, num_updates * self._steps_per_update
        )
        self._entropy_coefficient = _schedule(
            config.entropy_coefficient, config.anneal_entropy, num_updates
        )
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(config.max_grad_norm),
            optax.adam(self._learning_rate, eps=1e-5),
        )

    def init(self, key: jax.Array, env_params: Any = None) -> TrainState:
        """The initial state of a run, with all environments.

        Args:
          env_params: by default the learner's.
        """
        key, key_net, key_env = jax.random.split(key, 3)
        num_envs = self.config.num_envs
        env_params = self.env_params if env_params is None else env_params
        observation, env_state = jax.vmap(self.env.reset, in_axes=(0, None))(
            jax.random.split(key_env, num_envs), env_params
        )
        params = self.network.init(key_net, observation[:1])
        if isinstance(self.network.apply, Unrolled):
            observation = nothing_remembered(observation, self.network.apply.memory)
        state = TrainState(
            params=params,
            opt_state=self.optimizer.init(params),
            env_state=env_state,
            env_params=env_params,
            observation=observation,
            return_scale=ReturnScale(
                jnp.zeros(num_envs, jnp.float32), jnp.float32(0), jnp.float32(1), jnp.float32(1e-4)
            ),
            key=jax.random.key_data(key),
            update=jnp.int32(0),
        )
        # Python numbers among the params would come back from disk with another type.
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), state)

    def update(self, state: TrainState, seeds: str | None = None) -> tuple[TrainState, Metrics]:
        """One iteration: renew levels, collect a rollout, estimate advantages, learn.

        Args:
          seeds: see `rollout`.
        """
        config, shards = self.config, self.shards
        key, key_levels, key_rollout, key_epochs = jax.random.split(
            jax.random.wrap_key_data(state.key), 4
        )
        env_params = state.env_params
        if hasattr(self.env, "refresh"):
            env_params = self.env.refresh(key_levels, shards.gather(state.env_state), env_params)
        env_state, observation, transitions, episodes = rollout(
            self.env,
            self.network.apply,
            state.params,
            shards.own(jax.random.split(key_rollout, config.num_envs)),
            state.env_state,
            state.observation,
            env_params,
            config.num_steps,
            seeds,
        )

        return_scale = state.return_scale
        if config.normalize_reward:
            done = transitions.terminated | transitions.truncated
            return_scale, reward = scale_rewards(
                return_scale, transitions.reward, done, config.gamma, shards
            )
            transitions = transitions._replace(reward=reward)
        last_value = self.network.apply(state.params, observation).value
        advantage = advantages(transitions, last_value, config.gamma, config.gae_lambda)
        target = advantage + transitions.value
        mean, variance = _moments(advantage, shards)
        unexplained = variance / (_moments(target, shards)[1] + 1e-8)
        if config.normalize_advantage:
            advantage = (advantage - mean) / (jnp.sqrt(variance) + 1e-8)

        batch = Batch(
            transitions.observation,
            transitions.action,
            transitions.log_prob,
            transitions.value,
            advantage,
            target,
        )
        entropy_coefficient = self._entropy_coefficient(state.update)
        params, opt_state, losses = self._learn(
            state.params, state.opt_state, key_epochs, batch, entropy_coefficient
        )
        metrics = Metrics(
            episodes=shards.sum(episodes),
            explained_variance=1.0 - unexplained,
            learning_rate=self._learning_rate(state.update * self._steps_per_update),
            entropy_coefficient=entropy_coefficient,
            **losses,
        )
        return TrainState(
            params=params,
            opt_state=opt_state,
            env_state=env_state,
            env_params=env_params,
            observation=observation,
            return_scale=return_scale,
            key=jax.random.key_data(key),
            update=state.update + 1,
        ), metrics

    def _learn(
        self,
        params: Any,
        opt_state: Any,
        key: jax.Array,
        batch: Batch,
        entropy_coefficient: jax.Array,
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        """Run the epochs over a batch [T, N]; returns params, optimiser state and mean losses."""
        config, shards, apply = self.config, self.shards, self.network.apply
        loss = partial(
            ppo_loss,
            apply=apply.unroll if isinstance(apply, Unrolled) else apply,
            config=config,
            entropy_coefficient=entropy_coefficient,
        )
        grad = jax.grad(loss, has_aux=True)

        own: Callable[[jax.Array], jax.Array]
        take: Callable[[jax.Array, jax.Array], jax.Array]
        if isinstance(apply, Unrolled):  # backpropagation through time over the whole rollout
            num_rows, own, take = config.num_envs, shards.own, _take_episodes
            batch = shards.gather(batch, axis=1)
        elif config.shuffle == "steps":
            num_rows, own, take = config.num_steps, lambda rows: rows, _take_steps
        else:
            # A minibatch may hold any sample from any environment, so every device gathers them
            # all and takes its part of each minibatch.
            num_rows, own, take = config.batch_size, shards.own, _take_rows
            batch = shards.gather(batch, axis=1)
            batch = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batch)

        def minibatch(carry: tuple, rows: jax.Array) -> tuple[tuple, dict[str, jax.Array]]:
            params, opt_state = carry
            own_rows = own(rows)
            part = jax.tree.map(lambda leaf: take(leaf, own_rows), batch)
            if isinstance(apply, Unrolled):
                flat = jax.tree.map(jnp.ravel, part)
                part = flat._replace(observation=part.observation)
            grads, losses = shards.mean(grad(params, batch=part))
            losses["grad_norm"] = optax.tree.norm(grads)
            with jax.enable_x64(False):  # optax would correct Adam's biases in the widest type
                updates, opt_state = self.optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), losses

        keys = jax.random.split(key, config.num_epochs)
        numbers = jnp.arange(num_rows, dtype=jnp.int32)
        order = jax.vmap(jax.random.permutation, in_axes=(0, None))(keys, numbers)
        order = order.reshape(config.num_epochs * config.num_minibatches, -1)
        (params, opt_state), losses = jax.lax.scan(minibatch, (params, opt_state), order)
        return params, opt_state, jax.tree.map(jnp.mean, losses)
