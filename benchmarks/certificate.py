"""Is the certificate ever wrong, and how much does it prove?

Thousands of loops that were built to fool proofs are certified, and judged by other means: poles
with a bound on their error, exact arithmetic near the unit circle, long simulation, and a search
for inputs that make them grow or pass the certified peak. Two numbers must be zero: loops called
stable that are not, and loops called unstable that are not. Then two traps for frequency grids, and
the time for a large network.

    python benchmarks/certificate.py --loops 2000 --seed 0 --json out/certificate.json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one process a core
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from adversarial_case import Loop, peak  # pyright: ignore[reportMissingImports]
from adversarial_loops import make, sample  # pyright: ignore[reportMissingImports]
from rich.console import Console
from rich.table import Table
from stability_judge import falsehoods, judge  # pyright: ignore[reportMissingImports]

import ir
from ir.certificate import Certificate, certify

RATE = 48000
GOOD = ("stable", "lossless")


@dataclass(frozen=True)
class Row:
    """One loop.

    Attributes:
        family: Of which it is one.
        seed: Its number.
        truth: What the judge says.
        linear: Whether it is linear and time-invariant.
        verdict: What the certificate says, or "failed" where it raised.
        cause: Where it is unproven, why.
        wrong: What is false in the certificate.
        seconds: To certify.
        decays: Whether it states how fast.
        loud: Whether a peak is infinite though it is certified.
    """

    family: str
    seed: int
    truth: str
    linear: bool
    verdict: str
    cause: str
    wrong: tuple[str, ...]
    seconds: float
    decays: bool
    loud: bool


def cause(certificate: Certificate) -> str:
    """Why something is unproven, without the numbers."""
    reasons = [f"{p.reason} [{p.node.split('(')[-1].rstrip(')')}]" for p in certificate.problems()]
    return reasons[0] if reasons else ""


def measure(task: tuple[str, int, float]) -> Row:
    """Certifies and judges one loop."""
    name, seed, effort = task
    loop: Loop = make(name, seed)
    judgement = judge(loop)
    linear = loop.linear or not np.isnan(judgement.radius)
    start = time.perf_counter()
    try:
        found = certify(loop.program)
    except Exception as error:  # a crash is a finding, not the end of the benchmark
        seconds = time.perf_counter() - start
        why = f"{type(error).__name__}: {error}"
        return Row(
            name, seed, judgement.truth, linear, "failed", why, (why,), seconds, False, False
        )
    seconds = time.perf_counter() - start
    wrong = falsehoods(loop, judgement, found, effort)
    return Row(name, seed, judgement.truth, linear, found.verdict, cause(found), tuple(wrong),
               seconds, found.decay_seconds is not None,
               found.verdict == "stable" and not np.all(np.isfinite(found.peak)))  # fmt: skip


def rows(
    loops: int, seed: int, jobs: int, effort: float, only: Sequence[str], minutes: float
) -> Iterator[Row]:
    """Measures a mixture of loops, in random order, until time is up."""
    tasks = [(f, n, effort) for f, n in sample(loops, seed) if not only or f in only]
    random.Random(seed).shuffle(tasks)
    end = time.monotonic() + 60 * minutes
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for row in pool.imap_unordered(measure, tasks, chunksize=2):
            yield row
            if time.monotonic() > end:
                return


def share(rows: Sequence[Row]) -> str:
    """How many are certified."""
    good = sum(r.verdict in GOOD for r in rows)
    return f"{good} of {len(rows)} ({100 * good / len(rows):.2f} %)" if rows else "none"


def table(found: Sequence[Row]) -> Table:
    """A line a family."""
    out = Table("family", "loops", "stable", "certified", "bounded", "certified", "unstable",
                "called so", "other", "wrong", "median ms", "max ms")  # fmt: skip
    for name in dict.fromkeys(r.family for r in found):
        mine = [r for r in found if r.family == name]
        by = {t: [r for r in mine if r.truth == t] for t in ("stable", "bounded", "unstable")}
        times = [1000 * r.seconds for r in mine]
        out.add_row(
            name, str(len(mine)),
            str(len(by["stable"])), str(sum(r.verdict in GOOD for r in by["stable"])),
            str(len(by["bounded"])), str(sum(r.verdict in GOOD for r in by["bounded"])),
            str(len(by["unstable"])), str(sum(r.verdict == "unstable" for r in by["unstable"])),
            str(len(mine) - sum(map(len, by.values()))), str(sum(bool(r.wrong) for r in mine)),
            f"{statistics.median(times):.1f}", f"{max(times):.0f}",
        )  # fmt: skip
    return out


# The traps, and a large network.


def narrow_peak() -> ir.Program:
    """Sixteen lines; each has a peak of +6 dB and 2 Hz at 4 kHz, between the points of a grid.

    The points of a transform of 2,048 at 48 kHz are 23.4 Hz apart; the nearest are 3984.4 and
    4007.8 Hz.
    """
    from flax import nnx

    import adac_jax

    m = adac_jax.nn.mutually_prime_delays(16, 960, 3840)
    absorption = adac_jax.nn.Gain.from_t60(2.0, m, sample_rate=RATE)
    loop = adac_jax.nn.SOS(16, peak(4000.0, 2.0, 6.0)[None])
    model = adac_jax.nn.FDN(m, absorption=absorption, loop=loop, rngs=nnx.Rngs(1))
    return adac_jax.trace(model).program


def triangular() -> ir.Program:
    """Eight lines, a triangular matrix of spectral radius 0.6 and norm 5."""
    from flax import nnx

    import adac_jax

    A = np.diag(np.linspace(0.1, 0.6, 8))
    upper = np.triu(np.random.default_rng(0).normal(size=(8, 8)), 1)
    low, high = 0.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.linalg.norm(A + middle * upper, 2) < 5 else (low, middle)
    m = adac_jax.nn.mutually_prime_delays(8, 400, 2000)
    model = adac_jax.nn.FDN(m, matrix=A + low * upper, rngs=nnx.Rngs(1))
    return adac_jax.trace(model).program


def graphic() -> ir.Program:
    """Thirty-two lines, each with an equaliser of ten octave bands and what lies beyond them."""
    from flax import nnx

    import adac_jax

    m = adac_jax.nn.mutually_prime_delays(32, 960, 4800)
    times = np.geomspace(3.0, 0.5, 12)
    eq = adac_jax.nn.AccurateGEQ.from_t60(times, m, lowest=22.0, sample_rate=RATE)
    return adac_jax.trace(adac_jax.nn.FDN(m, absorption=eq, rngs=nnx.Rngs(1))).program


def trap(name: str, program: ir.Program, repeats: int = 3) -> tuple[str, Certificate, float]:
    """Certifies one of the above; the least of several times."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = certify(program)
        times.append(time.perf_counter() - start)
    return name, found, min(times)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--loops", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--effort", type=float, default=0.4, help="of attacks")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long")
    parser.add_argument("--only", nargs="*", default=[], help="families")
    parser.add_argument("--no-traps", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    console = Console(width=160)

    start = time.perf_counter()
    found = sorted(rows(
            given.loops, given.seed, given.jobs, given.effort, given.only, given.minutes
        ),
                   key=lambda r: (r.family, r.seed))  # fmt: skip
    console.print(table(found))
    stable = [r for r in found if r.truth == "stable"]
    console.print(f"{len(found)} loops in {time.perf_counter() - start:.0f} s")
    console.print(f"truly stable and linear, certified: {share([r for r in stable if r.linear])}")
    console.print(f"truly stable, certified: {share(stable)}")
    console.print(f"bounded, certified: {share([r for r in found if r.truth == 'bounded'])}")
    wrong = [r for r in found if r.wrong]
    for name, bad in (("no finite peak", [r for r in found if r.loud]),
                      ("no bound on its decay", [r for r in stable if not r.decays
                                                 and r.verdict == "stable"])):  # fmt: skip
        where = ", ".join(f"{k} {v}" for k, v in Counter(r.family for r in bad).most_common())
        console.print(f"stable, but {name}: {len(bad)} ({where})")
    console.print(f"wrong: {len(wrong)}")
    for row in wrong:
        console.print(f"  {row.family} {row.seed}: {'; '.join(row.wrong)}")
    missed = [r for r in found if r.truth in ("stable", "bounded") and r.verdict not in GOOD]
    console.print("stable or bounded, but not certified, by family and cause:")
    for (name, why), count in Counter((r.family, r.cause) for r in missed).most_common():
        seeds = [r.seed for r in missed if (r.family, r.cause) == (name, why)][:3]
        console.print(f"  {count} {name}: {why} (seeds {seeds})")
    if not given.no_traps:
        for name, certificate, seconds in (
            trap("+6 dB between grid points", narrow_peak()),
            trap("triangular, radius 0.6, norm 5", triangular()),
            trap("32 lines, ten bands each", graphic()),
        ):
            console.print(f"{name}: {certificate.verdict}, {seconds:.3f} s")
            for proof in certificate.loops[:3]:
                console.print(f"  {proof.sentence()}")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([asdict(r) for r in found], indent=1) + "\n", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
