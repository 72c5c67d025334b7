"""By how much a number can change from one sample to the next.

A knob follows by at most its `step`; what is computed from it by at most the slope of that times
as much, over the range that is known. Phases count in integers that wrap at 2^32: what jumps by a
whole period of a sine does not move it, so a rate is one *modulo* something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ir.certificate.folds import QUARTER, folded
from ir.certificate.forms import Form
from ir.certificate.intervals import slopes
from ir.certificate.symbols import MOVED
from ir.graph import Graph, Node
from ir.interpreter import per_sample

WRAP = 2.0**32
"""Where integers begin again."""
SLACK = 1 + 1e-9
PERIOD = 1e-9
"""By how much, relatively, a modulus may miss whole periods: π is rounded."""
SMOOTH = frozenset(
    ("exp", "exp2", "log", "log1p", "expm1", "sqrt", "tanh", "atan", "sin", "cos", "tan", "asin",
     "acos", "logistic", "erf", "sinh", "cosh", "integer_pow")
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Rate:
    """|x[t+1] - x[t]| ≤ most, but for whole multiples of `modulus` (infinite: none)."""

    most: np.ndarray
    modulus: np.ndarray


class Slews:
    """Rates of a graph's nodes.

    Args:
        graph: The graph.
        outside: What is known of each node that is asked for, and of those it is made of.
    """

    def __init__(self, graph: Graph, outside: Mapping[int, Form]) -> None:
        self.graph, self.outside = graph, outside
        self.known: dict[int, Rate] = {}

    def of(self, k: int) -> np.ndarray:
        """|x[t+1] - x[t]| at most, of each channel, infinite where nothing is known."""
        rate = self._rate(k)
        return np.where(np.isfinite(rate.modulus), np.inf, rate.most).ravel()

    def _rate(self, k: int) -> Rate:
        work = [k]
        while work:
            at = work[-1]
            missing = [s for s in self._read(at) if s not in self.known]
            if missing and len(work) < len(self.graph.nodes):
                work.extend(missing)
                continue
            node = self.graph.nodes[at]
            most, modulus = self._of(at, node)
            shape = node.shape
            with np.errstate(invalid="ignore"):
                most = np.broadcast_to(np.nan_to_num(most, nan=np.inf, posinf=np.inf), shape)
            self.known[at] = Rate(most * SLACK, np.broadcast_to(modulus, shape))
            work.pop()
        return self.known[k]

    def _read(self, k: int) -> tuple[int, ...]:
        node = self.graph.nodes[k]
        if k not in self.outside or self.outside[k].fixed or node.op in ("control", "delay"):
            return ()
        known = MOVED | SMOOTH
        known |= {"add", "sub", "neg", "mul", "div", "abs", "maximum", "minimum", "convert",
                  "concatenate"}  # fmt: skip
        if node.op == "select":
            return node.inputs[2:]
        return node.inputs if node.op in known else ()

    def _folded(self, node: Node) -> np.ndarray | None:
        """It turns back half a turn before it would wrap."""
        x = folded(self.graph, node, self.outside)
        if x is None:
            return None
        rate = self.known[x]
        wraps = np.isinf(rate.modulus) | (rate.modulus == WRAP)
        return np.where(wraps & (rate.most < QUARTER / 2), rate.most, np.inf)

    def _of(self, k: int, node: Node) -> tuple[np.ndarray, np.ndarray]:
        none, never = np.full(node.shape, np.inf), np.full(node.shape, np.inf)
        if k not in self.outside:
            return none, never
        if self.outside[k].fixed:
            return np.zeros(node.shape), never
        if node.op == "control":
            return np.float64(node["step"]), never  # type: ignore[return-value]
        if node.op == "delay":
            return self._counter(k, node) or (none, never)
        if node.op == "select":
            folded = self._folded(node)
            return none if folded is None else folded, never
        if not self._read(k):
            return none, never
        rates = [self.known.get(s, Rate(none, never)) for s in node.inputs]
        ranges = [self.outside[s].base for s in node.inputs]
        found = self._through(node, rates, ranges)
        if node.type.kind == "int" and node.op in ("add", "sub", "mul", "neg"):
            return found[0], np.minimum(found[1], WRAP)
        return found

    def _through(
        self, node: Node, rates: list[Rate], ranges: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        op, x = node.op, rates[0]
        if op in MOVED:
            shape = x.most.shape
            index = np.arange(int(np.prod(shape))).reshape(shape)
            plain = Node(op, node.inputs, type(node.type)(node.shape), node.attributes)
            at = np.asarray(per_sample(plain)(index))
            return x.most.ravel()[at], x.modulus.ravel()[at]
        if op == "concatenate":
            axis = node.int("axis")
            return (
                np.concatenate([r.most for r in rates], axis),
                np.concatenate([r.modulus for r in rates], axis),
            )
        if op in ("neg", "convert"):
            real = op == "neg" or self.graph.nodes[node.inputs[0]].type.kind != "real"
            return (x.most if real else np.full(node.shape, np.inf)), x.modulus
        if op in ("add", "sub"):
            return x.most + rates[1].most, _common(x.modulus, rates[1].modulus)
        if op in ("mul", "div"):
            return self._scaled(node, rates, ranges)
        if op == "abs":
            # Of what wraps from one end of a range round zero to the other: it does not jump.
            low, high = ranges[0]
            around = np.isclose(high - low, x.modulus, rtol=PERIOD) & np.isclose(low, -high)
            return x.most, np.where(around, np.inf, x.modulus)
        wraps = any(np.isfinite(r.modulus).any() for r in rates)
        if op in ("maximum", "minimum"):
            most = np.maximum(x.most, rates[1].most)
            return (np.full(node.shape, np.inf) if wraps else most), np.full(node.shape, np.inf)
        return self._smooth(node, x, ranges[0])

    def _smooth(
        self, node: Node, x: Rate, range_: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        never = np.full(node.shape, np.inf)
        if node.op in ("sin", "cos"):
            turns = x.modulus / (2 * np.pi)
            with np.errstate(invalid="ignore"):
                whole = np.abs(turns - np.round(turns)) <= PERIOD * np.maximum(turns, 1)
            jump = np.where(np.isfinite(turns), PERIOD * x.modulus, 0.0)
            fine = ~np.isfinite(turns) | (whole & (np.round(turns) >= 1))
            return np.where(fine, x.most + jump, np.inf), never
        low, high = slopes(node, range_)
        steepest = np.maximum(np.abs(low), np.abs(high))
        with np.errstate(invalid="ignore"):
            most = np.where(x.most == 0, 0.0, steepest * x.most)
        return np.where(np.isfinite(x.modulus), np.inf, most), never

    def _scaled(
        self, node: Node, rates: list[Rate], ranges: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        fixed = [self.outside[s].fixed for s in node.inputs]
        if any(fixed) and (node.op == "mul" or fixed[1]):
            other = 1 if fixed[1] else 0
            by = np.abs(self.outside[node.inputs[other]].c[0])
            if node.op == "div":
                with np.errstate(divide="ignore"):
                    by = 1 / by
            x = rates[1 - other]
            with np.errstate(invalid="ignore"):
                most, modulus = x.most * by, x.modulus * by
            return np.where(by == 0, 0.0, most), np.where(by == 0, np.inf, modulus)
        never = np.full(node.shape, np.inf)
        if any(np.isfinite(r.modulus).any() for r in rates):
            return never, never
        sizes = [np.maximum(np.abs(low), np.abs(high)) for low, high in ranges]
        with np.errstate(invalid="ignore", divide="ignore"):
            if node.op == "mul":
                return sizes[0] * rates[1].most + sizes[1] * rates[0].most, never
            low, high = ranges[1]
            least = np.where((low > 0) | (high < 0), np.minimum(np.abs(low), np.abs(high)), 0.0)
            # x'/y' - x/y = (x' - x)/y' - x (y' - y) / (y y')
            return rates[0].most / least + sizes[0] * rates[1].most / least**2, never

    def _counter(self, k: int, node: Node) -> tuple[np.ndarray, np.ndarray] | None:
        """n[t+1] = n[t] + c."""
        if node.type.kind != "int" or set(node.ints("samples")) != {1}:
            return None
        after = self.graph.nodes[node.inputs[0]]
        if after.op not in ("add", "sub") or k not in after.inputs:
            return None
        other = [s for s in after.inputs if s != k]
        if len(other) != 1 or other[0] not in self.outside or not self.outside[other[0]].fixed:
            return None
        step = np.abs(self.outside[other[0]].c[0])
        return np.broadcast_to(step, node.shape), np.full(node.shape, WRAP)


def _common(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A modulus of a sum: of one part if the other has none, else of both if they are equal."""
    same = (x == y) | ~np.isfinite(x) | ~np.isfinite(y)
    # Where neither holds, a modulus of 0 says that nothing is known.
    return np.where(same, np.minimum(x, y), 0.0)
