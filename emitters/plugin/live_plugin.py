"""The sources of the live plugin: the same for every model, since it loads them while it runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from emitters.plugin import turtle
from emitters.plugin.form import filled
from emitters.plugin.metadata import Form, Metadata, Parameter
from emitters.plugin.sources import TEMPLATES
from emitters.plugin.tables import comment, tables

FOLDER = Path(__file__).parent / "live"
LATENCY = 2**20
"""Samples that a model may come late, at most, as LV2 has to be told."""
KNOBS = 16
"""Of the plugin; a model's controls get them in the order of their names."""
CORES = ("live", "live_player", "live_voice", "live_channel", "live_sha256")
"""C files, without `.c`, that all formats share."""
STATUS = (
    "no training", "follows", "last model", "form missing", "other rate", "folder not private",
)  # fmt: skip
"""What the last parameter says: `live.c` has the sentences."""


def live_metadata(name: str = "adac_jax live") -> Metadata:
    """What hosts are told of it.

    Args:
        name: As hosts show it. Its C names are those of the default in any case.
    """
    knobs = [
        Parameter(f"knob {k}", f"knob_{k}", "", 0.0, 1.0, 0.5, "linear", k)
        for k in range(1, KNOBS + 1)
    ]
    status = Parameter("status", "status", "", 0.0, len(STATUS) - 1.0, 0.0, "linear", 1000)
    return Metadata(
        name=name,
        inputs=2,
        outputs=2,
        parameters=(*knobs, status),
        description="Plays a model while it trains.",
    )


def live_sources() -> dict[str, str]:
    """The text of each file by its name."""
    metadata = live_metadata()
    p = metadata.prefix
    values = {"p": p, "P": p.upper(), "title": comment(metadata.name)}
    names = {
        "plugin.h": f"{p}.h",
        "lv2.c": f"{p}_lv2.c",
        "clap.c": f"{p}_clap.c",
        "vst3.cpp": f"{p}_vst3.cpp",
        "DistrhoPluginInfo.h": "DistrhoPluginInfo.h",
    }
    found = {
        name: filled((TEMPLATES / template).read_text("utf-8"), values)
        for template, name in names.items()
    }
    found |= {path.name: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.[ch]"))}
    # Of what follows it is only told that its tail may be endless, and that it may come late.
    form = Form(48000, "", latency=LATENCY)
    status = f"#define {p.upper()}_STATUS {KNOBS}\n"
    says = f"const char *{p}_saying(int status);\n"
    guarded = f'#ifdef __cplusplus\nextern "C" {{\n#endif\n{says}#ifdef __cplusplus\n}}\n#endif\n'
    found[f"{p}_tables.h"] = (
        tables(metadata, [form]).replace(
            f"#define {p.upper()}_PRESETS", f"{status}#define {p.upper()}_PRESETS", 1
        )
        + guarded
    )
    found["manifest.ttl.in"] = turtle.manifest(metadata)
    knobs = dataclasses.replace(metadata, parameters=metadata.parameters[:KNOBS])
    found[f"{p}.ttl"] = turtle.plugin(knobs, [form], [_status()], has_state=True)
    return found


def _status() -> list[str]:
    points = [
        f"[ rdfs:label {turtle.text(label)} ; rdf:value {k} ]" for k, label in enumerate(STATUS)
    ]
    return [
        "a lv2:OutputPort , lv2:ControlPort ;",
        'lv2:symbol "status" ;',
        'lv2:name "Status" ;',
        "lv2:portProperty lv2:integer , lv2:enumeration ;",
        "lv2:minimum 0 ;",
        f"lv2:maximum {len(STATUS) - 1} ;",
        "lv2:scalePoint " + " ,\n            ".join(points) + " ;",
    ]


__all__ = ["CORES", "FOLDER", "KNOBS", "STATUS", "live_metadata", "live_sources"]
