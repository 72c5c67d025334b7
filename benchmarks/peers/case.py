"""One network to train: what both sides are told, and what its training must cost at least.

NumPy alone, so that each side can read it in an environment without the other.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

RATE = 48000
LENGTH = 96000
"""At which the step is compared."""
FILTERS = ("gains", "equalisers")
LEARNING_RATE = 1e-3
BANDS = 9
"""Octave bands from 62.5 Hz to 16 kHz; a shelf below, one above, and a broadband gain besides."""
BANDWIDTH = 2.7
"""Ratio of a peak's edges: Schlecht and Habets, DAFx 2017, and what FLAMO has."""


@dataclass(frozen=True)
class Case:
    """What one process measures.

    Attributes:
        side: Whose: "adac_jax" or "flamo".
        what: "step", or the part or limit of it that is measured.
        filters: In the loop: "gains", fixed, or "equalisers", trained; one a line.
        length: Samples of the impulse response, and of the Fourier transform.
        delays: Of each line, in samples.
    """

    side: str
    what: str
    filters: str
    length: int
    delays: tuple[int, ...]

    @property
    def lines(self) -> int:
        """N."""
        return len(self.delays)

    @classmethod
    def read(cls, text: str) -> Case:
        """A case from JSON."""
        fields = json.loads(text)
        return cls(**fields | {"delays": tuple(fields["delays"])})

    def write(self) -> str:
        """The case as one line of JSON."""
        return json.dumps(asdict(self))

    def parameters(self) -> dict[str, np.ndarray]:
        """Where training starts, the same on both sides.

        By the end of the response it has decayed by 120 dB, so that neither what wraps round in
        time on one side nor what is cut off on the other can be seen in single precision.

        Returns:
            In float32: `input_gain` (N, 1), `output_gain` (1, N); `matrix` (N, N), of which the
            strict upper part U gives A = exp(U - Uᵀ); `gains` (N,), linear; and `equalisers`
            (bands + 3, N), in dB: broadband, low shelf, peaks, high shelf, each at most 0 dB.
        """
        n, random = self.lines, np.random.default_rng(self.lines)
        decay = -120.0 * np.array(self.delays) / self.length
        found = {
            "input_gain": random.normal(size=(n, 1)) / n**0.5,
            "output_gain": random.normal(size=(1, n)) / n**0.5,
            "matrix": random.normal(size=(n, n)),
            "gains": 10 ** (decay / 20),
            "equalisers": np.concatenate([decay[None], random.uniform(-1, 0, (BANDS + 2, n))]),
        }
        return {name: value.astype(np.float32) for name, value in found.items()}

    def products(self) -> int:
        """Multiply-adds of the value and gradient, by the difference equations as they are written.

        Forward, a sample takes N² for the matrix, N each for input and output gains, and for the
        filters N, or 5 a section and line. The transposed loop takes as many, and so do the
        gradients of the coefficients. Neither the loss with its Fourier transform nor Adam counts.
        """
        n, filters = self.lines, 1 if self.filters == "gains" else 5 * (BANDS + 2)
        return 3 * self.length * (n * n + 2 * n + filters * n)

    def moved(self) -> int:
        """Bytes that the value and gradient must move, if all but the N delay lines stays in cache.

        The lines are written and read forward, written and read again in the transposed loop, and
        what they held forward is read a second time for the gradients: 5 N floats a sample.
        """
        return 4 * 5 * self.lines * self.length
