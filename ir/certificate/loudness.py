"""What enters a linear loop, channel by channel, and how loud its responses to it get."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ir.certificate.bounds import Bounds
from ir.certificate.forms import Context, Form, Mode, interval
from ir.certificate.responses import absolute_responses, affordable
from ir.certificate.rules import evaluate
from ir.certificate.system import System
from ir.graph import Graph

MADE = frozenset(("add", "sub", "neg", "sum", "reshape", "transpose", "broadcast", "slice", "take",
                  "concatenate"))  # fmt: skip
THIN = 2.0**-40
"""Around the one that is put in: known numbers would be folded, without what rounding adds."""
VAGUE = 1e-3
"""Of what enters: if more is not known, responses tell little."""


def louder(
    graph: Graph,
    group: Sequence[int],
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
    each = absolute_responses(system, enters, unsure, most, samples)
    if each is None:
        return found
    return replace(found, returns=np.minimum(found.returns, loudest @ each * (1 + 1e-9)))


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
