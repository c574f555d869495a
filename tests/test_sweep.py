"""Sweeps: valid to wandb, and runnable without it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from wandb.apis.public.sweeps import _validate_config_and_fill_distribution
from wandb.sdk.launch.sweeps.utils import (
    create_sweep_command_args,
    load_sweep_config,
    make_launch_sweep_entrypoint,
)

from coinrun_jax.checks import InputError
from tests.conftest import ROOT
from tests.runs import arguments
from train import sweep
from train.config import NetworkConfig, TrainConfig, save_config
from train.devices.worker_resources import divide_machine, gpus

SWEEPS = sorted((ROOT / "configs").glob("s*/*.yaml"))


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_questions_asked():
    assert {path.stem for path in SWEEPS} >= {
        "coin_randomisation",
        "placements",
        "num_levels",
        "network_width",
        "observation",
    }
    randomisation = sweep.load_sweep(ROOT / "configs" / "sweeps" / "coin_randomisation.yaml")
    assert randomisation.parameters["env.placement_probability"] == (
        *(0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 1.0),
    )


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_wandb_takes_the_sweep_and_starts_what_we_start(path):
    config = load_sweep_config(str(path))
    assert config is not None
    assert _validate_config_and_fill_distribution(config)["method"] == "grid"
    ours = sweep.load_sweep(path)
    points = ours.points()
    assert len({ours.run_name(point) for point in points}) == len(points)
    for point in points:
        args = create_sweep_command_args(
            {"args": {name: {"value": value} for name, value in point.items()}}
        )
        command, rest = make_launch_sweep_entrypoint(args, list(config["command"]))
        assert [*command, *rest] == ["${env}", "python", "-m", "train", *ours.arguments(point)]
        assert "metric" not in config or sweep.config_of(ours.arguments(point)).eval_every > 0


def test_an_agents_run_has_its_own_directory_and_is_seen(monkeypatch):
    from train import run
    from train.__main__ import main

    started = []
    monkeypatch.setattr(run, "start", lambda *arguments: started.append(arguments) or 0)
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_RUN_ID", "xyz")
    assert main([]) == 0
    ((config, folder, _),) = started
    assert config.wandb.mode == "online"
    assert folder == Path("runs/abc/xyz")


SMALL = """
name: small
method: grid
parameters:
  seed: {values: [0, 1, 2, 3]}
  network.width: {value: 4}
command: ["${env}", python, -m, train, "${args}"]
"""


def fake_train(folder: Path) -> Path:
    """A program in place of `python`, that trains at once and notes its arguments."""
    config = TrainConfig(network=NetworkConfig(width=4))
    save_config(config, folder / "config.yaml")
    script = folder / "fake.py"
    script.write_text(
        f"""#!{sys.executable}
import json, pathlib, sys
words = sys.argv[3:]
run_dir = pathlib.Path(words[-1])
run_dir.mkdir(exist_ok=True)
with open(run_dir / "starts", "a") as file:
    file.write(words[0] + "\\n")
config = pathlib.Path({str(folder / "config.yaml")!r}).read_text()
seed = run_dir.name.removeprefix("seed-")
(run_dir / "config.yaml").write_text(config.replace("\\nseed: 0", "\\nseed: " + seed))
if run_dir.name == "seed-2" and words[0] != "--resume":
    sys.exit("out of luck")
(run_dir / "policy.json").write_text(json.dumps({{"update": {config.num_updates}}}))
"""
    )
    script.chmod(0o755)
    return script


def test_a_sweep_skips_what_is_done_and_goes_on_with_the_rest(tmp_path, monkeypatch, capsys):
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.setattr(sys, "executable", str(fake_train(tmp_path)))
    words = [str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out"), "--jobs", "2"]
    before = signal.getsignal(signal.SIGTERM)
    assert sweep.main(words) == 1
    assert signal.getsignal(signal.SIGTERM) == before
    said = capsys.readouterr().out
    assert "seed-2: not done, see" in said
    assert "out of luck" in (tmp_path / "out" / "seed-2.log").read_text()
    assert sweep.main(words) == 0
    starts = {p.parent.name: p.read_text().split() for p in tmp_path.glob("out/*/starts")}
    assert starts == {
        "seed-0": ["--seed=0"],
        "seed-1": ["--seed=1"],
        "seed-2": ["--seed=2", "--resume"],
        "seed-3": ["--seed=3"],
    }


def test_runs_of_other_settings_are_not_taken_for_these(tmp_path, monkeypatch, capsys):
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.setattr(sys, "executable", str(fake_train(tmp_path)))
    words = [str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out")]
    sweep.main(words)
    capsys.readouterr()
    assert sweep.main([*words, "--ppo.gamma", "0.9"]) == 2
    assert "ppo.gamma 0.999, not 0.9" in capsys.readouterr().err
    assert sweep.main([*words, "--wandb.mode", "offline"]) == 0


def test_two_runs_of_one_name_are_refused(tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_config(TrainConfig(), tmp_path / folder / "q.yaml")
    files = f"[{tmp_path}/a/q.yaml, {tmp_path}/b/q.yaml]"
    text = SMALL.replace("network.width: {value: 4}", f"config: {{values: {files}}}")
    (tmp_path / "small.yaml").write_text(text)
    assert sweep.main([str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert "seed-0_config-q" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes cannot be bound here")
def test_jobs_have_the_cores_to_share(tmp_path, monkeypatch):
    cores = os.sched_getaffinity(0)
    script = fake_train(tmp_path)
    script.write_text(
        script.read_text().replace(
            "run_dir.mkdir",
            "import os, time; time.sleep(0.5)\n"
            'print("cores", *os.sched_getaffinity(0), flush=True)\n'
            "run_dir.mkdir",
            1,
        )
    )
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.setattr(sys, "executable", str(script))
    for jobs in (1, 2, 1000):
        out = tmp_path / str(jobs)
        sweep.main([str(tmp_path / "small.yaml"), "--out", str(out), "--jobs", str(jobs)])
        said = [log.read_text().split("cores ")[1].split("\n")[0] for log in out.glob("*.log")]
        used = [frozenset(map(int, line.split())) for line in said]
        assert len(used) == 4
        if jobs == 2 and len(cores) > 1:
            assert len(set(used)) == 2
            assert set.union(*map(set, used)) == cores
            assert all(len(share) < len(cores) for share in used)
        else:
            assert set(used) == {frozenset(cores)}


@pytest.mark.parametrize(
    ("names", "jobs", "devices", "memory"),
    [
        ([], 2, [None, None], [None, None]),
        (["0", "1"], 1, [None], [None]),  # a job alone has both
        (["0", "3"], 2, ["0", "3"], [None, None]),
        (["0"], 2, ["0", "0"], ["0.450", "0.450"]),
        (["0", "1"], 3, ["0", "1", "0"], ["0.450", None, "0.450"]),
    ],
)
def test_jobs_have_the_gpus_to_share(monkeypatch, names, jobs, devices, memory):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    found = [share.environment for share in divide_machine(jobs)]
    assert [each.get("CUDA_VISIBLE_DEVICES") for each in found] == devices
    assert [each.get("XLA_PYTHON_CLIENT_MEM_FRACTION") for each in found] == memory


def test_gpus_are_found_without_jax(tmp_path, monkeypatch):
    for name in ("nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus(tmp_path) == ["2", "10"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b")
    assert gpus(tmp_path) == ["GPU-a", "GPU-b"]


def test_shards_divide_the_runs(tmp_path, monkeypatch):
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.setattr(sys, "executable", str(fake_train(tmp_path)))
    for index in range(2):
        out = tmp_path / str(index)
        words = [str(tmp_path / "small.yaml"), "--out", str(out), "--shard", f"{index}/2"]
        sweep.main(words)
        assert sorted(path.parent.name for path in out.glob("*/starts")) == [
            f"seed-{index}",
            f"seed-{index + 2}",
        ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("grid", "bayes"), "bayes"),
        (("seed:", "sead:"), "sead"),
        (("{value: 4}", "{value: 0}"), "network.width 0"),
        (("{value: 4}", "{min: 1, max: 2}"), "network.width' has neither"),
        (("python, -m, train", "python, -m, eval"), "command"),
        (("name: small", "name: ../../small"), "name '../../small'"),
        (("command: [", "command: 5 #"), "command 5"),
        (("  network.width", "  seed: {value: 3}\n  network.width"), "twice"),
        (("seed: {values: [0, 1, 2, 3]}", "seed: {values: [0, 1.5]}"), "1.5"),
        (("seed: {values: [0, 1, 2, 3]}", "env.placement: {values: [end, ../x]}"), "../x"),
        (("seed: {values: [0, 1, 2, 3]}", "env.placement: {values: [end, nowhere]}"), "nowhere"),
        (
            (
                "seed: {values: [0, 1, 2, 3]}",
                "\n  ".join(f"a{i}: {{values: [{'1, ' * 59}]}}" for i in range(6)),
            ),
            "at most 10,000",
        ),
        (("parameters:", "parameter:"), "parameters"),
    ],
)
def test_bad_sweeps_are_one_line_and_run_nothing(tmp_path, capsys, change, named):
    (tmp_path / "small.yaml").write_text(SMALL.replace(*change))
    assert sweep.main([str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out")]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ")
    assert complaint.count("\n") == 1
    assert named in complaint
    assert not (tmp_path / "out").exists()


def test_shards_out_of_range_are_refused(tmp_path, capsys):
    (tmp_path / "small.yaml").write_text(SMALL)
    for shard in ("2/2", "x", "1"):
        assert sweep.main([str(tmp_path / "small.yaml"), "--shard", shard]) == 2
        assert "I/N" in capsys.readouterr().err


@pytest.mark.thorough
def test_a_real_sweep_trains(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL.replace("[0, 1, 2, 3]", "[0]").replace("4}", "16}"))
    out = tmp_path / "out"
    assert sweep.main([str(tmp_path / "small.yaml"), "--out", str(out), *arguments()]) == 0
    assert sweep.is_done(out / "small")


def test_unreadable_sweeps_are_named(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        sweep.load_sweep(tmp_path / "nowhere.yaml")
