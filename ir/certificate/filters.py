"""Recursive filters and taps: where their poles are, and how much they can amplify.

Every bound holds at all frequencies, and in floating point: what rounding can do is added.

A section (b0 + b1 z^-1 + b2 z^-2) / (a0 + a1 z^-1 + a2 z^-2) on the circle |z| = r is one on the
unit circle with b_k r^-k and a_k r^-k. With T = tan²(ω/2),

    |H|² = N(T) / D(T),  N = (n0 - n2 T)² + n1² T,
    n0 = b0 + b1 + b2,  n1 = 2 (b0 - b2),  n2 = b0 - b1 + b2,

and D likewise from a: two convex quadratics, without the cancellation that powers of z have at low
frequencies. Over an interval of T their ranges are exact, and so is that of N - κ D, whose sign
says where |H|² is above κ. Intervals whose bound is above what some frequency reaches are halved
until none is (branch and bound), so a peak between two points of a grid cannot be missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy import signal

ULP = 2.0**-52
ROUNDS = 80
"""Halvings at most; a peak of relative width 1e-12 takes 40."""
TOLERANCE = 1e-7
"""How far a bound on log|H| may lie above the largest value found, where that is not near zero."""

IDENTITY = np.array([1.0, 0, 0, 1, 0, 0])


def poles_inside(a: np.ndarray, radius: float = 1.0) -> bool:
    """Whether all poles of 1 / Σ_k a_k z^-k lie in |z| < radius; exact, in rational arithmetic.

    The Schur-Cohn recursion: with a polynomial p of degree n, |p_n| < |p_0| and
    q_k = (p_0 p_k - p_n p_{n-k}) of degree n - 1 again (Jury, "Theory and Application of the
    z-Transform Method", 1964). Rational numbers grow, so common factors are divided out.

    Args:
        a: Coefficients of z^0, z^-1, …; a_0 is not zero.
        radius: r > 0.
    """
    r = Fraction(float(radius))
    p = [Fraction(float(c)) / r**k for k, c in enumerate(a)]
    if not p or p[0] == 0:
        return False
    while len(p) > 1:
        if p[-1] == 0:
            p.pop()
            continue
        if abs(p[-1]) >= abs(p[0]):
            return False
        ratio = p[-1] / p[0]
        p = [x - ratio * y for x, y in zip(p[:-1], p[:0:-1], strict=True)]
    return True


def sections_inside(sos: np.ndarray, radius: float = 1.0) -> bool:
    """Whether all poles of sections (…, 6) lie in |z| < radius.

    Decided in floating point where rounding cannot matter, else exactly.
    """
    a = sos.reshape(-1, 6)[:, 3:] / radius ** np.arange(3)
    a = a * np.sign(a[:, :1])
    plus, minus, end = a.sum(1), a[:, 0] - a[:, 1] + a[:, 2], a[:, 0] - a[:, 2]
    least = np.minimum(np.minimum(plus, minus), end)
    slack = 8 * ULP * np.abs(a).sum(1)
    if (least < -slack).any() or (a[:, 0] == 0).any():
        return False
    close = sos.reshape(-1, 6)[least <= slack]
    return all(poles_inside(section[3:], radius) for section in close)


def poles_outside(a: np.ndarray) -> int | None:
    """How many poles of 1 / Σ_k a_k z^-k lie outside the unit circle; None if one is too near."""
    if poles_inside(a):
        return 0
    trimmed = np.trim_zeros(np.asarray(a, float), "b")
    if not len(trimmed) or trimmed[0] == 0:
        return None
    moduli = np.abs(np.roots(trimmed))
    # Roots of a polynomial of order n move by up to the n-th root of what rounding does to it.
    near = ULP ** (1 / max(len(trimmed) - 1, 1)) * 64
    if (np.abs(moduli - 1) < max(near, 1e-9)).any():
        return None
    return int(np.count_nonzero(moduli > 1))


def pole_radius(a: np.ndarray) -> float:
    """About the largest modulus of the poles of 1 / Σ_k a_k z^-k."""
    trimmed = np.trim_zeros(np.asarray(a, float), "b")
    roots = np.roots(trimmed) if len(trimmed) > 1 else np.zeros(0)
    return float(np.abs(roots).max(initial=0.0))


def peak_of_sections(lanes: np.ndarray, radius: float = 1.0, inside: bool = True) -> np.ndarray:
    """Bounds on max |H(r e^jω)| of cascades of sections, over all ω.

    Args:
        lanes: (lanes, sections, 6).
        radius: r.
        inside: Poles must lie inside |z| < r, or the result is infinite; False bounds |H| on the
            circle wherever they are.

    Returns:
        (lanes,), each at most 1e-7 (in log) above the maximum.
    """
    b, a = _scaled(lanes, radius)
    found = np.full(len(lanes), np.inf)
    stable = np.array([not inside or sections_inside(lane, radius) for lane in lanes], bool)
    if stable.any():
        found[stable] = np.exp(_Search(b[stable], a[stable]).run())
    return found


class Cascades:
    """Cascades of sections, for bounds on parts of the unit circle.

    Args:
        lanes: (lanes, sections, 6).
        radius: r: the circle is |z| = r.
    """

    def __init__(self, lanes: np.ndarray, radius: float = 1.0) -> None:
        self.count = len(lanes)
        self._search = _Search(*_scaled(lanes, radius))

    def most(self, low: np.ndarray, up: np.ndarray) -> np.ndarray:
        """Bounds on |H| for ω from `low` to `up`, within 0 to π: (cells, lanes)."""
        high = low >= np.pi / 2
        with np.errstate(divide="ignore"):
            x = np.where(high, np.tan((np.pi - up) / 2), np.tan(low / 2)) ** 2
            y = np.where(high, np.tan((np.pi - low) / 2), np.tan(up / 2)) ** 2
        x, y = np.maximum(x * (1 - 1e-15), 0), y * (1 + 1e-15)
        cells, lanes = len(low), self.count
        found = np.empty((cells, lanes))
        for lane in range(lanes):
            upper, _ = self._search.evaluate(np.full(cells, lane), high, x, y)
            found[:, lane] = np.exp(upper)
        return np.where(np.isnan(found), np.inf, found)


def _scaled(lanes: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Numerators and denominators on |z| = r."""
    powers = np.longdouble(radius) ** -np.arange(3)
    return lanes[..., :3] * powers, lanes[..., 3:] * powers


class _Search:
    """Branch and bound over T in (0, 1] and 1 / T in (0, 1], for all lanes side by side."""

    def __init__(self, b: np.ndarray, a: np.ndarray) -> None:
        # What is left of rounding n and d to float64 is relative, and counted with each section.
        self.n, self.error_n = _bilinear(b)
        self.d, self.error_d = _bilinear(a)
        self.best = np.full(len(b), -np.inf)

    def run(self) -> np.ndarray:
        edges = np.concatenate([[0.0], np.geomspace(1e-13, 1.0, 32)])
        lanes, count = len(self.best), len(edges) - 1
        cells = (
            np.repeat(np.arange(lanes), 2 * count),
            np.tile(np.repeat([False, True], count), lanes),
            np.tile(edges[:-1], 2 * lanes),
            np.tile(edges[1:], 2 * lanes),
        )
        bound = np.full(lanes, -np.inf)
        for _ in range(ROUNDS):
            lane = cells[0]
            upper, slack = self.evaluate(*cells)
            # A bound near zero decides between stable and not, so it is made finer.
            size = np.abs(self.best)
            gap = np.where(size < 1e-10, 1e-9, np.clip(1e-3 * size, 1e-12, TOLERANCE))
            open_ = upper - slack > (self.best + gap)[lane]
            np.maximum.at(bound, lane[~open_], upper[~open_])
            if not open_.any():
                return np.maximum(bound, self.best)
            if np.count_nonzero(open_) > 400_000:
                break
            cells = _halved(*(part[open_] for part in cells))
        np.maximum.at(bound, lane[open_], upper[open_])
        return np.maximum(bound, self.best)

    def evaluate(self, lane: np.ndarray, high: np.ndarray, low: np.ndarray, up: np.ndarray):
        """The bound on log|H| in each cell; raises `best` by what the ends reach."""
        n, d = self.n[lane], self.d[lane]
        n = np.where(high[:, None, None], n[..., ::-1], n)
        d = np.where(high[:, None, None], d[..., ::-1], d)
        x, y = low[:, None], up[:, None]
        N, D = _Quadratic(n, x, y), _Quadratic(d, x, y)
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = [0.5 * np.log(p / q).sum(-1) for p, q in zip(N.ends, D.ends, strict=True)]
            np.maximum.at(self.best, lane, np.fmax(*ends))
            wide = 1 + y
            down, over = wide * self.error_d[lane] / np.sqrt(D.least), N.most > 0
            slack = np.where(down < 0.5, 2 * down, np.inf)
            slack = slack + np.where(over, wide * self.error_n[lane] / np.sqrt(N.most), 0)
            bound = np.fmin(self._by_ranges(N, D), _by_slopes(N, D, up - low, *ends))
        rounding = slack.sum(-1) + 20 * ULP * n.shape[1]
        return bound + rounding, rounding

    def _by_ranges(self, N: _Quadratic, D: _Quadratic) -> np.ndarray:
        """The sum of the sections' own maxima: above its ends, N / D has one where N - κ D has."""
        x, y = N.interval
        scale = np.fmax(*(p / q for p, q in zip(N.ends, D.ends, strict=True)))
        c2, c1 = N.c2 - scale * D.c2, N.c1 - scale * D.c1
        vertex = np.where(c2 < 0, -c1 / (2 * c2), np.inf)
        inside = (vertex > x) & (vertex < y)
        v = np.where(inside, vertex, x)
        excess = np.where(inside, np.maximum(N(v) - scale * D(v), 0), 0)
        return 0.5 * np.log(scale + np.where(excess > 0, excess / D.least, 0)).sum(-1)


class _Quadratic:
    """(n0 - n2 T)² + n1² T on intervals of T: convex, and never negative."""

    def __init__(self, n: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        self.n, self.interval = n, (x, y)
        self.c2 = n[..., 2] ** 2
        self.c1 = n[..., 1] ** 2 - 2 * n[..., 0] * n[..., 2]
        self.c0 = n[..., 0] ** 2
        self.ends = self(x), self(y)
        self.most = np.maximum(*self.ends)
        with np.errstate(divide="ignore", invalid="ignore"):
            vertex = -self.c1 / (2 * self.c2)
        inside = (vertex > x) & (vertex < y)
        at = self(np.where(inside, vertex, x))
        self.least = np.where(
            inside, np.minimum(at, np.minimum(*self.ends)), np.minimum(*self.ends)
        )

    def __call__(self, T: np.ndarray) -> np.ndarray:
        n = self.n
        return (n[..., 0] - n[..., 2] * T) ** 2 + n[..., 1] ** 2 * T


def _by_slopes(
    N: _Quadratic, D: _Quadratic, width: np.ndarray, low: np.ndarray, up: np.ndarray
) -> np.ndarray:
    """A bound on Σ log(N / D) / 2 from its values at the ends and the range of its slope.

    The slope is (N'D - N D') / (2 N D), whose numerator is a quadratic again. Between the ends, the
    sum lies below the lines that leave them with the steepest slopes.
    """
    x, y = N.interval
    w2, w1, w0 = (
        N.c2 * D.c1 - N.c1 * D.c2,
        2 * (N.c2 * D.c0 - N.c0 * D.c2),
        N.c1 * D.c0 - N.c0 * D.c1,
    )

    def at(T: np.ndarray) -> np.ndarray:
        return (w2 * T + w1) * T + w0

    vertex = -w1 / (2 * w2)
    inside = (vertex > x) & (vertex < y)
    values = np.stack([at(x), at(y), np.where(inside, at(np.where(inside, vertex, x)), at(x))])
    size = (np.abs(N.c2 * D.c1) + np.abs(N.c1 * D.c2)) * y**2 + 2 * y * (N.c2 * D.c0 + N.c0 * D.c2)
    rounding = 16 * ULP * (size + np.abs(N.c1) * D.c0 + N.c0 * np.abs(D.c1))
    highest, lowest = values.max(0) + rounding, values.min(0) - rounding
    small, large = N.least * D.least, N.most * D.most
    steep = 0.5 * np.where(highest > 0, highest / small, highest / large).sum(-1)
    flat = 0.5 * np.where(lowest < 0, lowest / small, lowest / large).sum(-1)
    where = (up - low - flat * width) / (steep - flat)
    inner = low + steep * np.clip(where, 0, width)
    return np.where(flat >= 0, up, np.where(steep <= 0, low, np.fmax(inner, np.fmax(low, up))))


def _bilinear(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n0, n1, n2) of coefficients (…, 3), and how far rounding may spoil |Σ c_k z^-k|.

    Summed in extended precision where the machine has it: n0 is a small difference of large numbers
    at low frequencies.
    """
    total = c[..., 0] + c[..., 2]
    n = np.stack([total + c[..., 1], 2 * (c[..., 0] - c[..., 2]), total - c[..., 1]], -1)
    error = 8 * np.finfo(np.longdouble).eps * np.abs(c).sum(-1)
    return n.astype(float), error.astype(float)


def _halved(
    lane: np.ndarray, high: np.ndarray, low: np.ndarray, up: np.ndarray
) -> tuple[np.ndarray, ...]:
    # The geometric mean while a cell spans octaves, the arithmetic one after that.
    middle = np.where((low > 0) & (up > 2 * low), np.sqrt(low * up), 0.5 * (low + up))
    return (
        np.tile(lane, 2),
        np.tile(high, 2),
        np.concatenate([low, middle]),
        np.concatenate([middle, up]),
    )


def peak_of_taps(taps: np.ndarray, radius: float = 1.0) -> float:
    """A bound on max |Σ_k h_k z^-k| over |z| = r.

    |H|² is a trigonometric polynomial of degree n = len(h) - 1, so its maximum is at most
    1 / cos(π n / N) times the largest of N > 2 n equispaced values (Ehlich, Zeller, "Schwankung von
    Polynomen zwischen Gitterpunkten", Math. Zeitschrift 86, 1964). Nor is it above Σ |h_k|.
    """
    h = np.asarray(taps, float) * radius ** -np.arange(float(len(taps)))
    total = float(np.abs(h).sum()) * (1 + len(h) * ULP)
    degree = len(h) - 1
    if degree == 0 or not np.isfinite(total):
        return total
    count = 1 << int(np.ceil(np.log2((512 if degree <= 4096 else 64) * degree)))
    largest = float(np.abs(np.fft.rfft(h, count)).max()) + 16 * ULP * total
    return min(total, largest / float(np.sqrt(np.cos(np.pi * degree / count))))


def peak_of_rational(
    b: np.ndarray, a: np.ndarray, radius: float = 1.0, inside: bool = True
) -> float:
    """A bound on max |B / A| over |z| = r, of any order; poles inside, else infinite.

    What a grid finds, and a little more, κ, is proved: κ² |A|² - |B|² is a sum of cosines, which is
    expanded about the middle of each interval of ω, to order four with a bound on the remainder.
    Intervals in which that does not show it to be positive are halved.
    """
    if inside and not poles_inside(a, radius):
        return np.inf
    powers = radius ** -np.arange(float(max(len(a), len(b))))
    top, bottom = b * powers[: len(b)], a * powers[: len(a)]
    near = np.angle(np.roots(bottom)) if len(bottom) > 1 else np.zeros(0)
    angles = np.concatenate([np.linspace(0, np.pi, 4097), np.abs(near)])
    with np.errstate(all="ignore"):
        values = np.abs(_along_circle(top, angles) / _along_circle(bottom, angles))
    best = float(np.nanmax(values))
    for excess in (1e-7, 1e-5, 1e-3, 0.03, 1.0, 30.0):
        bound = best * (1 + excess)
        if _never_negative(bound**2 * _cosines(bottom), _cosines(top)):
            return bound
    return np.inf


def _along_circle(c: np.ndarray, angles: np.ndarray) -> np.ndarray:
    return np.polynomial.polynomial.polyval(np.exp(-1j * angles), c)


def _cosines(c: np.ndarray) -> np.ndarray:
    """|Σ c_k z^-k|² as a sum of cosines: its coefficients."""
    full = np.correlate(c, c, "full")[len(c) - 1 :]
    full[1:] *= 2
    return full


def _never_negative(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether Σ (one_k - two_k) cos kω is positive for all ω; False where it cannot be told."""
    count = max(len(one), len(two))
    one, two = (np.pad(c, (0, count - len(c))) for c in (one, two))
    c, k = one - two, np.arange(float(count))
    error = 8 * (count + 4) * ULP * float((np.abs(one) + np.abs(two)).sum())
    rest = float((np.abs(c) * k**4).sum()) / 24
    low, up = np.linspace(0, np.pi, 513)[:-1], np.linspace(0, np.pi, 513)[1:]
    for _ in range(40):
        at, half = 0.5 * (low + up), 0.5 * (up - low)
        angles = np.outer(at, k)
        cosine, sine = np.cos(angles), np.sin(angles)
        value, first = cosine @ c, np.abs(sine @ (c * k))
        second, third = np.abs(cosine @ (c * k**2)), np.abs(sine @ (c * k**3))
        least = value - half * first - half**2 / 2 * second - half**3 / 6 * third - half**4 * rest
        open_ = least <= error
        if not open_.any():
            return True
        # Negative, or too near to zero to be told from rounding.
        if (value[open_] <= error).any() or np.count_nonzero(open_) > 50_000:
            return False
        middle, low, up = at[open_], low[open_], up[open_]
        low, up = np.concatenate([low, middle]), np.concatenate([middle, up])
    return False


LONGEST = 2**17
"""Samples of an impulse response that are computed at most to sum its absolute values."""


def absolute_sums(b: np.ndarray, a: np.ndarray) -> tuple[float, float]:
    """Bounds on Σ max(h_t, 0) and Σ max(-h_t, 0) of the response h of a cascade.

    A part is summed; the rest is at most M r^T / (1 - r), as |h_t| ≤ r^t max_{|z| = r} |H|
    (Cauchy's estimate).

    Args:
        b: (sections, terms) numerators.
        a: (sections, terms) denominators; poles inside the unit circle, else infinite.
    """
    rho = max((pole_radius(c) for c in a), default=0.0)
    if rho >= 1:
        return np.inf, np.inf
    order = sum(b.shape[1] - 1 for _ in b)
    radius = min(max(np.sqrt(rho), 0.5), 1 - 1e-15)
    need = order + 16 + np.log(1e-9 * (1 - radius)) / np.log(radius)
    length = int(min(max(need, 64), LONGEST))
    h = np.zeros(length)
    h[0] = 1
    for top, bottom in zip(b, a, strict=True):
        h = np.asarray(signal.lfilter(top, bottom, h))
    tail = _tail(b, a, radius) * radius**length / (1 - radius)
    rounding = 64 * len(b) * ULP * float(np.abs(h).sum()) / (1 - rho)
    extra = tail + rounding
    return float(h[h > 0].sum() + extra), float(-h[h < 0].sum() + extra)


def _tail(b: np.ndarray, a: np.ndarray, radius: float) -> float:
    if b.shape[1] <= 3:
        return float(peak_of_sections(as_sections(b, a)[None], radius)[0])
    return float(np.prod([peak_of_rational(p, q, radius) for p, q in zip(b, a, strict=True)]))


def as_sections(b: np.ndarray, a: np.ndarray) -> np.ndarray:
    """(sections, 6) of numerators and denominators of up to three terms."""
    filled = [np.pad(c, [(0, 0), (0, 3 - c.shape[1])]) for c in (b, a)]
    return np.concatenate(filled, axis=1)


def padded(lanes: Sequence[np.ndarray]) -> np.ndarray:
    """Cascades of different lengths as one array, filled up by sections that do nothing."""
    most = max((len(lane) for lane in lanes), default=0)
    fill = [np.concatenate([lane, np.tile(IDENTITY, (most - len(lane), 1))]) for lane in lanes]
    return np.stack(fill) if fill else np.zeros((0, 0, 6))
