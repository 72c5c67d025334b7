"""Processes that measure, started and asked in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peers.case import Case

FOLDER = Path(__file__).parents[1]
MODULES = {"adac_jax": "peers.adac_step", "flamo": "peers.flamo_step"}
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647", "MALLOC_ARENA_MAX": "1"}
"""glibc then keeps large blocks that are freed, in place of handing their pages back each step. The
threshold above which it would hand them back cannot be set higher than 32 MiB."""


@dataclass(frozen=True)
class Setting:
    """How processes are run.

    Attributes:
        pythons: An interpreter for each side.
        keep_memory: Whether the allocator keeps what is freed (`MALLOC`), on all sides.
        rounds: How often the processes of a group get their turn.
        seconds: Length of a turn; at least one step is made.
    """

    pythons: Mapping[str, str]
    keep_memory: bool
    rounds: int
    seconds: float

    def environment(self) -> dict[str, str]:
        """The same for all sides."""
        paths = [str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
        chosen = {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
        return os.environ | chosen | (MALLOC if self.keep_memory else {})


@dataclass(frozen=True)
class Measured:
    """What came of a case.

    Attributes:
        case: What was measured.
        seconds: Of each step.
        first: Seconds of the first call, which traces and compiles where there is such a thing.
        values: The loss before the first step and after each of the next ones.
        memory: Peak bytes during steps, beyond those of the process after its imports.
        memory_first: The same until the clock began, so with tracing and compiling.
        versions: Of the packages that count.
    """

    case: Case
    seconds: tuple[float, ...]
    first: float
    values: tuple[float, ...]
    memory: int
    memory_first: int
    versions: Mapping[str, str]

    @property
    def median(self) -> float:
        """Seconds to expect."""
        return statistics.median(self.seconds)

    @property
    def minimum(self) -> float:
        """Seconds of the least disturbed step."""
        return min(self.seconds)

    def report(self) -> dict[str, Any]:
        """For JSON."""
        summary = {"lines": self.case.lines, "median": self.median, "minimum": self.minimum}
        fields = asdict(self)
        return fields.pop("case") | summary | fields


def measure(cases: Sequence[Case], setting: Setting) -> list[Measured]:
    """Measures cases in turn, each in a process of its own that waits while others run.

    Raises:
        RuntimeError: a process failed; the message ends with what it wrote last.
    """
    with ExitStack() as stack:
        asks = [stack.enter_context(_process(case, setting)) for case in cases]
        # One after the other: compiling uses both cores.
        starts = [ask(case.write()) for ask, case in zip(asks, cases, strict=True)]
        turns: list[list[Mapping[str, Any]]] = [[] for _ in cases]
        for _ in range(setting.rounds):
            for ask, found in zip(asks, turns, strict=True):
                found.append(ask(repr(setting.seconds)))
    return [
        Measured(
            case,
            seconds=tuple(x for turn in found for x in turn["seconds"]),
            first=start["first"],
            values=tuple(start["values"]),
            memory=found[-1]["memory"],
            memory_first=start["memory"],
            versions=start["versions"],
        )
        for case, start, found in zip(cases, starts, turns, strict=True)
    ]


@contextmanager
def _process(case: Case, setting: Setting) -> Iterator[Any]:
    """A process for one case: a function that sends it a line and returns its answer."""
    command = [setting.pythons[case.side], "-m", MODULES[case.side]]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env=setting.environment(),
        ) as process,
    ):

        def ask(line: str) -> Mapping[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                print(line, file=process.stdin, flush=True)
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = ""
            if not answer:
                process.wait()
                errors.seek(0)
                raise RuntimeError(
                    f"{case.side} failed at {case.what} with {case.lines} lines: "
                    f"{errors.read()[-2000:].strip()}"
                )
            return json.loads(answer)

        try:
            yield ask
        finally:
            process.kill()
