"""Mixing matrices: orthogonal, as their formulas say, and with their structure kept."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.signal
from plain import EPS, RNG, agree, double, nodes, noise

from adac_jax import designs, nn

SQUARE = ("orthogonal", "householder", "hadamard", "rotation", "circulant")


@pytest.fixture(autouse=True)
def _double():
    with double():
        yield


@pytest.mark.parametrize("name", SQUARE)
def test_orthogonal_matrices(name):
    for n in (1, 8):
        M = np.asarray(nn.square_matrix(name, n).matrix())
        # exp squares a matrix up to 8 times; all else is a sum of n products.
        assert np.abs(M.T @ M - np.eye(n)).max() <= 64 * max(8, n) * EPS
    model, x = nn.square_matrix(name, 8), noise(20, 8)
    agree(model, x @ np.asarray(model.matrix()).T, x, 8 * 8)


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rotations_of_every_size(dtype):
    """Matrices that are halved not at all, a few times, and more than one round of times."""
    raw = RNG.normal(size=(5, 5))
    skew = (raw - raw.T).astype(dtype)
    for size in (0, 1e-6, 0.5, 3.0, 100.0, 3000.0):
        scaled = (skew * (size / np.abs(skew).sum(0).max())).astype(dtype)
        found = np.asarray(designs.rotation(jnp.asarray(scaled)))
        assert found.dtype == dtype
        # Each squaring doubles the error, and the halvings are undone by log2 of the size of them.
        bound = 16 * 5 * max(size, 1) * np.finfo(dtype).eps
        wanted = scipy.linalg.expm(scaled.astype(float))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)


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
