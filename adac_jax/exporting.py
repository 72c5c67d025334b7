"""Writes a model as FAUST, with the proof beside it, all or nothing."""

from __future__ import annotations

import dataclasses
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from adac_jax.certifying import CertificateError, certify_rounded
from adac_jax.errors import AdacError, DelayFreeLoopError, IRError
from adac_jax.host import HostError
from adac_jax.listening import Listening, listen, memory_samples
from adac_jax.loading import raised
from adac_jax.plugin import (
    FOLDER,
    Built,
    Origin,
    Plugins,
    Version,
    find_tools,
    make,
    metadata_of,
    wanted,
)
from adac_jax.report import Report
from adac_jax.staging import staged
from adac_jax.table import decibels
from adac_jax.tracing import Latency, Traced
from adac_jax.trial import LIMIT_SECONDS, MANY_LINES, try_compile
from adac_jax.verification import traced_at, verify_program
from emitters import faust
from ir import Certificate, Program, dumps
from ir.knobs import check_names, settling
from ir.ops.controls import attribute

Precision = Literal["single", "double"]
KNOWN = (AdacError, IRError, HostError)
"""Errors whose message is meant for the user."""


class ComparisonError(AdacError):
    """FAUST and JAX differ by more than the limit, so nothing was exported.

    Attributes:
        report: What was found.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        worst = max((c for c in report.checks if not c.passed), key=lambda c: c.error_db)
        shift = f", shifted by {worst.lag} samples" if worst.lag else ""
        super().__init__(
            f"The comparison failed: {worst.reading} differs from {worst.reference} by "
            f"{decibels(worst.error_db)} re peak (limit {worst.limit_db:.0f} dB{shift}) on "
            f"{worst.signal!r}."
        )


@dataclass(frozen=True, slots=True)
class Exported:
    """What `export` wrote.

    Attributes:
        report: The comparison.
        files: What was written, in order: FAUST, IR, certificate, report, figure, and the sound, if
            any.
        listening: What came out of the sound file, if there was one.
        cost: What the program was estimated to cost before it was compiled.
        certificate: The proof that it cannot blow up, or why there is none.
        plugins: What was built, if anything.
    """

    report: Report
    files: tuple[Path, ...]
    listening: Listening | None
    cost: faust.Cost | None = None
    certificate: Certificate | None = None
    plugins: Built | None = None


SLOW_COMPILE, SLOW_RUN = 10.0, 2.0
"""Seconds, and times real time, from which on the user is warned."""


def warnings_for(cost: faust.Cost) -> tuple[str, ...]:
    """What to say of a program that is near the limits of FAUST; see docs/limits.md.

    Args:
        cost: Of the program.
    """
    size = f"{cost.products:,} products and {cost.calls:,} functions a sample, which FAUST unrolls"
    found = []
    if cost.compile_seconds > SLOW_COMPILE:
        found.append(f"{size}: about {cost.compile_seconds:.0f} s to compile, for each precision")
    if cost.real_time < SLOW_RUN:
        found.append(f"{size}: about {cost.real_time:.1g} times real time on one core")
    return tuple(f"{text} (estimated; docs/limits.md says what helps)." for text in found)


def export(
    model: Any,
    out: str | Path,
    *,
    name: str | None = None,
    inputs: int | None = None,
    parameters: Any = None,
    sample_rate: float | None = None,
    seconds: float = 2.0,
    precision: Precision = "single",
    latency: Latency = 0,
    listen_to: str | Path | None = None,
    controls: Mapping[str, float] | None = None,
    keep_failed: bool = False,
    uncertified: bool = False,
    trusted: bool = True,
    plugin: Plugins | Sequence[str] | str | None = None,
    remake: Callable[[float], Any] | None = None,
    stage: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = warnings.warn,
) -> Exported:
    """Verifies a model, proves that it is stable, and writes what ships.

    That is `NAME.dsp`, `NAME.ir.json`, `NAME.cert.json`, `report.json` and `report.png`. All is
    made in a temporary folder beside the target and moved into place when it is complete, the
    comparison passed and the certificate says stable or lossless; else nothing is written.

    Args:
        model: As for `verify`.
        out: The folder to write to; made if it is not there.
        name: The model's name and that of its files; the class or function name if None.
        inputs: Input channels; the model's own attribute `inputs` if None.
        parameters: For functions of (parameters, audio).
        sample_rate: Hertz; the model's own, or 48000, if None.
        seconds: Length of each test signal.
        latency: As for `trace`: what may be added to a model that looks ahead, or "auto". The
            FAUST declares it as `latency_samples`.
        precision: What must pass. "single": all comparisons. "double": all but those of FAUST in
            single precision, which are reported. Also what `listen_to` is rendered in.
        listen_to: A sound file to render through the compiled FAUST, to `STEM.wet.wav`.
        controls: Where knobs stand for `listen_to`, by their names; the others at their defaults.
        keep_failed: Where the comparison fails, still write `report.json` and `report.png`.
        uncertified: Export a model that is unstable, or could not be proved stable, all the same.
        trusted: False compiles in a child process first, for models that come as data.
        plugin: Also builds plugins, into the folder `plugin`: formats ("c", "lv2", "vst3", "clap"),
            or `adac_jax.plugin.Plugins` with more settings; see docs/plugins.md.
        remake: Makes the model for another sample rate, where its own code can, for plugins.
        stage: Called with what is being done, for a progress line.
        warn: Called with a sentence, before it is compiled, where a program will take long to
            compile or will hardly run in real time.

    Returns:
        The report and the files.

    Raises:
        CertificateError: the model is unstable, or could not be proved stable; `uncertified` does
            not help where plugins are wanted.
        ComparisonError: FAUST and JAX differ.
        RefusedError, DelayFreeLoopError, AdacError, IRError: as `trace` and `listen`; or `out`
            cannot be written.
        HostError: FAUST does not compile.
        RateError: plugins were asked for at a rate that the model cannot be derived for.
    """
    from adac_jax.figure import save  # matplotlib takes a second to import

    if precision not in ("single", "double"):
        raise AdacError(f'`precision` (={precision!r}) must be "single" or "double".')
    if not 0 < seconds <= 600:
        raise AdacError(f"`seconds` (={seconds:g}) must be above 0 and at most 600.")
    if name is not None and not re.fullmatch(r"\w[\w.-]{0,99}", name, re.ASCII):
        raise AdacError(f"`name` (={name!r}) must be letters, digits, `_`, `.` and `-` only.")
    settings = wanted(plugin)
    tools = find_tools(settings.formats) if settings else None
    with staged(Path(out)) as (folder, deliver):
        begun = time.perf_counter()
        stage("tracing")
        traced, program = _traced(model, parameters, inputs, sample_rate, name, latency)
        _check_controls(program, controls)
        metadata = metadata_of(program, settings, precision) if settings else None
        stem = name or file_stem(program.graph.name)
        stage("proving that it is stable")
        mark = time.perf_counter()
        certificate = certify_rounded(program, precision)
        spent = {"trace": mark - begun, "certify": time.perf_counter() - mark}
        if not certificate.passed and (settings is not None or not uncertified):
            raise CertificateError(certificate)
        estimate = faust.cost(program)
        for text in warnings_for(estimate):
            warn(text)
        stage("emitting")
        mark = time.perf_counter()
        source = faust.emit(program)
        spent["emit"] = time.perf_counter() - mark
        if not trusted or source.count("\n") > MANY_LINES:
            stage(f"compiling in a process of its own (at most {LIMIT_SECONDS:.0f} s)")
            try_compile(source, round(program.graph.sample_rate))
        stage("comparing FAUST with JAX")
        report = verify_program(program, traced, seconds=seconds, source=source)
        report = dataclasses.replace(report, timings=spent | report.timings | spent)
        report = _required(report, precision)
        stage("drawing")
        written = {
            f"{stem}.dsp": source,
            f"{stem}.ir.json": dumps(program),
            f"{stem}.cert.json": certificate.to_json(),
        }
        if report.passed:
            for file, text in written.items():
                (folder / file).write_text(text, "utf-8")
        (folder / "report.json").write_text(report.to_json(), "utf-8")
        save(report, folder / "report.png")
        files = [*written, "report.json", "report.png"]
        if not report.passed:
            if keep_failed:
                deliver(["report.json", "report.png"])
            raise ComparisonError(report)
        built = None
        if settings is not None and metadata is not None and tools is not None:

            def compared(program: Program, traced: Traced | None, source: str) -> Report:
                found = verify_program(program, traced, seconds=min(seconds, 0.5), source=source)
                found = _required(found, precision)
                if not found.passed:
                    raise ComparisonError(found)
                return found

            built = make(
                Version(program, source, certificate, report),
                Origin(model, parameters, inputs, latency, remake),
                metadata,
                settings,
                tools,
                folder / FOLDER,
                compare=compared,
                stage=stage,
                warn=warn,
            )
            files.append(FOLDER)
        heard = None
        if listen_to is not None:
            stage(f"rendering {listen_to}")
            files.append(f"{Path(listen_to).stem}.wet.wav")
            heard = listen(
                source,
                listen_to,
                folder / files[-1],
                sample_rate=round(program.graph.sample_rate),
                precision=precision,
                memory=memory_samples(program.graph),
                controls=controls,
                settle=settling(program.graph),
            )
        paths = deliver(files)
    if heard is not None:
        heard = dataclasses.replace(heard, path=paths[-1])
    if built is not None:
        built = built.inside(Path(out) / FOLDER)
    return Exported(report, paths, heard, estimate, certificate, built)


def _check_controls(program: Program, controls: Mapping[str, float] | None) -> None:
    check_names(program.graph, controls or {})
    for name, value in (controls or {}).items():
        knob = program.graph.controls[name]
        low, high = attribute(knob, "minimum"), attribute(knob, "maximum")
        if not low <= value <= high:
            raise AdacError(f"The control {name!r} (={value:g}) must lie in {low:g} to {high:g}.")


def _traced(
    model: Any,
    parameters: Any,
    inputs: int | None,
    sample_rate: float | None,
    name: str | None,
    latency: Latency,
) -> tuple[Traced | None, Program]:
    try:
        traced, program = traced_at(model, parameters, inputs, sample_rate, name, latency)
    except KNOWN:
        raise
    except Exception as error:
        raise raised("The model, called on audio,", error) from error
    if name is not None and traced is None:
        graph = dataclasses.replace(program.graph, name=name)
        program = Program(graph, program.coefficients)
    return traced, program


def _required(report: Report, precision: Precision) -> Report:
    """The report with limits on what has to pass only."""
    if precision == "single":
        return report
    checks = tuple(
        dataclasses.replace(c, limit_db=None) if c.reading.startswith("FAUST single") else c
        for c in report.checks
    )
    return dataclasses.replace(report, checks=checks)


def file_stem(name: str) -> str:
    """A file name from a model's name, whatever it holds."""
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._-")[:100] or "model"


__all__ = ["CertificateError", "ComparisonError", "DelayFreeLoopError", "Exported", "export"]
