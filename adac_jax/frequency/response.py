"""The frequency response of a model, as a function of frequency and parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Complex, Float

from adac_jax.errors import AdacError
from adac_jax.frequency.points import MAX_BINS, Bins, Frequencies, Points
from adac_jax.frequency.reading import Reading
from adac_jax.tracing import Traced, trace
from ir.passes import merge

CELLS = 2**16
"""Complex numbers that a chunk's largest array may hold: half a megabyte, which caches hold."""
CHUNKS = (64, 2048)
"""Bounds on the frequencies of a chunk chosen by itself."""


class FrequencyResponse:
    """H(e^jω) of a linear time-invariant model: Y = H X, from its own difference equations.

    Nothing is sampled in time or truncated: delays are phases, filters ratios of polynomials, and a
    loop is one system of linear equations a frequency, (I - P) v = Q, with as few unknowns as a cut
    through it has channels: N for a feedback delay network of N lines. Made by
    `adac_jax.frequency_response`; differentiable in the parameters and in ω, and works under `jit`,
    `grad` and `vmap`.

    Attributes:
        traced: The traced model.
        inputs: Input channels.
        outputs: Output channels.
        parameters: The parameters the model had, used where none are given.
    """

    def __init__(self, traced: Traced, chunk: int | None) -> None:
        self.traced, self.parameters = traced, traced.parameters
        graph = merge(traced.graph)
        values = traced.coefficients(traced.parameters)
        self._reading = Reading(graph, {k: np.asarray(v) for k, v in values.items()})
        self.inputs, self.outputs = graph.input_channels, graph.output_channels
        self._chunk = _chunk(self._reading) if chunk is None else chunk
        self._at = jax.jit(self._evaluate)
        self._at_bins = jax.jit(self._evaluate_bins, static_argnums=0)
        # Refuses now what would be refused at the first call.
        jax.eval_shape(self._at, jax.ShapeDtypeStruct((1,), jnp.result_type(float)), None)

    def __call__(
        self, omega: Float[Array, "*frequencies"], parameters: Any = None
    ) -> Complex[Array, "*frequencies outputs inputs"]:
        """H at any frequencies.

        In single precision the phase of a delay of m samples is off by up to 2^-23 m ω radians (a
        sixth of a degree for 8,000 samples at ω = π); `bins` has exact phases.

        Args:
            omega: ω in radians per sample, 2π f / sample rate; any real numbers, of any shape.
            parameters: As `parameters` of this object (for a module, its `nnx.state`).

        Returns:
            Complex64, or complex128 under x64.

        Raises:
            AdacError: omega is not real.
        """
        omega = jnp.asarray(omega)
        if jnp.issubdtype(omega.dtype, jnp.complexfloating):
            raise AdacError(f"`omega` (of type {omega.dtype}) must be real, in radians per sample.")
        return self._at(omega.astype(jnp.result_type(float)), parameters)

    def bins(self, n: int, parameters: Any = None) -> Complex[Array, "frequencies outputs inputs"]:
        """H at the bins of a real Fourier transform, ω_k = 2π k / n for k = 0 … n // 2.

        What `jnp.fft.rfft(h, n, axis=0)` is of the impulse responses h, if h ends before n samples;
        else that of h wrapped round, Σ_r h[t + r n]. A delay's phase is exp(-2πj (m k mod n) / n)
        with the product reduced in integers, so it is as exact for 100,000 samples as for one.

        Args:
            n: The transform's length, 1 to 2^28.
            parameters: As `parameters` of this object.

        Returns:
            Complex64, or complex128 under x64; n // 2 + 1 frequencies.

        Raises:
            AdacError: n is out of range.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= MAX_BINS:
            raise AdacError(f"`n` (={n}) must be a whole number from 1 to {MAX_BINS}.")
        return self._at_bins(int(n), parameters)

    def _evaluate(self, omega: Array, parameters: Any) -> Array:
        found = self._run(omega.ravel(), Frequencies, parameters)
        return found.reshape(*omega.shape, self.outputs, self.inputs)

    def _evaluate_bins(self, n: int, parameters: Any) -> Array:
        index = jnp.arange(n // 2 + 1, dtype=jnp.uint32)
        return self._run(index, partial(Bins, n=n, dtype=jnp.result_type(float)), parameters)

    def _run(self, where: Array, points: Callable[[Array], Points], parameters: Any) -> Array:
        """H at points (frequencies,), a chunk at a time."""
        dtype = jnp.result_type(float)
        coefficients = self.traced.coefficients(
            self.parameters if parameters is None else parameters
        )
        known = self._reading.known(coefficients, dtype)

        def chunk(where: Array) -> Array:
            found = self._reading.run(known, points(where), jnp.result_type(complex))
            return jnp.broadcast_to(found, (*found.shape[:-1], len(where)))

        size = max(1, min(self._chunk, len(where)))
        count = -(-len(where) // size)
        if count <= 1:
            return jnp.moveaxis(chunk(where), -1, 0)
        # The last chunk is filled by frequencies that are asked for anyway, and so are harmless.
        padded = jnp.pad(where, (0, count * size - len(where)), mode="edge")
        # The gradient computes each chunk again: keeping all of them takes as long and more memory.
        body = jax.checkpoint(chunk, prevent_cse=False)
        found = jax.lax.map(body, padded.reshape(count, size))
        found = jnp.moveaxis(found, -1, 1).reshape(count * size, self.outputs, self.inputs)
        return found[: len(where)]


def frequency_response(
    model: Any,
    *,
    parameters: Any = None,
    inputs: int | None = None,
    sample_rate: float = 48000.0,
    chunk: int | None = None,
) -> FrequencyResponse:
    """Traces a model and returns its frequency response, a function of ω and the parameters.

    The model must be linear and time-invariant, from rest: no nonlinear operation on a signal, no
    product of signals, no delay whose length is a signal, no constant added to a signal and no
    initial state. Whether a constant is zero is judged with the parameters that the model has now.

    Args:
        model: As for `adac_jax.trace`.
        parameters: As for `adac_jax.trace`.
        inputs: As for `adac_jax.trace`.
        sample_rate: The rate in hertz that the model was made for.
        chunk: Frequencies that are worked on at once, which bounds memory, that of the gradient
            too; by default as many as keep the matrices of the largest loop in the caches.

    Raises:
        RefusedError: the model is not linear and time-invariant; the message names the node.
        AdacError: `chunk` is out of range, or as `adac_jax.trace`.
    """
    if chunk is not None and chunk < 1:
        raise AdacError(f"`chunk` (={chunk}) must be at least 1.")
    traced = trace(model, parameters=parameters, inputs=inputs, sample_rate=sample_rate)
    return FrequencyResponse(traced, chunk)


def _chunk(reading: Reading) -> int:
    """Frequencies of a chunk, so that its largest array stays small."""
    loops = [n * (n + reading.columns) for n in reading.unknowns]
    nodes = [node.type.size for node in reading.graph.nodes]
    wanted = CELLS // max([1, *loops, *nodes])
    return min(max(wanted, CHUNKS[0]), CHUNKS[1])
