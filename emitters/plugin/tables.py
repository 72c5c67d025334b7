"""The C header with all that a plugin's sources have to know of the model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emitters.plugin.metadata import KINDS, Form, Metadata


def text(value: str) -> str:
    """A C string literal: UTF-8, whose bytes beyond ASCII are written as octal numbers."""
    found = []
    for byte in value.encode():
        character = chr(byte)
        # `?` too: three characters that begin with two of them once stood for another one.
        found.append(character if 32 <= byte < 127 and character not in '"\\?' else f"\\{byte:03o}")
    return f'"{"".join(found)}"'


def number(value: float) -> str:
    """A C literal that reads back as the same float64."""
    return repr(float(value))


def endless(tail: float) -> float:
    """Seconds as the sources have them: negative for ever."""
    return tail if math.isfinite(tail) else -1.0


def tables(metadata: Metadata, forms: Sequence[Form]) -> str:
    """The header `NAME_tables.h`.

    Args:
        metadata: Of the plugin.
        forms: At least one.
    """
    p, P = metadata.prefix, metadata.prefix.upper()
    kind = KINDS[metadata.kind]
    channels = {1: ("mono",), 2: ("stereo",)}.get(metadata.outputs, ())
    role = "instrument" if metadata.kind == "generator" else "audio-effect"
    features = dict.fromkeys((role, *kind.clap, *channels))
    vst3 = "|".join((kind.vst3, *(c.capitalize() for c in channels)))
    low, high = metadata.vst3_words
    version = ".".join(map(str, metadata.version))
    rates = " ".join(str(form.rate) for form in forms)
    defines = {
        "NAME": text(metadata.name),
        "MAKER": text(metadata.maker),
        "DESCRIPTION": text(metadata.description),
        "VERSION": text(version),
        "VERSION_NUMBERS": ", ".join(map(str, metadata.version)),
        "URI": text(metadata.uri),
        "CLAP_ID": text(metadata.clap_id),
        "CLAP_FEATURES": ", ".join(map(text, features)),
        "VST3_CATEGORIES": text(vst3),
        "VST3_LOW": f"0x{low:08x}",
        "VST3_HIGH": f"0x{high:08x}u",
        "RATES_TEXT": text(rates),
        "INPUTS": str(metadata.inputs),
        "OUTPUTS": str(metadata.outputs),
        "PARAMETERS": str(len(metadata.parameters)),
        "PRESETS": str(len(metadata.presets)),
        "FORMS": str(len(forms)),
        "HAS_LATENCY": str(int(any(form.latency for form in forms))),
        "IS_DOUBLE": str(int(metadata.precision == "double")),
    }
    lines = [
        f"/* {comment(metadata.name)}: written by adac_jax from a JAX model. */",
        f"#ifndef {P}_TABLES_H",
        f"#define {P}_TABLES_H",
        "",
        f'#include "{p}.h"',
        "",
        *(f"#define {P}_{key} {value}" for key, value in defines.items()),
        "",
        f"typedef {'double' if metadata.precision == 'double' else 'float'} {p}_real;",
        "",
        *_knobs(metadata),
        *_presets(metadata),
        "struct " + f"{p}_form;",
        *(f"extern const struct {p}_form {p}_form_{form.rate};" for form in forms),
        f"static const struct {p}_form *const {p}_forms[{P}_FORMS] = {{",
        *(f"    &{p}_form_{form.rate}," for form in forms),
        "};",
        f"static const double {p}_tails[{P}_FORMS] = {{",
        *(f"    {number(endless(form.tail))}," for form in forms),
        "};",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def comment(value: str) -> str:
    """Text that does not end a comment, nor a line of one."""
    return "".join(c if " " <= c <= "~" and c not in "*/\\?" else "_" for c in value)


def _knobs(metadata: Metadata) -> list[str]:
    p, P = metadata.prefix, metadata.prefix.upper()
    if not metadata.parameters:
        return [f"static const {p}_parameter {p}_parameters[1] = {{{{0}}}};", ""]
    rows = []
    for k in metadata.parameters:
        words = ", ".join(map(text, (k.name, k.symbol, k.unit)))
        numbers = ", ".join(map(number, (k.minimum, k.maximum, k.default)))
        rows.append(f"    {{{words}, {numbers}, {int(k.curve == 'log')}, {k.id}u}},")
    return [f"static const {p}_parameter {p}_parameters[{P}_PARAMETERS] = {{", *rows, "};", ""]


def _presets(metadata: Metadata) -> list[str]:
    p, P = metadata.prefix, metadata.prefix.upper()
    size = max(1, len(metadata.parameters))
    head = [
        "typedef struct {",
        "    const char *name;",
        f"    double values[{size}];",
        f"}} {p}_preset;",
    ]
    rows = []
    for preset in metadata.presets:
        values = ", ".join(map(number, metadata.values(preset))) or "0"
        rows.append(f"    {{{text(preset.name)}, {{{values}}}}},")
    if not rows:
        return [*head, f"static const {p}_preset {p}_presets[1] = {{{{0}}}};", ""]
    return [*head, f"static const {p}_preset {p}_presets[{P}_PRESETS] = {{", *rows, "};", ""]
