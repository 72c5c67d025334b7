"""Presets for VST3, as files that any host reads: `.vstpreset`."""

from __future__ import annotations

import struct

from emitters.plugin.metadata import Metadata, Preset

VERSION, HEAD = 1, 48


def vstpreset(metadata: Metadata, preset: Preset) -> bytes:
    """One preset.

    A head with the plugin's identifier, the state that the plugin itself would save, which DPF
    writes as texts, and a list of what is where.
    """
    texts = ["__dpf_parameters_begin__"]
    for knob, value in zip(metadata.parameters, metadata.values(preset), strict=True):
        texts += [knob.symbol, f"{value:.9g}"]
    texts.append("__dpf_parameters_end__")
    state = b"".join(text.encode() + b"\0" for text in texts) + b"\xfe\0"
    head_size = 48
    head = b"VST3" + struct.pack(
        "<i32sq", VERSION, metadata.vst3_id.encode(), head_size + len(state)
    )
    entries = struct.pack("<4sqq", b"Comp", head_size, len(state))
    return head + state + b"List" + struct.pack("<i", 1) + entries
