"""What both hosts ask of their arguments before libfaust sees them."""

import operator
from collections.abc import Iterable, Mapping

import numpy as np

from adac_jax.host.errors import HostError

_LARGEST = 2**31 - 1  # libfaust counts samples, and samples per second, in a C int


def checked_count(value: int, name: str) -> int:
    """Returns `value` as an int from 1 to 2**31 − 1, or raises HostError naming it."""
    try:
        count = operator.index(value)
    except TypeError:
        count = 0
    if not 1 <= count <= _LARGEST:
        raise HostError(f"`{name}` (={value!r}) must be an integer from 1 to {_LARGEST}.")
    return count


def checked_name(name: str) -> str:
    """Returns `name` if it can be the root of parameter paths, or raises HostError."""
    if not isinstance(name, str) or not name or not name.isascii() or not name.isprintable():
        raise HostError(f"`name` (={name!r}) must be one or more printable ASCII characters.")
    return name


def checked_source(source: str, name: str, sample_rate: int) -> str:
    r"""Returns the program as libfaust is to receive it, or raises HostError.

    libfaust returns one factory for every compilation of the same text, and the factory owns the
    program's tables: starting an instance at another sample rate would rewrite the tables of the
    instances that are already running. A last line that names the rate keeps the rates apart; it
    comes last so that the line numbers in the compiler's messages stay the user's.

    Args:
        source: FAUST text; other than in comments and strings FAUST itself allows ASCII only.
        name: the program's name, for the message.
        sample_rate: samples per second.
    """
    if not isinstance(source, str):
        raise HostError(f"FAUST program {name!r} must be a str, not {type(source).__name__}.")
    if not source.strip():
        raise HostError(f"FAUST program {name!r} is empty: it must define `process`.")
    if "\0" in source:  # C would end the program there and compile the rest as if it were whole
        line = source[: source.index("\0")].count("\n") + 1
        raise HostError(f"FAUST program {name!r} has a NUL character in line {line}: remove it.")
    try:
        source.encode()
    except UnicodeEncodeError as error:
        line = source[: error.start].count("\n") + 1
        raise HostError(
            f"FAUST program {name!r} has a lone surrogate, {source[error.start]!r}, in line "
            f"{line}: it must be text that UTF-8 can encode."
        ) from None
    return f"{source}\n// {sample_rate} Hz\n"


def checked_audio(x: np.ndarray, inputs: int, name: str) -> np.ndarray:
    """Returns `x` as an array of shape (time, inputs), or raises HostError naming both numbers."""
    x = np.asarray(x)
    if x.ndim != 2:
        raise HostError(f"`x` (shape {x.shape}) must have the shape (time, {inputs}).")
    if x.dtype.kind not in "fiu":
        raise HostError(f"`x` (dtype {x.dtype}) must hold floats or integers.")
    if x.shape[1] != inputs:
        raise HostError(
            f"FAUST program {name!r} has {inputs} inputs, but `x` (shape {x.shape}) "
            f"has {x.shape[1]} channels."
        )
    return x


def checked_automation(
    automation: Mapping[str, np.ndarray] | None, length: int, name: str
) -> dict[str, np.ndarray]:
    """Returns positions, (length,) for each path, or raises HostError naming the shape."""
    found = {}
    for path, values in (automation or {}).items():
        positions = np.asarray(values, np.float64)
        if positions.shape != (length,) or not np.all(np.isfinite(positions)):
            raise HostError(
                f"The automation of {path!r} of FAUST program {name!r} has the shape "
                f"{positions.shape}; it must be {length} finite numbers, one a sample."
            )
        found[path] = positions
    return found


def compile_error(name: str, message: str) -> HostError:
    """The error for a program that libfaust refuses, with libfaust's own words."""
    message = message.strip() or "libfaust gave no reason."
    return HostError(f"FAUST program {name!r} does not compile: {message}")


def unknown_parameter(name: str, path: str, known: Iterable[str]) -> HostError:
    """The error for a path that the program does not have."""
    listed = ", ".join(known) or "none"
    return HostError(f"FAUST program {name!r} has no parameter {path!r}; it has: {listed}.")
