"""Rules of operations that look at earlier samples."""

from __future__ import annotations

import numpy as np

from emitters.faust.rules.registry import LONG_ROW, Atoms, Context, array, rule
from emitters.faust.rules.sums import convolution_of, linear, total_of
from emitters.faust.sections import delayed, direct_form, is_number
from emitters.faust.text import Atom, atom, product
from ir.errors import IRError
from ir.graph import Node


@rule("delay")
def _delay(c: Context, node: Node, x: Atoms, *initial: Atoms) -> Atoms:
    lines = []
    many = len(node.ints("samples")) >= LONG_ROW
    for k, (v, m) in enumerate(zip(x.ravel().tolist(), node.ints("samples"), strict=True)):
        text = _late(v, m)
        if many and isinstance(text, str) and (reach := c.ring(m)):
            text = f"attach({text}, {atom(v)}@{reach})"
        if initial and m:
            start = initial[0].reshape(len(initial[0]), -1)[:m, k]
            if any(start != 0):
                started = _starting(c, start)
                text = started if text == 0 else f"{atom(text)} + {started}"
        lines.append(text)
    return array(lines, node.shape)


def _late(v: Atom, m: int) -> Atom:
    if m == 0 or v == 0:
        return v
    return f"{atom(v)}'" if m == 1 else f"{atom(v)}@{m}"


def _starting(c: Context, values: Atoms) -> str:
    """A signal that has these values at the first samples and zero after."""
    impulse = c.helper("impulse")
    terms = [product(v, delayed(impulse, k)) for k, v in enumerate(values)]
    return f"({total_of(c, terms)})"


@rule("variable_delay")
def _variable_delay(c: Context, node: Node, x: Atoms, d: Atoms) -> Atoms:
    low, high = node.int("minimum"), node.int("maximum")
    pairs = zip(x.flat, d.flat, strict=True)

    def read(v: Atom, n: Atom) -> Atom:
        if v == 0:
            return v
        if not isinstance(n, str):
            return _late(v, min(high, max(low, int(n))))
        # The outer bounds are for the compiler, which `within` has made forget all others.
        return f"{atom(v)} @ max({low}, min({high}, {c.helper('within')}({low}, {high}, {n})))"

    return array((read(v, n) for v, n in pairs), node.shape)


@rule("fir")
def _fir(c: Context, node: Node, x: Atoms, taps: Atoms) -> Atoms:
    flat = taps.reshape(len(taps), x.size)
    lines = []
    for k, v in enumerate(x.flat):
        heard = np.flatnonzero(flat[:, k])
        if v == 0 or not heard.size:
            lines.append(0.0)
            continue
        if heard.max() == 0 and not isinstance(v, str):
            lines.append(linear(c, ((flat[0, k], v),), "real"))
            continue
        terms = [product(h, delayed(atom(v), n)) for n, h in enumerate(flat[:, k])]
        lines.append(convolution_of(c, terms))
    return array(lines, node.shape)


@rule("iir")
def _iir(c: Context, node: Node, x: Atoms, b: Atoms, a: Atoms, *state: Atoms) -> Atoms:
    columns = [o.reshape(len(o), x.size) for o in (b, a, *state)]
    lines = [
        _filtered(c, node, v, *(column[:, k] for column in columns)) for k, v in enumerate(x.flat)
    ]
    return array(lines, node.shape)


@rule("sos")
def _sos(c: Context, node: Node, x: Atoms, sos: Atoms, *state: Atoms) -> Atoms:
    sections = sos.reshape(len(sos), 6, x.size)
    states = [s.reshape(len(s), 2, x.size) for s in state]
    lines = []
    for k, v in enumerate(x.flat):
        signal: Atom = v
        for n in range(len(sections)):
            if n and signal != v and isinstance(signal, str):
                signal = c.name(atom(signal), f"{k}_{n}")
            start = [s[n, :, k] for s in states]
            row = sections[n, :, k]
            signal = _filtered(c, node, signal, row[:3], row[3:], *start)
        lines.append(signal)
    return array(lines, node.shape)


def _filtered(
    c: Context, node: Node, signal: Atom, b: Atoms, a: Atoms, state: Atoms | None = None
) -> Atom:
    """One recursive filter of any order on one channel."""
    if a[0] == 0:
        raise IRError(f"The filter {node.name or node.op!r} has a_0 = 0, by which it must divide.")
    known = all(is_number(v) for v in (*b, *a))
    numeric = not any(isinstance(v, str) for v in (*b, *a))
    resting = state is None or not any(isinstance(v, str) or v != 0 for v in state)
    if resting and (signal == 0 or not any(isinstance(v, str) or v != 0 for v in b)):
        return 0.0
    x = atom(signal)
    if known and resting and len(b) <= 3:
        pad = [0.0] * (3 - len(b))
        call = c.filter(array([*b, *pad], (3,)), array([*a, *pad], (3,)))
        if call is None:
            return signal
        c.helper(call.helper)
        return call.text(x)
    extra = []
    if state is not None and not resting:
        impulse = c.helper("impulse")
        extra = [product(v, delayed(impulse, k)) for k, v in enumerate(state)]
    if numeric:
        b, a = b / a[0], a / a[0]
    else:
        scale = atom(a[0])
        b, a = (array((f"({atom(v)}/{scale})" for v in o), o.shape) for o in (b, a))
    text = direct_form(list(b), list(a), extra, x)
    if "keep(" in text:
        c.helper("keep")
    return text
