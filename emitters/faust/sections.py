"""Recursive filters in a form that single precision can hold.

A direct form keeps its poles in a1 ≈ -2 and a2 ≈ 1. At 31 Hz and 48 kHz, what matters of them is
1 + a1 + a2 ≈ 1.7e-5, of which rounding to single precision spoils one part in a hundred. The
bilinear transform s = (1 - z^-1) / (1 + z^-1) turns the same section into

    H(s) = (n0 + n1 s + n2 s²) / (d0 + d1 s + d2 s²),
    d0 = 1 + a1 + a2,  d1 = 2 (1 - a2),  d2 = 1 - a1 + a2,  and n likewise from b,

which a trapezoidal state-variable filter computes with g = sqrt(d0 / d2) and k = d1 / (d2 g): all
small numbers stay small numbers, computed here in double precision. Source: A. Simper, "Linear
trapezoidal integrated state variable filter", 2013; V. Zavalishin, "The Art of VA Filter Design",
2018, chapter 4. The updates are written as increments, s ← s + 2 d, for the same reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emitters.faust.text import Atom, Number, number, product, total

HELPERS = {
    "section": """\
// Second-order section, trapezoidal: y = m0 x + m1 band + m2 low; keep() stops the compiler from
// adding the small increments to the coefficient of a state, where single precision loses them.
section(c1, c2, c3, m0, m1, m2) = tick ~ (_, _) : (!, !, _)
with {
    tick(s1, s2, x) = s1 + 2*d1, s2 + 2*d2, m0*x + m1*(s1 + d1) + m2*(s2 + d2)
    with {
        d1 = keep(c2*(x - s2) - c1*s1);
        d2 = keep(c3*(x - s2) + c2*s1);
    };
};
""",
    "one_pole": """\
// First-order section, trapezoidal: y = high x + (low - high) lowpass.
one_pole(c, high, difference) = tick ~ _ : (!, _)
with {
    tick(s, x) = s + 2*d, high*x + difference*(s + d)
    with { d = keep(c*(x - s)); };
};
""",
    "direct": """\
// Second-order section, direct form: y = b0 x + b1 x' + b2 x'' - a1 y' - a2 y''.
direct(b0, b1, b2, a1, a2) = forward : + ~ back
with {
    forward(x) = b0*x + b1*x' + b2*x'';
    back(y) = 0 - a1*y - a2*y';
};
""",
    "rate": """\
rate = float(max(1, fconstant(int fSamplingFreq, <math.h>)));
""",
    "gated": """\
// The same sum, behind a condition that always holds and that the compiler cannot know, a
// different one for each row: so LLVM adds the products of a row in vectors, 10 times faster at 64
// lines.
gated(k, row) = select2(rate > k/65536.0, 0.0, row);
""",
    "within": """\
// The integer n within low and high. Written so that FAUST knows no bounds of n: it takes inputs to
// lie in -1 to 1, and would make a delay line too short for what it derives from that.
within(low, high, n) = select2(n > high, select2(n < low, n, low), high);
""",
    "knob": """\
// The value of a knob at k: at most one step a sample towards it. n counts the steps from the
// default, so the value is the default at rest and the position on arrival, to the bit.
knob(default, low, high, step, k) = select2(n == target, way, position)
with {
    position = max(low, min(high, k));
    target = (position - default)/step;
    n = towards ~ _;
    towards(before) = max(before - 1, min(before + 1, target));
    way = max(low, min(high, default + step*n));
};
""",
    "keep": """\
// The same signal; a barrier that keeps the compiler from expanding the sum behind it.
keep(x) = attach(x, 0);
""",
}
"""Definitions that the text uses, by name; only those in use are written."""


@dataclass(frozen=True, slots=True)
class Call:
    """A filter as a helper and its settings."""

    helper: str
    settings: tuple[Atom, ...]

    def text(self, x: str) -> str:
        """The application of the filter to a signal.

        By a wire, not as an argument: FAUST would write the whole chain before it into the filter's
        recursion, once a section, which made ten sections compile for 59 s in place of 1.5 s.
        """
        values = [s if isinstance(s, str) else number(s) for s in self.settings]
        return f"{x} : {self.helper}({', '.join(values)})"


def second_order(b: Sequence[float], a: Sequence[float]) -> Call | None:
    """The call for a stable section with numbers for coefficients; None if it does nothing."""
    b0, b1, b2 = (v / a[0] for v in b)
    a1, a2 = a[1] / a[0], a[2] / a[0]
    if a2 == 0 and b2 == 0:
        return first_order((b0, b1), (1.0, a1))
    d0, d1, d2 = 1 + a1 + a2, 2 * (1 - a2), 1 - a1 + a2
    if not (d0 > 0 and d1 > 0 and d2 > 0):
        # A pole on or outside the unit circle: the transform divides by zero or its root.
        return Call("direct", (b0, b1, b2, a1, a2))
    if (b0, b1, b2) == (1.0, a1, a2):
        return None
    g = math.sqrt(d0 / d2)
    k = d1 / (d2 * g)
    scale = 1 / (1 + g * (g + k))
    high, band, low = (b0 - b1 + b2) / d2, 2 * (b0 - b2) / (d2 * g), (b0 + b1 + b2) / d0
    settings = (g * (g + k) * scale, g * scale, g * g * scale)
    return Call("section", (*settings, high, band - k * high, low - high))


def first_order(b: Sequence[float], a: Sequence[float]) -> Call | None:
    """As `second_order`, for b0, b1 and 1, a1."""
    (b0, b1), a1 = (v / a[0] for v in b), a[1] / a[0]
    if a1 == 0 and b1 == 0 and b0 == 1:
        return None
    if not -1 < a1 < 1:
        return Call("direct", (b0, b1, 0.0, a1, 0.0))
    high, low = (b0 - b1) / (1 - a1), (b0 + b1) / (1 + a1)
    return Call("one_pole", ((1 + a1) / 2, high, low - high))


SETTINGS = {"section": 6, "one_pole": 3, "direct": 5, "through": 0}
"""How many settings the kinds of filters have; "through" does nothing."""


def kind_of(b: Sequence[float], a: Sequence[float]) -> str:
    """The kind of filter that `second_order` makes of a section."""
    call = second_order(b, a)
    return "through" if call is None else call.helper


def filter_settings(kind: str, b: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The settings of many filters at once, as `second_order` computes them, to the bit.

    A section may take on the coefficients of a simpler filter too.

    Args:
        kind: A key of `SETTINGS`.
        b: (filters, 3).
        a: (filters, 3).

    Returns:
        Settings (filters, `SETTINGS[kind]`), and whether each filter can be of the kind.
    """
    with np.errstate(all="ignore"):
        b0, b1, b2 = (b / a[:, :1]).T
        a1, a2 = (a[:, 1:] / a[:, :1]).T
        if kind == "through":
            return np.empty((len(b), 0)), (b0 == 1) & (b1 == a1) & (b2 == a2)
        if kind == "direct":
            return np.stack((b0, b1, b2, a1, a2), 1), np.ones(len(b), bool)
        if kind == "one_pole":
            high, low = (b0 - b1) / (1 - a1), (b0 + b1) / (1 + a1)
            fits = (a2 == 0) & (b2 == 0) & (a1 > -1) & (a1 < 1)
            return np.stack(((1 + a1) / 2, high, low - high), 1), fits
        d0, d1, d2 = 1 + a1 + a2, 2 * (1 - a2), 1 - a1 + a2
        g = np.sqrt(d0 / d2)
        k = d1 / (d2 * g)
        scale = 1 / (1 + g * (g + k))
        high, band, low = (b0 - b1 + b2) / d2, 2 * (b0 - b2) / (d2 * g), (b0 + b1 + b2) / d0
        steps = (g * (g + k) * scale, g * scale, g * g * scale)
        found = np.stack((*steps, high, band - k * high, low - high), 1)
        return found, (d0 > 0) & (d1 > 0) & (d2 > 0)


def is_number(value: Atom) -> bool:
    """Whether a coefficient is known while it is written, as a literal or as data."""
    return isinstance(value, Number) or not isinstance(value, str)


def direct_form(
    b: Sequence[Atom], a: Sequence[Atom], extra: Sequence[tuple[int, str]], x: str
) -> str:
    """Any order, coefficients that may be signals, and an excitation of the state: as text.

    y = sum_k b_k x[t - k] + extra - sum_{k ≥ 1} a_k y[t - k]; a[0] must be 1.
    """
    feedforward = total([*(product(c, delayed(x, k)) for k, c in enumerate(b)), *extra])
    terms = [product(c, delayed("y", k)) for k, c in enumerate(a[1:])]
    if not any(sign for sign, _ in terms):
        return feedforward
    back = total((-sign, text) for sign, text in terms)
    return f"({feedforward}) : + ~ \\(y).({back})"


def delayed(x: str, samples: int) -> str:
    """A signal some samples ago."""
    return x if samples == 0 else f"{x}'" if samples == 1 else f"({x}@{samples})"
