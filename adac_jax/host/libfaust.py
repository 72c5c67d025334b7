"""FAUST in single or double precision, sample by sample in constant memory, through libfaust."""

import ctypes as c
import time
import weakref
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

from adac_jax.host._checks import (
    checked_audio,
    checked_automation,
    checked_count,
    checked_name,
    checked_source,
    compile_error,
    unknown_parameter,
)
from adac_jax.host.capi import api, compiler_lock, libraries_folder
from adac_jax.host.denormals import flushed
from adac_jax.host.errors import HostError
from adac_jax.host.parameters import Parameter, read_parameters

_ERROR_BYTES = 4096  # what libfaust's header asks for
_LONGEST_BLOCK = 2**30  # samples; libfaust counts them in a C int

# Depth. libfaust compiles on a thread of its own, whose stack is 16 MiB whatever the stack of the
# caller, so a caller with a big stack does not help. Measured with 2.85.9: sums of 5,000 terms,
# 8,000 nested calls, 4,000 stages in sequence and 2,000 definitions of which each uses the last
# compile. From 8,000 or 20,000 terms or calls on, libfaust reports "stack overflow in eval", which
# is raised as HostError; but 5,000 stages, or 3,000 such definitions, overflow the real stack and
# end the process. Nothing in this process can prevent that.


class Library:
    """A FAUST program that keeps its state from one block to the next.

    Denormal numbers are zero, by a bit of the processor that is set while it renders, as in the
    other host, and as hosts of plugins do; see docs/precision.md. One object is for one thread at a
    time; different objects may run in different threads, and any thread may compile. Close it, or
    use it in a `with` statement, to free its memory at once rather than when it is collected.

    A program can be too deep, or take too long, for libfaust: compile text of unknown origin in
    a worker process.

    Attributes:
        name: the name by which errors and parameter paths call the program.
        precision: "single" or "double": of the audio in and out as well as of the arithmetic.
        dtype: float32 or float64, accordingly.
        sample_rate: samples per second.
        inputs: number of input channels.
        outputs: number of output channels.
        compile_seconds: time that libfaust took; near zero if it has the same text in use.
        parameters: from path to Parameter, in the program's order.
    """

    name: str
    precision: Literal["single", "double"]
    dtype: np.dtype
    sample_rate: int
    inputs: int
    outputs: int
    compile_seconds: float
    parameters: Mapping[str, Parameter]

    def __init__(
        self,
        source: str,
        *,
        precision: Literal["single", "double"] = "double",
        sample_rate: int = 48000,
        name: str = "model",
        flush_denormals: bool = True,
    ):
        """Compiles a program and clears its state.

        Args:
            source: FAUST text that defines `process`. `import("stdfaust.lib")` works.
            precision: of numbers and audio.
            sample_rate: samples per second; the library's `ma.SR` is at most 192,000.
            name: printable ASCII; FAUST takes it as the first part of parameter paths unless the
                program declares a name or is one group.
            flush_denormals: whether numbers below 1e-38 (1e-308 in double precision) are zero.

        Raises:
            HostError: if the program does not compile, with libfaust's own message, or an
                argument is out of range.
        """
        if precision not in ("single", "double"):
            raise HostError(f'`precision` (={precision!r}) must be "single" or "double".')
        self.name = checked_name(name)
        self.precision = precision
        self.dtype = np.dtype(np.float64 if precision == "double" else np.float32)
        self.sample_rate = checked_count(sample_rate, "sample_rate")
        self._flush = bool(flush_denormals)
        self._real = c.c_double if precision == "double" else c.c_float
        self._api = api()

        text = checked_source(source, self.name, self.sample_rate)
        started = time.perf_counter()
        factory = self._compiled(text)
        self.compile_seconds = time.perf_counter() - started
        with compiler_lock:
            instance = self._api.createCDSPInstance(factory)
            if not instance:
                self._api.deleteCDSPFactory(factory)
                raise HostError(f"FAUST program {name!r} compiles, but libfaust made no instance.")
            self._api.initCDSPInstance(instance, self.sample_rate)
        self._instance = instance
        # Not `__del__`: it would run on half-made objects and while the interpreter shuts down.
        self._free = weakref.finalize(self, _free, self._api, factory, instance)
        self._free.atexit = False  # the process is ending: its memory is free anyway

        self.inputs = self._api.getNumInputsCDSPInstance(instance)
        self.outputs = self._api.getNumOutputsCDSPInstance(instance)
        build = self._api.buildUserInterfaceCDSPInstance
        widgets = read_parameters(lambda glue: build(instance, glue), self._real)
        self.parameters = MappingProxyType({widget.path: widget for widget in widgets})

    def get(self, path: str) -> float:
        """Returns a control's or a bargraph's present value; HostError if there is none."""
        self.require_open()
        return self._real.from_address(self._parameter(path).address).value

    def set(self, path: str, value: float) -> None:
        """Sets a control from the next sample on; as in FAUST, it is not clamped to its range.

        Args:
            path: a key of `parameters`.
            value: in the widget's own unit.

        Raises:
            HostError: if there is no such path, or it is a bargraph.
        """
        self.require_open()
        parameter = self._parameter(path)
        if parameter.kind == "bargraph":
            raise HostError(f"Parameter {path!r} is a bargraph: it can be read but not set.")
        self._real.from_address(parameter.address).value = value

    def reset(self) -> None:
        """Clears the state: delays, recursions and tables that were written; keeps the controls."""
        self.require_open()
        # FAUST fills writable tables (`rwtable`) with the constants, not with the state.
        self._api.instanceConstantsCDSPInstance(self._instance, self.sample_rate)
        self._api.instanceClearCDSPInstance(self._instance)

    def process(
        self,
        x: np.ndarray,
        block_size: int | None = None,
        automation: Mapping[str, np.ndarray] | None = None,
        each: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Renders `x` from the present state on, and keeps the state for the next call.

        Calls of any lengths give together what one call gives, so a file of any length is
        rendered in the memory of one block.

        Args:
            x: audio (time, inputs), cast to `dtype`; (time, 0) for a program without inputs.
            block_size: samples that libfaust computes at once; None for all of `x`. The result
                does not depend on it, unless controls move.
            automation: positions of controls by path, one a sample of `x`; as in all hosts, read at
                the first sample of each block. A control keeps the last one.
            each: called before each block with the position of its first sample.

        Returns:
            Audio (time, outputs) of `dtype`, a new array, without latency.

        Raises:
            HostError: if the shape does not fit, or the program is closed.
        """
        self.require_open()
        x = checked_audio(x, self.inputs, self.name)
        step = _LONGEST_BLOCK
        if block_size is not None:
            step = min(step, checked_count(block_size, "block_size"))
        length = len(x)
        moves = checked_automation(automation, length, self.name)
        channels_in = np.ascontiguousarray(x.T, dtype=self.dtype)
        channels_out = np.empty((self.outputs, length), dtype=self.dtype)
        # Tables of addresses that move on in place: blocks may be of one sample.
        places_in, places_out = _addresses(channels_in), _addresses(channels_out)
        ins, outs = (c.c_void_p(places.ctypes.data) for places in (places_in, places_out))
        instance, compute = self._instance, self._api.computeCDSPInstance
        further = step * self.dtype.itemsize
        with flushed(self._flush):
            for start in range(0, length, step):
                for path, positions in moves.items():
                    self.set(path, positions[start])
                if each is not None:
                    each(start)
                compute(instance, min(step, length - start), ins, outs)
                places_in += further
                places_out += further
        return np.ascontiguousarray(channels_out.T)

    def render(
        self,
        x: np.ndarray,
        block_size: int = 4096,
        automation: Mapping[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Resets, then processes `x`: see `process`. Controls keep their values."""
        self.reset()
        return self.process(x, block_size, automation)

    def close(self) -> None:
        """Frees the compiled program; every later use but this one raises HostError."""
        self._free()

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _compiled(self, text: str) -> int:
        options = [f"-{self.precision}", "-ftz", "0", "-I", str(libraries_folder())]
        arguments = (c.c_char_p * len(options))(*(option.encode() for option in options))
        message = c.create_string_buffer(_ERROR_BYTES)
        with compiler_lock:
            factory = self._api.createCDSPFactoryFromString(
                self.name.encode(), text.encode(), len(options), arguments, b"", message, -1
            )
        if not factory:
            raise compile_error(self.name, message.value.decode(errors="replace"))
        return factory

    def _parameter(self, path: str) -> Parameter:
        if path not in self.parameters:
            raise unknown_parameter(self.name, path, self.parameters)
        return self.parameters[path]

    def require_open(self) -> None:
        """Raises HostError if the program is closed."""
        if not self._free.alive:
            raise HostError(f"FAUST program {self.name!r} is closed: compile it again to use it.")


def _free(library: c.CDLL, factory: int, instance: int) -> None:
    with compiler_lock:
        library.deleteCDSPInstance(instance)
        library.deleteCDSPFactory(factory)


def _addresses(channels: np.ndarray) -> np.ndarray:
    """Where each row of a contiguous (channels, time) array begins."""
    rows, _ = channels.shape
    return np.uint64(channels.ctypes.data) + np.arange(rows, dtype=np.uint64) * np.uint64(
        channels.strides[0]
    )
