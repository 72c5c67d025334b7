"""What the frequency reading is made of: phases, small systems, cuts, rules, random graphs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.signal
from node_by_node import transfer
from plain import EPS, double
from readings import FAST

import ir
from adac_jax import RefusedError, nn
from adac_jax.frequency import filters, frequency_response
from adac_jax.frequency.cuts import cut_nodes
from adac_jax.frequency.elimination import factor, solve
from adac_jax.frequency.points import MAX_BINS, Bins, Frequencies, _product
from adac_jax.frequency.reading import Reading
from adac_jax.frequency.rules import RULES
from ir.cycles import components, is_loop

SINGLE = 2.0**-24


@pytest.fixture
def x64():
    with double():
        yield


def test_the_table_covers_the_operations():
    sources = {name for name, row in ir.OPS.items() if row.family == "source"}
    assert set(RULES) == set(ir.OPS) - sources


# -- Phases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 97, 96000, 2**16, 2**24 - 1, 2**27 + 5, MAX_BINS])
def test_products_are_reduced_in_integers(n):
    rng = np.random.default_rng(n)
    m = np.array([0, 1, 2, n - 1, n, n + 1, 2**26, *rng.integers(0, 2**26, 20)])
    index = np.unique([0, n // 2, (n - 1) // 2, *rng.integers(0, n // 2 + 1, 20)])
    wanted = [[int(a) * int(k) % n for k in index] for a in m]
    on_device = jnp.asarray(index, jnp.uint32)
    np.testing.assert_array_equal(_product(m, on_device, n), wanted)
    np.testing.assert_array_equal(_product(jnp.asarray(m, jnp.int32), on_device, n), wanted)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 96000, 768000])
def test_phases_are_exact_in_single_precision(n):
    index = np.arange(0, n // 2 + 1, max(1, n // 5000))
    m = np.array([0, 1, 5, 4801, 100_000, 2**26])
    bins = Bins(jnp.asarray(index, jnp.uint32), n, jnp.float32)
    turns = np.array([[int(a) * int(k) % n for k in index] for a in m])
    wanted = np.exp(-2j * np.pi * turns / n)
    found = np.asarray(bins.delay(m))
    assert found.dtype == np.complex64
    # The angle, at most π/4, is rounded twice, the cosine and sine once or twice.
    assert np.abs(found - wanted).max() <= 4 * SINGLE
    cosine, sine = bins.half()
    half = np.pi * index / n
    # Here the angles reach π/2.
    assert np.abs(cosine - np.cos(half)).max() <= 5 * SINGLE
    assert np.abs(sine - np.sin(half)).max() <= 5 * SINGLE


def test_long_delays_in_long_transforms():
    # A float32 phase without reduction would be off by 100,000 π roundings, 0.02.
    model = nn.Serial(nn.Delay((100_000,)), nn.Gain(1, 0.5), nn.Delay((77_777,)))
    n = 96_000 * 8
    found = np.asarray(frequency_response(model).bins(n))[:, 0, 0]
    assert found.dtype == np.complex64
    k = np.arange(n // 2 + 1, dtype=np.int64)
    wanted = 0.5 * np.exp(-2j * np.pi * (177_777 * k % n) / n)
    # Two phases, half as large, and their product.
    assert np.abs(found - wanted).max() <= 8 * SINGLE


def test_phases_at_any_frequency():
    omega, m = np.linspace(-7, 7, 301).astype(np.float32), np.array([0, 3, 1000])
    found = np.asarray(Frequencies(jnp.asarray(omega)).delay(m))
    wanted = np.exp(-1j * omega.astype(float) * m[:, None])
    # As the docstring says: the product's rounding, and a few of the functions'.
    bound = (np.abs(omega) * m[:, None] + 4) * SINGLE
    assert (np.abs(found - wanted) <= bound).all()


# -- Filters --------------------------------------------------------------------------------------


def test_sections_keep_low_and_high_frequencies_in_single_precision():
    # Sections at 20 Hz and at 20 Hz below half the sample rate, at 48 kHz: 1 ± a1 + a2 is 7e-6.
    sos = scipy.signal.butter(2, 40 / 48000, output="sos")[0]
    mirrored = sos * [1, -1, 1, 1, -1, 1]
    given = np.stack([sos, mirrored], axis=-1)[None].astype(np.float32)
    n = 96000
    bins = Bins(jnp.arange(n // 2 + 1, dtype=jnp.uint32), n, jnp.float32)
    found = np.asarray(filters.sections(jnp.asarray(given), bins))
    z = np.exp(2j * np.pi * np.arange(n // 2 + 1) / n).astype(np.clongdouble)
    for k in range(2):
        b, a = given[0, :3, k].astype(np.longdouble), given[0, 3:, k].astype(np.longdouble)
        top, bottom = (c[0] * z**2 + c[1] * z + c[2] for c in (b, a))
        wanted = top / bottom
        # The sums of a are exact, those of b = (1, 2, 1) times 2e-6 too; then a dozen roundings of
        # terms of which none is more than twice as large as the sum (poles of a low-pass at 45°).
        error = np.abs(found[k] - wanted) / np.maximum(np.abs(wanted), 1e-6)
        assert error.max() <= 40 * SINGLE


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("count", [1, 2, 32, 33, 100, 1000])
def test_fir_of_any_length(count):
    taps = np.random.default_rng(count).normal(size=(count, 2, 3))
    n = 4096
    bins = Bins(jnp.arange(n // 2 + 1, dtype=jnp.uint32), n, jnp.float64)
    found = np.moveaxis(np.asarray(filters.fir(jnp.asarray(taps), bins)), -1, 0)
    wanted = np.fft.rfft(taps, n, axis=0)
    assert np.abs(found - wanted).max() <= (count + 12) * 4 * EPS * np.sqrt(count)


# -- Small systems --------------------------------------------------------------------------------


def systems(n: int, columns: int, frequencies: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    M = rng.normal(size=(n, n, frequencies, 2)).view(complex)[..., 0]
    # Some need their rows exchanged: no number on the diagonal, or a permutation.
    M[np.arange(n), np.arange(n), 0] = 0
    M[:, :, 1] = np.eye(n)[rng.permutation(n)] * np.exp(1j * np.arange(n))
    return M, rng.normal(size=(n, columns, frequencies, 2)).view(complex)[..., 0]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("n", [2, 3, 8, 9, 20])
def test_systems_are_solved(n):
    M, b = systems(n, 2, 5)
    x = jax.jit(solve, compiler_options=FAST)(jnp.asarray(M), jnp.asarray(b))
    x = np.moveaxis(np.asarray(x), -1, 0)
    M, b = np.moveaxis(M, -1, 0), np.moveaxis(b, -1, 0)
    # Backward stable: the residual is that of n roundings of |M| |x|, whatever the condition is.
    bound = 4 * n * EPS * np.abs(M) @ np.abs(x) + 4 * n * EPS * np.abs(b)
    growth = 2.0 ** min(4, n - 1)
    assert (np.abs(M @ x - b) <= growth * bound.max(axis=(1, 2), keepdims=True)).all()


@pytest.mark.usefixtures("x64")
def test_factors_give_back_the_matrix():
    M, _ = systems(11, 1, 4)
    f = jax.jit(factor, compiler_options=FAST)(jnp.asarray(M))
    assert (np.sort(np.asarray(f.rows), axis=0) == np.arange(11)[:, None]).all()
    again = np.einsum("sik,sjk->ijk", f.lower, f.upper)
    assert np.abs(again - M).max() <= 11 * 16 * EPS * np.abs(M).max()
    # Pivots are the largest of their column, so no multiplier is above √2.
    ratios = np.abs(np.asarray(f.lower) * np.asarray(f.inverse)[:, None])
    assert ratios.max() <= np.sqrt(2) * (1 + 4 * EPS)


@pytest.mark.usefixtures("x64")
def test_gradients_of_systems():
    M, b = (jnp.asarray(value) for value in systems(9, 2, 3))
    M = M + 4 * jnp.eye(9)[..., None].astype(M.dtype)
    weights = jax.random.normal(jax.random.key(0), (2, *b.shape))

    def loss(solved):
        return jnp.sum(weights[0] * solved.real) + jnp.sum(weights[1] * solved.imag)

    def reference(M, b):
        return jnp.moveaxis(jnp.linalg.solve(jnp.moveaxis(M, -1, 0), jnp.moveaxis(b, -1, 0)), 0, -1)

    def everything(M, b):
        found = jax.grad(lambda M, b: loss(solve(M, b)), (0, 1))(M, b)
        wanted = jax.grad(lambda M, b: loss(reference(M, b)), (0, 1))(M, b)
        return found, wanted, jax.jvp(solve, (M, b), (M, b))[1]

    found, wanted, tangents = jax.jit(everything, compiler_options=FAST)(M, b)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e3 * EPS * np.abs(other).max())
    # d/dt (M + t M)^-1 (b + t b) = 0.
    assert np.abs(tangents).max() <= 1e3 * EPS


# -- Cuts -----------------------------------------------------------------------------------------


def wired(sources: dict[int, tuple[int, ...]], sizes: dict[int, int]) -> ir.Graph:
    """A graph of concatenations, which take any inputs; only its wires matter."""
    nodes = [
        ir.Node("concatenate", sources[k], ir.Type((sizes[k],)), (("axis", 0),))
        for k in range(len(sources))
    ]
    return ir.Graph(tuple(nodes), (0,))


def acyclic(graph: ir.Graph, without: set[int]) -> bool:
    def edges(k: int) -> tuple[int, ...]:
        return () if k in without else graph.nodes[k].inputs

    return not any(is_loop(g, edges) for g in components(range(len(graph.nodes)), edges))


@pytest.mark.parametrize("seed", range(30))
def test_cuts_are_few(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    sources = {k: tuple(rng.choice(n, rng.integers(1, 3)).tolist()) for k in range(n)}
    sizes = {k: int(rng.integers(1, 4)) for k in range(n)}
    graph = wired(sources, sizes)
    cost = best = 0
    for group in components(range(n), lambda k: graph.nodes[k].inputs):
        if not is_loop(group, lambda k: graph.nodes[k].inputs):
            continue
        cuts = set(cut_nodes(graph, group))
        outside = set(range(n)) - set(group)
        assert acyclic(graph, cuts | outside)
        assert not any(acyclic(graph, (cuts - {k}) | outside) for k in cuts)
        every = itertools.chain.from_iterable(
            itertools.combinations(group, r) for r in range(1, len(group) + 1)
        )
        opening = [c for c in every if acyclic(graph, set(c) | outside)]
        best += min(sum(sizes[k] for k in c) for c in opening)
        cost += sum(sizes[k] for k in cuts)
    # The reductions are exact; only where none applies a greedy choice may cost more.
    assert cost <= 1.5 * best


def test_a_ladder_of_many_nodes_is_cut_quickly():
    n = 3000
    sources = {k: ((k - 1) % n, (k + 1) % n) for k in range(n)}
    graph = wired(sources, dict.fromkeys(range(n), 1))
    cuts = cut_nodes(graph, range(n))
    assert acyclic(graph, set(cuts))
    assert n / 2 <= len(cuts) <= 0.7 * n


# -- Random graphs --------------------------------------------------------------------------------

SHAPES = [(), (2,), (3,), (2, 2)]


@dataclass
class Wires:
    """Grows a linear graph with loops."""

    rng: np.random.Generator
    b: ir.Builder = field(default_factory=lambda: ir.Builder("random"))
    coefficients: dict[str, np.ndarray] = field(default_factory=dict)
    pool: list[int] = field(default_factory=list)

    def pick(self, shape: tuple | None = None) -> int:
        found = [k for k in self.pool if shape is None or self.b.type(k).shape == shape]
        return int(self.rng.choice(found))

    def value(self, *shape: int) -> int:
        return self.numbers(self.rng.normal(size=shape))

    def numbers(self, value: np.ndarray) -> int:
        slot = f"c{len(self.coefficients)}"
        self.coefficients[slot] = value
        return self.b.add("coefficient", slot=slot, shape=value.shape, kind="real")

    def grow(self) -> int:
        ops = ["add", "sub", "neg", "mul", "div", "einsum", "outer", "delay", "iir", "sos", "fir",
               "take", "reshape", "transpose", "slice", "concatenate", "broadcast", "sum", "select",
               "convert", "power", "masked", "scalar", "variable"]  # fmt: skip
        op = str(self.rng.choice(ops))
        x = self.pick()
        shape = self.b.type(x).shape
        size, rank, add = int(np.prod(shape)), len(shape), self.b.add
        if op in ("add", "sub"):
            return add(op, x, self.pick(shape))
        if op == "neg":
            return add(op, x)
        if op == "mul":
            return add(op, *self.rng.permutation([x, self.value(*shape)]).tolist())
        if op == "div":
            return add(op, x, self.numbers(self.rng.uniform(1, 2, shape)))
        if op == "scalar":
            return add("mul", self.value(*shape), self.pick(()))
        if op == "einsum":
            letters = "ab"[:rank]
            A = self.value(3, *shape[:1])
            result = "z" + letters[1:]
            return add("einsum", x, A, subscripts=f"{letters},z{letters[:1]}->{result}")
        if op == "outer":
            return add("einsum", self.value(2), self.pick(()), subscripts="a,->a")
        if op == "delay":
            return add(op, x, samples=tuple(self.rng.integers(0, 30, size).tolist()))
        if op == "variable":
            d = self.rng.integers(-3, 20, shape)
            slot = f"c{len(self.coefficients)}"
            self.coefficients[slot] = d
            d = add("coefficient", slot=slot, shape=shape, kind="int")
            return add("variable_delay", x, d, minimum=1, maximum=15)
        if op == "iir":
            order = int(self.rng.integers(0, 5))
            a = np.concatenate([np.ones((1, *shape)), self.rng.uniform(-0.2, 0.2, (order, *shape))])
            return add(op, x, self.value(order + 1, *shape), self.numbers(a))
        if op == "sos":
            sos = self.rng.uniform(-0.4, 0.4, (int(self.rng.integers(0, 4)), 6, *shape))
            sos[:, 3] = 1
            sos[:, 0] = 1
            return add(op, x, self.numbers(sos))
        if op == "fir":
            return add(op, x, self.value(int(self.rng.integers(1, 50)), *shape))
        if op == "take":
            indices = tuple(self.rng.integers(0, size, 3).tolist())
            return add(op, x, shape=(3,), indices=indices)
        if op == "reshape":
            return add(op, x, shape=(size,)) if size in (2, 3) else x
        if op == "transpose":
            return add(op, x, permutation=tuple(range(rank))[::-1])
        if op == "slice":
            x = self.pick((3,))
            return add(op, x, start=(0,), limit=(3,), stride=(2,))
        if op == "concatenate":
            return add(op, self.pick((2,)), add("reshape", self.pick(()), shape=(1,)), axis=0)
        if op == "broadcast":
            return add(op, self.pick((2,)), shape=(2, 2), axes=(int(self.rng.integers(2)),))
        if op == "sum":
            return add(op, x, axes=tuple(range(rank))[: int(self.rng.integers(0, rank + 1))])
        if op == "select":
            mask = self.rng.uniform(size=shape) < 0.5
            slot = f"c{len(self.coefficients)}"
            self.coefficients[slot] = mask
            return add(op, add("coefficient", slot=slot, shape=shape, kind="bool"), x,
                       self.pick(shape))  # fmt: skip
        if op == "masked":
            return add("add", x, self.b.constant(0.0))
        if op == "power":
            return add("integer_pow", x, exponent=1)
        return add("convert", x, kind="real")


def random_graph(seed: int) -> tuple[ir.Graph, dict[str, np.ndarray]]:
    g = Wires(np.random.default_rng(seed))
    inputs = [g.b.add("input", index=k, shape=SHAPES[k], kind="real") for k in range(2)]
    heads = [g.b.reserve(shape) for shape in SHAPES]
    g.pool += [*inputs, *heads]
    for _ in range(int(g.rng.integers(5, 25))):
        k = g.grow()
        if g.b.type(k).shape in SHAPES:
            g.pool.append(k)
    for n, (head, shape) in enumerate(zip(heads, SHAPES, strict=True)):
        samples = tuple(g.rng.integers(1, 30, int(np.prod(shape))).tolist())
        late = g.b.add("delay", g.pick(shape), samples=samples)
        fed = g.b.add("mul", late, g.b.constant(0.3))
        g.b.define(head, "add", fed, inputs[n] if n < 2 else g.b.constant(0.0))
    return g.b.build([g.pick() for _ in range(3)]), g.coefficients


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "seed", [pytest.param(k, marks=[pytest.mark.slow] * (k >= 6)) for k in range(1, 40)]
)
def test_random_graphs_against_one_equation_a_node(seed):
    graph, coefficients = random_graph(seed)
    ir.verify(graph)
    omega = np.array([0.0, 0.01, 1.0, 2.5, np.pi])
    found = respond(graph, coefficients, omega)
    wanted, condition = transfer(graph, coefficients, omega)
    assert found.shape == wanted.shape
    # Both solve a system of this condition, with some hundred numbers.
    tolerance = 300 * EPS * condition * max(1.0, np.abs(wanted).max())
    assert np.abs(found - wanted).max() <= tolerance


def respond(graph: ir.Graph, coefficients: dict[str, np.ndarray], omega: np.ndarray) -> np.ndarray:
    reading = Reading(graph, coefficients)

    def run(values, omega):
        known = reading.known(values, jnp.float64)
        return reading.run(known, Frequencies(omega), jnp.complex128)

    values = {k: jnp.asarray(v) for k, v in coefficients.items()}
    found = np.asarray(jax.jit(run, compiler_options=FAST)(values, jnp.asarray(omega)))
    return np.moveaxis(np.broadcast_to(found, (*found.shape[:2], len(omega))), -1, 0)


def test_a_delay_whose_length_is_a_signal_is_refused():
    b = ir.Builder("chorus")
    x = b.add("input", index=0, shape=(), kind="real")
    d = b.add("convert", b.add("mul", x, b.constant(3.0)), kind="int")
    y = b.add("variable_delay", x, d, minimum=0, maximum=5, name="chorus.line")
    graph = b.build([y])
    reading = Reading(graph, {})
    with pytest.raises(RefusedError, match="rounds a signal"):
        reading.run(reading.known({}, jnp.float32), Frequencies(jnp.zeros(1)), jnp.complex64)


def test_an_input_of_integers_is_refused():
    b = ir.Builder("counter")
    x = b.add("input", index=0, shape=(), kind="int", name="steps")
    with pytest.raises(RefusedError, match=r"`steps \(input\)` is refused"):
        Reading(b.build([x]), {})
