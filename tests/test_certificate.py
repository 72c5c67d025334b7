"""Certificates: bounds against brute force, verdicts against poles, and what is written.

The adversarial loops are in `test_certificate_adversarial.py`; here are the parts.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

import adac_jax
import ir
from adac_jax import nn
from adac_jax.certify import CertificateError
from adac_jax.certifying_cli import main
from emitters import faust
from ir.certificate import filters, small_gain
from ir.certificate.rules import RULES

RATE = 48000.0


def peaking(frequency: float, quality: float, db: float, rate: float = RATE) -> np.ndarray:
    """A peaking section (R. Bristow-Johnson's formulas)."""
    A, w = 10 ** (db / 40), 2 * np.pi * frequency / rate
    alpha = np.sin(w) / (2 * quality)
    return np.array([1 + alpha * A, -2 * np.cos(w), 1 - alpha * A,
                     1 + alpha / A, -2 * np.cos(w), 1 - alpha / A])  # fmt: skip


def network(A: np.ndarray, lengths: list[int], sos: np.ndarray | None = None) -> ir.Program:
    """u = x + A F(u[t - m])."""
    n, b = len(lengths), ir.Builder("network", RATE)
    x = b.add("input", index=0, shape=(n,), kind="real")
    u = b.reserve((n,))
    late = b.add("delay", u, samples=tuple(lengths), name="lines")
    coefficients = {"A": np.asarray(A, float)}
    if sos is not None:
        slot = b.add("coefficient", slot="sos", shape=sos.shape, kind="real")
        late = b.add("sos", late, slot, name="absorption")
        coefficients["sos"] = sos
    matrix = b.add("coefficient", slot="A", shape=A.shape, kind="real")
    b.define(u, "add", x, b.add("einsum", matrix, late, subscripts="ij,j->i", name="matrix"))
    return ir.Program(b.build([u]), coefficients)


def orthogonal(n: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


# -- Filters --------------------------------------------------------------------------------------


def test_every_operation_has_a_rule():
    sources = {"input", "coefficient", "constant", "control"}
    assert set(RULES) == set(ir.OPS) - sources


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("radius", [1.0, 0.9999])
def test_peaks_of_sections_are_bounds_and_tight(seed, radius):
    rng = np.random.default_rng(seed)
    lanes = np.stack(
        [
            [
                peaking(10 ** rng.uniform(1.5, 4.3), 10 ** rng.uniform(-0.5, 2), rng.normal() * 6)
                for _ in range(6)
            ]
            for _ in range(3)
        ]
    )
    found = filters.peak_of_sections(lanes, radius)
    for lane, bound in zip(lanes, found, strict=True):
        if max(abs(r) for s in lane for r in np.roots(s[3:])) >= radius:
            assert bound == np.inf
            continue
        near = [abs(np.angle(r)) for s in lane for r in np.roots(s[3:])]
        w = np.concatenate([np.geomspace(1e-5, np.pi, 20000), *(p + np.linspace(-1e-3, 1e-3, 2001)
                                                                for p in near)])  # fmt: skip
        z = radius * np.exp(1j * np.clip(w, 0, np.pi))
        h = np.prod([np.polyval(s[2::-1], 1 / z) / np.polyval(s[:2:-1], 1 / z) for s in lane], 0)
        most = float(np.abs(h).max())
        # The grid may miss the top by little, evaluation by rounding.
        assert most <= bound * (1 + 1e-9)
        assert bound <= most * (1 + 1e-4)


def test_a_peak_between_all_grid_points_is_seen():
    narrow = peaking(4000.123456, 1e6, 6.0)
    grid = np.linspace(0, np.pi, 2**16)
    assert np.abs(signal.freqz(narrow[:3], narrow[3:], grid)[1]).max() < 1.01
    (bound,) = filters.peak_of_sections(narrow[None, None])
    assert 20 * np.log10(bound) == pytest.approx(6, abs=1e-3)


@pytest.mark.parametrize("order", [3, 4, 6, 8])
def test_peaks_of_higher_orders(order):
    b, a = signal.cheby1(order, 1.5, 0.2)
    found = filters.peak_of_rational(b, a)
    w = np.linspace(0, np.pi, 100_001)
    most = np.abs(signal.freqz(b, a, w)[1]).max()
    assert most * (1 - 1e-9) <= found <= most * 1.04


@pytest.mark.parametrize("count", [2, 17, 400])
def test_peaks_of_taps(count):
    h = np.random.default_rng(count).normal(size=count)
    most = np.abs(np.fft.rfft(h, 2**20)).max()
    assert most <= filters.peak_of_taps(h) <= most * (1 + 1e-4)


@pytest.mark.parametrize(
    ("a", "inside"),
    [
        ([1, -1.9, 0.95], True),
        ([1, -2, 1], False),
        ([1, 0, 1], False),
        ([1, 0, 1 - 2**-52], True),
        ([2, 0, 2 + 2**-51], False),
        ([1.0], True),
        ([0.0, 1], False),
        (np.poly([0.999, -0.999, 0.5 + 0.8j, 0.5 - 0.8j]), True),
        (np.poly([1.001, -0.999, 0.5 + 0.8j, 0.5 - 0.8j]), False),
    ],
)
def test_poles_are_judged_exactly(a, inside):
    assert filters.poles_inside(np.real(np.asarray(a))) is inside


def test_absolute_sums_hold_the_whole_response():
    sos = signal.butter(4, 0.05, output="sos")
    up, down = filters.absolute_sums(sos[:, :3], sos[:, 3:])
    h = signal.sosfilt(sos, np.eye(1, 20000)[0])
    assert up == pytest.approx(h[h > 0].sum(), rel=1e-6)
    assert down == pytest.approx(-h[h < 0].sum(), rel=1e-6)
    assert up >= h[h > 0].sum()
    assert down >= -h[h < 0].sum()


# -- Norms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_norms_are_bounds(n):
    S = np.random.default_rng(n).normal(size=(n, n))
    found, most = small_gain.norm(S), np.linalg.norm(S, 2)
    assert most <= found <= most * (1 + 1e-10)


def test_a_scaling_is_found_for_what_is_similar_to_an_orthogonal_matrix():
    T = np.diag(np.exp(2 * np.random.default_rng(3).normal(size=12)))
    S = T @ orthogonal(12, 3) @ np.linalg.inv(T)
    assert np.linalg.norm(S, 2) > 5
    d, value = small_gain.scale(S, np.zeros_like(S), np.full(12, 0.999))
    assert 0.999 <= value < 0.999 + 1e-9
    assert np.ptp(np.log(d * np.diag(T))) < 1e-6


# -- Verdicts -------------------------------------------------------------------------------------


def test_the_narrow_peak_is_refused_with_its_frequency():
    one = peaking(4003.7, 4000, 6.0) * np.array([0.99] * 3 + [1] * 3)
    lengths = np.random.default_rng(1).integers(400, 1200, 8).tolist()
    program = network(orthogonal(8), lengths, np.repeat(one[None, :, None], 8, axis=2))
    found = ir.certify(program)
    assert found.verdict == "unstable"
    (loop,) = found.problems()
    assert loop.frequency_hz == pytest.approx(4003.7, abs=2)
    assert loop.growth_db_per_second > 0  # type: ignore[operator]


def test_the_triangular_matrix_is_certified():
    A = np.array([[0.6, 4.97], [0, 0.5]])
    assert np.linalg.norm(A, 2) > 5
    found = ir.certify(network(A, [401, 503]))
    assert found.verdict == "stable"
    assert found.margin_db == pytest.approx(-20 * np.log10(0.6), abs=1e-6)
    # And 60 dB of the slower line take as long as they do.
    seconds = 3 / -np.log10(0.6) * 401 / RATE
    assert found.decay_seconds == pytest.approx(seconds, rel=0.03)
    assert found.decay_seconds >= seconds  # type: ignore[operator]


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [(0.99, "stable"), (1 - 1e-9, "stable"), (1.0, "lossless"), (1 + 1e-6, "unstable")],
)
def test_near_the_border(gain, verdict):
    assert ir.certify(network(gain * orthogonal(4), [5, 7, 11, 13])).verdict == verdict


def test_poles_decide_where_gains_do_not():
    # Stable for these delays, not for all: the poles of 1 + 1.2 z^-1 + 0.5 z^-2.
    A = np.array([[-1.2, -0.5], [1.0, 0.0]])
    found = ir.certify(network(A, [1, 1]))
    assert found.verdict == "stable"
    assert "poles" in found.loops[0].method
    radius = np.abs(np.roots([1, 1.2, 0.5])).max()
    assert found.decay_seconds >= np.log(1000) / -np.log(radius) / RATE * (1 - 1e-9)  # type: ignore
    assert ir.certify(network(A, [1, 2])).verdict == "unstable"


def test_a_knob_is_certified_in_all_positions_and_motions():
    def mixed(high: float):
        def model(x):
            mix = adac_jax.control("mix", 0.5, 0.0, 1.0)
            late = lambda u: adac_jax.delay(u, 100)  # noqa: E731
            step = lambda u: high * ((1 - mix) * late(u) + mix * adac_jax.delay(u, 37))  # noqa: E731
            return adac_jax.feedback(step, x)

        return adac_jax.certify(model, inputs=1, name="mixed")

    found = mixed(0.9)
    assert found.verdict == "stable"
    assert found.controls == (("mix", 0.0, 1.0),)
    # |u| ≤ 1 + 0.9 |u| for every mix, and the output is that of both branches at their loudest.
    assert 10 <= found.peak[0] <= 19.1
    assert mixed(1.01).verdict == "unproven"


def test_nonlinear_loops():
    def loop(step):
        return adac_jax.certify(
            lambda x: adac_jax.feedback(lambda u: step(adac_jax.delay(u, 50)), x), inputs=1
        )

    assert loop(lambda u: 0.9 * jnp.tanh(u)).verdict == "stable"
    bounded = loop(lambda u: jnp.tanh(3 * u))
    assert bounded.verdict == "stable"
    assert 1 + np.tanh(3) <= bounded.peak[0] <= 2
    assert bounded.decay_seconds is None
    assert loop(lambda u: 1.1 * u / (1 + 0 * u)).verdict != "stable"
    assert loop(lambda u: u * u).verdict == "unproven"


# -- Models, files, commands ----------------------------------------------------------------------


def test_what_is_certified_are_the_rounded_coefficients():
    # Stable as it is; in single precision its entries are off by 2^-24.
    program = network(orthogonal(4) * (1 - 1e-12), [11, 13, 17, 19])
    assert adac_jax.certify(program, precision="double").verdict == "stable"
    assert adac_jax.certify(program, precision="single").verdict != "stable"


def test_rounded_sections_are_those_of_the_text():
    section = peaking(40.0, 0.7, -3.0)
    found = faust.rounding.realised(section, "single")
    # Single precision of a1 and a2 would be off by 6e-8; the emitted form holds the poles better.
    assert np.abs(found - section / section[3]).max() < 1e-9
    assert np.abs(found - section / section[3]).max() > 0


class Unstable(nn.Module):
    inputs = outputs = 1

    def __call__(self, x):
        return adac_jax.feedback(lambda u: 1.01 * adac_jax.delay(u, 30), x)


def test_export_refuses_what_is_unstable(tmp_path):
    with pytest.raises(CertificateError, match=r"Unstable is unstable: .* Hz, growing by"):
        adac_jax.export(Unstable(), tmp_path / "out", seconds=0.05)
    assert not (tmp_path / "out").exists()
    done = adac_jax.export(Unstable(), tmp_path / "out", seconds=0.05, uncertified=True)
    assert done.certificate.verdict == "unstable"  # type: ignore[union-attr]
    record = json.loads((tmp_path / "out/Unstable.cert.json").read_text())
    assert record["verdict"] == "unstable"
    assert record["peak"] == [None]


def test_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.ir.json").write_text(ir.dumps(network(0.9 * orthogonal(2), [20, 30])))
    assert main(["model.ir.json", "--out", "out"]) == 0
    said = capsys.readouterr().out
    assert "stable" in said
    assert "small gain" in said
    record = json.loads(Path("out/network.cert.json").read_text())
    assert record["format"] == "adac_jax certificate"
    assert record["loops"][0]["margin_db"] == pytest.approx(-20 * np.log10(0.9), abs=1e-4)
    Path("bad.ir.json").write_text(ir.dumps(network(1.1 * orthogonal(2), [20, 30])))
    assert main(["bad.ir.json"]) == 1
    assert "unstable" in capsys.readouterr().out
    assert main(["nothing.ir.json"]) == 1
    assert "nothing.ir.json" in capsys.readouterr().err
    assert main(["model.ir.json", "--precision", "half"]) == 2


@pytest.mark.slow
def test_a_large_network():
    """Thirty-two lines with equalisers of ten bands and two shelves; how soon, a benchmark says."""
    m = nn.mutually_prime_delays(32, 960, 4800)
    eq = nn.AccurateGEQ.from_t60(np.geomspace(3.0, 0.5, 12), m, lowest=22.0, sample_rate=RATE)
    program = adac_jax.trace(nn.FDN(m, absorption=eq)).program
    assert ir.certify(program).verdict == "stable"


def test_errors():
    with pytest.raises(ir.IRError, match="`tolerance`"):
        ir.certify(network(orthogonal(2), [2, 3]), tolerance=0.5)
    with pytest.raises(adac_jax.AdacError, match="`precision`"):
        adac_jax.certify(Unstable(), precision="half")  # type: ignore[arg-type]


def test_certificates_name_what_they_talk_of():
    found = adac_jax.certify(nn.FDN((50, 60), matrix=nn.Matrix(2, 2, weight=0.9 * np.eye(2))))
    assert all(p.name for p in found.loops)
    assert found.summary().startswith("stable")
