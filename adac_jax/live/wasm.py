"""FAUST as WebAssembly, by the compiler that DawDreamer carries."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from adac_jax.errors import AdacError
from emitters.faust import portable

LIMIT_SECONDS = 120.0
CHILD = Path(__file__).with_name("wasm_child.py")


@dataclass(frozen=True, slots=True)
class Wasm:
    """A compiled form.

    Attributes:
        module: WebAssembly, which exports its memory and imports functions of libm at most.
        size: Bytes at the beginning of the memory that are the program's.
        inputs: Channels.
        outputs: Channels.
        data: Where each number of the data is in the memory; -1 where it changes nothing.
        controls: Where each knob's position is.
    """

    module: bytes
    size: int
    inputs: int
    outputs: int
    data: tuple[int, ...]
    controls: dict[str, int]


def to_wasm(source: str, count: int, limit_seconds: float = LIMIT_SECONDS) -> Wasm:
    """Compiles FAUST text in open form, in single precision.

    Args:
        source: The text.
        count: How many numbers its data are.
        limit_seconds: After this the compiler is ended.

    Raises:
        AdacError: it does not compile, or takes too long.
    """
    command = [sys.executable, "-I", str(CHILD)]
    text = portable(source).encode()
    try:
        child = subprocess.run(
            command, input=text, capture_output=True, timeout=limit_seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise AdacError(
            f"The compiler did not finish the page's form within {limit_seconds:g} s."
        ) from None
    if child.returncode:
        lines = child.stderr.decode(errors="replace").strip().splitlines()
        raise AdacError(f"The form does not compile to WebAssembly: {(lines or ['no reason'])[-1]}")
    head, _, module = child.stdout.partition(b"\n")
    info = json.loads(head)
    data = tuple(info["data"]) + (-1,) * (count - len(info["data"]))
    return Wasm(module, info["size"], info["inputs"], info["outputs"], data, info["controls"])


__all__ = ["Wasm", "to_wasm"]
