"""How fast training is, and where the time goes.

python -m train.benchmark breakdown --csv FILE [--config FILE] [--num-envs N ...]
                                    [--precision float32 bfloat16] [--section.key value ...]
python -m train.benchmark scaling   --csv FILE [--devices N ...] [...]
python -m train.benchmark seeds     --csv FILE [--num-seeds K] [...]

Every number is of compiled programs, after a warm-up, with the device waited for; the best of
the rounds. Rows are appended to the CSV with the command, commit and hardware.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from coinrun_jax.checks import InputError
from coinrun_jax.cli import Fault, Parser, command, integer
from coinrun_jax.compilation import enable_compilation_cache
from coinrun_jax.files import read_text, require_makeable
from coinrun_jax.hardware import device_name, num_cores
from coinrun_jax.testbed import LevelsConfig
from train.config import MOST_ENVS, TrainConfig, load_config
from train.environment import num_actions, with_pool_for
from train.overrides import override
from train.ppo import Batch, Learner, ppo_loss
from train.program import Program, outline_learner
from train.provenance import source_commit
from train.rollout import rollout

ROUNDS = 5
_ABOUT = ("device", "cores", "jax", "commit", "command")
_THROUGHPUT = (
    *("devices", "num_seeds", "num_envs", "steps_per_second", "compile_seconds"),
    "update_seconds",
)
COLUMNS = {
    "breakdown": (
        *("observation", "network", "precision", "num_envs", "num_steps", "num_minibatches"),
        *("steps_per_second", "compile_seconds", "update_seconds", "environment_share"),
        *("inference_share", "learning_share", "learning_gflops", "matmul_gflops", "of_matmul"),
        *_ABOUT,
    ),
    "seeds": (*_THROUGHPUT, "times_single_runs", *_ABOUT),
    "throughput": (*_THROUGHPUT, *_ABOUT),
    "scaling": (*_THROUGHPUT, *_ABOUT),
}
"""Of the CSV, by what is measured."""
Row = dict[str, Any]


def seconds_of(run: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """The shortest of some calls, after one that does not count."""
    jax.block_until_ready(run())
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - began)
    return min(times)


def matmul_flops(precision: str) -> float:
    """FLOP/s of one large matrix product, which is what the device can do."""
    size = 2048 if jax.default_backend() == "cpu" else 8192  # tens of us would be the launch's
    a = jnp.ones((size, size), precision)
    product = jax.jit(lambda a: a @ a)
    return 2 * size**3 / seconds_of(lambda: product(a))


def learning_flops(learner: Learner, params: Any) -> float:
    """Of an update's gradients, as the compiler counts them for one minibatch."""
    config = learner.config
    size = config.batch_size // config.num_minibatches
    shape = learner.env.observation_space(learner.env_params)
    row = jax.ShapeDtypeStruct((size,), jnp.float32)
    observation = jax.ShapeDtypeStruct((size, *shape.shape), shape.dtype)
    columns: list[Any] = [observation, jax.ShapeDtypeStruct((size,), jnp.int32), *(row,) * 4]
    batch = Batch(*columns)

    def gradient(params: Any, batch: Batch) -> Any:
        return jax.grad(ppo_loss, has_aux=True)(params, learner.network.apply, batch, config, 0.0)

    cost: Any = jax.jit(gradient).lower(params, batch).compile().cost_analysis()
    counted = cost[0] if isinstance(cost, list) else cost
    return float(counted["flops"]) * config.num_minibatches * config.num_epochs


def breakdown(config: TrainConfig) -> Row:
    """An update's time: environment, inference, learning; and how well the last one computes."""
    program = Program(config)
    learner, ppo = program.learner, config.ppo
    state = program.init()
    keys = jax.random.split(jax.random.key(0), ppo.num_envs)
    count = num_actions(config.env)

    @jax.jit
    def play(state: Any) -> Any:
        return rollout(
            learner.env,
            learner.network.apply,
            state.params,
            keys,
            state.env_state,
            state.observation,
            state.env_params,
            ppo.num_steps,
        )

    @jax.jit
    def only_step(state: Any) -> Any:
        """The same steps with random actions and no network."""

        def step(carry: tuple[Any, jax.Array], time: jax.Array) -> tuple[Any, None]:
            fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))
            now = fold(keys, time)
            action = jax.vmap(lambda key: jax.random.randint(key, (), 0, count, jnp.int32))(now)
            # What is seen must be kept, or it would not be computed.
            observation, env_state, *_ = jax.vmap(learner.env.step, in_axes=(0, 0, 0, None))(
                now, carry[0], action, state.env_params
            )
            return (env_state, observation), None

        carry = (state.env_state, state.observation)
        return jax.lax.scan(step, carry, jnp.arange(ppo.num_steps, dtype=jnp.int32))[0]

    environment, playing = seconds_of(lambda: only_step(state)), seconds_of(lambda: play(state))
    params = jax.tree.map(jnp.copy, state.params)
    flops = learning_flops(learner, params)
    program.compile(state)

    def update() -> Any:
        nonlocal state
        state, metrics = program.update(state)
        return metrics

    total = seconds_of(update)
    rate = flops / max(total - playing, 1e-9)
    matmul = matmul_flops(config.network.precision)
    return {
        "observation": getattr(config.env, "observation", config.env.id),
        "network": f"{config.network.kind}-{config.network.width}",
        "precision": config.network.precision,
        "num_envs": ppo.num_envs,
        "num_steps": ppo.num_steps,
        "num_minibatches": ppo.num_minibatches,
        "steps_per_second": round(ppo.batch_size / total),
        "compile_seconds": round(program.compile_seconds, 1),
        "update_seconds": round(total, 4),
        "environment_share": round(environment / total, 4),
        "inference_share": round(max(playing - environment, 0.0) / total, 4),
        "learning_share": round((total - playing) / total, 4),
        "learning_gflops": round(rate / 1e9, 1),
        "matmul_gflops": round(matmul / 1e9, 1),
        "of_matmul": round(rate / matmul, 3),
    }


def breakdown_if_it_fits(config: TrainConfig) -> Row | None:
    """`breakdown`, or None, with a line that says so, for what the memory does not hold."""
    try:
        return breakdown(config)
    except (InputError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        point = f"num_envs {config.ppo.num_envs}, {config.network.precision}"
        print(f"warning: {point} is passed over: {str(error).splitlines()[0]}", file=sys.stderr)
        return None


def throughput(config: TrainConfig) -> Row:
    """Steps per second of all seeds on all devices."""
    program = Program(config)
    state = program.place(jax.device_get(program.init()))
    program.compile(state)

    def update() -> Any:
        nonlocal state
        state, metrics = program.update(state)
        return metrics

    seconds = seconds_of(update)
    return {
        "devices": jax.device_count(),
        "num_seeds": config.num_seeds,
        "num_envs": config.ppo.num_envs,
        "steps_per_second": round(config.ppo.batch_size * config.num_seeds / seconds),
        "compile_seconds": round(program.compile_seconds, 1),
        "update_seconds": round(seconds, 4),
    }


def scaling(config: TrainConfig, devices: list[int], words: list[str], path: Path) -> None:
    """Weak scaling: as many environments per device on each number of forced host devices.

    Each number needs a process of its own, which appends its row.
    """
    for count in devices:
        environment = {
            **os.environ,
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
        }
        num_envs = config.ppo.num_envs * count
        own = [*words, "--ppo.num-envs", str(num_envs)]
        if isinstance(env := with_pool_for(config.env, num_envs), LevelsConfig):
            own += ["--env.pool-size", str(env.pool_size)]
        command = [sys.executable, "-m", "train.benchmark", "throughput", "--csv", str(path), *own]
        status = subprocess.run(command, env=environment, check=False).returncode
        if status:
            raise Fault(f"{count} devices were not measured: exit status {status}, see above")


def seeds(config: TrainConfig, count: int) -> list[Row]:
    """One agent, and several in one program, over runs of the config's length."""
    alone = throughput(config)
    together = throughput(dataclasses.replace(config, num_seeds=count))

    def total(row: Row) -> float:
        return row["compile_seconds"] + config.num_updates * row["update_seconds"]

    together["times_single_runs"] = round(count * total(alone) / total(together), 3)
    return [{**alone, "times_single_runs": ""}, together]


def append(path: Path, rows: list[Row], words: str) -> None:
    """Add rows to a CSV, each with what it was measured with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (device_name(), num_cores(), jax.__version__, source_commit() or "unknown", words)
    about = dict(zip(_ABOUT, values, strict=True))
    is_new = not path.exists()
    with open(path, "a", newline="") as file:
        for row in rows:
            writer = csv.DictWriter(file, [*row, *about], lineterminator="\n")
            if is_new:
                writer.writeheader()
                is_new = False
            writer.writerow({**row, **about})
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def _require_own(path: Path, what: str) -> None:
    """Rows are added to a file of such rows only."""
    require_makeable(path, "--csv")
    if path.exists():
        header = read_text(path, "--csv").partition("\n")[0].strip()
        if header != ",".join(COLUMNS[what]):
            raise InputError(f"--csv {path} has other columns than {what}; give another file")


def _points(known: argparse.Namespace, config: TrainConfig) -> list[TrainConfig]:
    """The configs to measure, each of which can be used."""
    if known.what == "seeds":
        points = [config, dataclasses.replace(config, num_seeds=known.num_seeds)]
    else:
        points = [
            _point(config, precision, num_envs)
            for precision in known.precision or [config.network.precision]
            for num_envs in known.num_envs or [config.ppo.num_envs]
        ]
    for point in points:
        outline_learner(point)
    return points


def _point(config: TrainConfig, precision: Any, num_envs: int) -> TrainConfig:
    return dataclasses.replace(
        config,
        env=with_pool_for(config.env, num_envs),
        network=dataclasses.replace(config.network, precision=precision),
        ppo=dataclasses.replace(config.ppo, num_envs=num_envs),
    )


def _measure(known: argparse.Namespace, config: TrainConfig, settings: list[str]) -> None:
    points, words = _points(known, config), " ".join(["python -m train.benchmark", *known.words])
    enable_compilation_cache()
    if known.what == "scaling":
        given = ["--config", str(known.config)] if known.config else []
        scaling(config, known.devices, [*given, *settings], known.csv)
    elif known.what == "seeds":
        append(known.csv, seeds(config, known.num_seeds), words)
    elif known.what == "throughput":
        append(known.csv, [throughput(config)], words)
    else:
        for point in points:
            if (row := breakdown_if_it_fits(point)) is not None:
                append(known.csv, [row], words)


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `cli` for its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = Parser(prog="python -m train.benchmark", allow_abbrev=False)
    add, envs, few = parser.add_argument, integer(1, MOST_ENVS), integer(1, 10_000)
    add("what", choices=("breakdown", "scaling", "seeds", "throughput"))
    add("--csv", type=Path, required=True, metavar="FILE", help="rows are added to it")
    add("--config", type=Path, metavar="FILE")
    add("--num-envs", type=envs, nargs="+", metavar="N")
    add("--precision", nargs="+", choices=("float32", "bfloat16"))
    add("--devices", type=few, nargs="+", default=[1, 2], metavar="N")
    add("--num-seeds", type=few, default=4, metavar="K")
    known, settings = parser.parse_known_args(arguments)
    known.words = list(arguments)
    default = load_config(known.config) if known.config else TrainConfig()
    config = override(default, settings)
    _require_own(known.csv, known.what)
    _measure(known, config, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
