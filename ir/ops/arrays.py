"""Sources, and operations that move or combine the channels of one sample."""

from __future__ import annotations

import math
import re

from ir.errors import IRError
from ir.graph import Attributes, Type
from ir.ops.table import MAX_SIZE, check_kind, check_shape, define, ints, same_kind


def _declared(op: str):
    def rule(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
        return Type(check_shape(op, ints(attributes, "shape")), check_kind(op, attributes["kind"]))

    return rule


def _constant(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    value = attributes["value"]
    kind = "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "real"
    if not math.isfinite(value):  # type: ignore[arg-type]
        raise IRError(f"`constant`: the value {value!r} is not finite.")
    if kind == "int" and not -(2**31) <= value < 2**31:  # type: ignore[operator]
        raise IRError(f"`constant`: the integer {value!r} does not fit 32 bits.")
    return Type((), kind)


def _reshape(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    shape = check_shape("reshape", ints(attributes, "shape"))
    if math.prod(shape) != inputs[0].size:
        raise IRError(f"`reshape`: {inputs[0]} does not have the size of {shape}.")
    return Type(shape, inputs[0].kind)


def _transpose(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    permutation = ints(attributes, "permutation")
    shape = inputs[0].shape
    if sorted(permutation) != list(range(len(shape))):
        raise IRError(f"`transpose`: {permutation} is no permutation of the axes of {inputs[0]}.")
    return Type(tuple(shape[k] for k in permutation), inputs[0].kind)


def _broadcast(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    shape = check_shape("broadcast", ints(attributes, "shape"))
    axes = ints(attributes, "axes")
    source = inputs[0].shape
    fits = len(axes) == len(source) and list(axes) == sorted(set(axes))
    fits = fits and all(
        0 <= a < len(shape) and n in (1, shape[a]) for a, n in zip(axes, source, strict=True)
    )
    if not fits:
        raise IRError(f"`broadcast`: {inputs[0]} does not go to {shape} along the axes {axes}.")
    return Type(shape, inputs[0].kind)


def _slice(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    start, limit, stride = (ints(attributes, k) for k in ("start", "limit", "stride"))
    shape = inputs[0].shape
    if not len(start) == len(limit) == len(stride) == len(shape):
        raise IRError(f"`slice`: start, limit and stride need one entry an axis of {inputs[0]}.")
    for low, high, step, n in zip(start, limit, stride, shape, strict=True):
        if not (0 <= low <= high <= n and step >= 1):
            raise IRError(f"`slice`: {low}:{high}:{step} is out of range for an axis of {n}.")
    bounds = zip(start, limit, stride, strict=True)
    return Type(tuple(len(range(*b)) for b in bounds), inputs[0].kind)


def _lookup(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    table, index = inputs
    if index.kind != "int":
        raise IRError(f"`lookup`: the index must be integers, not {index}.")
    if not table.shape or table.shape[0] == 0 or table.shape[1:] not in ((), index.shape):
        raise IRError(
            f"`lookup`: the table {table} must have entries along its first axis, and then no axes "
            f"or those of the index {index}."
        )
    return Type(index.shape, table.kind)


def _concatenate(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    axis: int = attributes["axis"]  # type: ignore[assignment]
    kind = same_kind("concatenate", inputs)
    rank = len(inputs[0].shape)
    if not 0 <= axis < rank:
        raise IRError(f"`concatenate`: {inputs[0]} has no axis {axis}.")
    rest = {t.shape[:axis] + t.shape[axis + 1 :] for t in inputs}
    if len(rest) > 1 or any(len(t.shape) != rank for t in inputs):
        raise IRError(f"`concatenate`: {', '.join(map(str, inputs))} do not fit along axis {axis}.")
    total = sum(t.shape[axis] for t in inputs)
    first = inputs[0].shape
    return Type((*first[:axis], total, *first[axis + 1 :]), kind)


def _take(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    indices = ints(attributes, "indices")
    shape = check_shape("take", ints(attributes, "shape"))
    if math.prod(shape) != len(indices):
        raise IRError(f"`take`: {len(indices)} indices do not fill the shape {shape}.")
    if any(not 0 <= k < inputs[0].size for k in indices):
        raise IRError(f"`take`: an index is out of range for {inputs[0]}.")
    return Type(shape, inputs[0].kind)


def _reduce(name: str):
    def rule(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
        axes, shape = ints(attributes, "axes"), inputs[0].shape
        if any(not 0 <= a < len(shape) for a in axes) or list(axes) != sorted(set(axes)):
            raise IRError(f"`{name}`: the axes {axes} do not fit {inputs[0]}.")
        if inputs[0].kind == "bool":
            raise IRError(f"`{name}` takes real or int numbers, not {inputs[0]}.")
        if name in ("max", "min") and any(shape[a] == 0 for a in axes):
            raise IRError(f"`{name}` over an empty axis of {inputs[0]} has no value.")
        return Type(tuple(n for k, n in enumerate(shape) if k not in axes), inputs[0].kind)

    return rule


_SUBSCRIPTS = re.compile(r"([a-zA-Z]*),([a-zA-Z]*)->([a-zA-Z]*)")


def parse_subscripts(subscripts: str) -> tuple[str, str, str]:
    """Splits "ij,j->i"; every letter of the result occurs in an operand, none twice in one."""
    match = _SUBSCRIPTS.fullmatch(subscripts)
    if match is None:
        raise IRError(
            f"`einsum`: the subscripts {subscripts[:60]!r} are not of the form 'ij,j->i'."
        )
    left, right, result = match.groups()
    for part in (left, right, result):
        if len(set(part)) != len(part):
            raise IRError(f"`einsum`: a letter occurs twice in {part!r} of {subscripts!r}.")
    if not set(result) <= set(left) | set(right):
        raise IRError(f"`einsum`: {subscripts!r} has letters in its result that no operand has.")
    return left, right, result


def _einsum(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    left, right, result = parse_subscripts(str(attributes["subscripts"]))
    kind = same_kind("einsum", inputs)
    if kind == "bool":
        raise IRError("`einsum` takes real or int numbers, not bool.")
    sizes: dict[str, int] = {}
    for part, type_ in zip((left, right), inputs, strict=True):
        if len(part) != len(type_.shape):
            raise IRError(f"`einsum`: {part!r} does not have one letter an axis of {type_}.")
        for letter, n in zip(part, type_.shape, strict=True):
            if sizes.setdefault(letter, n) != n:
                raise IRError(
                    f"`einsum`: the axis {letter!r} has two sizes, {sizes[letter]} and {n}."
                )
    if math.prod(sizes.values()) > MAX_SIZE:
        raise IRError(f"`einsum` of {inputs[0]} and {inputs[1]} takes too many products.")
    return Type(tuple(sizes[letter] for letter in result), kind)


define("input", 0, _declared("input"), "y = the model's input number `index`", "source",
       index="int", shape="ints", kind="text")  # fmt: skip
define("coefficient", 0, _declared("coefficient"), "y = the value bound to `slot`", "source",
       slot="text", shape="ints", kind="text")  # fmt: skip
define("constant", 0, _constant, "y = value", "source", value="number")
define("reshape", 1, _reshape, "y = x in another shape, row-major", "array", shape="ints")
define("transpose", 1, _transpose, "axis k of y is axis permutation[k] of x", "array",
       permutation="ints")  # fmt: skip
define("broadcast", 1, _broadcast, "axis k of x becomes axis axes[k] of y, repeated", "array",
       shape="ints", axes="ints")  # fmt: skip
define("slice", 1, _slice, "y = x[start:limit:stride, …]", "array",
       start="ints", limit="ints", stride="ints")  # fmt: skip
define("concatenate", (1, None), _concatenate, "the inputs one after another along `axis`", "array",
       axis="int")  # fmt: skip
define("take", 1, _take, "y = x.flat[indices] in the shape `shape`", "array",
       indices="ints", shape="ints")  # fmt: skip
define("lookup", 2, _lookup,
       "y_i = table[clip(index_i, 0, n - 1), i], for inputs (table, index); a table of one axis is "
       "the same for all i", "array")  # fmt: skip
for _name in ("sum", "prod", "max", "min"):
    define(_name, 1, _reduce(_name), f"y = {_name} of x over `axes`", "array", axes="ints")
define("einsum", 2, _einsum, "y = sum of products by Einstein's convention", "array",
       subscripts="text")  # fmt: skip
