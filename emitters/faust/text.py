"""Numbers, sums and names as FAUST text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from ir.errors import IRError

Atom = bool | int | float | str
"""A number, or the name of a signal."""


class Number(str):
    """The name of a number that the text reads as data.

    Attributes:
        source: Where it comes from.
        value: What it is at the time of writing.
    """

    __slots__ = ("source", "value")
    source: tuple[int | str, int]
    value: float

    def __new__(cls, name: str, source: tuple[int | str, int], value: float) -> Number:
        """A name that knows what it stands for."""
        made = super().__new__(cls, name)
        made.source, made.value = source, value
        return made


GROUP = 64
"""Terms in one sum; longer left-associated sums make FAUST's front end explode."""

KEYWORDS = """
process with letrec where environment component library import declare case int float any mem
prefix attach enable control rdtable rwtable select2 select3 button checkbox hslider vslider
nentry hgroup vgroup tgroup hbargraph vbargraph soundfile waveform route ondemand par seq sum
prod inputs outputs ffunction fconstant fvariable abs acos asin atan atan2 ceil cos exp floor
fmod log log10 max min pow remainder rint round sin sqrt tan xor assertbounds lowest highest
singleprecision doubleprecision quadprecision fixedpointprecision upsampling downsampling
"""
OURS = """
keep guard finite gated rate knob section one_pole direct within impulse model
expm1 log1p sinh cosh tanh asinh acosh atanh cbrt erf erfc ma_tanh ma_atanh ma_erfc
"""
RESERVED = frozenset((KEYWORDS + OURS).split())
"""Words of FAUST, and our helpers and functions of the C library: no signal may be called so."""


def number(value: bool | int | float) -> str:
    """A literal that reads back as the same float64; negative ones in parentheses."""
    if isinstance(value, (bool, int)):
        if not -(2**31) <= value < 2**31:
            raise IRError(f"The integer {value} does not fit FAUST's 32 bits.")
        text = str(int(value))
    else:
        if not math.isfinite(value):
            raise IRError(f"The number {value} cannot be written in FAUST.")
        text = repr(float(value))
    return f"({text})" if text.startswith("-") else text


def atom(value: Atom) -> str:
    """A name as it is, a number as a literal."""
    return value if isinstance(value, str) else number(value)


def product(a: Atom, b: Atom) -> tuple[int, str]:
    """Sign and text of a product; (0, "") where a factor is exactly zero."""
    sign, factors = 1, []
    for value in (b, a) if isinstance(a, str) else (a, b):  # numbers first
        if isinstance(value, str):
            factors.append(value)
            continue
        if value == 0:
            return 0, ""
        if value < 0 and abs(value) != 2**31:  # which as an integer has no positive counterpart
            sign, value = -sign, -value
        if value != 1:
            factors.append(number(value))
    one = "1.0" if isinstance(a, float) or isinstance(b, float) else "1"
    return sign, "*".join(factors) or one


def balanced(terms: Sequence[tuple[int, str]]) -> str:
    """The text of a sum added up in pairs, which FAUST's front end takes faster than a chain."""
    if len(terms) <= 2:
        return _joined(terms)
    half = (len(terms) + 1) // 2
    return f"({balanced(terms[:half])}) + ({balanced(terms[half:])})"


def total(terms: Iterable[tuple[int, str]], zero: str = "0.0") -> str:
    """The text of a sum of signed terms, in groups behind barriers if it is long."""
    kept = [(sign, text) for sign, text in terms if sign]
    if not kept:
        return zero
    while len(kept) > GROUP:
        kept = [(1, f"keep({_joined(chunk)})") for chunk in chunks(kept)]
    return _joined(kept)


def chunks(terms: Sequence[tuple[int, str]]) -> list[Sequence[tuple[int, str]]]:
    """Terms in as few groups of at most `GROUP` as can be, of equal size but for the last."""
    count = -(-len(terms) // GROUP)
    size = -(-len(terms) // count)
    return [terms[k : k + size] for k in range(0, len(terms), size)]


def _joined(terms: Sequence[tuple[int, str]]) -> str:
    (sign, first), rest = terms[0], terms[1:]
    if sign < 0:
        literal, _, factor = first.partition("*")
        first = f"(-{literal})*{factor}" if factor and literal[0].isdigit() else f"0 - {first}"
    return first + "".join(f" {'-' if sign < 0 else '+'} {text}" for sign, text in rest)


def identifier(name: str, fallback: str) -> str:
    """A FAUST identifier from a module path."""
    text = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or fallback
    if not re.match(r"[A-Za-z]", text):
        text = f"x_{text}"
    return f"{text}_" if text in RESERVED else text


def quoted(text: str) -> str:
    """A string for `declare`."""
    return '"' + re.sub(r"[^ -!#-\[\]-~]", "_", text) + '"'


def comment(text: str) -> str:
    """A line of comment."""
    return "// " + re.sub(r"[^ -~]", "_", text)
