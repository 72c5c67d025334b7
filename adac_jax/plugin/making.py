"""From a model that was exported to plugins in a folder."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from adac_jax.plugin.building import build
from adac_jax.plugin.checking import check
from adac_jax.plugin.forms import Compare, Origin, Version, forms_of, versions
from adac_jax.plugin.settings import Plugins
from adac_jax.plugin.tools import Tools
from emitters.plugin import Form, Metadata

FOLDER = "plugin"
"""Of all that belongs to plugins, in the folder that is exported to."""


@dataclass(frozen=True)
class Built:
    """The plugins of a model.

    Attributes:
        metadata: Names, identifiers, knobs.
        paths: What hosts load, for each format: a file or a bundle, in the folder of plugins.
        rates: Hertz that it runs at.
        latency: Samples, for each rate.
        tail: Seconds until it has faded by 120 dB, for each rate; infinite if nothing bounds it.
        differences: For each rate, by how much the impulse responses of what was built differ from
            FAUST's JIT, absolute.
    """

    metadata: Metadata
    paths: dict[str, Path]
    rates: tuple[int, ...]
    latency: dict[int, int]
    tail: dict[int, float]
    differences: dict[int, float]

    def inside(self, folder: Path) -> Built:
        """The same, with paths from a folder on."""
        return replace(self, paths={name: folder / path for name, path in self.paths.items()})

    def summary(self) -> str:
        """One line for people."""
        rates = ", ".join(f"{rate / 1000:g}" for rate in sorted(self.rates))
        tail = max(self.tail.values())
        fades = f"tail {tail:.1f} s" if math.isfinite(tail) else "endless tail"
        knobs = len(self.metadata.parameters)
        return (
            f"{self.metadata.uri}, {knobs} knob{'' if knobs == 1 else 's'}, {rates} kHz, {fades}, "
            f"within {max(self.differences.values()):.1e} of the JIT"
        )

    def to_json(self) -> str:
        """What hosts are told, and what was measured."""
        data = {
            "name": self.metadata.name,
            "maker": self.metadata.maker,
            "version": ".".join(map(str, self.metadata.version)),
            "identifiers": {
                "lv2": self.metadata.uri,
                "vst3": self.metadata.vst3_id,
                "clap": self.metadata.clap_id,
                "c": self.metadata.prefix,
            },
            "precision": self.metadata.precision,
            "parameters": [
                {key: getattr(knob, key) for key in type(knob).__slots__}
                for knob in self.metadata.parameters
            ],
            "presets": {p.name: dict(p.values) for p in self.metadata.presets},
            "rates": [
                {
                    "rate": rate,
                    "latency": self.latency[rate],
                    "tail": self.tail[rate] if math.isfinite(self.tail[rate]) else None,
                    "difference": self.differences[rate],
                }
                for rate in self.rates
            ],
        }
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def make(
    own: Version,
    origin: Origin,
    metadata: Metadata,
    settings: Plugins,
    tools: Tools,
    folder: Path,
    *,
    compare: Compare,
    stage: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = lambda text: None,
) -> Built:
    """Derives the model for all rates, writes and compiles sources, and checks what was compiled.

    Args:
        own: The model at its own rate, compared and certified.
        origin: What other rates are derived from.
        metadata: As `metadata_of` made it of the model at its own rate.
        settings: What to build.
        tools: As `find_tools` found them.
        folder: Made, with `source` and the formats in it.
        compare: How FAUST is compared with JAX at other rates.
        stage: Called with what is being done.
        warn: Called with what the user should know.

    Raises:
        AdacError, RateError, CertificateError, ComparisonError: as `versions`, `build`, `check`.
    """
    found = versions(own, origin, settings, metadata.precision, compare, stage=stage, warn=warn)
    stage("translating FAUST to C")
    forms: tuple[Form, ...] = forms_of(metadata, found)
    folder = folder.resolve()  # compilers run elsewhere
    folder.mkdir()
    paths = build(metadata, forms, settings.formats, folder, tools, stage)
    stage("comparing what was compiled with FAUST's JIT")
    differences = check(paths["c"], metadata, found)
    if "c" not in settings.formats:
        shutil.rmtree(paths["c"].parent)
    built = Built(
        metadata,
        {name: paths[name].relative_to(folder) for name in settings.formats},
        tuple(form.rate for form in forms),
        {form.rate: form.latency for form in forms},
        {form.rate: form.tail for form in forms},
        differences,
    )
    (folder / "plugin.json").write_text(built.to_json(), "utf-8")
    return built
