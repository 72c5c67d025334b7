"""Certificates of what has no slope below one: ranges never left, motion by slopes, products.

Each kind of loop is proved on one side of its border, and refused on the other.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from adversarial_case import Maker
from adversarial_loops import make
from stability_judge import judge

import ir
from ir.certificate import certify
from ir.certificate.functions import Functions
from ir.certificate.intervals import slopes
from ir.cycles import order
from ir.graph import Node, Type
from ir.interpreter import per_sample

FLOAT = 2.0**-52


def fed(build, level: float = 1.0, lag: int = 3) -> ir.Program:
    """u = level x + f(u[t - lag])."""
    g = Maker()
    head = g.b.reserve(())
    g.close(head, g.mul(g.input(), level), build(g, g.delay(head, lag)))
    return g.program(head)


def compressed(g: Maker, s: int, top: float) -> int:
    """top s / (1 + 2 e), where e follows |s|."""
    e = g.b.reserve(())
    g.close(e, g.mul(g.op("abs", s), 0.1), g.mul(g.delay(e, 1), 0.9))
    return g.op("div", g.mul(s, top), g.add(g.mul(e, 2.0), 1.0))


def bent(g: Maker, s: int, a: float, b: float) -> int:
    return g.add(g.mul(s, a), g.mul(g.op("tanh", s), b))


def beyond(g: Maker, s: int, slope: float) -> int:
    """A dead zone: s less what a clip to ±1 leaves of it."""
    clipped = g.op("maximum", g.op("minimum", s, 1.0), -1.0)
    return g.mul(g.op("sub", s, clipped), slope)


def rooted(g: Maker, s: int, above: float) -> int:
    return g.mul(g.op("sqrt", g.add(s, above)), 0.03)


def by_level(g: Maker, s: int, low: float, high: float) -> int:
    return g.mul(s, g.op("select", g.op("gt", g.op("abs", s), 1.0), high, low))


CASES = {
    # s / (1 + |s|) is flat far away, whatever its slope at zero.
    "soft": (lambda g, s: g.op("div", g.mul(s, 5.0), g.add(g.op("abs", s), 1.0)), 1.0, True),
    "compressor": (lambda g, s: compressed(g, s, 3.0), 1.0, True),
    "compressor that lifts": (lambda g, s: g.mul(s, g.add(g.mul(g.op("abs", s), 0.2), 0.5)),
                              0.312, True),
    "lifts too much": (lambda g, s: g.mul(s, g.add(g.mul(g.op("abs", s), 0.2), 0.5)), 0.313, False),
    # 1.2 u - 0.9 tanh u runs away from where it exceeds u less the input.
    "bend that holds": (lambda g, s: bent(g, s, 1.2, -0.9), 0.3, True),
    "bend that does not": (lambda g, s: bent(g, s, 1.2, -0.9), 0.6, False),
    "within a dead zone": (lambda g, s: beyond(g, s, 3.0), 0.99, True),
    "past a dead zone": (lambda g, s: beyond(g, s, 3.0), 1.01, False),
    "below the level": (lambda g, s: by_level(g, s, 0.9, 2.0), 0.0999, True),
    "above the level": (lambda g, s: by_level(g, s, 0.9, 2.0), 0.1001, False),
    # u = a + 0.1 / (2 - u) has a solution up to a = 2 - 2 sqrt(0.1).
    "short of a pole": (lambda g, s: g.op("div", 0.1, g.op("sub", 2.0, s)), 1.367, True),
    "over a pole": (lambda g, s: g.op("div", 0.1, g.op("sub", 2.0, s)), 1.368, False),
    "root of what stays above zero": (lambda g, s: rooted(g, s, 1.001), 1.0, True),
    "root of what does not": (lambda g, s: rooted(g, s, 0.999), 1.0, False),
    "cube root": (lambda g, s: g.mul(g.op("cbrt", s), 2.0), 1.0, True),
    "square": (lambda g, s: g.mul(s, s), 0.2499, True),
    "square that runs away": (lambda g, s: g.mul(s, s), 0.2501, False),
    # All of it is rounded to zero.
    "rounded away": (lambda g, s: g.op("round", g.mul(s, 4.0)), 0.1, True),
    "rounded up": (lambda g, s: g.op("round", g.mul(s, 4.0)), 0.13, False),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_ranges_that_are_never_left(name):
    build, level, proved = CASES[name]
    program = fed(build, level)
    found = certify(program)
    assert (found.verdict == "stable") is proved
    if not proved:
        return
    # Loud and steady, alternating and random inputs stay below the peak.
    rng = np.random.default_rng(0)
    for x in (np.ones(400), -np.ones(400), rng.choice([-1.0, 1.0], 400), np.tile([1.0, -1.0], 200)):
        (y,) = ir.run(program, x)
        assert np.abs(y).max() <= found.peak[0] * (1 + 400 * FLOAT)


@pytest.mark.parametrize("gains", [(0.5, 1.5), (1.5, 0.5), (0.9, 0.5)])
def test_a_condition_from_outside_may_hold_or_not(gains):
    g = Maker()
    x, c, head = g.input(), g.input(kind="bool"), g.b.reserve(())
    s = g.delay(head, 2)
    bent = g.op("div", s, g.add(g.op("abs", s), 1.0))
    chosen = g.op("select", c, g.mul(s, gains[0]), g.mul(s, gains[1]))
    g.close(head, x, g.add(chosen, g.mul(bent, 0.05)))
    assert (certify(g.program(head)).verdict == "stable") is (max(gains) < 1)


def turned(r: float) -> ir.Program:
    """Two lines, turned by an angle that an input moves, times r."""
    g = Maker()
    head = g.b.reserve((2,))
    s = g.delay(head, 5, 7)
    x, angle = g.input(2), g.mul(g.input(), 2.0)
    p, q = g.channel(s, 0), g.channel(s, 1)
    c, d = g.mul(g.op("cos", angle), r), g.mul(g.op("sin", angle), r)
    g.close(head, x, g.stack(g.op("sub", g.mul(c, p), g.mul(d, q)),
                             g.add(g.mul(d, p), g.mul(c, q))))  # fmt: skip
    return g.program(head)


def faded(top: float) -> ir.Program:
    """Two taps, with weights cos and sin, whose sum is at most the root of two."""
    g = Maker()
    head = g.b.reserve(())
    angle = g.mul(g.add(g.input(), 1.0), math.pi / 4)
    one = g.mul(g.delay(head, 5), g.op("cos", angle))
    two = g.mul(g.delay(head, 8), g.op("sin", angle))
    g.close(head, g.input(), g.mul(g.add(one, two), top / math.sqrt(2)))
    return g.program(head)


def resonator(low: float, high: float, r: float) -> ir.Program:
    """y = x - a1 y[t-1] - r² y[t-2], a1 moved between two values."""
    g = Maker()
    head = g.b.reserve(())
    late, x = g.delay(head, 1), g.input()
    a1 = g.add(g.mul(g.input(), (high - low) / 2), (high + low) / 2)
    g.close(head, x, g.op("neg", g.add(g.mul(late, a1), g.mul(g.delay(late, 1), r * r))))
    return g.program(head)


@pytest.mark.parametrize("build", [turned, faded])
@pytest.mark.parametrize("distance", [1e-2, 1e-4])
def test_motion_near_its_border(build, distance):
    assert certify(build(1 - distance)).verdict == "stable"
    assert certify(build(1 + distance)).verdict != "stable"


def test_products_of_moving_matrices():
    found = certify(resonator(-1.5, -1.4, 0.9))
    assert found.verdict == "stable"
    assert found.loops[0].method.startswith("products")
    # Switched at each sample, or every few, it fades as fast as it says, and stays below the peak.
    ends = [np.array([[-a, -0.81], [1, 0]]) for a in (-1.5, -1.4)]
    samples = found.decay_seconds * 48000  # type: ignore[operator]
    for word in itertools.product(ends, repeat=8):
        radius = np.abs(np.linalg.eigvals(np.linalg.multi_dot(word))).max()
        assert radius ** (samples / 8) <= 1e-3
    # Each fixed a1 is stable, but pumped between these it grows.
    ends = [np.array([[-a, -(0.98**2)], [1, 0]]) for a in (-1.9, 0.0)]
    words = itertools.chain(*(itertools.product(ends, repeat=n) for n in range(2, 9)))
    assert max(np.abs(np.linalg.eigvals(np.linalg.multi_dot(w))).max() for w in words) > 1.1
    assert certify(resonator(-1.9, 0.0, 0.98)).verdict != "stable"


PROVED = (
    ("compressors", 4), ("compressors", 1000027), ("coupled forms", 2), ("crossfades", 1000044),
    ("gains by level", 1000039), ("integers that wrap", 6), ("integers that wrap", 1000031),
    ("limited domains", 2), ("limited domains", 8), ("parametric resonators", 8),
    ("powers", 1000031), ("powers", 1000026), ("quotients", 0), ("relays and roundings", 3),
    ("two gains", 0), ("two gains", 5000006), ("varying rotations", 3),
)  # fmt: skip
"""Loops that are stable by construction, of which it once could not be proved."""
REFUSED = (("quotients", 1000031), ("quotients", 1000001), ("two gains", 3), ("powers", 1))
"""Unstable ones of the same families."""


@pytest.mark.parametrize(("name", "seed"), PROVED)
def test_what_once_could_not_be_proved(name, seed):
    loop = make(name, seed)
    assert loop.truth == "stable" or judge(loop).truth == "stable"
    assert certify(loop.program).verdict == "stable"


@pytest.mark.parametrize(("name", "seed"), REFUSED)
def test_what_must_not_be_proved(name, seed):
    loop = make(name, seed)
    assert loop.truth == "unstable"
    assert not certify(loop.program).passed


# -- The parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_ranges_over_boxes_hold_what_points_reach(seed):
    """Of random loops cut open: values at points lie within the bounds over boxes about them."""
    program = make("random expressions", seed).program
    graph = program.graph
    sequence = order(graph)
    sources = ("input", "delay", "variable_delay", "constant", "coefficient")
    leaves = {}
    for k in sequence:
        node = graph.nodes[k]
        if node.op in ("constant", "coefficient"):
            value = np.asarray(program.coefficients[node.text("slot")] if node.op == "coefficient"
                               else node["value"], float)  # fmt: skip
            leaves[k] = (value, value)
        elif node.op in sources:
            leaves[k] = (np.full(node.shape, -1.0), np.full(node.shape, 1.0))
    functions = Functions(graph, sequence, leaves, {}, 0.0)
    rng = np.random.default_rng(seed)
    low, high = functions.box()
    a, b = rng.uniform(low, high, (2, 40, len(low)))
    near = np.minimum(np.maximum(a + 0.01 * (b - a), low), high)
    low, high = np.minimum(a, near), np.maximum(a, near)
    whole, bounds = functions.bounds(low, high)
    at = low + rng.uniform(size=low.shape) * (high - low)
    exact = functions.over(at, at, slopes=False)
    for k in functions.sequence:
        for found in (bounds.of(k), whole[k].value):
            assert (found[0] <= exact[k].value[1]).all()
            assert (found[1] >= exact[k].value[0]).all()


@pytest.mark.parametrize(
    ("op", "low", "high", "exponent"),
    [("asin", -0.9, 0.7, 0), ("acos", 0.2, 0.99, 0), ("cbrt", 0.1, 2.0, 0), ("atanh", -0.5, 0.9, 0),
     ("tanh", -3.0, 1.0, 0), ("logistic", 1.0, 4.0, 0), ("integer_pow", 0.5, 2.0, -3),
     ("integer_pow", -2.0, -0.3, -2)],
)  # fmt: skip
def test_slopes_hold_differences(op, low, high, exponent):
    attributes = (("exponent", exponent),) if exponent else ()
    node = Node(op, (0,), Type(), attributes)
    least, most = slopes(node, (np.asarray(low), np.asarray(high)))
    x = np.linspace(low, high, 2001)
    y = np.asarray(per_sample(node)(x), float)
    steep = np.diff(y) / np.diff(x)
    # Differences lose digits: 4 roundings of y over a step.
    spare = 4 * FLOAT * np.abs(y).max() / (x[1] - x[0])
    assert least - spare <= steep.min()
    assert steep.max() <= most + spare
    # And they are the slopes' own range.
    assert most - least <= (steep.max() - steep.min()) * 1.02 + 1e-9
