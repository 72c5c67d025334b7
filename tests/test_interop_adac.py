"""FLAMO's models, as adac writes them, respond as their JSON says."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from adac_documents import (
    delays,
    document,
    leaf,
    network,
    parallel,
    random,
    recursion,
    response,
    series,
)

import adac_jax
from adac_jax import interop

W = np.linspace(0.01, 3.1, 64)
# Float64 on both sides, from the same numbers. Phases of at most 30 samples and 12 sections in a
# row are off by some 100 roundings; the poles are at least 2e-3 from the circle, and zeros and
# poles of a section cancel at most (0.01)^-2 = 1e4 times: 100 * 1e4 * 2^-53 * 20 (the peak) = 2e-9.
TOLERANCE = 2e-9

TYPES = ("lowpass", "highpass", "bandpass", "lowshelf", "highshelf", "peaking", "notch", None)
SECTIONS = random(5, 2, 3, 5, low=-0.4, high=0.4)
RAW = np.concatenate(
    [random(6, 2, 3, 2, 3), 2 + 0 * random(7, 2, 1, 2, 3), random(8, 2, 2, 2, 3)], 1
)


def _biquads() -> dict:
    found = {}
    for kind, count in (("lowpass", 2), ("highpass", 2), ("bandpass", 3)):
        for module, channels in (("Biquad", (2, 3)), ("parallelBiquad", (3,))):
            raw = np.sort(random(9, 2, count, *channels, low=0.1, high=0.9), axis=1)
            found[f"{module} {kind}"] = leaf(module, {"raw": raw}, filter_type=kind)
    return found


def _svfs() -> dict:
    return {
        f"{module} {kind}": leaf(
            module, {"raw": random(10, 5, 2, *channels)}, **({"filter_type": kind} if kind else {})
        )
        for kind in TYPES
        for module, channels in (("SVF", (2, 3)), ("parallelSVF", (3,)))
    }


MODELS = {
    "network": network(),
    "network, hundredths of seconds": network(unit=100, isint=False),
    "fractional delays": series(network((7.25, 11.5, 13.0, 17.75), isint=False)),
    "branches added": parallel(network(), leaf("Gain", {"matrix": random(11, 2, 1)}), added=True),
    "branches joined": parallel(network(), leaf("Gain", {"gains": [0.5]}), added=False),
    "loop in a loop": recursion(
        series(
            delays(5, 9), recursion(delays(3, 4), leaf("Gain", {"matrix": random(12, 2, 2) / 4}))
        ),
        leaf("HouseholderMatrix", {"matrix": np.array([[0.0, -0.5], [-0.5, 0.0]])}),
    ),
    "sections": leaf("parallelSOSFilter", {"sos": SECTIONS}),
    "sections between all": leaf("parallelSOSFilter", {"raw": RAW}),
    "equaliser": leaf("GEQ", {"raw": random(13, 12, 2, 2, low=0.5, high=2)}, octave_interval=1),
    "equalisers": leaf("parallelGEQ", {"raw": random(14, 12, 2, low=0.5, high=2)}),
    "taps": leaf("Filter", {"raw": random(15, 6, 2, 3)}),
    "taps a channel": leaf("parallelFilter", {"raw": random(16, 6, 3)}),
    **_biquads(),
    **_svfs(),
}


@pytest.mark.parametrize("name", MODELS)
def test_response(name):
    content = document(MODELS[name])
    expected = response(content, W)
    with jax.enable_x64(True):
        model = interop.adac(content)
        found = np.asarray(adac_jax.frequency_response(model)(W))
    assert model.sample_rate == 48000
    assert found.shape == expected.shape == (len(W), model.outputs, model.inputs)
    assert np.max(np.abs(found - expected)) <= TOLERANCE


def test_faust():
    filtered = series(network(), leaf("parallelSOSFilter", {"sos": SECTIONS[:, :2]}))
    report = adac_jax.verify(interop.adac(document(filtered)), seconds=0.1)
    assert report.passed, report.checks


def test_a_loop_without_delay_is_refused():
    gain = leaf("Gain", {"gains": [0.5]})
    with pytest.raises(adac_jax.DelayFreeLoopError):
        adac_jax.trace(interop.adac(document(recursion(gain, gain))))


@pytest.mark.parametrize(
    ("core", "words"),
    [
        ({"type": "Loop"}, "`children[0].type` (='Loop') must be one of 'Shell', 'Series'"),
        (series(), "`children[0].children` (=a list of 0) must be a list of one or more"),
        (leaf("PEQ", {"raw": [[1.0]]}), "(='PEQ') must be one of 'Gain', 'Matrix'"),
        (leaf("Gain", {"matrix": [[1.0, np.nan]]}), "matrix[0][1]` (=nan) must be a finite number"),
        (
            leaf("Gain", {"matrix": [[1.0, 2.0], [3.0]]}),
            "matrix[1]` (=a list of 1) must be a list of 2",
        ),
        (leaf("Gain", {}), "`children[0].params` has no `gains`; it has none."),
        (delays(3, -4), "must be a list of delays from 0 to 16777216 samples"),
        (
            recursion(delays(3), delays(4, 5)),
            "takes 1 channels and gives 1, but the path back takes 2",
        ),
        (series(delays(3), delays(4, 5)), "gives 1 channels, but 'delay' (module 1) takes 2"),
        (leaf("parallelGEQ", {"raw": [[1.0]] * 5}), "must be a list of 12 or 30 gains"),
        (leaf("SVF", {"raw": [[[[1e30]]]] * 5}), "must be a leaf of usable numbers"),
        (delays(3) | {"input_channels": 2}, "`children[0].input_channels` (=2) must be"),
    ],
)
def test_errors(core, words):
    with pytest.raises(interop.FormatError) as caught:
        interop.adac(document(core), "room.json")
    message = str(caught.value)
    assert message.startswith("room.json: `children[0]")
    assert words in message
    assert message.endswith(".")


def test_depth_is_bounded():
    core = delays(1)
    for _ in range(80):
        core = series(core)
    with pytest.raises(interop.FormatError, match="nested at most 64 deep"):
        interop.adac(document(core))


def test_controls_are_no_part_of_a_model():
    with pytest.raises(interop.FormatError, match="adac adds controls"):
        interop.adac(document(delays(1)) | {"controls": {"rt60": True}})
