"""What rounding does to the outputs: predicted from the linear noise model, and measured.

The model: each rounding adds noise that is white, of variance q² / 12, and independent of all else.
A linear program carries the noise of node k to output o by a response h_ko, so that the variance
there is Σ_k σ_k² Σ_t h_ko[t]². Oppenheim and Schafer, "Discrete-Time Signal Processing", 3rd
edition, section 6.9; Jackson, "On the interaction of roundoff noise and dynamic range in digital
filters", Bell System Technical Journal 49, 1970. Likewise a signal's peak, for inputs within ±1, is
Σ_t |h[t]| over the responses to all inputs, and no less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ir.cycles import label
from ir.graph import Graph
from ir.linearity import fixed_nodes, is_linear
from ir.precision.blocks import Runner, Value, recursion
from ir.precision.formats import MOVING, Formats

MEMORY = 3e7
"""Numbers that the copies of a program may hold at once."""
REMAINING = 2e-3
"""Share of a response's energy in its last half at which it counts as over: less than 0.01 dB."""
ENDED = 0.1
"""Share of the sum of a response's magnitudes in its last half at which it counts as over."""
FIRST, JUDGED, LONGEST = 2**12, 2**16, 2**19
"""Samples of a response that are looked at: at first; until one that does not fade is given up; and
at most."""
FADING = 0.998
"""Of what the first half has, the last half has less, if a response fades."""


class Exact:
    """Results as float64 has them."""

    def store(self, k: int, exact: Value, start: int) -> Value:
        """As it is."""
        return exact

    def recur(self, k: int, forward: Value, a: Value, past: Value, start: int) -> Value:
        """As it is."""
        return recursion(forward, a, past)


class Pulses(Exact):
    """As `Exact`, and in each copy one channel of one node is one more at the first sample."""

    def __init__(self, sources: list[tuple[int, tuple[int, ...]]]) -> None:
        self.at: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        for copy, (k, channel) in enumerate(sources):
            self.at.setdefault(k, []).append((copy, channel))

    def store(self, k: int, exact: Value, start: int) -> Value:
        """With the pulses of this node."""
        if start or k not in self.at:
            return exact
        found = np.array(exact)
        for copy, channel in self.at[k]:
            found[(*channel, copy, 0)] += 1.0
        return found

    def recur(self, k: int, forward: Value, a: Value, past: Value, start: int) -> Value:
        """A filter is rounded within its recursion, and hears it again."""
        return recursion(self.store(k, forward, start), a, past)


class Rounded:
    """Results rounded to the nearest number of their format, ties to even; counts what overflows.

    Args:
        formats: Of the signals.
        saturate: Whether what is too large becomes the largest number, or wraps.
    """

    def __init__(self, formats: Formats, saturate: bool) -> None:
        self.saturate = saturate
        self.overflows: dict[int, int] = {}
        self.largest: dict[int, float] = {}
        nodes = formats.program.graph.nodes
        self.moving = {k for k in formats.integer if nodes[k].op in MOVING}
        self.step = {k: 2.0 ** formats.exponent(k).astype(float) for k in formats.integer}
        self.full = {k: 2.0 ** v.astype(float) for k, v in formats.integer.items()}

    def store(self, k: int, exact: Value, start: int) -> Value:
        """On the format's grid and within its range."""
        if k in self.moving:
            return exact
        step, full = self.step[k][..., None, None], self.full[k][..., None, None]
        found = np.rint(exact / step) * step
        over = (found < -full) | (found > full - step)
        if over.any():
            self.overflows[k] = self.overflows.get(k, 0) + int(over.sum())
            found = self._within(found, step, full)
        return found

    def recur(self, k: int, forward: Value, a: Value, past: Value, start: int) -> Value:
        """Sample by sample: sums in full precision, then rounded."""
        order = len(a)
        step, full = self.step[k][..., None], self.full[k][..., None]
        ys = np.concatenate([np.moveaxis(past, -1, 0), np.moveaxis(forward, -1, 0)]) / step
        rows = [row[..., None] for row in a]
        limit = full / step
        for t in range(order, len(ys)):
            y = ys[t]
            for j, row in enumerate(rows, 1):
                y = y - row * ys[t - j]
            y = np.rint(y)
            if ((y < -limit) | (y > limit - 1)).any():
                over = (y < -limit) | (y > limit - 1)
                self.overflows[k] = self.overflows.get(k, 0) + int(over.sum())
                y = self._within(y, 1.0, limit)
            ys[t] = y
        return np.moveaxis(ys[order:] * step, 0, -1)

    def _within(self, x: Value, step: Value | float, full: Value) -> Value:
        if self.saturate:
            return np.clip(x, -full, full - step)
        return (x + full) % (2 * full) - full


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the linear model says.

    Attributes:
        variance: Of the noise in each output channel.
        shares: What each node adds to it, (outputs,), by node.
    """

    variance: np.ndarray
    shares: dict[int, np.ndarray]


def nonlinear(graph: Graph) -> str:
    """The first node through which the model of noise does not hold; empty if there is none."""
    still = fixed_nodes(graph)
    signals = set(range(len(graph.nodes))) - still
    for k, node in graph:
        if k in signals and node.op != "input":
            hears = any(s in signals for s in node.inputs)
            if not hears or node.type.kind != "real" or not is_linear(node, signals, still):
                return label(graph, k)
    return ""


def predicted(formats: Formats, runner: Runner) -> Prediction | None:
    """The noise of a linear program's outputs.

    Returns:
        None where the program is not linear, or its responses do not end.
    """
    graph = formats.program.graph
    if nonlinear(graph):
        return None
    variances = {k: formats.variance(k) for k in formats.integer}
    sources = [
        (k, c)
        for k, v in variances.items()
        for c in np.ndindex(v.shape)
        if v[c] > 0 and graph.nodes[k].op != "input"
    ]
    outputs = graph.output_channels
    shares: dict[int, np.ndarray] = {}
    size = _size(runner)
    length, position = FIRST, 0
    while position < len(sources):
        copies = int(max(1, min(MEMORY // (size * length), len(sources) - position)))
        chosen = sources[position : position + copies]
        energy, rest = _energies(runner, chosen, length)
        if (rest > REMAINING * np.maximum(energy, 1e-300)).any():
            stays = (rest > FADING * (energy - rest)).any()
            if length >= LONGEST or (stays and length >= JUDGED):
                return None
            length *= 2
            continue
        for (k, channel), e in zip(chosen, energy, strict=True):
            shares[k] = shares.get(k, np.zeros(outputs)) + variances[k][channel] * e
        position += copies
    return Prediction(sum(shares.values(), np.zeros(outputs)), shares)


def _energies(
    runner: Runner, sources: list[tuple[int, tuple[int, ...]]], length: int
) -> tuple[np.ndarray, np.ndarray]:
    """The energy of each source's response at each output: of all, and of the last half."""
    count = len(sources)
    ys = runner.run(Pulses(sources), _silence(runner, count + 1, length), length, count + 1)
    flat = np.concatenate([_without_rest(y).reshape(-1, count, length) for y in ys])
    squared = flat.transpose(1, 0, 2) ** 2
    return squared.sum(-1), squared[..., length // 2 :].sum(-1)


def _size(runner: Runner) -> int:
    """Numbers at one sample of one copy."""
    return sum(n.type.size for k, n in runner.graph if k not in runner.fixed)


def _silence(runner: Runner, copies: int, length: int) -> list[Value]:
    shapes = [runner.graph.nodes[k].shape for k in runner.graph.inputs]
    return [np.zeros((*shape, copies, length)) for shape in shapes]


def _without_rest(x: Value) -> Value:
    """Without what the last copy, which had no pulse, has of initial values and constants."""
    return x[..., :-1, :] - x[..., -1:, :]


def worst_peaks(runner: Runner) -> dict[int, np.ndarray] | None:
    """Each signal's peak for inputs within ±1, from the responses of a linear program.

    The sums are exact up to where the responses are cut, and beyond, at most 2 %, estimated.

    Returns:
        None where the program is not linear, or its responses do not end.
    """
    graph = runner.graph
    if nonlinear(graph):
        return None
    sources = [(k, c) for k in graph.inputs for c in np.ndindex(graph.nodes[k].shape)]
    count, size, length = len(sources), _size(runner), FIRST
    while length <= LONGEST and size * length * (count + 1) <= 8 * MEMORY:
        runner.run(Pulses(sources), _silence(runner, count + 1, length), length, count + 1)
        found, over, stays = {}, True, False
        for k, x in enumerate(runner.values):
            if k in runner.fixed:
                continue
            sums = np.abs(_without_rest(x)).sum(-2)
            early, late = sums[..., : length // 2].sum(-1), sums[..., length // 2 :].sum(-1)
            over = over and bool((late <= ENDED * early).all())
            stays = stays or bool((late > FADING * early).any())
            # What fades by late / early in each half adds late² / (early - late) after the end, and
            # twice that allows for parts that fade more slowly.
            rest = 2 * late**2 / np.maximum(early - late, 1e-300)
            found[k] = early + late + rest + np.abs(x[..., -1, :]).max(-1)
        if over:
            return found
        if stays and length >= JUDGED:
            return None
        length *= 2
    return None


__all__ = ["Exact", "Prediction", "Rounded", "nonlinear", "predicted", "worst_peaks"]
