"""Delays, matrices, networks and composition against plain NumPy, sample by sample.

All in float64 with strict promotion. Where a tolerance is `EPS * n`, n is the number of rounded
operations that one output sample may pass: at most its terms times the passes round the loop, and
the signals are of magnitude about 1.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
import scipy.signal
from flax import nnx

import ir.interpreter
from adac_jax import DelayFreeLoopError, RefusedError, nn, trace
from adac_jax.primitives import delay, feedback, fractional_delay, sosfilt

EPS = float(np.finfo(np.float64).eps)
REFERENCE = Path(__file__).parents[2] / "shared" / "data" / "fdn_reference"
RNG = np.random.default_rng(1)
SQUARE = ("orthogonal", "householder", "hadamard", "rotation", "circulant")
METHODS = [("lagrange", 1), ("lagrange", 2), ("lagrange", 3), ("lagrange", 5)]
METHODS += [("thiran", 1), ("thiran", 2), ("thiran", 3)]


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        yield


def noise(length: int, channels: int) -> np.ndarray:
    return RNG.uniform(-1, 1, (length, channels))


def interpreted(model, x: np.ndarray) -> np.ndarray:
    """The model's graph, run by the reference interpreter."""
    return ir.interpreter.run(trace(model).program, x)[0]


def nodes(model) -> list:
    return list(trace(model).program.graph.nodes)


class Sections(nn.Module):
    """A cascade of given sections on each channel; what these tests put into loops."""

    def __init__(self, sos: np.ndarray) -> None:
        self.sos = nnx.Param(jnp.asarray(sos))
        self.inputs = self.outputs = sos.shape[-1]

    def __call__(self, x):
        return sosfilt(self.sos[...], x)


def sections(channels: int) -> np.ndarray:
    """(2, 6, channels): stable sections that attenuate everywhere."""
    poles, angles = RNG.uniform(0.1, 0.6, (2, channels)), RNG.uniform(0, np.pi, (2, channels))
    one = np.ones_like(poles)
    b = 0.3 * np.stack([one, RNG.uniform(-0.5, 0.5, one.shape), 0.2 * one], axis=1)
    a = np.stack([one, -2 * poles * np.cos(angles), poles**2], axis=1)
    return np.concatenate([b, a], axis=1)


# -- The reference: one sample at a time ----------------------------------------------------------


class Line:
    """Delay lines of at least one sample: read, then write."""

    def __init__(self, samples) -> None:
        self.past = [[0.0] * int(m) for m in samples]

    def read(self) -> np.ndarray:
        return np.array([p[0] for p in self.past])

    def write(self, x: np.ndarray) -> None:
        for p, value in zip(self.past, x, strict=True):
            p.append(value)
            p.pop(0)


class Step:
    """Delays of any length, and sections, as functions of one sample."""

    def __init__(self, samples=None, sos=None) -> None:
        self.samples, self.sos, self.past = samples, sos, []
        if sos is not None:
            self.state = np.zeros((len(sos), 2, sos.shape[-1]))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if self.samples is not None:
            self.past.append(x)
            t = len(self.past) - 1
            return np.array(
                [self.past[t - m][i] if m <= t else 0.0 for i, m in enumerate(self.samples)]
            )
        for k, (b0, b1, b2, a0, a1, a2) in enumerate(self.sos):
            y = (b0 * x + self.state[k, 0]) / a0
            self.state[k, 0] = b1 * x - a1 * y + self.state[k, 1]
            self.state[k, 1] = b2 * x - a2 * y
            x = y
        return x


class Network:
    """s = F (B x + A s), y = C s + D x, written out."""

    def __init__(self, m, A, B, C, D=0.0, absorption=None, fed_back=None, inner=None) -> None:
        self.line, self.A, self.B, self.C, self.D = Line(m), A, B, C, D
        same = [lambda s: s] * 3
        self.absorption, self.fed_back, self.inner = (
            given or default
            for given, default in zip((absorption, fed_back, inner), same, strict=True)
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        s = self.absorption(self.line.read())
        self.line.write(self.B @ x + self.fed_back(self.A @ self.inner(s)))
        return self.C @ s + self.D @ x if np.ndim(self.D) else self.C @ s

    def run(self, x: np.ndarray) -> np.ndarray:
        return np.array([self(sample) for sample in x])


def gains(n: int, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    B, C = RNG.uniform(-0.7, 0.7, (n, inputs)), RNG.uniform(-0.7, 0.7, (outputs, n))
    return {"input_gain": B, "output_gain": C, "direct": RNG.uniform(-1, 1, (outputs, inputs))}


def contraction(n: int) -> np.ndarray:
    """0.8 times an orthogonal matrix."""
    return 0.8 * scipy.linalg.qr(RNG.normal(size=(n, n)))[0]


def agree(model, wanted: np.ndarray, x: np.ndarray, operations: int) -> None:
    """JAX and the traced graph both give what is wanted."""
    scale = max(1.0, np.abs(wanted).max())
    got = np.asarray(model(jnp.asarray(x)))
    assert np.abs(got - wanted).max() <= EPS * operations * scale
    assert np.abs(interpreted(model, x) - wanted).max() <= EPS * operations * scale


# -- Fractional delay -----------------------------------------------------------------------------


def polynomial_delay(x: np.ndarray, d: float, order: int) -> np.ndarray:
    """The value at t - d of the polynomial through the order + 1 samples nearest to it."""
    D = int(max(0, np.floor(d - (order - 1) / 2)))
    padded = np.concatenate([np.zeros(D + order), x])
    y = np.zeros(len(x))
    for t in range(len(x)):
        points = padded[t : t + order + 1]  # x[t - D - order] … x[t - D]
        V = np.vander(np.arange(order + 1.0), increasing=True)
        c = np.linalg.solve(V, points)
        y[t] = np.polyval(c[::-1], D + order - d)
    return y


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_lagrange_is_the_interpolating_polynomial(order):
    x = noise(40, 4)
    d = np.array([0.3, 4.0, 6.71, 12.5])
    wanted = np.stack([polynomial_delay(x[:, k], d[k], order) for k in range(4)], axis=1)
    # Solving the Vandermonde system amplifies rounding by its condition, below 1e4 at order 5.
    np.testing.assert_allclose(fractional_delay(x, d, order=order), wanted, atol=1e4 * EPS)


@pytest.mark.parametrize(("method", "order"), METHODS)
def test_whole_delays_are_exact(method, order):
    x = jnp.asarray(noise(60, 3))
    d = np.array([order, order + 4, 20])
    wanted = delay(x, d)
    np.testing.assert_array_equal(fractional_delay(x, d, order=order, method=method), wanted)
    trained = fractional_delay(
        x, jnp.asarray(d, float), order=order, method=method, minimum=0, maximum=25
    )
    np.testing.assert_array_equal(trained, wanted)


@pytest.mark.parametrize(("method", "order"), METHODS)
def test_low_frequencies_are_delayed_by_d(method, order):
    d = order + 3.37
    h = np.asarray(
        fractional_delay(jnp.zeros((4096, 1)).at[0].set(1), d, order=order, method=method)
    )
    w = 1e-3
    H = np.sum(h[:, 0] * np.exp(-1j * w * np.arange(len(h))))
    # Maximally flat at 0: magnitude and phase delay depart by O(w^2) at the least, here 1e-6.
    assert abs(abs(H) - 1) < (4096 * EPS if method == "thiran" else w**2)
    assert abs(-np.angle(H * np.exp(1j * w * d)) / w) < w**2 * d


@pytest.mark.parametrize("order", [1, 2, 3])
def test_thiran_is_an_allpass(order):
    h = np.asarray(
        fractional_delay(
            jnp.zeros((4096, 1)).at[0].set(1), order + 0.4, order=order, method="thiran"
        )
    )
    # The response has died away long before its end; a bin sums 4096 terms.
    assert np.abs(np.abs(np.fft.rfft(h[:, 0])) - 1).max() < 4096 * EPS


@pytest.mark.parametrize(("method", "order"), METHODS)
def test_gradient_in_samples(method, order):
    x, weights = jnp.asarray(noise(50, 3)), jnp.asarray(noise(50, 3))
    d = jnp.asarray([order + 0.13, order + 4.21, 20.37])

    def loss(d):
        y = fractional_delay(x, d, order=order, method=method, minimum=0, maximum=30)
        return jnp.sum(weights * y**2)

    found, h = jax.jit(jax.grad(loss))(d), 1e-6
    for k in range(3):
        step = h * jnp.eye(3)[k]
        # Central differences: h² for the truncation, EPS / h for the rounding, times 50 terms.
        numeric = (loss(d + step) - loss(d - step)) / (2 * h)
        assert abs(found[k] - numeric) < 50 * 10 * EPS / h
    assert jnp.isfinite(jax.grad(lambda d: jax.grad(loss)(d).sum())(d)).all()


def test_fixed_and_trained_delays_are_one_thing():
    x, d = jnp.asarray(noise(60, 2)), np.array([3.4, 9.9])
    fixed = fractional_delay(x, d)
    trained = fractional_delay(x, jnp.asarray(d), minimum=1, maximum=20)
    np.testing.assert_array_equal(fixed, trained)


def test_delays_beyond_the_range_are_taken_to_its_end():
    x = jnp.asarray(noise(60, 2))
    d = jnp.asarray([0.2, 90.0])
    y = fractional_delay(x, d, minimum=2, maximum=20)
    np.testing.assert_array_equal(y, delay(x, (2, 23)))


def test_vmap_of_fractional_delay():
    x, d = jnp.asarray(RNG.normal(size=(3, 40, 2))), jnp.asarray(RNG.uniform(3, 9, (3, 2)))

    def f(x, d):
        return fractional_delay(x, d, minimum=0, maximum=12)

    for axes in ((0, 0), (0, None), (None, 0)):
        a, b = (v if axis == 0 else v[0] for v, axis in zip((x, d), axes, strict=True))
        found = jax.vmap(f, axes)(a, b)
        wanted = [
            f(a if axes[0] is None else a[k], b if axes[1] is None else b[k]) for k in range(3)
        ]
        np.testing.assert_allclose(found, jnp.stack(wanted), atol=16 * EPS)


def test_fractional_delay_in_a_loop():
    x, d = jnp.asarray(noise(80, 1)), 4.6
    taps = np.asarray(fractional_delay(jnp.zeros((10, 1)).at[0].set(1), d))[:, 0]
    u = np.zeros(80)
    for t in range(80):
        u[t] = x[t, 0] + 0.7 * sum(taps[k] * u[t - k] for k in range(1, min(10, t + 1)))
    for samples in (d, jnp.asarray([d])):
        bounds = {} if samples is d else {"minimum": 1, "maximum": 9}
        got = feedback(lambda u: 0.7 * fractional_delay(u, samples, **bounds), x)  # noqa: B023
        np.testing.assert_allclose(got[:, 0], u, atol=80 * 10 * EPS)
    with pytest.raises(DelayFreeLoopError, match="variable_delay"):
        feedback(lambda u: fractional_delay(u, jnp.asarray([d]), minimum=0, maximum=9), x)


@pytest.mark.parametrize("maximum", [None, 30])
@pytest.mark.parametrize("method", ["lagrange", "thiran"])
def test_fractional_delay_module(method, maximum):
    model = nn.FractionalDelay([3.3, 12.9], order=3, method=method, minimum=0, maximum=maximum)
    x = noise(60, 2)
    wanted = fractional_delay(jnp.asarray(x), np.array([3.3, 12.9]), order=3, method=method)
    agree(model, np.asarray(wanted), x, 60)
    assert len(jax.tree.leaves(nnx.state(model, nnx.Param))) == (0 if maximum is None else 1)
    ops = {node.op for node in nodes(model)}
    assert ("delay" if maximum is None else "variable_delay") in ops


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"samples": 3.5, "order": 0}, r"`order` \(=0\)"),
        ({"samples": 3.5, "order": 40}, r"`order` \(=40\)"),
        ({"samples": 3.5, "method": "sinc"}, r"`method` \(='sinc'\)"),
        ({"samples": -0.1}, r"`samples` \(=-0.1\) must lie in 0"),
        ({"samples": 2.4, "method": "thiran"}, r"must lie in 2.5"),
        ({"samples": float("nan")}, "must lie in"),
        ({"samples": np.ones(3)}, "does not fit the channels"),
        ({"samples": 9.0, "minimum": 0, "maximum": 5}, "must lie in 0 to 8"),
        ({"samples": 9.0, "minimum": 5, "maximum": 2}, "must be a range"),
        ({"samples": "array"}, "JAX array"),
    ],
)
def test_fractional_delay_refuses(arguments, match):
    if arguments["samples"] == "array" if isinstance(arguments["samples"], str) else False:
        arguments = {"samples": jnp.ones(2)}
    with pytest.raises(ValueError, match=match):
        fractional_delay(jnp.zeros((8, 2)), **arguments)
    with pytest.raises(TypeError, match="floating-point"):
        fractional_delay(jnp.zeros((8, 2), jnp.int32), 1.5)


def test_refusal_inside_fractional_delay_names_the_users_line():
    def ahead(x):
        return fractional_delay(x[1:], 1.0, order=1)

    with pytest.raises(RefusedError, match="test_fdn_modules"):
        trace(ahead, inputs=1)


# -- Matrices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize("n", [1, 2, 4, 8, 32])
def test_orthogonal_matrices(name, n):
    model = nn.square_matrix(name, n)
    M = np.asarray(model.matrix())
    # exp squares a matrix up to 8 times; all else is a sum of n products.
    assert np.abs(M.T @ M - np.eye(n)).max() <= 64 * max(8, n) * EPS
    x = noise(20, n)
    agree(model, x @ M.T, x, 8 * n)
    gradient = jax.tree.leaves(nnx.grad(lambda m: jnp.sum(m(jnp.asarray(x)) ** 2))(model))
    assert all(np.isfinite(g).all() for g in gradient)


def test_matrices_are_what_they_say():
    np.testing.assert_allclose(
        nn.Hadamard(8).matrix(), scipy.linalg.hadamard(8) / np.sqrt(8), atol=8 * EPS
    )
    np.testing.assert_allclose(
        nn.Householder(5).matrix(), np.eye(5) - 2 / 5 * np.ones((5, 5)), atol=8 * EPS
    )
    angles = np.array([0.3, -1.2, 2.0])
    wanted = np.eye(1)
    for angle in angles:
        c, s = np.cos(angle), np.sin(angle)
        wanted = np.kron(wanted, [[c, s], [-s, c]])
    np.testing.assert_allclose(nn.Rotation(8, angles=angles).matrix(), wanted, atol=8 * EPS)
    row = RNG.normal(size=5)
    np.testing.assert_array_equal(nn.Circulant(5, row=row).matrix(), scipy.linalg.circulant(row).T)
    for n in (5, 6):
        M = np.asarray(nn.Circulant(n, orthogonal=True).matrix())
        np.testing.assert_allclose(np.abs(np.fft.fft(M[0])), np.ones(n), atol=8 * n * EPS)
        np.testing.assert_array_equal(M, scipy.linalg.circulant(M[0]).T)
    raw = RNG.normal(size=(6, 6))
    skew = np.triu(raw, 1) - np.triu(raw, 1).T
    found = nn.Orthogonal(6, weight=raw).matrix()
    np.testing.assert_allclose(found, scipy.linalg.expm(skew), atol=64 * 6 * EPS)


def test_structure_reaches_the_graph():
    assert all(node.op != "einsum" for node in nodes(nn.Hadamard(16)) + nodes(nn.Rotation(16)))
    sizes = [node.type.size for node in nodes(nn.Householder(64))]
    assert max(sizes) == 64
    dense = [node.type.size for node in nodes(nn.Orthogonal(8))]
    assert max(dense) == 64


def test_matrix_arguments():
    W = RNG.normal(size=(3, 2))
    x = noise(9, 2)
    agree(nn.Matrix(3, 2, weight=W), x @ W.T, x, 8)
    np.testing.assert_array_equal(nn.Matrix(3, 2, weight=W).matrix(), W)
    with pytest.raises(ValueError, match=r"`weight` has the shape \(3, 2\) but must be \(2, 3\)"):
        nn.Matrix(2, 3, weight=W)
    with pytest.raises(ValueError, match=r"`n` \(=6\) must be a power of two for a Hadamard"):
        nn.Hadamard(6)
    with pytest.raises(ValueError, match=r"`n` \(=6\) must be a power of two for a Rotation"):
        nn.Rotation(6)
    with pytest.raises(ValueError, match=r"`angles` has the shape \(2,\)"):
        nn.Rotation(8, angles=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"`n` \(=0\)"):
        nn.Householder(0)
    with pytest.raises(ValueError, match="`phases`"):
        nn.Circulant(4, phases=[0.1])
    with pytest.raises(ValueError, match=r"`matrix` \(='magic'\) must be one of orthogonal"):
        nn.square_matrix("magic", 4)
    with pytest.raises(ValueError, match="takes 2 channels and gives 3"):
        nn.square_matrix(nn.Matrix(3, 2), 4)


# -- Delays and scattering ------------------------------------------------------------------------


def test_delay_module():
    x = noise(20, 3)
    wanted = np.stack(
        [np.concatenate([np.zeros(m), x[: 20 - m, k]]) for k, m in enumerate((0, 1, 7))]
    )
    agree(nn.Delay([0, 1, 7]), wanted.T, x, 0)
    for bad in ([-1], [1.5], [[1, 2]]):
        with pytest.raises(ValueError, match="`samples`"):
            nn.Delay(bad)
    with pytest.raises(ValueError, match="`samples`"):
        nn.FractionalDelay([1.0], method="thiran", order=2)


def test_mutually_prime_delays():
    m = nn.mutually_prime_delays(32, 500, 4000)
    assert len(set(m)) == 32
    assert min(m) >= 500
    assert max(m) <= 4000
    assert all(np.gcd(a, b) == 1 for k, a in enumerate(m) for b in m[:k])
    assert m == nn.mutually_prime_delays(32, 500, 4000)
    with pytest.raises(ValueError, match="at most 4, the primes"):
        nn.mutually_prime_delays(5, 2, 10)


def polynomial_product(P: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """(taps, n, n) of P(z) Q(z)."""
    R = np.zeros((len(P) + len(Q) - 1, *P.shape[1:]))
    for i, p in enumerate(P):
        R[i : i + len(Q)] += p @ Q
    return R


def shift(m: np.ndarray, gain: float = 1.0) -> np.ndarray:
    D = np.zeros((max(m) + 1, len(m), len(m)))
    for k, samples in enumerate(m):
        D[samples, k, k] = gain**samples
    return D


def test_scattering_is_the_product_of_its_stages():
    m = np.array([[0, 3, 1], [5, 0, 9]])
    left, right, gain = np.array([1, 0, 2]), np.array([0, 4, 0]), 0.99
    model = nn.Scattering(m, left=left, right=right, gain_per_sample=gain)
    U = [np.asarray(u.matrix())[None] for u in model.matrices]
    wanted = polynomial_product(U[0], shift(right))
    for k in range(2):
        wanted = polynomial_product(U[k + 1], polynomial_product(shift(m[k], gain), wanted))
    wanted = polynomial_product(shift(left), wanted)
    np.testing.assert_allclose(model.taps(), wanted, atol=27 * EPS)
    x = noise(40, 3)
    y = sum(np.concatenate([np.zeros((k, 3)), x[: 40 - k] @ h.T]) for k, h in enumerate(wanted))
    agree(model, y, x, 27)


def paraunitary(h: np.ndarray) -> float:
    """The largest departure of sum_k h[k]ᵀ h[k + l] from the identity at l = 0 and 0 elsewhere."""
    H = np.fft.fft(h, 2 * len(h), axis=0)
    return np.abs(np.conj(np.swapaxes(H, 1, 2)) @ H - np.eye(h.shape[-1])).max()


@pytest.mark.parametrize("n", [3, 4])
def test_velvet_scattering(n):
    model = nn.VelvetScattering(n, 2, sparsity=3)
    h = np.asarray(model.taps())
    assert paraunitary(h) < 64 * n * EPS * np.log2(len(h))
    counts = (np.abs(h) > 0).sum(axis=0)
    assert (counts == n**2).all()
    if n == 4:
        magnitudes = np.abs(h[h != 0])
        np.testing.assert_allclose(magnitudes, np.full(magnitudes.shape, n**-1.5), atol=8 * EPS)
        assert all(node.op != "einsum" for node in nodes(model))


def test_scattering_refuses():
    with pytest.raises(ValueError, match=r"\(stages, channels\)"):
        nn.Scattering([1, 2, 3])
    with pytest.raises(ValueError, match="2 stages need 3"):
        nn.Scattering([[1, 2], [3, 4]], matrix=["hadamard", "hadamard"])
    with pytest.raises(ValueError, match=r"`gain_per_sample` \(=1.1\)"):
        nn.Scattering([[1, 2]], gain_per_sample=1.1)
    with pytest.raises(ValueError, match="`left` has 3 delays"):
        nn.Scattering([[1, 2]], left=[1, 2, 3])
    with pytest.raises(ValueError, match=r"`sparsity` \(=0.5\)"):
        nn.VelvetScattering(4, sparsity=0.5)


# -- Networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (1, 2), (2, 3), (3, 5)])
def test_fdn(inputs, outputs):
    m, A, g = (7, 1, 12, 30), contraction(4), gains(4, inputs, outputs)
    x = noise(120, inputs)
    wanted = Network(m, A, *g.values()).run(x)
    agree(nn.FDN(m, matrix=A, **g), wanted, x, 120 * 8)


def test_fdn_with_filters_and_feedback_delays():
    m, f, A, g, sos = (7, 1, 12), (0, 5, 3), contraction(3), gains(3, 2, 2), sections(3)
    x = noise(100, 2)
    wanted = Network(m, A, *g.values(), absorption=Step(sos=sos), fed_back=Step(samples=f)).run(x)
    model = nn.FDN(m, matrix=A, absorption=Sections(sos), feedback_delays=f, **g)
    agree(model, wanted, x, 100 * 30)


def test_fdn_with_delays_in_the_feedback_path_only():
    A, g, x = contraction(3), gains(3, 1, 2), noise(60, 1)
    s = np.zeros((60, 3))
    for t in range(60):
        back = [(A @ s[t - m])[i] if m <= t else 0.0 for i, m in enumerate((2, 9, 4))]
        s[t] = g["input_gain"] @ x[t] + back
    wanted = s @ g["output_gain"].T + x @ g["direct"].T
    agree(nn.FDN((0, 0, 0), matrix=A, feedback_delays=(2, 9, 4), **g), wanted, x, 60 * 8)


def test_fdn_inside_the_loop_of_an_fdn():
    A, g, x = contraction(3), gains(3, 2, 2), noise(100, 2)
    inner_A, inner = contraction(2), gains(2, 3, 3)
    inner = {k: 0.3 * v for k, v in inner.items()}
    wanted = Network(
        (5, 9, 14), A, *g.values(), inner=Network((3, 4), inner_A, *inner.values())
    ).run(x)
    model = nn.FDN((5, 9, 14), matrix=A, loop=nn.FDN((3, 4), matrix=inner_A, **inner), **g)
    agree(model, wanted, x, 100 * 40)
    names = {node.name for node in nodes(model) if node.op == "delay"}
    assert names == {"delays", "loop.delays"}


def test_fdn_with_scattering():
    m, g, x = (5, 9, 14), gains(3, 1, 1), noise(100, 1)
    scattering = nn.Scattering([[0, 2, 5], [7, 0, 1]], gain_per_sample=0.9)
    taps = 0.8 * np.asarray(scattering.taps())
    past: list[np.ndarray] = []

    def scatter(s: np.ndarray) -> np.ndarray:
        past.insert(0, s)
        return np.asarray(sum(h @ v for h, v in zip(taps, past, strict=False)))

    wanted = Network(m, np.eye(3), *g.values(), inner=scatter).run(x)
    model = nn.FDN(m, matrix=scattering, absorption=np.full(3, 0.8), **g)
    # The reference attenuates within the loop, so its lines are 1 / 0.8 of the model's.
    wanted = (wanted - x @ g["direct"].T) * 0.8 + x @ g["direct"].T
    agree(model, wanted, x, 100 * 60)


def test_tones():
    m, A, g, x = (7, 3), contraction(2), gains(2, 1, 2), noise(60, 1)
    before, after = sections(1), sections(2)
    net = Network(m, A, g["input_gain"], g["output_gain"], absorption=None)
    pre, post = Step(sos=before), Step(sos=after)
    wanted = np.array([post(net(pre(v))) + g["direct"] @ v for v in x])
    model = nn.FDN(m, matrix=A, pre_tone=Sections(before), tone=Sections(after), **g)
    agree(model, wanted, x, 60 * 40)


def test_one_sample_loop_and_one_sample_signal():
    model = nn.FDN((1,), matrix=np.array([[0.9]]), input_gain=[[1.0]], output_gain=[[1.0]])
    x = noise(50, 1)
    wanted = scipy.signal.lfilter([0, 1], [1, -0.9], x, axis=0)
    agree(model, wanted, x, 100)
    direct = nn.FDN.reverb(4, inputs=1)
    assert direct(jnp.ones((1, 1))).tolist() == [[1.0, 1.0]]
    assert direct(jnp.ones((0, 1))).shape == (0, 2)


def test_fdn_without_inputs_is_silent():
    model = nn.FDN((3, 4), input_gain=np.zeros((2, 0)), outputs=2)
    assert model.inputs == 0
    np.testing.assert_array_equal(model(jnp.zeros((9, 0))), np.zeros((9, 2)))


@pytest.mark.parametrize("case", ["fdn_N4_gain", "fdn_N8_sos", "fdn_N6_scatter"])
def test_networks_computed_by_others(case):
    path = REFERENCE / f"{case}.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    d = np.load(path)
    n = len(d["delays"])
    matrix = d["A"] if "A" in d else None
    if matrix is None:
        # Its stages attenuate as its lines do: gains = γ^delays.
        gain = float(d["gains"][0] ** (1 / d["delays"][0]))
        matrix = nn.Scattering(
            d["shifts"].astype(int),
            matrix=list(d["U"]),
            left=d["m_L"].astype(int),
            right=d["m_R"].astype(int),
            gain_per_sample=gain,
        )
        np.testing.assert_allclose(matrix.taps(), d["A_fir"], atol=n**3 * EPS)
    elif "A_raw" in d:
        found = nn.Orthogonal(n, weight=d["A_raw"]).matrix()
        np.testing.assert_allclose(found, d["A"], atol=64 * n * EPS)
    absorption = d["gains"] if "gains" in d else Sections(d["sos"])
    model = nn.FDN(
        d["delays"],
        matrix=matrix,
        absorption=absorption,
        input_gain=d["b"],
        output_gain=d["c"],
        direct=d["d"],
    )
    wanted = d["h_td"][:, :, 0]
    impulse = jnp.zeros((len(wanted), 1)).at[0].set(1)
    assert np.abs(nnx.jit(lambda m, x: m(x))(model, impulse) - wanted).max() <= 1e-10


def every_part() -> nn.FDN:
    """A network with something trainable in every place."""
    return nn.FDN(
        nn.FractionalDelay([3.3, 5.21, 8.77, 11.4], minimum=1, maximum=16),
        inputs=2,
        outputs=3,
        matrix=nn.Serial(nn.Orthogonal(4), nn.Rotation(4, angles=[0.4, 1.0])),
        absorption=Sections(sections(4)),
        loop=nn.Parallel(
            nn.Serial(nn.Householder(4, vector=[1.0, 2.0, -0.5, 0.3]), nn.Gain(4, 0.6)),
            nn.Serial(nn.Circulant(4, orthogonal=True), nn.Delay([0, 2, 1, 4]), nn.Gain(4, 0.3)),
            nn.FDN((2, 3), inputs=4, outputs=4, matrix=0.2 * np.eye(2)),
        ),
        direct=np.ones((3, 2)),
        feedback_delays=(1, 0, 2, 0),
        pre_tone=Sections(sections(2)),
        tone=nn.Circulant(3),
    )


def test_gradients_of_every_parameter():
    model, x = every_part(), jnp.asarray(noise(40, 2))
    weights = jnp.asarray(noise(40, 3))
    graphdef, state = nnx.split(model)

    @jax.jit
    def loss(state):
        return jnp.sum(weights * nnx.merge(graphdef, state)(x) ** 2)

    gradient = jax.jit(jax.grad(loss))(state)
    leaves, tree = jax.tree.flatten(state)
    slopes, h = jax.tree.leaves(gradient), 1e-6
    assert len(leaves) >= 15
    for k, (value, slope) in enumerate(zip(leaves, slopes, strict=True)):
        assert jnp.isfinite(slope).all()
        direction = jnp.asarray(RNG.normal(size=value.shape))
        ends = []
        for sign in (1, -1):
            moved = [*leaves[:k], value + sign * h * direction, *leaves[k + 1 :]]
            ends.append(loss(jax.tree.unflatten(tree, moved)))
        numeric = (ends[0] - ends[1]) / (2 * h)
        # 120 terms of the loss, each rounded to about 10 EPS, divided by h; truncation is h².
        assert abs(numeric - jnp.sum(slope * direction)) < 120 * 10 * EPS / h


def test_every_part_is_traced():
    model, x = every_part(), noise(60, 2)
    agree(model, np.asarray(model(jnp.asarray(x))), x, 60 * 100)
    names = {node.name for node in nodes(model)}
    assert {"pre_tone", "input_gain", "loop.fdn.matrix", "output_gain", "direct"} <= names


def test_batches():
    model, x = nn.FDN((3, 1, 7), inputs=2, outputs=2, absorption=np.full(3, 0.9)), noise(40, 2)
    batch = jnp.stack([jnp.asarray(x), 2 * jnp.asarray(x)])
    single = model(batch[0])
    for found in (jax.vmap(model)(batch), model(batch)):
        np.testing.assert_allclose(found[1], 2 * single, atol=40 * 8 * EPS)
    graphdef, state = nnx.split(model)
    many = jax.tree.map(lambda v: jnp.stack([v, v]), state)
    found = jax.vmap(lambda s, x: nnx.merge(graphdef, s)(x))(many, batch)
    np.testing.assert_allclose(found[0], single, atol=40 * 8 * EPS)


def test_delay_free_loops_are_named():
    x = jnp.zeros((8, 1))
    with pytest.raises(DelayFreeLoopError, match=r"matrix.*no delay"):
        nn.FDN((3, 0))(x)
    with pytest.raises(DelayFreeLoopError, match=r"loop\.matrix"):
        nn.FDN((3, 3), loop=nn.FDN((0, 0), inputs=2, outputs=2))(x)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"matrix": np.eye(3)}, "`weight` has the shape"),
        ({"matrix": nn.Delay([1, 2, 3])}, "`matrix` takes 3 channels"),
        ({"absorption": nn.Delay([1])}, "`absorption` takes 1 channels"),
        ({"absorption": np.ones(3)}, "`gain` of shape"),
        ({"feedback_delays": [1, 2, 3]}, "`feedback_delays` takes 3"),
        ({"loop": nn.Delay([1])}, "`loop` takes 1 channels and gives 1, but here it must take 2"),
        ({"input_gain": np.ones(2)}, "`input_gain` has the shape"),
        ({"input_gain": np.ones((3, 1))}, "`input_gain` takes 1 channels and gives 3"),
        ({"output_gain": np.ones((1, 3))}, "`output_gain` takes 3"),
        ({"direct": np.ones((2, 1))}, "`direct` takes 1 channels and gives 2"),
        ({"tone": nn.Delay([1, 2])}, "`tone` takes 2"),
        ({"pre_tone": nn.Delay([1, 2])}, "`pre_tone` takes 2"),
    ],
)
def test_fdn_refuses(arguments, match):
    with pytest.raises(ValueError, match=match):
        nn.FDN((3, 4), **arguments)


@pytest.mark.parametrize("lines", [6, 8])
def test_reverb_decays_as_asked(lines):
    rate, t60 = 8000.0, 0.5
    model = nn.FDN.reverb(lines, t60=t60, t60_nyquist=None, sample_rate=rate, dry=0.0)
    assert (model.inputs, model.outputs) == (2, 2)
    h = np.asarray(model(jnp.zeros((int(1.1 * t60 * rate), 2)).at[0].set(1)))
    energy = np.cumsum((h[::-1] ** 2).sum(axis=1))[::-1]
    level = 10 * np.log10(energy / energy[0])
    fit = np.flatnonzero((level < -5) & (level > -35))
    slope = np.polyfit(fit / rate, level[fit], 1)[0]
    # All modes decay alike (Jot and Chaigne 1991); what is left is the ripple of few modes.
    assert abs(-60 / slope / t60 - 1) < 0.02
    default = nn.FDN.reverb()
    assert (default.inputs, default.outputs, default.delays.inputs) == (2, 2, 16)
    assert np.isfinite(default(jnp.ones((100, 2)))).all()


# -- Composition ----------------------------------------------------------------------------------


def test_serial_and_parallel():
    x = noise(30, 2)
    sos = sections(2)
    filtered = (
        scipy.signal.sosfilt(sos[:, :, 0], x[:, 0]),
        scipy.signal.sosfilt(sos[:, :, 1], x[:, 1]),
    )
    y = np.stack(filtered, axis=1)
    W = RNG.normal(size=(3, 2))
    agree(nn.Serial(Sections(sos), nn.Matrix(3, 2, weight=W)), y @ W.T, x, 60)
    twice = nn.Parallel(nn.Gain(2, 0.5), Sections(sos), names=["same", "same"])
    agree(twice, 0.5 * x + y, x, 60)
    beside = nn.Parallel(nn.Matrix(3, 2, weight=W), nn.Gain(2, 2.0), combine="concatenate")
    agree(beside, np.concatenate([x @ W.T, 2 * x], axis=1), x, 8)
    dealt = nn.Parallel(nn.Gain(1, 2.0), nn.Delay([3]), split=True, combine="concatenate")
    wanted = np.stack([2 * x[:, 0], np.concatenate([np.zeros(3), x[:-3, 1]])], axis=1)
    agree(dealt, wanted, x, 1)
    assert (beside.inputs, beside.outputs, dealt.inputs, dealt.outputs) == (2, 5, 2, 2)


def test_names_reach_the_graph():
    model = nn.Serial(
        nn.Parallel(nn.Matrix(2, 2), nn.Matrix(2, 2), names=["branch", "branch"]),
        nn.FDN((3, 4), inputs=2, outputs=2),
        names=["early", "late"],
    )
    found = nodes(model)
    assert sum(node.name == "early.branch" and node.op == "einsum" for node in found) == 2
    assert {"late.delays", "late.matrix", "late.output_gain"} <= {node.name for node in found}
    x = noise(20, 2)
    agree(model, np.asarray(model(jnp.asarray(x))), x, 20 * 16)


def test_composition_refuses():
    with pytest.raises(ValueError, match=r"'gain' \(module 0\) gives 2 channels, but 'delay'"):
        nn.Serial(nn.Gain(2), nn.Delay([1]))
    with pytest.raises(ValueError, match="at least one module"):
        nn.Serial()
    with pytest.raises(TypeError, match="is not an adac_jax"):
        nn.Serial(jnp.tanh)
    with pytest.raises(ValueError, match=r"take \[2, 1\] channels"):
        nn.Parallel(nn.Gain(2), nn.Gain(1))
    with pytest.raises(ValueError, match=r"give \[2, 3\] channels"):
        nn.Parallel(nn.Matrix(2, 2), nn.Matrix(3, 2))
    with pytest.raises(ValueError, match=r"`combine` \(='mean'\)"):
        nn.Parallel(nn.Gain(2), combine="mean")
    with pytest.raises(ValueError, match="one name for each of 1 modules"):
        nn.Serial(nn.Gain(2), names=["a", "b"])
    with pytest.raises(ValueError, match="'a/b' must be"):
        nn.Serial(nn.Gain(2), names=["a/b"])


def test_training():
    def model(seed: int) -> nn.Module:
        return nn.Serial(
            nn.FDN((3, 5, 8), outputs=2, absorption=np.full(3, 0.8), rngs=nnx.Rngs(seed)),
            nn.Gain(2),
        )

    x = jnp.asarray(noise(60, 1))
    target, learner = model(1)(x), model(2)
    optimiser = nnx.Optimizer(learner, optax.adam(3e-2), wrt=nnx.Param)

    @nnx.jit
    def step(learner, optimiser):
        value, gradient = nnx.value_and_grad(lambda m: jnp.mean((m(x) - target) ** 2))(learner)
        optimiser.update(learner, gradient)
        return value

    losses = [float(step(learner, optimiser)) for _ in range(60)]
    assert losses[-1] < 0.1 * losses[0]
    graphdef, state = nnx.split(learner)
    np.testing.assert_array_equal(nnx.merge(graphdef, state)(x), learner(x))
