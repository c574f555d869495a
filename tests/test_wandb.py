"""Weights & Biases: what arrives there, and that its failures cost nothing but a warning."""

from __future__ import annotations

import dataclasses
import itertools
import json
import struct
import sys
import threading
import types

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

from tests.conftest import ROOT
from tests.runs import TINY, read_metrics
from train import publish, run
from train.config import WandbConfig, save_config
from train.logging.wandb_logger import WandbLogger

OFFLINE = dataclasses.replace(
    TINY, num_seeds=4, wandb=WandbConfig(mode="offline", project="a-project")
)
ONLINE = dataclasses.replace(TINY, wandb=WandbConfig(mode="online"))


def read_records(path):
    """Of an offline run: records in the blocks of LevelDB's log, after a header of 7 bytes."""
    data, position, whole = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # full, or the last part
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wandb") / "several"
    assert run.start(OFFLINE, folder) == 0
    wandb.teardown()  # as a command that ends: what is logged may be written after `finish` only
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3])
def test_an_offline_run_reads_back(offline, seed):
    folder = offline / f"seed_{seed}"
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    records = list(read_records(path))
    (about,) = [r.run for r in records if r.WhichOneof("record_type") == "run"][:1]
    assert about.project == "a-project"
    assert about.run_group == "several"
    assert about.display_name == f"several-seed-{seed}"
    ids = json.loads((offline / "run.json").read_text())["wandb_ids"]
    assert about.run_id == ids[seed]
    settings = {item.key: json.loads(item.value_json) for item in about.config.update}
    assert settings["seed"] == seed
    assert settings["ppo"]["num_envs"] == TINY.ppo.num_envs
    logged = []
    for record in records:
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            logged.append({i.key or i.nested_key[0]: json.loads(i.value_json) for i in items})
    rows = read_metrics(folder)
    assert len(logged) == len(rows) == TINY.num_updates
    for values, row in zip(logged, rows, strict=True):
        for name, text in row.items():
            if text:
                assert values[name] == pytest.approx(float(text)), name
            else:
                assert name not in values
    artifacts = [r for r in records if "artifact" in str(r.request.WhichOneof("request_type"))]
    artifacts += [r for r in records if r.WhichOneof("record_type") == "artifact"]
    assert any("policy" in str(record) for record in artifacts)


def service(**functions):
    """A module in place of wandb."""
    fake = types.SimpleNamespace(id="x", log=lambda *a, **k: None, finish=lambda: None)
    for name, function in functions.items():
        setattr(fake, name, function)
    return types.SimpleNamespace(
        init=functions.get("init", lambda **_: fake), Settings=lambda **_: None
    )


def refuse(*_, **__):
    raise ConnectionError("the service is\n down")


def logger(tmp_path, monkeypatch, fake):
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return WandbLogger(ONLINE, tmp_path, [tmp_path], ["id"], patience=8)


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_failing_service_is_one_warning(tmp_path, monkeypatch, capsys, where):
    own = logger(tmp_path, monkeypatch, service(**{where: refuse}))
    for update in range(5):
        own.log([{"update": update}])
    own.close()
    assert own.failed
    complaint = capsys.readouterr().err
    assert complaint == "warning: wandb is disabled from now on: the service is down\n"


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_hanging_service_is_one_warning(tmp_path, monkeypatch, capsys, where):
    released = threading.Event()
    # A clock that moves only when it is read: no call waits for it, whatever the machine does.
    monkeypatch.setattr(
        "train.logging.wandb_logger.time",
        types.SimpleNamespace(monotonic=itertools.count().__next__),
    )
    own = logger(tmp_path, monkeypatch, service(**{where: lambda *_, **__: released.wait()}))
    for update in range(5):
        own.log([{"update": update}])
    assert not own.failed  # training went on
    own.close()
    assert own.failed
    assert capsys.readouterr().err == (
        "warning: wandb is disabled from now on: it has not answered for 8 s\n"
    )
    released.set()


def test_a_run_without_its_service_is_complete(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", service(init=refuse))
    assert run.start(ONLINE, tmp_path / "run") == 0
    assert len(read_metrics(tmp_path / "run")) == TINY.num_updates
    assert capsys.readouterr().err.count("wandb is disabled") == 1


def test_an_evaluation_joins_the_run_it_is_of(tmp_path):
    run_dir, results = tmp_path / "run" / "seed_1", ROOT / "results" / "quickstart"
    run_dir.mkdir(parents=True)
    save_config(OFFLINE, tmp_path / "run" / "config.yaml")
    save_config(OFFLINE.of_seed(1), run_dir / "config.yaml")
    (tmp_path / "run" / "run.json").write_text('{"wandb_ids": ["first", "second", "3", "4"]}')
    (run_dir / "run.json").write_text('{"one_of": 2}')
    words = ["--run", str(run_dir), "--eval", str(results), "--mode", "offline"]
    assert publish.main(words) == 0
    wandb.teardown()  # as in `offline`
    (path,) = run_dir.glob("wandb/offline-run-*-second/run-second.wandb")
    types = {
        item.nested_key[0]: json.loads(item.value_json)
        for record in read_records(path)
        if record.WhichOneof("record_type") == "history"
        for item in record.history.item
        if list(item.nested_key[1:]) == ["_type"]
    }
    assert types == {
        "eval/conditions": "table-file",
        "eval/outcomes": "image-file",
        "eval/curves": "image-file",
        "eval/coin_fetched": "video-file",
        "eval/coin_run_past": "video-file",
    }


@pytest.mark.parametrize("words", [[], ["--run", "nowhere", "--eval", "nowhere"]])
def test_nothing_to_publish_is_one_line(capsys, words):
    assert publish.main(words) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ")
    assert complaint.count("\n") == 1
