"""From a file to a model: which format it is, told by what stands in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from adac_jax.interop.adac import CONTAINERS, adac
from adac_jax.interop.aidax import EXTRAS, aidax
from adac_jax.interop.documents import FormatError, Part, read
from adac_jax.interop.guitarml import guitarml
from adac_jax.interop.nam import nam
from adac_jax.interop.rtneural import rtneural
from adac_jax.nn.module import Module

SUFFIXES = (".json", ".aidax", ".nam")
"""Names of files that may hold such a model; which one, the contents say."""


def load(path: str | Path) -> Module:
    """The model in a file of RTNeural, CoreAudioML, AIDA-X, Neural Amp Modeler or adac.

    Args:
        path: A file of JSON, of any name.

    Returns:
        A module with `inputs` and `outputs`, and `sample_rate` in Hz where the file states it.

    Raises:
        FormatError: there is no such file, it is of none of these formats, or it is damaged.
    """
    root = read(path)
    reader = recognise(root)
    if reader is None:
        raise FormatError(
            f"{root.file} is of no known format: it has neither `layers` and `in_shape` (RTNeural, "
            "AIDA-X), nor `model_data` and `state_dict` (CoreAudioML), nor `architecture` and "
            "`config` (Neural Amp Modeler), nor a `type` such as 'Series' (adac)."
        )
    return reader(root.value, root.file)


def recognise(root: Part) -> Callable[[Any, str], Module] | None:
    """The reader of a document's format; None if no format is like it."""
    if not isinstance(root.value, dict):
        return None
    keys = root.value.keys()
    if {"architecture", "config"} <= keys:
        return nam
    if {"model_data", "state_dict"} <= keys:
        return guitarml
    if {"in_shape", "layers"} <= keys:
        return aidax if any(key in keys for key in EXTRAS) else rtneural
    if root.value.get("type") in CONTAINERS:
        return adac
    return None


def known(path: Path) -> bool:
    """Whether a file is JSON of one of these formats, right or wrong in its parts."""
    try:
        return recognise(read(path)) is not None
    except FormatError:
        return False
