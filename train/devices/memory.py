"""Refuse runs that cannot fit in memory, before anything is written."""

from __future__ import annotations

import math
from typing import Any

import jax

from coinrun_jax.checks import InputError
from coinrun_jax.hardware import memory_per_device
from train.config import TrainConfig
from train.devices.layout import in_turn
from train.ppo import Learner
from train.rollout import rollout


def needed(learner: Learner, config: TrainConfig, num_devices: int) -> int:
    """Lower bound on the bytes that a run needs per device: its states and its rollouts.

    The networks' activations come on top; only the compiler knows their size.
    """

    def play(state: Any) -> Any:
        keys = jax.random.split(jax.random.wrap_key_data(state.key), config.ppo.num_envs)
        return rollout(
            learner.env,
            learner.network.apply,
            state.params,
            keys,
            state.env_state,
            state.observation,
            state.env_params,
            config.ppo.num_steps,
        )[2]

    state = jax.eval_shape(
        lambda params: learner.init(jax.random.key(0), params), learner.env_params
    )
    shared = _size((state.params, state.opt_state, state.env_params))
    per_env = _size((state.env_state, state.observation))
    transitions = _size(jax.eval_shape(play, state))
    seeds, parts = config.num_seeds, num_devices
    if seeds % num_devices == 0:
        seeds, parts = seeds // num_devices, 1
    at_once = 1 if in_turn() else seeds
    return (shared + per_env // parts) * seeds + transitions // parts * at_once


def _size(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def require(learner: Learner, config: TrainConfig, num_devices: int) -> None:
    """Raise an InputError if a run certainly needs more memory than is available."""
    free = memory_per_device()
    if free is not None and (size := needed(learner, config, num_devices)) > free:
        raise InputError(
            f"num_seeds {config.num_seeds} with ppo.num_envs {config.ppo.num_envs} and "
            f"ppo.num_steps {config.ppo.num_steps} needs at least {_giga(size)} of memory per "
            f"device; {_giga(free)} are available"
        )


def require_compiled(compiled: Any) -> None:
    """Raise an InputError if a compiled program needs more memory than is available."""
    free, analysis = memory_per_device(), compiled.memory_analysis()
    if free is None or analysis is None:
        return
    size = (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
        - analysis.alias_size_in_bytes
    )
    if size > free:
        raise InputError(
            f"the compiled update needs {_giga(size)} of memory per device; {_giga(free)} are "
            "available: reduce num_seeds, ppo.num_envs or ppo.num_steps"
        )


def _giga(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
