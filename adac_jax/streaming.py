"""The streaming reading: a model as (state, block) → (state, block)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax.audio import BLOCK, Sink, fit_channels, open_source
from adac_jax.blocks import Plan
from adac_jax.errors import AdacError
from adac_jax.staging import staged
from adac_jax.tracing import Traced, trace
from adac_jax.verification import rate_of
from ir.passes import merge


def stream(
    model: Any,
    *,
    parameters: Any = None,
    inputs: int | None = None,
    sample_rate: float | None = None,
) -> Stream:
    """A model that takes its signal block by block, in constant memory.

    Whatever the blocks' lengths are, their outputs joined are what the model gives for the whole
    signal, to rounding.

    Args:
        model: As for `trace`.
        parameters: For functions of (parameters, audio).
        inputs: Input channels; the model's own attribute `inputs` if None.
        sample_rate: Hertz; the model's own, or 48000, if None.

    Raises:
        RefusedError, DelayFreeLoopError, AdacError: as `trace`.
    """
    rate = rate_of(model, sample_rate)
    return Stream(trace(model, parameters=parameters, inputs=inputs, sample_rate=rate))


class Stream:
    """A traced model, run block by block; made by `stream`.

    All methods but `process` and `file` are pure functions: use them under `jit`, `grad` and
    `vmap`, with `parameters` as the model's own are kept: `nnx.state(model)`.

    Attributes:
        inputs: Channels in.
        outputs: Channels out.
        sample_rate: Hertz.
    """

    def __init__(self, traced: Traced) -> None:
        self._traced = traced
        self._graph = merge(traced.graph)
        self.inputs = traced.graph.input_channels
        self.outputs = traced.graph.output_channels
        self.sample_rate = traced.graph.sample_rate
        self._run = jax.jit(partial(self._block, in_place=True))

    def start(self, parameters: Any = None) -> Any:
        """The state before the first sample: a pytree of arrays."""
        return self._plan(parameters, 1).start()

    def __call__(
        self, state: Any, x: Float[ArrayLike, "time inputs"], parameters: Any = None
    ) -> tuple[Any, Float[Array, "time outputs"]]:
        """Runs one block of any length; compiled once for each length.

        Returns:
            The state after the block, and what comes out.

        Raises:
            ValueError: x has another number of channels than the model.
        """
        block = jnp.asarray(x)
        self._check("x", block.shape)
        if len(block) == 0:
            return state, jnp.zeros((0, self.outputs))
        return self._run(state, block, parameters)

    def whole(
        self,
        x: Float[ArrayLike, "time inputs"],
        parameters: Any = None,
        *,
        chunk: int = 2**16,
    ) -> Float[Array, "time outputs"]:
        """A whole signal from rest, whose derivative needs memory for one chunk only.

        Of each chunk but the state at its beginning is kept; when the gradient is computed the
        chunk is run again. The model itself (`model(x)`) needs memory in proportion to the length,
        and is about three times as fast: see `benchmarks/README.md`.

        Args:
            x: Audio.
            parameters: The model's; those it was traced with if None.
            chunk: Samples a chunk. Memory grows with it; below a few thousand, time does too.

        Raises:
            ValueError: x has another number of channels than the model, or `chunk` is below 1.
        """
        audio = jnp.asarray(x)
        self._check("x", audio.shape)
        if chunk < 1:
            raise ValueError(f"`chunk` (={chunk}) must be at least 1 sample.")
        length = len(audio)
        chunk = min(chunk, max(1, length))
        count = -(-length // chunk)
        chunks = jnp.pad(audio, ((0, count * chunk - length), (0, 0)))
        block = partial(self._block, parameters=parameters, in_place=False)
        y = jax.lax.scan(
            jax.checkpoint(lambda state, part: block(state, part)),
            self.start(parameters),
            chunks.reshape(count, chunk, self.inputs),
        )[1]
        return y.reshape(count * chunk, self.outputs)[:length]

    def process(
        self, blocks: Iterable[np.ndarray], *, block: int = BLOCK, parameters: Any = None
    ) -> Iterator[np.ndarray]:
        """Runs blocks (time, inputs) of any lengths, as they come.

        Args:
            blocks: The signal.
            block: The length of the blocks in which it is run, so that one is compiled.
            parameters: The model's; those it was traced with if None.

        Yields:
            Blocks (time, outputs), together as long as what came in.

        Raises:
            ValueError: a block has another number of channels than the model, or `block` is
                below 1.
        """
        if block < 1:
            raise ValueError(f"`block` (={block}) must be at least 1 sample.")
        state = self.start(parameters)
        waiting, held = np.zeros((block, self.inputs)), 0
        for part in blocks:
            part = np.asarray(part)
            self._check("blocks", part.shape)
            while len(part):
                taken = min(block - held, len(part))
                waiting[held : held + taken] = part[:taken]
                held, part = held + taken, part[taken:]
                if held == block:
                    # A copy: what is computed may otherwise still read what is written next.
                    state, y = self(state, waiting.copy(), parameters)
                    held = 0
                    yield np.asarray(y)
        if held:
            waiting[held:] = 0
            yield np.asarray(self(state, waiting, parameters)[1])[:held]

    def file(self, source: str | Path, target: str | Path, *, tail: float = 0.0) -> Path:
        """Runs a sound file of any length into a WAV file of 32-bit floats.

        A file of another rate is resampled, a mono file goes to all inputs and a stereo file as its
        mean to a single one. The target appears when it is complete, or not at all.

        Args:
            source: The file to read: WAV, FLAC, …
            target: The file to write, at the model's rate; its folder is made if it is not there.
            tail: Seconds of silence to run after the file.

        Returns:
            `target`.

        Raises:
            AdacError: a file cannot be read or written, or the channels do not fit.
        """
        if not 0 <= tail < np.inf:
            raise AdacError(f"`tail` (={tail}) must be a number of seconds, at least 0.")
        file, out = open_source(source), Path(target)
        rate = round(self.sample_rate)
        silent = round(tail * rate)

        def parts() -> Iterator[np.ndarray]:
            for part in file.blocks(rate):
                yield fit_channels(part, self.inputs)
            for begin in range(0, silent, BLOCK):
                yield np.zeros((min(BLOCK, silent - begin), self.inputs))

        frames = round(file.frames * rate / file.sample_rate) + silent
        with staged(out.parent) as (folder, deliver):
            with Sink(folder / out.name, rate, self.outputs, frames) as sink:
                for y in self.process(parts()):
                    sink.write(y)
            deliver([out.name])
        return out

    def _check(self, name: str, shape: tuple[int, ...]) -> None:
        if len(shape) != 2 or shape[1] != self.inputs:
            raise ValueError(f"`{name}` has the shape {shape} but must be (time, {self.inputs}).")

    def _plan(self, parameters: Any, length: int, in_place: bool = True) -> Plan:
        given = self._traced.parameters if parameters is None else parameters
        coefficients = self._traced.coefficients(given)
        dtype = jnp.result_type(float)
        return Plan(self._graph, coefficients, length, dtype, in_place=in_place)

    def _block(self, state: Any, x: Array, parameters: Any, *, in_place: bool) -> tuple[Any, Array]:
        plan = self._plan(parameters, len(x), in_place)
        state, outputs = plan.run(state, [x.astype(plan.dtype).T])
        return state, outputs[0].T


__all__ = ["Stream", "stream"]
