"""Lines of a network in FAUST's C, rewritten so that C compilers filter several of them at once.

FAUST writes the filters of each delay line out, one line after the other: the same statements with
other names and numbers. Here what is the same becomes a loop over the lines, whose states and
numbers are arrays, so that lanes of vector registers are lines. Each line's arithmetic stays as it
was, in the same order; what is no arithmetic (delays, guards) stays a statement for each line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emitters.plugin.dense import LANES

FEWEST = 4
"""Lines that make it worth while."""
LONGEST_PERIOD, LONGEST_TEXT = 300, 6000
"""Statements of a line, and of a program, in which repetition is looked for."""
TRIES = 8
"""Stretches that are looked at."""
STATEMENT = re.compile(r"\t\t\t(?:(?:float|double) (\w+)|dsp->(f\w+)\[(.+?)\]) = (.*);")
ITEM = re.compile(
    r"dsp->(?P<state>fRec\d+)\[1\]|(?P<number>\b\d[\d.]*(?:e[+-]?\d+)?f?\b)|(?P<name>\b[A-Za-z_]\w*\b)"
)
WORD = re.compile(r"[A-Za-z_]\w*")
Numbers = Callable[[Sequence[str]], "str | None"]
"""The C expression of the l-th of some numbers; None where they cannot be an array."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A text in which lines run side by side.

    Attributes:
        compute: The function.
        fields: Arrays of the struct, each of so many numbers, all zero at first.
        gone: Arrays that these replace.
    """

    compute: str
    fields: tuple[tuple[str, int], ...]
    gone: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Statement:
    """`name = text`, or `dsp->state[0] = text` of arithmetic; all else has no template."""

    line: str
    name: str
    state: str
    template: str
    items: tuple[tuple[str, str], ...]

    @property
    def words(self) -> list[str]:
        return WORD.findall(self.line)


class _RefusedError(Exception):
    """The lines cannot run side by side."""


def beside(compute: str, real: str, numbers: Numbers) -> Beside | None:
    """Runs the longest repetition of a text side by side.

    Args:
        compute: The function `compute` of FAUST's C.
        real: "float" or "double".
        numbers: Makes arrays of literals, or of names of numbers.

    Returns:
        None where there is no repetition that can.
    """
    lines = compute.split("\n")
    body = [k for k, line in enumerate(lines) if re.match(r"\t\t\t\S", line)]
    if not body or body[-1] - body[0] != len(body) - 1 or len(body) > LONGEST_TEXT:
        return None
    for start, period, count in _repetitions([_shape(lines[k]) for k in body]):
        first, last = body[0] + start, body[0] + start + period * count
        copies = [
            [_statement(line) for line in lines[k : k + period]] for k in range(first, last, period)
        ]
        try:
            made, fields, gone = _rewritten(copies, [*lines[:first], *lines[last:]], real, numbers)
        except _RefusedError:
            continue
        shifts = {f"\t\t\tdsp->{name}[1] = dsp->{name}[0];" for name in gone}
        after = [line for line in lines[last:] if line not in shifts]
        return Beside("\n".join([*lines[:first], *made, *after]), fields, gone)
    return None


def _shape(line: str) -> str:
    """A statement without its names and numbers."""
    line = re.sub(r"\b([fi](?:Temp|Rec|Vec|Slow|Entry))\d+", r"\1", line)
    return re.sub(r"(?<!\[)\b\d[\d.]*(?:e[+-]?\d+)?f?\b", "#", line)


def _repetitions(shapes: Sequence[str]) -> list[tuple[int, int, int]]:
    """Where statements repeat: the first, the period, how often; the longest stretches first."""
    known: dict[str, int] = {}
    row = [known.setdefault(shape, len(known)) for shape in shapes]
    found = []
    for period in range(2, min(LONGEST_PERIOD, len(row) // FEWEST) + 1):
        run, best = 0, (0, 0, 0)
        for k in range(len(row) - period):
            run = run + 1 if row[k] == row[k + period] else 0
            if run % period == 0 and run // period + 1 > max(best[2], FEWEST - 1):
                best = (k - run + 1, period, run // period + 1)
        if best[2]:
            found.append(best)
    return sorted(found, key=lambda r: -r[1] * r[2])[:TRIES]


def _statement(line: str) -> _Statement:
    match = STATEMENT.fullmatch(line)
    opaque = _Statement(line, match[1] or "" if match else "", "", "", ())
    if match is None or (match[2] and (match[3] != "0" or not match[2].startswith("fRec"))):
        return opaque
    items = []
    for item in ITEM.finditer(match[4]):
        items.append((item.lastgroup or "", item[item.lastgroup or 0]))
    template = ITEM.sub("@", match[4])
    if re.search(r"[^@ +\-*()]|@ *\(", template):
        return opaque
    return _Statement(line, match[1] or "", match[2] or "", template, tuple(items))


def _rewritten(
    copies: Sequence[Sequence[_Statement]], rest: Sequence[str], real: str, numbers: Numbers
) -> tuple[list[str], tuple[tuple[str, int], ...], frozenset[str]]:
    count, first = len(copies), copies[0]
    height = -(-count // LANES) * LANES
    if any([s.template for s in copy] != [s.template for s in first] for copy in copies):
        raise _RefusedError
    places = [{s.name: p for p, s in enumerate(copy) if s.name} for copy in copies]
    everywhere = {name for names in places for name in names}
    outside = Counter(word for line in rest for word in WORD.findall(line))
    inside = [{n for n, p in names.items() if first[p].template} for names in places]
    arithmetic = set[str]().union(*inside)

    before: list[list[str]] = [[] for _ in copies]
    behind: list[list[str]] = [[] for _ in copies]
    later: set[str] = set()
    for r, copy in enumerate(copies):
        for s in copy:
            if s.template:
                continue
            words = [w for w in s.words if w != s.name]
            if any(w in arithmetic or w in later for w in words):
                behind[r].append(s.line)
                later.add(s.name)
            else:
                before[r].append(s.line)
    read_behind = {word for lines in behind for line in lines for word in WORD.findall(line)}

    states = _states(copies, outside)
    inputs: dict[tuple[str, ...], str] = {}
    outputs: list[tuple[int, tuple[str, ...]]] = []
    arrays: dict[tuple[str, ...], str] = {}
    loop: list[str] = []

    def item(p: int, k: int) -> str:
        kind = first[p].items[k][0]
        values = tuple(copy[p].items[k][1] for copy in copies)
        if any(copy[p].items[k][0] != kind for copy in copies):
            raise _RefusedError
        if kind == "state":
            return f"dsp->{states[values]}[l]"
        if kind == "number" or all(value.startswith("fSlow") for value in values):
            if kind == "number" and len(set(values)) == 1:
                return values[0]
            if values not in arrays:
                made = numbers(values)
                if made is None:
                    raise _RefusedError
                arrays[values] = made
            return arrays[values]
        if any(value in later for value in values):
            raise _RefusedError
        here = {names.get(value) for names, value in zip(places, values, strict=True)}
        if not any(value in arithmetic for value in values):
            if len(set(values)) == 1 and values[0] not in everywhere:
                return values[0]
            return inputs.setdefault(values, f"adac_i{len(inputs)}") + "[l]"
        place = here.pop()
        if here or place is None or place >= p:
            raise _RefusedError
        return f"t{place}"

    news: list[str] = []
    for p, s in enumerate(first):
        if not s.template:
            continue
        parts = iter([item(p, k) for k in range(len(s.items))])
        text = re.sub("@", lambda _, parts=parts: next(parts), s.template)
        loop.append(f"\t\t\t\t{real} t{p} = {text};")
        names = tuple(copy[p].name for copy in copies)
        if s.state:
            news.append(f"\t\t\t\tdsp->{states[tuple(c[p].state for c in copies)]}[l] = t{p};")
        elif any(outside[name] or name in read_behind for name in names):
            outputs.append((p, names))
            loop.append(f"\t\t\t\tadac_o{p}[l] = t{p};")
    if len(loop) < FEWEST:
        raise _RefusedError
    made = [line for lines in before for line in lines]
    for values, name in inputs.items():
        made.append(f"\t\t\tconst {real} {name}[{height}] = {{{', '.join(values)}}};")
    made += [f"\t\t\t{real} adac_o{p}[{height}];" for p, _ in outputs]
    made += ["\t\t\tint l;", f"\t\t\tfor (l = 0; l < {height}; l++) {{", *loop, *news, "\t\t\t}"]
    for p, names in outputs:
        made += [f"\t\t\t{real} {name} = adac_o{p}[{r}];" for r, name in enumerate(names)]
    made += [line for lines in behind for line in lines]
    fields = tuple((name, height) for name in states.values())
    return made, fields, frozenset(name for values in states for name in values)


def _states(
    copies: Sequence[Sequence[_Statement]], outside: Counter[str]
) -> dict[tuple[str, ...], str]:
    """The array of each state, by its names in the copies.

    Raises:
        _RefusedError: one is used elsewhere, or is not each copy's own.
    """
    written = [[s.state for s in copy if s.state] for copy in copies]
    names = [name for copy in written for name in copy]
    read = [v for copy in copies for s in copy for kind, v in s.items if kind == "state"]
    opaque = {w for copy in copies for s in copy if not s.template for w in s.words}
    if len(set(names)) != len(names) or not set(read) <= set(names):
        raise _RefusedError
    # Elsewhere it only moves on to its second place: two words of one statement.
    if any(outside[name] != 2 or name in opaque for name in names):
        raise _RefusedError
    found = {values: f"adac_x{k}" for k, values in enumerate(zip(*written, strict=True))}
    position = {name: k for values in found for k, name in enumerate(values)}
    for k, copy in enumerate(copies):
        for s in copy:
            for kind, value in s.items:
                if kind == "state" and position[value] != k:
                    raise _RefusedError
    return found


__all__ = ["Beside", "beside"]
