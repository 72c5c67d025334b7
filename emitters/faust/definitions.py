"""The lines of a program: where sums get barriers, and how lines are cut into functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WORD = re.compile(r"[A-Za-z_]\w*")

MANY_USES = 14
"""A signal read this often gets a barrier too: without one, each reader computes or loads it anew
(a dense loop of 64 lines with a one-pole a line ran at 17 times real time in place of 106)."""

MANY_PATHS = 4096
"""FAUST's front end takes time in proportion to the ways from a name to its function's arguments. A
butterfly doubles them at each level: three Hadamard matrices of 64 in a row have 2^18, and compiled
for 65 s in one function, 1.7 s in several."""
DEEP = 256
"""Definitions that use each other in a chain; some thousands overflow the compiler's stack."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A line `name = text;`, and the family of operation it comes from.

    "sum": it may need a barrier; "linear": a sum behind it can be multiplied out through it.
    """

    name: str
    text: str
    family: str

    def words(self) -> list[str]:
        """The identifiers in the text."""
        return WORD.findall(self.text)


Line = Definition | str
"""A definition, or the comment that starts a node."""


@dataclass(frozen=True, slots=True)
class Function:
    """A FAUST function: its arguments, its results and its lines."""

    arguments: tuple[str, ...]
    results: tuple[str, ...]
    lines: tuple[str, ...]


def with_barriers(
    lines: Sequence[Line], results: Sequence[str], keep: Callable[[], str]
) -> list[Line]:
    """Puts a barrier round each sum that is used more than once.

    FAUST's normal form multiplies out sums that are used twice, also where a delay or a gain lies
    between, which turns a butterfly of O(N log N) into O(N²); `attach` stops it at no cost.
    """
    uses = Counter(results)
    for line in reversed(lines):
        if isinstance(line, Definition):
            words = Counter(line.words())
            many = line.family == "linear" and uses[line.name] > 1
            uses.update({word: max(count, 2) if many else count for word, count in words.items()})
    guarded: list[Line] = []
    for line in lines:
        if isinstance(line, Definition):
            count = uses[line.name]
            if count >= MANY_USES or (line.family == "sum" and count > 1):
                line = Definition(line.name, f"{keep()}({line.text})", line.family)
        guarded.append(line)
    return guarded


def functions(
    lines: Sequence[Line], arguments: Sequence[str], results: Sequence[str]
) -> list[Function]:
    """Cuts lines into functions to be run one after the other, so that none is too deep.

    Signals that a later function reads pass through those between as arguments and results.
    """
    pieces = _pieces(lines)
    found: list[Function] = []
    entering = list(arguments)
    for position, piece in enumerate(pieces):
        later = [word for rest in pieces[position + 1 :] for line in rest for word in _words(line)]
        wanted = {*later, *results}
        here = [line.name for line in piece if isinstance(line, Definition)]
        last = position == len(pieces) - 1
        leaving = list(results) if last else [n for n in (*entering, *here) if n in wanted]
        texts = (f"{x.name} = {x.text};" if isinstance(x, Definition) else x for x in piece)
        found.append(Function(tuple(entering), tuple(leaving), tuple(texts)))
        entering = leaving
    return found


def _words(line: Line) -> list[str]:
    return line.words() if isinstance(line, Definition) else []


def _pieces(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines in pieces of bounded depth; a piece begins with the comment of a node."""
    pieces: list[list[Line]] = [[]]
    paths: dict[str, int] = {}
    depth: dict[str, int] = {}
    comment: list[Line] = []
    for line in lines:
        if isinstance(line, str):
            comment = [line]
            continue
        words = line.words()
        ways = sum(paths.get(word, 1) for word in words)
        levels = 1 + max((depth.get(word, 0) for word in words), default=0)
        if ways > MANY_PATHS or levels > DEEP:
            pieces.append([])
            paths, depth = {}, {}
            ways, levels = len(words), 1
        paths[line.name], depth[line.name] = ways, levels
        pieces[-1].extend([*comment, line])
        comment = []
    return pieces
