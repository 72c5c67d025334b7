"""A linear loop's coefficients as functions of a few numbers θ, over many boxes of θ at once.

Where θ turns energy from one line into another, M(θ)ᵀ M(θ) hardly changes, though M does. So not
M but G = Sᵀ S, S = D M Γ D^-1, is followed by the mean value theorem: over a box of middle m,

    G(θ) ∈ G(m) + Σ_v [S_vᵀ S + Sᵀ S_v] (θ_v - m_v),

S_v the slopes of S over the box. Where they cancel, the error falls with the square of the box. The
same of the sums of absolute values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ir.certificate.chain import RULES, Reach
from ir.certificate.functions import Functions
from ir.certificate.intervals import Interval, product
from ir.certificate.small_gain import UNIT
from ir.certificate.system import System
from ir.graph import Node

MOVED = frozenset(("reshape", "transpose", "broadcast", "slice", "take", "sum", "neg"))
LARGEST = 2**22
"""Numbers that may be held for one box."""


@dataclass(frozen=True, eq=False)
class Coefficients:
    """C(θ) of a linear loop.

    Args:
        functions: What multiplies in the loop, as functions of θ.
        sequence: The loop's nodes in the order in which they can be computed.
        hidden: Those that are looked at as a whole elsewhere.
        system: The loop over the whole box, for its atoms.
    """

    functions: Functions
    sequence: Sequence[int]
    hidden: frozenset[int]
    system: System

    def over(self, low: np.ndarray, high: np.ndarray, slopes: bool = True) -> Reach | None:
        """(boxes, atoms that hear, atoms that are heard); None for what is not linear."""
        known = self.functions.over(low, high, slopes)
        graph = self.functions.graph
        boxes, count = len(low), low.shape[1] if slopes else 0
        atoms = self.system.atoms
        if (1 + count) * len(atoms) ** 2 > LARGEST:
            return None
        at: dict[int, list[tuple[int, int]]] = {}
        for a, atom in enumerate(atoms):
            at.setdefault(atom.node, []).append((a, atom.channel))
        forms: dict[int, Reach] = {}
        members = set(self.sequence)
        for k in self.sequence:
            if k in self.hidden:
                continue
            node = graph.nodes[k]
            made = at.get(k, [])
            forms_or = [forms.get(s) if s in members else known.get(s) for s in node.inputs]
            loops = [s in members for s in node.inputs]
            value = self._zero(boxes, count, node.type.size)
            for a, channel in made:
                value.value[0][:, a, channel] = value.value[1][:, a, channel] = 1
            if k in self._regions or self._late(node):
                direct = self._direct(node, forms_or, {channel for _, channel in made})
                forms[k] = value if direct is None else _plus(value, direct)
                continue
            if made:
                return None
            found = self._linear(node, forms_or, loops)
            if found is None:
                return None
            forms[k] = found
        return self._assembled(forms, boxes, count)

    @property
    def _regions(self) -> Mapping[int, int]:
        return {a.node: a.region.source for a in self.system.atoms if a.region is not None}

    def _late(self, node: Node) -> bool:
        return node.op in ("delay", "variable_delay", "fir", "iir", "sos")

    def _zero(self, boxes: int, count: int, size: int) -> Reach:
        n = len(self.system.atoms)
        value = np.zeros((boxes, n, size)), np.zeros((boxes, n, size))
        slope = np.zeros((boxes, count, n, size))
        return Reach(value, (slope, slope))

    def _direct(self, node: Node, inputs: Sequence[Reach | None], made: set[int]) -> Reach | None:
        """Channels of a delay of no length."""
        if node.op != "delay" or inputs[0] is None or all(node.ints("samples")):
            return None
        keep = np.array([n == 0 for n in node.ints("samples")])
        keep = keep & ~np.isin(np.arange(len(keep)), list(made))
        parts = [
            tuple(np.where(keep, b, 0.0) for b in p) for p in (inputs[0].value, inputs[0].slope)
        ]
        return Reach(*parts)  # type: ignore[arg-type]

    def _linear(
        self, node: Node, inputs: Sequence[Reach | None], loops: Sequence[bool]
    ) -> Reach | None:
        if any(x is None for x in inputs):
            return None
        xs: list[Reach] = [x if loop else _lifted(x) for x, loop in zip(inputs, loops, strict=True)]  # type: ignore
        rule, scope = RULES.get(node.op), self.functions.scope
        with np.errstate(all="ignore"):
            if node.op in ("add", "sub"):
                size = node.type.size
                xs = [
                    _spread(x if loop else _none_of(x), size)
                    for x, loop in zip(xs, loops, strict=True)
                ]
                return rule(scope, node, xs)  # type: ignore[misc]
            if node.op in MOVED:
                return rule(scope, node, xs)  # type: ignore[misc]
            if node.op == "concatenate":
                n = len(self.system.atoms)
                xs = [
                    _broadcast(x if loop else _none_of(x), n)
                    for x, loop in zip(xs, loops, strict=True)
                ]
                return rule(scope, node, xs)  # type: ignore[misc]
            if node.op in ("mul", "einsum") and sum(loops) == 1:
                return rule(scope, node, xs)  # type: ignore[misc]
            if node.op == "div" and list(loops) == [True, False]:
                return rule(scope, node, xs)  # type: ignore[misc]
            if node.op == "select" and not loops[0]:
                size = node.type.size
                xs = [xs[0], *(_spread(x if loop else _none_of(x), size)
                               for x, loop in zip(xs[1:], loops[1:], strict=True))]  # fmt: skip
                return rule(scope, node, xs)  # type: ignore[misc]
        return None

    def _assembled(self, forms: Mapping[int, Reach], boxes: int, count: int) -> Reach | None:
        n = len(self.system.atoms)
        value = np.zeros((boxes, n, n)), np.zeros((boxes, n, n))
        slope = np.zeros((boxes, count, n, n)), np.zeros((boxes, count, n, n))
        graph = self.functions.graph
        for a, atom in enumerate(self.system.atoms):
            source = self._regions.get(atom.node, graph.nodes[atom.node].inputs[0])
            form = forms.get(source)
            if form is None:
                return None
            for e in (0, 1):
                value[e][:, a] = form.value[e][:, :, atom.channel]
                slope[e][:, :, a] = form.slope[e][:, :, :, atom.channel]
        return Reach(value, slope)


def _lifted(x: Reach) -> Reach:
    """What does not depend on atoms, beside what does."""
    value = tuple(b[:, None] for b in x.value)
    slope = tuple(b[:, :, None] for b in x.slope)
    return Reach(value, slope)  # type: ignore[arg-type]


def _none_of(x: Reach) -> Reach:
    zero = tuple(np.zeros_like(b) for b in x.value), tuple(np.zeros_like(b) for b in x.slope)
    return Reach(*zero)  # type: ignore[arg-type]


def _plus(x: Reach, y: Reach) -> Reach:
    return Reach(
        (x.value[0] + y.value[0], x.value[1] + y.value[1]),
        (x.slope[0] + y.slope[0], x.slope[1] + y.slope[1]),
    )


def _spread(x: Reach, size: int) -> Reach:
    parts = [
        tuple(np.broadcast_to(b, (*b.shape[:-1], size)) for b in p) for p in (x.value, x.slope)
    ]
    return Reach(*parts)  # type: ignore[arg-type]


def _broadcast(x: Reach, atoms: int) -> Reach:
    parts = [
        tuple(np.broadcast_to(b, (*b.shape[:-2], atoms, b.shape[-1])) for b in p)
        for p in (x.value, x.slope)
    ]
    return Reach(*parts)  # type: ignore[arg-type]


# -- Bounds ---------------------------------------------------------------------------------------


def scaled(
    x: Reach, heads: Sequence[int], tails: Sequence[int], gains: np.ndarray, d: np.ndarray
) -> Reach:
    """D M Γ D^-1 of some lanes, from M between atoms."""
    at = np.ix_(heads, tails)
    by = (d[:, None] / d) * gains
    wide = np.float64(1 - 8 * UNIT), np.float64(1 + 8 * UNIT)
    by = by * wide[0], by * wide[1]
    value = tuple(b[:, at[0], at[1]] for b in x.value)
    slope = tuple(b[:, :, at[0], at[1]] for b in x.slope)
    return Reach(product(value, by), product(slope, by))  # type: ignore[arg-type]


def sums(whole: Reach, middle: Reach, step: Interval) -> tuple[np.ndarray, np.ndarray]:
    """Bounds on the largest sum of absolute values of a row over each box, and in its middle.

    Args:
        whole: S over boxes, (boxes, n, n), with slopes.
        middle: S in their middles.
        step: From the middles to the ends, (boxes, variables).
    """
    slack = 1 + (whole.value[0].shape[-1] + 4) * 4 * UNIT
    at = np.maximum(np.abs(middle.value[0]), np.abs(middle.value[1])).sum(-1) * slack
    plain = np.maximum(np.abs(whole.value[0]), np.abs(whole.value[1])).sum(-1) * slack
    sign = (
        np.where(whole.value[0] >= 0, 1.0, -1.0)[:, None],
        np.where(whole.value[1] <= 0, -1.0, 1.0)[:, None],
    )
    each = product(sign, whole.slope)
    size = (
        np.maximum(np.abs(each[0]), np.abs(each[1])).sum(-1) * 8 * whole.value[0].shape[-1] * UNIT
    )
    steep = each[0].sum(-1) - size, each[1].sum(-1) + size
    moved = product(steep, (step[0][:, :, None], step[1][:, :, None]))[1].sum(1)
    found = np.fmin(plain, (at + moved) * slack)
    return found.max(-1), at.max(-1)


def norms(whole: Reach, middle: Reach, step: Interval) -> tuple[np.ndarray, np.ndarray]:
    """Bounds on the largest singular value over each box, and in its middle."""
    finite = np.isfinite(whole.value[0]).all((1, 2)) & np.isfinite(whole.value[1]).all((1, 2))
    n = whole.value[0].shape[-1]
    T, W = _centred(whole.value)
    C, R = _centred(middle.value)
    plain = _largest(_gram(T, T)) + _wide(_gram_error(T, W))
    at = _largest(_gram(C, C)) + _wide(_gram_error(C, R))
    D, E = _centred(whole.slope)
    size = np.abs(D).swapaxes(-1, -2) @ W[:, None] + E.swapaxes(-1, -2) @ (np.abs(T) + W)[:, None]
    size = size + 4 * n * UNIT * (np.abs(D).swapaxes(-1, -2) @ np.abs(T)[:, None])
    centre = D.swapaxes(-1, -2) @ T[:, None]
    centre, size = centre + centre.swapaxes(-1, -2), size + size.swapaxes(-1, -2)
    reach = np.maximum(np.abs(step[0]), np.abs(step[1]))
    moved = (reach * _wide(np.abs(centre) + size)).sum(1) * (1 + 1e-12)
    with np.errstate(invalid="ignore"):
        found = np.sqrt(np.fmax(np.fmin(plain, at + moved), 0)) * (1 + 4 * UNIT)
    return np.where(finite, found, np.inf), np.sqrt(at)


def gram_norms(S: np.ndarray) -> np.ndarray:
    """Bounds on the largest singular values of some matrices."""
    square = np.abs(S)
    error = _wide(4 * S.shape[-1] * UNIT * _gram(square, square))
    return np.sqrt(np.maximum(_largest(_gram(S, S)) + error, 0)) * (1 + 4 * UNIT)


def _centred(x: Interval) -> tuple[np.ndarray, np.ndarray]:
    low, high = (np.where(np.isfinite(b), b, 0.0) for b in x)
    middle = 0.5 * (low + high)
    radius = np.maximum(high - middle, middle - low) * (1 + 4 * UNIT)
    infinite = ~(np.isfinite(x[0]) & np.isfinite(x[1]))
    return middle, np.where(infinite, np.inf, radius)


def _gram(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x.swapaxes(-1, -2) @ y


def _gram_error(T: np.ndarray, W: np.ndarray) -> np.ndarray:
    """How far Sᵀ S may be from Tᵀ T for |S - T| ≤ W."""
    size = np.abs(T)
    with np.errstate(invalid="ignore"):
        cross = _gram(size, W)
        error = cross + cross.swapaxes(-1, -2) + _gram(W, W)
    return np.nan_to_num(error, nan=np.inf, posinf=np.inf) + 4 * len(T[0]) * UNIT * _gram(
        size, size
    )


def _wide(R: np.ndarray) -> np.ndarray:
    """A bound on the norms of all symmetric matrices of magnitudes of at most R."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(R.sum(-1).max(-1), nan=np.inf, posinf=np.inf) * (1 + 1e-12)


def _largest(G: np.ndarray) -> np.ndarray:
    """Bounds on the largest eigenvalues of symmetric matrices, proved as in `small_gain.norm`."""
    n = G.shape[-1]
    if n == 1:
        return G[:, 0, 0].copy()
    size = np.abs(G).sum((-1, -2))
    guess = np.linalg.eigvalsh(G)[:, -1] + 64 * n * UNIT * size
    lost = 8 * (n + 4) * UNIT * (size + n * np.abs(guess))
    shifted = (guess + 2 * lost)[:, None, None] * np.eye(n) - G
    try:
        np.linalg.cholesky(shifted - lost[:, None, None] * np.eye(n))
    except np.linalg.LinAlgError:
        return size
    return (guess + 2 * lost) * (1 + 4 * UNIT)


__all__ = ["Coefficients", "gram_norms", "norms", "scaled", "sums"]
