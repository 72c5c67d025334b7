"""Cases of operations on each number by itself."""

import numpy as np
from case import BOOLS, I3, J3, LENGTH, OTHERS, Fixed, X, Y, case, exact, noise
from scipy import special

EDGES = exact([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.5, -2.5, 3.25, -7.0, 1e-30, 1e6, 1e-40])
HALVES = np.arange(-12, 13) / 2
POSITIVE = noise(LENGTH, 2, low=0.1, high=9.0)
NONZERO = np.where(J3 == 0, 5, J3)

# Elementwise, one operand.

for _op, _function in (
    ("neg", np.negative), ("abs", np.abs), ("sign", np.sign), ("atan", np.arctan),
    ("sin", np.sin), ("cos", np.cos), ("tanh", np.tanh), ("asinh", np.arcsinh),
    ("cbrt", np.cbrt), ("erf", special.erf), ("erfc", special.erfc),
):  # fmt: skip
    case(_op, EDGES, label="edges", expected=_function)
    case(_op, X, expected=_function)
for _op in ("neg", "abs", "sign"):
    case(_op, I3, label="int", expected=getattr(np, {"neg": "negative"}.get(_op, _op)))
case("logistic", 8 * X, expected=lambda x: 1 / (1 + np.exp(-x)))
case("logistic", exact([-200.0, -80.0, 0.0, 80.0, 200.0]), label="far", expected=special.expit)
for _op, _function in (("sqrt", np.sqrt), ("log", np.log), ("rsqrt", lambda x: x**-0.5)):
    case(_op, POSITIVE, expected=_function)
case("sqrt", np.array([0.0, 4.0]), label="zero", expected=np.sqrt)
for _op in ("exp", "exp2", "expm1"):
    case(_op, 4 * X, expected=getattr(np, _op))
case("expm1", exact([1e-12, -1e-20, 0.0]), label="small", expected=np.expm1)
case("log1p", exact([1e-12, -1e-20, 0.0, 3.0]), label="small", expected=np.log1p)
case("log1p", POSITIVE, expected=np.log1p)
case("tan", X, expected=np.tan)
for _op, _function in (("asin", np.arcsin), ("acos", np.arccos)):
    case(_op, X, expected=_function)
    case(_op, np.array([-1.0, 0.0, 1.0]), label="ends", expected=_function)
for _op, _function in (("sinh", np.sinh), ("cosh", np.cosh)):
    case(_op, 4 * X, expected=_function)
case("acosh", exact(1 + POSITIVE), expected=np.arccosh)
case("atanh", exact(0.9 * X), expected=np.arctanh)
for _op, _function in (("floor", np.floor), ("ceil", np.ceil), ("round", np.rint)):
    case(_op, HALVES, label="halves", expected=_function)
    case(_op, EDGES, label="edges", expected=_function)
case("not", BOOLS, label="bool", expected=np.logical_not)
case("not", I3, label="int", expected=lambda x: -x - 1)

# Elementwise, two operands; scalars go with anything.

for _op, _function in (
    ("add", np.add), ("sub", np.subtract), ("mul", np.multiply),
    ("maximum", np.maximum), ("minimum", np.minimum),
):  # fmt: skip
    case(_op, X, Y, expected=_function)
    case(_op, X, 0.25, label="constant", expected=_function)
    case(_op, -1.5, X[:, 0], label="constant first", expected=_function)
    case(_op, X, Fixed(exact([0.0, 1.0, -0.7])), label="coefficients", expected=_function)
    case(_op, X, Y[:, 0], label="scalar", expected=lambda x, y, f=_function: f(x, y[:, None]))
    case(_op, I3, J3, label="int", expected=_function)
    case(_op, I3, Fixed(np.array([0, 1, -3])), label="int coefficients", expected=_function)
    case(_op, X[:, :0], Y[:, :0], label="empty", expected=_function)
case("mul", X, np.pi, label="inexact", expected=np.multiply)
case("add", 1e300, Fixed(np.array(5e-324)), label="static", expected=np.add)
case("div", X, np.where(np.abs(Y) < 0.1, 0.5, Y), expected=np.divide)
case("div", X, 4.0, label="constant", expected=np.divide)
case("div", 1.0, POSITIVE, label="scalar first", expected=np.divide)
case("div", I3, NONZERO, label="int", expected=lambda x, y: np.trunc(x / y))
case("div", I3, 4, label="int constant", expected=lambda x, y: np.trunc(x / y))
case("div", 7, NONZERO, label="int first", expected=lambda x, y: np.trunc(x / y))
case("rem", exact(10 * X), POSITIVE[:, :1] * np.ones(3), expected=np.fmod)
case("rem", X, 0.25, label="constant", expected=np.fmod)
case("rem", I3, NONZERO, label="int", expected=np.fmod)
case("rem", I3, -4, label="int constant", expected=np.fmod)
case("pow", POSITIVE, noise(LENGTH, 2, low=-2, high=2), expected=np.power)
case("pow", POSITIVE, 1.5, label="constant", expected=np.power)
case("pow", Fixed(exact([0.5, 2.0])), noise(LENGTH, 2), label="base fixed", expected=np.power)
case("atan2", X, Y, expected=np.arctan2)
case("atan2", exact([0.0, 1.0, -1.0, 0.0]), exact([1.0, 0.0, 0.0, -1.0]), label="axes",
     expected=np.arctan2)  # fmt: skip
for _op, _function in (
    ("eq", np.equal), ("ne", np.not_equal), ("lt", np.less), ("le", np.less_equal),
    ("gt", np.greater), ("ge", np.greater_equal),
):  # fmt: skip
    case(_op, HALVES, np.roll(np.abs(HALVES), 3), expected=_function)
    case(_op, HALVES, 0.5, label="constant", expected=_function)
    case(_op, I3, J3, label="int", expected=_function)
    case(_op, BOOLS, OTHERS, label="bool", expected=_function)
for _op, _function in (
    ("and", np.bitwise_and), ("or", np.bitwise_or), ("xor", np.bitwise_xor)
):  # fmt: skip
    case(_op, I3, J3, label="int", expected=_function)
    case(_op, I3, 6, label="int constant", expected=_function)
    case(_op, BOOLS, OTHERS, label="bool", expected=_function)
    case(_op, BOOLS, True, label="bool constant", expected=_function)
SHIFTED = np.array([[0, 1, -1], [7, -7, 3 * 2**29], [-(2**31), 12345, -98765]])
PLACES = np.array([[0, 1, 31], [32, 5, 2], [-1, 8, 40]])


def _logical(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    unsigned = np.where((n >= 0) & (n < 32), (x % 2**32) // 2.0 ** np.clip(n, 0, 31), 0)
    return _signed(unsigned.astype(np.int64))


def _signed(x: np.ndarray) -> np.ndarray:
    return (x + 2**31) % 2**32 - 2**31


for _op, _function in (
    ("shift_left", lambda x, n: _signed(np.where((n >= 0) & (n < 32), x * 2 ** (n % 32), 0))),
    ("shift_right_arithmetic", lambda x, n: x // 2 ** np.where((n >= 0) & (n < 32), n, 31)),
    ("shift_right_logical", _logical),
):
    case(_op, SHIFTED, PLACES, label="signal", expected=_function)
    for _n in (0, 1, 13, 31, 32, -1):
        case(_op, SHIFTED, _n, label=str(_n), expected=_function)
for _op, _function in (("add", np.add), ("sub", np.subtract), ("mul", np.multiply)):
    case(_op, SHIFTED, SHIFTED[::-1].copy(), label="wraps",
         expected=lambda x, y, f=_function: _signed(f(x, y)))  # fmt: skip
case("select", BOOLS, X, Y, expected=np.where)
case("select", BOOLS, I3, 7, label="int", expected=np.where)
case("select", BOOLS, OTHERS, BOOLS, label="bool", expected=np.where)
case("select", BOOLS[:, 0], X, Y, label="scalar condition",
     expected=lambda c, x, y: np.where(c[:, None], x, y))  # fmt: skip
case("select", True, X, 0.0, label="fixed condition", expected=np.where)
for _kind, _type in (("real", float), ("int", int), ("bool", bool)):
    case("convert", HALVES, label=f"real-{_kind}", kind=_kind,
         expected=lambda x, t=_type: x.astype(t))  # fmt: skip
    case("convert", I3, label=f"int-{_kind}", kind=_kind, expected=lambda x, t=_type: x.astype(t))
    case("convert", BOOLS, label=f"bool-{_kind}", kind=_kind,
         expected=lambda x, t=_type: x.astype(t))  # fmt: skip
for _n in (0, 1, 2, 3, 8, 9, 17):
    case("integer_pow", X, label=str(_n), exponent=_n, expected=lambda x, n=_n: x**n)
for _n in (-1, -2, -9):
    case(
        "integer_pow", POSITIVE, label=str(_n), exponent=_n, expected=lambda x, n=_n: x ** float(n)
    )
for _n in (0, 1, 2, 5):
    case("integer_pow", I3, label=f"int {_n}", exponent=_n, expected=lambda x, n=_n: x**n)
case("integer_pow", np.array([1, -1, 0, 1]), label="int 40", exponent=40,
     expected=lambda x: np.abs(x))  # fmt: skip
