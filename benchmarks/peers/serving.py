"""What the processes of all sides do alike: two cores, the clock, memory, and taking orders.

A process is told its case by the first line on its standard input. Each line after that is a number
of seconds, for which it then repeats what it measures. It answers each line by a line of JSON.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peers.case import Case

CORES = 2
WARM = 2
"""Steps after the first, which compiles, before the clock counts."""
MOST = 1000
"""Bound on the steps of one turn."""

RELEASES: dict[str, tuple[int, ...]] = {
    "malloc_trim": (0,),  # of glibc
    "MallocExtension_ReleaseFreeMemory": (),  # of tcmalloc
}
"""What hands free memory back to the system, by the name it has in the C library at hand."""


def pin() -> None:
    """Keeps this process to two cores; to be called before libraries count them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


class Memory:
    """What this process holds beyond what it held when it was made, in bytes.

    Linux hands a process the peak of the one it was started by, so `ru_maxrss` says too much there;
    the peak of its own address space is exact, and can be set back.
    """

    def __init__(self) -> None:
        self.settle()
        self._idle = self._peak()

    def peak(self) -> int:
        """The most, since the last call of `settle`."""
        return max(0, self._peak() - self._idle)

    def settle(self) -> None:
        """Returns to the system what is free, and begins a new peak."""
        gc.collect()
        if not _STATUS.exists():
            return
        process = ctypes.CDLL(None)
        for name, arguments in RELEASES.items():
            release = getattr(process, name, None)
            if release is not None:
                release(*arguments)
        Path("/proc/self/clear_refs").write_text("5", "ascii")

    def _peak(self) -> int:
        if _STATUS.exists():
            lines = _STATUS.read_text("utf-8").splitlines()
            return 1024 * int(next(x for x in lines if x.startswith("VmHWM:")).split()[1])
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


_STATUS = Path("/proc/self/status")


def serve(prepare: Callable[[Case], Callable[[], float]], packages: Sequence[str]) -> None:
    """Measures one case as often as it is asked, until standard input ends.

    Args:
        prepare: Makes of a case what is measured, which returns when it is done: the loss, or any
            other number.
        packages: Whose versions belong in the report.
    """
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**found: Any) -> None:
        print(json.dumps(found | {"memory": memory.peak()}), file=answers, flush=True)

    memory = Memory()
    step = prepare(Case.read(sys.stdin.readline()))
    first, *values = _timed(step), *(step() for _ in range(WARM))
    answer(first=first[0], values=[first[1], *values], versions={x: version(x) for x in packages})
    memory.settle()
    last, _ = _timed(step)  # which asks for its memory again
    for line in sys.stdin:
        seconds, spent = float(line), []
        if last < seconds / 4:
            step()  # another process has had the caches since
        began = time.perf_counter()
        while not spent or (len(spent) < MOST and time.perf_counter() - began < seconds):
            last, _ = _timed(step)
            spent.append(last)
        answer(seconds=spent)


def _timed(step: Callable[[], float]) -> tuple[float, float]:
    """Seconds on the wall, and the result."""
    start = time.perf_counter()
    value = step()
    return time.perf_counter() - start, value
