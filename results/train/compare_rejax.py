"""End-to-end steps per second compared with rejax's PPO, in turn, in one process.

python results/train/compare_rejax.py FILE.csv [--rounds N] [--force]

Needs rejax 0.1.3 and distrax besides this project's packages. Both learners have the same
environment, the same network (separate actor and critic of two hidden layers of 128, which
is what rejax has), the same batch of 1,024 x 32 steps in 32 minibatches and 3 epochs. They
take turns, one update at a time, and the fastest of each counts. Neither evaluates in between.
rejax uses gymnax's former API, where `step` returns five values, through gymnax's own wrapper.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # train is a folder of the checkout

import flax.linen as nn
import jax
import jax.numpy as jnp
import rejax
from gymnax.wrappers import LegacyStepAPIWrapper

from coinrun_jax.cli import Parser, add_force, command, integer, require_outputs
from coinrun_jax.files import write_rows
from train.config import PPOConfig, env_config
from train.environment import make_environment
from train.networks import Network, Output
from train.ppo import Learner
from train.provenance import source_commit

WIDTH, NUM_ENVS, NUM_STEPS, MINIBATCHES, EPOCHS = 128, 1024, 32, 32, 3
BATCH = NUM_ENVS * NUM_STEPS
COLUMNS = (
    *("learner", "steps_per_second", "of_rejax", "update_seconds", "compile_seconds"),
    *("rounds", "cores", "jax", "rejax", "commit", "command"),
)


class TwoTowers(nn.Module):
    """Separate actor and critic."""

    num_actions: int

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        def tower(outputs: int) -> tuple[jax.Array, jax.Array]:
            x = observation
            for _ in range(2):
                x = nn.swish(nn.Dense(WIDTH)(x))
            return nn.Dense(outputs)(x), x

        logits, features = tower(self.num_actions)
        value, _ = tower(1)
        return Output(logits, value[..., 0], features)


class Legacy(LegacyStepAPIWrapper):
    """gymnax's wrapper, which cannot be deep-copied as rejax tries to."""

    def __deepcopy__(self, memo: dict) -> Legacy:
        return self


def ours(shuffle: str):
    """Our jitted update, and its initial state."""
    env, params = make_environment(env_config({}))
    module = TwoTowers(env.num_actions)
    config = PPOConfig(
        num_envs=NUM_ENVS,
        num_steps=NUM_STEPS,
        num_minibatches=MINIBATCHES,
        num_epochs=EPOCHS,
        shuffle=shuffle,
        learning_rate=5e-4,
    )
    learner = Learner(env, params, Network.of(module), config, 1000)
    state = jax.jit(learner.init)(jax.random.key(0))
    update = jax.jit(lambda state: learner.update(state)[0], donate_argnums=0)
    return update, state


def theirs():
    """The jitted iteration of rejax, and its initial state."""
    env, params = make_environment(env_config({}))
    env = Legacy(env)
    network = {"hidden_layer_sizes": (WIDTH, WIDTH), "activation": "swish"}
    algorithm = rejax.PPO(
        env=env,
        env_params=params,
        eval_callback=None,
        **rejax.PPO.create_agent({"agent_kwargs": network}, env, params),
        num_envs=NUM_ENVS,
        num_steps=NUM_STEPS,
        num_minibatches=MINIBATCHES,
        num_epochs=EPOCHS,
        learning_rate=5e-4,
        gamma=0.999,
        max_grad_norm=0.5,
        normalize_rewards=True,
        skip_initial_evaluation=True,
    )
    state = jax.jit(algorithm.init_state)(jax.random.key(0))
    # Its first iteration would change the types of some numbers, and so compile twice.
    settled = jax.eval_shape(algorithm.train_iteration, state)
    state = jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), state, settled)
    return jax.jit(algorithm.train_iteration, donate_argnums=0), state


@command
def main(arguments: list[str] | None = None) -> int:
    """Time them and write the table; see `coinrun_jax.cli` for the exit status."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("csv", type=Path, metavar="FILE.csv")
    parser.add_argument("--rounds", type=integer(1, 1000), default=8, metavar="N")
    add_force(parser)
    options = parser.parse_args(arguments)
    require_outputs(options.force, options.csv)
    learners = {
        "rejax": theirs(),
        "coinrun_jax, single samples": ours("samples"),
        "coinrun_jax, whole steps": ours("steps"),
    }
    compiled, states, compile_seconds = {}, {}, {}
    for name, (update, state) in learners.items():
        began = time.perf_counter()
        compiled[name] = update.lower(state).compile()
        compile_seconds[name] = time.perf_counter() - began
        states[name] = jax.block_until_ready(compiled[name](state))
    shortest = dict.fromkeys(learners, float("inf"))
    for _ in range(options.rounds):
        for name in learners:
            began = time.perf_counter()
            states[name] = jax.block_until_ready(compiled[name](states[name]))
            shortest[name] = min(shortest[name], time.perf_counter() - began)
    rows = [
        [
            name,
            round(BATCH / seconds),
            round(shortest["rejax"] / seconds, 3),
            round(seconds, 4),
            round(compile_seconds[name], 1),
            options.rounds,
            os.cpu_count(),
            jax.__version__,
            importlib.metadata.version("rejax"),
            source_commit(),
            f"python results/train/compare_rejax.py {options.csv} --rounds {options.rounds}",
        ]
        for name, seconds in shortest.items()
    ]
    write_rows(options.csv, COLUMNS, rows)
    for row in rows:
        print(*row[:5], sep=", ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
