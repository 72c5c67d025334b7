"""What `test_batches.py` runs in a child process that has four virtual devices."""

from __future__ import annotations

import re

import batches_case as case
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType

from adac_jax import AdacError, nn
from adac_jax.batches import Batch, stack, train_step

MEMBERS = 8
COLLECTIVE = re.compile(r" (all-\w+|collective-\w+|reduce-scatter)(-start)?\(")


@pytest.fixture(autouse=True)
def four():
    assert len(jax.devices()) == 4


def line(devices: int) -> Batch:
    models = [case.network(seed) for seed in range(MEMBERS)]
    return stack(models, jax.devices()[:devices])


def assert_spread(tree: object, members: int) -> None:
    """Each array has a quarter of its members on each device, in order."""
    leaves = jax.tree.leaves(tree)
    assert leaves
    for leaf in leaves:
        assert leaf.shape[0] == members
        for device, shard in zip(jax.devices(), leaf.addressable_shards, strict=True):
            assert shard.device == device
            assert shard.data.shape == (members // 4, *leaf.shape[1:])


def test_four_devices_are_one():
    data, found = case.targets(MEMBERS), []
    with jax.enable_x64(True):
        for devices in (1, 4):
            batch = line(devices)
            state, targets = batch.optimiser_state(case.OPTIMISER), batch.put(data)
            step = train_step(case.loss, case.OPTIMISER).lower(batch, state, targets).compile()
            # Devices do not speak to each other: not even where XLA would have them.
            assert not COLLECTIVE.search(step.as_text())
            losses = []
            for _ in range(case.STEPS):
                batch, state, values = step(batch, state, targets)
                losses.append(np.asarray(values))
            found.append((batch, np.array(losses)))
        assert_spread((batch.parameters, state, targets, values), MEMBERS)
        (one, first), (four, second) = found
        case.assert_trees_close(four.parameters, one.parameters, case.BOUND)
        np.testing.assert_allclose(second, first, rtol=0, atol=case.LOSS_BOUND)
        assert first[-1].mean() < first[0].mean()
        member = four.model(5)
        assert all(len(v.devices()) == 1 for v in jax.tree.leaves(nnx.state(member)))
        member_of_one = nnx.state(one.model(5))
        case.assert_trees_close(nnx.state(member), member_of_one, case.BOUND)


def test_signals_of_a_model_over_devices():
    """One step of gradient descent of rate 1 shows the gradient; it is that of one device."""
    members, signals, length = 2, 8, 200
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, members, signals, length, 1)).astype(np.float32)

    def loss(model, pair):
        return jnp.mean(jax.vmap(lambda x, y: jnp.mean((model(x) - y) ** 2))(*pair))

    models = [nn.FDN((3, 7), matrix="rotation", rngs=nnx.Rngs(k)) for k in range(members)]
    optimiser = optax.sgd(1.0)

    def step(devices, *axes):
        batch = stack(models, devices)
        arguments = batch, batch.optimiser_state(optimiser), batch.put((x, y), *axes)
        compiled = train_step(loss, optimiser).lower(*arguments).compile()
        placed = {shard.data.shape[:2] for shard in arguments[2][0].addressable_shards}
        batch, _, values = compiled(*arguments)
        return (batch.parameters, values), placed, compiled.as_text()

    wanted, _, _ = step(jax.devices()[:1])
    for shape in ((1, 4), (2, 2)):
        mesh = jax.make_mesh(shape, ("batch", "signals"), (AxisType.Auto, AxisType.Auto))
        found, placed, text = step(mesh, "signals")
        assert placed == {(members // shape[0], signals // shape[1])}
        assert "all-reduce" in text
        # A gradient is the mean over 8 signals of 200 samples, added in another order; its terms
        # are rounded some ten times, and those that a gradient of order 1 sums are below 4.
        case.assert_trees_close(found, wanted, 10 * 4 * np.sqrt(8 * 200) * 2.0**-24)


def test_what_is_not_parameters_is_divided_too():
    class Noisy(nnx.Module):
        def __init__(self, seed):
            self.gain = nnx.Param(jnp.ones(()))
            self.rngs = nnx.Rngs(seed)

    models = [Noisy(seed) for seed in range(8)]
    batch = stack(models, jax.devices())
    assert_spread((batch.parameters, batch.rest), 8)
    for k, model in enumerate(models):
        assert (batch.model(k).rngs.noise() == model.rngs.noise()).all()


def test_nothing_is_padded():
    models = [nn.Gain(1, 0.5)] * 6
    with pytest.raises(AdacError, match="6 models cannot be divided evenly among 4 devices"):
        stack(models, jax.devices())
    assert_spread(stack(models[:4], jax.devices()).parameters, 4)
