"""The compilers and headers that plugins are built with, or what to install."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adac_jax.errors import AdacError

DPF = Path("/usr/share/dpf")
"""Where Debian's `dpf-source` is; the environment's DPF_PATH comes first."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What was found.

    Attributes:
        cc: The C compiler's command.
        cxx: The C++ compiler's; empty if it is not needed.
        dpf: DPF's folder, if it is needed.
    """

    cc: str
    cxx: str = ""
    dpf: Path = DPF


def find_tools(formats: Sequence[str]) -> Tools:
    """Finds what the formats need.

    Args:
        formats: Of `FORMATS`.

    Raises:
        AdacError: something is missing; the message has the command that installs it.
    """
    if not sys.platform.startswith("linux"):
        raise AdacError(
            f"Plugins are built on Linux only, and this is {platform.system()}: export there, and "
            "build OUT/plugin/source here with its CMakeLists.txt (which is untested here)."
        )
    missing: dict[str, str] = {}
    cc = _command("CC", ("cc", "gcc", "clang"))
    cxx = _command("CXX", ("c++", "g++", "clang++")) if "vst3" in formats else ""
    dpf = Path(os.environ.get("DPF_PATH") or DPF)
    if not cc:
        missing["gcc"] = "a C compiler"
    if "vst3" in formats and not cxx:
        missing["g++"] = "a C++ compiler"
    if "lv2" in formats and cc and not _has_header(cc, "lv2/core/lv2.h"):
        missing["lv2-dev"] = "LV2's headers"
    needs_dpf = [name for name in ("vst3", "clap") if name in formats]
    if needs_dpf and not (dpf / "distrho" / "DistrhoPluginMain.cpp").is_file():
        missing["dpf-source"] = f"DPF's sources (in {dpf})"
    if missing:
        what = list(missing.values())
        listed = ", ".join(what[:-1]) + f" and {what[-1]}" if len(what) > 1 else what[0]
        raise AdacError(
            f"Building the plugin formats {', '.join(formats)} needs {listed}: "
            f"apt install {' '.join(missing)}."
        )
    return Tools(cc, cxx, dpf)


def _command(variable: str, names: Sequence[str]) -> str:
    """The user's choice, or the first that is there; empty if none is."""
    given = os.environ.get(variable)
    for name in (given,) if given else names:
        found = shutil.which(name)
        if found:
            return found
    return ""


def _has_header(cc: str, header: str) -> bool:
    done = subprocess.run(
        [cc, "-E", "-x", "c", "-"],
        input=f"#include <{header}>\n".encode(),
        capture_output=True,
        check=False,
    )
    return done.returncode == 0
