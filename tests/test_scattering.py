"""Delays and scattering matrices against products of polynomials."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from plain import EPS, agree, double, nodes, noise

from adac_jax import nn


@pytest.fixture(autouse=True)
def _double():
    with double():
        yield


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
    np.testing.assert_allclose(jax.jit(model.taps)(), wanted, atol=27 * EPS)
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
    h = np.asarray(jax.jit(model.taps)())
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
