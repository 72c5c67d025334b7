"""Certified peaks of linear loops: no less than the absolute sum of the response, and near it."""

from __future__ import annotations

import numpy as np
import pytest
from adversarial_case import Maker, orthogonal, peak

import ir
from ir.certificate import SINGLE, certify
from ir.certificate.responses import absolute_responses
from ir.certificate.system import Atom, System

FLOAT = 2.0**-52


def network(seed: int, gain: float, late: int = 0) -> ir.Program:
    """Four lines with a section each, a gain before and after them, one input, one output."""
    rng = np.random.default_rng(seed)
    n, g = 4, Maker()
    sos = np.stack([peak(1000.0 * (i + 1), 500.0, -3.0) for i in range(n)], 1)[None]
    x, head = g.input(), g.b.reserve((n,))
    entering = g.mul(g.b.add("broadcast", x, shape=(n,), axes=()), rng.normal(size=n))
    if late:
        entering = g.delay(entering, late)
    s = g.op("sos", g.delay(head, *rng.integers(40, 90, n)), sos)
    g.close(head, entering, g.mix(s, orthogonal(rng, n) * gain))
    return g.program(g.op("einsum", s, rng.normal(size=n), subscripts="i,i->"))


def absolute(program: ir.Program, length: int) -> float:
    (h,) = ir.run(program, np.eye(1, length)[0])
    return float(np.abs(h).sum())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("late", [0, 7])
def test_peaks_are_bounds_and_near(seed, late):
    program = network(seed, 0.8, late)
    found = certify(program)
    assert found.verdict == "stable"
    total = absolute(program, 3000)
    assert total * (1 - 3000 * FLOAT) <= found.peak[0]
    # Lines are mixed as they are heard; what arrives late enters each line by itself.
    assert found.peak[0] <= total * (2 if late else 1.05)


def test_peaks_hold_with_coefficients_that_are_off():
    program = network(0, 0.8)
    bound = certify(program, tolerance=SINGLE).peak[0]
    assert bound <= certify(program).peak[0] * 1.1
    rng = np.random.default_rng(1)
    for _ in range(3):
        moved = {k: v * (1 + SINGLE * rng.choice([-1, 1], v.shape)) if v.ndim < 3 else v
                 for k, v in program.coefficients.items()}  # fmt: skip
        assert absolute(ir.Program(program.graph, moved), 3000) <= bound


def test_what_responses_leave_out_is_counted():
    """A comb of gain 0.9 and 50 samples, and a low-pass beside it: sums of geometric series."""
    b, a = np.array([[0.2, 0.0, 0.0]]), np.array([[1.0, -0.8, 0.0]])
    atoms = (Atom("delay", 0, 0, (50, 50)), Atom("sections", 1, 0, filter=(b, a)))
    C = np.array([[0.9, 0.0], [1.0, 0.0]])
    zero = np.zeros(2)
    system = System(atoms, C, np.zeros((2, 2)), zero, zero, zero, {})
    enters = np.array([[1.0, 0.0]])
    most = np.array([20.0, 30.0])
    found = absolute_responses(system, enters, np.zeros((1, 2)), most, 50 * 66)
    assert found is not None
    exact = np.array([10.0, 10.0])
    assert (found[0][0] >= exact * (1 - 1e-12)).all()
    assert (found[0][0] <= exact * 1.05).all()
    # What is not known of the input is counted with the loop's own gain.
    unsure = absolute_responses(system, enters, np.array([[0.01, 0.0]]), most, 50 * 66)
    assert unsure is not None
    assert (unsure[0][0] >= found[0][0] - 0.05 + 0.01 * most * 0.5).all()


def test_a_loop_that_keeps_what_it_has_tells_nothing():
    atoms = (Atom("delay", 0, 0, (50, 50)),)
    one, zero = np.ones((1, 1)), np.zeros(1)
    system = System(atoms, one, 0 * one, zero, zero, zero, {})
    assert absolute_responses(system, one, 0 * one, np.array([10.0]), 1000.0) is None


def test_absolute_sums_match_a_long_response():
    program = network(1, 0.5)
    (h,) = ir.run(program, np.eye(1, 1500)[0])
    steady = np.sign(h[::-1])
    (y,) = ir.run(program, steady)
    # The loudest input is the response's signs, backwards.
    assert abs(y[-1]) == pytest.approx(np.abs(h).sum(), rel=1e-9)
    assert abs(y[-1]) <= certify(program).peak[0]
