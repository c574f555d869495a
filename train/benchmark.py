"""How fast training is, and where the time goes.

python -m train.benchmark breakdown --csv FILE [--config FILE] [--num-envs N ...]
                                    [--precision float32 bfloat16] [--section.key value ...]
python -m train.benchmark scaling   --csv FILE [--devices N ...] [...]
python -m train.benchmark seeds     --csv FILE [--num-seeds K] [...]

All times are for compiled programs after a warm-up, synchronised with the device, and the best of
several rounds. Rows are appended to the CSV with the command, commit and hardware.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
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
from train.config import MOST_ENVS, TrainConfig
from train.environment import num_actions, with_pool_for
from train.networks import has_memory
from train.overrides import configure
from train.ppo import Batch, Learner, ppo_loss
from train.program import Program, outline_learner
from train.provenance import source_commit
from train.rollout import rollout

ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Throughput:
    """A row of `throughput` and `scaling`: all seeds on all devices."""

    devices: int
    num_seeds: int
    num_envs: int
    steps_per_second: int
    compile_seconds: float
    update_seconds: float


@dataclasses.dataclass(frozen=True)
class SeedsThroughput(Throughput):
    """A row of `seeds`."""

    times_single_runs: float | str = ""


@dataclasses.dataclass(frozen=True)
class Breakdown:
    """A row of `breakdown`: an update's time by environment, inference and learning."""

    observation: str
    network: str
    precision: str
    num_envs: int
    num_steps: int
    num_minibatches: int
    steps_per_second: int
    compile_seconds: float
    update_seconds: float
    environment_share: float
    inference_share: float
    learning_share: float
    learning_gflops: float
    matmul_gflops: float
    of_matmul: float


ROWS: dict[str, type[Throughput | Breakdown]] = {
    "breakdown": Breakdown,
    "scaling": Throughput,
    "seeds": SeedsThroughput,
    "throughput": Throughput,
}
_PROVENANCE = ("device", "cores", "jax", "commit", "command")


def columns(what: str) -> list[str]:
    """Columns of the CSV."""
    return [*(field.name for field in dataclasses.fields(ROWS[what])), *_PROVENANCE]


def seconds_of(run: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """The shortest of several calls, after a warm-up call."""
    jax.block_until_ready(run())
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - began)
    return min(times)


def seconds_per_update(program: Program, state: Any) -> float:
    """Compile the program and time its update."""
    program.compile(state)

    def update() -> Any:
        nonlocal state
        state, metrics = program.update(state)
        return metrics

    return seconds_of(update)


def matmul_flops(precision: str) -> float:
    """FLOP/s of one large matrix product, the device's practical peak."""
    size = 2048 if jax.default_backend() == "cpu" else 8192  # long compared with a launch
    a = jnp.ones((size, size), precision)
    product = jax.jit(lambda a: a @ a)
    return 2 * size**3 / seconds_of(lambda: product(a))


def learning_flops(learner: Learner, params: Any) -> float:
    """FLOPs of an update's gradients, from the compiler's count for one minibatch."""
    config = learner.config
    size = config.batch_size // config.num_minibatches
    shape = learner.env.observation_space(None)
    row = jax.ShapeDtypeStruct((size,), jnp.float32)
    observation = jax.ShapeDtypeStruct((size, *shape.shape), shape.dtype)
    action = jax.ShapeDtypeStruct((size,), jnp.int32)
    batch = Batch(observation, action, *[row] * 4)  # type: ignore[arg-type]

    def gradient(params: Any, batch: Batch) -> Any:
        return jax.grad(ppo_loss, has_aux=True)(params, learner.network.apply, batch, config, 0.0)

    cost: Any = jax.jit(gradient).lower(params, batch).compile().cost_analysis()
    counted = cost[0] if isinstance(cost, list) else cost
    return float(counted["flops"]) * config.num_minibatches * config.num_epochs


def breakdown(config: TrainConfig) -> Breakdown:
    """An update's time by part, and how well learning uses the device."""
    program = Program(config)
    learner, ppo = program.learner, config.ppo
    state, count = program.init(), num_actions(config.env)
    keys = jax.random.split(jax.random.key(0), ppo.num_envs)

    @jax.jit
    def play(state: Any) -> Any:
        network = learner.network.apply
        start = state.env_state, state.observation, state.env_params
        return rollout(learner.env, network, state.params, keys, *start, ppo.num_steps)

    @jax.jit
    def only_step(state: Any) -> Any:
        """The same number of steps, with random actions and no network."""

        def step(carry: tuple[Any, jax.Array], time: jax.Array) -> tuple[Any, None]:
            now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, time)
            draw = jax.vmap(lambda key: jax.random.randint(key, (), 0, count, jnp.int32))
            # Observations must be kept, or they would not be computed.
            observation, env_state, *_ = jax.vmap(learner.env.step, in_axes=(0, 0, 0, None))(
                now, carry[0], draw(now), state.env_params
            )
            return (env_state, observation), None

        carry = (state.env_state, state.observation)
        return jax.lax.scan(step, carry, jnp.arange(ppo.num_steps, dtype=jnp.int32))[0]

    environment, playing = seconds_of(lambda: only_step(state)), seconds_of(lambda: play(state))
    flops = learning_flops(learner, jax.tree.map(jnp.copy, state.params))
    total = seconds_per_update(program, state)
    rate, peak = flops / max(total - playing, 1e-9), matmul_flops(config.network.precision)
    return Breakdown(
        observation=getattr(config.env, "observation", config.env.id),
        network=f"{config.network.kind}-{config.network.width}",
        precision=config.network.precision,
        num_envs=ppo.num_envs,
        num_steps=ppo.num_steps,
        num_minibatches=ppo.num_minibatches,
        steps_per_second=round(ppo.batch_size / total),
        compile_seconds=round(program.compile_seconds, 1),
        update_seconds=round(total, 4),
        environment_share=round(environment / total, 4),
        inference_share=round(max(playing - environment, 0.0) / total, 4),
        learning_share=round((total - playing) / total, 4),
        learning_gflops=round(rate / 1e9, 1),
        matmul_gflops=round(peak / 1e9, 1),
        of_matmul=round(rate / peak, 3),
    )


def breakdown_if_it_fits(config: TrainConfig) -> list[Breakdown]:
    """`breakdown`, or only a warning if memory does not suffice."""
    try:
        return [breakdown(config)]
    except (InputError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        point = f"num_envs {config.ppo.num_envs}, {config.network.precision}"
        print(f"warning: {point} is skipped: {str(error).splitlines()[0]}", file=sys.stderr)
        return []


def throughput(config: TrainConfig) -> Throughput:
    """Steps per second of all seeds on all devices."""
    program = Program(config)
    seconds = seconds_per_update(program, program.place(jax.device_get(program.init())))
    return Throughput(
        devices=jax.device_count(),
        num_seeds=config.num_seeds,
        num_envs=config.ppo.num_envs,
        steps_per_second=round(config.ppo.batch_size * config.num_seeds / seconds),
        compile_seconds=round(program.compile_seconds, 1),
        update_seconds=round(seconds, 4),
    )


def scaling(config: TrainConfig, devices: list[int], words: list[str], path: Path) -> None:
    """Weak scaling over forced host devices: a constant number of environments per device.

    Each device count needs its own process, which appends its row.
    """
    for count in devices:
        flags = f"--xla_force_host_platform_device_count={count}"
        num_envs = config.ppo.num_envs * count
        own = [*words, "--ppo.num-envs", str(num_envs)]
        if isinstance(env := with_pool_for(config.env, num_envs), LevelsConfig):
            own += ["--env.pool-size", str(env.pool_size)]
        command = [sys.executable, "-m", "train.benchmark", "throughput", "--csv", str(path), *own]
        status = subprocess.run(command, env={**os.environ, "XLA_FLAGS": flags}).returncode
        if status:
            raise Fault(f"measuring {count} devices failed with exit status {status}, see above")


def seeds(config: TrainConfig, count: int) -> list[SeedsThroughput]:
    """Throughput of one agent, and of several in one program, over runs of the config's length."""
    alone, together = (
        throughput(dataclasses.replace(config, num_seeds=number)) for number in (1, count)
    )
    run_seconds, all_seconds = (
        row.compile_seconds + config.num_updates * row.update_seconds for row in (alone, together)
    )
    times = round(count * run_seconds / all_seconds, 3)
    return [
        SeedsThroughput(**dataclasses.asdict(alone)),
        SeedsThroughput(**dataclasses.asdict(together), times_single_runs=times),
    ]


def append(path: Path, what: str, rows: Sequence[Throughput | Breakdown], words: str) -> None:
    """Add rows to a CSV, each with its provenance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (device_name(), num_cores(), jax.__version__, source_commit() or "unknown", words)
    is_new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, columns(what), lineterminator="\n")
        if is_new:
            writer.writeheader()
        for row in map(dataclasses.asdict, rows):
            writer.writerow(row | dict(zip(_PROVENANCE, values, strict=True)))
            print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def _require_same_columns(path: Path, what: str) -> None:
    require_makeable(path, "--csv")
    if path.exists():
        header = read_text(path, "--csv").partition("\n")[0].strip()
        if header != ",".join(columns(what)):
            raise InputError(f"--csv {path} has different columns from {what}; choose another file")


def _points(known: argparse.Namespace, config: TrainConfig) -> list[TrainConfig]:
    """The configs to measure, all validated."""
    if config.stages:
        raise InputError("a benchmark measures one stage; give a config without stages")
    if known.what == "breakdown" and has_memory(config.network):
        raise InputError(f"breakdown: network.kind {config.network.kind} has a memory")
    if known.what == "seeds":
        points = [config, dataclasses.replace(config, num_seeds=known.num_seeds)]
    else:
        points = [
            dataclasses.replace(
                config,
                env=with_pool_for(config.env, num_envs),
                network=dataclasses.replace(config.network, precision=precision),
                ppo=dataclasses.replace(config.ppo, num_envs=num_envs),
            )
            for precision in known.precision or [config.network.precision]
            for num_envs in known.num_envs or [config.ppo.num_envs]
        ]
    for point in points:
        outline_learner(point)
    return points


def _measure(known: argparse.Namespace, config: TrainConfig, settings: list[str]) -> None:
    points, words = _points(known, config), " ".join(["python -m train.benchmark", *known.words])
    enable_compilation_cache()
    if known.what == "scaling":
        given = ["--config", str(known.config)] if known.config else []
        scaling(config, known.devices, [*given, *settings], known.csv)
    elif known.what == "seeds":
        append(known.csv, known.what, seeds(config, known.num_seeds), words)
    elif known.what == "throughput":
        append(known.csv, known.what, [throughput(config)], words)
    else:
        for point in points:
            append(known.csv, known.what, breakdown_if_it_fits(point), words)


@command
def main(arguments: list[str] | None = None) -> int:
    """Entry point; see `cli` for its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = Parser(prog="python -m train.benchmark", allow_abbrev=False)
    add, envs, few = parser.add_argument, integer(1, MOST_ENVS), integer(1, 10_000)
    add("what", choices=tuple(ROWS))
    add("--csv", type=Path, required=True, metavar="FILE", help="rows are appended to it")
    add("--config", type=Path, metavar="FILE")
    add("--num-envs", type=envs, nargs="+", metavar="N")
    add("--precision", nargs="+", choices=("float32", "bfloat16"))
    add("--devices", type=few, nargs="+", default=[1, 2], metavar="N")
    add("--num-seeds", type=few, default=4, metavar="K")
    known, settings = parser.parse_known_args(arguments)
    known.words = list(arguments)
    config = configure(known.config, settings)
    _require_same_columns(known.csv, known.what)
    _measure(known, config, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
