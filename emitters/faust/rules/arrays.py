"""Rules of operations that move or combine channels; moving costs nothing, it only moves names."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from emitters.faust.rules.registry import Atoms, Context, Rule, array, rule
from emitters.faust.rules.sums import linear
from emitters.faust.text import Atom, atom
from ir.graph import Node
from ir.ops import parse_subscripts

TABLE = 64
"""Entries of the longest table that a choice is made from; of a longer one, what would be data is
part of the text."""


@rule("sum")
def _reduce_sum(c: Context, node: Node, x: Atoms) -> Atoms:
    rows = _rows(x, node.ints("axes"))
    return array((linear(c, ((v, 1) for v in row), node.type.kind) for row in rows), node.shape)


def _rows(x: Atoms, axes: tuple[int, ...]) -> Atoms:
    """The groups of atoms that a reduction combines."""
    kept = [k for k in range(x.ndim) if k not in axes]
    moved = x.transpose([*kept, *axes])
    sizes = [x.shape[k] for k in (*kept, *axes)]
    return moved.reshape(math.prod(sizes[: len(kept)]), math.prod(sizes[len(kept) :]))


def _nested(template: str, combine: Callable[[list], Atom]) -> Rule:
    def reduce(c: Context, node: Node, x: Atoms) -> Atoms:
        def fold(values: list[str]) -> str:
            if len(values) == 1:
                return values[0]
            half = len(values) // 2
            return template.format(fold(values[:half]), fold(values[half:]))

        def reduced(row: Atoms) -> Atom:
            names = [v for v in row if isinstance(v, str)]
            numbers = [v for v in row if not isinstance(v, str)]
            if numbers or not names:
                known = combine(numbers)
                if not names or (combine is math.prod and known == 0):
                    return float(known) if node.type.kind == "real" else int(known)
                names.append(atom(known))
            return fold(names)

        return array(map(reduced, _rows(x, node.ints("axes"))), node.shape)

    return reduce


rule("prod")(_nested("({}*{})", math.prod))
rule("max")(_nested("max({}, {})", max))
rule("min")(_nested("min({}, {})", min))


@rule("einsum")
def _einsum(c: Context, node: Node, x: Atoms, y: Atoms) -> Atoms:
    left, right, result = parse_subscripts(node.text("subscripts"))
    summed = "".join(dict.fromkeys(s for s in left + right if s not in result))
    sizes = dict(zip(left + right, x.shape + y.shape, strict=True))
    shape = tuple(sizes[s] for s in result + summed)

    def spread(operand: Atoms, letters: str) -> Atoms:
        order = [letters.index(s) for s in result + summed if s in letters]
        moved = operand.transpose(order)
        index = tuple(slice(None) if s in letters else None for s in result + summed)
        terms = math.prod(sizes[s] for s in summed)
        return np.broadcast_to(moved[index], shape).reshape(math.prod(node.shape), terms)

    a, b = spread(x, left), spread(y, right)
    lines = (
        linear(c, zip(p, q, strict=True), node.type.kind, gated=True)
        for p, q in zip(a, b, strict=True)
    )
    return array(lines, node.shape)


@rule("reshape")
def _reshape(c: Context, node: Node, x: Atoms) -> Atoms:
    return x.reshape(node.shape)


@rule("transpose")
def _transpose(c: Context, node: Node, x: Atoms) -> Atoms:
    return x.transpose(node.ints("permutation"))


@rule("broadcast")
def _broadcast(c: Context, node: Node, x: Atoms) -> Atoms:
    full = [1] * len(node.shape)
    for axis, n in zip(node.ints("axes"), x.shape, strict=True):
        full[axis] = n
    return np.broadcast_to(x.reshape(full), node.shape)


@rule("slice")
def _slice(c: Context, node: Node, x: Atoms) -> Atoms:
    bounds = zip(node.ints("start"), node.ints("limit"), node.ints("stride"), strict=True)
    return x[(..., *(slice(*b) for b in bounds))]


@rule("concatenate")
def _concatenate(c: Context, node: Node, *xs: Atoms) -> Atoms:
    return np.concatenate(xs, axis=node.int("axis"))


@rule("take")
def _take(c: Context, node: Node, x: Atoms) -> Atoms:
    return x.ravel()[list(node.ints("indices"))].reshape(node.shape)


@rule("lookup")
def _lookup(c: Context, node: Node, table: Atoms, index: Atoms) -> Atoms:
    count = len(table)
    if count > TABLE:
        table = c.literals(table)
    columns = np.broadcast_to(table.reshape(count, -1), (count, index.size)).T

    def read(column: Atoms, at: Atom) -> Atom:
        if not isinstance(at, str):
            return column[min(count - 1, max(0, int(at)))]
        if all(v == column[0] for v in column):
            return column[0]
        if not any(isinstance(v, str) for v in column):
            name = c.table(tuple(column))
            return f"({name}, max(0, min({count - 1}, {at}))) : rdtable"
        return _chosen(column, at, 0)

    return array((read(*pair) for pair in zip(columns, index.flat, strict=True)), node.shape)


def _chosen(column: Atoms, at: str, first: int) -> str:
    """One of some signals by a number, in a tree of choices; beyond the ends the end."""
    if len(column) == 1:
        return atom(column[0])
    half = len(column) // 2
    low, high = _chosen(column[:half], at, first), _chosen(column[half:], at, first + half)
    return f"select2({at} < {first + half}, {high}, {low})"
