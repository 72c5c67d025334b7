"""Programs in fixed point: formats, the model of noise against a quantised run, and refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cases import CASES
from flax import nnx
from golden_models import comb, network
from scipy import signal

import adac_jax
import ir
from adac_jax import effects
from adac_jax.nn import FDN, OnePole
from ir.precision import fixed_point, prepared
from ir.precision.blocks import COVERED, Runner, fixed_values
from ir.precision.formats import exact_filters, formats, grid, integer_bits, quantised
from ir.precision.noise import Exact, predicted, worst_peaks

RATE = 48000.0


def traced(model, inputs: int = 1) -> ir.Program:
    return adac_jax.trace(model, inputs=inputs).program


def runner(program: ir.Program) -> Runner:
    program = prepared(program)
    return Runner(program, fixed_values(program), exact_filters(program))


def exactly(program: ir.Program, inputs: list[np.ndarray], length: int) -> list[np.ndarray]:
    """The outputs of the block reading of this package, time first."""
    xs = [np.moveaxis(x, 0, -1)[..., None, :] for x in inputs]
    return [np.moveaxis(y[..., 0, :], -1, 0) for y in runner(program).run(Exact(), xs, length)]


# The runner.


def test_every_operation_is_covered():
    sources = {"input", "constant", "coefficient", "control", "sos"}  # sections are taken apart
    assert COVERED | sources == set(ir.OPS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operations(case):
    """Each row of the table of cases, against the interpreter."""
    wanted = ir.interpreter.run_for(case.program, case.length, *case.inputs)
    found = exactly(case.program, list(case.inputs), case.length)
    for y, w in zip(found, wanted, strict=True):
        scale = np.max(np.abs(w[np.isfinite(w)]), initial=1.0) if w.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(y, w, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("name", ["comb", "network", "nested", "reverberator", "compressor"])
def test_whole_programs(name):
    """Loops in blocks, and filters with a state, against the interpreter: 1e-12 of the peak."""
    programs = {"comb": comb, "network": network} | PROGRAMS
    program = (
        programs[name]()
        if name != "compressor"
        else traced(effects.Compressor(1, sample_rate=RATE))
    )
    rng = np.random.default_rng(1)
    xs = [rng.uniform(-1, 1, (700, *program.graph.nodes[k].shape)) for k in program.graph.inputs]
    for y, w in zip(exactly(program, xs, 700), ir.run(program, *xs), strict=True):
        assert np.max(np.abs(y - w)) <= 1e-12 * np.max(np.abs(w))


# Programs with multipliers of no simple ratio: such have errors that are alike.


def nested() -> ir.Program:
    """Two allpasses in a third one."""

    def allpass(x, m, g, within=lambda v: v):
        def loop(v):
            w = adac_jax.delay(within(v), m)
            return g * w, (v, w)

        _, (v, w) = adac_jax.feedback(loop, x, has_aux=True)
        return w - g * v

    def inner(v):
        return allpass(allpass(v, 37, 0.6173), 53, 0.5519)

    return traced(lambda x: allpass(x, 101, 0.4937, inner))


def biquads(low: float = 0.0713) -> ir.Program:
    """A lowpass of order four and a resonance."""
    b, a = signal.iirpeak(0.0621, 4.0)
    rows = np.vstack([signal.butter(4, low, output="sos"), [[*b, *a]]])
    return ir.Program(_cascade(len(rows)), {"sos": rows})


def _cascade(sections: int) -> ir.Graph:
    b = ir.Builder("biquads")
    x = b.add("input", index=0, shape=(), kind="real", name="x")
    sos = b.add("coefficient", slot="sos", shape=(sections, 6), kind="real")
    return b.build([b.add("sos", x, sos, name="filter")])


def reverberator(lines: int = 6) -> ir.Program:
    """A dense network with a one-pole a line."""
    m = np.array([149, 211, 263, 293, 331, 367, 401, 443, 487, 521, 563, 601, 641, 683, 727, 769])
    absorption = OnePole.from_t60(0.25, 0.1, m[:lines], sample_rate=RATE)
    model = FDN(m[:lines], inputs=1, outputs=2, absorption=absorption, rngs=nnx.Rngs(3))
    return traced(model)


PROGRAMS = {"nested": nested, "biquads": biquads, "reverberator": reverberator}


# Noise.


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("name", PROGRAMS)
def test_noise_is_as_predicted(name, bits):
    """Within 1 dB, and nothing overflows.

    The noise is measured over 0.25 s, 12,000 samples. In the narrowest of these, the resonance of
    370 Hz, that is some 190 independent values, whose mean square is within 10 % (0.45 dB, one
    standard deviation) of its mean; in the others it is well within.
    """
    found = fixed_point(PROGRAMS[name](), bits, seconds=0.5)
    assert found.bounds == "responses"
    assert found.overflows == 0
    assert found.predicted_db is not None
    difference = np.subtract(found.measured_db, found.predicted_db)
    assert np.max(np.abs(difference)) <= 1.0


def test_six_decibels_a_bit():
    """Formats are the same but for their length, so noise falls by 20 log10 2 a bit."""
    levels = [fixed_point(biquads(), bits, seconds=0.02).predicted_db for bits in (20, 28)]
    # The multipliers change by 2^-19 at most, and the noise's gain with them.
    assert np.subtract(*levels) == pytest.approx(8 * 20 * np.log10(2), abs=0.01)


def test_noise_of_one_multiplier_is_known():
    """Y = c x, rounded once: q² / 12, which the report says too."""
    b = ir.Builder("gain")
    x = b.add("input", index=0, shape=(), kind="real")
    y = b.add("mul", x, b.constant(0.7131), name="gain")
    found = fixed_point(ir.Program(b.build([y])), 16, seconds=1.0)
    q = 2.0**-15  # 0.7131 needs no integer bit
    assert found.predicted_db == pytest.approx([10 * np.log10(q * q / 12)], abs=1e-6)
    # Over 24,000 samples the mean square of uniform noise is within 0.6 % (one deviation).
    assert found.measured_db == pytest.approx(found.predicted_db, abs=0.1)
    assert found.signals[-1].integer_bits == (0, 0)
    assert found.signals[-1].fraction_bits == (15, 15)


def test_what_is_exact_has_no_noise():
    """Sums on one grid, powers of two that fit, and moves are not rounded."""
    b = ir.Builder("exact")
    x = b.add("input", index=0, shape=(2,), kind="real")
    turned = b.add("neg", b.add("take", x, indices=(1, 0), shape=(2,)))
    y = b.add("delay", b.add("mul", turned, b.constant(1.0)), samples=(3, 5))
    found = fixed_point(ir.Program(b.build([y])), 12, seconds=0.01)
    assert found.measured_db == (-np.inf, -np.inf)
    assert found.predicted_db == (-np.inf, -np.inf)


def test_not_linear_is_measured_only():
    found = fixed_point(traced(effects.Waveshaper(1, antialias=False)), 20, seconds=0.05)
    assert found.predicted_db is None
    assert found.not_linear
    assert found.overflows == 0
    assert found.bounds == "certificate"
    assert -130 < found.measured_db[0] < -90  # one or two roundings of 2^-19


def test_measured_peaks():
    """What is proved of a compressor's gain is far above what comes up: bits are worth noise."""
    program = traced(effects.Compressor(1, sample_rate=RATE))
    found = {
        peaks: fixed_point(program, 24, peaks=peaks, seconds=0.1) for peaks in (None, "measured")
    }
    assert found["measured"].bounds == "measured"
    assert found["measured"].overflows == 0
    assert found["measured"].measured_db[0] < min(-90, found[None].measured_db[0])


# Overflow.


def test_too_few_integer_bits_overflow():
    """With peaks of a tenth, the same program overflows; saturation is milder than wrapping."""
    program = biquads()
    x = prepared(program)
    true = worst_peaks(runner(program))
    assert true is not None
    small = {
        k: np.asarray(true.get(k, 1.0)) * (0.1 if x.graph.nodes[k].op == "iir" else 1)
        for k, _ in x.graph
    }
    errors = {}
    for mode in ("saturate", "wrap"):
        found = fixed_point(program, 16, peaks=small, overflow=mode, seconds=0.1)
        assert found.overflows > 0
        assert found.bounds == "given"
        errors[mode] = found.measured_db[0]
    assert errors["saturate"] < errors["wrap"]


def test_peaks_are_reached():
    """The input of signs of the turned response reaches the peak: the bound is no larger."""
    program = biquads()
    run = runner(program)
    peaks = worst_peaks(run)
    assert peaks is not None
    length = 4096
    pulse = np.zeros((1, length))
    pulse[0, 0] = 1.0
    response = run.run(Exact(), [pulse], length)[0][0].copy()
    worst = np.where(response[::-1] < 0, -1.0, 1.0)[None]
    reached = np.abs(run.run(Exact(), [worst], length)[0]).max()
    (k,) = run.graph.outputs
    assert reached <= float(peaks[k]) <= 1.03 * reached


# Formats.


def test_integer_bits():
    """The fewest with which the peak fits: 2^I less one step."""
    for bits in (8, 16):
        step = 2.0 ** (1 - bits)
        peaks = np.array([1.0, 1 - step, 1 - 0.9 * step, 2.0, 0.25, 0.2, 0.0])
        assert integer_bits(peaks, bits).tolist() == [1, 0, 1, 2, -1, -2, -24]


def test_coefficients_share_a_point():
    x = np.array([0.3, -1.7, 0.001])
    y = quantised(x, 12)
    np.testing.assert_array_equal(y, np.rint(x * 2**10) / 2**10)
    assert np.all(grid(y)[:2] >= -10)
    assert grid(np.array([0.75, -8.0, 1.0])).tolist() == [-2, 3, 0]
    assert quantised(np.zeros(0), 8).shape == (0,)


def test_channels_have_their_own_formats():
    """A quiet channel has more fraction bits than a loud one."""
    b = ir.Builder("levels")
    x = b.add("input", index=0, shape=(), kind="real")
    g = b.add("coefficient", slot="g", shape=(2,), kind="real")
    y = b.add("delay", b.add("mul", x, g, name="gains"), samples=(1, 2))
    program = ir.Program(b.build([y]), {"g": np.array([10.3, 0.013])})
    (row,) = (s for s in fixed_point(program, 16, seconds=0.01).signals if "gains" in s.name)
    assert row.integer_bits == (-6, 4)
    assert row.fraction_bits == (11, 21)


def test_responses_with_rounded_multipliers():
    """Six decibels a bit: the error of the response is that of the multipliers."""
    errors = [
        fixed_point(reverberator(), 24, coefficient_bits=c, seconds=0.1).coefficient_error_db
        for c in (12, 22)
    ]
    assert np.max(np.abs(np.subtract(*errors) - 20 * np.log10(2) * 10)) <= 6  # one bit's worth


def test_no_end_no_prediction():
    """An integrator's noise grows for ever."""
    b = ir.Builder("integrator")
    x = b.add("input", index=0, shape=(), kind="real")
    u = b.reserve(())
    scaled = b.add("mul", x, b.constant(0.0137))
    b.define(u, "add", scaled, b.add("delay", u, samples=(64,)))
    program = prepared(ir.Program(b.build([u])))
    assert worst_peaks(runner(program)) is None
    peaks = {k: np.full(n.shape, 8.0) for k, n in program.graph}
    chosen = formats(program, 16, peaks, 16)
    assert predicted(chosen, Runner(program, chosen.fixed, chosen.filters)) is None


# The report.


def test_json():
    record = json.loads(fixed_point(nested(), 16, seconds=0.05).to_json())
    assert record["bits"] == 16
    assert len(record["signals"]) > 5
    assert record["signals"][0]["noise_db"] is None  # -∞


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 3}, "`bits` .=3. must be 4 to 40"),
        ({"bits": 41}, "`bits`"),
        ({"coefficient_bits": 2}, "`coefficient_bits` .=2."),
        ({"overflow": "ignore"}, "saturate"),
        ({"seconds": 0.0}, "`seconds` .=0.0."),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ir.IRError, match=message):
        fixed_point(biquads(), **options)


@pytest.mark.slow
def test_sixteen_lines_for_a_second():
    """Sixteen lines for a whole second."""
    found = fixed_point(reverberator(16), 24)
    assert found.overflows == 0
    assert np.max(np.abs(np.subtract(found.measured_db, found.predicted_db))) <= 1.0
