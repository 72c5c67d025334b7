"""The streaming reading: a model as (state, block) → (state, block)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
from adac_jax.errors import AdacError, IRError
from adac_jax.staging import staged
from adac_jax.tracing import Traced, trace
from adac_jax.verification import rate_of
from ir.knobs import check_names
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
        self,
        state: Any,
        x: Float[ArrayLike, "time inputs"],
        parameters: Any = None,
        controls: Mapping[str, ArrayLike] | None = None,
    ) -> tuple[Any, Float[Array, "time outputs"]]:
        """Runs one block of any length; compiled once for each length.

        Args:
            state: That before the block.
            x: Audio.
            parameters: The model's; those it was traced with if None.
            controls: Where knobs stand during this block, a number or one a sample; those not named
                stand at their defaults. Values follow from where they were.

        Returns:
            The state after the block, and what comes out.

        Raises:
            ValueError: x has another number of channels than the model.
            IRError: the model has no such control, or the positions do not fit x.
        """
        block = jnp.asarray(x)
        self._check("x", block.shape)
        positions = self._positions(controls, len(block))
        if len(block) == 0:
            return state, jnp.zeros((0, self.outputs))
        return self._run(state, block, parameters, positions)

    def whole(
        self,
        x: Float[ArrayLike, "time inputs"],
        parameters: Any = None,
        *,
        chunk: int = 2**16,
        controls: Mapping[str, ArrayLike] | None = None,
    ) -> Float[Array, "time outputs"]:
        """A whole signal from rest, whose derivative needs memory for one chunk only.

        Of each chunk but the state at its beginning is kept; when the gradient is computed the
        chunk is run again. The model itself (`model(x)`) needs memory in proportion to the length,
        and is about three times as fast: see `benchmarks/README.md`.

        Args:
            x: Audio.
            parameters: The model's; those it was traced with if None.
            chunk: Samples a chunk. Memory grows with it; below a few thousand, time does too.
            controls: Where knobs stand, a number or one a sample of x.

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
        spread = {
            name: jnp.pad(jnp.broadcast_to(k, (length,)), (0, count * chunk - length), mode="edge")
            for name, k in self._positions(controls, length).items()
            if length
        }

        def step(state: Any, part: Any) -> tuple[Any, Array]:
            return self._block(state, part[0], parameters, part[1], in_place=False)

        parts = chunks.reshape(count, chunk, self.inputs)
        moves = {name: k.reshape(count, chunk) for name, k in spread.items()}
        y = jax.lax.scan(jax.checkpoint(step), self.start(parameters), (parts, moves))[1]
        return y.reshape(count * chunk, self.outputs)[:length]

    def process(
        self,
        blocks: Iterable[np.ndarray],
        *,
        block: int = BLOCK,
        parameters: Any = None,
        controls: Mapping[str, float] | None = None,
    ) -> Iterator[np.ndarray]:
        """Runs blocks (time, inputs) of any lengths, as they come.

        Args:
            blocks: The signal.
            block: The length of the blocks in which it is run, so that one is compiled.
            parameters: The model's; those it was traced with if None.
            controls: Where knobs stand.

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
                    state, y = self(state, waiting.copy(), parameters, controls)
                    held = 0
                    yield np.asarray(y)
        if held:
            waiting[held:] = 0
            yield np.asarray(self(state, waiting, parameters, controls)[1])[:held]

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

    def _positions(self, controls: Mapping[str, ArrayLike] | None, length: int) -> dict[str, Array]:
        check_names(self._graph, controls or {})
        found = {name: jnp.asarray(k) for name, k in (controls or {}).items()}
        for name, k in found.items():
            if k.shape not in ((), (length,)):
                raise IRError(
                    f"The positions of the control {name!r} have the shape {k.shape}; they must be "
                    f"a number, or {length}, one a sample."
                )
        return found

    def _check(self, name: str, shape: tuple[int, ...]) -> None:
        if len(shape) != 2 or shape[1] != self.inputs:
            raise ValueError(f"`{name}` has the shape {shape} but must be (time, {self.inputs}).")

    def _plan(self, parameters: Any, length: int, in_place: bool = True) -> Plan:
        given = self._traced.parameters if parameters is None else parameters
        coefficients = self._traced.coefficients(given)
        dtype = jnp.result_type(float)
        moved = tuple(self._graph.controls)
        return Plan(self._graph, coefficients, length, dtype, in_place=in_place, moved=moved)

    def _block(
        self,
        state: Any,
        x: Array,
        parameters: Any,
        controls: Mapping[str, Array],
        *,
        in_place: bool,
    ) -> tuple[Any, Array]:
        plan = self._plan(parameters, len(x), in_place)
        state, outputs = plan.run(state, [x.astype(plan.dtype).T], controls)
        return state, outputs[0].T


__all__ = ["Stream", "stream"]
