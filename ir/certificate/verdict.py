"""What a certificate says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Verdict = Literal["stable", "lossless", "unstable", "unproven"]
VERDICTS: tuple[Verdict, ...] = ("stable", "lossless", "unproven", "unstable")
"""From the best to the worst."""


@dataclass(frozen=True, slots=True)
class LoopProof:
    """What was found of one loop, or of one recursive filter.

    Attributes:
        nodes: Positions of its nodes.
        name: What it is called: its longest common module path, or its first node.
        verdict: See `Certificate`.
        method: Which theorem decided, as a sentence fragment.
        margin_db: How far the loop's gain is below one, in dB for each time round; None where the
            proof is not by a gain.
        decay_seconds: Time in which what is in the loop fades by 60 dB, at most, as acoustics
            means it: the slope of the decay. All modes lie within |z| = 1000^(-1 / (decay fs)). A
            loop that first swells needs that time from then on. 0 where all is over at once; None
            where no such bound is known.
        frequency_hz: For an unstable loop: of the pole outside the unit circle.
        growth_db_per_second: For an unstable loop: how fast that pole grows.
        node: Where a proof stopped: the node's label.
        reason: Why, or by what the loop is bounded.
    """

    nodes: tuple[int, ...]
    name: str
    verdict: Verdict
    method: str
    margin_db: float | None = None
    decay_seconds: float | None = None
    frequency_hz: float | None = None
    growth_db_per_second: float | None = None
    node: str = ""
    reason: str = ""

    def sentence(self) -> str:
        """One line for a reader."""
        if self.verdict == "unstable":
            where = "" if self.frequency_hz is None else f" at {self.frequency_hz:,.4g} Hz"
            growth = self.growth_db_per_second
            fast = "" if growth is None else f", growing by {growth:,.3g} dB per second"
            return f"{self.name} is unstable{where}{fast} ({self.method})."
        if self.verdict == "unproven":
            return f"{self.name} could not be proved stable: at {self.node}, {self.reason}."
        margin = "" if self.margin_db is None else f", {self.margin_db:.4g} dB below one"
        if self.verdict == "lossless":
            return f"{self.name} is lossless: what is in it stays ({self.method})."
        fade = ""
        if self.decay_seconds is not None:
            fade = f"; it fades by 60 dB within {self.decay_seconds:,.4g} s"
        because = f" ({self.reason})" if self.reason else ""
        return f"{self.name} is stable by {self.method}{margin}{fade}{because}."


@dataclass(frozen=True, eq=False)
class Certificate:
    """Whether a program can blow up, and how loud it can get.

    Attributes:
        name: The program's name.
        sample_rate: In hertz.
        verdict: "stable": for every input and every motion of the controls within their ranges, the
            output is bounded, and what has a decay fades. "lossless": marginal; a loop keeps what
            is in it, so a steady input may grow without bound, but slowly. "unstable": a pole lies
            outside the unit circle, or an input was found that makes it grow. "unproven": neither
            could be shown.
        margin_db: The least of the loops' margins; None where no loop has one.
        decay_seconds: The longest of the loops' decays; None where one has none.
        peak: For inputs within ±1, a bound on each output's absolute value.
        loops: The proofs, in the order of signal flow.
        tolerance: By how much, relatively, each multiplier may be off: 2^-24 covers rounding to
            single precision.
        controls: Name, least and greatest value of each control: all positions and all motions
            between are covered.
        ranges: Least and greatest value of each channel of each node, by the node's position.
    """

    name: str
    sample_rate: float
    verdict: Verdict
    margin_db: float | None
    decay_seconds: float | None
    peak: tuple[float, ...]
    loops: tuple[LoopProof, ...]
    tolerance: float
    controls: tuple[tuple[str, float, float], ...] = ()
    ranges: Mapping[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def passed(self) -> bool:
        """Whether it may ship: stable or lossless."""
        return self.verdict in ("stable", "lossless")

    @property
    def peak_db(self) -> float:
        """The loudest output's bound in dB re full scale."""
        most = max(self.peak, default=0.0)
        return 20 * math.log10(most) if most > 0 else -math.inf

    def problems(self) -> tuple[LoopProof, ...]:
        """The loops that keep it from passing."""
        return tuple(p for p in self.loops if p.verdict in ("unstable", "unproven"))

    def sentences(self) -> tuple[str, ...]:
        """A line a loop, and one for the output."""
        found = [p.sentence() for p in self.loops]
        if math.isfinite(self.peak_db):
            found.append(f"Inputs within ±1 give outputs within {self.peak_db:+.1f} dB.")
        return tuple(found)

    def summary(self) -> str:
        """The verdict in one line."""
        found: list[str] = [self.verdict]
        if self.margin_db is not None and math.isfinite(self.margin_db):
            found.append(f"{self.margin_db:.3g} dB below one")
        if self.decay_seconds:
            found.append(f"fades by 60 dB within {self.decay_seconds:,.3g} s")
        if math.isfinite(self.peak_db):
            found.append(f"outputs within {self.peak_db:+.1f} dB for inputs within ±1")
        return ", ".join(found)

    def to_json(self) -> str:
        """The certificate without the ranges of its signals, for `NAME.cert.json`."""
        record: dict[str, Any] = {
            "format": "adac_jax certificate",
            "version": 1,
            "name": self.name,
            "sample_rate": self.sample_rate,
            "verdict": self.verdict,
            "margin_db": self.margin_db,
            "decay_seconds": self.decay_seconds,
            "peak": list(self.peak),
            "tolerance": self.tolerance,
            "controls": [list(c) for c in self.controls],
            "loops": [asdict(p) for p in self.loops],
        }
        return json.dumps(_finite(record), indent=2, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no infinity: null stands for it."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
