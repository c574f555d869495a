"""Modules of the user's own: placements from `python -m train` to `python -m eval`, testbeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import yaml

from coinrun_jax import registry
from coinrun_jax.checks import InputError
from coinrun_jax.registry import import_plugins
from eval.__main__ import main as evaluate
from tests.conftest import QUICK_COMPILE, ROOT
from tests.refusals import refusal
from tests.runs import arguments
from train.__main__ import main as train

PLUGIN = """
from coinrun_jax import register_placement
from coinrun_jax.coinrun.places import standing

register_placement("on_a_crate", lambda terrain: standing(terrain) & (terrain.tiles != 1))
"""


COMMANDS = """
import json, sys
from coinrun_jax.coinrun.placement import CATALOGUE
from eval.evaluate import make_arena
from eval.options import parse
from train.__main__ import main as train

def evaluate(words):
    options = parse(words, "", lambda testbed: [])
    arena = make_arena(options.runs[0].policy.env_config, {}, options.protocol)
    print(*(arena.params_of(number).placement.present for number in range(2)))

for command, words in json.loads(sys.argv[1]):
    assert not {"train": train, "eval": evaluate}[command](words), words
    del sys.modules["my_placements"], CATALOGUE["on_a_crate"]
"""
"""Each command in turn, in one process but as if each had its own: the plugin is forgotten."""


@pytest.mark.slow
def test_a_placement_of_ones_own_is_trained_on_and_set_up_for_evaluation(tmp_path, capsys):
    (tmp_path / "my_placements.py").write_text(PLUGIN)
    suite = tmp_path / "own.yaml"
    suite.write_text("conditions: [{name: own, placement: on_a_crate, control: true}]")
    own, folder = ["--env.placement", "on_a_crate", "--env.num-levels", "16"], tmp_path / "run"
    training = arguments(*own, "--run-dir", str(folder), updates=1)
    assert "on_a_crate" in refusal(train, training, capsys)
    play = ["--run", str(folder), "--num-levels", "4", "--out", str(tmp_path / "eval")]
    plugins = ["--plugins", "my_placements"]
    commands = [
        ("train", [*training, *plugins]),
        ("eval", [*play, "--suite", str(suite), *plugins]),
    ]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", **QUICK_COMPILE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((folder / "config.yaml").read_text())["plugins"] == ["my_placements"]
    assert done.stdout.endswith("True False\n")
    assert "my_placements" in refusal(train, ["--resume", str(folder)], capsys)  # not to be found
    complaint = refusal(evaluate, [*play, "--suite", "capability", "--force"], capsys)
    assert "--plugins my_placements" in complaint  # a policy's file runs no code by itself


@pytest.mark.parametrize("content", ["1 / 0", "import nowhere", "raise SystemExit", "("])
def test_plugins_that_fail_are_one_line(tmp_path, monkeypatch, content):
    (tmp_path / "broken_plugin.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("broken_plugin", "no_such_plugin", "../broken_plugin", "a..b"):
        with pytest.raises(InputError, match="plugin ") as error:
            import_plugins([name])
        assert "\n" not in str(error.value)


TESTBED = """
from coinrun_jax.registry import register
from coinrun_jax.testbed import Testbed

class Mine(Testbed):
    id = "Mine-v3"

register(Mine())
"""


@pytest.fixture
def entry(tmp_path, monkeypatch):
    """An installed package's entry point, by the content of its module."""

    def install(content):
        (tmp_path / "mine_with_an_entry.py").write_text(content)
        point = EntryPoint("mine", "mine_with_an_entry", registry.ENTRY_POINTS)
        found = {registry.ENTRY_POINTS: [point]}
        monkeypatch.setattr(registry, "entry_points", lambda group: found[group])

    monkeypatch.syspath_prepend(tmp_path)
    for own in registry._OWN:  # or they would be registered in the copy alone
        registry.find_testbed(own)
    monkeypatch.setattr(registry, "_TESTBEDS", dict(registry._TESTBEDS))
    yield install
    sys.modules.pop("mine_with_an_entry", None)


def test_testbeds_of_installed_packages_are_found(entry):
    with pytest.raises(InputError, match="'Mine-v3' is not one of"):
        registry.find_testbed("Mine-v3")
    entry(TESTBED)
    assert registry.find_testbed("CoinRun-v1").id == "CoinRun-v1"
    assert "mine_with_an_entry" not in sys.modules  # nobody asked for it
    assert registry.find_testbed("Mine-v3").id == "Mine-v3"


def test_an_installed_package_that_fails_is_one_line(entry):
    entry("import nowhere")
    with pytest.raises(InputError, match="plugin mine_with_an_entry cannot be imported") as error:
        registry.find_testbed("Mine-v3")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("env_id", ["Mine-v4", "", None, 3, ["CoinRun-v1"], {}, "x" * 10_000])
def test_unknown_ids_are_one_short_line(env_id, monkeypatch):
    own = {name: registry.find_testbed(name) for name in registry._OWN}
    monkeypatch.setattr(registry, "_TESTBEDS", own)  # whatever other tests have registered
    with pytest.raises(InputError, match="is not one of CoinRun-v1, ExitMaze-v1") as error:
        registry.find_testbed(env_id)
    assert "--plugins MODULE" in str(error.value)
    assert len(str(error.value)) < 400
