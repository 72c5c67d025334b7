"""Feedback delay networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax.nn.delays import Delay, mutually_prime_delays
from adac_jax.nn.first_order import OnePole
from adac_jax.nn.gain import Gain
from adac_jax.nn.matrices import Matrix, square_matrix
from adac_jax.nn.module import Module
from adac_jax.nn.naming import call
from adac_jax.primitives import feedback


class FDN(Module):
    """A feedback delay network with N lines.

    s = F(z) (B x + A s),  y = T(z) C s + D x,  with F = absorption · delay of each line, and A all
    that is fed back: feedback delays · matrix · loop. Every part may be any module that fits, so
    filters, scattering matrices and whole networks may stand anywhere in the loop. Jot, Chaigne,
    "Digital delay networks for designing artificial reverberators", AES 90th Convention, 1991.

    Args:
        delays: m, one a line, in samples; or a module of N channels such as `FractionalDelay`.
        inputs: Channels in; taken from `input_gain` where that is given.
        outputs: Channels out; taken from `output_gain` where that is given.
        matrix: A name ("orthogonal", "householder", "hadamard", "rotation", "circulant"), an array
            (N, N) or a module.
        absorption: Applied to each line after its delay: gains (N,), or a module; none if None.
        input_gain: B, an array (N, inputs) or a module; random with orthonormal columns if None.
        output_gain: C, an array (outputs, N) or a module; random with orthonormal rows if None.
        direct: D, an array (outputs, inputs) or a module; none if None.
        feedback_delays: As `delays`, between matrix and input of the lines; none if None.
        loop: A further module in the loop, before the matrix; none if None.
        pre_tone: Applied to x before B, so not to the direct path; none if None.
        tone: T, applied to C s before the direct path is added; none if None.
        rngs: Where random numbers come from; `nnx.Rngs(0)` if None.

    Attributes:
        sample_rate: In Hz, where the parts were made for one (by `reverb`).

    Raises:
        ValueError: a part takes or gives another number of channels than its place needs.
    """

    sample_rate: float

    def __init__(
        self,
        delays: Sequence[int] | np.ndarray | Module,
        *,
        inputs: int = 1,
        outputs: int = 1,
        matrix: str | Module | ArrayLike = "orthogonal",
        absorption: Module | ArrayLike | None = None,
        input_gain: Module | ArrayLike | None = None,
        output_gain: Module | ArrayLike | None = None,
        direct: Module | ArrayLike | None = None,
        feedback_delays: Sequence[int] | np.ndarray | Module | None = None,
        loop: Module | None = None,
        pre_tone: Module | None = None,
        tone: Module | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        rngs = nnx.Rngs(0) if rngs is None else rngs
        self.delays = delays if isinstance(delays, Module) else Delay(delays)
        n = self.delays.inputs
        self.matrix = square_matrix(matrix, n, rngs)
        self.input_gain = _gain("input_gain", input_gain, (n, inputs), rngs)
        self.output_gain = _gain("output_gain", output_gain, (outputs, n), rngs)
        self.inputs, self.outputs = self.input_gain.inputs, self.output_gain.outputs
        if absorption is not None and not isinstance(absorption, Module):
            absorption = Gain(n, absorption)
        if feedback_delays is not None and not isinstance(feedback_delays, Module):
            feedback_delays = Delay(feedback_delays)
        self.absorption, self.feedback_delays, self.loop = absorption, feedback_delays, loop
        size = (self.outputs, self.inputs)
        self.direct = None if direct is None else _gain("direct", direct, size, rngs)
        self.pre_tone, self.tone = pre_tone, tone
        for name, wanted in {
            "delays": (n, n),
            "input_gain": (n, self.inputs),
            "output_gain": (self.outputs, n),
            "absorption": (n, n),
            "feedback_delays": (n, n),
            "loop": (n, n),
            "direct": size,
            "pre_tone": (self.inputs, self.inputs),
            "tone": (self.outputs, self.outputs),
        }.items():
            _check(name, getattr(self, name), *wanted)

    def __call__(self, x: Float[Array, "time inputs"]) -> Float[Array, "time outputs"]:
        """Reverberates x, from rest.

        Raises:
            DelayFreeLoopError: a path round the loop passes no delay.
        """

        def loop(u: Array) -> tuple[Array, Array]:
            s = self._through(u, "delays", "absorption")
            # What is heard is added up within the loop, where the lines' samples are at hand.
            heard = self._through(s, "output_gain")
            return self._through(s, "loop", "matrix", "feedback_delays"), heard

        def entrance(x: Array) -> Array:
            return self._through(x, "input_gain")

        # A matrix at the entrance too is better applied within; anything else stays outside.
        inside = isinstance(self.input_gain, Matrix)
        entering = self._through(x, "pre_tone")
        entering = entering if inside else entrance(entering)
        _, heard = feedback(loop, entering, entrance=entrance if inside else None, has_aux=True)
        y = self._through(heard, "tone")
        return y if self.direct is None else y + self._through(x, "direct")

    def _through(self, x: Array, *names: str) -> Array:
        """Runs the parts of these names that there are, in order."""
        for name in names:
            part = getattr(self, name)
            x = x if part is None else call(name, part, x)
        return x

    @classmethod
    def reverb(
        cls,
        lines: int = 16,
        *,
        inputs: int = 2,
        outputs: int = 2,
        t60: float = 2.0,
        t60_nyquist: float | None = 0.8,
        sample_rate: float = 48000.0,
        shortest: float = 0.02,
        longest: float = 0.08,
        matrix: str | Module | ArrayLike | None = None,
        dry: float = 1.0,
        rngs: nnx.Rngs | None = None,
        **parts: Any,
    ) -> FDN:
        """A room reverberator: mutually prime delays, absorption for a decay time, a direct path.

        Args:
            lines: N.
            inputs: Channels in.
            outputs: Channels out.
            t60: Seconds in which low frequencies decay by 60 dB.
            t60_nyquist: Seconds in which the highest do; as `t60` if None.
            sample_rate: In Hz.
            shortest: The shortest delay in seconds.
            longest: The longest.
            matrix: As in `FDN`; by default "hadamard", or "householder" if N is no power of two.
            dry: Gain of the direct path, from channel i to all outputs that equal i modulo the
                lesser of inputs and outputs; 0 for none.
            rngs: As in `FDN`.
            **parts: Further arguments of `FDN`; they replace what is chosen here.

        Raises:
            ValueError: a value is out of range.
        """
        ends = (round(shortest * sample_rate), round(longest * sample_rate))
        m = mutually_prime_delays(lines, *ends)
        if matrix is None:
            matrix = "householder" if lines & (lines - 1) else "hadamard"
        if t60_nyquist is None:
            absorption = Gain.from_t60(t60, m, sample_rate=sample_rate)
        else:
            absorption = OnePole.from_t60(t60, t60_nyquist, m, sample_rate=sample_rate)
        common = min(inputs, outputs)
        same = np.arange(outputs)[:, None] % common == np.arange(inputs) % common
        chosen: dict[str, Any] = {
            "inputs": inputs,
            "outputs": outputs,
            "matrix": matrix,
            "absorption": absorption,
            "direct": dry * same.astype(float) if dry else None,
            "rngs": rngs,
        }
        network = cls(m, **{**chosen, **parts})
        network.sample_rate = float(sample_rate)
        return network


def _gain(
    name: str, value: Module | ArrayLike | None, shape: tuple[int, int], rngs: nnx.Rngs
) -> Module:
    if isinstance(value, Module):
        return value
    if value is None:
        value = jax.nn.initializers.orthogonal()(rngs.params(), shape)
    weight = np.shape(value)
    if len(weight) != 2:
        raise ValueError(f"`{name}` has the shape {weight} but must be (outputs, inputs).")
    return Matrix(weight[0], weight[1], weight=value)


def _check(name: str, part: Module | None, outputs: int, inputs: int) -> None:
    if part is not None and (part.outputs, part.inputs) != (outputs, inputs):
        raise ValueError(
            f"`{name}` takes {part.inputs} channels and gives {part.outputs}, but here it must "
            f"take {inputs} and give {outputs}."
        )
