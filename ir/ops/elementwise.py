"""Operations on each number by itself; a scalar operand goes with any shape."""

from __future__ import annotations

from ir.errors import IRError
from ir.graph import Attributes, Type
from ir.ops.table import check_kind, define, same_kind, same_shape

REAL_FUNCTIONS = (
    "sqrt",
    "rsqrt",
    "cbrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "logistic",
    "erf",
    "erfc",
    "floor",
    "ceil",
    "round",
)
SAME_KIND = ("neg", "abs", "sign")
ARITHMETIC = ("add", "sub", "mul", "maximum", "minimum", "div", "rem")
REAL_BINARY = ("pow", "atan2")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
LOGIC = ("and", "or", "xor")
SHIFTS = {
    "shift_left": "z = x 2^y",
    "shift_right_arithmetic": "z = floor(x / 2^y)",
    "shift_right_logical": "z = floor((x mod 2^32) / 2^y)",
}
"""All modulo 2^32, with 0 for the power where y is not in 0 to 31 (or -1 of a negative x that is
shifted arithmetically)."""


def _require(op: str, type_: Type, *kinds: str) -> None:
    if type_.kind not in kinds:
        raise IRError(f"`{op}` takes {' or '.join(kinds)} numbers, not {type_}.")


def _unary(name: str, *kinds: str):
    def rule(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
        _require(name, inputs[0], *kinds)
        return inputs[0]

    return rule


def _binary(name: str, kinds: tuple[str, ...], result: str | None = None):
    def rule(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
        kind = same_kind(name, inputs)
        _require(name, inputs[0], *kinds)
        return Type(same_shape(name, inputs), result or kind)

    return rule


def _select(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    _require("select", inputs[0], "bool")
    shape = same_shape("select", inputs)
    return Type(shape, same_kind("select", inputs[1:]))


def _convert(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    return Type(inputs[0].shape, check_kind("convert", attributes["kind"]))


def _power(inputs: tuple[Type, ...], attributes: Attributes) -> Type:
    _require("integer_pow", inputs[0], "real", "int")
    exponent = attributes["exponent"]
    if abs(exponent) > 1024:  # type: ignore[operator,arg-type]
        raise IRError(f"`integer_pow`: the exponent {exponent} is out of range (-1024 to 1024).")
    if exponent < 0 and inputs[0].kind == "int":  # type: ignore[operator]
        raise IRError(f"`integer_pow`: integers have no power {exponent}; convert them to real.")
    return inputs[0]


for _name in REAL_FUNCTIONS:
    _text = {"round": "nearest integer, halves to even", "logistic": "1 / (1 + exp(-x))"}
    define(_name, 1, _unary(_name, "real"), f"y = {_text.get(_name, f'{_name}(x)')}", "elementwise")
for _name in SAME_KIND:
    define(_name, 1, _unary(_name, "real", "int"), f"y = {_name}(x)", "elementwise")
for _name in ARITHMETIC:
    _text = {"rem": "remainder with the sign of x", "div": "x / y; integers truncate to zero"}
    define(
        _name,
        2,
        _binary(_name, ("real", "int")),
        f"z = {_text.get(_name, f'{_name}(x, y)')}",
        "elementwise",
    )
for _name in REAL_BINARY:
    define(_name, 2, _binary(_name, ("real",)), f"z = {_name}(x, y)", "elementwise")
for _name in COMPARISONS:
    define(
        _name, 2, _binary(_name, ("real", "int", "bool"), "bool"), f"z = x {_name} y", "elementwise"
    )
for _name in LOGIC:
    define(_name, 2, _binary(_name, ("int", "bool")), f"z = x {_name} y, bitwise", "elementwise")
for _name, _text in SHIFTS.items():
    define(_name, 2, _binary(_name, ("int",)), f"{_text}, of 32 bits", "elementwise")
define("not", 1, _unary("not", "int", "bool"), "y = not x, bitwise", "elementwise")
define("select", 3, _select, "y = x if c else z, for inputs (c, x, z)", "elementwise")
define(
    "convert",
    1,
    _convert,
    "y = x as another kind; real to int truncates to zero, to bool is x ≠ 0",
    "elementwise",
    kind="text",
)
define("integer_pow", 1, _power, "y = x^exponent", "elementwise", exponent="int")
