"""Looks for inputs within ±1 that make a program's signals grow, or its outputs pass a bound.

Three searches, one after another: common signals; periodic patterns that breed; and a beam that at
each sample keeps, of all sign patterns of the inputs, the copies with the most energy. What is
found is a fact. That nothing is found proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from stability_machine import Machine

import ir

Array = np.ndarray
GROWN = 1e15
"""A signal of this size has grown: no program that is attacked here has gains near it."""
LONGEST = 48
"""Samples of a periodic pattern, at most."""


@dataclass(frozen=True)
class Attack:
    """What was found.

    Attributes:
        grown: Whether a state or an output passed `GROWN` or ceased to be a number.
        exceeded: Whether an output passed its bound.
        peaks: The largest magnitude of each scalar output.
        how: Which search found it, or "".
        time: At which sample.
    """

    grown: bool
    exceeded: bool
    peaks: tuple[float, ...]
    how: str = ""
    time: int = 0

    @property
    def found(self) -> bool:
        """Whether it succeeded."""
        return self.grown or self.exceeded


class _Watch:
    """Compares outputs with bounds."""

    def __init__(self, program: ir.Program, bounds: Sequence[float] | None) -> None:
        types = [program.graph.nodes[k].type for k in program.graph.outputs]
        self.real = np.repeat([t.kind == "real" for t in types], [t.size for t in types])
        limits = np.full(len(self.real), np.inf) if bounds is None else np.array(bounds, float)
        assert limits.shape == self.real.shape
        # The machine rounds: a sum of thousands of terms, each to 1e-16.
        self.limits = limits * (1 + 1e-9) + 1e-12
        self.peaks = np.zeros(len(self.real))
        self.found: Attack | None = None

    def look(self, machine: Machine, outputs: list[Array], how: str) -> bool:
        rows = [np.abs(y.astype(float)).reshape(-1, machine.copies) for y in outputs]
        # A maximum that meets what is no number is no number.
        tops = np.where(self.real, np.concatenate(rows).max(1), 0.0)
        self.peaks = np.maximum(self.peaks, tops)
        exceeded = not np.all(tops <= self.limits)
        grown = not np.all(tops < GROWN)
        if not grown and machine.t % 64 == 0:
            grown = bool(np.any(~(machine.level() < GROWN)))
        if grown or exceeded:
            self.found = Attack(grown, exceeded, tuple(self.peaks.tolist()), how, machine.t)
        return grown or exceeded


def attack(
    program: ir.Program,
    bounds: Sequence[float] | None = None,
    seed: int = 0,
    effort: float = 1.0,
) -> Attack:
    """Attacks a program.

    Args:
        program: Its real inputs are given numbers within ±1, others integers from -1 to 1.
        bounds: For each scalar output, what it must not pass.
        seed: Of the random numbers.
        effort: Scales how long it tries: about a second for a small program at 1.
    """
    rng = np.random.default_rng(seed)
    watch = _Watch(program, bounds)
    for search in (_common, _breed, _beam):
        if search(program, watch, rng, effort):
            assert watch.found is not None
            return watch.found
    return Attack(False, False, tuple(watch.peaks.tolist()))


def _types(program: ir.Program) -> list[ir.Type]:
    """The inputs, and then a number for each knob."""
    types = [program.graph.nodes[k].type for k in program.graph.inputs]
    return types + [ir.Type()] * len(program.graph.controls)


def _step(machine: Machine, types: Sequence[ir.Type], flat: Array) -> list[Array]:
    """One sample with rows of numbers (channels and knobs, copies) for inputs and knobs."""
    knobs = len(machine.knobs)
    parts = _given(types, flat)
    machine.positions[:] = parts[len(parts) - knobs :] if knobs else machine.positions
    return machine.step(*parts[: len(parts) - knobs])


def _given(types: Sequence[ir.Type], flat: Array) -> list[Array]:
    out, at = [], 0
    for type_ in types:
        part = flat[at : at + type_.size].reshape(*type_.shape, flat.shape[-1])
        at += type_.size
        if type_.kind == "int":
            part = np.rint(part).astype(np.int64)
        elif type_.kind == "bool":
            part = part > 0
        out.append(part)
    return out


def _common(program: ir.Program, watch: _Watch, rng: np.random.Generator, effort: float) -> bool:
    """Constants, impulses, noise, squares, sines, each input with its own."""
    types = _types(program)
    count, copies, length = sum(t.size for t in types), 48, int(1500 * effort)
    kind = rng.integers(0, 7, (count, copies))
    kind[:, 0], kind[:, 1], kind[:, 2] = 0, 1, 2
    sign = rng.choice([-1.0, 1.0], (count, copies))
    sign[:, :3] = 1
    period = np.exp(rng.uniform(np.log(2), np.log(400), (count, copies)))
    phase = rng.uniform(0, 1, (count, copies))
    machine = Machine(program, copies)
    for t in range(length):
        cycle = t / period + phase
        noise = rng.uniform(-1, 1, (count, copies))
        flat = np.select(
            [kind == 0, kind == 1, kind == 2, kind == 3, kind == 4, kind == 5],
            [sign, sign * (t == 0), noise, np.sign(noise), np.sign(np.sin(2 * np.pi * cycle)),
             np.sin(2 * np.pi * cycle)],
            np.where(t > length // 2, 0.0, sign),
        )  # fmt: skip
        if watch.look(machine, _step(machine, types, flat), "common signals"):
            return True
    return False


def _breed(program: ir.Program, watch: _Watch, rng: np.random.Generator, effort: float) -> bool:
    """Periodic patterns; those that end with the most energy have descendants."""
    types = _types(program)
    count, copies, rounds = sum(t.size for t in types), 48, max(2, int(6 * effort))
    if count == 0:
        return False
    genes = rng.choice([-1.0, 1.0], (LONGEST, count, copies))
    periods = rng.integers(1, LONGEST + 1, copies)
    columns = np.arange(copies)
    for turn in range(rounds):
        machine = Machine(program, copies)
        length = 400 if turn < rounds - 1 else int(2500 * effort)
        for t in range(length):
            flat = genes[t % periods, :, columns].T
            if watch.look(machine, _step(machine, types, flat), "periodic patterns"):
                return True
        parents = np.argsort(-machine.energy())[: copies // 4]
        chosen = parents[rng.integers(0, len(parents), copies)]
        chosen[: len(parents)] = parents
        genes, periods = genes[..., chosen].copy(), periods[chosen].copy()
        rate = rng.choice([0.02, 0.1, 0.3], copies)
        rate[: len(parents)] = 0
        flips = rng.uniform(size=genes.shape) < rate
        fresh = rng.choice([-1.0, 1.0, 0.0], genes.shape, p=[0.45, 0.45, 0.1])
        genes = np.where(flips, fresh, genes)
        moved = (rng.uniform(size=copies) < 0.3) & (rate > 0)
        periods = np.where(moved, np.clip(periods + rng.integers(-2, 3, copies), 1, LONGEST),
                           periods)  # fmt: skip
    return False


def _beam(program: ir.Program, watch: _Watch, rng: np.random.Generator, effort: float) -> bool:
    """At each sample several sign patterns for each copy; the copies with most energy go on."""
    types = _types(program)
    count, kept, branches = sum(t.size for t in types), 16, 4
    if count == 0:
        return False
    copies = kept * branches
    machine = Machine(program, copies)
    parents = np.repeat(np.arange(kept), branches)
    for _ in range(int(500 * effort)):
        if count <= 2:
            corners = np.array([[(n >> i & 1) * 2.0 - 1 for n in range(branches)]
                                for i in range(count)])  # fmt: skip
            flat = np.tile(corners, kept)
        else:
            flat = rng.choice([-1.0, 1.0], (count, copies))
        if watch.look(machine, _step(machine, types, flat), "beam"):
            return True
        # A little noise in the score keeps copies of equal energy apart.
        score = np.log(machine.energy() + 1e-300) + 0.02 * rng.normal(size=copies)
        best = np.argsort(-score)[:kept]
        machine.pick(best[parents])
    return False
