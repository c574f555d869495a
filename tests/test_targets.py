"""`train.targets` without a compiler: its reader of programs, its estimate, what it refuses."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from coinrun_jax.checks import InputError
from tests.refusals import refusal
from train.targets.__main__ import main
from train.targets.accelerators import accelerators, target_config
from train.targets.estimate import estimate
from train.targets.hlo import num_bytes, parse
from train.targets.hlo_counts import (
    collectives,
    counts,
    host_transfers,
    loops,
    over_environments,
    step_loop,
)
from train.targets.matmul_flops import matmul_flops

PROGRAM = (Path(__file__).parent / "data" / "compiled_update.hlo").read_text()


def test_shapes_have_bytes() -> None:
    assert num_bytes("f32[1024,40]{1,0:T(8,128)S(1)}") == 4 * 1024 * 40
    assert num_bytes("(s32[], /*index=1*/bf16[3,2]{1,0}, pred[5]{0:T(512)})") == 4 + 12 + 5
    assert num_bytes("u8[]") == 1


def test_loops_have_lengths_and_sources() -> None:
    found = loops(parse(PROGRAM))
    assert [(loop.trips, loop.source) for loop in found] == [
        (64, "game.py:118"),
        (32, "train/rollout.py:137"),
    ]


def test_a_loop_over_environments_is_one_that_the_compiler_made() -> None:
    found = loops(parse(PROGRAM))
    assert [loop.op_name for loop in over_environments(found, 64)] == [
        "jit(update)/while/body/gather"
    ]
    assert over_environments(found, 48) == []


def test_kernels_are_counted_as_often_as_they_run() -> None:
    hlo = parse(PROGRAM)
    step = step_loop(hlo, 32)
    assert step is not None
    one = counts(hlo, step.body)
    assert one.kernels == 1 + 2 + 64  # the fusion, the longer branch, a gather's rounds
    assert (one.loops, one.host_predicates) == (1, 1)
    assert counts(hlo, hlo.entry).kernels == 32 * one.kernels + 1


def test_an_update_in_place_moves_its_part_alone() -> None:
    hlo = parse(PROGRAM)
    branch, gather, index = 2 * 2 * 256, 64 * 2 * 256, 4
    assert counts(hlo, "step").bytes == 2 * 256 + index + branch + gather


def test_collectives_and_transfers_are_found() -> None:
    assert collectives(parse(PROGRAM)).bytes == 256
    assert host_transfers(parse(PROGRAM)) == 0
    to_host = PROGRAM.replace("f32[64]{0} copy(%q.2)", "f32[64]{0:S(5)} copy(%q.2)")
    assert host_transfers(parse(to_host)) == 1


def test_what_is_no_program_is_refused() -> None:
    with pytest.raises(ValueError, match="no entry computation"):
        parse("HloModule nothing")


def test_flops_are_those_of_every_round() -> None:
    def program(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda carry, _: (carry @ carry, None), x, None, 5)[0]

    x = jnp.zeros((8, 8))
    assert matmul_flops(jax.make_jaxpr(program)(x), "cpu") == 5 * 2 * 8**3


def test_products_of_other_platforms_do_not_count() -> None:
    def program(x: jax.Array) -> jax.Array:
        return jax.lax.platform_dependent(x, tpu=lambda x: x @ x, default=lambda x: x)

    traced = jax.make_jaxpr(program)(jnp.zeros((8, 8)))
    assert [matmul_flops(traced, name) for name in ("tpu", "cuda")] == [2 * 8**3, 0]


def test_the_largest_part_bounds() -> None:
    card, work = accelerators()["h100"], {"flops": 1e9, "steps": 1000}
    launched = estimate(card, "float32", kernels=10_000, num_bytes=1000, **work)
    moved = estimate(card, "float32", kernels=1, num_bytes=10**12, **work)
    sent = {"kernels": 1, "num_bytes": 1000, "collectives": 100, "collective_bytes": 10**6}
    few, many = (estimate(card, "float32", devices=n, **sent, **work) for n in (8, 512))
    assert (launched.bound, moved.bound, few.bound) == ("launches", "memory", "links")
    assert many.steps_per_second < few.steps_per_second
    low, high = launched.steps_per_second
    assert low < high
    assert low == 1000 / launched.seconds[1]


def test_every_description_is_complete() -> None:
    assert set(accelerators()) == {"h100", "h200", "a100", "v5e", "v5p", "v6e"}
    for one in accelerators().values():
        assert one.source
        assert one.memory > 1e9
        for devices in (1, 8, 64):
            name, options = one.topology(devices)
            assert name or "target_config" in options
            assert 0 < one.link(devices) < one.bandwidth
    assert "core_count: 132" in target_config(accelerators()["h100"])


def test_numbers_of_devices_without_a_topology_are_refused() -> None:
    with pytest.raises(InputError, match="3 of TPU v5e is not one of 1, 4, 8, 64, 256"):
        accelerators()["v5e"].topology(3)
    with pytest.raises(InputError, match="no multiple of 8"):
        accelerators()["h100"].topology(12)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--for"),
        (["--for", "abacus"], "invalid choice: 'abacus'"),
        (["--for", "v5e", "--devices", "0"], "not an integer within 1"),
        (["--for", "v5e", "--devices", "7"], "not one of 1, 4, 8, 64, 256"),
        (["--for", "v5e", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--for", "v5e", "--ppo.num-env", "3"], "unknown setting"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in refusal(main, arguments, capsys)


@pytest.mark.parametrize("target", ["v5e", "h100"])
def test_a_missing_compiler_is_named_with_its_command(
    target: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install" in refusal(main, ["--for", target], capsys)


def test_outputs_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    out.write_text("{}")
    assert "--force" in refusal(main, ["--for", "v5e", "--json", str(out)], capsys)
