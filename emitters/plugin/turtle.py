"""LV2's descriptions, in Turtle."""

from __future__ import annotations

import re
from collections.abc import Sequence

from emitters.plugin import identifiers
from emitters.plugin.metadata import KINDS, Form, Metadata, Parameter, Preset

PREFIXES = {
    "doap": "http://usefulinc.com/ns/doap#",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "log": "http://lv2plug.in/ns/ext/log#",
    "lv2": "http://lv2plug.in/ns/lv2core#",
    "pprops": "http://lv2plug.in/ns/ext/port-props#",
    "pset": "http://lv2plug.in/ns/ext/presets#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "state": "http://lv2plug.in/ns/ext/state#",
    "units": "http://lv2plug.in/ns/extensions/units#",
    "urid": "http://lv2plug.in/ns/ext/urid#",
}
UNITS = {
    "dB": "db",
    "s": "s",
    "ms": "ms",
    "Hz": "hz",
    "kHz": "khz",
    "MHz": "mhz",
    "%": "pc",
    "bpm": "bpm",
    "BPM": "bpm",
    "m": "m",
    "cm": "cm",
    "mm": "mm",
    "oct": "oct",
    "semitones": "semitone12TET",
    "cents": "cent",
}
"""Units that LV2 has names for; others are described by their symbol."""


def text(value: str) -> str:
    """A Turtle string."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def number(value: float) -> str:
    """A Turtle number that reads back as the same float64."""
    return repr(float(value)).replace("e", "E") if "e" in repr(float(value)) else repr(float(value))


def manifest(metadata: Metadata) -> str:
    """`manifest.ttl`: which plugins and presets the bundle has.

    The name of the shared library is written `@library@`: it depends on the system.
    """
    p = metadata.prefix
    lines = [
        *_prefixes("lv2", "pset", "rdfs"),
        f"<{metadata.uri}>",
        "    a lv2:Plugin ;",
        "    lv2:binary <@library@> ;",
        f"    rdfs:seeAlso <{p}.ttl> .",
    ]
    for preset in metadata.presets:
        lines += [
            "",
            f"<{_preset_uri(metadata, preset)}>",
            "    a pset:Preset ;",
            f"    lv2:appliesTo <{metadata.uri}> ;",
            "    rdfs:seeAlso <presets.ttl> .",
        ]
    return "\n".join((*lines, ""))


def plugin(
    metadata: Metadata,
    forms: Sequence[Form],
    more: Sequence[list[str]] = (),
    *,
    has_state: bool = False,
) -> str:
    """`NAME.ttl`: the plugin and its ports, in the order of the C source.

    Args:
        metadata: Of the plugin.
        forms: Its forms.
        more: Ports that follow the knobs, but for their indices.
        has_state: Whether it keeps more than its ports.
    """
    major, minor, patch = metadata.version
    kind = KINDS[metadata.kind].lv2
    classes = "lv2:Plugin" if kind == "Plugin" else f"lv2:Plugin , lv2:{kind}"
    description = [f"    rdfs:comment {text(metadata.description)} ;"]
    ports = [_audio("Input", k, metadata.inputs) for k in range(metadata.inputs)]
    ports += [_audio("Output", k, metadata.outputs) for k in range(metadata.outputs)]
    ports += [_knob(knob) for knob in metadata.parameters]
    ports += more
    if any(form.latency for form in forms):
        ports.append(_latency(max(form.latency for form in forms)))
    others = ("rdf", "state") if has_state else ()
    lines = [
        *_prefixes("doap", "foaf", "log", "lv2", "pprops", "rdfs", "units", "urid", *others),
        f"<{metadata.uri}>",
        f"    a {classes} ;",
        f"    doap:name {text(metadata.name)} ;",
        "    lv2:project [",
        "        a doap:Project ;",
        f"        doap:name {text(metadata.name)} ;",
        f"        doap:maintainer [ a foaf:Agent ; foaf:name {text(metadata.maker)} ] ;",
        "    ] ;",
        *(description if metadata.description else []),
        # Even numbers are releases; zero would be one that nobody has seen.
        f"    lv2:minorVersion {2 * major} ;",
        f"    lv2:microVersion {2 * (minor * 256 + patch)} ;",
        "    lv2:optionalFeature lv2:hardRTCapable , urid:map , log:log ;",
        *(["    lv2:extensionData state:interface ;"] if has_state else []),
        "    lv2:port",
    ]
    for k, (head, *rest) in enumerate(ports):
        body = (head, f"lv2:index {k} ;", *rest)
        last = k == len(ports) - 1
        lines += ["    [", *(f"        {line}" for line in body), "    ]" if last else "    ] ,"]
    return "\n".join((*lines, "    .", ""))


def presets(metadata: Metadata) -> str:
    """`presets.ttl`: the positions of all knobs in each preset."""
    lines = _prefixes("lv2", "pset", "rdfs")
    for preset in metadata.presets:
        lines += [
            f"<{_preset_uri(metadata, preset)}>",
            "    a pset:Preset ;",
            f"    lv2:appliesTo <{metadata.uri}> ;",
            f"    rdfs:label {text(preset.name)} ;",
        ]
        values = zip(metadata.parameters, metadata.values(preset), strict=True)
        ports = [
            f"[ lv2:symbol {text(knob.symbol)} ; pset:value {number(value)} ]"
            for knob, value in values
        ]
        lines += ["    lv2:port", "        " + " ,\n        ".join(ports) + " .", ""]
    return "\n".join(lines)


def _preset_uri(metadata: Metadata, preset: Preset) -> str:
    position = metadata.presets.index(preset)
    slugs = [identifiers.slug(p.name) for p in metadata.presets]
    again = slugs[:position].count(slugs[position])
    return f"{metadata.uri}:preset:{slugs[position]}{f'-{again + 1}' if again else ''}"


def _prefixes(*names: str) -> list[str]:
    return [*(f"@prefix {name}: <{PREFIXES[name]}> ." for name in names), ""]


def _audio(name: str, k: int, count: int) -> list[str]:
    sides = {1: ("",), 2: (" left", " right")}.get(count)
    shown = f"{name}{sides[k]}" if sides else f"{name} {k + 1}"
    return [
        f"a lv2:{name}Port , lv2:AudioPort ;",
        f"lv2:symbol {text(f'{name[:-3].lower()}_{k + 1}')} ;",
        f"lv2:name {text(shown)} ;",
    ]


def _knob(knob: Parameter) -> list[str]:
    lines = [
        "a lv2:InputPort , lv2:ControlPort ;",
        f"lv2:symbol {text(knob.symbol)} ;",
        f"lv2:name {text(knob.name)} ;",
        f"lv2:default {number(knob.default)} ;",
        f"lv2:minimum {number(knob.minimum)} ;",
        f"lv2:maximum {number(knob.maximum)} ;",
    ]
    if knob.curve == "log":
        lines.append("lv2:portProperty pprops:logarithmic ;")
    if knob.unit in UNITS:
        lines.append(f"units:unit units:{UNITS[knob.unit]} ;")
    elif knob.unit:
        render = re.sub("%", "%%", knob.unit)
        lines += [
            "units:unit [",
            "    a units:Unit ;",
            f"    rdfs:label {text(knob.unit)} ;",
            f"    units:symbol {text(knob.unit)} ;",
            f"    units:render {text(f'%f {render}')} ;",
            "] ;",
        ]
    return lines


def _latency(most: int) -> list[str]:
    return [
        "a lv2:OutputPort , lv2:ControlPort ;",
        'lv2:symbol "latency" ;',
        'lv2:name "Latency" ;',
        "lv2:designation lv2:latency ;",
        "lv2:portProperty lv2:reportsLatency , lv2:integer ;",
        "lv2:minimum 0 ;",
        f"lv2:maximum {most} ;",
        "units:unit units:frame ;",
    ]


__all__ = ["manifest", "plugin", "presets"]
