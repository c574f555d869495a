"""How fast the environment steps: `python -m coinrun_jax.benchmark [--procgen PYTHON] ...`.

A program of many `step` calls under random play, auto-reset included, is compiled (timed
separately) and then run in rounds, waiting for the device. Every observation is written to
memory, as a policy would need it. The original Procgen (`--procgen`) and EnvPool's build of it
(`--envpool`) are timed in the interpreters that have them, in the same rounds, so that all
run under the same conditions. The best round of each program counts.

On CPU the environments are split over as many JAX devices as there are cores (or as
JAX_NUM_CPU_DEVICES says), each with one thread: XLA's own threads cost more than they
save for arrays of this size.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from coinrun_jax.checks import InputError, real, shown
from coinrun_jax.cli import Parser, add_force, command, integer, require_outputs
from coinrun_jax.coinrun.env import OBSERVATIONS, CoinRun
from coinrun_jax.coinrun.generator import MODES
from coinrun_jax.coinrun.params import EnvParams
from coinrun_jax.coinrun.types import NUM_ACTIONS, Action
from coinrun_jax.files import write_json, write_rows
from coinrun_jax.hardware import device_name, memory_per_device, num_cores
from coinrun_jax.rivals import Rival

CHUNK = 32  # steps per call of the compiled program
ROUNDS, MOST_ROUNDS = 4, 100
LEAST_SECONDS, MOST_SECONDS = 0.001, 600  # of a round
MOST_ENVS = 2**20
MOST_NUMBERS = 16  # values of --num-envs, one program each
SHORT_EPISODE = 20  # steps
ENDLESS = 2**30  # steps
RANDOM_PLAY = "random play"
ROW_FIELDS = ("observation", "num_envs", "steps_per_second", "compile_seconds", "state_bytes")


@dataclass
class Row:
    """A program to time, and its best round."""

    play: Callable[[float], float]  # seconds to play -> steps per second
    observation: str
    num_envs: int
    episodes: str  # what ends them
    compile_seconds: float
    state_bytes: int
    steps_per_second: float = 0.0

    def play_round(self, seconds: float) -> None:
        """Play for the given time and keep the best speed so far."""
        self.steps_per_second = max(self.steps_per_second, self.play(seconds))


class Program:
    """A compiled run of `CHUNK` steps of `num_envs` environments, split over all devices.

    Args:
      env: what to step.
      params: of all environments; `play` accepts others of the same shapes.
      num_envs: split over gcd(num_envs, number of devices) devices.
      action: taken in all environments; random if None.
    """

    def __init__(
        self, env: CoinRun, params: EnvParams, num_envs: int, action: Action | None = None
    ) -> None:
        devices = jax.devices()
        mesh = Mesh(np.array(devices[: math.gcd(num_envs, len(devices))]), ("envs",))
        self._split = NamedSharding(mesh, PartitionSpec("envs"))
        self._whole = NamedSharding(mesh, PartitionSpec())
        self._num_envs = num_envs
        share = num_envs // mesh.size

        def start(keys: jax.Array, params: EnvParams) -> tuple[Any, ...]:
            reset_keys = jax.random.split(keys[0], share)
            observation, state = jax.vmap(env.reset, in_axes=(0, None))(reset_keys, params)
            nothing = jnp.zeros(share, jnp.float32)
            return keys, state, observation, nothing, nothing.astype(bool)

        def play(carry: tuple[Any, ...], params: EnvParams) -> tuple[Any, ...]:
            def step(carry: tuple[Any, ...], _: None) -> tuple[tuple[Any, ...], None]:
                keys, state = carry[:2]
                key, key_action, key_step = jax.random.split(keys[0], 3)
                actions = jax.random.randint(key_action, (share,), 0, NUM_ACTIONS, jnp.int32)
                if action is not None:
                    actions = jnp.full_like(actions, action)
                observation, state, reward, terminated, truncated, _ = jax.vmap(
                    env.step, in_axes=(0, 0, 0, None)
                )(jax.random.split(key_step, share), state, actions, params)
                # The observation is carried, not reduced, so that it is written to memory.
                return (key[None], state, observation, reward, terminated | truncated), None

            return jax.lax.scan(step, carry, None, CHUNK)[0]

        params = jax.device_put(params, self._whole)
        self._start = self._compile(start, self._keys(), params)
        carry = self._start(self._keys(), params)
        begin = time.perf_counter()
        self._play = self._compile(play, carry, params)
        self.compile_seconds = time.perf_counter() - begin
        leaves = jax.tree.leaves(carry[1])
        self.state_bytes = sum(leaf.dtype.itemsize * leaf.size for leaf in leaves) // num_envs

    def _keys(self) -> jax.Array:
        return jax.device_put(
            jax.random.split(jax.random.key(0), self._split.mesh.size), self._split
        )

    def _compile(self, function: Callable[..., Any], *arguments: Any) -> Any:
        mapped = jax.shard_map(
            function,
            mesh=self._split.mesh,
            in_specs=(self._split.spec, self._whole.spec),
            out_specs=self._split.spec,
            check_vma=False,
        )
        options: dict[str, str | bool] = {}
        if jax.default_backend() == "cpu":
            options["xla_cpu_multi_thread_eigen"] = False
        return jax.jit(mapped).lower(*arguments).compile(compiler_options=options)

    def play(self, params: EnvParams) -> Callable[[float], float]:
        """A player that runs for a given number of seconds and returns its steps per second."""
        params = jax.device_put(params, self._whole)
        carry = jax.block_until_ready(self._play(self._start(self._keys(), params), params))

        def go_on(seconds: float) -> float:
            nonlocal carry
            calls, begin = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - begin) < seconds:
                carry = jax.block_until_ready(self._play(carry, params))
                calls += 1
            return calls * CHUNK * self._num_envs / elapsed

        return go_on


def prepare(env: CoinRun, params: EnvParams, num_envs: int) -> Row:
    """Random play of `num_envs` environments."""
    program = Program(env, params, num_envs)
    return Row(
        program.play(params),
        env.observation,
        num_envs,
        RANDOM_PLAY,
        program.compile_seconds,
        program.state_bytes,
    )


def prepare_resets(env: CoinRun, params: EnvParams, num_envs: int) -> list[Row]:
    """Agents that stand still, in long and in short episodes.

    Nothing can reach the agent at its start, so only the time limit ends an episode.
    """
    program = Program(env, params.replace(max_steps_in_episode=jnp.int32(0)), num_envs, Action.NOOP)
    return [
        Row(
            program.play(params.replace(max_steps_in_episode=jnp.int32(limit))),
            env.observation,
            num_envs,
            episodes,
            program.compile_seconds,
            program.state_bytes,
        )
        for episodes, limit in (
            ("never end", ENDLESS),
            (f"end every {SHORT_EPISODE} steps", SHORT_EPISODE),
        )
    ]


COLUMNS = (
    *("environment", "observation", "episodes", "num_envs", "threads"),
    *("steps_per_second", "compile_seconds", "state_bytes"),
)


Line = list[str | int | float | None]


def _table(rows: list[Row], rivals: list[Rival]) -> list[Line]:
    """One line per program, in the order of COLUMNS."""
    ours: list[Line] = [
        [
            *("coinrun_jax", row.observation, row.episodes, row.num_envs, None),
            *(round(row.steps_per_second), round(row.compile_seconds, 1), row.state_bytes),
        ]
        for row in rows
    ]
    theirs: list[Line] = [
        [rival.name, "rgb", RANDOM_PLAY, num_envs, threads, round(speed), None, None]
        for rival in rivals
        for (threads, num_envs), speed in rival.best.items()
    ]
    return ours + theirs


def _print_table(table: list[Line]) -> None:
    lines = [list(COLUMNS)]
    lines += [["" if cell is None else str(cell) for cell in line] for line in table]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _seconds(text: str) -> float:
    try:
        return real("duration", float(text), LEAST_SECONDS, MOST_SECONDS)
    except ValueError:
        raise ArgumentTypeError(
            f"{shown(text)} is not a number of seconds within {LEAST_SECONDS} ... {MOST_SECONDS}"
        ) from None


def _arguments(arguments: list[str] | None) -> Namespace:
    parser = Parser(
        prog="python -m coinrun_jax.benchmark",
        description="Environment steps per second, compared with the original Procgen.",
    )
    add = parser.add_argument
    add("--observation", nargs="+", choices=OBSERVATIONS, default=["symbolic"])
    add("--mode", choices=MODES, default="hard")
    num_envs = integer(1, MOST_ENVS)
    add("--num-envs", nargs="+", type=num_envs, default=[256, 1024], metavar="N")
    add("--seconds", type=_seconds, default=1.0, help="minimum duration of a round (default: 1)")
    rounds = integer(1, MOST_ROUNDS)
    add("--rounds", type=rounds, default=ROUNDS, metavar="N", help=f"default: {ROUNDS}")
    add(
        "--procgen",
        metavar="PYTHON",
        help="Python interpreter with procgen installed, to benchmark it as well",
    )
    add(
        "--envpool",
        metavar="PYTHON",
        help="Python interpreter with envpool installed, to benchmark it as well",
    )
    add("--resets", action="store_true", help="also compare very short episodes")
    add("--json", type=Path, metavar="OUT")
    add("--csv", type=Path, metavar="OUT")
    add_force(parser)
    args = parser.parse_args(arguments)
    for name, values in (("observation", args.observation), ("num-envs", args.num_envs)):
        if len(set(values)) < len(values):
            raise InputError(f"--{name} repeats a value: {shown(values)}")
    if len(args.num_envs) > MOST_NUMBERS:
        raise InputError(f"--num-envs has {len(args.num_envs)} values; at most {MOST_NUMBERS}")
    require_outputs(args.force, args.json, args.csv)
    return args


def require_memory(env: CoinRun, num_envs: int) -> None:
    """Refuse numbers of environments whose states and observations do not fit into memory.

    Raises:
      InputError: with the least memory they need.
    """
    free = memory_per_device()
    if free is None:
        return
    params = jax.eval_shape(env.build_params)
    each = jax.eval_shape(env.reset, jax.eval_shape(lambda: jax.random.key(0)), params)
    share = num_envs // math.gcd(num_envs, len(jax.devices()))
    need = _bytes(params) + 2 * share * _bytes(each)  # before a step and after it
    if need > free:
        raise InputError(
            f"--num-envs {num_envs} of {env.observation} observations need at least "
            f"{need / 1e9:.1f} GB of memory per device; there are {free / 1e9:.1f} GB"
        )


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _restart_with_devices() -> None:
    """Restart with one CPU device per core if necessary: JAX fixes their number on import."""
    if jax.default_backend() == "cpu" and "JAX_NUM_CPU_DEVICES" not in os.environ:
        os.environ["JAX_NUM_CPU_DEVICES"] = str(num_cores())
        os.execv(sys.executable, [sys.executable, "-m", "coinrun_jax.benchmark", *sys.argv[1:]])


class Timed(NamedTuple):
    """All programs after their rounds."""

    rows: list[Row]  # random play
    resets: list[Row]
    rivals: list[Rival]

    def ratios(self) -> dict[str, dict[str, float]]:
        """Our best speed over the rival's, by rival name and our observation."""
        best: dict[str, float] = {}
        for row in self.rows:
            best[row.observation] = max(best.get(row.observation, 0.0), row.steps_per_second)
        return {
            rival.name: {name: speed / max(rival.best.values()) for name, speed in best.items()}
            for rival in self.rivals
        }


def _time(args: Namespace, envs: list[CoinRun]) -> Timed:
    wanted = [(n, p) for n, p in (("procgen", args.procgen), ("envpool", args.envpool)) if p]
    with contextlib.ExitStack() as stack:
        rivals = [
            stack.enter_context(Rival(name, python, args.mode, num_cores()))
            for name, python in wanted
        ]
        rows = [
            prepare(env, env.default_params, num_envs) for env in envs for num_envs in args.num_envs
        ]
        resets = [
            row
            for env in envs
            if args.resets
            for row in prepare_resets(env, env.default_params, args.num_envs[-1])
        ]
        everything: list[Row | Rival] = [*rows, *resets, *rivals]
        for _ in range(args.rounds):
            for timed in everything:
                timed.play_round(args.seconds)
    return Timed(rows, resets, rivals)


def _as_json(timed: Timed, device: str) -> dict[str, Any]:
    ratios = timed.ratios()
    result: dict[str, Any] = {
        "device": device,
        "rows": [{name: getattr(row, name) for name in ROW_FIELDS} for row in timed.rows],
        "procgen": [],
        "ratio_to_procgen": max(ratios["procgen"].values()) if "procgen" in ratios else None,
        "ratios": ratios,
        "resets": [
            {name: getattr(row, name) for name in ("episodes", *ROW_FIELDS)} for row in timed.resets
        ],
    }
    for rival in timed.rivals:
        result[rival.name] = [
            {"threads": threads, "num_envs": num_envs, "steps_per_second": speed}
            for (threads, num_envs), speed in rival.best.items()
        ]
    return result


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    args = _arguments(arguments)
    if arguments is None:
        _restart_with_devices()
    envs = [CoinRun(mode=args.mode, observation=name) for name in args.observation]
    for env in envs:
        require_memory(env, max(args.num_envs))
    jax.config.update("jax_enable_compilation_cache", False)  # compile times would be meaningless
    timed = _time(args, envs)
    table = _table(timed.rows + timed.resets, timed.rivals)
    device = device_name()
    print(device)
    _print_table(table)
    for name, by_observation in timed.ratios().items():
        for observation, ratio in by_observation.items():
            print(f"{observation}: {ratio:.1f} x {name} (best against best)")
    if args.csv:
        write_rows(args.csv, [*COLUMNS, "device"], [[*line, device] for line in table])
    if args.json:
        write_json(args.json, _as_json(timed, device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
