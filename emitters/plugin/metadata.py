"""What hosts are told of a plugin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from emitters.plugin import identifiers
from ir.errors import IRError
from ir.graph import Graph
from ir.ops.controls import attribute

Precision = Literal["single", "double"]
SHORT, LONG = 100, 1000
"""Characters of a name, and of a description."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a plugin is, in each format's own words.

    Attributes:
        lv2: A class of the LV2 core.
        vst3: Categories.
        clap: Features.
    """

    lv2: str
    vst3: str
    clap: tuple[str, ...]


KINDS: Mapping[str, Kind] = {
    "effect": Kind("Plugin", "Fx", ()),
    "reverb": Kind("ReverbPlugin", "Fx|Reverb", ("reverb",)),
    "delay": Kind("DelayPlugin", "Fx|Delay", ("delay",)),
    "dynamics": Kind("DynamicsPlugin", "Fx|Dynamics", ("compressor",)),
    "modulation": Kind("ModulatorPlugin", "Fx|Modulation", ("chorus",)),
    "distortion": Kind("DistortionPlugin", "Fx|Distortion", ("distortion",)),
    "equaliser": Kind("EQPlugin", "Fx|EQ", ("equalizer",)),
    "generator": Kind("GeneratorPlugin", "Fx|Generator", ("utility",)),
}
"""By the name that a user gives."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A knob.

    Attributes:
        name: As the model's control is called.
        symbol: The name as a C identifier, unlike all others.
        unit: For display.
        minimum: The lowest position.
        maximum: The highest.
        default: Where it stands at first.
        curve: "linear" or "log".
        id: A number, of the symbol.
    """

    name: str
    symbol: str
    unit: str
    minimum: float
    maximum: float
    default: float
    curve: str
    id: int


@dataclass(frozen=True, slots=True)
class Preset:
    """Positions of knobs under a name.

    Attributes:
        name: As hosts show it.
        values: By the names of knobs; others stand at their defaults.
    """

    name: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Form:
    """The model for one sample rate.

    Attributes:
        rate: Hertz.
        source: FAUST's C, of the class `form_name` of the metadata and this rate.
        latency: Samples.
        tail: Seconds until it has faded by 120 dB; infinite if that is not known.
        settle: Samples after which all knobs have arrived.
    """

    rate: int
    source: str
    latency: int = 0
    tail: float = math.inf
    settle: int = 0


@dataclass(frozen=True)
class Metadata:
    """What a plugin is called, and what it has.

    Attributes:
        name: As hosts show it; with `maker`, all identifiers come from it.
        inputs: Audio channels in.
        outputs: Audio channels out.
        parameters: Knobs, in the order in which hosts show them.
        presets: Positions of knobs.
        maker: Who made it.
        description: One line.
        kind: One of `KINDS`.
        version: Major, minor, patch, 0 to 255 each.
        precision: Of the arithmetic; audio is in single precision always.
    """

    name: str
    inputs: int
    outputs: int
    parameters: tuple[Parameter, ...] = ()
    presets: tuple[Preset, ...] = ()
    maker: str = "adac_jax"
    description: str = ""
    kind: str = "effect"
    version: tuple[int, int, int] = (1, 0, 0)
    precision: Precision = "single"
    prefix: str = field(init=False)

    def __post_init__(self) -> None:
        _check_line("name", self.name)
        _check_line("maker", self.maker)
        if self.description:
            _check_line("description", self.description, LONG)
        if self.kind not in KINDS:
            listed = ", ".join(KINDS)
            raise IRError(f"The plugin's `kind` (={self.kind!r}) must be one of {listed}.")
        if len(self.version) != 3 or not all(0 <= n <= 255 for n in self.version):
            raise IRError(f"The plugin's `version` (={self.version}) must be three of 0 to 255.")
        if self.outputs < 1:
            raise IRError(f"The plugin {self.name!r} has no outputs; formats need at least one.")
        known = {p.name: p for p in self.parameters}
        for preset in self.presets:
            _check(preset, known)
        names = [preset.name for preset in self.presets]
        if len(set(names)) < len(names):
            raise IRError(f"The presets {', '.join(map(repr, names))} must have different names.")
        object.__setattr__(self, "prefix", identifiers.symbol(identifiers.slug(self.name)))

    @property
    def uri(self) -> str:
        """LV2's identifier."""
        return identifiers.uri(self.maker, self.name)

    @property
    def clap_id(self) -> str:
        """CLAP's identifier."""
        return identifiers.clap_id(self.maker, self.name)

    @property
    def vst3_words(self) -> tuple[int, int]:
        """The low and the high half of VST3's identifier that are ours."""
        return identifiers.vst3_words(self.maker, self.name)

    @property
    def vst3_id(self) -> str:
        """VST3's identifier, as its tools write it."""
        words = (0x44504620, 0x636C6173, *self.vst3_words)  # "DPF ", "clas"
        return b"".join(w.to_bytes(4, "little") for w in words).hex().upper()

    def form_name(self, rate: int) -> str:
        """The name of FAUST's class for a rate."""
        return f"{self.prefix}_{rate}"

    def values(self, preset: Preset) -> tuple[float, ...]:
        """The positions of all knobs in a preset."""
        return tuple(preset.values.get(p.name, p.default) for p in self.parameters)


def _check_line(key: str, value: str, most: int = SHORT) -> None:
    if not 1 <= len(value) <= most or not value.isprintable():
        raise IRError(
            f"The plugin's `{key}` (={value[:60]!r}) must be 1 to {most:,} characters on one line."
        )


def _check(preset: Preset, known: Mapping[str, Parameter]) -> None:
    _check_line("preset", preset.name)
    for name, value in preset.values.items():
        if name not in known:
            listed = ", ".join(map(repr, known)) or "none"
            raise IRError(f"The preset {preset.name!r} turns {name!r}; the knobs are: {listed}.")
        low, high = known[name].minimum, known[name].maximum
        if not low <= value <= high:
            raise IRError(
                f"The preset {preset.name!r} turns {name!r} to {value:g}; it must lie in {low:g} "
                f"to {high:g}."
            )


def parameters_of(graph: Graph) -> tuple[Parameter, ...]:
    """The knobs of a graph, in its order."""
    controls = graph.controls
    symbols = identifiers.symbols(controls)
    return tuple(
        Parameter(
            name,
            symbol,
            node.text("unit"),
            attribute(node, "minimum"),
            attribute(node, "maximum"),
            attribute(node, "default"),
            node.text("curve"),
            number,
        )
        for (name, node), symbol, number in zip(
            controls.items(), symbols, identifiers.parameter_ids(symbols), strict=True
        )
    )
