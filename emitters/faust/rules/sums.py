"""Sums of products, which is what most of a linear program is."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emitters.faust.rules.registry import GATES, LONG_ROW, Atoms, Context
from emitters.faust.text import Atom, balanced, chunks, product, total
from ir.graph import Node


def linear(c: Context, pairs: Iterable[tuple[Atom, Atom]], kind: str, gated: bool = False) -> Atom:
    """A sum of products: a number where all factors are, a name where it comes to one.

    Numbers stay numbers as far as they go. A barrier round what FAUST can compute by itself makes
    its LLVM stage fail an assertion, which ends the process (2.85.9: `x + 0.5*attach(0.0, 0)`).
    """
    known: float = 0
    terms: list[tuple[int, str]] = []
    for a, b in pairs:
        if isinstance(a, str) or isinstance(b, str):
            terms.append(product(a, b))
        else:
            known += a * b
    terms = [term for term in terms if term[0]]
    if not terms:
        return float(known) if kind == "real" else int(known)
    if known:
        terms.append(product(known, 1))
    if len(terms) == 1 and terms[0][0] > 0 and terms[0][1].isidentifier():
        return terms[0][1]
    if gated and len(terms) >= LONG_ROW and kind == "real" and (gate := c.gate()) <= GATES:
        return f"gated({gate}, {balanced(terms)})"
    return total_of(c, terms)


def convolution_of(c: Context, terms: list[tuple[int, str]]) -> str:
    """The text of a long sum of delayed samples, gated in groups.

    LLVM joins all else into one chain, in any precision, whatever the parentheses and barriers are:
    2,880 taps of a room came out 25 dB less accurate in single precision, and ran 15 times slower.
    """
    kept = [term for term in terms if term[0]]
    if len(kept) < LONG_ROW:
        return total_of(c, terms)
    groups = []
    for chunk in chunks(kept):
        if (gate := c.gate()) > GATES:
            return total_of(c, terms)
        groups.append((1, f"gated({gate}, {balanced(chunk)})"))
    return balanced(groups)


def total_of(c: Context, terms: list[tuple[int, str]]) -> str:
    """The text of a sum, with its barriers noted."""
    text = total(terms)
    if "keep(" in text:
        c.helper("keep")
    return text


def pairs(node: Node, x: Atoms, y: Atoms) -> Iterable[tuple[Atom, Atom]]:
    """The operands of an elementwise operation, number by number."""
    full = (np.broadcast_to(o, node.shape).flat for o in (x, y))
    return zip(*full, strict=True)
