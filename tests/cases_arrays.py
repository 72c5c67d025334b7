"""Cases of sources, and of operations that move or combine the channels of one sample."""

import numpy as np
from case import BOOLS, CASES, I3, J3, LENGTH, OTHERS, Case, Fixed, X, Y, case, kind_of, noise

import ir

# Sources.

for _value in (0, 1, -5, 2**31 - 1, -(2**31), True, False, 0.0, -0.0, 0.1, -np.pi, 1e300, 5e-324):
    case("constant", label=repr(_value), value=_value, expected=lambda v=_value: v)
for _label, _default, _curve in (("", 0.3, "linear"), ("log", 0.1, "log"), ("low", 0.05, "log")):
    _builder = ir.Builder("control")
    _name = f"a knob {_label}".strip()
    _k = _builder.control(_name, _default, 0.05, 2.0, step=0.01, unit="dB", curve=_curve)
    _program = ir.Program(_builder.build([_k]))
    CASES.append(Case("control", _label, _program, (), LENGTH, np.full(LENGTH, _default)))

_SLOTS = np.random.default_rng(5).normal(size=(2, 3)) * 10.0 ** np.arange(-3, 3).reshape(2, 3)


def _coefficient(label: str, value: np.ndarray) -> None:
    builder = ir.Builder("coefficient")
    out = builder.add("coefficient", slot="a.b", shape=value.shape, kind=kind_of(value))
    program = ir.Program(builder.build([out]), {"a.b": value})
    want = np.broadcast_to(value, (LENGTH, *value.shape))
    CASES.append(Case("coefficient", label, program, (), LENGTH, want))


_coefficient("real", _SLOTS)
_coefficient("scalar", np.array(-0.0))
_coefficient("subnormal", np.array([5e-324, -1e-310, np.finfo(float).max]))
_coefficient("int", np.array([0, -1, 2**31 - 1, -(2**31)]))
_coefficient("bool", np.array([[True], [False]]))
for _label, _x in (("real", X), ("int", I3), ("bool", BOOLS), ("scalar", X[:, 0])):
    _builder = ir.Builder("input")
    _k = _builder.add("input", index=0, shape=_x.shape[1:], kind=kind_of(_x))
    CASES.append(Case("input", _label, ir.Program(_builder.build([_k])), (_x,), LENGTH, _x))

# Moving channels about.

Z = noise(LENGTH, 2, 3, 2, seed=6)
case("reshape", Z, shape=(3, 4), expected=lambda x: x.reshape(-1, 3, 4))
case("reshape", X[:, :1], label="to scalar", shape=(), expected=lambda x: x[:, 0])
case("reshape", X[:, :0], label="empty", shape=(0, 2), expected=lambda x: np.zeros((len(x), 0, 2)))
case("transpose", Z, permutation=(2, 0, 1), expected=lambda x: x.transpose(0, 3, 1, 2))
case("transpose", X[:, 0], label="scalar", permutation=(), expected=lambda x: x)
case("broadcast", X, shape=(2, 3), axes=(1,), expected=lambda x: x[:, None])
case("broadcast", X[:, :1], label="repeat", shape=(2, 4), axes=(0,),
     expected=lambda x: x[:, :, None])  # fmt: skip
case("broadcast", X[:, 0], label="scalar", shape=(2, 2), axes=(),
     expected=lambda x: x[:, None, None])  # fmt: skip
case("broadcast", X, label="to nothing", shape=(0, 3), axes=(1,),
     expected=lambda x: np.zeros((len(x), 0, 3)))  # fmt: skip
case("slice", Z, start=(0, 0, 1), limit=(2, 3, 2), stride=(1, 2, 1),
     expected=lambda x: x[:, :, ::2, 1:])  # fmt: skip
case("slice", X, label="empty", start=(2,), limit=(2,), stride=(3,), expected=lambda x: x[:, 2:2])
case("slice", X[:, 0], label="scalar", start=(), limit=(), stride=(), expected=lambda x: x)
case("concatenate", X, Y, axis=0, expected=lambda x, y: np.concatenate([x, y], 1))
case("concatenate", Z, Z, Z, label="inner", axis=1,
     expected=lambda *x: np.concatenate(x, 2))  # fmt: skip
case("concatenate", X, label="one", axis=0, expected=lambda x: x)
case("concatenate", X, X[:, :0], Fixed(np.array([1.0, 2.0])), label="mixed", axis=0,
     expected=lambda x, y, c: np.hstack([x, np.tile(c, (len(x), 1))]))  # fmt: skip
case("concatenate", BOOLS, OTHERS, label="bool", axis=0, expected=lambda *x: np.hstack(x))
TABLE = np.array([0.5, -1.25, 3.0, 0.0, -0.125])
PLACE = np.array([[0, 4], [2, -3], [7, 1], [3, 3]])
case("lookup", Fixed(TABLE), PLACE, label="table",
     expected=lambda w, k: np.tile(TABLE, 1)[np.clip(k, 0, 4)])  # fmt: skip
case("lookup", Fixed(np.array([[3, 1], [-2, 5], [0, 7]])), PLACE, label="of integers",
     expected=lambda w, k: np.take_along_axis(w, np.clip(k, 0, 2), 0))  # fmt: skip
case("lookup", noise(4, 3, 2), PLACE, label="of signals",
     expected=lambda w, k: np.take_along_axis(w, np.clip(k, 0, 2)[:, None], 1)[:, 0])  # fmt: skip
case("lookup", Fixed(TABLE), 3, label="fixed", expected=lambda w, k: 0.0)
case("take", Z, indices=(0, 11, 3, 3), shape=(2, 2),
     expected=lambda x: x.reshape(len(x), -1)[:, [[0, 11], [3, 3]]])  # fmt: skip
case("take", X, label="scalar", indices=(2,), shape=(), expected=lambda x: x[:, 2])
case("take", X, label="nothing", indices=(), shape=(0,), expected=lambda x: x[:, :0])

# Reductions and products.

for _op, _function in (("sum", np.sum), ("prod", np.prod), ("max", np.max), ("min", np.min)):
    case(_op, Z, axes=(1,), expected=lambda x, f=_function: f(x, axis=2))
    case(_op, Z, label="all", axes=(0, 1, 2), expected=lambda x, f=_function: f(x, axis=(1, 2, 3)))
    case(_op, Z, label="none", axes=(), expected=lambda x: x)
    case(_op, I3, label="int", axes=(0,), expected=lambda x, f=_function: f(x, axis=1))
    case(_op, Z[:, :0], label="of nothing", axes=(1,), expected=lambda x: x[:, :, 0])
for _op in ("sum", "prod"):
    case(_op, X[:, :0], label="empty", axes=(0,),
         expected=lambda x, op=_op: np.full(len(x), float(op == "prod")))  # fmt: skip
    case(_op, I3[:, :0], label="empty int", axes=(0,),
         expected=lambda x, op=_op: np.full(len(x), int(op == "prod")))  # fmt: skip
case("sum", noise(LENGTH, 200), label="long", axes=(0,), expected=lambda x: x.sum(1))
A = np.random.default_rng(7).normal(size=(4, 3))
case("einsum", X, Fixed(A), subscripts="j,ij->i", expected=lambda x, a: x @ a.T)
case("einsum", X, Y, label="inner", subscripts="i,i->", expected=lambda x, y: (x * y).sum(1))
case("einsum", X, Y, label="outer", subscripts="i,j->ij",
     expected=lambda x, y: x[:, :, None] * y[:, None])  # fmt: skip
case("einsum", X, Y, label="elementwise", subscripts="i,i->i", expected=lambda x, y: x * y)
case("einsum", X, Y[:, 0], label="scalar", subscripts="i,->i",
     expected=lambda x, y: x * y[:, None])  # fmt: skip
case("einsum", Z, Z, label="batched", subscripts="aij,akj->ika",
     expected=lambda x, y: np.einsum("taij,takj->tika", x, y))  # fmt: skip
case("einsum", Z, X[:, :2], label="one side summed", subscripts="ajk,k->a",
     expected=lambda x, y: np.einsum("tajk,tk->ta", x, y))  # fmt: skip
case(
    "einsum", I3, J3, label="int", subscripts="i,j->j", expected=lambda x, y: x.sum(1)[:, None] * y
)
case("einsum", I3, Fixed(np.array([[1, 0, -1], [0, 0, 0], [2, 1, 1]])), label="int matrix",
     subscripts="j,ij->i", expected=lambda x, a: x @ a.T)  # fmt: skip
case("einsum", X, Fixed(np.array([[1.0, 0, -1], [0, 0, 0]])), label="zero row",
     subscripts="j,ij->i", expected=lambda x, a: x @ a.T)  # fmt: skip
case("einsum", X[:, :0], Fixed(A[:, :0]), label="empty", subscripts="j,ij->i",
     expected=lambda x, a: np.zeros((len(x), 4)))  # fmt: skip
case("einsum", X, Fixed(A[:0]), label="no result", subscripts="j,ij->i",
     expected=lambda x, a: np.zeros((len(x), 0)))  # fmt: skip
case("einsum", noise(LENGTH, 100), Fixed(noise(100)), label="long", subscripts="i,i->",
     expected=lambda x, y: x @ y)  # fmt: skip
