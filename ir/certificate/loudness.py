"""What enters a linear loop, channel by channel, and how loud its responses to it get."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ir.certificate.bounds import Bounds
from ir.certificate.forms import Context, Form, Mode, interval
from ir.certificate.intervals import outward
from ir.certificate.responses import absolute_responses, affordable
from ir.certificate.rules import evaluate
from ir.certificate.system import System
from ir.graph import Graph

MADE = frozenset(("add", "sub", "neg", "sum", "reshape", "transpose", "broadcast", "slice", "take",
                  "concatenate"))  # fmt: skip
THIN = 2.0**-40
"""Around the one that is put in: known numbers would be folded, without what rounding adds."""
MIXED = 64
"""Channels behind the loop whose own responses are looked at."""
VAGUE = 1e-3
"""Of what enters: if more is not known, responses tell little."""


def louder(
    graph: Graph,
    group: Sequence[int],
    sequence: Sequence[int],
    outside: Mapping[int, Form],
    mode: Mode,
    system: System,
    found: Bounds,
    bound: Callable[[System], Bounds],
    rebuilt: Callable[[Mapping[int, Form]], System],
) -> Bounds:
    """The bounds with those on signals made smaller, where impulse responses can be computed.

    Args:
        graph: The graph.
        group: The loop's nodes.
        sequence: All nodes in the order in which they can be computed.
        outside: What is known of all nodes that it reads and is not made of.
        mode: How what changes is written.
        system: The loop, linear and proved stable.
        found: By what.
        bound: The same theorem for the same loop with something else entering.
        rebuilt: The loop where other things are known of the nodes outside.
    """
    if not system.linear or system.injected.any() or found.radius >= 1:
        return found
    members = set(group)
    read = {s for k in group for s in graph.nodes[k].inputs} - members
    whole, between = roots(graph, sorted(read), outside)
    if any(graph.nodes[s].type.kind != "real" for s in whole):
        return found
    sources = [(s, i) for s in whole for i in range(graph.nodes[s].type.size)]
    loudest = np.array([1.0, *(_loudest(outside[s], i) for s, i in sources)])
    samples = float(np.log(1000) / -np.log(found.radius))
    if not np.isfinite(loudest).all() or not affordable(system, len(sources), samples):
        return found

    def with_only(only: tuple[int, int] | None) -> System:
        known = dict(outside)
        for s in whole:
            shape = graph.nodes[s].shape
            value = np.zeros(graph.nodes[s].type.size)
            if only is not None and only[0] == s:
                value[only[1]] = 1
            value = value.reshape(shape)
            known[s] = interval((value - THIN, value + THIN))
        context = Context(graph, mode, outside=known)
        for k in between:
            node = graph.nodes[k]
            known[k] = evaluate(context, k, node, [known[s] for s in node.inputs])
        return rebuilt(known)

    alone = [with_only(only) for only in (None, *sources)]
    if any(len(one.atoms) != len(system.atoms) for one in alone):
        return found
    offsets = np.stack([one.offset for one in alone])
    # What arrives later, or filtered, is known by its range alone; its absolute values add up to
    # the width of that at most, so from the middle, put in at once, it is off by three halves.
    unsure = np.stack([4 * (one.outside - np.abs(one.offset)) for one in alone])
    enters = np.concatenate([offsets[:1], offsets[1:] - offsets[0]])
    unsure = unsure + 2.0**-50 * np.abs(offsets)
    unsure[1:] += unsure[0]
    if unsure.max(initial=0.0) > VAGUE * np.abs(enters).max(initial=0.0):
        return found
    ones = np.ones(len(system.atoms))
    most = bound(replace(system, outside=ones, injected=ones)).returns
    heard = _heard(graph, sequence, members, outside, mode, system)
    mixes = [_mix(form, len(system.atoms)) for form in heard.values()]
    together = None
    if mixes:
        together = np.concatenate([c for c, _ in mixes]), np.concatenate([r for _, r in mixes])
    each = absolute_responses(system, enters, unsure, most, samples, together)
    if each is None:
        return found
    returns, mixed = (loudest @ one * (1 + 1e-9) for one in each)
    ranges, start = {}, 0
    for k, form in heard.items():
        reach = mixed[start : start + graph.nodes[k].type.size].reshape(form.shape)
        start += reach.size
        low, high = form.base
        ranges[k] = outward(low - reach, high + reach)
    return replace(found, returns=np.minimum(found.returns, returns), heard=ranges)


def _heard(
    graph: Graph,
    sequence: Sequence[int],
    members: Container[int],
    outside: Mapping[int, Form],
    mode: Mode,
    system: System,
) -> dict[int, Form]:
    """Nodes behind the loop that are sums of its signals at the same sample: mixed outputs."""
    forms = dict(system.forms)
    context = Context(graph, mode, outside=outside)
    context.count = len(system.atoms)
    found: dict[int, Form] = {}
    channels = 0
    for k in sequence:
        node = graph.nodes[k]
        moving = [s for s in node.inputs if s in forms]
        rest = [s for s in node.inputs if s not in forms]
        if k in members or not moving or any(s not in outside for s in rest):
            continue
        scaled = len(moving) == 1 and all(outside[s].fixed for s in rest)
        scaled = scaled and (node.op != "div" or moving[0] == node.inputs[0])
        if node.op not in MADE and not (node.op in ("mul", "div", "einsum") and scaled):
            continue
        channels += node.type.size
        if channels > MIXED:
            break
        inputs = [forms[s] if s in forms else outside[s] for s in node.inputs]
        forms[k] = found[k] = evaluate(context, k, node, inputs)
    return found


def _mix(form: Form, atoms: int) -> tuple[np.ndarray, np.ndarray]:
    wide = form.wide(atoms)
    return wide.c[1:].reshape(atoms, -1).T, wide.r[1:].reshape(atoms, -1).T


def _loudest(x: Form, i: int) -> float:
    low, high = (np.broadcast_to(b, x.shape).ravel() for b in x.base)
    return max(abs(float(low[i])), abs(float(high[i])))


def roots(
    graph: Graph, read: Sequence[int], outside: Mapping[int, Form]
) -> tuple[list[int], list[int]]:
    """Nodes of which what a loop reads is made by numbers and sums at once, and those between."""
    between: list[int] = []
    found: set[int] = set()
    done: set[int] = set()
    work = [(k, False) for k in read]
    while work:
        k, ready = work.pop()
        node = graph.nodes[k]
        moving = [s for s in node.inputs if not outside[s].fixed]
        if ready:
            between.append(k)
        elif k not in done and not outside[k].fixed:
            done.add(k)
            scaled = len(moving) == 1 and (node.op != "div" or moving[0] == node.inputs[0])
            if node.op in MADE or (node.op in ("mul", "div", "einsum") and scaled):
                work.append((k, True))
                work.extend((s, False) for s in moving)
            else:
                found.add(k)
    return sorted(found), between
