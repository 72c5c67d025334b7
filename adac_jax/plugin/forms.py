"""A model at each of a plugin's sample rates: derived, compared, certified, as C."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from adac_jax.certifying import CertificateError, certify_rounded
from adac_jax.errors import AdacError
from adac_jax.host import c_source
from adac_jax.listening import memory_samples
from adac_jax.plugin.settings import RATES, Plugins, Precision
from adac_jax.rates import RateError, derive
from adac_jax.report import Report
from adac_jax.tracing import Latency, Traced
from adac_jax.verification import traced_at
from emitters import faust
from emitters.plugin import Form, Metadata, Preset, parameters_of
from ir import Certificate, Program
from ir.knobs import settling

TAIL_DECAYS = 2.0
"""Decay times, of 60 dB each, after which a tail counts as over: 120 dB."""

Compare = Callable[[Program, Traced | None, str], Report]
"""Compares FAUST text with JAX, and raises where they differ."""


@dataclass(frozen=True, eq=False)
class Version:
    """The model at one rate.

    Attributes:
        program: Traced there.
        source: FAUST text.
        certificate: That it cannot blow up.
        report: That FAUST is equal to JAX.
    """

    program: Program
    source: str
    certificate: Certificate
    report: Report

    @property
    def rate(self) -> int:
        """Hertz."""
        return round(self.program.graph.sample_rate)

    @property
    def tail(self) -> float:
        """Seconds until the output has faded by 120 dB, infinite where nothing bounds that.

        What the longest delays hold, and twice the certified decay time.
        """
        decay = self.certificate.decay_seconds
        if decay is None or self.certificate.verdict != "stable":
            return math.inf
        return memory_samples(self.program.graph) / self.rate + TAIL_DECAYS * decay


@dataclass(frozen=True)
class Origin:
    """What versions for other rates are made of, as `export` was called.

    Attributes:
        model: The model, at its own rate.
        parameters: As `trace`.
        inputs: As `trace`.
        latency: As `trace`.
        remake: Makes the model for a rate, where its own code can.
    """

    model: Any
    parameters: Any = None
    inputs: int | None = None
    latency: Latency = 0
    remake: Callable[[float], Any] | None = None


def versions(
    own: Version,
    origin: Origin,
    settings: Plugins,
    precision: Precision,
    compare: Compare,
    *,
    stage: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = lambda text: None,
) -> tuple[Version, ...]:
    """The model at all rates that the plugin is to have, its own first if it is among them.

    Args:
        own: The model at its own rate, compared and certified.
        origin: What the others are made of.
        settings: With the rates.
        precision: Of the arithmetic.
        compare: How FAUST is compared with JAX.
        stage: Called with what is being done.
        warn: Called with a sentence where a model cannot be derived, and no rates were asked for.

    Raises:
        RateError: rates were asked for, and the model cannot be derived for one.
        CertificateError: the model could not be proved stable at a rate.
        ComparisonError: FAUST and JAX differ at a rate.
        AdacError: the model's own rate is not a whole number of hertz.
    """
    if own.program.graph.sample_rate != own.rate:
        raise AdacError(
            "A plugin's rates are whole numbers of hertz, and the model's is "
            f"{own.program.graph.sample_rate!r}."
        )
    rates = settings.rates or tuple(dict.fromkeys((own.rate, *RATES)))
    found = [own] if own.rate in rates else []
    for rate in rates:
        if rate == own.rate:
            continue
        stage(f"deriving the model for {rate} Hz")
        try:
            model = _derived(origin, rate, own.rate)
        except RateError as error:
            if settings.rates is not None:
                raise
            warn(f"The plugin runs at {own.rate} Hz only. {error}")
            return (own,)
        arguments = (origin.parameters, origin.inputs, float(rate), own.program.graph.name)
        traced, program = traced_at(model, *arguments, origin.latency)
        certificate = certify_rounded(program, precision)
        if not certificate.passed:
            raise CertificateError(certificate)
        source = faust.emit(program)
        stage(f"comparing FAUST with JAX at {rate} Hz")
        found.append(Version(program, source, certificate, compare(program, traced, source)))
    return tuple(found)


def _derived(origin: Origin, rate: int, own: int) -> Any:
    if origin.remake is not None:
        return origin.remake(float(rate))
    return derive(origin.model, float(rate), model_rate=float(own)).model


def metadata_of(program: Program, settings: Plugins, precision: Precision) -> Metadata:
    """What hosts are told.

    Raises:
        IRError: a name is none, or a preset turns what is not there.
    """
    graph = program.graph
    return Metadata(
        name=settings.name or graph.name,
        inputs=graph.input_channels,
        outputs=graph.output_channels,
        parameters=parameters_of(graph),
        presets=tuple(Preset(name, values) for name, values in settings.presets.items()),
        maker=settings.maker,
        description=settings.description,
        kind=settings.kind,
        version=settings.version,
        precision=precision,
    )


def forms_of(metadata: Metadata, found: Sequence[Version]) -> tuple[Form, ...]:
    """The versions as C.

    Raises:
        AdacError: channels or knobs are not the same at each rate.
        HostError: FAUST does not take the text.
    """
    forms = []
    knobs = {knob.name: knob for knob in metadata.parameters}
    for version in found:
        graph = version.program.graph
        here = {knob.name: knob for knob in parameters_of(graph)}
        channels = (graph.input_channels, graph.output_channels)
        if here != knobs or channels != (metadata.inputs, metadata.outputs):
            raise AdacError(
                f"The model has other knobs or channels at {version.rate} Hz than at its own rate: "
                f"{_named(here)} with {channels[0]} to {channels[1]} channels, not "
                f"{_named(knobs)} with {metadata.inputs} to {metadata.outputs}."
            )
        source = c_source(
            version.source,
            class_name=metadata.form_name(version.rate),
            sample_rate=version.rate,
            precision=metadata.precision,
        )
        forms.append(Form(version.rate, source, graph.latency, version.tail, settling(graph)))
    return tuple(forms)


def _named(knobs: dict[str, Any]) -> str:
    return (
        ", ".join(f"{k.name!r} ({k.minimum:g} to {k.maximum:g})" for k in knobs.values()) or "none"
    )
