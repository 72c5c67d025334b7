"""Operations on numbers alone, which are computed here and not by FAUST.

FAUST's own constant folding refuses some (sqrt(-1.0)) and gets others wrong (log(0.0) times x).
"""

from __future__ import annotations

import numpy as np

from emitters.faust.rules import Atoms, array
from ir.graph import Node
from ir.interpreter import PER_SAMPLE, per_sample
from ir.ops import OPS
from ir.verify import DTYPES

IS_SIGNAL = np.vectorize(lambda value: isinstance(value, str), otypes=[bool])


def folded(node: Node, operands: list[Atoms], kinds: list[str]) -> Atoms | None:
    """The numbers that an operation on numbers alone gives."""
    if node.op not in PER_SAMPLE or not operands:
        return None
    if any(isinstance(value, str) for operand in operands for value in operand.flat):
        return None
    return array(_computed(node, operands, kinds, node.shape).ravel().tolist(), node.shape)


def numbers_where_known(node: Node, operands: list[Atoms], kinds: list[str], found: Atoms) -> Atoms:
    """What an elementwise rule found, with numbers in place of formulas of numbers alone."""
    if OPS[node.op].family != "elementwise":
        return found
    full = [np.broadcast_to(o, node.shape) for o in operands]
    known = ~np.logical_or.reduce([IS_SIGNAL(f) for f in full])
    if not known.any():
        return found
    numbers = _computed(node, [f[known] for f in full], kinds, (int(known.sum()),))
    result = found.copy()
    result[known] = numbers.tolist()
    return result


def _computed(
    node: Node, operands: list[Atoms], kinds: list[str], shape: tuple[int, ...]
) -> np.ndarray:
    typed = [o.astype(DTYPES[kind]) for o, kind in zip(operands, kinds, strict=True)]
    with np.errstate(all="ignore"):
        return np.broadcast_to(per_sample(node)(*typed), shape)
