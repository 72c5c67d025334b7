"""Where the poles of a linear program lie, or that this cannot be told.

First by eigenvalues in float64 with a bound on their error from left and right eigenvectors; where
that bound reaches the unit circle, by the Schur-Cohn recursion on the characteristic polynomial in
integers of `BITS` bits, from matrix entries that are exact fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy import linalg, sparse
from stability_walk import StateSpace, state_space

import ir

Array = np.ndarray
BITS = 1600
EXACT_STATES = 72
"""Above this the exact way takes too long."""


@dataclass(frozen=True)
class Poles:
    """What is known of a program's poles.

    Attributes:
        verdict: "stable" (all inside the unit circle), "unstable" (one outside), "marginal" (one on
            it, to within 2^(-BITS/3)), or "undecided".
        radius: The largest magnitude, as float64 finds it.
        frequency: Of the outermost pole, in cycles a sample.
        exact: Whether the exact way decided.
        states: How many there are.
    """

    verdict: str
    radius: float
    frequency: float
    exact: bool
    states: int


def poles(program: ir.Program, space: StateSpace | None = None) -> Poles:
    """Judges a linear program; raises `NotLinearError` for others."""
    space = state_space(program) if space is None else space
    radius, frequency, states = 0.0, 0.0, len(space.A)
    doubtful = []
    verdict = "stable"
    for group in blocks(space.A):
        values, errors = eigenvalues(space.A[np.ix_(group, group)])
        outer = np.abs(values)
        if not len(outer):
            continue
        k = int(np.argmax(outer))
        if outer[k] > radius:
            radius = float(outer[k])
            frequency = abs(float(np.angle(values[k]))) / (2 * np.pi)
        if np.any(outer - errors > 1):
            verdict = "unstable"
        elif np.any(outer + errors >= 1):
            doubtful.append(group)
    if verdict == "unstable" or not doubtful:
        return Poles(verdict, radius, frequency, False, states)
    if max(map(len, doubtful)) > EXACT_STATES:
        return Poles("undecided", radius, frequency, False, states)
    exact = state_space(program, exact=True).A
    found = [schur_cohn(characteristic(exact[np.ix_(g, g)])) for g in doubtful]
    for name in ("unstable", "undecided", "marginal"):
        if name in found:
            verdict = name
            break
    return Poles(verdict, radius, frequency, True, states)


def spectral_radius(program: ir.Program) -> float:
    """The largest magnitude of a pole, without a bound on its error."""
    A = state_space(program).A
    return max((float(np.abs(linalg.eigvals(A[np.ix_(g, g)])).max()) for g in blocks(A)),
               default=0.0)  # fmt: skip


def blocks(A: Array) -> list[Array]:
    """The strongly connected groups of states: their eigenvalues together are those of A."""
    count, label = sparse.csgraph.connected_components(
        sparse.csr_array(A != 0), directed=True, connection="strong"
    )
    where = np.argsort(label, kind="stable")
    sizes = np.bincount(label, minlength=count)
    groups = np.split(where, np.cumsum(sizes)[:-1]) if count else []
    # A state that does not feed itself has the pole zero.
    return [g for g in groups if len(g) > 1 or A[g[0], g[0]] != 0]


def eigenvalues(A: Array) -> tuple[Array, Array]:
    """Eigenvalues, and bounds on their errors to first order.

    The QR algorithm is backward stable: what it finds belongs to A + E, ‖E‖ ≤ p(n) eps ‖A‖, after
    balancing. An eigenvalue moves by at most ‖E‖ / |yᴴx| for unit eigenvectors x and y. p(n) = 10 n
    is generous. The matrix itself carries a rounding of each entry, which the same bound covers.
    """
    if len(A) == 1:
        value = A[0].astype(complex)
        return value, np.abs(value) * 4 * np.finfo(float).eps
    with np.errstate(invalid="ignore"):  # of scales that SciPy casts to integers, and drops
        B = linalg.matrix_balance(A, permute=False)[0]
    values, left, right = linalg.eig(B, left=True, right=True)
    product = np.abs(np.sum(left.conj() * right, axis=0))
    size = np.linalg.norm(left, axis=0) * np.linalg.norm(right, axis=0)
    condition = size / np.maximum(product, np.finfo(float).tiny)
    noise = 10 * len(A) * np.finfo(float).eps * np.linalg.norm(B, 2)
    # First order holds only for small motions: a bound above 1e-4 counts as none.
    errors = noise * condition
    return values, np.where(errors > 1e-4, np.inf, errors)


def characteristic(A: Array) -> list[int]:
    """det(z - A), highest power first, in units of 2^-BITS: by elimination to Hessenberg form."""
    n = len(A)
    one = 1 << BITS
    H = np.empty((n, n), object)
    for index in np.ndindex(n, n):
        value = Fraction(A[index])
        H[index] = (value.numerator << BITS) // value.denominator
    for j in range(n - 2):
        pivot = j + 1 + int(np.argmax([abs(int(v)) for v in H[j + 1 :, j]]))
        if H[pivot, j] == 0:
            continue
        if pivot != j + 1:
            H[[j + 1, pivot]] = H[[pivot, j + 1]]
            H[:, [j + 1, pivot]] = H[:, [pivot, j + 1]]
        for i in range(j + 2, n):
            if H[i, j] == 0:
                continue
            f = (int(H[i, j]) << BITS) // int(H[j + 1, j])
            H[i] = H[i] - (f * H[j + 1] >> BITS)
            H[:, j + 1] = H[:, j + 1] + (f * H[:, i] >> BITS)
    # p_k = det(z - H[:k, :k]), expanded along its last column; lowest power first here.
    p = [np.array([one], object)]
    for k in range(1, n + 1):
        new = np.zeros(k + 1, object)
        new[1:] += p[k - 1]
        new[:k] -= p[k - 1] * H[k - 1, k - 1] >> BITS
        product = one
        for m in range(1, k):
            product = product * int(H[k - m, k - m - 1]) >> BITS
            if product == 0:
                break
            new[: k - m] -= p[k - 1 - m] * (int(H[k - 1 - m, k - 1]) * product >> BITS) >> BITS
        p.append(new)
    return [int(c) for c in p[n][::-1]]


def schur_cohn(polynomial: list[int]) -> str:
    """Whether all roots lie inside the unit circle, by reflection coefficients."""
    a = np.array(polynomial, object)
    one, doubt = 1 << BITS, 1 << (BITS - BITS // 3)
    while len(a) > 1:
        k = (int(a[-1]) << BITS) // int(a[0])
        if abs(abs(k) - one) <= doubt:
            # On the circle itself, or a pair of mirrored roots: which, the recursion cannot say.
            return "marginal"
        if abs(k) > one:
            return "unstable"
        a = (a - (k * a[::-1] >> BITS))[:-1]
        # Keep the scale, or the numbers shrink away.
        shift = BITS - abs(int(a[0])).bit_length()
        a = a << shift if shift > 0 else a >> -shift
    return "stable"
