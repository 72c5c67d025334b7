"""What goes from a training to its listeners: forms, and steps of one form.

A *form* is a FAUST text whose numbers are data (`emitters.faust.open_form`); a *step* is an array
of these numbers. Both are independent of who listens: a page, a notebook, a plugin, a file.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adac_jax.errors import AdacError
from emitters.faust import Entry, OpenForm
from ir.graph import Graph
from ir.ops.controls import attribute

MAGIC = b"ADLV"
VERSION = 1
_HEAD = struct.Struct("<4sIIIQdd")
"""Magic, version, form, count of numbers, step, loss, seconds since 1970; little-endian. The
numbers follow, as float64."""
MOST = 2**22
"""Numbers in the largest step."""


@dataclass(frozen=True, slots=True)
class Knob:
    """A control of the model: see `adac_jax.control`."""

    name: str
    default: float
    minimum: float
    maximum: float
    unit: str
    curve: str


@dataclass(frozen=True, slots=True)
class Form:
    """A FAUST text and what its data are.

    Attributes:
        number: Counts the forms of one training from 0; a new topology is a new form.
        source: FAUST in open form.
        name: The model's name.
        sample_rate: Hertz.
        inputs: Channels.
        outputs: Channels.
        latency: Samples by which the outputs come late.
        count: How many numbers the data are.
        entries: What they are.
        knobs: The controls.
    """

    number: int
    source: str
    name: str
    sample_rate: float
    inputs: int
    outputs: int
    latency: int
    count: int
    entries: tuple[Entry, ...]
    knobs: tuple[Knob, ...]

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Form:
        """From text.

        Raises:
            AdacError: it is none.
        """
        try:
            found: dict[str, Any] = json.loads(text)
            found["entries"] = tuple(Entry(**entry) for entry in found["entries"])
            found["knobs"] = tuple(Knob(**knob) for knob in found["knobs"])
            return cls(**found)
        except (ValueError, TypeError, KeyError) as error:
            raise AdacError(f"This is no form of a live model: {error}.") from None


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A step of the training.

    Attributes:
        number: Counts updates from 0.
        form: The form whose data these are.
        loss: NaN where none was given.
        time: Of the update, in seconds since 1970.
        values: float64, in the order of the form's data.
    """

    number: int
    form: int
    loss: float
    time: float
    values: np.ndarray

    def pack(self) -> bytes:
        """As bytes."""
        head = _HEAD.pack(
            MAGIC, VERSION, self.form, len(self.values), self.number, self.loss, self.time
        )
        return head + np.ascontiguousarray(self.values, "<f8").tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> Step:
        """From bytes.

        Raises:
            AdacError: they are none, of another version, or cut off.
        """
        if len(data) < _HEAD.size:
            raise AdacError(f"A step has {len(data)} bytes; it must have {_HEAD.size} at least.")
        magic, version, form, count, number, loss, time = _HEAD.unpack_from(data)
        if magic != MAGIC or version != VERSION:
            raise AdacError(f"A step begins with {magic!r}, version {version}: not one of ours.")
        if count > MOST or len(data) != _HEAD.size + 8 * count:
            raise AdacError(f"A step of {count} numbers must not have {len(data)} bytes.")
        values = np.frombuffer(data, "<f8", count, _HEAD.size).astype(np.float64)
        return cls(number, form, loss, time, values)


def form_of(opened: OpenForm, graph: Graph, number: int) -> Form:
    """The form of a program's graph."""
    knobs = tuple(
        Knob(
            name=name,
            default=attribute(node, "default"),
            minimum=attribute(node, "minimum"),
            maximum=attribute(node, "maximum"),
            unit=node.text("unit"),
            curve=node.text("curve"),
        )
        for name, node in graph.controls.items()
    )
    return Form(
        number,
        opened.text,
        graph.name,
        graph.sample_rate,
        graph.input_channels,
        graph.output_channels,
        graph.latency,
        len(opened.initial),
        opened.entries,
        knobs,
    )


__all__ = ["Form", "Knob", "Step", "form_of"]
