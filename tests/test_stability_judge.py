"""The judge of stability is right where the answer is known, and its parts agree."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from adversarial_case import Loop, Maker, orthogonal
from adversarial_loops import FAMILIES, make
from stability_attack import attack
from stability_judge import falsehoods, judge, worst_peaks
from stability_machine import Machine
from stability_poles import BITS, characteristic, poles, schur_cohn
from stability_walk import NotLinearError, state_space

import ir
from ir.interpreter import run_for


def network(A: np.ndarray, m: tuple[int, ...]) -> ir.Program:
    g = Maker()
    head = g.b.reserve((len(m),))
    g.close(head, g.input(len(m)), g.mix(g.delay(head, *m), A))
    return g.program(head)


@pytest.mark.parametrize("exponent", [-2, -5, -8, -11, -13, -15])
@pytest.mark.parametrize("sign", [-1, 1])
def test_poles_beside_the_circle(exponent, sign):
    # Every pole has the magnitude r; in the last rows float64 eigenvalues cannot tell on which side
    # of one, and the matrix is the rounding of an orthogonal one, so r is given a factor that a
    # float holds exactly.
    r = 1 + sign * 10.0**exponent
    A = np.array([[0.0, 1.0], [-1.0, 0.0]]) * r
    found = poles(network(A, (3, 5)))
    assert found.verdict == ("stable" if r < 1 else "unstable")


def test_on_the_circle():
    assert poles(network(np.array([[0.0, 1.0], [1.0, 0.0]]), (3, 5))).verdict == "marginal"


def test_block_of_jordan():
    # 1 - 1e-9 six times over: eigenvalues in float64 scatter by 1e-3.
    A = np.eye(6) + np.diag(np.ones(5), 1)
    for r, verdict in ((1 - 1e-9, "stable"), (1 + 1e-9, "unstable")):
        exact = [[Fraction(v) for v in row] for row in np.where(np.eye(6) > 0, r, A)]
        assert schur_cohn(characteristic(np.array(exact, object))) == verdict


def test_characteristic_polynomial():
    A = np.random.default_rng(1).integers(-4, 5, (7, 7))
    exact = np.array([[Fraction(int(v)) for v in row] for row in A], object)
    found = [c / 2**BITS for c in characteristic(exact)]
    # Integers up to some thousands, and numpy's own rounding.
    np.testing.assert_allclose(found, np.poly(A), rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_three_ways_to_run(name):
    program, length = make(name, 0).program, 40
    rng = np.random.default_rng(0)
    types = [program.graph.nodes[k].type for k in program.graph.inputs]
    xs = [rng.integers(-1, 2, (length, *t.shape)) if t.kind == "int" else
          rng.uniform(-1, 1, (length, *t.shape)) > 0 if t.kind == "bool" else
          rng.uniform(-1, 1, (length, *t.shape)) for t in types]  # fmt: skip
    # Every knob at 0.37 of its way.
    knobs = program.graph.controls
    places = {k: float(n["minimum"]) + 0.37 * (float(n["maximum"]) - float(n["minimum"]))
              for k, n in knobs.items()}  # fmt: skip
    wanted = run_for(ir.verify_program(program), length, *xs, controls=places)
    machine = Machine(program, 2)
    machine.positions[:] = 2 * 0.37 - 1
    found = [[y[..., 1].copy() for y in machine.step(*(np.stack([x[t], x[t]], -1) for x in xs))]
             for t in range(length)]  # fmt: skip
    for n, want in enumerate(wanted):
        # Forty samples of a recursion of some hundred terms; gains grow what was rounded.
        scale = np.max(np.abs(want[np.isfinite(want)]), initial=1.0) if want.size else 1.0
        got = np.stack([row[n] for row in found])
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-9 * scale)
    try:
        space = state_space(program)
    except NotLinearError:
        return
    state, flat = space.x0, np.concatenate([x.reshape(length, -1) for x in xs], 1)
    want = np.concatenate([y.reshape(length, -1) for y in wanted], 1)
    scale = max(1.0, float(np.max(np.abs(want))))
    for t in range(length):
        x = np.append(flat[t], 1)
        np.testing.assert_allclose(space.C @ state + space.D @ x, want[t], rtol=1e-7,
                                   atol=1e-9 * scale)  # fmt: skip
        state = space.A @ state + space.B @ x


def test_worst_peak_of_a_comb():
    space = state_space(network(np.array([[-0.5]]), (4,)))
    # 1 + 1/2 + 1/4 + … at samples 0, 4, …, 36: ten terms.
    assert worst_peaks(space, 40) == pytest.approx(2 - 0.5**9, rel=1e-12)


def test_attack_finds_what_repeats():
    # A rotation scaled by 0.95 is stable for any fixed lengths; lengths that jump defeat it.
    A = orthogonal(np.random.default_rng(0), 2) * 0.95
    g = Maker()
    head = g.b.reserve((2,))
    x, y = g.input(2), g.input(2)
    d = g.op("convert", g.op("round", g.add(g.mul(y, 3.0), 4.0)), kind="int")
    s = g.op("variable_delay", head, d, minimum=1, maximum=7)
    g.close(head, x, g.mix(s, A))
    assert attack(g.program(head)).grown


def test_attack_respects_what_is_stable():
    found = attack(network(np.array([[0.5]]), (4,)), bounds=[2.0])
    assert not found.found
    assert found.peaks[0] == pytest.approx(2.0, rel=1e-9)
    assert attack(network(np.array([[0.5]]), (4,)), bounds=[1.999]).exceeded


def test_falsehoods_are_found():
    stable = Loop("", network(np.array([[0.5]]), (4,)), "poles", "", True)
    unstable = Loop("", network(np.array([[1.1]]), (4,)), "poles", "", True)

    def says(verdict: str, peak: float, samples: int) -> SimpleNamespace:
        proof = SimpleNamespace(decay_seconds=samples / 48000)
        return SimpleNamespace(verdict=verdict, peak=[peak], loops=[proof])

    # 0.5^(t / 4) falls by 60 dB in 39.9 samples.
    assert falsehoods(stable, judge(stable), says("stable", 2.0, 40)) == []
    assert falsehoods(stable, judge(stable), says("stable", 1.99, 40))
    assert falsehoods(stable, judge(stable), says("stable", 2.0, 30))
    assert falsehoods(stable, judge(stable), says("unstable", 2.0, 40))
    assert falsehoods(unstable, judge(unstable), says("stable", 1e9, 10**6))
    assert falsehoods(unstable, judge(unstable), says("lossless", 1e9, 10**6))
    assert falsehoods(unstable, judge(unstable), says("unstable", 1e9, 10**6)) == []
