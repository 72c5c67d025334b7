"""Primitives that have no rule, why, and what to use in their place."""

from __future__ import annotations

Refusal = tuple[str, str]
"""Why, and what to do instead; either as sentences, the second may be empty."""


def _group(names: str, reason: str, instead: str = "") -> dict[str, Refusal]:
    return dict.fromkeys(names.split(), (reason, instead))


AHEAD: Refusal = (
    "it would need samples that have not arrived yet.",
    "Delay the signal by as many samples as it looks ahead, and report that latency.",
)

MEANINGLESS: dict[str, Refusal] = (
    _group(
        "all_gather all_to_all axis_index pmax pmin ppermute psum ragged_all_to_all pbroadcast "
        "pcast pgather psum_scatter reduce_scatter",
        "it exchanges values between devices, and a plugin runs on one.",
        "Leave it to the training code, round the model.",
    )
    | _group(
        "after_all create_token",
        "it orders side effects, and audio has none.",
        "Take it out of the model.",
    )
    | _group(
        "stage",
        "it says where code is compiled, which is nothing that is heard.",
        "Take it out of the model.",
    )
)
"""What has no meaning for one sample of audio."""

REFUSED: dict[str, Refusal] = (
    _group(
        "fft",
        "a Fourier transform over time needs the whole signal.",
        "Use fir(x, taps) for a convolution, or a filter.",
    )
    | _group(
        "complex conj imag real",
        "the IR has no complex numbers.",
        "Keep real and imaginary parts as two channels.",
    )
    | _group(
        "bessel_i0e bessel_i1e digamma igamma igamma_grad_a igammac lgamma polygamma "
        "regularized_incomplete_beta zeta",
        "FAUST has no such function.",
        "Use a polynomial or rational approximation over the range that is heard.",
    )
    | _group(
        "bitcast_convert_type clz mulhi nextafter population_count reduce_xor",
        "it works on the bits of numbers, for which FAUST has no function.",
        "Use arithmetic, &, |, ^ and shifts of 32-bit integers.",
    )
    | _group(
        "rng_bit_generator rng_uniform random_bits random_fold_in random_seed random_split "
        "random_unwrap random_wrap threefry2x32",
        "JAX's random numbers come from a cipher over the bits of a counter.",
        "Use adac_jax.noise, which FAUST computes bit for bit alike, or pass noise in.",
    )
    | _group(
        "reduce reduce_window",
        "it reduces by a function of its own.",
        "Use jnp.sum, prod, max or min, or a scan.",
    )
    | _group(
        "scatter-max scatter-min scatter-mul scatter-sub",
        "it combines numbers in place.",
        "Use x.at[…].add or .set.",
    )
    | _group(
        "select_and_gather_add select_and_scatter select_and_scatter_add",
        "it is part of the derivative of a maximum over windows.",
        "Export the model, not its gradient.",
    )
    | _group(
        "custom_linear_solve cholesky lu eigh qr svd triangular_solve schur tridiagonal_solve",
        "it solves a system of equations whose matrix is a signal.",
        "Write the solution out, or iterate with lax.fori_loop.",
    )
    | _group("approx_top_k", "its result is not exact.", "Use lax.top_k.")
)
"""What has a meaning, and no rule."""

NO_RULE = MEANINGLESS | REFUSED
