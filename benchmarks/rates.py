"""Reverberation times of models derived for other sample rates, against the model's own.

For each model and rate: the largest deviation of T30, the mean over ways from input to output,
over the octave bands that both rates have; in which band; what the derivation says of itself; how
long it took.

    python benchmarks/rates.py            # the table
    python benchmarks/rates.py hall geq   # some models
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import soundfile

from adac_jax import metrics, nn, presets
from adac_jax.bands import octave_centres
from adac_jax.rates import derive

RATES = (22050.0, 44100.0, 48000.0, 88200.0, 96000.0, 192000.0)
LINES, OUTPUTS, SECONDS = 16, 8, 3.0
DATA = Path(__file__).parents[2] / "shared" / "data" / "rir"
T60 = np.array([2.2, 2.3, 2.2, 2.0, 1.8, 1.6, 1.4, 1.1, 0.8, 0.55, 0.4])
"""Seconds: below the bands, from 63 Hz to 16 kHz, above: a hall with air in it."""


def network(absorption: Callable[..., Any], rate: float = 48000.0, **parts: Any) -> nn.FDN:
    """A network of `LINES` lines, from one channel to `OUTPUTS`, with an absorption."""
    m = nn.mutually_prime_delays(LINES, round(0.02 * rate), round(0.08 * rate))
    model = nn.FDN(m, outputs=OUTPUTS, absorption=absorption(m, sample_rate=rate), **parts)
    model.sample_rate = rate
    return model


def geq(kind: Any, train: str, rate: float = 48000.0) -> nn.FDN:
    """One whose absorption has octave bands; at 44.1 kHz these are one less."""
    values = T60 if rate > 45255 else np.delete(T60, -2)
    return network(lambda m, sample_rate: kind.from_t60(
        values, m, sample_rate=sample_rate, train=train), rate)  # fmt: skip


def sections(m: Any, sample_rate: float) -> nn.SOS:
    """What `AccurateGEQ` designs, as raw coefficients."""
    designed = nn.AccurateGEQ.from_t60(T60, m, sample_rate=sample_rate)
    return nn.SOS(len(m), np.asarray(designed.sos()))


def room() -> Any:
    """A room fitted to a measured response, if there is one."""
    from adac_jax import fitting

    found = sorted(DATA.glob("*.wav"))
    if not found:
        return None
    x, rate = soundfile.read(found[0], always_2d=True)
    return fitting.fit(x[:, :1], sample_rate=float(rate), steps=100).room


HEADER = """| model | made for | derived for | worst band | one line | out of loops | took |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |"""

MODELS: dict[str, Callable[[], Any]] = {
    "hall": presets.hall,
    "gain": lambda: network(lambda m, **k: nn.Gain.from_t60(2.0, m, **k)),
    "gain, T60 trained": lambda: network(lambda m, **k: nn.Gain.from_t60(2.0, m, train="t60", **k)),
    "one-pole, T60 trained": lambda: network(
        lambda m, **k: nn.OnePole.from_t60(2.0, 0.8, m, train="t60", **k)
    ),
    "first-order shelf": lambda: network(
        lambda m, **k: nn.FirstOrderShelf.from_t60(2.0, 0.5, m, frequency=3000.0, **k)
    ),
    "SVF": lambda: network(lambda m, **k: nn.SVF.from_t60(2.0, 0.6, m, frequency=4000.0, **k)),
    "biquad low-pass": lambda: network(
        lambda m, **k: nn.Biquad.from_t60(2.0, m, frequency=9000.0, **k)
    ),
    "PEQ": lambda: network(
        lambda m, **k: nn.PEQ.from_t60(
            np.geomspace(2.2, 0.6, 8), m, frequencies=np.geomspace(60, 12000, 8), **k
        )
    ),
    "GEQ": lambda: geq(nn.GEQ, "gain"),
    "GEQ, rates trained": lambda: geq(nn.GEQ, "rate"),
    "AccurateGEQ": lambda: geq(nn.AccurateGEQ, "gain"),
    "AccurateGEQ, T60 trained": lambda: geq(nn.AccurateGEQ, "t60"),
    "AccurateGEQ at 44.1 kHz": lambda: geq(nn.AccurateGEQ, "t60", 44100.0),
    "raw sections": lambda: network(sections),
    "fitted room": room,
}


def response(model: Any, rate: float, seconds: float = SECONDS) -> np.ndarray:
    """The impulse responses from every input to every output, (time, inputs · outputs)."""
    run, x = jax.jit(model), jnp.zeros((round(seconds * rate), model.inputs))
    return np.hstack([np.asarray(run(x.at[0, k].set(1.0))) for k in range(model.inputs)])


def band_t60(h: np.ndarray, rate: float, centres: tuple[float, ...]) -> np.ndarray:
    """T30 in each octave band, the mean over all ways."""
    decay = metrics.energy_decay(h, rate, centres)
    return np.mean(metrics.reverberation_time(decay, -5.0, -35.0), axis=-1)


def main(names: list[str]) -> None:
    """Prints the table."""
    # As export computes coefficients: in single precision JAX rounds those of low bands at 192 kHz.
    jax.config.update("jax_enable_x64", True)
    print(HEADER)
    for name, make in MODELS.items():
        if names and not any(part in name for part in names):
            continue
        model = make()
        if model is None:
            continue
        old = model.sample_rate
        own = response(model, old)
        for rate in RATES:
            if rate == old:
                continue
            centres = octave_centres(min(rate, old), 62.5, 16000.0)
            begun = time.perf_counter()
            found = derive(model, rate)
            took = time.perf_counter() - begun
            a = band_t60(own, old, centres)
            b = band_t60(response(found.model, rate), rate, centres)
            error = 100 * (b / a - 1)
            k = int(np.nanargmax(np.abs(error)))
            print(
                f"| {name} | {old:g} | {rate:g} | {error[k]:+.2f} % at {centres[k]:g} Hz "
                f"| {100 * found.error:.2f} % | {found.error_db:.2f} dB | {took:.1f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
