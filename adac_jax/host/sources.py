"""FAUST text as C, written by the libfaust that also compiles it here."""

import ctypes as c
import re
import tempfile
from pathlib import Path
from typing import Literal

from adac_jax.host._checks import checked_source, compile_error
from adac_jax.host.capi import api, compiler_lock, libraries_folder
from adac_jax.host.errors import HostError

_ERROR_BYTES = 4096


def c_source(
    source: str,
    *,
    class_name: str,
    sample_rate: int = 48000,
    precision: Literal["single", "double"] = "single",
) -> str:
    """Translates a program to C, as FAUST's `-lang c` does.

    Outputs may be the memory of inputs (`-inpl`). The text is the same on every machine.

    Args:
        source: FAUST text that defines `process`.
        class_name: What the C struct is called, and what its functions' names end in.
        sample_rate: Samples per second that it will be run at; for the compiler's look at the text.
        precision: Of the arithmetic. Audio and sliders are of the type `FAUSTFLOAT`, `float` unless
            defined before.

    Raises:
        HostError: if the program does not compile, with libfaust's own message, or an argument is
            out of range.
    """
    if precision not in ("single", "double"):
        raise HostError(f'`precision` (={precision!r}) must be "single" or "double".')
    if not re.fullmatch(r"[A-Za-z]\w*", class_name, re.ASCII):
        raise HostError(f"`class_name` (={class_name!r}) must be a C identifier.")
    text = checked_source(source, class_name, sample_rate)
    with tempfile.TemporaryDirectory(prefix="adac_jax-") as folder:
        options = ["-lang", "c", "-cn", class_name, f"-{precision}", "-ftz", "0", "-inpl"]
        if "import" in text or "library" in text:  # or the folder would stand in the text
            options += ["-I", str(libraries_folder())]
        options += ["-o", "made.c", "-O", folder]
        arguments = (c.c_char_p * len(options))(*(option.encode() for option in options))
        message = c.create_string_buffer(_ERROR_BYTES)
        with compiler_lock:
            done = api().generateCAuxFilesFromString(
                class_name.encode(), text.encode(), len(options), arguments, message
            )
        if not done:
            raise compile_error(class_name, message.value.decode(errors="replace"))
        return (Path(folder) / "made.c").read_text("utf-8")
