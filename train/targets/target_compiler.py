"""Compiles a run's update, or its environment alone, for devices that are not present."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from coinrun_jax.checks import InputError
from train.config import TrainConfig
from train.devices.layout import AXIS
from train.environment import num_actions
from train.program import Program
from train.targets.accelerators import Accelerator
from train.targets.matmul_flops import matmul_flops

STEPS = 32
"""Steps of the environment-only program."""
_NEEDED = {
    "cuda": {
        "jax_cuda12_plugin": "jax-cuda12-plugin==JAX",
        "jax_plugins.xla_cuda12": "jax-cuda12-pjrt==JAX",
        "nvidia.cuda_nvcc": "nvidia-cuda-nvcc-cu12",
        "nvidia.nvjitlink": "nvidia-nvjitlink-cu12",
        "nvidia.cuda_nvrtc": "nvidia-cuda-nvrtc-cu12",
    },
    "tpu": {"libtpu": "jax[tpu]==JAX"},
}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program compiled for a target; only its text is usable here."""

    text: str
    seconds: float
    """Compile time, tracing included."""
    memory: int
    """Bytes per device: arguments, results and temporaries."""
    flops: float
    """FLOP of matrix products and convolutions in one execution, over all devices."""
    num_steps: int
    """Rounds of its loop over environment steps."""


def require_compiler(platform: str) -> None:
    """Check that the packages that compile for a platform are installed.

    Raises:
      InputError: if not, with the command that installs them.
    """
    missing = [name for name in _NEEDED[platform] if not _is_installed(name)]
    if missing:
        flags = "--no-deps " if platform == "cuda" else ""
        packages = " ".join(f"'{name}'" for name in _NEEDED[platform].values())
        packages = packages.replace("JAX", jax.__version__)
        raise InputError(f"no compiler for {platform} is installed: pip install {flags}{packages}")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def compiler_environment(accelerator: Accelerator) -> dict[str, str]:
    """Variables that must be set when a process starts: compilers read them on loading."""
    variables = {
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",  # it would look for runtime-only libraries
    }
    if accelerator.platform == "tpu":
        variables["TPU_SKIP_MDS_QUERY"] = "1"
        variables["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # compilers use no chip to contend for
        variables["TPU_WORKER_HOSTNAMES"] = "localhost"
        variables["TPU_ACCELERATOR_TYPE"] = accelerator.details["accelerator_type"]
    return variables


def target_devices(accelerator: Accelerator, count: int) -> list[Any]:
    """Devices to compile for, in a process started with `compiler_environment`.

    Raises:
      InputError: for a device count without a topology, or if jax refuses it.
    """
    name, options = accelerator.topology(count)
    jax.config.update("jax_enable_compilation_cache", False)  # hits would hide the compile time
    from jax.experimental import topologies

    try:
        topology = topologies.get_topology_desc(
            platform=accelerator.platform, topology_name=name, **options
        )
    except (jax.errors.JaxRuntimeError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{accelerator.name} cannot be compiled for here: {error}") from error
    return list(topology.devices[:count])


def compile_for(
    config: TrainConfig, accelerator: Accelerator, devices: list[Any], environment_only: bool
) -> Compiled:
    """Compile the update of a run, or `STEPS` steps of its environments with random actions.

    Raises:
      InputError: for settings that cannot be used, or cannot be divided among the devices.
    """
    began = time.perf_counter()
    program = Program(config, devices=devices)
    mesh = program.layout.mesh or Mesh(devices, (AXIS,))
    state = _placed(program.initial_shapes(), program.specs(), mesh)
    if environment_only:
        traced, num_steps = _trace_environment(program, state, mesh), STEPS
    else:
        traced, num_steps = program.trace(state), config.ppo.num_steps
    # Autotuning would run kernels on a GPU.
    options: dict[str, Any] = (
        {"xla_gpu_autotune_level": 0} if accelerator.platform == "cuda" else {}
    )
    compiled = traced.lower().compile(compiler_options=options)
    seconds = time.perf_counter() - began
    sizes = compiled.memory_analysis()
    return Compiled(
        text=compiled.as_text(),
        seconds=seconds,
        memory=sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        + sizes.temp_size_in_bytes
        - sizes.alias_size_in_bytes,
        flops=matmul_flops(traced.jaxpr, accelerator.platform),
        num_steps=num_steps,
    )


def _placed(shapes: Any, specs: Any, mesh: Mesh) -> Any:
    """Shapes with the sharding of their arrays."""

    def place(spec: PartitionSpec, part: Any) -> Any:
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), part
        )

    return jax.tree.map(place, specs, shapes, is_leaf=lambda one: isinstance(one, PartitionSpec))


def _trace_environment(program: Program, state: Any, mesh: Mesh) -> Any:
    """Trace one seed's environments alone; every observation is kept, as for a policy."""
    env, num_envs = program.learner.env, program.config.ppo.num_envs
    share, count = num_envs // mesh.size, num_actions(program.config.env)

    def play(env_state: Any, observation: Any, params: Any) -> Any:
        keys = jax.random.split(jax.random.key(0), share)

        def step(carry: tuple[Any, Any], time: jax.Array) -> tuple[tuple[Any, Any], None]:
            now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, time)
            draw = jax.vmap(lambda key: jax.random.randint(key, (), 0, count, jnp.int32))
            observation, env_state, *_ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
                now, carry[0], draw(now), params
            )
            return (env_state, observation), None

        times = jnp.arange(STEPS, dtype=jnp.int32)
        return jax.lax.scan(step, (env_state, observation), times)[0]

    per_env, shared = program.layout.per_env, program.layout.shared
    mapped = jax.shard_map(
        play,
        mesh=mesh,
        in_specs=(per_env, per_env, shared),
        out_specs=per_env,
        check_vma=False,
    )
    arguments = state.env_state, state.observation, state.env_params
    return jax.jit(mapped).trace(*arguments)
