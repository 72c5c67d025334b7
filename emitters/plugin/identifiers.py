"""Identifiers that stay: computed from the plugin's maker and name, and from nothing else.

Sessions find a plugin by its identifiers, so two exports of one name by one maker are one plugin to
every host, and a plugin that is given another name or maker is another plugin.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable


def slug(text: str) -> str:
    """Lower case, digits and `-`: what every format takes in an identifier.

    Of other alphabets something would be lost, so they add a number that stands for all of it.
    """
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "plugin"
    return found if text.isascii() else f"{found}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def symbol(text: str) -> str:
    """A C identifier, as LV2 wants symbols of ports to be."""
    found = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "x"
    return found if found[0].isalpha() else f"x_{found}"


def uri(maker: str, name: str) -> str:
    """LV2: `urn:adac-jax:MAKER:NAME`."""
    return f"urn:adac-jax:{slug(maker)}:{slug(name)}"


def clap_id(maker: str, name: str) -> str:
    """CLAP: `adac-jax.MAKER.NAME`."""
    return f"adac-jax.{slug(maker)}.{slug(name)}"


def vst3_words(maker: str, name: str) -> tuple[int, int]:
    """VST3: the low and the high half of the 64 bits of the class identifier that are ours.

    The others are DPF's own, `DPF clas`.
    """
    digest = hashlib.sha256(f"vst3 {uri(maker, name)}".encode()).digest()
    # The first half goes through a signed number.
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF, int.from_bytes(digest[4:8], "big")


def symbols(names: Iterable[str]) -> tuple[str, ...]:
    """A symbol for each knob, unlike all others and unlike those of other ports."""
    found: list[str] = []
    for name in names:
        base = free = symbol(name)
        if base == "latency" or re.fullmatch(r"(in|out)_\d+", base):
            base = free = f"knob_{base}"
        count = 2
        while free in found:
            free, count = f"{base}_{count}", count + 1
        found.append(free)
    return tuple(found)


def parameter_ids(symbols: Iterable[str]) -> tuple[int, ...]:
    """A number for each parameter, from its symbol: it stays when others come or go.

    Two that collide, one pair in two thousand millions, are told apart by their order.
    """
    found: list[int] = []
    for name in symbols:
        number = int.from_bytes(hashlib.sha256(f"knob {name}".encode()).digest()[:4], "big")
        number &= 0x7FFFFFFF
        while number in found:
            number = (number + 1) & 0x7FFFFFFF
        found.append(number)
    return tuple(found)
