"""What the command line says of plugins."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adac_jax.errors import AdacError
from adac_jax.plugin.settings import Plugins, wanted


def from_arguments(
    formats: str | None,
    rates: str | None,
    presets: Sequence[str],
    *,
    title: str | None,
    maker: str | None,
    kind: str | None,
    description: str | None,
) -> Plugins | None:
    """Settings from texts; None where no plugins are wanted.

    Args:
        formats: With commas between them.
        rates: Hertz, with commas between them.
        presets: `NAME:KNOB=POSITION,KNOB=POSITION` each.
        title: What hosts show.
        maker: Who made it.
        kind: What hosts list it under.
        description: One line.

    Raises:
        AdacError: something is not as it should be, or is said of plugins that are not wanted.
    """
    others = {"--plugin-rates": rates, "--preset": presets, "--title": title, "--maker": maker}
    others |= {"--kind": kind, "--description": description}
    if formats is None:
        given = [name for name, value in others.items() if value]
        if given:
            raise AdacError(f"{given[0]} says something of plugins: --plugin names their formats.")
        return None
    found = wanted(formats)
    assert found is not None
    return Plugins(
        found.formats,
        rates=None if rates is None else tuple(_rate(text) for text in rates.split(",")),
        presets=dict(_preset(text) for text in presets),
        name=title,
        maker=found.maker if maker is None else maker,
        kind=found.kind if kind is None else kind,
        description=description or "",
    )


def _rate(text: str) -> int:
    if not text.strip().isdecimal():
        raise AdacError(f"`--plugin-rates`: {text.strip()!r} must be a whole number of hertz.")
    return int(text)


def _preset(text: str) -> tuple[str, dict[str, float]]:
    name, colon, positions = text.partition(":")
    values = {}
    for position in positions.split(",") if colon else ():
        knob, equals, number = position.rpartition("=")
        try:
            value = float(number) if equals else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            colon = ""
        values[knob.strip()] = value
    if not colon or not name.strip():
        raise AdacError(
            f"`--preset` (={text}) must be NAME:KNOB=POSITION,…, such as Dark:tone=300."
        )
    return name.strip(), values
