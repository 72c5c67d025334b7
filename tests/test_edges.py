"""Programs at the edges: what goes in and out, numbers that are none, extremes, precision."""

from __future__ import annotations

import numpy as np
import pytest
from readings import in_blocks, in_faust, interpreted

import ir
from adac_jax import blocks
from emitters import faust
from ir.interpreter import run_for
from ir.passes import expand_sos, fold, merge, prune


def everywhere(
    program: ir.Program, inputs: list[np.ndarray], length: int, *, extreme: bool = False
) -> tuple:
    """The interpreter's outputs, after block reading and FAUST were found to agree exactly."""
    wanted = interpreted(program, inputs, length)
    faust_outputs = in_faust(program, inputs, length, extreme=extreme)
    for found in (in_blocks(program, inputs, length), faust_outputs):
        for y, w in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(y, w)
    return wanted


def test_outputs_that_are_inputs_and_constants():
    b = ir.Builder()
    x = b.add("input", index=0, shape=(2,), kind="real", name="x")
    b.add("input", index=1, shape=(3,), kind="real", name="unused")
    n = b.add("input", index=2, shape=(), kind="int")
    c = b.add("coefficient", slot="c", shape=(2,), kind="real")
    half = b.constant(0.5)
    program = ir.Program(b.build([x, c, half, n, x]), {"c": np.array([1.0, -2.0])})
    rng = np.random.default_rng(0)
    X, N = rng.uniform(-1, 1, (9, 2)), rng.integers(-9, 9, 9)
    found = everywhere(program, [X, rng.uniform(-1, 1, (9, 3)), N], 9)
    np.testing.assert_array_equal(found[0], X)
    np.testing.assert_array_equal(found[1], [[1, -2]] * 9)
    np.testing.assert_array_equal(found[3], N)


def test_no_inputs():
    """A phasor: an oscillator that nothing drives."""
    b = ir.Builder()
    count = b.reserve((), "int")
    late = b.add("delay", count, samples=(1,))
    b.define(count, "rem", b.add("add", late, b.constant(3)), b.constant(16))
    ramp = b.add("mul", b.add("convert", count, kind="real"), b.constant(0.0625))
    (y, n) = everywhere(ir.Program(b.build([ramp, count])), [], 40)
    np.testing.assert_array_equal(n, 3 * np.arange(1, 41) % 16)
    np.testing.assert_array_equal(y, n / 16)


def test_no_outputs_run_but_are_not_emitted():
    b = ir.Builder()
    b.add("input", index=0, shape=(), kind="real")
    program = ir.Program(b.build([]))
    assert interpreted(program, [np.zeros(4)], 4) == ()
    assert in_blocks(program, [np.zeros(4)], 4) == ()
    with pytest.raises(ir.IRError, match="no outputs"):
        faust.emit(program)


def test_no_samples():
    b = ir.Builder()
    x = b.add("input", index=0, shape=(2,), kind="real")
    program = ir.Program(b.build([b.add("delay", x, samples=(1, 2))]))
    assert interpreted(program, [np.zeros((0, 2))], 0)[0].shape == (0, 2)


def test_channels_without_any_beside_others():
    b = ir.Builder()
    x = b.add("input", index=0, shape=(0, 2), kind="real")
    y = b.add("input", index=1, shape=(2,), kind="real")
    total = b.add("add", b.add("sum", x, axes=(0,)), y)
    (found, *_) = everywhere(
        ir.Program(b.build([total, x])), [np.zeros((5, 0, 2)), np.ones((5, 2))], 5
    )
    np.testing.assert_array_equal(found, np.ones((5, 2)))


@pytest.mark.parametrize("precision", ["single", "double"])
def test_what_is_not_chosen_may_be_no_number(precision):
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real")
    zero = b.constant(0.0)
    positive = b.add("gt", x, zero)
    root = b.add("select", positive, b.add("sqrt", x), zero)
    logarithm = b.add("select", positive, b.add("log", x), b.constant(-1.0))
    inverse = b.add("select", b.add("eq", x, zero), zero, b.add("div", b.constant(1.0), x))
    program = ir.Program(b.build([root, logarithm, inverse]))
    x = np.array([-4.0, 0.0, 1.0, 4.0, -1.0, 0.25, -0.0, 16.0] * 8)
    wanted = interpreted(program, [x], len(x))
    assert all(np.all(np.isfinite(y)) for y in wanted)
    found = in_faust(program, [x], len(x), precision)
    for y, w in zip(found, wanted, strict=True):
        np.testing.assert_allclose(y, w, rtol=0, atol=1e-6)
    if precision == "double":
        for y, w in zip(in_blocks(program, [x], len(x)), wanted, strict=True):
            np.testing.assert_allclose(y, w, rtol=1e-15)


def test_extreme_numbers():
    """XLA takes subnormal numbers for zero on a processor, so the block reading gets none."""
    b = ir.Builder()
    x = b.add("input", index=0, shape=(4,), kind="real")
    c = b.add("coefficient", slot="c", shape=(4,), kind="real")
    outputs = [b.add(op, x, c) for op in ("add", "mul", "maximum", "minimum", "lt")]
    outputs.append(b.add("delay", x, samples=(1, 0, 2, 3)))
    outputs.append(b.add("neg", b.add("abs", x)))
    graph = b.build(outputs)
    c = np.array([1e-300, -1e-290, 1e308, np.nextafter(1, 2)])
    x = np.array([[1e-300, 1e-280, -1e308, 1.0], [0.0, -0.0, 7.9e307, -1.0], [1e300, 1, 1, 3.0]])
    everywhere(ir.Program(graph, {"c": c}), [np.repeat(x, 2, axis=0)], 6, extreme=True)
    tiny = ir.Program(graph, {"c": np.array([5e-324, -1e-310, 1e308, 1e-320])})
    x = np.array([[5e-324, 1e-310, -1e308, 1.0], [0.0, -0.0, 1e-315, -1e-320]])
    wanted = interpreted(tiny, [x], 2)
    assert wanted[0][0, 0] == 2 * 5e-324
    for y, w in zip(in_faust(tiny, [x], 2, extreme=True), wanted, strict=True):
        np.testing.assert_array_equal(y, w)


def test_integers_near_the_end():
    """Sums and products that stay within 32 bits are exact; so is their conversion."""
    b = ir.Builder()
    n = b.add("input", index=0, shape=(), kind="int")
    low, high = b.constant(-(2**31)), b.constant(2**31 - 1)
    outputs = [b.add("add", low, b.add("abs", n)), b.add("sub", high, b.add("abs", n)), low, high]
    outputs += [b.add("and", n, high), b.add("xor", n, low), b.add("not", n)]
    outputs += [b.add("convert", k, kind="real") for k in outputs[:2]]
    outputs += [b.add("div", b.add("sub", high, b.add("abs", n)), b.constant(7))]
    outputs += [b.add("rem", b.add("sub", high, b.add("abs", n)), b.constant(1000))]
    everywhere(ir.Program(b.build(outputs)), [np.arange(-20, 20)], 40)


def test_equal_slots_and_equal_nodes_are_one():
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real")
    pair = [b.add("coefficient", slot="g", shape=(), kind="real") for _ in range(2)]
    products = [b.add("mul", x, g) for g in pair]
    program = ir.Program(b.build(products), {"g": np.array(0.3)})
    everywhere(program, [np.arange(5.0)], 5)
    assert len(merge(program.graph).nodes) == 3
    assert faust.emit(program).count("0.3*") == 1


def test_merge_tells_numbers_apart():
    b = ir.Builder()
    kinds = [b.add("constant", value=v) for v in (0.0, -0.0, 1.0, 1, True, 0, False)]
    graph = b.build([*kinds, b.add("constant", value=1.0)])
    assert len(merge(graph).nodes) == len(kinds)


def test_passes_keep_the_meaning():
    b = ir.Builder()
    x = b.add("input", index=0, shape=(2,), kind="real")
    sos = b.add("coefficient", slot="sos", shape=(2, 6, 2), kind="real")
    d = b.add("coefficient", slot="d", shape=(2,), kind="int")
    b.add("neg", x)
    late = b.add("variable_delay", b.add("sos", x, sos), d, minimum=1, maximum=4)
    values = np.tile(np.array([1, 0.5, 0, 2, -0.5, 0.25])[None, :, None], (2, 1, 2))
    program = ir.Program(b.build([late]), {"sos": values, "d": np.array([9, 2])})
    X = np.random.default_rng(1).uniform(-1, 1, (20, 2))
    (wanted,) = run_for(program, 20, X)
    assert "variable_delay" not in {n.op for n in fold(program).graph.nodes}
    for other in (
        fold(program),
        program.with_graph(prune(program.graph)),
        program.with_graph(expand_sos(program.graph)),
        program.with_graph(merge(program.graph)),
    ):
        ir.verify_program(other)
        np.testing.assert_array_equal(run_for(other, 20, X)[0], wanted)


def test_a_delay_may_come_before_what_it_reads():
    """Positions mean nothing: a delay may stand before the node that it delays."""
    nodes = (
        ir.Node("delay", (2,), ir.Type(), (("samples", (3,)),)),
        ir.Node("input", (), ir.Type(), (("index", 0), ("kind", "real"), ("shape", ()))),
        ir.Node("neg", (1,), ir.Type()),
    )
    (y,) = everywhere(ir.Program(ir.Graph(nodes, (0,))), [np.arange(9.0)], 9)
    np.testing.assert_array_equal(y, [0, 0, 0, 0, -1, -2, -3, -4, -5])


@pytest.mark.parametrize("kind", ["real", "int", "bool"])
@pytest.mark.parametrize("samples", [(1, 1), (4, 4), (1, 3)])
def test_initial_values_in_a_loop(kind, samples):
    """u = x + delay(u) that starts with values: also where the delay is cut open for FAUST."""
    b = ir.Builder()
    x = b.add("input", index=0, shape=(2,), kind=kind)
    u = b.reserve((2,), kind)
    start = b.add("coefficient", slot="s", shape=(max(samples), 2), kind=kind)
    late = b.add("delay", u, start, samples=samples)
    b.define(u, "xor" if kind == "bool" else "add", x, late)
    rng = np.random.default_rng(2)

    def values(*size: int) -> np.ndarray:
        n = rng.integers(-4, 5, size)
        return {"real": n / 4, "int": n, "bool": n > 0}[kind]

    program = ir.Program(b.build([u, late]), {"s": values(max(samples), 2)})
    everywhere(program, [values(30, 2)], 30)


def test_variable_delay_in_a_loop_is_cut_open_rightly():
    b = ir.Builder()
    x = b.add("input", index=0, shape=(2,), kind="real")
    d = b.add("input", index=1, shape=(2,), kind="int")
    u = b.reserve((2,))
    late = b.add("variable_delay", u, d, minimum=1, maximum=9)
    b.define(u, "add", x, b.add("mul", late, b.constant(0.5)))
    rng = np.random.default_rng(4)
    everywhere(
        ir.Program(b.build([u])),
        [rng.integers(-8, 9, (60, 2)) / 8, rng.integers(-5, 20, (60, 2))],
        60,
    )


def test_lengths_far_beyond_what_faust_takes_inputs_for():
    """FAUST takes inputs to lie in -1 to 1; a delay line must not be made for that."""
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real")
    d = b.add("convert", b.add("input", index=1, shape=(), kind="real"), kind="int")
    rng = np.random.default_rng(5)
    everywhere(
        ir.Program(b.build([b.add("variable_delay", x, d, minimum=0, maximum=5000)])),
        [rng.uniform(-1, 1, 9000), rng.integers(0, 6000, 9000).astype(float)],
        9000,
    )


def test_single_precision_under_x64_keeps_its_type():
    """Constants and conversions take the signal's precision, whatever JAX's default is."""
    import jax

    b = ir.Builder()
    x = b.add("input", index=0, shape=(3,), kind="real")
    sign = b.add("convert", b.add("gt", x, b.constant(0.0)), kind="real")
    count = b.add("sum", b.add("convert", x, kind="int"), axes=(0,))
    y = b.add("mul", b.add("mul", sign, x), b.add("convert", count, kind="real"))
    u = b.reserve((3,))
    b.define(u, "add", y, b.add("mul", b.add("delay", u, samples=(2,) * 3), b.constant(0.5)))
    for x64 in (False, True):
        with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"):
            x = jax.numpy.ones((8, 3), np.float32)
            found = blocks.run(b.build([u, count]), {}, [x], 8)
            assert [y.dtype for y in found] == [np.float32, np.int32]


def test_constants_must_be_numbers_of_python_or_numpy():
    b = ir.Builder()
    k = b.add("constant", value=np.float64(0.5))
    assert b.type(k) == ir.Type((), "real")
    for value in ("1", (1,), np.inf, 2**31):
        with pytest.raises(ir.IRError):
            b.add("constant", value=value)


def test_integers_have_no_negative_powers():
    b = ir.Builder()
    n = b.add("input", index=0, shape=(), kind="int")
    with pytest.raises(ir.IRError, match="power -1"):
        b.add("integer_pow", n, exponent=-1)


@pytest.mark.parametrize("op", ["erf", "erfc", "logistic", "sin", "floor"])
def test_functions_of_a_filtered_signal(op):
    """The interpreter keeps a filter's past in extended precision, but hands on float64."""
    b = ir.Builder()
    x = b.add("input", index=0, shape=(2,), kind="real")
    c = b.add("coefficient", slot="a", shape=(2, 2), kind="real")
    y = b.add("iir", x, c, c)
    program = ir.Program(b.build([b.add(op, y), y]), {"a": np.array([[1.0, 1.0], [0.5, -0.5]])})
    x = np.random.default_rng(6).uniform(-1, 1, (9, 2))
    function, filtered = interpreted(program, [x], 9)
    assert (function.dtype, filtered.dtype) == (np.float64, np.float64)
    np.testing.assert_array_equal(filtered, x)
