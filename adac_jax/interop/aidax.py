"""AIDA-X's models: RTNeural's layout, with gains, a skip and what the model is.

Read as `src/aidadsp-plugin.cpp` of AidaDSP/AIDA-X does (`loadModelFromStream`, `applyModel`), and
`rt-neural-generic/src/rt-neural-generic.cpp` of AidaDSP/aidadsp-lv2, its forerunner:

v = g_in x_0, y = g_out (f(v, x_1, x_2) + s v), with g = 10^("in_gain" / 20) and as much for
"out_gain" (0 at -90 dB and below; 1 where it is missing), and s = "in_skip" (0 or 1; 0 where it is
missing). x_1 and x_2 are the two knobs, in [0, 1]; the plugin smooths them, which is left to
who plays the model. The plugin's filters, equaliser and cabinet are no part of a model.
"""

from __future__ import annotations

from typing import Any

from adac_jax.interop.documents import FormatError, Part
from adac_jax.interop.network import Network
from adac_jax.interop.rtneural import stack

EXTRAS = ("in_skip", "in_gain", "out_gain", "metadata", "samplerate")
"""What tells this layout from plain RTNeural."""
SILENT_DB = -90.0
MAX_DB = 200.0
"""The largest gain that is taken for one, either way."""


def aidax(document: Any, name: str = "the document") -> Network:
    """The network in a document of AIDA-X.

    Args:
        document: What `json.load` gives: RTNeural's, with "in_skip", "in_gain" and "out_gain" in
            dB, "samplerate" in Hz here or in "metadata", all of which may be missing.
        name: What to call it in errors.

    Returns:
        A network of one output, with 1, 2 or 3 inputs: audio, then knobs.

    Raises:
        FormatError: a part is missing, unknown, of another shape or not finite.
    """
    root = Part(document, name)
    layers, inputs, outputs = stack(root)
    if inputs > 3 or outputs != 1:
        raise FormatError(
            f"{name}: the network has {inputs} inputs and {outputs} outputs; in AIDA-X it has at "
            "most 3 inputs (audio and two knobs) and 1 output."
        )
    return Network(
        layers,
        inputs,
        outputs,
        skip=root.entry("in_skip").whole(0, 1) if root.has("in_skip") else 0,
        input_gain=_gain(root, "in_gain"),
        output_gain=_gain(root, "out_gain"),
        sample_rate=_rate(root),
    )


def _gain(root: Part, key: str) -> float:
    if not root.has(key):
        return 1.0
    level = root.entry(key).number(-MAX_DB, MAX_DB)
    return 10 ** (level / 20) if level > SILENT_DB else 0.0


def _rate(root: Part) -> float | None:
    """The sample rate; trainers write it as a number or as its digits."""
    holder = root
    if not root.has("samplerate") and root.has("metadata"):
        holder = root.entry("metadata")
    if not holder.has("samplerate"):
        return None
    part = holder.entry("samplerate")
    value = part.value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8:
        part = Part(int(value), part.file, part.path)
    return part.number(1.0, 1e7)
