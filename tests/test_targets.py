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

PROGRAM = """HloModule jit_update, is_scheduled=true

FileNames
1 "train/rollout.py"
2 "game.py"

FunctionNames
1 "step"

FileLocations
1 {file_name_id=1 function_name_id=1 line=137 end_line=137 column=4 end_column=9}
2 {file_name_id=2 function_name_id=1 line=118 end_line=118 column=4 end_column=9}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=1}

%gather_cond (p: (s32[], f32[64])) -> pred[] {
  %bound = s32[]{:T(128)} constant(64)
  %p = (s32[]{:T(128)}, f32[64]{0:T(128)S(1)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %bound), direction=LT
}

%gather_body (p.1: (s32[], f32[64])) -> (s32[], f32[64]) {
  %p.1 = (s32[]{:T(128)}, f32[64]{0:T(128)S(1)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%p.1), index=0
  %x.1 = f32[64]{0:T(128)S(1)} get-tuple-element(%p.1), index=1
  %y.1 = f32[64]{0:T(128)S(1)} negate(%x.1)
  ROOT %t.1 = (s32[]{:T(128)}, f32[64]{0:T(128)S(1)}) tuple(%i.1, %y.1)
}

%fused_update (a: f32[1000,64], b: f32[1,64], c: s32[]) -> f32[1000,64] {
  %a = f32[1000,64]{1,0} parameter(0)
  %b = f32[1,64]{1,0} parameter(1)
  %c = s32[] parameter(2)
  ROOT %d = f32[1000,64]{1,0} dynamic-update-slice(%a, %b, %c, %c)
}

%cheap (q: f32[64]) -> f32[64] {
  ROOT %q = f32[64]{0} parameter(0)
}

%dear (q.1: f32[64]) -> f32[64] {
  %q.1 = f32[64]{0} parameter(0)
  %q.2 = f32[64]{0} negate(%q.1)
  ROOT %q.3 = f32[64]{0} copy(%q.2)
}

%step (s: (s32[], f32[64])) -> (s32[], f32[64]) {
  %s = (s32[], /*index=1*/f32[64]{0}) parameter(0)
  %n = s32[] get-tuple-element(%s), index=0
  %x = f32[64]{0} get-tuple-element(%s), index=1
  %buffer = f32[1000,64]{1,0} constant({...})
  %kept = f32[1000,64]{1,0} fusion(%buffer, %x, %n), kind=kLoop, calls=%fused_update
  %choice = pred[] constant(true)
  %chosen = f32[64]{0} conditional(%choice, %x, %x), true_computation=%dear, false_computation=%cheap
  %w = (s32[], f32[64]{0}) while(%s), condition=%gather_cond, body=%gather_body, metadata={op_name="jit(update)/while/body/gather" stack_frame_id=2}
  ROOT %r = (s32[], f32[64]{0}) tuple(%n, %chosen)
}

%step_cond (z: (s32[], f32[64])) -> pred[] {
  %z = (s32[], f32[64]{0}) parameter(0)
  ROOT %go = pred[] constant(true)
}

ENTRY %main (in: f32[64]) -> f32[64] {
  %in = f32[64]{0} parameter(0)
  %zero = s32[] constant(0)
  %start = (s32[], f32[64]{0}) tuple(%zero, %in)
  %loop = (s32[], f32[64]{0}) while(%start), condition=%step_cond, body=%step, metadata={op_name="jit(update)/while" stack_frame_id=1}, backend_config={"known_trip_count":{"n":"32"}}
  %out = f32[64]{0} get-tuple-element(%loop), index=1
  ROOT %sum = f32[64]{0} all-reduce(%out), replica_groups={{0,1}}, to_apply=%cheap
}
"""


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
    assert matmul_flops(jax.make_jaxpr(program)(x)) == 5 * 2 * 8**3


def test_the_largest_part_bounds() -> None:
    card, work = accelerators()["h100"], {"flops": 1e9, "steps": 1000}
    launched = estimate(card, "float32", kernels=10_000, num_bytes=1000, **work)
    moved = estimate(card, "float32", kernels=1, num_bytes=10**12, **work)
    assert (launched.bound, moved.bound) == ("launches", "memory")
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
    assert "core_count: 132" in target_config(accelerators()["h100"])


def test_numbers_of_devices_without_a_topology_are_refused() -> None:
    with pytest.raises(InputError, match="3 of TPU v5e is not one of 1, 4, 8, 64"):
        accelerators()["v5e"].topology(3)
    with pytest.raises(InputError, match="no multiple of 8"):
        accelerators()["h100"].topology(12)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--for"),
        (["--for", "abacus"], "invalid choice: 'abacus'"),
        (["--for", "v5e", "--devices", "0"], "not an integer within 1"),
        (["--for", "v5e", "--devices", "7"], "not one of 1, 4, 8, 64"),
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
