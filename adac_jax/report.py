"""What a verification found: as data, as JSON, as a table."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Check:
    """One reading compared with the reference on one test signal.

    Attributes:
        signal: The test signal, e.g. "impulse into 0", the first input.
        reading: What was compared, e.g. "FAUST single".
        reference: With what, e.g. "JAX float64".
        error: Largest absolute difference.
        peak: Largest absolute value of the reference.
        lag: The shift in samples (within ±8) at which the difference is least; 0 is aligned.
        limit_db: Largest allowed error in dB re peak; None where it is only reported.
    """

    signal: str
    reading: str
    reference: str
    error: float
    peak: float
    lag: int
    limit_db: float | None

    @property
    def error_db(self) -> float:
        """The error in dB relative to the reference's peak; -inf for no error at all."""
        if self.error == 0:
            return -math.inf
        if not math.isfinite(self.error) or self.peak == 0:
            return math.inf
        return 20 * math.log10(self.error / self.peak)

    @property
    def passed(self) -> bool:
        """Whether the error is within the limit, if there is one, and nothing is shifted."""
        if self.limit_db is None:
            return True
        return self.error_db <= self.limit_db and self.lag == 0


@dataclass(frozen=True, slots=True)
class Report:
    """All that a verification found.

    Attributes:
        name: The model.
        sample_rate: Hertz.
        inputs: Input channels.
        outputs: Output channels.
        nodes: Operations in the graph.
        seconds: Length of each test signal.
        checks: The comparisons.
        timings: Seconds spent: "trace", "emit", "compile single", "compile double", and
            "× real time", FAUST's speed in single precision.
        versions: Of what was used.
        traces: Impulse responses for the figure, by reading, (time, outputs); not in the JSON.
        latency: Samples that a host has to make up for.
        controls: The knobs, each with what its node in the graph says.
    """

    name: str
    sample_rate: float
    inputs: int
    outputs: int
    nodes: int
    seconds: float
    checks: tuple[Check, ...]
    timings: dict[str, float]
    versions: dict[str, str]
    traces: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    latency: int = 0
    controls: tuple[dict[str, Any], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def worst(self, reading: str) -> Check:
        """The check of a reading with the largest error in dB."""
        return max((c for c in self.checks if c.reading == reading), key=lambda c: c.error_db)

    def readings(self) -> tuple[str, ...]:
        """The readings that were compared, in order."""
        return tuple(dict.fromkeys(c.reading for c in self.checks))

    def to_json(self) -> str:
        """The report as JSON text; an error of exactly zero has `error_db` null."""
        data: dict[str, Any] = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in ("checks", "traces")
        }
        data["passed"] = self.passed
        data["checks"] = [
            dataclasses.asdict(c)
            | {"error_db": _finite(c.error_db), "error": _finite(c.error), "passed": c.passed}
            for c in self.checks
        ]
        return json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def compare(
    signal: str,
    reading: str,
    reference: str,
    found: np.ndarray,
    expected: np.ndarray,
    limit_db: float | None,
) -> Check:
    """Compares two outputs (time, channels) of one length."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    if found.shape != expected.shape or not np.all(np.isfinite(found)):
        return Check(signal, reading, reference, math.inf, 1.0, 0, limit_db)
    error = float(np.max(np.abs(found - expected), initial=0.0))
    peak = float(np.max(np.abs(expected), initial=0.0))
    return Check(signal, reading, reference, error, peak, _lag(found, expected), limit_db)


def _lag(found: np.ndarray, expected: np.ndarray, reach: int = 8) -> int:
    """The shift of `found` against `expected` with the least squared difference; 0 if equal."""
    count = len(expected) - 2 * reach
    if count < 1:
        return 0
    middle = expected[reach : reach + count]

    def distance(lag: int) -> tuple[float, int]:
        return float(np.sum((found[reach + lag : reach + lag + count] - middle) ** 2)), abs(lag)

    return min(range(-reach, reach + 1), key=distance)
