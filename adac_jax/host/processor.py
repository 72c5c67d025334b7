"""FAUST in single precision, through DawDreamer's FaustProcessor: the host that users have."""

import threading
import time
from collections.abc import Mapping

import dawdreamer
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
from adac_jax.host.capi import compiler_lock
from adac_jax.host.denormals import flushed
from adac_jax.host.errors import HostError
from adac_jax.host.parameters import path_part

_PREFIX = "FaustProcessor::compile(): "
_SUFFIX = ". Check the faustlibraries path:"  # and the path, which has nothing to do with the error
_ROOT = "/dawdreamer/"  # what DawDreamer calls every program that does not name itself

_engine_thread: int | None = None


class Processor:
    """A FAUST program in a DawDreamer engine of its own, which renders each input from silence.

    Denormal numbers are zero, as in `Library`. It cannot go on from a state: DawDreamer clears it
    at every render. `Library` streams.

    Attributes:
        name: the name by which errors and parameter paths call the program.
        sample_rate: samples per second.
        block_size: samples that DawDreamer computes at once; results do not depend on it.
        inputs: number of input channels.
        outputs: number of output channels.
        compile_seconds: time that DawDreamer took; near zero if it has the same text in use.
        parameters: paths of the controls and bargraphs, sorted.
    """

    name: str
    sample_rate: int
    block_size: int
    inputs: int
    outputs: int
    compile_seconds: float
    parameters: tuple[str, ...]

    def __init__(
        self,
        source: str,
        *,
        sample_rate: int = 48000,
        block_size: int = 512,
        name: str = "model",
        flush_denormals: bool = True,
    ):
        """Compiles a program.

        Args:
            source: FAUST text that defines `process`. Nothing is imported unless it says so:
                `import("stdfaust.lib")` works.
            sample_rate: samples per second; the library's `ma.SR` is at most 192,000.
            block_size: samples.
            name: printable ASCII, the first part of parameter paths unless the program declares
                a name or is one group.
            flush_denormals: whether numbers below 1e-38 are zero.

        Raises:
            HostError: if the program does not compile, with libfaust's own message, an argument
                is out of range, or another thread made the first Processor: DawDreamer ties its
                graphs to that thread and would hang. Rendering is free of this.
        """
        self.name = checked_name(name)
        self.sample_rate = checked_count(sample_rate, "sample_rate")
        self.block_size = checked_count(block_size, "block_size")
        self._flush = bool(flush_denormals)
        text = checked_source(source, self.name, self.sample_rate)
        _require_engine_thread(self.name)

        engine = dawdreamer.RenderEngine  # pyright: ignore[reportAttributeAccessIssue]  (untyped)
        self._engine = engine(self.sample_rate, self.block_size)
        started = time.perf_counter()
        self._model = self._compiled(self._engine, text, "model")
        self.compile_seconds = time.perf_counter() - started
        # libfaust keeps a compiled program as long as someone uses it. This second user makes the
        # compilation at each render a look-up (0.3 ms): see `_renew`. In an engine of its own,
        # since an engine runs every processor it made, in its graph or not: twice the work.
        self._keeper_engine = engine(self.sample_rate, self.block_size)
        self._keeper = self._compiled(self._keeper_engine, text, "keeper")

        self.inputs = self._model.get_num_input_channels()
        self.outputs = self._model.get_num_output_channels()
        self._input = None
        graph = [(self._model, [])]
        if self.inputs:
            silence = np.zeros((self.inputs, 1), dtype=np.float32)
            self._input = self._engine.make_playback_processor("input", silence)
            graph = [(self._input, []), (self._model, ["input"])]
        if not self._engine.load_graph(graph):
            raise HostError(f"FAUST program {name!r} compiles, but DawDreamer refuses to load it.")

        widgets = self._model.get_parameters_description()
        # From our path to DawDreamer's: its own index lookup fails for labels beyond ASCII.
        self._names: dict[str, str] = {self._path(w["name"]): w["name"] for w in widgets}
        self.parameters = tuple(self._names)
        self._values: dict[str, float] = {}

    def get(self, path: str) -> float:
        """Returns a parameter's present value; HostError if there is no such path."""
        return self._model.get_parameter(self._name(path))

    def set(self, path: str, value: float) -> None:
        """Sets a control for the renders to come; as in FAUST, it is not clamped to its range.

        Args:
            path: one of `parameters`.
            value: in the widget's own unit.

        Raises:
            HostError: if there is no such path.
        """
        name = self._name(path)
        self._model.set_parameter(name, float(value))
        self._values[name] = float(value)

    def render(
        self, x: np.ndarray, automation: Mapping[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """Renders `x` from silence; controls keep their values.

        Args:
            x: audio (time, inputs), cast to float32; (time, 0) for a program without inputs.
            automation: positions of controls by path, one a sample of `x`, which DawDreamer reads
                at the first sample of each block; for this render only.

        Returns:
            Audio (time, outputs), float32, a new array of the same length, without latency.

        Raises:
            HostError: if the shape does not fit, naming both numbers, or DawDreamer fails.
        """
        x = checked_audio(x, self.inputs, self.name)
        length = len(x)
        moves = checked_automation(automation, length, self.name)
        if length == 0:
            return np.zeros((0, self.outputs), dtype=np.float32)
        self._renew()
        for path, positions in moves.items():
            # A fresh instance knows of no automation, so this one ends with the render.
            self._model.set_automation(self._name(path), positions.astype(np.float32))
        if self._input is not None:
            # A copy in any case: DawDreamer refuses arrays that are read-only.
            self._input.set_data(np.array(x.T, dtype=np.float32, order="C"))
        # Half a sample more: DawDreamer rounds the seconds down, and length / rate may be below.
        with flushed(self._flush):
            rendered = self._engine.render((length + 0.5) / self.sample_rate)
        if not rendered:
            raise HostError(f"DawDreamer failed to render {length} samples of {self.name!r}.")
        y = np.array(self._engine.get_audio().T, dtype=np.float32, order="C")
        if self._input is not None:
            self._input.set_data(np.zeros((self.inputs, 1), dtype=np.float32))
        if y.shape != (length, self.outputs):
            raise HostError(
                f"DawDreamer rendered the shape {y.shape} of {self.name!r} "
                f"instead of {(length, self.outputs)}."
            )
        return y

    def _renew(self) -> None:
        """Makes a fresh instance: clearing the old one would keep what `rwtable` was given."""
        with compiler_lock:
            self._model.compile()
        for name, value in self._values.items():
            self._model.set_parameter(name, value)

    def _compiled(self, engine, text: str, label: str):
        processor = engine.make_faust_processor(label)
        # DawDreamer computes in place: its output buffers are its input buffers. FAUST code that
        # does not know it overwrites inputs before it has read them: `process(x, y) = y, x;`
        # gives y twice, and about half of all programs with several channels are wrong.
        processor.compile_flags = ["-inpl"]
        # DawDreamer compiles the import, a new line and the program. The whole text as the import:
        # line numbers stay the user's, and no import of DawDreamer's own hides one forgotten.
        processor.auto_import = text
        processor.set_dsp_string("\n")
        try:
            with compiler_lock:
                processor.compile()
        except RuntimeError as error:
            message = str(error).removeprefix(_PREFIX).partition(_SUFFIX)[0]
            for own, mark in ((self.name, "{}:"), (path_part(self.name), "/{}/")):
                message = message.replace(mark.format("dawdreamer"), mark.format(own))
            raise compile_error(self.name, message) from None
        return processor

    def _path(self, path: str) -> str:
        # DawDreamer hands FAUST's UTF-8 over as if it were Latin-1.
        path = path.encode("latin-1").decode(errors="replace")
        if path.startswith(_ROOT):
            return f"/{path_part(self.name)}/{path.removeprefix(_ROOT)}"
        return path

    def _name(self, path: str) -> str:
        if path not in self._names:
            raise unknown_parameter(self.name, path, self._names)
        return self._names[path]


def _require_engine_thread(name: str) -> None:
    global _engine_thread
    here = threading.get_ident()
    if _engine_thread is None:
        _engine_thread = here
    if _engine_thread != here:
        raise HostError(
            f"Processor {name!r} must be made in the thread that made the first Processor "
            f"(thread {_engine_thread}, not {here}); `Library` can be made in any thread."
        )
