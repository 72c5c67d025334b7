"""Certifies a program: every loop proved, every signal's range known."""

from __future__ import annotations

import numpy as np

from ir.certificate import filters
from ir.certificate.domain import failure
from ir.certificate.forms import Context, Form, Mode, UnprovenError, exactly, interval
from ir.certificate.intervals import Interval, meet, whole
from ir.certificate.prove import Prover, name_of
from ir.certificate.rules import cascades_of, evaluate, rationals_of
from ir.certificate.verdict import VERDICTS, Certificate, LoopProof, Verdict
from ir.cycles import components, is_loop, label, order
from ir.errors import IRError
from ir.graph import Graph, Node, Program
from ir.ops import OPS
from ir.verify import verify_program

SINGLE = 2.0**-24
"""By how much rounding to single precision changes a number, relatively."""


def certify(program: Program, *, tolerance: float = 0.0) -> Certificate:
    """Whether a program can blow up, and how loud it can get, proved from its numbers.

    For inputs within ±1 and every position and motion of its controls. docs/certificate.md has the
    theorems.

    Args:
        program: What ships; graph and coefficients.
        tolerance: By how much each multiplier may be off, relatively: `SINGLE` (2^-24) covers their
            rounding to single precision. The coefficients of filters are taken as they are; give
            those that ship (`emitters.faust.rounded`).

    Raises:
        IRError: the program is not valid, or the tolerance is not in 0 to 0.01.
    """
    if not 0 <= tolerance <= 0.01:
        raise IRError(f"`tolerance` (={tolerance!r}) must be in 0 to 0.01.")
    graph = verify_program(program).graph
    sequence = order(graph)
    prover = Prover(graph, sequence, tolerance)
    forms = _known(program, sequence, tolerance)
    proofs: list[LoopProof] = []
    heard: dict[int, Interval] = {}
    for group in components(range(len(graph.nodes)), lambda k: graph.nodes[k].inputs):
        if is_loop(group, lambda k: graph.nodes[k].inputs):
            found = prover.prove(group, forms)
            proofs.append(found.proof)
            forms |= {k: interval(bounds) for k, bounds in found.ranges.items()}
            heard |= found.heard
        else:
            # A filter in a loop is part of it, and may be held by it; others stand by themselves.
            forms[group[0]] = _form(program, group[0], forms, tolerance)
            if group[0] in heard:
                forms[group[0]] = interval(meet(forms[group[0]].base, heard[group[0]]))
            proofs.extend(_recursion(graph, group[0], forms))
    if all(p.verdict == "stable" for p in proofs):
        proofs.extend(_undefined(graph, sequence, forms))
    return _certificate(graph, proofs, forms, tolerance)


def _known(program: Program, sequence: list[int], tolerance: float) -> dict[int, Form]:
    """Numbers, and what is made of them alone: loops may ask for those behind them."""
    forms: dict[int, Form] = {}
    for k in sequence:
        node = program.graph.nodes[k]
        made = node.inputs and OPS[node.op].family in ("elementwise", "array")
        made = made and all(s in forms and forms[s].fixed for s in node.inputs)
        if node.op in ("coefficient", "constant") or made:
            forms[k] = _form(program, k, forms, tolerance)
    return forms


def _form(program: Program, k: int, forms: dict[int, Form], tolerance: float) -> Form:
    node = program.graph.nodes[k]
    if node.op == "coefficient":
        return exactly(program.coefficients[node.text("slot")])
    if node.op == "constant":
        return exactly(np.asarray(node["value"]))
    if node.op == "input":
        return _input(node)
    if node.op == "control":
        return interval((np.float64(node["minimum"]), np.float64(node["maximum"])))  # type: ignore
    context = Context(program.graph, Mode(tolerance=tolerance), outside=forms)
    try:
        return evaluate(context, k, node, [forms[s] for s in node.inputs])
    except UnprovenError:
        return interval((np.full(node.shape, -np.inf), np.full(node.shape, np.inf)))


def _input(node: Node) -> Form:
    return interval(whole(node.type, (-1.0, 1.0)))


def _undefined(graph: Graph, sequence: list[int], forms: dict[int, Form]) -> list[LoopProof]:
    """The first operation that may give no number, or an infinite one, if an output hears it."""
    for k in sequence:
        reason = failure(graph, k, [forms[s].base for s in graph.nodes[k].inputs])
        if not reason and k in graph.outputs and not np.isfinite(forms[k].base).all():
            culprit = next(j for j in sequence if not np.isfinite(forms[j].base).all())
            k, reason = culprit, "its value is not bounded"
        if reason:
            return [
                LoopProof((k,), name_of(graph, [k]), "unproven", "no bound is known",
                          node=label(graph, k), reason=reason)
            ]  # fmt: skip
    return []


def _recursion(graph: Graph, k: int, forms: dict[int, Form]) -> list[LoopProof]:
    """A recursive filter is a loop of its own: its poles."""
    node = graph.nodes[k]
    if node.op == "sos":
        each = cascades_of(forms[node.inputs[1]].c[0])
    elif node.op == "iir":
        each = rationals_of(*(forms[s].c[0] for s in node.inputs[1:3]))
    else:
        return []
    denominators = [a for _, section in each for a in section]
    recursive = [a for a in denominators if len(np.trim_zeros(a, "b")) > 1 or not a[0]]
    if not recursive:
        return []
    return [_poles(graph, k, recursive)]


def _poles(graph: Graph, k: int, denominators: list[np.ndarray]) -> LoopProof:
    name = name_of(graph, [k])
    rate = graph.sample_rate
    worst = max(denominators, key=filters.pole_radius)
    inside = all(filters.poles_inside(a) for a in denominators)
    radius = filters.pole_radius(worst)
    if inside:
        # Found in floating point, proved exactly.
        for outward in (1e-12, 1e-9, 1e-7, 1e-5, 1e-3):
            bound = radius * (1 + outward)
            if bound < 1 and all(filters.poles_inside(a, bound) for a in denominators):
                decay = float(np.log(1000) / -np.log(bound) / rate) if bound > 0 else 0.0
                return LoopProof((k,), name, "stable", "its poles", decay_seconds=decay)
        return LoopProof((k,), name, "stable", "its poles")
    roots = np.roots(np.trim_zeros(worst, "b")) if worst[0] else np.array([np.inf + 0j])
    pole = roots[np.argmax(np.abs(roots))]
    frequency = float(abs(np.angle(pole)) * rate / (2 * np.pi)) if np.isfinite(pole) else None
    if abs(pole) <= 1 + 1e-9 and _simple(worst):
        return LoopProof((k,), name, "lossless", "a pole on the unit circle", node=label(graph, k))
    growth = float(20 * np.log10(abs(pole)) * rate) if np.isfinite(abs(pole)) else None
    return LoopProof(
        (k,), name, "unstable", "a pole of the filter", frequency_hz=frequency,
        growth_db_per_second=growth, node=label(graph, k),
    )  # fmt: skip


def _simple(a: np.ndarray) -> bool:
    """Whether the poles on the unit circle are single: a double one grows."""
    roots = np.roots(np.trim_zeros(a, "b"))
    edge = roots[np.abs(np.abs(roots) - 1) < 1e-6]
    apart = np.abs(edge[:, None] - edge) + 10 * np.eye(len(edge))
    return bool((np.abs(roots) <= 1 + 1e-9).all() and (apart > 1e-3).all())


def _certificate(
    graph: Graph, proofs: list[LoopProof], forms: dict[int, Form], tolerance: float
) -> Certificate:
    ranges = {k: form.base for k, form in forms.items()}
    peak = [np.maximum(*(np.abs(b) for b in ranges[k])).ravel() for k in graph.outputs]
    margins = [p.margin_db for p in proofs if p.margin_db is not None]
    fading = [p.decay_seconds for p in proofs]
    decay = None if any(d is None for d in fading) else max(fading, default=0.0)  # type: ignore
    found: list[Verdict] = [p.verdict for p in proofs]
    verdict: Verdict = max(found, key=VERDICTS.index) if found else "stable"
    controls = sorted(
        {
            (str(n["name"]), float(n["minimum"]), float(n["maximum"]))  # type: ignore[arg-type]
            for n in graph.nodes
            if n.op == "control"
        }
    )
    return Certificate(
        graph.name, graph.sample_rate, verdict, min(margins, default=None), decay,
        tuple(float(v) for part in peak for v in part), tuple(proofs), tolerance,
        tuple(controls), ranges,
    )  # fmt: skip


__all__ = ["SINGLE", "certify"]
