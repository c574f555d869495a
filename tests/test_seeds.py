"""Several seeds in one program: what each of them would be by itself, in folders of their own."""

from __future__ import annotations

import dataclasses

import flax.traverse_util
import jax
import numpy as np
import pytest

from coinrun_jax.checks import InputError
from tests.runs import TINY, assert_same_policy, read_metrics, read_policy, without_clock
from train import run
from train.devices import memory
from train.environment import make_environment
from train.policy import PolicyError, load_policy
from train.program import Program

K = 4
SEVERAL = dataclasses.replace(TINY, seed=5, num_seeds=K)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds") / "together"
    assert run.start(SEVERAL, folder) == 0
    return folder


@pytest.mark.slow
def test_seeds_together_equal_single_runs(together):
    """The same compiled program serves the single runs, which differ in nothing but the seed."""
    program, env_params = None, make_environment(SEVERAL.env)[1]
    for seed in SEVERAL.seeds:
        own = together / f"seed_{seed}"
        alone = Program(SEVERAL.of_seed(seed)) if program is None else program
        state = jax.jit(alone.learner.init)(jax.random.key(np.uint32(seed)), env_params)
        if program is None:
            alone.compile(state)
            program = alone
        for row in read_metrics(own):
            state, metrics = program.update(state)
            assert int(metrics.episodes.episodes) == int(row["episodes"])
            for name in ("policy_loss", "value_loss", "entropy", "kl", "explained_variance"):
                value = float(getattr(metrics, name))
                assert value == pytest.approx(float(row[name]), abs=1e-5, rel=1e-4), name
        flat = flax.traverse_util.flatten_dict(jax.device_get(state.params), sep="/")
        for name, array in read_policy(own).items():
            np.testing.assert_allclose(array, flat[name], rtol=0, atol=1e-5, err_msg=name)


def test_every_seed_has_a_run_directory(together):
    assert sorted(path.name for path in together.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "curves.png",
        "run.json",
        *(f"seed_{seed}" for seed in SEVERAL.seeds),
    ]
    for seed in SEVERAL.seeds:
        policy = load_policy(together / f"seed_{seed}")
        assert policy.config == SEVERAL.of_seed(seed)
        assert policy.update == SEVERAL.num_updates
        assert len(read_metrics(together / f"seed_{seed}")) == SEVERAL.num_updates


def test_the_folder_of_all_names_the_seeds(together):
    with pytest.raises(PolicyError, match=r"seed_5, seed_6, seed_7, seed_8"):
        load_policy(together)


def test_one_seed_of_several_does_not_go_on_alone(together):
    with pytest.raises(InputError, match=f"--resume {together}"):
        run.resume(together / "seed_5")


def test_seeds_go_on_together(together, tmp_path, monkeypatch):
    folder = tmp_path / "stopped"
    save = run.train.__globals__["Checkpoints"].save
    calls = []

    class Interrupted(Exception):
        pass

    def save_then_fail(self, *arguments):
        save(self, *arguments)
        calls.append(arguments)
        raise Interrupted

    monkeypatch.setattr(run.train.__globals__["Checkpoints"], "save", save_then_fail)
    with pytest.raises(Interrupted):
        run.start(SEVERAL, folder)
    monkeypatch.undo()
    assert run.resume(folder) == 0
    for seed in SEVERAL.seeds:
        name = f"seed_{seed}"
        assert without_clock(read_metrics(folder / name)) == without_clock(
            read_metrics(together / name)
        )
        assert_same_policy(folder / name, together / name)


def test_more_seeds_than_fit_are_refused_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "memory_per_device", lambda: 1_000_000)
    with pytest.raises(InputError, match=r"num_seeds 1000 .* needs at least"):
        run.start(dataclasses.replace(TINY, num_seeds=1000), tmp_path / "much")
    assert not list(tmp_path.iterdir())
