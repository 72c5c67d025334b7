"""Small gain: a loop whose gain is below one at every frequency cannot grow.

With S = M Γ, Γ the bounds of the lanes, and any positive diagonal D, a loop is stable where the
largest singular value of D S D^-1 is below one: D changes the units of each lane, which no delay,
filter or gain notices (Doyle, "Analysis of feedback systems with structured uncertainties", IEE
Proceedings D 129(6), 1982; diagonal scaling for delay networks: Schlecht, Habets, "On lossless
feedback delay networks", IEEE Trans. Signal Processing 65(6), 2017). With absolute values in place
of energy, where its spectral radius is (Perron).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg, optimize
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

UNIT = 2.0**-53
ENOUGH = 1 + 1e-9
"""A scaling this near to the spectral radius, below which none can be, is not improved."""
REFINED = 96
"""Lanes up to which a scaling is refined by descent."""


def parts(S: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of S that have nothing to do with others: its norm is the largest of theirs.

    A mesh of many nodes, each with a small matrix, is many small problems.
    """
    rows, columns = S.shape
    r, c = np.nonzero(S)
    links = csr_array((np.ones(len(r)), (r, rows + c)), (rows + columns, rows + columns))
    count, label = connected_components(links, directed=False)
    if count == 1:
        return [(np.arange(rows), np.arange(columns))]
    found = []
    for name in np.unique(label[r]):
        found.append((np.flatnonzero(label[:rows] == name),
                      np.flatnonzero(label[rows:] == name)))  # fmt: skip
    return found


def norm(S: np.ndarray, R: np.ndarray | None = None) -> float:
    """A bound on the largest singular value of all S' with |S' - S| ≤ R, rounding included."""
    most = 0.0
    whole = S if R is None else np.abs(S) + R
    for rows, columns in parts(whole):
        block = S[np.ix_(rows, columns)]
        extra = 0.0
        if R is not None:
            near = np.minimum(R[np.ix_(rows, columns)], 1e150)
            extra = float(np.sqrt(near.sum(0).max() * near.sum(1).max())) * (1 + 1e-12)
        most = max(most, _proved(block) + extra)
    return most


def _proved(S: np.ndarray) -> float:
    """The norm, proved by a Cholesky factorisation: (c² I - S^T S) is positive definite.

    A factorisation in floating point that succeeds proves it for the exact matrix if the diagonal
    is lowered by what rounding can do (Rump, "Verification of positive definiteness", BIT 46,
    2006).
    """
    if not (np.abs(S) < 1e150).all():
        return np.inf
    if np.abs(S).max(initial=0.0) < 1e-120:
        return float(np.sqrt(S.size)) * 1e-120
    if min(S.shape) == 1:
        return float(np.sqrt((S * S).sum())) * (1 + 8 * S.size * UNIT)
    if S.shape[0] < S.shape[1]:
        S = S.T
    n = S.shape[1]
    try:
        guess = float(np.linalg.svd(S, compute_uv=False)[0])
    except np.linalg.LinAlgError:
        return float(np.sqrt((S * S).sum())) * (1 + 8 * S.size * UNIT)
    square, size = S.T @ S, float((S * S).sum())
    for slack in (4.0, 40.0, 4e3, 4e6):
        bound = guess * (1 + slack * n * UNIT * max(1.0, size / max(guess, 1e-300) ** 2))
        A = bound**2 * np.eye(n) - square
        lost = 2 * (len(S) + n + 4) * UNIT * (size + n * bound**2)
        try:
            linalg.cholesky(A - lost * np.eye(n), check_finite=False)
        except linalg.LinAlgError:
            continue
        return bound * (1 + 4 * UNIT)
    return float(np.sqrt(size)) * (1 + 1e-12)


def scale(
    C: np.ndarray, R: np.ndarray, gains: np.ndarray, known: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """A diagonal D, and the norm of D (C ± R) Γ D^-1, as small as could be found.

    Args:
        C: (n, n), of lanes that all hear each other.
        R: Ranges of C.
        gains: Γ.
        known: A scaling of the same lanes with nearly the same gains: kept if it makes the norm
            less than one, and otherwise what is tried beside it is not improved by descent.
    """
    if not np.isfinite(gains).all():
        return np.ones(len(C)), np.inf
    S, W = C * gains, R * gains
    if len(S) == 1:
        return np.ones(1), float(np.abs(S[0, 0]) + W[0, 0]) * (1 + 4 * UNIT)
    if known is not None and (value := norm(*applied(known, S, W))) < 1:
        return known, value
    least = _radius(S)
    best: tuple[np.ndarray, float] = np.ones(len(S)), np.inf
    for d in _candidates(C, S, np.abs(S) + W, gains):
        value = norm(*applied(d, S, W))
        if value < best[1]:
            best = d, value
        if best[1] <= least * ENOUGH:
            return best
    if known is None and best[1] >= 1 and len(S) <= REFINED:
        d = _descend(S, best[0])
        value = norm(*applied(d, S, W))
        if value < best[1]:
            best = d, value
    return best


def applied(d: np.ndarray, S: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """D (S ± W) D^-1, with what rounding adds."""
    ratio = d[:, None] / d
    # The ratio is rounded twice, the product once.
    scaled = ratio * S
    return scaled, ratio * W + 4 * UNIT * np.abs(scaled)


def _radius(S: np.ndarray) -> float:
    if len(S) > 400:
        return 0.0
    return float(np.abs(np.linalg.eigvals(S)).max(initial=0.0))


def _candidates(C: np.ndarray, S: np.ndarray, size: np.ndarray, gains: np.ndarray):
    yield np.ones(len(S))
    inner = balanced(C)
    roots = np.sqrt(np.maximum(gains, 1e-12))
    yield inner
    yield inner * roots
    yield balanced(S)
    yield inner / roots
    perron = _perron(size)
    if perron is not None:
        yield perron


def balanced(S: np.ndarray, sweeps: int = 200) -> np.ndarray:
    """D such that row and column norms of D S D^-1 agree, all at once and damped.

    (Osborne, "On pre-conditioning of matrices", Journal of the ACM 7(4), 1960.)
    """
    square = np.minimum(np.abs(S), 1e150) ** 2
    np.fill_diagonal(square, 0)
    x = np.zeros(len(S))
    for _ in range(sweeps):
        ratio = np.exp(2 * np.clip(x[:, None] - x, -300, 300)) * square
        rows, columns = ratio.sum(1), ratio.sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = 0.25 * (np.log(columns) - np.log(rows))
        step = np.where(np.isfinite(step), step, 0.0)
        x += 0.7 * step
        if np.abs(step).max(initial=0.0) < 1e-13:
            break
    return np.exp(x - x.mean())


def _perron(size: np.ndarray) -> np.ndarray | None:
    """D from the Perron vectors: the norm is then at most the spectral radius of |S|."""
    if len(size) > 400:
        return None
    right, left = (_positive(A) for A in (size, size.T))
    if right is None or left is None:
        return None
    return np.sqrt(left / right)


def _positive(A: np.ndarray) -> np.ndarray | None:
    values, vectors = np.linalg.eig(A)
    x = np.abs(np.real(vectors[:, np.argmax(np.real(values))]))
    return x if np.isfinite(x).all() and x.min() > 1e-250 else None


def scale_all(Cs: Sequence[np.ndarray], gains: np.ndarray, start: np.ndarray) -> np.ndarray:
    """A diagonal D that makes the norms of all D C Γ D^-1 small at once.

    Args:
        Cs: Some (n, n) of a family.
        gains: Γ.
        start: A scaling to begin with.
    """
    matrices = [C * gains for C in Cs]
    if len(start) > REFINED or not np.isfinite(matrices).all():
        return start
    return _descend_all(matrices, start)


def _descend(S: np.ndarray, d: np.ndarray) -> np.ndarray:
    return _descend_all([S], d)


def _descend_all(matrices: Sequence[np.ndarray], d: np.ndarray) -> np.ndarray:
    """Lowers the largest singular value by descent on a smooth function that is near it.

    The Schatten norms (Σ σ^2p)^(1/2p) of D S D^-1 are convex in log D and tend to the largest
    singular value as p grows; so do the same sums over several matrices.
    """
    S = np.stack(matrices)
    x = np.log(np.maximum(d, 1e-280))

    def value(x: np.ndarray, p: float) -> tuple[float, np.ndarray]:
        left, sigma, right = np.linalg.svd(np.exp(np.clip(x[:, None] - x, -300, 300)) * S)
        top = max(float(sigma.max()), 1e-300)
        weights = (sigma / top) ** (2 * p)
        total = max(float(weights.sum()), 1e-300)
        gradient = np.einsum("mik,mk->i", left**2, weights)
        gradient -= np.einsum("mki,mk->i", right**2, weights)
        return float(np.log(top) + np.log(total) / (2 * p)), gradient / total

    for p in (4.0, 32.0, 256.0):
        try:
            found = optimize.minimize(
                value, x, args=(p,), jac=True, method="L-BFGS-B", options={"maxiter": 40}
            )
        except np.linalg.LinAlgError:
            break  # Too far apart to be scaled further.
        if np.isfinite(found.x).all():
            x = found.x
    return np.exp(x - x.mean())


def absolute_radius(P: np.ndarray) -> tuple[np.ndarray, float]:
    """A positive x and λ with P x ≤ λ x: λ bounds the spectral radius of P ≥ 0.

    (Collatz and Wielandt; any positive x proves a bound, the Perron vector proves the best.)
    """
    n = len(P)
    x = np.ones(n)
    nudged = P + 1e-14 * P.max(initial=1e-300)
    if n <= 400:
        found = _positive(nudged)
        x = x if found is None else found
    else:
        for _ in range(200):
            x = nudged @ x
            x /= x.max()
    y = P @ x
    return x, float((y / x).max()) * (1 + 2 * (n + 4) * UNIT)


def scaled_input(d: np.ndarray, outside: np.ndarray, sigma: float) -> np.ndarray:
    """Bounds on each lane's signal: ‖D v‖ ≤ ‖D e‖ / (1 - σ)."""
    with np.errstate(over="ignore"):
        total = float(np.sqrt(((d * outside) ** 2).sum())) * (1 + 1e-12)
    return total / (1 - sigma) / d


__all__ = [
    "absolute_radius",
    "applied",
    "balanced",
    "norm",
    "scale",
    "scale_all",
    "scaled_input",
]
