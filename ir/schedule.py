"""In which order, and in blocks of which length, to compute a graph that has loops.

Within a block no longer than a delay, what leaves the delay is known before what enters it. So a
loop runs block by block: the delays at least as long as the block are *cut*, what remains is
computed in order, and loops that remain within are scheduled in the same way inside the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ir.cycles import components, is_loop, least_delay, order
from ir.graph import Graph

STEP_COST = 1.0
SAMPLE_COST = 1 / 400
"""What an operation costs on a block: a fixed part, and a part for each sample."""


CHOICES = (12, 4, 2, 1)
"""How many block lengths are tried for a loop, for a loop in a loop, and so on; more deeply, one.

All would be exponential in the number of different delays.
"""


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop to run in blocks.

    Attributes:
        block: Samples a block.
        cuts: The delays whose output is read before their input is computed.
        body: What to compute in each block, in order; contains the cuts too.
    """

    block: int
    cuts: tuple[int, ...]
    body: tuple[Step, ...]

    def members(self) -> tuple[int, ...]:
        """All nodes inside, those of inner loops included."""
        found: list[int] = []
        for step in self.body:
            found.extend(step.members() if isinstance(step, Loop) else (step,))
        return tuple(found)


Step = int | Loop


def schedule(graph: Graph, length: int) -> tuple[Step, ...]:
    """The steps that compute `length` samples of every node.

    Raises:
        DelayFreeLoopError: a cycle passes no delay.
    """
    order(graph)
    return _steps(graph, range(len(graph.nodes)), frozenset(), length, 0)[0]


def _steps(
    graph: Graph, nodes: Sequence[int], cuts: frozenset[int], length: int, depth: int
) -> tuple[tuple[Step, ...], float]:
    def edges(k: int) -> tuple[int, ...]:
        # A delay's other inputs (lengths, initial values) are needed even where it is cut.
        inputs = graph.nodes[k].inputs
        return inputs[1:] if k in cuts else inputs

    steps: list[Step] = []
    cost = 0.0
    for group in components(nodes, edges):
        if is_loop(group, edges):
            loop, added = _loop(graph, group, cuts, length, depth)
            steps.append(loop)
            cost += added
        else:
            steps.append(group[0])
            cost += STEP_COST + SAMPLE_COST * length * max(1, graph.nodes[group[0]].type.size)
    return tuple(steps), cost


def _loop(
    graph: Graph, group: Sequence[int], cuts: frozenset[int], length: int, depth: int
) -> tuple[Loop, float]:
    """The cheapest block length for a loop: one of its delays."""
    delays = {k: least_delay(graph.nodes[k]) for k in group if k not in cuts}
    best: tuple[Loop, float] | None = None
    for block in _choices({min(m, length) for m in delays.values() if m >= 1}, depth):
        cut = tuple(k for k in group if delays.get(k, 0) >= block)
        if not _opens(graph, group, cuts | set(cut)):
            continue
        body, cost = _steps(graph, group, cuts | set(cut), block, depth + 1)
        if any(isinstance(step, Loop) and not set(cut).isdisjoint(step.members()) for step in body):
            # A variable delay whose lengths depend on its own output: a shorter block cuts both.
            continue
        total = -(-length // block) * cost
        if best is None or total < best[1]:
            best = Loop(block, cut, body), total
    assert best is not None, "a verified loop has a delay"
    return best


def _choices(lengths: set[int], depth: int) -> list[int]:
    """Some of the lengths, spread evenly, longest first; the shortest too, which always opens."""
    count = CHOICES[min(depth, len(CHOICES) - 1)]
    ranked = sorted(lengths, reverse=True)
    if len(ranked) <= count:
        return ranked
    step = (len(ranked) - 1) / max(1, count - 1)
    return [*(ranked[round(step * k)] for k in range(count - 1)), ranked[-1]]


def _opens(graph: Graph, group: Sequence[int], cuts: frozenset[int]) -> bool:
    """Whether the cuts take something from the loop, so that what remains is smaller."""

    def edges(k: int) -> tuple[int, ...]:
        return graph.nodes[k].inputs[1:] if k in cuts else graph.nodes[k].inputs

    inner = components(group, edges)
    return len(inner) > 1 or not is_loop(inner[0], edges)
