"""Which FAUST text of a dense feedback matrix compiles and runs best?

The same feedback delay network is written in several forms, each is compiled and rendered by
DawDreamer in a process of its own (a form that does not finish is killed, not waited for), and
its output is compared with a float64 NumPy reference. The result: `docs/dense-matrices.md`.

    python benchmarks/dense_forms.py --sizes 16 64 --forms plain rings --out results
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 48000
# Holds at any host rate: ma.SR is at least 1, and every threshold is below 1.
GATE = "on(k) = ma.SR > k/65536.0;\n"


@dataclass(frozen=True)
class Network:
    """A feedback delay network: u = b x + A s, s_j = g_j u_j[n - m_j], y = c s + d x."""

    A: NDArray[np.float64]
    b: NDArray[np.float64]
    c: NDArray[np.float64]
    d: float
    g: NDArray[np.float64]
    m: list[int]

    @property
    def size(self) -> int:
        """Number of delay lines."""
        return len(self.m)


def make_network(size: int, seed: int = 0) -> Network:
    """A random orthogonal matrix, prime delays from 503 to 4999 samples, 2 s reverberation."""
    sieve = np.ones(5000, dtype=bool)
    for i in range(2, 71):
        sieve[i * i :: i] = False
    candidates = np.flatnonzero(sieve)
    candidates = candidates[candidates > 500]
    m = candidates[np.linspace(0, len(candidates) - 1, size).astype(int)]
    random = np.random.default_rng(seed)
    A, _ = np.linalg.qr(random.standard_normal((size, size)))
    b, c = random.standard_normal((2, size)) / np.sqrt(size)
    return Network(A, b, c, 0.1, 0.001 ** (m / RATE / 2.0), [int(v) for v in m])


def reference(net: Network, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exact network in float64, in blocks of the shortest delay."""
    block, longest = min(net.m), max(net.m)
    u = np.zeros((net.size, len(x) + longest))
    y = np.zeros(len(x))
    for start in range(0, len(x), block):
        stop = min(len(x), start + block)
        delayed = [u[j, longest + start - m : longest + stop - m] for j, m in enumerate(net.m)]
        s = net.g[:, None] * np.stack(delayed)
        y[start:stop] = net.c @ s + net.d * x[start:stop]
        u[:, longest + start : longest + stop] = net.A @ s + net.b[:, None] * x[start:stop]
    return y


# The forms. Each turns a network into FAUST text.


def number(value: float) -> str:
    """A literal that reads back to the same float64."""
    text = repr(float(value))
    return f"({text})" if value < 0 else text


def plain_sum(terms: Sequence[str]) -> str:
    """Terms added from the left."""
    return " + ".join(terms)


def tree_sum(terms: Sequence[str]) -> str:
    """Terms added pairwise: the compiler's front end is quadratic in the depth of a sum."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return f"({tree_sum(terms[:half])} + {tree_sum(terms[half:])})"


def grouped_sum(terms: Sequence[str], width: int = 16) -> str:
    """Groups of terms, each behind `attach`, which the front end does not look through."""
    groups = [f"attach({plain_sum(terms[k : k + width])}, 0)" for k in range(0, len(terms), width)]
    return plain_sum(groups) if len(groups) <= width else grouped_sum(groups, width)


def gated_sum(terms: Sequence[str], gate: int) -> str:
    """A sum in a branch of its own, behind a condition that always holds."""
    return f"select2(on({gate}), 0.0, {tree_sum(terms)})"


def ring_sizes(delays: Sequence[int]) -> list[int]:
    """Power-of-two buffer lengths for which length - delay differs from line to line.

    FAUST reads a line at (IOTA + length - delay) & (length - 1). Two lines with the same
    length - delay share the sum, and a shared index keeps LLVM from gathering the lines at once.
    """
    taken: set[int] = set()
    sizes: list[int] = []
    for delay in delays:
        size = 1 << delay.bit_length()
        while size - delay in taken:
            size *= 2
        taken.add(size - delay)
        sizes.append(size)
    return sizes


def program(
    net: Network,
    rows: Sequence[str],
    y: str,
    *,
    prelude: str = "",
    sizes: Sequence[int] | None = None,
    hold: bool = False,
) -> str:
    """The whole text round the given row sums, in s0, s1, … and x.

    Args:
        net: The network.
        rows: The sum for each line.
        y: The sum for the output.
        prelude: Definitions the sums use.
        sizes: Buffer lengths to force, as `ring_sizes` gives them.
        hold: Put each s behind `attach`, so that it is one local variable in the generated code.
            Otherwise each row would load the output of a recursive filter from memory again.
    """
    n = net.size

    def line(source: str, delay: int, j: int) -> str:
        # `~` delays by one sample already, so the loop's own delays are one shorter.
        text = f"{source} @ {delay}"
        if sizes is not None and sizes[j] > 1 << net.m[j].bit_length():
            # The second read only makes the buffer longer; no code is generated for it.
            text = f"attach({text}, {source} @ {sizes[j] // 2})"
        text = f"({text}) * {number(net.g[j])}"
        return f"  s{j} = attach({text}, 0);" if hold else f"  s{j} = {text};"

    inside = "\n".join(line(f"r{j}", net.m[j] - 1, j) for j in range(n))
    outside = "\n".join(line(f"u{j}", net.m[j], j) for j in range(n))
    sums = "\n".join(f"  u{i} = {row};" for i, row in enumerate(rows))
    r = ", ".join(f"r{j}" for j in range(n))
    u = ", ".join(f"u{j}" for j in range(n))
    return (
        f'import("stdfaust.lib");\n{prelude}'
        f"loop({r}, x) = {u}\nwith {{\n{inside}\n{sums}\n}};\n"
        f"out({u}, x) = {y}\nwith {{\n{outside}\n}};\n"
        f"process = _ <: (loop ~ si.bus({n})), _ : out;\n"
    )


Sum = Callable[[Sequence[str]], str]


def with_sum(net: Network, add: Sum) -> str:
    """Literal coefficients, all terms of a row in one sum."""
    rows = [add([*products(net.A[i]), f"{number(net.b[i])}*x"]) for i in range(net.size)]
    return program(net, rows, add([*products(net.c), f"{number(net.d)}*x"]))


def products(values: NDArray[np.float64]) -> list[str]:
    """The terms of one row."""
    return [f"{number(v)}*s{j}" for j, v in enumerate(values)]


def plain(net: Network) -> str:
    """Literals, left-associated sums."""
    return with_sum(net, plain_sum)


def groups(net: Network) -> str:
    """Literals, groups of 16 terms behind `attach`."""
    return with_sum(net, grouped_sum)


def table(net: Network) -> str:
    """Coefficients read from a waveform at constant indices; products behind `attach`."""
    wave = ", ".join(repr(float(v)) for v in net.A.ravel())
    prelude = f"W = waveform{{{wave}}};\na(k) = rdtable(W, k);\n"
    n = net.size
    rows = [
        plain_sum([f"attach(a({i * n + j})*s{j}, 0)" for j in range(n)])
        + f" + {number(net.b[i])}*x"
        for i in range(n)
    ]
    return program(net, rows, plain_sum([*products(net.c), f"{number(net.d)}*x"]), prelude=prelude)


def constants(net: Network) -> str:
    """Coefficients that FAUST computes at initialisation; products behind `attach`."""
    rows = [
        plain_sum([f"attach(k({number(v)})*s{j}, 0)" for j, v in enumerate(net.A[i])])
        + f" + {number(net.b[i])}*x"
        for i in range(net.size)
    ]
    y = plain_sum([*products(net.c), f"{number(net.d)}*x"])
    return program(net, rows, y, prelude="one = ma.SR > 0;\nk(c) = c*one;\n")


def gated(net: Network, sizes: Sequence[int] | None = None) -> str:
    """Literals, each row a balanced sum in a branch of its own."""
    rows = [f"{gated_sum(products(net.A[i]), i)} + {number(net.b[i])}*x" for i in range(net.size)]
    y = f"{gated_sum(products(net.c), net.size)} + {number(net.d)}*x"
    return program(net, rows, y, prelude=GATE, sizes=sizes, hold=True)


def rings(net: Network) -> str:
    """`gated`, with line buffers whose read offsets all differ."""
    return gated(net, ring_sizes(net.m))


FORMS: dict[str, Callable[[Network], str]] = {
    f.__name__: f for f in (plain, groups, table, constants, gated, rings)
}


# Measuring.


def measure(form: str, size: int, seconds: float, renders: int) -> dict[str, float]:
    """Compile and render one form in this process.

    Times are CPU times: on a shared machine the wall clock measures the neighbours.
    """
    # Its names are made at import, so the type checker sees none of them.
    import dawdreamer

    net = make_network(size)
    text = FORMS[form](net)
    length = int(seconds * RATE)
    random = np.random.default_rng(1)
    x = np.zeros(length, dtype=np.float32)
    x[: length // 4] = 0.1 * random.standard_normal(length // 4)
    x[0] = 1.0

    engine = dawdreamer.RenderEngine(RATE, 512)  # pyright: ignore
    source = engine.make_playback_processor("source", x[None].copy())
    processor = engine.make_faust_processor("network")
    start = time.process_time()
    processor.set_dsp_string(text)
    processor.compile()
    engine.load_graph([(source, []), (processor, ["source"])])
    engine.render(512.5 / RATE)
    compile_s = time.process_time() - start

    times: list[float] = []
    for _ in range(renders):
        start = time.process_time()
        # Half a sample more: DawDreamer drops the last sample for some exact lengths.
        engine.render((length + 0.5) / RATE)
        times.append(time.process_time() - start)
    y = np.array(engine.get_audio(), dtype=np.float64)[0, :length]
    expected = reference(net, x.astype(np.float64))
    return {
        "compile_s": compile_s,
        "speed_median": seconds / statistics.median(times),
        "speed_best": seconds / min(times),
        "error": float(np.abs(y - expected).max() / np.abs(expected).max()),
        # Linux reports kibibytes.
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "kilobytes": len(text) / 1000,
    }


def measure_apart(
    form: str, size: int, seconds: float, renders: int, limit: float
) -> dict[str, float] | None:
    """Run `measure` in a process of its own; None if it ran past the limit."""
    command = [sys.executable, __file__, "--worker", form, str(size), str(seconds), str(renders)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:
        raise RuntimeError(f"form {form!r} of size {size} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def summarise(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Rounds to one row: other load only makes a round slower, so the best one counts too."""
    return {
        "compile_s": min(r["compile_s"] for r in runs),
        "speed_median": statistics.median(r["speed_median"] for r in runs),
        "speed_best": max(r["speed_best"] for r in runs),
        "error": max(r["error"] for r in runs),
        "peak_mib": max(r["peak_mib"] for r in runs),
        "kilobytes": runs[0]["kilobytes"],
        "rounds": float(len(runs)),
    }


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure every form at every size, in alternation, and return one row for each."""
    rows: list[dict[str, Any]] = []
    for size in options.sizes:
        runs: dict[str, list[dict[str, float]]] = {form: [] for form in options.forms}
        stopped: set[str] = set()
        for _ in range(options.rounds):
            # In alternation, so that a busy minute does not fall on one form alone.
            for form in options.forms:
                if form in stopped:
                    continue
                result = measure_apart(form, size, options.seconds, options.renders, options.limit)
                if result is None:
                    stopped.add(form)
                else:
                    runs[form].append(result)
        for form in options.forms:
            row: dict[str, Any] = {"size": size, "form": form, "past_limit": form in stopped}
            rows.append(row | (summarise(runs[form]) if runs[form] else {}))
    return rows


def show(rows: Sequence[dict[str, Any]], limit: float) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    view = Table(title="Dense N×N feedback delay network as FAUST, single precision")
    for name in ("N", "form", "compile s", "× real time", "best", "error", "peak MiB", "text kB"):
        view.add_column(name, justify="left" if name == "form" else "right")
    for row in rows:
        if "compile_s" not in row:
            view.add_row(str(row["size"]), row["form"], f"> {limit:g}")
            continue
        view.add_row(
            str(row["size"]),
            row["form"],
            f"{row['compile_s']:.2f}",
            f"{row['speed_median']:.1f}",
            f"{row['speed_best']:.1f}",
            f"{row['error']:.1e}",
            f"{row['peak_mib']:.0f}",
            f"{row['kilobytes']:.0f}",
        )
    Console().print(view)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw compile time and speed against N."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    panels = (("compile_s", "compile time [s]"), ("speed_best", "speed [× real time]"))
    for axis, (key, label) in zip(axes, panels, strict=True):
        for form in dict.fromkeys(row["form"] for row in rows):
            points = [(r["size"], r[key]) for r in rows if r["form"] == form and key in r]
            if points:
                axis.plot(*zip(*points, strict=True), "o-", label=form)
        axis.set(xscale="log", yscale="log", xlabel="N", ylabel=label)
        sizes = sorted({row["size"] for row in rows})
        axis.set_xticks(sizes, [str(s) for s in sizes])
        axis.minorticks_off()
        axis.grid(visible=True, alpha=0.3)
    axes[1].axhline(1.0, color="black", linewidth=0.8)
    axes[0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the options, measure, and write the table, the JSON and the figure."""
    if sys.argv[1:2] == ["--worker"]:
        form, size, seconds, renders = sys.argv[2:6]
        print(json.dumps(measure(form, int(size), float(seconds), int(renders))))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 16, 32, 64, 128])
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--seconds", type=float, default=2.0, help="audio per render")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds allowed per process")
    parser.add_argument("--renders", type=int, default=5, help="renders per process")
    parser.add_argument("--rounds", type=int, default=2, help="processes per form, in alternation")
    parser.add_argument("--out", type=Path, default=Path("dense_forms"))
    options = parser.parse_args()

    rows = run(options)
    show(rows, options.limit)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {k: getattr(options, k) for k in ("seconds", "limit", "renders", "rounds")}
    report = {"rate": RATE, "settings": settings, "rows": rows}
    (options.out / "dense_forms.json").write_text(json.dumps(report, indent=2) + "\n")
    draw(rows, options.out / "dense_forms.png")


if __name__ == "__main__":
    main()
