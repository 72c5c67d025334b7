"""What a small gain says about a loop's signals: how loud they get, and how fast they fade."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ir.certificate.exact import Result
from ir.certificate.filters import pole_radius
from ir.certificate.intervals import Interval
from ir.certificate.small_gain import absolute_radius, scale, scaled_input
from ir.certificate.system import Atom, System, energy_gains, lane_gains, peak_gains

FIRST, STEPS = 16, 7
"""How often a rate is quartered until one passes, and how often it is made better then."""
REFINEMENTS = 30


@dataclass(frozen=True, slots=True)
class Bounds:
    """A proof by small gain, or how far it is from one.

    Attributes:
        gain: Of the worst loop, in the units of its scaling; the proof holds where it is below one.
        radius: |z| within which all modes lie: signals fade at least as radius^t.
        returns: |w_a| at most, for inputs within their ranges; infinite without a proof.
        heard: Ranges of nodes behind the loop, where more is known than by those of its signals.
    """

    gain: float
    radius: float
    returns: np.ndarray
    heard: Mapping[int, Interval] = field(default_factory=dict)


class _Energy:
    """Gains of energy, and scaled singular values."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.C, self.R = system.joints()
        self.groups = list(system.loops())
        self.known: dict[int, np.ndarray] = {}

    def gains(self, radius: float) -> np.ndarray:
        return energy_gains(self.system, radius)

    def worst(self, lanes: np.ndarray) -> float:
        most = 0.0
        for i, group in enumerate(self.groups):
            at = np.ix_(group, group)
            d, value = scale(self.C[at], self.R[at], lanes[group], self.known.get(i))
            if value < 1 or i not in self.known:
                self.known[i] = d
            most = max(most, value)
        return most

    def solve(self, group: list[int], lanes: np.ndarray, outside: np.ndarray) -> np.ndarray:
        at = np.ix_(group, group)
        i = self.groups.index(group)
        d, value = scale(self.C[at], self.R[at], lanes[group], self.known.get(i))
        return scaled_input(d, outside, value) if value < 1 else np.full(len(group), np.inf)


class _Absolute(_Energy):
    """Sums of absolute values, and Perron's theorem."""

    def gains(self, radius: float) -> np.ndarray:
        return peak_gains(self.system, radius)

    def hopeless(self) -> bool:
        """Whether sums of absolute values cannot do: they are no less than |H| at 0 and at π."""
        least = np.ones(len(self.system.lanes))
        for i, lane in enumerate(self.system.lanes):
            for a in lane:
                least[i] *= _at_ends(self.system.atoms[a])
            least[i] *= np.prod(self.system.links(lane))
        P = np.where(np.isfinite(least), least, 0.0) * self.system.between
        for group in self.groups:
            if len(group) > 1 and absolute_radius(P[np.ix_(group, group)])[1] > 1 + 1e-6:
                return True
        return False

    def worst(self, lanes: np.ndarray) -> float:
        most = 0.0
        for group in self.groups:
            P = self.system.between[np.ix_(group, group)] * lanes[group]
            most = max(most, absolute_radius(P)[1] if np.isfinite(P).all() else np.inf)
        return most

    def solve(self, group: list[int], lanes: np.ndarray, outside: np.ndarray) -> np.ndarray:
        P = self.system.between[np.ix_(group, group)] * lanes[group]
        if not np.isfinite(P).all():
            return np.full(len(group), np.inf)
        x, value = absolute_radius(P)
        if value >= 1:
            return np.full(len(group), np.inf)
        return x * float((outside / x).max(initial=0.0)) / (1 - value)


def _at_ends(atom: Atom) -> float:
    """The larger of |H| at 0 and at π of a filter, and the gain of what is none."""
    if atom.filter is None:
        return atom.gain
    ends = []
    for sign in (1.0, -1.0):
        b, a = (np.prod((c * sign ** np.arange(c.shape[1])).sum(1)) for c in atom.filter)
        ends.append(abs(b / a) if a else 0.0)
    return float(max(ends))


def by_energy(system: System, rate: bool = True) -> Bounds:
    """Scaled small gain in the energy of signals.

    At each time t the sum of squares up to t, weighted by r^(t - s), is bounded; so is then each
    value, by it: |x_s| ≤ X gives ‖x‖ ≤ X / sqrt(1 - r²). `rate` False leaves out how fast signals
    fade, where that is not needed for the rest.
    """
    return _bounds(system, _Energy(system), lambda r: 1 / np.sqrt(1 - r * r), rate)


def by_peaks(system: System, rate: bool = True) -> Bounds:
    """Small gain in the largest absolute value of signals, which no motion of delays changes."""
    measure = _Absolute(system)
    if measure.hopeless():
        return Bounds(np.inf, 1.0, np.full(len(system.atoms), np.inf))
    return _bounds(system, measure, lambda r: 1.0, rate)


def by_poles(
    system: System, results: Sequence[tuple[Sequence[int], Result]], gain: float
) -> Bounds:
    """What the exact test of every loop of a linear system says."""
    measure = _Exact(system, results)
    radius = max(result.radius for _, result in results)
    counted = [i for group, _ in results for i in group]
    radius = _with_beside(system, counted, radius)
    # What is stable together may have parts that are not: their gains on the circle count.
    inside, held = energy_gains(system, radius), energy_gains(system, radius, inside=False)
    each = inside.copy()
    for i in counted:
        each[list(system.lanes[i])] = held[list(system.lanes[i])]
    lanes = lane_gains(system, each, radius)
    lanes[counted] = lane_gains(system, each, radius, inside=False)[counted]
    weight = 1 / np.sqrt(1 - radius * radius) if radius < 1 else np.inf
    return Bounds(gain, radius, _returns(system, measure, each, lanes, weight))


def _with_beside(system: System, counted: Sequence[int], radius: float) -> float:
    """The radius of a loop's modes, made large enough for the filters beside the loops.

    These have poles of their own, within the circle or on no smaller one. Halfway from the largest
    of them to one leaves room for the powers of t that poles at the same place bring.
    """
    beside = {a for i, lane in enumerate(system.lanes) if i not in counted for a in lane}
    filters = [f for a in beside if (f := system.atoms[a].filter) is not None]
    rho = max((pole_radius(d) for _, a in filters for d in a), default=0.0)
    return max(radius, 0.5 * (1 + rho)) if rho >= radius else radius


class _Exact(_Energy):
    """‖(I - S)^-1‖ on the smallest circle that is known to hold all poles."""

    def __init__(self, system: System, results: Sequence[tuple[Sequence[int], Result]]) -> None:
        super().__init__(system)
        self.results = {tuple(group): result for group, result in results}

    def solve(self, group: list[int], lanes: np.ndarray, outside: np.ndarray) -> np.ndarray:
        found = self.results[tuple(group)]
        d = found.scaling
        return found.gain * float(np.sqrt(((d * outside) ** 2).sum())) / d


def _bounds(
    system: System, measure: _Energy, weight: Callable[[float], float], wanted: bool = True
) -> Bounds:
    nothing = np.full(len(system.atoms), np.inf)

    def worst(radius: float) -> float:
        return measure.worst(lane_gains(system, measure.gains(radius), radius))

    gain = worst(1.0)
    if not gain < 1:
        return Bounds(gain, 1.0, nothing)
    peaks = isinstance(measure, _Absolute)
    rate = _fastest(system, worst, gain) if wanted or not peaks else 0.0
    counted = [i for group in measure.groups for i in group]
    fades = _with_beside(system, counted, float(np.exp(-rate)))
    # Between the circle, where the gain is least, and the smallest one, where few echoes add up.
    radius = 1.0 if peaks else float(np.exp(-rate / 3))
    if radius == 1.0 and not peaks:
        return Bounds(gain, fades, nothing)
    each = measure.gains(radius)
    lanes = lane_gains(system, each, radius)
    returns = _returns(system, measure, each, lanes, weight(radius))
    return Bounds(gain, fades, returns)


def _fastest(system: System, worst: Callable[[float], float], gain: float) -> float:
    """The largest rate found, r = e^-rate, at which the gain is still below one."""
    if gain == 0:
        return 36.0  # Everything ends at once, as far as double precision can tell.
    longest = max((sum(system.atoms[a].delay[1] for a in lane) for lane in system.lanes), default=1)
    low, high = 0.0, np.inf
    guess = -np.log(gain) / max(longest, 1)
    tried = 0
    for _ in range(FIRST + STEPS):
        if guess > 30 or tried > STEPS:
            break
        tried += bool(low)
        if worst(float(np.exp(-guess))) < 1:
            low = guess
            guess = 2 * guess if high == np.inf else 0.5 * (low + high)
        else:
            high = guess
            guess = 0.5 * (low + high) if low else 0.25 * guess
        if high < 1.02 * low:
            break
    return low


Solve = Callable[[list[int], np.ndarray, np.ndarray], np.ndarray]
"""(lanes that hear each other, gains of all lanes, what enters them) -> what they carry."""


def _returns(
    system: System, measure: _Energy, each: np.ndarray, lanes: np.ndarray, weight: float
) -> np.ndarray:
    return returns_of(system, measure.groups, measure.solve, each, lanes, weight)


def returns_of(
    system: System,
    groups: Sequence[list[int]],
    solve: Solve,
    each: np.ndarray,
    lanes: np.ndarray,
    weight: float,
) -> np.ndarray:
    """|w_a| at most: lanes that hear each other are solved together, the rest follows."""
    with np.errstate(invalid="ignore"):
        entering = np.where(system.outside > 0, system.outside * weight, 0.0)
        injected = np.where(system.injected > 0, system.injected * weight, 0.0)
    own = np.zeros(len(system.lanes))
    for i, lane in enumerate(system.lanes):
        carried = 0.0
        for j, a in enumerate(lane):
            if j:
                carried = system.size[a, lane[j - 1]] * carried + entering[a]
            carried = (each[a] * carried if carried else 0.0) + injected[a]
        own[i] = carried
    heads = [lane[0] for lane in system.lanes]
    between = system.between
    v = np.zeros(len(system.lanes))
    looped = {tuple(group) for group in groups}
    for group in system.blocks:
        with np.errstate(invalid="ignore"):
            heard = between[group] * (lanes * v + own)
        outside = entering[heads][group] + np.where(between[group] > 0, heard, 0.0).sum(1)
        if tuple(group) in looped:
            solved = solve(group, lanes, outside)
            inner = between[np.ix_(group, group)] * lanes[group]
            for _ in range(REFINEMENTS):
                if not np.isfinite(solved).all():
                    break
                solved = np.minimum(solved, (inner @ solved + outside) * (1 + 1e-12))
            v[group] = solved
        else:
            v[group] = outside
    return _along(system, each, v, entering, injected)


def _along(
    system: System,
    each: np.ndarray,
    v: np.ndarray,
    entering: np.ndarray,
    injected: np.ndarray,
) -> np.ndarray:
    found = np.zeros(len(system.atoms))
    for i, lane in enumerate(system.lanes):
        carried = v[i]
        for j, a in enumerate(lane):
            if j:
                carried = system.size[a, lane[j - 1]] * carried + entering[a]
            with np.errstate(invalid="ignore"):
                carried = each[a] * carried if carried else 0.0
            carried += injected[a]
            found[a] = carried
    return found * (1 + 1e-9)
