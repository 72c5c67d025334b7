"""The judge: runs a program sample by sample in NumPy float64, slow and obvious.

Each stateless operation is one NumPy expression. The operations of time keep their past in the
plainest form there is: the whole past of their input and output, looked up by index.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from ir.cycles import order
from ir.errors import IRError
from ir.graph import Node, Program
from ir.knobs import Positions, follow, positions_of
from ir.passes import expand_sos
from ir.verify import DTYPES, verify_program

Value = np.ndarray
PerSample = Callable[..., Value]
PER_SAMPLE: dict[str, Callable[[Node], PerSample]] = {}
"""For each stateless operation: node -> (inputs at one sample -> output at that sample)."""
OVER_TIME: dict[str, Callable[..., Callable[[int], Value]]] = {}
"""For each operation of time: (node, pasts of its inputs, past of its output) -> (t -> output)."""


def run(
    program: Program, *inputs: np.ndarray, controls: Positions | None = None
) -> tuple[np.ndarray, ...]:
    """Runs a program over whole signals.

    Args:
        program: What to run.
        *inputs: One array of shape (time, *channels) an input node.
        controls: Where knobs stand that are not at their defaults: a number, or one a sample.

    Returns:
        One array of shape (time, *channels) an output, float64 for real ones.

    Raises:
        IRError: the program is not valid, or the inputs or controls do not fit it.
    """
    graph = verify_program(program).graph
    types = [graph.nodes[k].type for k in graph.inputs]
    if [x.shape[1:] for x in inputs] != [t.shape for t in types]:
        shapes = ", ".join(str(x.shape) for x in inputs)
        wanted = ", ".join(f"(time, {', '.join(map(str, t.shape))})" for t in types)
        raise IRError(f"The program takes inputs of the shapes {wanted}, not {shapes}.")
    length = len(inputs[0]) if inputs else 0
    return run_for(program, length, *inputs, controls=controls)


def run_for(
    program: Program, length: int, *inputs: np.ndarray, controls: Positions | None = None
) -> tuple[np.ndarray, ...]:
    """As `run`, for a given number of samples: for programs without inputs."""
    graph = expand_sos(program.graph)
    positions = positions_of(graph, controls or {}, length)
    past: list[Value] = [
        np.zeros((length, *node.shape), DTYPES[node.type.kind]) for node in graph.nodes
    ]
    steps: list[Callable[[int], None]] = []
    fixed: dict[int, Value] = {}
    for k in order(graph):
        node = graph.nodes[k]
        if node.op == "coefficient":
            fixed[k] = program.coefficients[node.text("slot")]
        elif node.op == "constant":
            fixed[k] = np.asarray(node["value"], past[k].dtype)
        elif node.op in PER_SAMPLE and all(s in fixed for s in node.inputs):
            # The same at every sample, so once is enough.
            with np.errstate(all="ignore"):
                fixed[k] = np.asarray(per_sample(node)(*(fixed[s] for s in node.inputs)))
        if k in fixed:
            past[k] = np.broadcast_to(fixed[k], past[k].shape)
    for k in order(graph):
        node = graph.nodes[k]
        if node.op == "input":
            past[k][:] = inputs[node.int("index")]
        elif node.op == "control":
            past[k][:] = follow(node, positions[node.text("name")])
        elif k not in fixed:
            steps.append(_step(node, past[k], [past[s] for s in node.inputs]))
    with np.errstate(all="ignore"):
        for t in range(length):
            for step in steps:
                step(t)
    return tuple(past[k].copy() for k in graph.outputs)


def _step(node: Node, out: Value, sources: list[Value]) -> Callable[[int], None]:
    if node.op in OVER_TIME:
        # A recursive filter's own past is kept in extended precision where the machine has it: a
        # direct form multiplies what it rounds away by up to 1 / (1 + a1 + a2), 60,000 at 31 Hz and
        # 48 kHz. Others read it in float64, as every signal.
        kept = np.zeros(out.shape, np.longdouble) if node.op == "iir" else out
        compute = OVER_TIME[node.op](node, sources, kept)

        def over_time(t: int) -> None:
            kept[t] = compute(t)
            out[t] = kept[t]

        return over_time
    function = per_sample(node)

    def at(t: int) -> None:
        out[t] = function(*(source[t] for source in sources))

    return at


def per_sample(node: Node) -> PerSample:
    """What a stateless operation does to the inputs of one sample; integers have 32 bits."""
    function = PER_SAMPLE[node.op](node)
    if node.type.kind != "int":
        return function
    return lambda *inputs: np.asarray(function(*inputs)).astype(np.int32).astype(np.int64)


def _plain(**functions: PerSample) -> None:
    for name, function in functions.items():
        PER_SAMPLE[name.rstrip("_")] = lambda node, function=function: function


def _divide(x: Value, y: Value) -> Value:
    if x.dtype.kind == "i":
        quotient = np.floor_divide(np.abs(x), np.abs(y))
        return np.sign(x) * np.sign(y) * quotient
    return x / y


def _shift_left(x: Value, y: Value) -> Value:
    return np.where((y >= 0) & (y < 32), x << np.clip(y, 0, 31), 0)


def _shift_right(x: Value, y: Value) -> Value:
    return x >> np.where((y >= 0) & (y < 32), y, 31)


def _shift_right_logical(x: Value, y: Value) -> Value:
    return np.where((y >= 0) & (y < 32), (x & 0xFFFFFFFF) >> np.clip(y, 0, 31), 0)


_plain(
    neg=np.negative, abs=np.abs, sign=np.sign, sqrt=np.sqrt, rsqrt=lambda x: 1 / np.sqrt(x),
    cbrt=np.cbrt, exp=np.exp, exp2=np.exp2, expm1=np.expm1, log=np.log, log1p=np.log1p,
    sin=np.sin, cos=np.cos, tan=np.tan, asin=np.arcsin, acos=np.arccos, atan=np.arctan,
    sinh=np.sinh, cosh=np.cosh, tanh=np.tanh, asinh=np.arcsinh, acosh=np.arccosh,
    atanh=np.arctanh, logistic=special.expit, erf=special.erf, erfc=special.erfc,
    floor=np.floor, ceil=np.ceil, round=np.rint,
    add=np.add, sub=np.subtract, mul=np.multiply, div=_divide, rem=np.fmod, pow=np.power,
    atan2=np.arctan2, maximum=np.maximum, minimum=np.minimum,
    eq=np.equal, ne=np.not_equal, lt=np.less, le=np.less_equal, gt=np.greater,
    ge=np.greater_equal, and_=np.bitwise_and, or_=np.bitwise_or, xor=np.bitwise_xor,
    not_=np.invert, select=np.where, shift_left=_shift_left,
    shift_right_arithmetic=_shift_right, shift_right_logical=_shift_right_logical,
)  # fmt: skip


def _reduction(function: Callable[..., Value]) -> Callable[[Node], PerSample]:
    return lambda node: lambda x: function(x, axis=node.ints("axes"))


def _slices(node: Node) -> PerSample:
    bounds = zip(node.ints("start"), node.ints("limit"), node.ints("stride"), strict=True)
    index = tuple(slice(*b) for b in bounds)
    return lambda x: x[index]


def _spread(node: Node) -> PerSample:
    axes, shape = node.ints("axes"), node.shape

    def spread(x: Value) -> Value:
        full = [1] * len(shape)
        for axis, n in zip(axes, x.shape, strict=True):
            full[axis] = n
        return np.broadcast_to(x.reshape(full), shape)

    return spread


def _power(node: Node) -> PerSample:
    exponent = node.int("exponent")
    if exponent >= 0:
        return lambda x: x**exponent
    return lambda x: 1 / x**-exponent


def _lookup(node: Node) -> PerSample:
    def look(table: Value, index: Value) -> Value:
        at = np.clip(index, 0, len(table) - 1)
        return table[at] if table.ndim == 1 else np.take_along_axis(table, at[None], 0)[0]

    return look


def _convert(node: Node) -> PerSample:
    dtype = DTYPES[node.type.kind]
    return lambda x: x.astype(dtype)


PER_SAMPLE |= {
    "convert": _convert,
    "integer_pow": _power,
    "reshape": lambda node: lambda x: x.reshape(node.shape),
    "transpose": lambda node: lambda x: x.transpose(node.ints("permutation")),
    "broadcast": _spread,
    "slice": _slices,
    "concatenate": lambda node: lambda *xs: np.concatenate(xs, axis=node.int("axis")),
    "take": lambda node: lambda x: x.ravel()[list(node.ints("indices"))].reshape(node.shape),
    "lookup": _lookup,
    "sum": _reduction(np.sum),
    "prod": _reduction(np.prod),
    "max": _reduction(np.max),
    "min": _reduction(np.min),
    "einsum": lambda node: lambda x, y: np.einsum(node.text("subscripts"), x, y),
}


def _over_time(op: str):
    def register(function: Callable[..., Callable[[int], Value]]) -> Any:
        OVER_TIME[op] = function
        return function

    return register


def _at(past: Value, t: np.ndarray) -> Value:
    """Each channel of `past` at its own time `t`; zero before the first sample."""
    flat = past.reshape(len(past), -1)
    found = flat[np.maximum(t, 0), np.arange(flat.shape[1])]
    return np.where(t >= 0, found, np.zeros((), past.dtype)).reshape(past.shape[1:])


@_over_time("delay")
def _delay(node: Node, sources: list[Value], out: Value) -> Callable[[int], Value]:
    samples = np.array(node.ints("samples"), np.int64)
    longest = samples.max(initial=0)

    def compute(t: int) -> Value:
        y = _at(sources[0], t - samples)
        if len(sources) == 1 or t >= longest:
            return y
        # The whole array of initial values is the second input, the same at every sample.
        return np.where((t < samples).reshape(node.shape), sources[1][t][t], y)

    return compute


@_over_time("variable_delay")
def _variable_delay(node: Node, sources: list[Value], out: Value) -> Callable[[int], Value]:
    low, high = node.int("minimum"), node.int("maximum")
    x, lengths = sources
    return lambda t: _at(x, t - np.clip(lengths[t].ravel(), low, high))


@_over_time("fir")
def _fir(node: Node, sources: list[Value], out: Value) -> Callable[[int], Value]:
    x, taps = sources

    def compute(t: int) -> Value:
        count = min(taps.shape[1], t + 1)
        return np.sum(taps[t][:count] * x[t - count + 1 : t + 1][::-1], axis=0)

    return compute


@_over_time("iir")
def _iir(node: Node, sources: list[Value], out: Value) -> Callable[[int], Value]:
    x, b, a, *state = sources
    order = b.shape[1] - 1
    fixed = b.strides[0] == a.strides[0] == 0 and len(x) > 0  # the same at every sample

    def normalised(t: int) -> tuple[Value, Value]:
        return tuple((c[t] / a[t][0]).astype(np.longdouble) for c in (b, a))  # type: ignore

    once = normalised(0) if fixed else None

    def compute(t: int) -> Value:
        B, A = once or normalised(t)
        reach = min(order + 1, t + 1)
        y = np.sum(B[:reach] * x[t - reach + 1 : t + 1][::-1], axis=0)
        y = y - np.sum(A[1:reach] * out[t - reach + 1 : t][::-1], axis=0)
        # State k of the transposed direct form II reaches the output k samples later.
        return y + state[0][t][t] if state and t < order else y

    return compute
