"""Where to cut a loop open: few channels, so that few unknowns have to be solved for."""

from __future__ import annotations

from collections.abc import Sequence

from ir.cycles import components
from ir.graph import Graph
from ir.ops import OPS


def cut_nodes(graph: Graph, group: Sequence[int]) -> tuple[int, ...]:
    """Nodes of a loop without which no cycle remains in it, with few channels in all.

    The least such set is hard to find; the reductions of Levy and Low ("A contraction algorithm for
    finding small cycle cutsets", Journal of Algorithms 9(4), 1988), here with weights, find it for
    the loops that people build, and elsewhere a greedy choice fills in. Of equally large nodes a
    delay or a filter is cut: what mixes the channels then lies between an unknown and the first
    operation that depends on frequency, and is the same at all frequencies.
    """
    members, chosen = set(group), set(_Reduction(graph, group).chosen())
    for k in sorted(chosen, key=lambda k: (-_weight(graph, k), k)):
        if not _returns(graph, members - (chosen - {k}), k):
            chosen.discard(k)
    return tuple(sorted(chosen))


def order_without(graph: Graph, group: Sequence[int], cuts: Sequence[int]) -> list[int]:
    """The nodes of a loop, each after those it reads, except that cut nodes come first."""
    cut = set(cuts)
    found = components(group, lambda k: () if k in cut else graph.nodes[k].inputs)
    return [part[0] for part in found]


def _returns(graph: Graph, members: set[int], k: int) -> bool:
    """Whether a node lies on a cycle of members."""
    seen: set[int] = set()
    work = [k]
    while work:
        sources = members.intersection(graph.nodes[work.pop()].inputs) - seen
        if k in sources:
            return True
        seen |= sources
        work.extend(sources)
    return False


def _weight(graph: Graph, k: int) -> int:
    """Channels first; then operations of time before others. At least 1."""
    node = graph.nodes[k]
    return node.type.size * len(graph.nodes) * 2 + 1 + (OPS[node.op].family != "time")


class _Reduction:
    """A loop's graph, which shrinks while nodes are chosen or turn out not to matter."""

    def __init__(self, graph: Graph, group: Sequence[int]) -> None:
        members = set(group)
        self.weight = {k: _weight(graph, k) for k in group}
        self.before = {k: members.intersection(graph.nodes[k].inputs) for k in group}
        self.after: dict[int, set[int]] = {k: set() for k in group}
        for k, sources in self.before.items():
            for source in sources:
                self.after[source].add(k)

    def chosen(self) -> list[int]:
        found: list[int] = []
        work = list(self.before)
        while self.before:
            while work:
                k = work.pop()
                if k in self.before:
                    work.extend(self._reduce(k, found))
            if self.before:
                best = max(self.before, key=self._use)
                found.append(best)
                work.extend(self._remove(best))
        return found

    def _use(self, k: int) -> float:
        """How many paths a node lies on, for its weight."""
        return len(self.before[k]) * len(self.after[k]) / self.weight[k]

    def _reduce(self, k: int, found: list[int]) -> set[int]:
        """Applies one reduction to a node; returns the nodes to look at again."""
        before, after = self.before[k], self.after[k]
        if k in before:
            found.append(k)
            return self._remove(k)
        if not before or not after:
            return self._remove(k)
        # All cycles through k pass its one neighbour, which is no dearer.
        if len(before) == 1 and self.weight[next(iter(before))] <= self.weight[k]:
            return self._bypass(k)
        if len(after) == 1 and self.weight[next(iter(after))] <= self.weight[k]:
            return self._bypass(k)
        return set()

    def _bypass(self, k: int) -> set[int]:
        before, after = self.before[k], self.after[k]
        touched = self._remove(k)
        for source in before:
            for target in after:
                self.after[source].add(target)
                self.before[target].add(source)
        return touched

    def _remove(self, k: int) -> set[int]:
        before, after = self.before.pop(k) - {k}, self.after.pop(k) - {k}
        for source in before:
            self.after[source].discard(k)
        for target in after:
            self.before[target].discard(k)
        return before | after
