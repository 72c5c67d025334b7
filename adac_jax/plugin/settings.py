"""What a user wants of plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from adac_jax.errors import AdacError
from emitters.plugin import KINDS

Precision = Literal["single", "double"]
FORMATS = ("c", "lv2", "vst3", "clap")
"""A shared library with a C interface, and three that workstations load."""
RATES = (44100, 48000, 88200, 96000)
"""Hertz that a plugin has forms for, if nothing else is said and the model can be derived."""
LOWEST_RATE, HIGHEST_RATE = 8000, 768_000


@dataclass(frozen=True)
class Plugins:
    """What to build, and what hosts are told.

    Attributes:
        formats: Of `FORMATS`.
        rates: Hertz of hosts to have a form for; `RATES`, as far as the model can be derived, and
            the model's own, if None.
        name: As hosts show it; the model's if None. With `maker`, all identifiers come from it.
        maker: Who made it.
        description: One line.
        kind: What hosts list it under: "effect", "reverb", "delay", "dynamics", "modulation",
            "distortion", "equaliser", "generator".
        version: Major, minor, patch.
        presets: Positions of knobs, by their names, for the name of each preset.
    """

    formats: tuple[str, ...]
    rates: tuple[int, ...] | None = None
    name: str | None = None
    maker: str = "adac_jax"
    description: str = ""
    kind: str = "effect"
    version: tuple[int, int, int] = (1, 0, 0)
    presets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.formats:
            raise AdacError(f"`plugin` must name at least one format of {', '.join(FORMATS)}.")
        for name in self.formats:
            if name not in FORMATS:
                raise AdacError(f"The plugin format {name!r} must be one of {', '.join(FORMATS)}.")
        for rate in self.rates or ():
            if not LOWEST_RATE <= rate <= HIGHEST_RATE or rate != int(rate):
                raise AdacError(
                    f"The plugin rate {rate!r} must be a whole number of hertz from {LOWEST_RATE} "
                    f"to {HIGHEST_RATE}."
                )
        if self.rates is not None and (not self.rates or len(set(self.rates)) < len(self.rates)):
            raise AdacError(f"The plugin rates {self.rates} must differ, and be at least one.")
        if self.kind not in KINDS:
            raise AdacError(f"The plugin kind {self.kind!r} must be one of {', '.join(KINDS)}.")


def wanted(plugin: Plugins | Sequence[str] | str | None) -> Plugins | None:
    """What `export` was asked for: settings, formats, or formats in one text with commas.

    Raises:
        AdacError: a format is not known.
    """
    if plugin is None or isinstance(plugin, Plugins):
        return plugin
    return Plugins(tuple(dict.fromkeys(_names(plugin))))


def _names(formats: Any) -> list[str]:
    if isinstance(formats, str):
        formats = formats.split(",")
    return [str(name).strip().lower() for name in formats]
