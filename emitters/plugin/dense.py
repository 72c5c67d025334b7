"""Dense matrices in FAUST's C, rewritten so that every C compiler adds several rows at once.

FAUST writes a row of a matrix as one long sum, each row with its terms in another order, and a C
compiler may not reorder sums: it multiplies one number at a time. Here rows over the same signals
become one product of a matrix with a vector, column by column,

    y_i = a_i0 s_0 + a_i1 s_1 + ...        for all i at once,

so that lanes of vector registers are rows, and the terms of each row are added in one order that
does not depend on how many lanes there are: results are the same to the bit on every processor.

Only rows behind a gate (`select2` in FAUST, see docs/dense-matrices.md) are looked at, and what is
not of the form above stays as FAUST wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

FEWEST = 4
"""Rows that make it worth while."""
LANES = 8
"""Rows are filled up to a multiple of this with zeros."""
GATED = re.compile(r"\(\(dsp->(iConst\d+)\) \? ")
TOKEN = re.compile(r"\s*(?:((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?f?)|([A-Za-z_]\w*)|([-+*()]))")
LOCAL = re.compile(r"^(\t*)(?:float|double) (f(?:Temp|Rec)\d+) = ", re.MULTILINE)
SIGNAL = re.compile(r"f(?:Temp|Rec)\d+")


@dataclass(frozen=True, slots=True)
class Row:
    """A gated sum: `text[start:end]` is Σ coefficient · signal.

    Attributes:
        start: Its first character.
        end: One behind its last.
        terms: The coefficient of each signal, as C has it, or with a minus in front.
    """

    start: int
    end: int
    terms: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows over the same signals.

    Attributes:
        signals: In the order in which they are added.
        rows: In the order of the text.
    """

    signals: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def height(self) -> int:
        """Rows, with those that fill up."""
        return -(-len(self.rows) // LANES) * LANES

    @property
    def size(self) -> int:
        """Numbers of the matrix in memory."""
        return self.height * len(self.signals)

    def place(self, row: int, column: int) -> int:
        """Where a number is in memory."""
        return column * self.height + row


def groups_of(text: str, is_wanted: Callable[[str], bool]) -> list[Group]:
    """The matrices of a text.

    Args:
        text: The function `compute` of FAUST's C.
        is_wanted: Whether a coefficient may stand in a matrix.
    """
    found: dict[tuple[str, ...], list[Row]] = {}
    for match in GATED.finditer(text):
        end = _end(text, match.end())
        terms = None if end is None else _terms(text[match.end() : end])
        if end is not None and terms and all(map(is_wanted, terms.values())):
            signals = tuple(sorted(terms, key=_key))
            found.setdefault(signals, []).append(Row(match.end(), end, terms))
    defined = {m[2]: (m.start(), m[1]) for m in LOCAL.finditer(text)}
    return [
        Group(signals, tuple(rows))
        for signals, rows in found.items()
        if len(rows) >= FEWEST and _are_known(text, signals, rows, defined)
    ]


def _are_known(
    text: str, signals: Sequence[str], rows: Sequence[Row], defined: Mapping[str, tuple[int, str]]
) -> bool:
    """Whether all signals are there before the first row, in the same block."""
    line = text.rindex("\n", 0, rows[0].start) + 1
    indent = text[line : len(text) - len(text[line:].lstrip("\t"))]
    return all(s in defined and defined[s][0] < line and defined[s][1] == indent for s in signals)


def rewritten(
    text: str, groups: Sequence[Group], matrices: Sequence[str], real: str, ways: str
) -> str:
    """The text with products of matrices in place of rows.

    Args:
        text: As for `groups_of`.
        groups: What to replace.
        matrices: The C expression of each one's numbers.
        real: "float" or "double".
        ways: The last argument of `adac_product`.
    """
    edits: list[tuple[int, int, str]] = []
    for g, group in enumerate(groups):
        first = text.rindex("\n", 0, group.rows[0].start) + 1
        sizes = f"{len(group.signals)}, {group.height}"
        product = (
            f"\t\t\tconst {real} adac_s{g}[] = {{{', '.join(group.signals)}}};\n"
            f"\t\t\t{real} adac_y{g}[{group.height}];\n"
            f"\t\t\tadac_product({matrices[g]}, adac_s{g}, adac_y{g}, {sizes}, {ways});\n"
        )
        edits.append((first, first, product))
        for i, row in enumerate(group.rows):
            edits.append((row.start, row.end, f"adac_y{g}[{i}]"))
    parts, at = [], 0
    for start, end, new in sorted(edits):
        parts += [text[at:start], new]
        at = end
    return "".join((*parts, text[at:]))


def _key(name: str) -> tuple[str, int]:
    return name.rstrip("0123456789"), int(re.sub(r"\D", "", name) or 0)


def _end(text: str, start: int) -> int | None:
    """Where ` : 0.0` follows, outside of parentheses."""
    depth = 0
    for at in range(start, len(text)):
        character = text[at]
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == ":" and depth == 0:
            is_zero = re.match(r": 0\.0f?\)", text[at:])
            return at - 1 if is_zero else None
        if depth < 0 or character in ";?":
            return None
    return None


def _terms(text: str) -> dict[str, str] | None:
    """Coefficients by signal; None if it is no such sum."""
    tokens: list[str] = []
    at = 0
    text = text.strip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            return None
        tokens.append(match[0].strip())
        at = match.end()
    found: dict[str, str] = {}
    try:
        rest = _sum(tokens, 0, 1, found)
    except ValueError:
        return None
    return found if rest == len(tokens) else None


def _sum(tokens: list[str], at: int, sign: int, found: dict[str, str]) -> int:
    """Reads a sum; returns the position behind it."""
    here = sign
    while True:
        while at < len(tokens) and tokens[at] == "-":
            here, at = -here, at + 1
        if at < len(tokens) and tokens[at] == "(":
            at = _sum(tokens, at + 1, here, found)
            if at >= len(tokens) or tokens[at] != ")":
                raise ValueError
            at += 1
        else:
            at = _product(tokens, at, here, found)
        if at >= len(tokens) or tokens[at] not in "+-":
            return at
        here = sign if tokens[at] == "+" else -sign
        at += 1


def _product(tokens: list[str], at: int, sign: int, found: dict[str, str]) -> int:
    factors = []
    while at < len(tokens):
        if not re.match(r"[\w.]", tokens[at]):
            raise ValueError
        factors.append(tokens[at])
        at += 1
        if at >= len(tokens) or tokens[at] != "*":
            break
        at += 1
    signals = [f for f in factors if SIGNAL.fullmatch(f)]
    others = [f for f in factors if not SIGNAL.fullmatch(f)]
    if len(signals) != 1 or len(others) > 1 or signals[0] in found:
        raise ValueError
    found[signals[0]] = ("-" if sign < 0 else "") + (others[0] if others else "1.0")
    return at


__all__ = ["LANES", "Group", "Row", "groups_of", "rewritten"]
