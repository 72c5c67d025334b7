"""Short loops whose matrix moves: products of the matrices at the corners of what moves.

x[t+1] = A(θ_t) x[t], with A affine in each number of θ, so that every A(θ) is a mean of those at
the corners of the box of θ, and a norm of a product, convex in each factor, is largest at corners.
With a norm, and a tree of products that is not continued below one whose norm is at most δ^depth,

    |A(θ_n) ⋯ A(θ_1)| ≤ K δ^n,  K = max over the tree's other products of norm δ^-depth,

for all motions, if the tree ends: each sequence is cut into such products and a rest (Daubechies,
Lagarias, "Sets of matrices all infinite products of which converge", Linear Algebra Appl. 161,
1992; Gripenberg, "Computing the joint spectral radius", Linear Algebra Appl. 234, 1996). The norm
is |T x|, T found by descent on the largest norm of a T A T^-1; where that alone is below one, it is
a common quadratic Lyapunov function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import optimize

from ir.certificate.bounds import Bounds
from ir.certificate.family import gram_norms
from ir.certificate.small_gain import UNIT
from ir.certificate.system import System

STATES = 20
"""Samples that the delays of a loop hold together, at most."""
TREE = 40_000
"""Products that are looked at."""
DEPTH = 60


def by_products(whole: System, systems: Sequence[System]) -> Bounds | None:
    """A bound for every motion between loops that consist of delays alone; None if none is found.

    Args:
        whole: The loop over the box of what moves.
        systems: The loop at each corner, of the same atoms.
    """
    atoms = whole.atoms
    if any(atom.kind != "delay" or atom.delay[0] < 1 for atom in atoms):
        return None
    starts = np.cumsum([0, *(atom.delay[0] for atom in atoms)])
    n = int(starts[-1])
    if not 0 < n <= STATES or len(systems) > 16:
        return None
    A = np.stack([_matrix(system.C, starts) for system in systems])
    R = np.stack([_matrix(system.R, starts, False) for system in systems])
    if not (np.isfinite(A).all() and np.isfinite(R).all()):
        return None
    least = _largest_radius(A)
    if least >= 1:
        return None
    for T in _norms(A):
        coordinates = _Coordinates.of(T, A, R)
        if coordinates is None:
            continue
        for share in (0.5, 0.1, 0.01):
            delta = max(least, 1e-3) ** share
            K = coordinates.grown(delta)
            if K is not None:
                return coordinates.bounds(whole, starts, delta, K)
    return None


def _matrix(C: np.ndarray, starts: np.ndarray, shift: bool = True) -> np.ndarray:
    """States are what each delay holds, the newest first."""
    n = int(starts[-1])
    A = np.eye(n, k=-1) if shift else np.zeros((n, n))
    A[starts[:-1]] = 0
    A[np.ix_(starts[:-1], starts[1:] - 1)] = C
    return A


def _largest_radius(A: np.ndarray, depth: int = 5) -> float:
    """The largest spectral radius of short products: a norm below it there cannot be."""
    found, least = np.eye(A.shape[1])[None], 0.0
    for k in range(1, depth + 1):
        found = (A[:, None] @ found[None]).reshape(-1, *A.shape[1:])
        least = max(least, float(np.abs(np.linalg.eigvals(found)).max()) ** (1 / k))
        if len(found) > 2000:
            break
    return least


def _norms(A: np.ndarray) -> Iterator[np.ndarray]:
    """T for which all |T A T^-1| are small."""
    n = A.shape[1]
    starts = [np.eye(n)]
    P = np.eye(n)
    for _ in range(200):
        P = np.einsum("kji,jl,klm->im", A, P, A) + 1e-9 * np.trace(P) / n * np.eye(n)
        P /= np.trace(P)
    starts.append(np.asarray(np.linalg.cholesky(P + 1e-12 * np.eye(n)).T, float))
    _, V = np.linalg.eig(A.mean(0) + 1e-9 * np.diag(np.arange(n)))
    if np.linalg.cond(V) < 1e6:
        W = np.linalg.inv(V)
        starts.append(np.asarray(np.linalg.cholesky(np.real(W.conj().T @ W)).T, float))
    starts = [T for T in starts if np.linalg.cond(T) < 1e8]
    best = min(starts, key=lambda T: _largest(T, A))
    if _largest(best, A) < 1:
        yield best
    yield _descended(best, A)


def _largest(T: np.ndarray, A: np.ndarray) -> float:
    return float(np.linalg.norm(T @ A @ np.linalg.inv(T), 2, axis=(1, 2)).max())


def _descended(T: np.ndarray, A: np.ndarray) -> np.ndarray:
    """Lowers (Σ tr (Bᵀ B)^p)^(1/2p), B = T A T^-1, which tends to the largest norm as p grows."""
    n = len(T)

    def value(x: np.ndarray, p: int) -> tuple[float, np.ndarray]:
        T = x.reshape(n, n)
        inverse = np.linalg.inv(T)
        B = T @ A @ inverse
        U, s, V = np.linalg.svd(B)
        top = s.max()
        weight = (s / top) ** (2 * p)
        total = weight.sum()
        slope = (U * (weight / (s * total + 1e-300))[:, None, :]) @ V
        # B moves by X B - B X for T moved by X T.
        X = (slope @ B.swapaxes(1, 2) - B.swapaxes(1, 2) @ slope).sum(0)
        return float(np.log(top) + np.log(total) / (2 * p)), (X @ inverse.T).ravel()

    for p in (2, 8, 32, 128):
        try:
            found = optimize.minimize(
                value, T.ravel(), args=(p,), jac=True, method="L-BFGS-B", options={"maxiter": 200}
            )
        except np.linalg.LinAlgError:
            break
        after = found.x.reshape(n, n)
        if np.isfinite(after).all() and np.linalg.cond(after) < 1e8:
            T = after / np.abs(after).max()
    return T


class _Coordinates:
    """The matrices in the units of T, and how far rounding may have moved them."""

    def __init__(
        self, T: np.ndarray, inverse: np.ndarray, miss: float, B: np.ndarray, off: np.ndarray
    ) -> None:
        self.T, self.inverse, self.miss, self.B, self.off = T, inverse, miss, B, off

    @staticmethod
    def of(T: np.ndarray, A: np.ndarray, R: np.ndarray) -> _Coordinates | None:
        """T^-1 = V (I + E)^-1 with V computed, and E = T V - I."""
        n = len(T)
        V = np.linalg.inv(T)
        size = float(np.linalg.norm(T)), float(np.linalg.norm(V))
        E = T @ V - np.eye(n)
        miss = float(np.linalg.norm(E)) + 4 * n * UNIT * size[0] * size[1]
        if not miss < 1e-3:
            return None
        B = T @ A @ V
        norms = np.linalg.norm(A, axis=(1, 2)) * (1 + 1e-12)
        lost = 8 * n * UNIT * size[0] * size[1] * norms
        lost = lost + size[0] * size[1] * norms * miss / (1 - miss)
        lost = lost + size[0] * size[1] * np.linalg.norm(R, axis=(1, 2)) / (1 - miss)
        return _Coordinates(T, V, miss, B, lost * (1 + 1e-9))

    def grown(self, delta: float) -> float | None:
        """K, if the tree ends."""
        n, m = len(self.T), len(self.B)
        products, off = np.eye(n)[None], np.zeros(1)
        each = gram_norms(self.B) + self.off
        most, left = 1.0, TREE
        norms = np.ones(1)
        for depth in range(1, DEPTH):
            left -= m * len(products)
            if left < 0:
                return None
            rounding = 2 * n * UNIT * np.linalg.norm(self.B, axis=(1, 2))[:, None]
            rounding = rounding * np.linalg.norm(products, axis=(1, 2))
            off = each[:, None] * off + self.off[:, None] * norms + rounding
            products = (self.B[:, None] @ products[None]).reshape(-1, n, n)
            off = off.ravel() * (1 + 1e-12)
            norms = gram_norms(products) + off
            goal = float(delta**depth) * (1 - 1e-12)
            open_ = ~(norms <= goal)
            if not open_.any():
                return most * (1 + 1e-9)
            products, off, norms = products[open_], off[open_], norms[open_]
            most = max(most, float(norms.max()) / goal)
            if not most < 1e6:
                return None
        return None

    def bounds(self, whole: System, starts: np.ndarray, delta: float, K: float) -> Bounds:
        """|T x| ≤ K |T x_0| + K / (1 - δ) |T b|, b what enters at once."""
        columns = np.linalg.norm(self.T, axis=0)
        held = np.add.reduceat(columns, starts[:-1])
        first, enters = float(held @ whole.injected), float(columns[starts[:-1]] @ whole.outside)
        size = K * (first + enters / (1 - delta)) * (1 + 1e-9)
        rows = np.linalg.norm(self.inverse, axis=1)[starts[1:] - 1] / (1 - self.miss)
        return Bounds(np.nan, delta, rows * size * (1 + 1e-9))
