"""Builds the live plugin: once, for all models."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from adac_jax.errors import AdacError
from adac_jax.plugin.building import compile_all
from adac_jax.plugin.tools import find_tools
from adac_jax.staging import staged
from emitters.plugin.live_plugin import CORES, live_metadata, live_sources

FORMATS = ("lv2", "vst3", "clap", "c")


def install(
    out: Path,
    formats: Sequence[str] = ("lv2", "vst3", "clap"),
    stage: Callable[[str], None] = lambda text: None,
) -> dict[str, Path]:
    """Builds the live plugin into a folder, one for each format, as `adac_jax.export` does.

    Args:
        out: Where `lv2`, `vst3`, `clap`, `c` appear.
        formats: Of these.
        stage: Called with what is being done.

    Returns:
        What hosts load, for each format.

    Raises:
        AdacError: a format is not known, a tool is missing or fails, or the folder cannot be
            written.
    """
    for name in formats:
        if name not in FORMATS:
            raise AdacError(f"The plugin format {name!r} must be one of {', '.join(FORMATS)}.")
    if not formats:
        raise AdacError(f"`plugin` must name at least one format of {', '.join(FORMATS)}.")
    tools = find_tools(formats)
    out = out.resolve()
    with staged(out) as (place, deliver), tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "source").mkdir()
        for name, text in live_sources().items():
            (work / "source" / name).write_text(text, "utf-8")
        stage("compiling the live plugin")
        paths = compile_all(live_metadata(), CORES, formats, work, tools, ("-ldl", "-pthread"))
        inside = {name: paths[name].relative_to(work) for name in formats}
        for path in inside.values():
            (place / path).parent.mkdir()
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(work / path, place / path)
        deliver(list(map(str, inside.values())))
    return {name: out / path for name, path in inside.items()}


__all__ = ["FORMATS", "install"]
