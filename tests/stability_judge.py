"""Is a loop stable? Told without the certificate: by poles, by long simulation, and by attack.

And whether what a certificate says of it is false: a `stable` that is not, an `unstable` that is
not, a peak that is passed, a decay that takes longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from adversarial_case import Loop
from scipy.linalg import matrix_balance
from stability_attack import attack
from stability_machine import Machine
from stability_poles import poles
from stability_walk import NotLinearError, StateSpace, state_space

import ir

Array = np.ndarray
DOUBLINGS = 20
"""A long simulation lasts 2^20 samples: 22 seconds at 48 kHz."""
ROUNDING = 1e-12
"""A pole so little outside grows by 60 dB in years: lossless is what it may be called."""
CROSS_CHECKED = 160
"""Up to so many states, what is known by construction is compared with poles as well."""


@dataclass(frozen=True)
class Judgement:
    """What is true of a loop.

    Attributes:
        truth: "stable", "unstable", "marginal", "bounded", "undecided" or "unknown"; see `Loop`.
        why: How that is known.
        radius: Magnitude of the outermost pole; NaN where there are none.
        frequency: Of that pole, in cycles a sample.
        growth: Logarithm of what became of the largest state over 2^20 samples; NaN if not run.
    """

    truth: str
    why: str
    radius: float = math.nan
    frequency: float = math.nan
    growth: float = math.nan


def judge(loop: Loop, effort: float = 0.0) -> Judgement:
    """Judges a loop; with an effort above zero, attacks it where nothing is known of it.

    Raises:
        AssertionError: two ways of judging contradict each other.
    """
    if loop.linear or loop.truth == "poles":
        return _linear(loop)
    space = _space(loop.program)
    if space is not None:
        # Known by construction, but of few states: poles must say the same.
        found = _linear(loop)
        if loop.truth == "unknown":
            return found
        assert found.truth in (loop.truth, "undecided"), (loop.family, loop.why, found)
        return Judgement(loop.truth, loop.why, found.radius, found.frequency, found.growth)
    if loop.truth != "unknown" or not effort:
        return Judgement(loop.truth, loop.why)
    found = attack(loop.program, effort=effort)
    if found.grown:
        return Judgement("unstable", f"attacked by {found.how}, {found.time} samples")
    return Judgement("unknown", loop.why)


def _space(program: ir.Program) -> StateSpace | None:
    try:
        space = state_space(program)
    except NotLinearError:
        return None
    return space if len(space.A) <= CROSS_CHECKED else None


def _linear(loop: Loop) -> Judgement:
    space = state_space(loop.program)
    found = poles(loop.program, space)
    growth = long_run(space.A)
    # Rounding in the products moves the growth; poles within 1e-5 of the circle it does not judge.
    if abs(math.log(max(found.radius, 1e-300))) > 1e-5 and found.verdict in ("stable", "unstable"):
        stable = found.verdict == "stable"
        if (growth < 0) is not stable:
            # Far from normal, rounding decides in double precision.
            growth = long_run(space.A, np.longdouble)
        agrees = growth < 0 if stable else growth > 0
        # Far from normal, a slow decay may still stand above where it began.
        slow = abs(math.log(max(found.radius, 1e-300))) * 2**DOUBLINGS < 100
        assert agrees or slow, (loop.family, found, growth)
    why = f"outermost pole {found.radius!r}" + (", exact" if found.exact else "")
    return Judgement(found.verdict, why, found.radius, found.frequency, growth)


def balanced(A: Array) -> Array:
    """In units of the states that make rows and columns alike; poles and decays stay."""
    with np.errstate(invalid="ignore"):  # of scales that SciPy casts to integers, and drops
        return matrix_balance(A)[0] if len(A) else A


def long_run(A: Array, kind: type = np.float64) -> float:
    """log of the norm of A^(2^20): 2^20 samples of silence from every state at once.

    In balanced units of the states, which poles do not notice.
    """
    A, total = balanced(A).astype(kind), 0.0
    for _ in range(DOUBLINGS):
        size = float(np.max(np.abs(A), initial=0.0))
        if size == 0:
            return -math.inf
        A = A / size
        A = A @ A
        total = 2 * (total + math.log(size))
    size = float(np.max(np.abs(A), initial=0.0))
    return total + math.log(size) if size else -math.inf


# What a certificate says.


class Says(Protocol):
    """What is read of a certificate."""

    @property
    def verdict(self) -> str:
        """One of "stable", "lossless", "unstable", "unproven"."""
        ...

    @property
    def peak(self) -> Sequence[float]:
        """Bounds on the magnitude of each scalar output for inputs within ±1."""
        ...

    @property
    def loops(self) -> Sequence[Any]:
        """Each with `decay_seconds`: in which what is in it falls by 60 dB; or None."""
        ...


def falsehoods(
    loop: Loop, judgement: Judgement, certificate: Says, effort: float = 1.0
) -> list[str]:
    """What is false in a certificate, in sentences; empty if nothing is.

    Args:
        loop: What was certified.
        judgement: What is true of it.
        certificate: What is said of it.
        effort: Of the attack.
    """
    truth, verdict, peaks, found = judgement.truth, certificate.verdict, certificate.peak, []
    if verdict == "stable" and truth in ("unstable", "marginal"):
        found.append(f"called stable, but {truth}: {judgement.why}")
    if verdict == "unstable" and truth in ("stable", "marginal"):
        found.append(f"called unstable, but {truth}: {judgement.why}")
    if verdict == "lossless" and truth == "unstable" and not judgement.radius < 1 + ROUNDING:
        found.append(f"called lossless, but unstable: {judgement.why}")
    if verdict != "stable" or found:
        return found
    decays = [p.decay_seconds for p in certificate.loops]
    seconds = None if None in decays else max(decays, default=0.0)
    space = _space(loop.program)
    if space is not None:
        found += _linear_peak(space, peaks)
        if seconds is not None:
            found += _linear_decay(space, loop.program, seconds)
        return found
    attacked = attack(loop.program, peaks, effort=effort)
    if attacked.found:
        found.append(
            f"called stable, but {attacked.how} reach {attacked.peaks} over {tuple(peaks)} "
            f"after {attacked.time} samples"
        )
    if seconds is not None and loop.truth != "unknown":
        # Random programs may make much of little between a loop and what is heard.
        late = _remembers(loop.program, seconds)
        if late is not None:
            found.append(f"forgets in {seconds} s, it says, but {late}")
    return found


def worst_peaks(space: StateSpace, length: int) -> Array:
    """The most each scalar output reaches in `length` samples: input sign(h[T - t]) gives it."""
    inputs = space.B.shape[1] - 1
    state = space.B[:, :inputs]
    total = np.abs(space.D[:, :inputs]).sum(1)
    # What comes from initial values and from offsets adds to it at each T.
    free, best = space.x0, np.zeros(len(space.C))
    for _ in range(length):
        best = np.maximum(best, total + np.abs(space.C @ free + space.D[:, -1]))
        total = total + np.abs(space.C @ state).sum(1)
        state = space.A @ state
        free = space.A @ free + space.B[:, -1]
    return best


def _linear_peak(space: StateSpace, peaks: Sequence[float]) -> list[str]:
    worst = worst_peaks(space, 3000 if len(space.A) < 60 else 1000)
    # 3,000 products of matrices of up to 160 states, each to 1e-16.
    return [
        f"an input within ±1 reaches {float(top)!r} over the peak {peak!r}"
        for top, peak in zip(worst, peaks, strict=True)
        if top > peak * (1 + 1e-9) + 1e-12
    ]


def _linear_decay(space: StateSpace, program: ir.Program, seconds: float) -> list[str]:
    """Each `seconds` must take 60 dB from what is left, once it has begun to fade.

    That is the slope of the decay, which is what a reverberation time is; a loop far from normal
    may swell before. Three times in a row are looked at, after four in which modes that fade
    faster have gone; 20 of their 180 dB are left to beats of modes. What delays hold that are no
    loop, and once round, is added to each as the number of states.
    """
    states = len(space.A)
    length = math.ceil(seconds * program.graph.sample_rate) + states
    if length > 100_000:
        return []  # Rounding in a power of A would be heard.
    once = np.linalg.matrix_power(balanced(space.A), length)
    before = np.linalg.matrix_power(once, 4)
    left = float(np.linalg.norm(before))
    after = float(np.linalg.norm(before @ np.linalg.matrix_power(once, 3)))
    # Products of that many matrices are not known below a rounding of where they began.
    if left < 1e-200 or after <= 1e-8 * left:
        return []
    fallen = -20 * math.log10(after / left)
    return [f"three times {seconds} s take {fallen:.1f} dB, not 180"]


def _remembers(program: ir.Program, seconds: float) -> str | None:
    """Whether 200 samples of noise still show `seconds` later, in silence."""
    begin = seconds * program.graph.sample_rate
    if not begin < 15000 or not program.graph.inputs:
        return None
    rng = np.random.default_rng(0)
    types = [program.graph.nodes[k].type for k in program.graph.inputs]
    machine = Machine(program, 2)
    top, late = 0.0, 0.0
    for t in range(int(begin) + 400):
        xs = []
        for type_ in types:
            x = rng.uniform(-1, 1, (*type_.shape, 1))
            if type_.kind != "real":
                x = np.rint(x).astype(int) if type_.kind == "int" else x > 0
            xs.append(np.concatenate([x & False if type_.kind == "bool" else x * 0] * 2, axis=-1))
            if t < 200:
                xs[-1][..., 0] = x[..., 0]
        with np.errstate(all="ignore"):
            for k, y in zip(program.graph.outputs, machine.step(*xs), strict=True):
                if program.graph.nodes[k].type.kind == "real" and y.size:
                    gap = float(np.max(np.abs(y[..., 0] - y[..., 1])))
                    top = max(top, gap)
                    if t >= 200 + begin:
                        late = max(late, gap)
    # Below a billionth of full scale it is rounding.
    if late > 1e-3 * top and late > 1e-9:
        return f"what differed from silence by {top} still does by {late}"
    return None
