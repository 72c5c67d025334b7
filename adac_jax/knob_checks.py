"""Controls in a verification: at both ends of their ranges, and moving."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from adac_jax import blocks, signals
from adac_jax.host import Library, Processor, path_of
from adac_jax.report import Check, compare
from ir import Graph, Node, Program
from ir.interpreter import run_for
from ir.knobs import settling
from ir.ops.controls import attribute

BLOCK = 64
"""Samples for which a host holds a knob: positions are read once a block."""
HELD = (1, 24)
"""Blocks for which a moving knob stays where it is."""
AT_ENDS = 0.3
"""How often a moving knob goes to an end of its range."""
SECONDS = 0.5
"""The longest test signal."""
SEED = 20260102

Positions = Mapping[str, np.ndarray]
Reading = Callable[[Mapping[str, float], np.ndarray], np.ndarray]
"""(where knobs stand, audio) -> audio."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What differences are allowed, in dB re peak.

    Attributes:
        double: Of float64 readings.
        single: Of FAUST in single precision, where the graph in float32 is no worse.
        rounding: From that of the graph in float32, the limit for FAUST in single precision.
    """

    double: float
    single: float
    rounding: Callable[[float], float]


def knob_checks(
    program: Program,
    source: str,
    jax_reading: Reading | None,
    late: int,
    length: int,
    judged: int,
    limits: Limits,
) -> Iterator[Check]:
    """Compares FAUST with knobs turned with JAX and with the graph.

    At the ends of the ranges the reference is the model itself, with its knobs set, and the signal
    begins when all values have arrived; a model that sounds without a signal would have gone
    elsewhere by then, so there the graph is the reference, as it is for knobs that move.

    Args:
        program: What runs.
        source: Its FAUST.
        jax_reading: The model in float64 at any positions of its knobs, if there is one.
        late: Samples of latency that the program has and the model has not.
        length: Samples of the test signals.
        judged: Samples that the interpreter runs.
        limits: What is allowed.
    """
    graph = program.graph
    rate = round(graph.sample_rate)
    length = min(length, round(SECONDS * rate)) + late
    settle = -(-settling(graph) // BLOCK) * BLOCK
    noise = [signals.noise(length, c) for c in range(graph.input_channels)]
    x = np.hstack([np.zeros((length, 0)), *noise])
    waited = np.vstack([np.zeros((settle, x.shape[1])), x])
    single = Processor(source, sample_rate=rate, block_size=BLOCK)
    with Library(source, precision="double", sample_rate=rate) as double:
        rest = {name: attribute(knob, "default") for name, knob in graph.controls.items()}
        if jax_reading is not None and jax_reading(rest, waited)[:settle].any():
            jax_reading = None
        run = _Runs(program, double, single, limits)
        for where, at in _ends(graph):
            label = f"noise, {where}"
            held = {name: np.full(len(waited), value) for name, value in at.items()}
            expected = None
            if jax_reading is not None:
                expected = jax_reading(at, waited)[: len(waited) - late]
            if expected is not None and not expected[:settle].any():
                yield from run.checks(label, waited, held, expected, "JAX float64", late, settle)
            else:
                wanted = in_blocks(program, waited, held, np.float64)
                yield from run.checks(label, waited, held, wanted, "graph float64")
        label, moves = "noise, controls moving", moving(graph, length)
        wanted = in_blocks(program, x, moves, np.float64)
        yield from run.checks(label, x, moves, wanted, "graph float64")
        few = {name: k[:judged] for name, k in moves.items()}
        parts = split(program, x[:judged])
        y = joined(run_for(program, judged, *parts, controls=few))
        reading, reference = "interpreter (controls)", "graph float64"
        yield compare(label, reading, reference, y, wanted[: len(y)], limits.double)


def _ends(graph: Graph) -> Iterator[tuple[str, dict[str, float]]]:
    """All knobs at one end; and since one may silence all others, each by itself."""
    knobs = graph.controls
    rest = {name: attribute(knob, "default") for name, knob in knobs.items()}
    for end in ("minimum", "maximum"):
        ends = {name: attribute(knob, end) for name, knob in knobs.items()}
        yield f"controls at {end}", ends
        for name, value in ends.items() if len(knobs) > 1 else ():
            if value != rest[name]:
                yield f"{name} at {end}", {**rest, name: value}


@dataclasses.dataclass(frozen=True)
class _Runs:
    """FAUST in both precisions, and what to hold it to."""

    program: Program
    double: Library
    single: Processor
    limits: Limits

    def checks(
        self,
        label: str,
        x: np.ndarray,
        positions: Positions,
        expected: np.ndarray,
        reference: str,
        late: int = 0,
        settle: int = 0,
    ) -> Iterator[Check]:
        """Both precisions, from `settle` on; what is rendered comes `late` samples later."""
        names = ("FAUST double (controls)", "FAUST single (controls)")
        hosts = (self.double, self.single)
        rendered = [
            self.double.render(x, BLOCK, _paths(hosts[0], positions)),
            self.single.render(x, _paths(hosts[1], positions)),
        ]
        expected = expected[settle:]
        found = [
            compare(label, name, reference, y[late + settle :], expected, limit)
            for name, y, limit in zip(
                names, rendered, (self.limits.double, self.limits.single), strict=True
            )
        ]
        if found[1].passed:
            yield from found
            return
        # What single precision costs here, by JAX, which shares no code with FAUST.
        with jax.enable_x64(False):
            y = in_blocks(self.program, x, positions, np.float32)[late + settle :]
        rounding = compare(label, "graph in float32", reference, y, expected, None)
        limit = self.limits.rounding(rounding.error_db)
        yield from (found[0], dataclasses.replace(found[1], limit_db=limit), rounding)


def moving(graph: Graph, length: int) -> dict[str, np.ndarray]:
    """Positions of every knob at each sample: it jumps about, held for some blocks each time."""
    rng = np.random.default_rng(SEED)
    found = {}
    for name, knob in graph.controls.items():
        blocks: list[float] = []
        while len(blocks) * BLOCK < length:
            blocks += [_somewhere(knob, rng)] * int(rng.integers(*HELD))
        found[name] = np.repeat(blocks, BLOCK)[:length]
    return found


def _somewhere(knob: Node, rng: np.random.Generator) -> float:
    low, high = attribute(knob, "minimum"), attribute(knob, "maximum")
    if rng.random() < AT_ENDS:
        return low if rng.random() < 0.5 else high
    if knob.text("curve") == "log":
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return float(rng.uniform(low, high))


def in_blocks(program: Program, x: np.ndarray, positions: Positions, dtype: Any) -> np.ndarray:
    """The graph in JAX, by the block reading, with knobs that move."""
    coefficients = {k: cast(v, dtype) for k, v in program.coefficients.items()}
    moves = {name: k.astype(dtype) for name, k in positions.items()}

    @jax.jit
    def whole(moves: Any, *inputs: jax.Array) -> tuple[jax.Array, ...]:
        return blocks.run(program.graph, coefficients, inputs, len(x), moves)

    return joined(whole(moves, *(part.astype(dtype) for part in split(program, x))))


def _paths(host: Library | Processor, positions: Positions) -> dict[str, np.ndarray]:
    return {path_of(host.parameters, name): k for name, k in positions.items()}


def split(program: Program, x: np.ndarray) -> list[np.ndarray]:
    """Flat channels as one array an input node."""
    parts, start = [], 0
    for k in program.graph.inputs:
        node = program.graph.nodes[k]
        size = node.type.size
        parts.append(x[:, start : start + size].reshape(len(x), *node.shape))
        start += size
    return parts


def joined(outputs: Any) -> np.ndarray:
    """All outputs as flat channels."""
    flat = [np.asarray(y).reshape(len(y), -1) for y in outputs]
    return np.concatenate(flat, axis=1)


def cast(value: Any, dtype: Any) -> Any:
    """An array with its real numbers in another precision."""
    if jax.dtypes.issubdtype(getattr(value, "dtype", None), jax.dtypes.extended):
        return value  # a random key, which recurrent cells keep
    array = np.asarray(value)
    return array.astype(dtype) if np.issubdtype(array.dtype, np.floating) else array


__all__ = ["Limits", "cast", "in_blocks", "joined", "knob_checks", "moving", "split"]
