"""Networks for the tests of derivatives: every module, in loops and outside of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from adac_jax import designs, nn
from adac_jax.tracing import pure

RATE = 8000.0
LENGTH = 60
M = (3, 5, 8)
SOS = np.array([[0.2, 0.1, 0.05, 1.0, -0.6, 0.2], [0.6, -0.3, 0.1, 1.0, 0.4, 0.1]])


@dataclass(frozen=True)
class Example:
    """A model as a function, and where to differentiate it.

    Attributes:
        function: (parameters, audio) -> audio.
        parameters: Any pytree of real arrays.
        x: Audio.
    """

    function: Callable[[Any, Array], Array]
    parameters: Any
    x: Array


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def example(function: Any, parameters: Any = None, inputs: int = 2) -> Example:
    """A module, or a function of (parameters, audio).

    Parameters are moved a little at random: that some are 0, 1 or alike would hide a wrong term.
    """
    if isinstance(function, nnx.Module):
        inputs = function.inputs  # type: ignore[attr-defined]
        function, parameters = pure(function)
    rng = np.random.default_rng(5)
    moved = jax.tree.map(
        lambda leaf: jnp.asarray(leaf + 0.05 * rng.uniform(-1, 1, jnp.shape(leaf))), parameters
    )
    return Example(function, moved, jnp.asarray(noise(LENGTH, inputs)))


def mixed(matrix: Any, n: int = 4) -> nn.FDN:
    """A network with this matrix."""
    return nn.FDN((3, 5, 6, 8)[:n], matrix=matrix, absorption=np.linspace(0.9, 0.7, n))


def damped(filters: nn.Module) -> nn.FDN:
    """A network with filters in its loop, which decays."""
    n = filters.inputs
    gains = nn.Gain(n, np.linspace(0.7, 0.6, n))
    return nn.FDN(
        tuple(range(3, 3 + n)), matrix="householder", absorption=nn.Serial(gains, filters)
    )


def side_by_side(makers: list[Callable[[], nn.Module]]) -> nn.FDN:
    """A network with another filter in each line."""
    parts = [make() for make in makers]
    return damped(nn.Parallel(*parts, split=True, combine="concatenate"))


def every_part() -> nn.FDN:
    """A network with something in every place."""
    return nn.FDN(
        nn.FractionalDelay([3.3, 5.21], minimum=1, maximum=9),
        inputs=2,
        outputs=3,
        matrix=nn.Serial(nn.Orthogonal(2), nn.Rotation(2)),
        absorption=nn.OnePole(2, 0.8, 0.4),
        loop=nn.Parallel(
            nn.Serial(nn.Householder(2), nn.Gain(2, 0.5)),
            nn.Serial(nn.Circulant(2, row=[0.2, 0.1]), nn.Delay([0, 2])),
            nn.FDN((2, 3), inputs=2, outputs=2, matrix=0.2 * np.eye(2)),
        ),
        direct=np.ones((3, 2)),
        feedback_delays=(1, 0),
        pre_tone=nn.FIR(2, [0.6, 0.3]),
        tone=nn.Gain((3, 3), np.eye(3)),
    )


def state_variable(kind: str) -> nn.SVF:
    gain = 0.0 if kind == "allpass" else -3.0
    return nn.SVF(1, kind, frequency=900.0, gain_db=gain, sample_rate=RATE)


def biquad(kind: str) -> nn.Biquad:
    gain = 0.0 if kind == "allpass" else -3.0
    return nn.Biquad(1, kind, frequency=900.0, gain_db=gain, sample_rate=RATE)


FEW_BANDS = {"lowest": 900.0, "sample_rate": RATE}
PEQ = {"gains_db": -2.0, "lowest": 300.0, "sample_rate": RATE}

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    # Matrices.
    "orthogonal": lambda: mixed("orthogonal"),
    "householder": lambda: mixed("householder"),
    "hadamard": lambda: mixed("hadamard"),
    "rotation": lambda: mixed("rotation"),
    "circulant": lambda: mixed(nn.Circulant(4, row=0.4 * noise(4))),
    "orthogonal circulant": lambda: mixed("circulant"),
    "free matrix": lambda: mixed(0.4 * noise(4, 4)),
    "matrix of gains": lambda: mixed(nn.Gain((4, 4), 0.4 * noise(4, 4))),
    "matrix of responses": lambda: mixed(nn.FIR((2, 2), 0.3 * noise(4, 2, 2)), 2),
    "matrix of one-poles": lambda: mixed(nn.OnePole((2, 2), 0.5, 0.2), 2),
    "scattering": lambda: mixed(
        nn.Scattering([[0, 2], [3, 0]], left=[1, 0], right=[0, 1], gain_per_sample=0.97), 2
    ),
    "velvet scattering": lambda: mixed(nn.VelvetScattering(4, 1)),
    "matrices in series": lambda: mixed(
        nn.Serial(nn.Rotation(4), nn.Delay([0, 1, 0, 2]), nn.Hadamard(4))
    ),
    # Filters in the loop.
    "gains for a decay": lambda: nn.FDN(
        M, absorption=nn.Gain.from_t60(0.01, M, sample_rate=RATE, train="t60")
    ),
    "one-poles for a decay": lambda: nn.FDN(
        M, absorption=nn.OnePole.from_t60(0.01, 0.004, M, sample_rate=RATE, train="rate")
    ),
    "accurate equaliser for a decay": lambda: nn.FDN(
        M[:2],
        absorption=nn.AccurateGEQ.from_t60(0.01, M[:2], train="t60", groups=(0, 0), **FEW_BANDS),
    ),
    "shelves": lambda: damped(nn.FirstOrderShelf(2, 0.9, 0.4, 900.0, sample_rate=RATE)),
    "sections": lambda: damped(nn.SOS(2, SOS)),
    "responses": lambda: damped(nn.FIR(2, 0.4 * noise(5))),
    "biquad": lambda: damped(nn.Biquad(2, "lowpass", frequency=900.0, sample_rate=RATE)),
    # Delays.
    "fixed fractions": lambda: nn.FDN(nn.FractionalDelay([3.3, 5.7]), absorption=[0.8, 0.7]),
    "fixed fractions, allpass": lambda: nn.FDN(
        nn.FractionalDelay([3.3, 5.7], method="thiran", order=2), absorption=[0.8, 0.7]
    ),
    "fractions": lambda: nn.FDN(
        nn.FractionalDelay([3.3, 5.7], minimum=1, maximum=9), absorption=[0.8, 0.7]
    ),
    "fractions, allpass": lambda: nn.FDN(
        nn.FractionalDelay([3.3, 5.7], minimum=1, maximum=9, method="thiran", order=2),
        absorption=[0.8, 0.7],
    ),
    "delays in the feedback path": lambda: nn.FDN(
        (0, 0, 0), absorption=[0.9, 0.8, 0.7], feedback_delays=M
    ),
    "one line of one sample": lambda: nn.FDN((1,), matrix=[[0.8]]),
    "lines longer than the signal": lambda: nn.FDN((7, LENGTH, 100), absorption=[0.9] * 3),
    # What is put together.
    "every part": every_part,
    "network in a network": lambda: nn.FDN(
        M, absorption=[0.6] * 3, loop=nn.FDN((2, 3), inputs=3, outputs=3, absorption=[0.5] * 2)
    ),
    "networks in series and parallel": lambda: nn.Serial(
        nn.Parallel(nn.FDN((3, 4), outputs=2), nn.Matrix(2, 1)), nn.FDN((2, 5), inputs=2)
    ),
    # Outside of loops: what all other filters are made of.
    "sections outside": lambda: nn.SOS(2, SOS),
    "one-poles outside": lambda: nn.OnePole((2, 2), 0.8, 0.4),
    "responses outside": lambda: nn.FIR((1, 2), 0.3 * noise(9)),
    "fractions outside": lambda: nn.FractionalDelay([3.3, 0.7], minimum=0, maximum=9),
    "fractions outside, allpass": lambda: nn.FractionalDelay([3.3], method="thiran", order=2),
    "scattering outside": lambda: nn.Scattering([[0, 2], [3, 0]]),
}

LARGE: dict[str, Callable[[], nn.Module]] = {
    "reverb": lambda: nn.FDN.reverb(
        4, sample_rate=RATE, shortest=0.0005, longest=0.002, t60=0.02, t60_nyquist=0.01
    ),
    "octave equaliser": lambda: damped(nn.GEQ(2, -2.0, **FEW_BANDS)),
    "parametric equaliser": lambda: damped(nn.PEQ(2, 2, **PEQ)),
    "svf": lambda: damped(nn.SVF(2, mix=(0.9, 0.5, 0.3), frequency=900.0, sample_rate=RATE)),
    "all bands": lambda: nn.FDN(M, absorption=nn.GEQ.from_t60(0.01, M, sample_rate=48000.0)),
    "third octaves": lambda: damped(nn.GEQ(2, -2.0, bands_per_octave=3, **FEW_BANDS)),
    "parametric equaliser of svfs": lambda: damped(nn.PEQ(2, 4, design="svf", **PEQ)),
    "all kinds of svf": lambda: side_by_side(
        [lambda k=k: state_variable(k) for k in designs.STATE_VARIABLE_MIXES]
    ),
    "all kinds of biquads": lambda: side_by_side([lambda k=k: biquad(k) for k in designs.BIQUADS]),
    "matrix of biquads": lambda: mixed(
        nn.Biquad((2, 2), "peaking", gain_db=-9.0, sample_rate=RATE), 2
    ),
    "equalisers outside": lambda: nn.Serial(
        nn.GEQ(1, 3.0, sample_rate=RATE),
        nn.PEQ(1, 3, **PEQ),
        nn.AccurateGEQ(1, 2.0, sample_rate=RATE),
    ),
    "large scattering": lambda: mixed(
        nn.Scattering([[0, 2, 1, 5], [3, 0, 2, 1], [4, 2, 0, 7]], left=[1, 0, 2, 0])
    ),
    "three levels": lambda: nn.FDN(
        M,
        absorption=[0.6] * 3,
        loop=nn.FDN(
            (2, 3),
            inputs=3,
            outputs=3,
            absorption=nn.OnePole(2, 0.5, 0.3),
            loop=nn.FDN((1, 2), inputs=2, outputs=2, absorption=[0.3, 0.4]),
        ),
    ),
}
"""The same with more or larger filters: they take long to compile."""
