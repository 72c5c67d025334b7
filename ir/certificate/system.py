"""A loop as a system of atoms: v = M w + e, w = Δ v.

v_a is what enters atom a, w_a what it returns, and e what comes from outside. Chains of atoms, each
of which hears the one before it alone, are put together into *lanes*: a delay line with its filters
is one, and the bound on what it can do is that of its filters together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ir.certificate import filters
from ir.certificate.forms import Atoms, Context, Form, Mode
from ir.certificate.intervals import Interval
from ir.certificate.region import Region
from ir.certificate.rules import absolute, evaluate
from ir.cycles import components, is_loop
from ir.graph import Graph


@dataclass(frozen=True, slots=True)
class Atom:
    """One scalar atom; see `Atoms`."""

    kind: str
    node: int
    channel: int
    delay: tuple[int, int] = (0, 0)
    filter: tuple[np.ndarray, np.ndarray] | None = None
    gain: float = 1.0
    region: Region | None = None

    @property
    def linear(self) -> bool:
        """Whether it is linear and time-invariant."""
        return self.kind not in ("gain", "moving", "region")


@dataclass(frozen=True, eq=False)
class System:
    """v = (C ± R) w + e.

    Attributes:
        atoms: What w_a = Δ_a v_a is.
        C: (atoms, atoms).
        R: Likewise; the range of each coefficient, at each sample.
        outside: |e_a| at most.
        offset: The middle of the range of e_a.
        injected: What initial values add to |w_a| at most.
        forms: The form of every node of the loop.
    """

    atoms: tuple[Atom, ...]
    C: np.ndarray
    R: np.ndarray
    outside: np.ndarray
    offset: np.ndarray
    injected: np.ndarray
    forms: Mapping[int, Form]

    @property
    def linear(self) -> bool:
        """Whether every atom is linear and time-invariant."""
        return all(atom.linear for atom in self.atoms)

    @cached_property
    def size(self) -> np.ndarray:
        """|C| + R."""
        return np.abs(self.C) + self.R

    @cached_property
    def lanes(self) -> tuple[tuple[int, ...], ...]:
        """Atoms in chains; every atom is in one."""
        linked = self.size > 0
        only_source = {a: int(np.flatnonzero(row)[0]) for a, row in enumerate(linked)
                       if row.sum() == 1}  # fmt: skip
        heard_by_one = linked.sum(0) == 1
        after = {s: a for a, s in only_source.items() if heard_by_one[s] and s != a}
        before = {a: s for s, a in after.items()}
        lanes, done = [], set()
        for a in range(len(self.atoms)):
            if a in done:
                continue
            head, seen = a, {a}
            while head in before and before[head] not in seen:
                head = before[head]
                seen.add(head)
            chain = [head]
            while chain[-1] in after and after[chain[-1]] not in chain:
                chain.append(after[chain[-1]])
            done.update(chain)
            lanes.append(tuple(chain))
        return tuple(lanes)

    @cached_property
    def blocks(self) -> list[list[int]]:
        """Lanes that hear each other, each group after those it hears."""
        S = self.between != 0
        hears = [np.flatnonzero(row).tolist() for row in S]
        return components(range(len(self.lanes)), lambda i: hears[i])

    @cached_property
    def between(self) -> np.ndarray:
        """|C| + R from the end of one lane to the beginning of another."""
        heads, tails = ([lane[k] for lane in self.lanes] for k in (0, -1))
        return self.size[np.ix_(heads, tails)]

    def joints(self) -> tuple[np.ndarray, np.ndarray]:
        """C and R from the end of one lane to the beginning of another."""
        heads, tails = ([lane[k] for lane in self.lanes] for k in (0, -1))
        return self.C[np.ix_(heads, tails)], self.R[np.ix_(heads, tails)]

    def links(self, lane: Sequence[int]) -> list[float]:
        """|C| + R between the atoms of a lane."""
        return [float(self.size[b, a]) for a, b in pairwise(lane)]

    def loops(self) -> Iterator[list[int]]:
        """Groups of lanes that feed back."""
        S = self.between
        for group in self.blocks:
            if is_loop(group, lambda i: np.flatnonzero(S[i]).tolist()):
                yield group


def build(
    graph: Graph,
    group: Sequence[int],
    sequence: Sequence[int],
    outside: Mapping[int, Form],
    mode: Mode,
    reachable: dict[int, Interval] | None = None,
    regions: Mapping[int, Region] | None = None,
) -> tuple[System, Context]:
    """The system of a loop.

    Args:
        graph: The graph.
        group: The loop's nodes.
        sequence: The same in the order in which they can be computed.
        outside: Forms of all nodes that the loop reads and is not made of.
        mode: How what changes is written.
        reachable: Ranges in which values are taken to lie, by node.
        regions: Parts that are looked at as a whole, by their outputs; they have no forms inside.
    """
    context = Context(graph, mode, reachable, outside)
    forms: dict[int, Form] = {}
    members = set(group)
    regions = regions or {}
    hidden = {k for region in regions.values() for k in region.inside}
    for k in sequence:
        node = graph.nodes[k]
        if k in hidden:
            continue
        if k in regions:
            everywhere, region = np.ones(node.shape, bool), regions[k]
            forms[k] = context.make("region", node, k, region.source, everywhere, region=region)
            continue
        inputs = [forms.get(s) if s in members else outside[s] for s in node.inputs]
        forms[k] = evaluate(context, k, node, inputs)
    return _assembled(context, forms), context


def _assembled(context: Context, forms: dict[int, Form]) -> System:
    count = context.count
    atoms: list[Atom] = []
    C, R = np.zeros((count, count)), np.zeros((count, count))
    outside, offset, injected = np.zeros(count), np.zeros(count), np.zeros(count)
    for made in context.atoms:
        form = made.source if isinstance(made.source, Form) else forms[made.source]
        rows = list(made.numbers)
        c, r = (v.reshape(len(v), -1)[:, made.channels] for v in (form.c, form.r))
        C[rows, : form.atoms], R[rows, : form.atoms] = c[1:].T, r[1:].T
        outside[rows], offset[rows] = np.abs(c[0]) + r[0], c[0]
        if len(made.injected):
            injected[rows] = made.injected
        atoms.extend(_atom(made, i) for i in range(made.count))
    return System(tuple(atoms), C, R, outside, offset, injected, forms)


def _atom(made: Atoms, i: int) -> Atom:
    channel = int(made.channels[i])
    if made.kind == "delay":
        m = int(made.delays[i])
        return Atom("delay", made.node, channel, (m, m))
    if made.kind == "moving":
        low, high = (int(v) for v in made.delays[i])
        return Atom("delay" if low == high else "moving", made.node, channel, (low, high))
    if made.kind == "region":
        return Atom("region", made.node, channel, made.region.delay, region=made.region)
    if made.kind == "gain":
        return Atom("gain", made.node, channel, gain=float(made.gain[i]))
    return Atom(made.kind, made.node, channel, filter=made.filters[i])


def lane_gains(
    system: System, each: np.ndarray, radius: float = 1.0, inside: bool = True
) -> np.ndarray:
    """Bounds of the lanes from those of their atoms; cascades of filters are bounded together."""
    found = np.ones(len(system.lanes))
    cascades: list[np.ndarray] = []
    where: list[int] = []
    for i, lane in enumerate(system.lanes):
        parts = [a for a in lane if system.atoms[a].kind == "sections"]
        together = len(parts) > 1
        found[i] = np.prod([each[a] for a in lane if not together or a not in parts])
        with np.errstate(invalid="ignore"):
            found[i] *= np.prod(system.links(lane)) * (1 + 4 * len(lane) * filters.ULP)
        if np.isnan(found[i]):
            found[i] = np.inf
        if together:
            sections = [filters.as_sections(*system.atoms[a].filter) for a in parts]  # type: ignore
            cascades.append(np.concatenate(sections))
            where.append(i)
    if cascades:
        found[where] *= filters.peak_of_sections(filters.padded(cascades), radius, inside)
    return found


def energy_gains(system: System, radius: float = 1.0, inside: bool = True) -> np.ndarray:
    """How much each atom can amplify signals' energy, weighted by radius^-2t, as amplitude.

    `inside`: as for `filters.peak_of_sections`.
    """
    found = np.ones(len(system.atoms))
    cascades: list[np.ndarray] = []
    where: list[int] = []
    for a, atom in enumerate(system.atoms):
        if atom.kind == "sections":
            cascades.append(filters.as_sections(*atom.filter))  # type: ignore[misc]
            where.append(a)
        else:
            found[a] = energy_gain(atom, radius, inside)
    if cascades:
        found[where] = filters.peak_of_sections(filters.padded(cascades), radius, inside)
    return found


def energy_gain(atom: Atom, radius: float = 1.0, inside: bool = True) -> float:
    """The same of one atom."""
    if atom.kind == "delay":
        return float(np.exp(-atom.delay[0] * np.log(radius)) * (1 + 4 * filters.ULP))
    if atom.kind == "gain":
        return atom.gain
    if atom.region is not None:
        return float(atom.region.gains(radius, inside)[atom.channel])
    if atom.kind == "moving":
        # A sample may be heard again at each of that many times.
        low, high = atom.delay
        return float(np.sqrt(high - low + 1) * np.exp(-high * np.log(radius)))
    b, a = atom.filter  # type: ignore[misc]
    if atom.kind == "taps":
        return filters.peak_of_taps(b[0], radius)
    return filters.peak_of_rational(b[0], a[0], radius, inside)


def peak_gains(system: System, radius: float = 1.0) -> np.ndarray:
    """How much each atom can amplify the largest absolute value, weighted by radius^-t."""
    return np.array([peak_gain(atom, radius) for atom in system.atoms])


def peak_gain(atom: Atom, radius: float = 1.0) -> float:
    """The same of one atom: the sum of its impulse response's absolute values."""
    if atom.kind in ("delay", "moving"):
        return float(np.exp(-atom.delay[1] * np.log(radius)) * (1 + 4 * filters.ULP))
    if atom.kind == "gain":
        return atom.gain
    if atom.region is not None:
        return float(atom.region.sums(radius)[atom.channel])
    b, a = atom.filter  # type: ignore[misc]
    powers = radius ** -np.arange(float(b.shape[1]))
    return sum(absolute(atom.kind, b * powers, a * powers[: a.shape[1]]))
