"""Cases of operations that look at earlier samples."""

import numpy as np
from case import BOOLS, I3, LENGTH, Fixed, X, case, integers, noise
from scipy import signal

LONG = noise(150, 2, seed=8)


def shifted(x: np.ndarray, samples: tuple[int, ...], initial: np.ndarray | None = None) -> object:
    """Each channel late, after its initial values."""
    y = np.zeros_like(x).reshape(len(x), -1)
    flat = x.reshape(len(x), -1)
    for k, m in enumerate(samples):
        y[m:, k] = flat[: max(0, len(x) - m), k]
        if initial is not None:
            y[:m, k] = initial.reshape(len(initial), len(samples))[:m, k][: len(x)]
    return y.reshape(x.shape)


def late(label: str, x: np.ndarray, *samples: int, initial: np.ndarray | None = None) -> None:
    rest = () if initial is None else (Fixed(initial),)
    case("delay", x, *rest, label=label, samples=samples,
         expected=lambda x, *i: shifted(x, samples, *i))  # fmt: skip


late("one", X, 1, 1, 1)
late("none", X, 0, 0, 0)
late("some none", X, 0, 3, 0)
late("ragged", X, 5, 1, 17)
late("longer than the signal", X, 5, 100, 24)
late("scalar", X[:, 0], 7)
late("axes", noise(LENGTH, 2, 2), 0, 1, 2, 3)
late("int", I3, 2, 0, 5)
late("bool", BOOLS, 1, 2, 3)
late("nothing", X[:, :0])
late("start one", X, 1, 1, 1, initial=noise(1, 3))
late("start", X, 5, 5, 5, initial=noise(5, 3))
late("start ragged", X, 0, 3, 6, initial=noise(6, 3))
late("start zeros", X, 2, 2, 2, initial=np.zeros((2, 3)))
late("start scalar", X[:, 0], 4, initial=noise(4))
late("start int", I3, 2, 0, 3, initial=integers(3, 3))
late("start bool", BOOLS, 2, 1, 0, initial=np.array([[True, True, False], [True, False, True]]))
late("start of none", X, 0, 0, 0, initial=np.zeros((0, 3)))
late("start of nothing", X[:, :0], initial=np.zeros((0, 0)))
for _value in (0.5, 0.0, 3, True):
    case("delay", _value, label=f"constant {_value}", samples=(3,),
         expected=lambda v: np.where(np.arange(LENGTH) < 3, 0, v))  # fmt: skip
case("delay", Fixed(np.array([1.0, 0.0, -2.0])), label="coefficients", samples=(1, 2, 3),
     expected=lambda v: np.where(np.arange(LENGTH)[:, None] < [1, 2, 3], 0, v))  # fmt: skip
case("delay", 0.0, Fixed(np.array([3.0, 0.0, 1.0])), label="start of a constant", samples=(3,),
     expected=lambda v, i: np.where(np.arange(LENGTH) < 3, np.resize(i, LENGTH), v))  # fmt: skip


def variable(x: np.ndarray, d: np.ndarray, low: int, high: int) -> np.ndarray:
    """x[t - clip(d[t])], channel by channel."""
    y = np.zeros_like(x)
    d = np.clip(np.broadcast_to(d, x.shape), low, high)
    for index in np.ndindex(x.shape):
        t = index[0] - d[index]
        y[index] = x[(t, *index[1:])] if t >= 0 else 0
    return y


for _label, _x, _d, _bounds in (
    ("fixed", X, np.array([0, 3, 99]), (1, 6)),
    ("signal", X, integers(LENGTH, 3, low=-2, high=12), (0, 9)),
    ("signal from one", X, integers(LENGTH, 3, low=-2, high=12), (1, 9)),
    ("scalar", X[:, 0], integers(LENGTH, low=0, high=5), (2, 3)),
    ("none", X, integers(LENGTH, 3), (0, 0)),
    ("int", I3, integers(LENGTH, 3, low=0, high=5), (0, 4)),
    ("nothing", X[:, :0], I3[:, :0], (1, 4)),
):
    case("variable_delay", _x, Fixed(_d) if _label == "fixed" else _d, label=_label,
         minimum=_bounds[0], maximum=_bounds[1],
         expected=lambda x, d, b=_bounds: variable(x, d, *b))  # fmt: skip
case("variable_delay", 1.0, integers(LENGTH, low=0, high=30), label="of a constant", minimum=0,
     maximum=30, expected=lambda x, d: (np.arange(LENGTH) >= d) * 1.0)  # fmt: skip


def each(function: object, x: np.ndarray, *rest: np.ndarray) -> np.ndarray:
    """A function of one channel, channel by channel."""
    y = np.empty_like(x)
    for index in np.ndindex(x.shape[1:]):
        at = (slice(None), *index)
        y[at] = function(x[at], *(r[at] for r in rest))  # type: ignore[operator]
    return y


def convolved(x: np.ndarray, h: np.ndarray) -> np.ndarray:
    return each(lambda x, h: np.convolve(x, h)[: len(x)], x, h)


_sparse = np.zeros((1000, 2))
_sparse[[0, 7, 100, 149, 999]] = noise(5, 2)
_sparse[50:100, 1] = 0
for _label, _x, _taps in (
    ("one tap", X, noise(1, 3)),
    ("two", X, noise(2, 3)),
    ("scalar", X[:, 0], noise(5)),
    ("all zero", X, np.zeros((3, 3))),
    ("unit", X, np.ones((1, 3))),
    ("longer than the signal", X, noise(40, 3)),
    ("by spectra", LONG, noise(60, 2)),
    ("thousand", LONG[:, 0], noise(1000)),
    ("sparse", LONG, _sparse),
    ("axes", noise(LENGTH, 2, 2), noise(3, 2, 2)),
    ("nothing", X[:, :0], np.zeros((3, 0))),
):
    case("fir", _x, Fixed(_taps), label=_label, expected=convolved)


def filtered(x: np.ndarray, b: np.ndarray, a: np.ndarray, *zi: np.ndarray) -> np.ndarray:
    def one(x: np.ndarray, b: np.ndarray, a: np.ndarray, *zi: np.ndarray) -> np.ndarray:
        y = signal.lfilter(b, a, x, zi=zi[0] if zi else np.zeros(len(b) - 1))[0]
        return np.asarray(y)

    return each(one, x, b, a, *zi)


def polynomials(order: int, channels: int, a0: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Numerators, and denominators whose poles lie within 0.8 of the origin."""
    rng = np.random.default_rng(order)
    b, a = rng.normal(size=(order + 1, channels)), np.empty((order + 1, channels))
    for k in range(channels):
        poles: list[complex] = []
        while len(poles) < order - 1:
            pole = rng.uniform(0.1, 0.8) * np.exp(1j * rng.uniform(0.2, 3.0))
            poles += [pole, pole.conjugate()]
        poles += [rng.uniform(-0.8, 0.8)] * (order - len(poles))
        a[:, k] = a0 * np.real(np.poly(poles)) if order else a0
    return b, a


for _order in range(7):
    for _a0 in (1.0, -2.5):
        _b, _a = polynomials(_order, 2, _a0)
        case("iir", LONG, Fixed(_b), Fixed(_a), label=f"order {_order}, a0 {_a0:g}",
             expected=filtered)  # fmt: skip
        case("iir", LONG, Fixed(_b), Fixed(_a), Fixed(noise(_order, 2, seed=9)),
             label=f"order {_order}, a0 {_a0:g}, state", expected=filtered)  # fmt: skip
for _label, _b, _a in (
    ("integrator", [1.0, 0.0], [1.0, -1.0]),
    ("double integrator", [1.0, 0.0, 0.0], [1.0, -2.0, 1.0]),
    ("differentiator", [1.0, -1.0], [1.0, 0.0]),
    ("comb of one", [0.0, 1.0], [1.0, 0.5]),
    ("alternating", [1.0, 0.0], [1.0, 1.0]),
    ("oscillator", [0.0, 1.0, 0.0], [1.0, -1.5, 1.0]),
    ("all zeros", [0.5, -0.25, 2.0], [1.0, 0.0, 0.0]),
    ("only poles", [1.0, 0.0, 0.0], [1.0, -0.5, 0.25]),
    ("only the last pole", [1.0, 0.0, 0.0], [1.0, 0.0, 0.81]),
    ("identity", [2.0, -1.0, 0.5], [2.0, -1.0, 0.5]),
    ("zero", [0.0, 0.0, 0.0], [1.0, -0.5, 0.25]),
    ("outside", [1.0, 0.0], [1.0, -1.03125]),
    ("late", [0.0, 0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0, -0.5]),
):
    case("iir", LONG[:, 0], Fixed(np.array(_b)), Fixed(np.array(_a)), label=_label,
         expected=filtered)  # fmt: skip
case("iir", X[:, :0], Fixed(np.zeros((3, 0))), Fixed(np.ones((3, 0))), label="nothing",
     expected=lambda x, b, a: x)  # fmt: skip
case("iir", 0.0, Fixed(np.array([0.0, 1.0])), Fixed(np.array([1.0, -0.5])), Fixed(np.ones(1)),
     label="rings by itself", expected=lambda x, b, a, z: 0.5 ** np.arange(LENGTH))  # fmt: skip


def cascaded(x: np.ndarray, sos: np.ndarray, *zi: np.ndarray) -> np.ndarray:
    for n in range(len(sos)):
        x = filtered(x, sos[n, :3], sos[n, 3:], *(z[n] for z in zi))
    return x


def sections(count: int, channels: int) -> np.ndarray:
    parts = [polynomials(2, channels, a0) for a0 in (1.0, 3.0, -0.5, 1.0)[:count]]
    return np.stack([np.concatenate(part) * [1.0, 0.7][:channels] for part in parts])


FIRST_ORDER = np.array([[0.5, 0.25, 0, 1, -0.5, 0], [2, 0, 0, 1, 0, 0], [1, 0, 0, 4, 0, 0]])
for _count in (1, 2, 4):
    _sos = sections(_count, 2)
    case("sos", LONG, Fixed(_sos), label=f"{_count} sections", expected=cascaded)
    case("sos", LONG, Fixed(_sos), Fixed(noise(_count, 2, 2)), label=f"{_count} sections, state",
         expected=cascaded)  # fmt: skip
case("sos", LONG[:, 0], Fixed(sections(2, 1)[..., 0]), label="scalar", expected=cascaded)
case("sos", LONG[:, 0], Fixed(FIRST_ORDER), label="first order and gains", expected=cascaded)
case("sos", LONG[:, 0], Fixed(FIRST_ORDER), Fixed(np.array([[0.5, 0], [0, 0], [1, -1.0]])),
     label="first order and gains, state", expected=cascaded)  # fmt: skip
case("sos", LONG[:, 0], Fixed(np.array([[1.0, 0, 0, 1, 0, 0]] * 2)), label="identity",
     expected=cascaded)  # fmt: skip
case("sos", LONG[:, 0], Fixed(np.array([[1.0, 0.5, 0, 1, -1, 0]])), label="integrator",
     expected=cascaded)  # fmt: skip
case("sos", LONG[:, 0], Fixed(np.zeros((0, 6))), label="no sections", expected=lambda x, s: x)
case("sos", X[:, :0], Fixed(np.zeros((1, 6, 0))), label="nothing", expected=lambda x, s: x)
case("sos", 0.25, Fixed(sections(1, 1)[..., 0]), label="of a constant",
     expected=lambda x, s: cascaded(np.full(LENGTH, x), s))  # fmt: skip
