"""Batches: members train as they would alone, on one device, on four, and on two hosts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import batches_case as case
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from adac_jax import AdacError, nn
from adac_jax._compat import open_jaxpr
from adac_jax.batches import Batch, stack, train_step

TESTS = Path(__file__).parent
MEMBERS = 4
LOST = 2
"""The member whose target is not finite."""


@pytest.fixture(scope="module")
def trained() -> tuple[Batch, np.ndarray, int]:
    """A batch after the steps of `case.alone`, all losses, and how often the loss was traced."""
    traces = 0

    def loss(model, target):
        nonlocal traces
        traces += 1
        return case.loss(model, target)

    data = case.targets(MEMBERS)
    data[LOST, 9] = np.nan
    with jax.enable_x64(True):
        batch = stack([case.network(seed) for seed in range(MEMBERS)])
        state, targets = batch.optimiser_state(case.OPTIMISER), batch.put(data)
        step, losses = train_step(loss, case.OPTIMISER), []
        for _ in range(case.STEPS):
            batch, state, values = step(batch, state, targets)
            losses.append(values)
    return batch, np.array(losses), traces


def test_members_train_as_alone(trained):
    batch, losses, _ = trained
    members = [k for k in range(MEMBERS) if k != LOST]
    with jax.enable_x64(True):
        found = case.alone(members, case.targets(MEMBERS))
        for k, (parameters, values) in zip(members, found, strict=True):
            case.assert_trees_close(nnx.state(batch.model(k)), parameters, case.BOUND)
            np.testing.assert_allclose(losses[:, k], values, rtol=0, atol=case.LOSS_BOUND)
            assert not np.allclose(losses[:, k], losses[:, k - 1], rtol=1e-3)


def test_a_member_that_is_lost_takes_no_other_with_it(trained):
    batch, losses, _ = trained
    finite = np.arange(MEMBERS) != LOST
    for leaf in (losses.T, *jax.tree.leaves(batch.parameters)):
        assert leaf.dtype == np.float64
        assert (np.isfinite(leaf).reshape(MEMBERS, -1).all(axis=1) == finite).all()


def test_steps_are_compiled_once(trained):
    assert trained[2] == 1


NETWORKS = {
    "gains": lambda: {"absorption": [0.9, 0.8]},
    "filters": lambda: {"absorption": nn.OnePole.from_t60(1.0, 0.5, (5, 7), sample_rate=8000.0)},
    "delays": lambda: {"delays": nn.FractionalDelay([5.3, 7.6], minimum=4, maximum=9)},
    "nested": lambda: {"loop": nn.FDN((3, 4), inputs=2, outputs=2, absorption=[0.5, 0.6])},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_of_a_batch_is_that_of_one(name):
    """Loops stay loops under vmap, their gradients loops from the last sample on."""

    def network():
        return nn.FDN(**{"delays": (5, 7), "matrix": "householder", **NETWORKS[name]()})

    def loss(model, target):
        return jnp.mean((model(jnp.ones((40, 1))) - target) ** 2)

    def gradient(state):
        return jax.grad(lambda s: loss(nnx.merge(graphdef, s), jnp.zeros((40, 1))))(state)

    graphdef, state = nnx.split(network())
    single = operations(jax.make_jaxpr(gradient)(state))
    batch, optimiser = stack([network(), network()]), optax.sgd(0.1)
    arguments = batch, batch.optimiser_state(optimiser), jnp.zeros((2, 40, 1))
    found = operations(jax.make_jaxpr(train_step(loss, optimiser))(*arguments))
    kinds = ("feedback", "feedback_saving", "feedback_adjoint", "scan", "while")
    loops = Counter({key: found[key] for key in found if key[0] in kinds})
    assert loops == {key: single[key] for key in single if key[0] in kinds}
    assert loops["feedback", False] + loops["feedback_saving", False] >= 1
    assert loops["feedback", True] + loops["feedback_adjoint", False] >= 1


def operations(jaxpr) -> Counter[tuple[str, bool]]:
    """How often each primitive occurs at any depth, and whether it runs in reverse."""
    found: Counter[tuple[str, bool]] = Counter()
    for eqn in open_jaxpr(jaxpr)[0].eqns:
        found[eqn.primitive.name, bool(eqn.params.get("reverse", False))] += 1
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if hasattr(inner, "eqns"):
                    found += operations(inner)
    return found


class Noisy(nnx.Module):
    """A gain, and state that is not trained: numbered noise, and a number."""

    def __init__(self, seed: int) -> None:
        self.gain = nnx.Param(jnp.ones(()))
        self.offset = nnx.Variable(jnp.asarray(seed, jnp.float32))
        self.rngs = nnx.Rngs(seed)

    def __call__(self, x):
        return self.gain[...] * x + self.offset[...] + jax.random.normal(self.rngs(), x.shape)


@pytest.mark.parametrize(("name", "at_once"), [("sgd", None), ("sgd", 1), ("sgd", 2), ("lbfgs", 1)])
def test_what_is_not_trained_goes_with_its_member(name, at_once):
    """Descent, or a search along a line, which calls the model again and again."""
    optimiser = optax.sgd(0.1) if name == "sgd" else optax.lbfgs()
    x = jnp.arange(5.0)

    def loss(model, target):
        return jnp.mean((model(x) - target) ** 2)

    models = [Noisy(seed) for seed in range(3)]
    batch = stack(models)
    state, step = batch.optimiser_state(optimiser), train_step(loss, optimiser, at_once=at_once)
    targets = jnp.arange(15.0).reshape(3, 5)
    for _ in range(2):
        expected = [loss(model, target) for model, target in zip(models, targets, strict=True)]
        batch, state, losses = step(batch, state, targets)
        # Five squares of numbers below 15, each rounded some ten times.
        np.testing.assert_allclose(losses, expected, rtol=0, atol=15**2 * 10 * 2.0**-24)
        for k, model in enumerate(models):
            member = batch.model(k)
            assert member.rngs.default.count[...] == model.rngs.default.count[...]
            assert member.offset[...] == k
            model.gain[...] = member.gain[...]
    # Either way finds the parabola's bottom, which noise of variance 1 moves with a standard
    # deviation of 1 / |x| = 0.18; five times that is as good as never exceeded.
    best = (targets - jnp.arange(3.0)[:, None]) @ x / (x @ x)
    np.testing.assert_allclose(batch.parameters["gain"][...], best, rtol=0, atol=5 * 0.18)


def test_members_come_back_as_they_were():
    models = [case.network(seed) for seed in range(3)]
    batch = stack(models)
    assert len(batch) == 3
    for k, model in enumerate(models):
        (found, values), (graphdef, wanted) = nnx.split(batch.model(k)), nnx.split(model)
        assert found == graphdef
        case.assert_trees_close(values, wanted, 0)
    for k in (-1, 3):
        with pytest.raises(IndexError, match=rf"`k` \(={k}\) must be a member: 0 to 2"):
            batch.model(k)


def test_a_step_uses_up_what_it_is_given_but_no_model():
    model, optimiser = nn.Gain(2, [1.0, 2.0]), optax.sgd(0.1, momentum=0.9)
    batch = stack([model, model])
    state = batch.optimiser_state(optimiser)
    step = train_step(lambda model, _: jnp.sum(model(jnp.ones((3, 2))) ** 2), optimiser)
    changed, _, losses = step(batch, state)
    assert losses.shape == (2,)
    assert losses.dtype == jnp.float32
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((batch, state)))
    np.testing.assert_array_equal(jax.tree.leaves(nnx.state(model))[0], [1.0, 2.0])
    # g - 0.1 · 2 · 3 g, in float32.
    np.testing.assert_allclose(jax.tree.leaves(changed.parameters)[0], [[0.4, 0.8]] * 2, rtol=1e-6)


def gain_in_float16() -> nn.Gain:
    model = nn.Gain(1, 0.5)
    model.gain = nnx.Param(jnp.ones(1, jnp.float16))
    return model


DIFFERENT = {
    "delays": (
        lambda: [nn.FDN((3, 5)), nn.FDN((3, 5)), nn.FDN((3, 7))],
        r"`delays.samples` is \(3, 7\) in model 2 and \(3, 5\) in model 0",
    ),
    "part": (
        lambda: [nn.FDN((3, 5)), nn.FDN((3, 5), absorption=[0.5, 0.5])],
        "`absorption` is a Gain in model 1 and None in model 0",
    ),
    "kind": (lambda: [nn.Gain(1, 0.5), nn.FDN((3, 5))], "`the model itself` is a FDN"),
    "type": (lambda: [nn.Gain(1, 0.5), gain_in_float16()], "`gain` is .*type float16 in model 1"),
    "shape": (lambda: [nn.Gain(1, 0.5), nn.Gain(2, 0.5)], r"`channels` is \(2,\) in model 1"),
    "nothing": (list, "`models` is empty"),
    "function": (lambda: [nn.Gain(1, 0.5), lambda x: x], "Model 1 must be a Flax NNX module, not"),
    "fixed": (lambda: [nn.Delay([1])], "Delay has no parameters"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_stack_refuses(name):
    models, message = DIFFERENT[name]
    with pytest.raises(AdacError, match=message):
        stack(models())


def test_a_part_that_is_shared_is_structure():
    class Three(nnx.Module):
        def __init__(self, *parts):
            self.first, self.second, self.third = parts

    a, b = nn.Gain(1, 0.5), nn.Gain(1, 0.5)
    with pytest.raises(AdacError, match="`second` is missing in model 1 and a Gain in model 0"):
        stack([Three(a, b, a), Three(a, a, b)])
    with pytest.raises(AdacError, match="model 1 uses the same parts in other places"):
        stack([Three(a, b, a), Three(a, b, b)])
    model = stack([Three(a, b, a)] * 2).model(1)
    assert model.first is model.third


def test_the_mesh_needs_an_axis_for_members():
    mesh = jax.make_mesh((1,), ("signals",), (jax.sharding.AxisType.Auto,))
    with pytest.raises(AdacError, match=r"axes \('signals',\), none called 'batch'"):
        stack([nn.Gain(1, 0.5)], mesh)


def test_fewer_at_once_need_less_memory():
    def loss(model, _):
        return jnp.sum(model(jnp.ones((2000, 1))) ** 2)

    optimiser, needed = optax.sgd(0.1), []
    batch = stack([nn.FDN((40, 50), matrix="householder")] * 8)
    for at_once in (1, None):
        step = train_step(loss, optimiser, at_once=at_once)
        compiled = step.lower(batch, batch.optimiser_state(optimiser)).compile()
        needed.append(compiled.memory_analysis().temp_size_in_bytes)
    # A member's signals of 2000 samples once in place of eight times; there is little else.
    assert needed[0] < needed[1] / 4


def test_at_once_is_a_count():
    with pytest.raises(AdacError, match=r"`at_once` \(=0\) must be at least 1"):
        train_step(lambda model, _: jnp.zeros(()), optax.sgd(1.0), at_once=0)


@pytest.mark.parametrize("data", [np.zeros((3, 4)), np.zeros(()), {"x": np.zeros((2, 1))}])
def test_data_has_the_batch_s_members(data):
    batch, optimiser = stack([nn.Gain(1, 0.5)] * 4), optax.sgd(1.0)
    step = train_step(lambda model, target: jnp.sum(target), optimiser)
    with pytest.raises(AdacError, match="first axis must be the batch's 4 members"):
        batch.put(data)
    with pytest.raises(AdacError, match="first axis must be the batch's 4 members"):
        step(batch, batch.optimiser_state(optimiser), data)


def environment(devices: int) -> dict[str, str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def test_on_four_devices():
    """`batches_on_devices.py`, in a process that has four virtual ones."""
    run = [sys.executable, "-m", "pytest", "-n", "0", "batches_on_devices.py"]
    done = subprocess.run(run, cwd=TESTS, env=environment(4), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


@pytest.mark.slow
def test_on_two_hosts():
    """`batches_on_hosts.py`, in two processes that know of each other through JAX alone."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    both = [
        subprocess.Popen(
            [sys.executable, "batches_on_hosts.py", address, str(process)],
            cwd=TESTS,
            env=environment(2),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process in range(2)
    ]
    try:
        said = [process.communicate(timeout=300)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], "\n".join(said)
    assert all("passed" in text for text in said)


@pytest.mark.slow
def test_benchmark(tmp_path):
    script = TESTS.parent / "benchmarks" / "batches.py"
    small = ["--lines", "2", "--samples", "2000", "--members", "1", "2", "--repeats", "1"]
    run = [sys.executable, str(script), *small, "--out", str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "batches.json").read_text("utf-8"))["rows"]
    found = [(r["members"], r["devices"], r["at_once"]) for r in rows]
    assert found == [(1, 1, 1), (2, 1, 1), (2, 1, 2), (2, 2, 1)]
    assert all(r["median"] >= r["minimum"] > 0 for r in rows)
