"""Compiles a plugin's sources."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from adac_jax.errors import AdacError
from adac_jax.plugin.tools import Tools
from emitters.plugin import Form, Metadata, sources, vstpreset

LIMIT_SECONDS = 900.0
"""For one call of a compiler."""
JOBS = 2
FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
"""Of the core. Sums are added as FAUST wrote them, and products not fused with them: what is built
is what was compared. Never `-ffast-math`: it lets NaN pass, and linked with it a library sets the
host's own bits for denormal numbers."""
HIDDEN = ("-fPIC", "-fvisibility=hidden", "-Wall", "-w")
LINK = ("-shared", "-Wl,-z,defs", "-Wl,-z,relro,-z,now", "-s")


def build(
    metadata: Metadata,
    forms: Sequence[Form],
    formats: Sequence[str],
    folder: Path,
    tools: Tools,
    stage: Callable[[str], None] = lambda text: None,
) -> dict[str, Path]:
    """Writes the sources to `folder/source`, and builds each format in a folder called after it.

    The C library is built in any case, since it can be checked.

    Args:
        metadata: Of the plugin.
        forms: One a rate.
        formats: Of `FORMATS`.
        folder: Is there, and empty.
        tools: As `find_tools` found them for these formats.
        stage: Called with what is being done.

    Returns:
        What hosts load, for each format: files or bundles.

    Raises:
        AdacError: a compiler fails, or takes too long.
    """
    source = folder / "source"
    source.mkdir()
    for name, text in sources(metadata, forms).items():
        (source / name).write_text(text, "utf-8")
    cores = [metadata.prefix, *(metadata.form_name(form.rate) for form in forms)]
    stage(f"compiling the plugin's {len(forms)} forms")
    return compile_all(metadata, cores, formats, folder, tools)


def compile_all(
    metadata: Metadata,
    cores: Sequence[str],
    formats: Sequence[str],
    folder: Path,
    tools: Tools,
    libraries: Sequence[str] = (),
) -> dict[str, Path]:
    """Compiles sources that are in `folder/source`; see `build`.

    Args:
        metadata: Of the plugin.
        cores: C files, without `.c`, that all formats share; the first is the interface.
        formats: Of `FORMATS`.
        folder: Where a folder for each format is made.
        tools: As `find_tools` found them for these formats.
        libraries: What is linked with them.
    """
    source, work = folder / "source", folder / "work"
    work.mkdir()
    p = metadata.prefix
    jobs = {work / f"{name}.o": [tools.cc, "-std=c11", *FLAGS, f"{name}.c"] for name in cores}
    exported = [tools.cc, "-std=c11", *FLAGS, f"-D{p.upper()}_EXPORT", f"{cores[0]}.c"]
    jobs[work / "exported.o"] = exported
    if "lv2" in formats:
        jobs[work / "lv2.o"] = [tools.cc, "-std=c11", "-O2", f"{p}_lv2.c"]
    if "clap" in formats:
        include = f"-I{tools.dpf / 'distrho' / 'src'}"
        jobs[work / "clap.o"] = [tools.cc, "-std=c11", "-O2", include, f"{p}_clap.c"]
    if "vst3" in formats:
        defines = ("-DDISTRHO_PLUGIN_TARGET_VST3", "-DNDEBUG", "-I.", f"-I{tools.dpf / 'distrho'}")
        jobs[work / "vst3.o"] = [tools.cxx, "-std=c++11", "-O2", *defines, f"{p}_vst3.cpp"]
    with ThreadPoolExecutor(JOBS) as pool:
        done = [
            pool.submit(_run, [*command, *HIDDEN, "-c", "-o", str(target)], source)
            for target, command in jobs.items()
        ]
        for job in done:
            job.result()
    objects = [work / f"{name}.o" for name in cores]
    made = {}
    for name in dict.fromkeys(("c", *formats)):
        made[name] = _LINKERS[name](metadata, folder, objects, tools, libraries)
    shutil.rmtree(work)
    return made


def _c(
    metadata: Metadata, folder: Path, objects: list[Path], tools: Tools, libraries: Sequence[str]
) -> Path:
    p = metadata.prefix
    target = folder / "c" / f"lib{p}.so"
    target.parent.mkdir()
    own = [folder / "work" / "exported.o", *objects[1:]]
    _link(tools.cc, target, own, *libraries)
    header = (folder / "source" / f"{p}.h").read_text("utf-8")
    (target.parent / f"{p}.h").write_text(header, "utf-8")
    return target


def _lv2(
    metadata: Metadata, folder: Path, objects: list[Path], tools: Tools, libraries: Sequence[str]
) -> Path:
    p = metadata.prefix
    bundle = folder / "lv2" / f"{p}.lv2"
    bundle.mkdir(parents=True)
    _link(tools.cc, bundle / f"{p}.so", [folder / "work" / "lv2.o", *objects], *libraries)
    source = folder / "source"
    manifest = (source / "manifest.ttl.in").read_text("utf-8").replace("@library@", f"{p}.so")
    (bundle / "manifest.ttl").write_text(manifest, "utf-8")
    for name in (f"{p}.ttl", "presets.ttl"):
        if (source / name).is_file():
            (bundle / name).write_text((source / name).read_text("utf-8"), "utf-8")
    return bundle


def _clap(
    metadata: Metadata, folder: Path, objects: list[Path], tools: Tools, libraries: Sequence[str]
) -> Path:
    target = folder / "clap" / f"{metadata.prefix}.clap"
    target.parent.mkdir()
    _link(tools.cc, target, [folder / "work" / "clap.o", *objects], *libraries)
    return target


def _vst3(
    metadata: Metadata, folder: Path, objects: list[Path], tools: Tools, libraries: Sequence[str]
) -> Path:
    p = metadata.prefix
    bundle = folder / "vst3" / f"{p}.vst3"
    binary = bundle / "Contents" / f"{platform.machine()}-linux" / f"{p}.so"
    binary.parent.mkdir(parents=True)
    _link(tools.cxx, binary, [folder / "work" / "vst3.o", *objects], "-ldl", "-pthread")
    for preset in metadata.presets:
        name = re.sub(r"[^\w .-]+", "_", preset.name)
        path = folder / "vst3" / "presets" / f"{name}.vstpreset"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(vstpreset(metadata, preset))
    return bundle


_LINKERS = {"c": _c, "lv2": _lv2, "clap": _clap, "vst3": _vst3}


def _link(compiler: str, target: Path, objects: Sequence[Path], *libraries: str) -> None:
    command = [compiler, *LINK, "-o", str(target), *map(str, objects), "-lm", *libraries]
    _run(command, target.parent)


def _run(command: Sequence[str], folder: Path) -> None:
    what = f"The compiler {Path(command[0]).name}"
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise AdacError(
            f"{what} did not finish {Path(command[-1]).name} within {LIMIT_SECONDS:g} s; the model "
            "is too large for a plugin in this form."
        ) from None
    except OSError as error:
        raise AdacError(f"{what} cannot be run: {error.strerror or error}.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        first = next((line for line in said if re.search(r"error|undefined", line)), "")
        reason = first or (said[0] if said else f"exit code {done.returncode}")
        raise AdacError(f"{what} refuses the plugin's source: {reason[:300]}")
