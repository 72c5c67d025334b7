"""JSON documents that are not to be trusted: every number is asked for by its place."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adac_jax.errors import AdacError

MAX_BYTES = 2**26
"""Size of the largest document that is read: weights of some million numbers."""
LARGEST = float(np.finfo(np.float32).max)
"""Weights are kept in float32."""


class FormatError(AdacError):
    """A document that does not hold a model of its format; the message names file and place."""


@dataclass(frozen=True, slots=True)
class Part:
    """A value in a document, and where it stands.

    Attributes:
        value: What `json.loads` gave.
        file: The document's name, for messages.
        path: The place in it, e.g. `layers[2].weights[0]`; "" for the whole.
    """

    value: Any
    file: str
    path: str = ""

    def error(self, must: str) -> FormatError:
        """The error that this value is not what it must be."""
        what = f"{self.file}: `{self.path}`" if self.path else self.file
        return FormatError(f"{what} (={_short(self.value)}) must be {must}.")

    def has(self, key: str) -> bool:
        """Whether this is an object with an entry that is not null."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def keys(self) -> tuple[str, ...]:
        """The names in an object."""
        if not isinstance(self.value, dict):
            raise self.error("an object")
        return tuple(self.value)

    def entry(self, key: str) -> Part:
        """The entry of an object; an error if there is none."""
        if key not in self.keys():
            place = f"{self.file}: `{self.path}`" if self.path else self.file
            raise FormatError(
                f"{place} has no `{key}`; it has {', '.join(map(repr, self.keys()[:8])) or 'none'}."
            )
        named = key if re.fullmatch(r"\w+", key) else f"[{key!r}]"
        dot = "." if self.path and named == key else ""
        return Part(self.value[key], self.file, f"{self.path}{dot}{named}")

    def parts(self, count: int | None = None) -> list[Part]:
        """The entries of a list: `count` of them, or at least one."""
        if not isinstance(self.value, list) or not self.value:
            raise self.error("a list of one or more entries")
        if count is not None and len(self.value) != count:
            raise self.error(f"a list of {count}")
        return [Part(v, self.file, f"{self.path}[{k}]") for k, v in enumerate(self.value)]

    def text(self, *allowed: str) -> str:
        """A text: one of those allowed."""
        if not isinstance(self.value, str) or self.value not in allowed:
            raise self.error(f"one of {', '.join(map(repr, allowed))}")
        return self.value

    def flag(self) -> bool:
        """True or false; 0 and 1 stand for them."""
        if self.value not in (0, 1) or isinstance(self.value, float):
            raise self.error("true or false")
        return bool(self.value)

    def whole(self, least: int, most: int) -> int:
        """A whole number within bounds; 3.0 is one too."""
        value = self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.error(f"a whole number from {least} to {most}")
        return value

    def number(self, least: float = -LARGEST, most: float = LARGEST) -> float:
        """A finite number within bounds."""
        value = self.value
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not least <= value <= most:  # neither holds for NaN
            bounds = "" if most == LARGEST and least == -LARGEST else f" from {least:g} to {most:g}"
            raise self.error(f"a finite number{bounds}")
        return float(value)

    def array(self, *shape: int | None) -> np.ndarray:
        """Nested lists of finite numbers, float64, of a shape; None stands for any size above 0."""
        found = list(shape)

        def flatten(part: Part, axis: int) -> list[float]:
            if axis == len(found):
                return [part.number()]
            size = found[axis]
            entries = part.parts()
            if size is not None and len(entries) != size:
                raise part.error(f"a list of {size}, for the shape is {_shape(shape)}")
            found[axis] = len(entries)
            return [x for entry in entries for x in flatten(entry, axis + 1)]

        values = flatten(self, 0)
        return np.array(values, np.float64).reshape([n or 0 for n in found])


def read(path: str | Path) -> Part:
    """The document in a file.

    Raises:
        FormatError: there is no such file, it is too large, or not JSON in UTF-8.
    """
    path = Path(path)
    name = path.name
    try:
        if not path.is_file():
            raise FormatError(f"The file {path} does not exist.")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise FormatError(f"{name} has {size} bytes; at most {MAX_BYTES} are read.")
        return Part(json.loads(path.read_text("utf-8")), name)
    except FormatError:
        raise
    except RecursionError:
        raise FormatError(f"{name} is nested too deeply.") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"{name} is not text in UTF-8: {error.reason}.") from None
    except OSError as error:
        raise FormatError(f"{name} cannot be read: {error}.") from None
    except ValueError as error:
        raise FormatError(f"{name} is not JSON: {error}.") from None


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value) if value is None or isinstance(value, bool) else _digits(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _digits(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # integers of thousands of digits have no text
        return "a very large number"


def _shape(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if n is None else str(n) for n in shape)})"
