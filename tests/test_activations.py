"""Activations by name: every network has them, and runs with any of them replaced."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coinrun_jax.checks import InputError
from train.config import NetworkConfig
from train.networks import Network, Output, make_network, register_network

BATCH, ACTIONS = 2, 5


class Unnamed(nn.Module):
    """A plugin's network that names nothing; one module is used twice."""

    num_actions: int
    width: int = 4
    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> Output:
        mix = nn.Dense(observation.shape[-1])
        features = nn.relu(mix(nn.relu(mix(observation))))
        value = nn.Dense(1, name="critic")(features)[:, 0]
        return Output(nn.Dense(self.num_actions)(features), value, features)


register_network("unnamed", Unnamed)
KINDS = {
    "mlp": (9,),
    "impala": (64, 64, 3),
    "torch_impala": (64, 64, 3),
    "patches": (64, 64, 3),
    "unnamed": (9,),
}


@pytest.fixture(params=KINDS, name="case")
def _case(request: pytest.FixtureRequest) -> tuple[Network, object, np.ndarray, np.ndarray]:
    """A network, its parameters, observations, and others."""
    kind = request.param
    width = 16 if kind == "patches" else 2  # of two units, all may be silent
    network = make_network(NetworkConfig(kind, width), KINDS[kind], ACTIONS)
    shape = (2, BATCH, *KINDS[kind])
    dtype = np.uint8 if len(shape) > 3 else np.float32
    one, other = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    return network, jax.jit(network.init)(jax.random.key(0), one), one, other


def bits(output: Output) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in output]


def test_every_kind_of_network_names_what_it_computes(case) -> None:
    network, params, one, _ = case
    found = jax.jit(network.activations)(params, one)
    names = network.names(params, one)
    assert set(names) == set(found)
    assert all(each.shape[0] == BATCH for each in found.values())
    if isinstance(network.module, Unnamed):
        assert names == ("Dense_0", "Dense_0.2", "critic", "Dense_1")
    else:
        assert names[-3:] == ("features", "logits", "value")
        output = jax.jit(network.apply)(params, one)
        np.testing.assert_allclose(found["features"], output.features, atol=1e-4)
    batched = jax.eval_shape(jax.vmap(network.activations, (None, 0)), params, one[:, None])
    assert {name: each.shape[2:] for name, each in batched.items()} == {
        name: each.shape[1:] for name, each in found.items()
    }


def test_a_substitute_by_itself_changes_no_bit_and_all_of_a_twins_give_its_output(case) -> None:
    network, params, one, other = case
    names = network.names(params, one)
    patch = jax.jit(network.patch)
    any_ones = jax.jit(network.activations)(params, one)

    def chosen(*which: str) -> dict[str, np.bool_]:
        return {name: np.bool_(name in which) for name in names}

    plain, own = patch(params, one, any_ones, chosen())
    theirs, twins = patch(params, other, any_ones, chosen())
    np.testing.assert_allclose(plain.logits, jax.jit(network.apply)(params, one).logits, atol=1e-4)
    assert bits(theirs)[0] != bits(plain)[0]
    for name in names:
        assert bits(patch(params, one, own, chosen(name))[0]) == bits(plain), name
    # What a plugin's network does outside of modules has no name, such as its features.
    outer = slice(0, 2 if isinstance(network.module, Unnamed) else 3)
    assert bits(patch(params, one, twins, chosen(*names))[0])[outer] == bits(theirs)[outer]


def test_what_depends_on_an_activation_follows_its_substitute(case) -> None:
    network, params, one, _ = case
    first, *_, last = network.names(params, one)

    @jax.jit
    def shifted(by: jax.Array) -> Output:
        return network.intervene(params, one, {first: lambda x: x + by})

    assert bits(shifted(1.0)) != bits(shifted(0.0))
    np.testing.assert_allclose(
        shifted(0.0).logits, jax.jit(network.apply)(params, one).logits, atol=1e-4
    )
    zeros = jax.jit(lambda: network.intervene(params, one, {last: 0.0}))()
    assert not np.asarray(zeros.value if last == "value" else zeros.logits).any()
    assert np.isfinite(jax.jit(jax.grad(lambda by: shifted(by)[1][0]))(0.0))


def test_names_and_shapes_that_do_not_fit_are_refused() -> None:
    network = make_network(NetworkConfig("mlp", 2), (9,), ACTIONS)
    params = jax.jit(network.init)(jax.random.key(0), np.zeros((1, 9)))
    with pytest.raises(InputError, match=r"activation 'hidden_3' is not one of hidden_1, hidden_2"):
        network.intervene(params, jnp.zeros((1, 9)), {"hidden_3": 0.0})
    with pytest.raises(InputError, match=r"'hidden_1' has shape \(1, 2\), its substitute \(3,\)"):
        network.intervene(params, jnp.zeros((1, 9)), {"hidden_1": jnp.zeros(3)})
