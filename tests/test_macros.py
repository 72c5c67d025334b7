"""Ready knobs: at rest a trained model stays as it is, and each knob does what it says.

Bit equality at rest: every knob ends in a product with 1, or a sum with a product by 0. In FAUST
the products may be summed in another order, so equality there is that of rounding.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from plain import EPS, double
from scipy import signal

import adac_jax
import ir
from adac_jax import nn, set_controls
from adac_jax.fitting.model import Room, Structure
from adac_jax.host import Library, path_of
from adac_jax.macros import KNOBS, with_controls
from adac_jax.macros.decay import Scaled, line_responses, scaling
from adac_jax.macros.sections import Sections, first_order_allpass, second_order_allpass
from adac_jax.presets import hall
from emitters import faust

RATE = 48000.0
BANDS = (125, 250, 500, 1000, 2000, 4000, 8000)


@pytest.fixture(autouse=True)
def x64():
    with double():
        yield


def small(absorption=None, direct=None, lines: int = 4, **parts) -> nn.FDN:
    m = nn.mutually_prime_delays(lines, 150, 700)
    if absorption is None:
        absorption = nn.OnePole.from_t60(0.5, 0.2, m, sample_rate=RATE)
    network = nn.FDN(m, absorption=absorption, direct=direct, inputs=2, outputs=2, **parts)
    network.sample_rate = RATE
    return network


def at(model, x, **positions) -> np.ndarray:
    """The model with its knobs set; for a sign in a name `_`."""
    with set_controls({key.replace("_", "-"): value for key, value in positions.items()}):
        return np.asarray(jax.jit(lambda v: model(v))(jnp.asarray(x)))


def noise(length: int = 3000) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, (length, 2))


def room() -> Room:
    structure = Structure(RATE, 2, 64, (0, 100), ((311, 401, 523), (613, 701, 809)))
    found = Room(structure)
    found.early.response[...] = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (64, 2)))
    return found


MODELS = {
    "hall": hall,
    "direct": lambda: small(direct=np.array([[0.5, 0.1], [0.0, 0.7]])),
    "gains": lambda: small(nn.Gain(4, [0.9, 0.8, 0.7, 0.6])),
    "parts": lambda: small(
        tone=nn.GEQ(2, 3.0, sample_rate=RATE), pre_tone=nn.Gain(2, 0.7), loop=nn.Gain(4, 0.9)
    ),
    "serial": lambda: nn.Serial(nn.Gain(2, 0.5), small(), nn.Gain(2, [0.3, 0.2])),
    "room": room,
}  # fmt: skip


def each(*slow: str):
    """All models, of which some take long."""
    marks = {name: [pytest.mark.slow] if name in slow else [] for name in MODELS}
    return pytest.mark.parametrize("name", [pytest.param(n, marks=m) for n, m in marks.items()])


@pytest.mark.parametrize(
    "name", ["direct", "gains", "serial", pytest.param("parts", marks=pytest.mark.slow)]
)
def test_at_rest_the_model_is_as_it_was(name):
    """To the bit in the interpreter, which computes what is written; JAX fuses what it compiles."""
    model = MODELS[name]()
    controlled = with_controls(model, KNOBS, sample_rate=RATE)
    x = noise(1500)[:, : model.inputs]
    wanted = np.asarray(jax.jit(model)(jnp.asarray(x)))
    assert np.any(wanted)
    found = np.asarray(jax.jit(controlled)(jnp.asarray(x)))
    np.testing.assert_allclose(found, wanted, 0, EPS * 1000 * np.max(np.abs(wanted)))
    (before, after) = (
        ir.run(adac_jax.trace(m, sample_rate=RATE).program, x)[0] for m in (model, controlled)
    )
    np.testing.assert_array_equal(after, before)


@each("room", "hall", "parts")
def test_at_rest_faust_is_as_it_was(name):
    model = MODELS[name]()
    x = noise(2000)[:, : model.inputs]
    found = []
    for m in (model, with_controls(model, None, sample_rate=RATE)):
        with Library(faust.emit(adac_jax.trace(m, sample_rate=RATE).program)) as library:
            found.append(library.render(x))
    scale = np.max(np.abs(found[0]))
    np.testing.assert_allclose(found[1], found[0], 0, EPS * 1000 * scale)


@each("room", "hall")
def test_weights_are_shared_with_the_trained_model(name):
    model = MODELS[name]()
    controlled = with_controls(model, None, sample_rate=RATE)
    own, shared = (
        {id(leaf) for _, leaf in nnx.iter_graph(m) if isinstance(leaf, nnx.Param)}
        for m in (model, controlled)
    )
    assert own
    assert own == shared


# -- Outside of loops -----------------------------------------------------------------------------


def test_level_mix_and_pre_delay():
    model, x = small(), noise()
    wet = np.asarray(jax.jit(model)(jnp.asarray(x)))
    controlled = with_controls(model, ["mix", "level", "pre-delay"])
    close = {"rtol": 0, "atol": EPS * 1000}
    np.testing.assert_allclose(at(controlled, x, level=-20.0), wet / 10, **close)
    np.testing.assert_array_equal(at(controlled, x, mix=0.0), x)
    np.testing.assert_allclose(at(controlled, x, mix=0.25), 0.25 * wet + 0.75 * x, **close)
    late = at(controlled, x, pre_delay=10.0)
    np.testing.assert_allclose(late[480:], wet[:-480], **close)
    assert not late[:480].any()
    half = at(controlled, x, pre_delay=0.5 / 48)
    np.testing.assert_allclose(half[1:], (wet[1:] + wet[:-1]) / 2, **close)


def test_mix_of_a_model_with_a_direct_path():
    D = np.array([[0.5, 0.1], [0.0, 0.7]])
    model, x = small(direct=D), noise()
    controlled = with_controls(model, ["mix"])
    dry = x @ D.T
    wet = np.asarray(jax.jit(model)(jnp.asarray(x))) - dry
    close = {"rtol": 0, "atol": EPS * 1000}
    np.testing.assert_allclose(at(controlled, x, mix=0.0), dry, **close)
    np.testing.assert_allclose(at(controlled, x, mix=1.0), wet, **close)
    np.testing.assert_allclose(at(controlled, x, mix=0.75), wet + dry / 2, **close)
    assert model.direct is not None


def test_brightness_is_a_shelf():
    model = nn.Gain(1, 1.0)
    controlled = with_controls(model, ["brightness"], sample_rate=RATE)
    x = np.zeros((4096, 1))
    x[0] = 1
    for db in (-12.0, 5.0, 12.0):
        with set_controls({"brightness": db}):
            y = np.asarray(jax.jit(controlled)(jnp.asarray(x)))
        gain = 20 * np.log10(np.abs(np.fft.rfft(y[:, 0])))
        np.testing.assert_allclose(gain[[0, -1]], [0, db], 0, 1e-9)
        assert np.all(np.diff(gain) * np.sign(db) >= -1e-9)


# -- In the loop ----------------------------------------------------------------------------------


def test_frozen_the_energy_stays():
    """The matrix is orthogonal and the lines lose nothing: what they hold goes round and round."""
    model = small()
    controlled = with_controls(model, ["freeze"])
    program = adac_jax.trace(controlled, sample_rate=RATE).program
    x = noise(30000)
    x[:, 1] = x[:, 0]
    k = np.where(np.arange(len(x)) < 6000, 0.0, 1.0)
    coefficients = {name: jnp.asarray(v) for name, v in program.coefficients.items()}
    run = jax.jit(lambda x, k: adac_jax.blocks.run(program.graph, coefficients, [x], len(x), k)[0])
    y = np.asarray(run(x, {"freeze": k}))
    held = [np.mean(y[a : a + 5000] ** 2) for a in (10000, 25000)]
    assert held[0] > 0
    assert abs(held[1] / held[0] - 1) < 0.2
    thawed = np.asarray(run(x, {"freeze": np.where(np.arange(len(x)) < 12000, k, 0.0)}))
    assert np.any(thawed[-5000:] != y[-5000:])
    # What enters while it is frozen is not heard.
    x[9000:] = 0
    np.testing.assert_array_equal(np.asarray(run(x, {"freeze": k}))[9000:], y[9000:])


def losses(absorption, design, power: float) -> tuple[np.ndarray, np.ndarray]:
    """By how much each line's decay time in each band misses, and the least loss anywhere."""
    x = np.zeros((2**15, absorption.inputs))
    x[0] = 1
    filtered = jax.jit(lambda p, x: Scaled(design, absorption, p)(x))
    y = np.asarray(filtered(jnp.asarray(power), jnp.asarray(x)))
    places = np.unique(np.round(np.geomspace(20, 23500, 700) / RATE * len(x)).astype(int))
    total = 20 * np.log10(np.abs(np.fft.rfft(y, axis=0)))[places]
    f = places / len(x) * RATE
    level = line_responses(absorption, RATE, 2 * np.pi * f / RATE)
    inside = [(f > c / 2**0.5) & (f < c * 2**0.5) for c in BANDS]
    found = [power * level[i].mean(0) / total[i].mean(0) - 1 for i in inside]
    return np.array(found), total.max(axis=0) / (power * level.max(axis=0))


ABSORPTIONS = {
    "gain": lambda m: nn.Gain.from_t60(1.5, m, sample_rate=RATE),
    "one pole": lambda m: nn.OnePole.from_t60(2.0, 0.8, m, sample_rate=RATE),
    "dull": lambda m: nn.OnePole.from_t60(3.0, 0.2, m, sample_rate=RATE),
    "shelf": lambda m: nn.FirstOrderShelf.from_t60(2.0, 0.7, m, sample_rate=RATE),
    "bands": lambda m: nn.AccurateGEQ.from_t60(
        1.5 * 2 ** np.random.default_rng(0).uniform(-0.7, 0.7, 11), m, sample_rate=RATE, train="t60"
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "bands")) for n in ABSORPTIONS]
)
def test_decay_times_of_lines_follow_in_every_octave(name):
    """Within 2 % from 125 Hz to 8 kHz for any position; and no line loses next to nothing."""
    m = nn.mutually_prime_delays(6, 960, 3840)
    absorption = ABSORPTIONS[name](m)
    design = scaling(absorption, RATE, 0.5, 2.0)
    for power in np.exp(np.linspace(-1, 1, 15) * np.log(2)):
        misses, least = losses(absorption, design, float(power))
        assert np.abs(misses).max() < 0.02, power
        assert least.min() > 0.5


def reverberation(y: np.ndarray, band: float) -> float:
    """T30 of the energy of all channels in an octave; filtered backwards, so that the filter's own
    decay comes first."""
    sos = signal.butter(4, [band / 2**0.5, band * 2**0.5], "bandpass", fs=RATE, output="sos")
    z = signal.sosfilt(sos, y[::-1], axis=0)[::-1]
    level = 10 * np.log10(np.cumsum((z**2).sum(1)[::-1])[::-1])
    level = level - level[0]
    first, last = np.argmax(level < -5), np.argmax(level < -35)
    return -60 / np.polyfit(np.arange(first, last) / RATE, level[first:last], 1)[0]


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.5, 0.7, 1.4, 2.0])
def test_decay_times_that_are_heard_follow_the_knob(factor):
    """Of the hall, each line struck and heard by itself, so that all of its energy is there."""
    model = hall()
    model = nn.FDN(
        model.delays, matrix=model.matrix, absorption=model.absorption,
        input_gain=nn.Matrix(16, 16, weight=np.eye(16)),
        output_gain=nn.Matrix(16, 16, weight=np.eye(16)),
    )  # fmt: skip
    controlled = with_controls(model, ["decay"], sample_rate=RATE)
    text = faust.emit(adac_jax.trace(controlled, sample_rate=RATE).program)
    length = int(RATE * 2.5 * max(1.0, factor))
    x = np.zeros((length, 16))
    x[0] = np.random.default_rng(2).choice([-1.0, 1.0], 16)
    responses = []
    with Library(text) as library:
        for position in (1.0, factor):
            library.reset()
            library.set(path_of(library.parameters, "decay"), position)
            library.process(np.zeros((4096, 16)))
            responses.append(library.process(x))
    for band in BANDS:
        before, after = (reverberation(y, band) for y in responses)
        assert abs(after / (factor * before) - 1) < 0.02, band


@pytest.mark.slow
def test_bands_decay_by_themselves():
    m = nn.mutually_prime_delays(4, 960, 3840)
    absorption = ABSORPTIONS["bands"](m)
    network = nn.FDN(m, absorption=absorption)
    network.sample_rate = RATE
    controlled = with_controls(network, ["decay bands"], bands=(250.0, 1000.0, 4000.0))
    inside = controlled.model.absorption
    response = adac_jax.frequency_response(inside, sample_rate=RATE)
    f = np.geomspace(88, 11000, 300)
    omega = 2 * np.pi * f / RATE
    before = line_responses(absorption, RATE, omega)
    assert np.allclose(np.abs(np.diagonal(response(jnp.asarray(omega)), axis1=1, axis2=2)),
                       10 ** (before / 20), rtol=1e-9)  # fmt: skip
    with set_controls({"decay 1 kHz": 2.0}):
        x = np.zeros((2**15, 4))
        x[0] = 1
        y = np.asarray(jax.jit(inside)(jnp.asarray(x)))
    after = 20 * np.log10(np.abs(np.fft.rfft(y, axis=0)))
    at_f = np.round(f / RATE * 2**15).astype(int)
    ratio = after[at_f] / before
    centre, far = (f > 900) & (f < 1100), (f < 200) | (f > 5000)
    assert np.all(np.abs(ratio[centre].mean(0) - 0.5) < 0.1)
    assert np.all(np.abs(ratio[far].mean(0) - 1) < 0.05)


def test_size_scales_lengths():
    model = small(nn.Gain(4, 0.9))
    controlled = with_controls(model, ["size"])
    x = np.zeros((4000, 2))
    x[0, 0] = 1
    assert np.argmax(np.any(at(controlled, x, size=0.5), axis=1)) == min(model.delays.samples) // 2
    first = np.argmax(np.any(at(controlled, x, size=1.5), axis=1))
    assert first == int(1.5 * min(model.delays.samples))


def test_modulation_moves_lines_by_its_depth():
    model = small(nn.Gain(4, 0.0))
    controlled = with_controls(model, ["modulation"])
    x = np.repeat(np.arange(9000.0)[:, None], 2, 1)
    moved, rest = (
        np.asarray(jax.jit(controlled.model.delays)(jnp.asarray(np.repeat(x[:, :1], 4, 1))))
        if not depth
        else at(controlled.model.delays, np.repeat(x[:, :1], 4, 1), modulation=depth)
        for depth in (0.5, 0)
    )
    late = (rest - moved)[1000:]
    assert late.min() >= -1e-9
    assert late.max() <= 2 * 24 + 1e-9
    assert np.ptp(late) > 20


# -- Sections -------------------------------------------------------------------------------------


@pytest.mark.parametrize("gain", [0.1, 0.7, 1.0, 3.0])
def test_sections_are_between_one_and_their_gain(gain):
    sections = Sections(
        (first_order_allpass(100, RATE), second_order_allpass(1000, 1.4, RATE)), (1.0, -1.0)
    )
    x = np.zeros((2**15, 1))
    x[0] = 1
    y = np.asarray(sections(jnp.asarray(x), np.full((2, 1), gain - 1)))
    omega = np.linspace(0, np.pi, 2**14 + 1)
    square = np.prod(1 + (gain**2 - 1) * sections.weight(omega), axis=0)
    np.testing.assert_allclose(np.abs(np.fft.rfft(y[:, 0])) ** 2, square, 1e-9, 1e-9)
    assert square.min() >= min(1, gain) ** 4 - 1e-12
    assert square.max() <= max(1, gain) ** 4 + 1e-12
    if gain == 1:
        np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cuts_are_the_same_sections_at_rest_and_never_add_energy(sign):
    sections = Sections((first_order_allpass(300, RATE),), (sign,))
    rng = np.random.default_rng(4)
    x = rng.standard_normal((4000, 1))
    plain = np.asarray(sections(jnp.asarray(x), np.full((1, 1), -0.6)))
    cut = np.asarray(sections.cut(jnp.asarray(x), np.full((1, 1), 0.3**0.5)))
    np.testing.assert_allclose(cut, plain, 0, EPS * 1000)
    # The gain follows the state's sign: what a gain on one side could not stand.
    a = np.repeat(rng.uniform(0, 0.5**0.5, 400), 10)[:, None]
    moved = np.asarray(sections.cut(jnp.asarray(x), a[None]))
    assert np.all(np.cumsum(moved**2) <= np.cumsum(x**2) * (1 + EPS * 1000))


# -- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: with_controls(small(), ["loudness"]), "'loudness' must be one of"),
        (lambda: with_controls(nn.Gain(2), ["decay"], sample_rate=RATE), "there is none"),
        (lambda: with_controls(nn.Gain(2)), "sample_rate"),
        (lambda: with_controls(small(), ["decay bands"], bands=(500.0, 250.0)), "rising"),
        (lambda: with_controls(small(nn.Gain((4, 4), 0.1)), ["decay"]), "mixes lines"),
        (
            lambda: with_controls(nn.FDN((3, 4), inputs=1, outputs=1), ["decay"], sample_rate=RATE),
            "no absorption",
        ),
        (
            lambda: with_controls(
                nn.FDN(nn.FractionalDelay([30.5, 40.2])), ["size"], sample_rate=RATE
            ),
            "whole delays",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(make, message):
    with pytest.raises(adac_jax.AdacError, match=message):
        make()


@pytest.mark.slow
def test_the_hall_with_all_default_knobs_is_proved():
    report = adac_jax.verify(with_controls(hall()), seconds=0.5)
    assert report.passed
    assert len(report.controls) == 6


def test_a_small_network_with_knobs_is_proved():
    controlled = with_controls(small(lines=2), ["decay", "freeze", "mix"])
    report = adac_jax.verify(controlled, seconds=0.1)
    assert report.passed, [c for c in report.checks if not c.passed]
    again = ir.loads(ir.dumps(adac_jax.trace(controlled, sample_rate=RATE).program))
    assert list(again.graph.controls) == ["freeze", "decay", "mix"]
