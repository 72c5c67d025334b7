"""The model of a room: its early reflections as measured, and networks for what follows."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flax import nnx

from adac_jax import nn
from adac_jax.errors import AdacError
from adac_jax.rates import by_parts


@dataclass(frozen=True)
class Structure:
    """What of a room model is not trained.

    Attributes:
        sample_rate: In Hz.
        outputs: Channels out; there is one in.
        early: Samples of the early reflections, an FIR.
        wait: Samples before each network's input.
        delays: m of each network's lines, in samples.
    """

    sample_rate: float
    outputs: int
    early: int
    wait: tuple[int, ...]
    delays: tuple[tuple[int, ...], ...]

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> Structure:
        """Reads what `save` wrote.

        Raises:
            AdacError: there is no such file, or it is damaged.
        """
        try:
            found = json.loads(path.read_text("utf-8"))
            structure = cls(
                sample_rate=float(found["sample_rate"]),
                outputs=int(found["outputs"]),
                early=int(found["early"]),
                wait=tuple(int(k) for k in found["wait"]),
                delays=tuple(tuple(int(m) for m in group) for group in found["delays"]),
            )
            structure.check()
        except OSError as error:
            raise AdacError(f"The file {path} cannot be read: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError):
            raise AdacError(f"The file {path} does not describe a fitted room.") from None
        return structure

    def check(self) -> None:
        """Raises a ValueError where there can be no such room."""
        lengths = [m for group in self.delays for m in group]
        if not (
            1 <= self.sample_rate < np.inf
            and min(self.outputs, self.early, *lengths) >= 1
            and min(self.wait, default=-1) >= 0
            and len(self.wait) == len(self.delays)
            and all(self.delays)
        ):
            raise ValueError(f"There can be no room with {self}.")


class Room(nn.Module):
    """A room from one source: y = early(x) + sum_k late_k(z^-wait_k x).

    `early` is an FIR for each output; each `late_k` a feedback delay network whose lines have a
    graphic equaliser in the loop, for a reverberation time in each band, and whose outputs have
    another, for the level of each band. One network decays with one slope in each band; rooms that
    are coupled need two.

    Args:
        structure: Lengths and channels.
        seed: Of the random matrices and gains.

    Attributes:
        sample_rate: In Hz.
    """

    at_rate = by_parts

    def __init__(self, structure: Structure, seed: int = 0) -> None:
        self.inputs, self.outputs = 1, structure.outputs
        self.sample_rate = structure.sample_rate
        rngs = nnx.Rngs(seed)
        rate = structure.sample_rate
        taps = np.zeros((structure.early, structure.outputs))
        self.early = nn.FIR(structure.outputs, taps)
        waits = [nn.Delay([samples]) for samples in structure.wait]
        networks = [
            nn.FDN(
                m,
                inputs=1,
                outputs=structure.outputs,
                matrix="orthogonal",
                absorption=nn.AccurateGEQ.from_t60(1.0, m, sample_rate=rate, train="t60"),
                tone=nn.AccurateGEQ(structure.outputs, sample_rate=rate),
                rngs=rngs,
            )
            for m in structure.delays
        ]
        self.wait, self.late = nnx.List(waits), nnx.List(networks)

    def __call__(self, x):
        """The room's sound of x, (time, 1) -> (time, outputs)."""
        y = self.early(x.repeat(self.outputs, -1))
        for wait, network in zip(self.wait, self.late, strict=True):
            y = y + network(wait(x))
        return y
