"""A training run: the Python loop around the compiled update, and its directory.

config.yaml   every setting, resolved
run.json      versions, commit and device that it was made with
metrics.csv   a row per update
checkpoints/  from which `--resume` goes on
policy.npz, policy.json  the policy alone, as of the last checkpoint
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

import coinrun_jax
from train.checkpoints import Checkpoints
from train.config import ConfigError, TrainConfig, load_config, save_config
from train.environment import make_environment
from train.loggers import CsvLogger, WandbLogger
from train.networks import make_network
from train.policy import save_policy
from train.ppo import Learner, Metrics, TrainState
from train.provenance import source_commit

CONFIG, METRICS, DESCRIPTION, CHECKPOINTS = "config.yaml", "metrics.csv", "run.json", "checkpoints"


def make_learner(config: TrainConfig) -> Learner:
    """The learner of a config.

    Raises:
      ConfigError: for settings that do not fit together.
    """
    env, env_params = make_environment(config.env)
    shape = env.observation_space(env_params).shape
    network = make_network(config.network, shape, env.num_actions)
    return Learner(env, env_params, network, config.ppo, config.num_updates)


def start(config: TrainConfig, run_dir: Path) -> None:
    """Train from scratch into a new directory.

    Raises:
      ConfigError: if the directory has anything in it, or the config cannot be used.
    """
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise ConfigError(
            f"run directory {run_dir} exists and is not empty; give another --run-dir, or go on "
            f"with --resume {run_dir}"
        )
    learner = make_learner(config)
    run_dir.mkdir(parents=True, exist_ok=True)
    save_config(config, run_dir / CONFIG)
    (run_dir / DESCRIPTION).write_text(json.dumps(_describe(), indent=1) + "\n")
    _train(learner, config, run_dir)


def resume(run_dir: Path) -> None:
    """Go on from a run's newest checkpoint, or from its beginning if it has none.

    Raises:
      ConfigError: if the directory is no run.
    """
    if not (run_dir / CONFIG).is_file():
        raise ConfigError(f"{run_dir} is not a run directory: it has no {CONFIG}")
    config = load_config(run_dir / CONFIG)
    _train(make_learner(config), config, run_dir)


def _describe() -> dict[str, Any]:
    return {
        "environment": coinrun_jax.ENV_ID,
        "coinrun_jax": coinrun_jax.__version__,
        "commit": source_commit(),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _row(metrics: Metrics, update: int, config: TrainConfig, names: tuple[str, ...]) -> dict:
    """One line of metrics.csv; rates and means are empty where no episode ended."""
    episodes = metrics.episodes
    count = int(episodes.episodes)
    mean = (lambda total: round(float(total) / count, 6)) if count else (lambda total: "")
    losses = metrics._asdict()
    del losses["episodes"]
    return {
        "update": update,
        "steps": update * config.ppo.batch_size,
        "episodes": count,
        "return": mean(episodes.reward),
        "length": mean(episodes.length),
        **{f"rate_{name}": mean(episodes.outcomes[i]) for i, name in enumerate(names) if i},
        **{name: round(float(value), 6) for name, value in losses.items()},
    }


def _train(learner: Learner, config: TrainConfig, run_dir: Path) -> None:
    state = jax.jit(learner.init)(jax.random.key(config.seed))
    checkpoints = Checkpoints(run_dir / CHECKPOINTS)
    restored = checkpoints.restore_latest(state)
    state = state if restored is None else restored
    done = int(state.update)

    print(f"compiling for {jax.devices()[0].device_kind} ...", flush=True)
    began = time.perf_counter()
    update = jax.jit(learner.update, donate_argnums=0).lower(state).compile()
    compile_seconds = time.perf_counter() - began
    print(f"compiled in {compile_seconds:.1f} s")

    stopping = _StopRequest()
    loggers: list[CsvLogger | WandbLogger] = [
        CsvLogger(run_dir / METRICS, done),
        WandbLogger(config, run_dir),
    ]
    batch = config.ppo.batch_size
    with tqdm(
        total=config.num_updates * batch, initial=done * batch, unit="step", unit_scale=True
    ) as bar:
        while done < config.num_updates and not stopping.requested:
            began = time.perf_counter()
            state, metrics = update(state)
            metrics = jax.tree.map(np.asarray, metrics)
            seconds = time.perf_counter() - began
            done += 1
            row = _row(metrics, done, config, learner.env.outcomes)
            row |= {"seconds": round(seconds, 4), "steps_per_second": round(batch / seconds)}
            for logger in loggers:
                logger.log(row)
            bar.set_postfix({"return": row["return"], "coin": row["rate_coin"]}, refresh=False)
            bar.update(batch)
            if done % config.checkpoint_every == 0:
                _save(state, done, config, run_dir, checkpoints)
    _save(state, done, config, run_dir, checkpoints)
    checkpoints.close()
    for logger in loggers:
        logger.close()
    if stopping.requested:
        print(f"stopped after {done} updates; go on with: python -m train --resume {run_dir}")


def _save(
    state: TrainState, done: int, config: TrainConfig, run_dir: Path, checkpoints: Checkpoints
) -> None:
    checkpoints.save(done, state)
    save_policy(run_dir, jax.tree.map(np.asarray, state.params), config, done)


class _StopRequest:
    """Turns SIGTERM and SIGINT into a wish to stop after the update in flight."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request)

    def _request(self, number: int, frame: Any) -> None:
        self.requested = True
        signal.signal(number, signal.SIG_DFL)  # a second one stops at once
