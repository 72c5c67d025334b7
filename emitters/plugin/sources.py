"""All source files of a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emitters.plugin import turtle
from emitters.plugin.form import filled, form_source
from emitters.plugin.metadata import Form, Metadata
from emitters.plugin.tables import comment, tables
from ir.errors import IRError

TEMPLATES = Path(__file__).parent / "templates"


def sources(metadata: Metadata, forms: Sequence[Form]) -> dict[str, str]:
    """The text of each file by its name; docs/plugins.md says what they are.

    The same for the same model, on every machine: nothing of the machine is in them.

    Args:
        metadata: Of the plugin.
        forms: At least one, of different rates, the one for which the model was made first.

    Raises:
        IRError: there is no form, or two are of one rate.
    """
    rates = [form.rate for form in forms]
    if not forms or len(set(rates)) < len(rates):
        raise IRError(f"A plugin needs forms of different rates, at least one, not {rates}.")
    p = metadata.prefix
    parts = {form.rate: f"{metadata.form_name(form.rate)}.c" for form in forms}
    values = {
        "p": p,
        "P": p.upper(),
        "title": comment(metadata.name),
        "forms": " ".join(parts.values()),
        "identifier": metadata.clap_id,
        "version": ".".join(map(str, metadata.version)),
    }
    names = {
        "plugin.h": f"{p}.h",
        "plugin.c": f"{p}.c",
        "form.h": f"{p}_form.h",
        "lv2.c": f"{p}_lv2.c",
        "clap.c": f"{p}_clap.c",
        "vst3.cpp": f"{p}_vst3.cpp",
        "DistrhoPluginInfo.h": "DistrhoPluginInfo.h",
        "CMakeLists.txt": "CMakeLists.txt",
        "Info.plist": "Info.plist",
    }
    found = {
        name: filled((TEMPLATES / template).read_text("utf-8"), values)
        for template, name in names.items()
    }
    found[f"{p}_tables.h"] = tables(metadata, forms)
    found |= {parts[form.rate]: form_source(metadata, form) for form in forms}
    found |= {"manifest.ttl.in": turtle.manifest(metadata)}
    found[f"{p}.ttl"] = turtle.plugin(metadata, forms)
    if metadata.presets:
        found["presets.ttl"] = turtle.presets(metadata)
    return found
