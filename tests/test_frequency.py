"""The frequency response of models, against transforms of what they do in the time domain.

A transform of n bins is the transform of the impulse response wrapped round at n samples, so the
two are compared without an error of truncation: the second n samples are added to the first, and
what comes after them is less than they are (asserted to be below 1e-12 of the whole), since the
models decay at least that fast from one n samples to the next. Everything in float64 unless said.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from flax import nnx
from hypothesis import HealthCheck, given, settings
from node_by_node import transfer
from plain import EPS, RNG, Sections, contraction, double, gains, sections
from readings import FAST
from test_random_models import models

import adac_jax
from adac_jax import AdacError, RefusedError, nn
from adac_jax.frequency import FrequencyResponse, frequency_response
from adac_jax.nn import Module

RATE = 48000.0
N = 2048


@pytest.fixture(autouse=True)
def _double():
    with double():
        yield


def network(lines: int = 4, inputs: int = 1, outputs: int = 1, **parts) -> nn.FDN:
    """A network that decays by a hundred decibels within N samples."""
    given = {"matrix": contraction(lines), "absorption": Sections(sections(lines))}
    made = gains(lines, inputs, outputs) | given | parts
    return nn.FDN((7, 11, 18, 29, 5, 3, 13, 2)[:lines], **made)


def small_network(outputs: int, inputs: int) -> nn.FDN:
    parts = {k: 0.3 * v for k, v in gains(2, inputs, outputs).items()}
    return nn.FDN((3, 4), matrix=contraction(2), **parts)


MODULES = {
    "gain": lambda: nn.Gain(3, [0.5, -2.0, 0.0]),
    "gain matrix": lambda: nn.Gain((2, 3), RNG.normal(size=(2, 3))),
    "matrix": lambda: nn.Matrix(2, 3, weight=RNG.normal(size=(2, 3))),
    "orthogonal": lambda: nn.Orthogonal(4),
    "householder": lambda: nn.Householder(5),
    "hadamard": lambda: nn.Hadamard(8),
    "rotation": lambda: nn.Rotation(4, angles=0.3),
    "circulant": lambda: nn.Circulant(5),
    "delay": lambda: nn.Delay((0, 1, 700)),
    "lagrange": lambda: nn.FractionalDelay((2.3, 100.9)),
    "thiran": lambda: nn.FractionalDelay((3.3, 100.9), method="thiran"),
    "trained delay": lambda: nn.FractionalDelay((2.3, 100.9), maximum=120),
    "fir": lambda: nn.FIR(2, RNG.normal(size=(5, 2))),
    "long fir": lambda: nn.FIR(2, RNG.normal(size=(1000, 2))),
    "fir matrix": lambda: nn.FIR((2, 3), RNG.normal(size=(40, 2, 3))),
    "one-pole": lambda: nn.OnePole(3, 0.9, 0.4),
    "shelf": lambda: nn.FirstOrderShelf(2, 0.8, 0.3, 4000.0, sample_rate=RATE),
    "biquad": lambda: nn.Biquad(2, "bandpass", frequency=(900.0, 9000.0), sample_rate=RATE),
    "biquad matrix": lambda: nn.Biquad((3, 2), "lowpass", frequency=3000.0, sample_rate=RATE),
    "svf": lambda: nn.SVF(2, "highpass", frequency=2000.0, sections=2, sample_rate=RATE),
    "sos": lambda: nn.SOS(2, sections(2)),
    "geq": lambda: nn.GEQ(2, 4.0, lowest=1000.0, sample_rate=RATE),
    "accurate geq": lambda: nn.AccurateGEQ(1, -3.0, lowest=1000.0, sample_rate=RATE),
    "peq": lambda: nn.PEQ(2, 4, gains_db=-3.0, lowest=1000.0, sample_rate=RATE),
    "scattering": lambda: nn.Scattering([[0, 2, 5], [7, 0, 1]], left=(1, 2, 3)),
    "velvet": lambda: nn.VelvetScattering(4),
    "serial": lambda: nn.Serial(nn.Delay((3, 4)), nn.Matrix(3, 2), nn.OnePole(3, 0.5, 0.1)),
    "parallel": lambda: nn.Parallel(nn.Delay((3, 4)), nn.OnePole(2, 0.5, 0.1)),
    "side by side": lambda: nn.Parallel(
        nn.Delay((3, 4)), nn.Matrix(3, 1), combine="concatenate", split=True
    ),
    "fdn": lambda: network(4, 2, 3),
    "fdn of one line": lambda: network(1),
    "fdn reverb": lambda: nn.FDN.reverb(
        4, t60=0.008, t60_nyquist=0.004, shortest=0.0005, longest=0.002
    ),
    "fdn with feedback delays": lambda: network(4, 1, 2, feedback_delays=(0, 5, 3, 1)),
    "fdn delayed behind the matrix": lambda: nn.FDN(
        (0, 0, 0), matrix=contraction(3), feedback_delays=(2, 9, 4)
    ),
    "fdn with householder": lambda: network(3, matrix="householder", absorption=(0.8, 0.7, 0.6)),
    "fdn with scattering": lambda: network(
        3, matrix=nn.Scattering([[0, 2, 5], [7, 0, 1]]), absorption=(0.5, 0.5, 0.5)
    ),
    "fdn with a matrix of filters": lambda: network(3, matrix=SmallFilters(3)),
    "fdn with tones": lambda: network(
        2, 2, 2, pre_tone=Sections(sections(2)), tone=Sections(sections(2))
    ),
    "fdn in an fdn": lambda: network(3, 2, 2, loop=small_network(3, 3)),
    "combs": lambda: Combs(),
    "allpasses": lambda: Allpasses(),
    "mesh": lambda: TwoLoops(),
}


class SmallFilters(nn.FIR):
    """A matrix of filters whose norm is below one."""

    def __init__(self, n: int) -> None:
        super().__init__((n, n), 0.9 / n / 3 * RNG.uniform(-1, 1, (3, n, n)))


class Combs(Module):
    """A bank of comb filters: each line feeds back to itself alone."""

    inputs, outputs = 3, 3

    def __init__(self) -> None:
        self.gains = nnx.Param(jnp.array([0.5, -0.4, 0.3]))

    def __call__(self, x):
        return adac_jax.feedback(lambda u: adac_jax.delay(u, (3, 5, 8)) * self.gains[...], x)


class Allpasses(Module):
    """Schroeder allpasses, one in another: v = x + g r, r = F(z^-m v), y = r - g v."""

    inputs, outputs = 1, 1

    def __init__(self) -> None:
        self.gains = nnx.Param(jnp.array([0.5, 0.6, -0.3]))

    def __call__(self, x):
        def allpass(x, delays, g):
            if not delays:
                return x

            def loop(v):
                r = allpass(adac_jax.delay(v, delays[0]), delays[1:], g[1:])
                return g[0] * r, r

            v, r = adac_jax.feedback(loop, x, has_aux=True)
            return r - g[0] * v

        return allpass(x, (7, 5, 3), self.gains[...])


class TwoLoops(Module):
    """Two loops that feed each other, by slices, joins and transposes of the channels."""

    inputs, outputs = 2, 4

    def __init__(self) -> None:
        self.A = nnx.Param(jnp.asarray(contraction(4)))

    def __call__(self, x):
        def loop(u):
            late = adac_jax.delay(u, (4, 7, 3, 5))
            square = (late @ self.A[...]).reshape(*late.shape[:-1], 2, 2)
            turned = jnp.swapaxes(square, -1, -2).reshape(late.shape)
            other = jnp.concatenate([-late[..., 2:], 0.5 * late[..., :2]], axis=-1)
            return 0.4 * turned + 0.2 * other[..., ::-1] / 2.0

        return adac_jax.feedback(loop, jnp.concatenate([x, x[..., ::-1]], axis=-1))


def impulses(function, parameters, inputs: int, length: int) -> np.ndarray:
    """The impulse responses (time, outputs, inputs)."""
    x = np.zeros((inputs, length, inputs))
    x[np.arange(inputs), 0, np.arange(inputs)] = 1
    run = jax.jit(jax.vmap(function, (None, 0), -1), compiler_options=FAST)
    return np.asarray(run(parameters, jnp.asarray(x)))


def wrapped(response: FrequencyResponse, n: int) -> tuple[np.ndarray, float]:
    """The transform of the impulse responses wrapped round, and what it may be off by."""
    traced = response.traced
    h = impulses(traced.function, traced.parameters, response.inputs, 2 * n)
    tail, whole = np.abs(h[n:]).sum(0), np.abs(h).sum(0)
    assert (tail <= 1e-12 * whole.max()).all()
    # Rounding: each sample by a few of its own, at most some hundreds round the loops of these
    # models; the transform by log2(n).
    return np.fft.rfft(h[:n] + h[n:], axis=0), float(tail.max() + 500 * EPS * whole.max())


def at_bins(response: FrequencyResponse, n: int) -> np.ndarray:
    run = jax.jit(lambda p: response.bins(n, p), compiler_options=FAST)
    return np.asarray(run(response.parameters))


LATER = {
    "biquad matrix", "fir matrix", "geq", "accurate geq", "velvet", "side by side",
    "fdn with feedback delays", "fdn delayed behind the matrix", "fdn with householder",
    "fdn with tones", "fdn reverb",
}  # fmt: skip
"""Those of which others are much like; run with the slow tests."""


@pytest.mark.parametrize(
    "name", [pytest.param(k, marks=[pytest.mark.slow] * (k in LATER)) for k in MODULES]
)
def test_modules(name):
    response = frequency_response(MODULES[name]())
    wanted, tolerance = wrapped(response, N)
    found = at_bins(response, N)
    assert found.dtype == np.complex128
    assert found.shape == (N // 2 + 1, response.outputs, response.inputs)
    assert np.abs(found - wanted).max() <= tolerance


def test_every_module_is_in_the_table():
    classes = {getattr(nn, name) for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    made = {type(part) for make in MODULES.values() for _, part in nnx.iter_graph(make())}
    assert classes - {nn.Module, nn.Filter} <= made


@pytest.mark.slow
@settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(models())
def test_random_models(module):
    response = frequency_response(module)
    traced = response.traced
    omega = np.array([0.0, 0.01, 1.0, np.pi])
    wanted, condition = transfer(traced.program.graph, traced.program.coefficients, omega)
    found = jax.jit(lambda w: response(w), compiler_options=FAST)(omega)
    # Both solve a system of this condition, with some hundred numbers.
    assert np.abs(found - wanted).max() <= 300 * EPS * condition * max(1, np.abs(wanted).max())


@pytest.mark.parametrize(
    ("name", "unknowns"),
    [
        ("fdn", (4,)),
        ("fdn of one line", (1,)),
        ("fdn with feedback delays", (4,)),
        ("fdn with householder", (3,)),
        ("fdn with scattering", (3,)),
        ("fdn with a matrix of filters", (3,)),
        ("fdn in an fdn", (5,)),
        ("combs", (3,)),
        ("allpasses", (2,)),
        ("mesh", (4,)),
        ("serial", ()),
    ],
)
def test_as_few_unknowns_as_lines(name, unknowns):
    assert frequency_response(MODULES[name]())._reading.unknowns == unknowns


def test_any_frequency_is_as_the_bins():
    response = frequency_response(network(2, 2, 3, absorption=(0.5, 0.6)))
    n = 96
    omega = 2 * np.pi * np.arange(n // 2 + 1) / n
    run = jax.jit(lambda w: (response.bins(n), response(w), response(-w)), compiler_options=FAST)
    bins, found, mirrored = run(omega)
    # 29 samples of delay: the phase is off by 29 π roundings, and loops multiply that by 3.
    np.testing.assert_allclose(found, bins, atol=29 * np.pi * 6 * EPS)
    np.testing.assert_array_equal(mirrored, np.conj(found))
    wire = frequency_response(nn.Gain(2, (0.5, 2.0)))
    for shape in ((), (4,), (2, 3), (0, 5)):
        found = wire(np.zeros(shape))
        assert found.shape == (*shape, 2, 2)
        np.testing.assert_array_equal(found, np.broadcast_to(np.diag([0.5, 2.0]), found.shape))


def test_chunks_do_not_matter():
    model = network(3, 1, 2, absorption=(0.5, 0.6, 0.7))
    found = []
    for chunk in (49, 11):
        response = frequency_response(model, chunk=chunk)

        def loss(p, response=response):
            H = response.bins(96, p)
            return weighted(H), H

        run = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=FAST)
        found.append(jax.tree.leaves(run(response.parameters)))
    for one, other in zip(*found, strict=True):
        # Sums over 49 frequencies in another order.
        np.testing.assert_allclose(one, other, atol=1e4 * EPS)


def test_filters_of_scipy():
    sos = scipy.signal.ellip(6, 1, 60, (0.01, 0.4), "bandpass", output="sos")
    omega = np.linspace(0.001, np.pi, 500)
    found = frequency_response(nn.SOS(1, sos[..., None]))(omega)[:, 0, 0]
    _, wanted = scipy.signal.sosfreqz(sos, omega)
    # A direct form loses 1 / (1 + a1 + a2), here some 1e4.
    np.testing.assert_allclose(found, wanted, atol=1e5 * EPS)
    b, a = scipy.signal.butter(7, 0.3)
    direct = frequency_response(
        lambda x: adac_jax.lfilter(jnp.asarray(b), jnp.asarray(a), x), inputs=1
    )
    found = direct(omega)[:, 0, 0]
    _, wanted = scipy.signal.freqz(b, a, omega)
    # Eight terms of at most 25, over a denominator of at least 0.02.
    np.testing.assert_allclose(found, wanted, atol=1e5 * EPS)


@pytest.mark.parametrize("case", ["fdn_N4_gain", "fdn_N8_sos"])
def test_networks_computed_by_others(case, data_folder):
    path = data_folder / "fdn_reference" / f"{case}.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    d = np.load(path)
    absorption = d["gains"] if "gains" in d else Sections(d["sos"])
    parts = {"input_gain": d["b"], "output_gain": d["c"], "direct": d["d"]}
    model = nn.FDN(d["delays"], matrix=d["A"], absorption=absorption, **parts)
    h = d["h_td"]
    found = at_bins(frequency_response(model), len(h))
    # They were computed to 5e-12. What is not there any more decays by at least 60 dB in as many
    # samples (it did so within those that are there), and adds up to less than these.
    left = np.abs(h[len(h) // 2 :]).sum()
    assert left < 1e-3 * np.abs(h).sum()
    assert np.abs(found - np.fft.rfft(h, axis=0)).max() <= len(h) * 5e-12 + 1e-3 * left


def trained() -> nn.FDN:
    """A network with filters, all of whose parts are trained."""
    return nn.FDN(
        (7, 11, 18),
        inputs=2,
        outputs=2,
        matrix=nn.Matrix(3, 3, weight=contraction(3)),
        absorption=nn.Serial(nn.Gain(3, [0.8] * 3), nn.OnePole(3, 0.9, 0.5)),
        direct=np.ones((2, 2)),
    )


def weighted(H: jax.Array) -> jax.Array:
    """A number that hears magnitude and phase."""
    weights = jax.random.normal(jax.random.key(3), (2, *H.shape), H.real.dtype)
    return jnp.sum(weights[0] * H.real**2) + jnp.sum(weights[1] * H.imag)


def direction(tree):
    rng = np.random.default_rng(5)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), tree)


def along(tree, step, way):
    return jax.tree.map(lambda leaf, d: leaf + step * d, tree, way)


def product(one, other) -> float:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return float(sum(jnp.sum(a * b) for a, b in pairs))


def test_gradient_is_that_of_the_time_domain():
    response = frequency_response(trained())
    x = jnp.zeros((2, N, 2)).at[jnp.arange(2), 0, jnp.arange(2)].set(1)

    def in_time(p):
        h = jax.vmap(response.traced.function, (None, 0), -1)(p, x)
        return weighted(jnp.fft.rfft(h, axis=0))

    def in_frequency(p):
        return weighted(response.bins(N, p))

    found, wanted = (
        jax.jit(jax.grad(loss), compiler_options=FAST)(response.parameters)
        for loss in (in_frequency, in_time)
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        # A sum over 1,025 bins and 2,048 samples of products of some tens of numbers.
        np.testing.assert_allclose(one, other, atol=1e5 * EPS * np.abs(other).max())


TRAINED = {k: v for k, v in MODULES.items() if jax.tree.leaves(nnx.state(v(), nnx.Param))}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_gradients_of_all_modules(name):
    check_gradient(TRAINED[name]())


@pytest.mark.parametrize("name", ["mesh", "trained delay", "combs"])
def test_gradients(name):
    check_gradient(TRAINED[name]())


def check_gradient(module) -> None:
    """Against a difference of fourth order along a random direction."""
    response = frequency_response(module, chunk=20)

    def loss(p):
        return weighted(response.bins(64, p))

    value = jax.jit(loss, compiler_options=FAST)
    gradient = jax.jit(jax.grad(loss), compiler_options=FAST)(response.parameters)
    way = direction(response.parameters)
    h = 2e-4
    samples = [float(value(along(response.parameters, k * h, way))) for k in (-2, -1, 1, 2)]
    wanted = (samples[0] - 8 * samples[1] + 8 * samples[2] - samples[3]) / (12 * h)
    scale = max(abs(s) for s in samples) + abs(wanted)
    # The rest of the formula is h^4 / 30 times a fifth derivative, some thousands for these.
    assert abs(product(gradient, way) - wanted) <= 1e-9 * scale


def test_gradient_in_frequency_is_the_group_delay():
    response = frequency_response(nn.FractionalDelay((5.3,), method="thiran", order=5))
    slope = jax.grad(lambda omega: jnp.angle(response(omega)[0, 0]))
    # Maximally flat: the group delay is 5.3 at low frequencies, to the tenth power of ω.
    assert abs(-slope(0.01) - 5.3) <= 1e-12


def test_works_under_jit_grad_and_vmap():
    response = frequency_response(network(2, absorption=(0.5, 0.6)))
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), response.parameters)
    own = jax.tree.map(lambda leaf: leaf[1], many)
    way = direction(own)

    def loss(p):
        return weighted(response.bins(64, p))

    def together(many, own, way):
        found = jax.vmap(jax.value_and_grad(loss))(many)
        alone = jax.value_and_grad(loss)(own)
        return jax.tree.map(lambda leaf: leaf[1], found), alone, jax.jvp(loss, (own,), (way,))[1]

    found, alone, tangent = jax.jit(together, compiler_options=FAST)(many, own, way)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(one, other, atol=1e4 * EPS)
    assert abs(tangent - product(alone[1], way)) <= 1e4 * EPS


def test_the_model_is_traced_once(monkeypatch):
    model, count = network(3), 0
    call = type(model).__call__

    def counted(self, x):
        nonlocal count
        count += 1
        return call(self, x)

    monkeypatch.setattr(type(model), "__call__", counted)
    response = frequency_response(model)
    assert count == 1
    jax.eval_shape(jax.grad(lambda p: jnp.abs(response.bins(64, p)).sum()), response.parameters)
    jax.eval_shape(lambda p: response(0.1, p), response.parameters)
    assert count == 1


def test_no_linear_algebra_library_is_called():
    # Whose batched calls may wait for each other for ever; see `elimination.py`.
    response = frequency_response(network(4))
    gradient = jax.grad(lambda p: jnp.sum(jnp.abs(response.bins(9000, p))))
    text = jax.jit(gradient).lower(response.parameters).as_text()
    assert "custom_call" not in text


def test_functions_of_parameters():
    def model(p, x):
        return adac_jax.delay(p["gain"] * x, 2)

    response = frequency_response(model, parameters={"gain": jnp.array([0.5])}, inputs=1)
    np.testing.assert_allclose(response(0.3), [[0.5 * np.exp(-0.6j)]], atol=2 * EPS)
    found = response(0.3, {"gain": jnp.array([-2.0])})
    np.testing.assert_allclose(found, [[-2 * np.exp(-0.6j)]], atol=8 * EPS)


def test_models_without_inputs_or_loops():
    silent = nn.FDN((3, 4), input_gain=np.zeros((2, 0)), outputs=2)
    assert frequency_response(silent).bins(16).shape == (9, 2, 0)
    wire = frequency_response(lambda x: x, inputs=2)
    np.testing.assert_array_equal(wire(0.5), np.eye(2))
    deaf = frequency_response(lambda x: jnp.zeros_like(x) * 1.0, inputs=1)
    np.testing.assert_array_equal(deaf.bins(4), np.zeros((3, 1, 1)))
    masked = frequency_response(
        lambda x: jnp.where(jnp.array([True, False]), x, 0.0) + 0.0, inputs=2
    )
    np.testing.assert_array_equal(masked(1.0), np.diag([1.0, 0.0]))


def times_itself(x):
    return x * x


def random_bias(x):
    return x + jnp.array([0.0, 0.1])


REFUSED = {
    "tanh": (jnp.tanh, "tanh of a signal is not linear"),
    "maximum": (lambda x: jnp.maximum(x, 0.0), "maximum of a signal is not linear"),
    "abs": (jnp.abs, "abs of a signal is not linear"),
    "product": (times_itself, "multiplies two signals"),
    "division": (lambda x: 1.0 / x, "divides by a signal"),
    "power": (lambda x: x**3, "a power of a signal"),
    "product over channels": (lambda x: x.prod(-1, keepdims=True), "the prod over channels"),
    "comparison": (lambda x: jnp.where(x > 0, x, 0.0), "decides by a signal"),
    "rounding": (lambda x: x.astype(int).astype(x.dtype), "rounds a signal"),
    "bias": (random_bias, "a constant is added"),
    "constant output": (lambda x: jnp.ones_like(x), "does not depend on the input"),
    "initial state": (
        lambda x: adac_jax.delay(x, 3, initial=jnp.ones((3, 2))),
        "initial state is not zero",
    ),
    "filter's state": (
        lambda x: adac_jax.lfilter(jnp.array([1.0, 0]), jnp.array([1.0, 0.5]), x, jnp.ones((1, 2)))[
            0
        ],
        "initial state is not zero",
    ),
    "samples dropped at the start": (
        lambda x: jnp.pad(x[2:], ((5, 0), (0, 0)))[:-3],
        "a constant enters it",
    ),
    "in a loop": (
        lambda x: adac_jax.feedback(lambda u: jnp.tanh(adac_jax.delay(u, 3)), x),
        "tanh of a signal is not linear",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_is_not_linear_and_time_invariant(name):
    model, reason = REFUSED[name]
    with pytest.raises(RefusedError, match=reason):
        frequency_response(model, inputs=2)


def test_a_refusal_names_the_node():
    class Saturated(Module):
        def __call__(self, x):
            return jnp.tanh(x)

    Saturated.inputs = Saturated.outputs = 2
    model = nn.Serial(nn.Gain(2), Saturated(), names=("gain", "tape"))
    with pytest.raises(RefusedError, match=r"`tape \(tanh\)` is refused"):
        frequency_response(model)


def test_arguments_are_checked():
    response = frequency_response(nn.Gain(1))
    for n in (0, -4, 2**28 + 1, 3.0, True):
        with pytest.raises(AdacError, match="must be a whole number from 1"):
            response.bins(n)
    with pytest.raises(AdacError, match="must be real"):
        response(1j)
    with pytest.raises(AdacError, match="must be at least 1"):
        frequency_response(nn.Gain(1), chunk=0)
