"""The C library that all formats are built round, against FAUST's JIT."""

from __future__ import annotations

import ctypes as c
import subprocess

import numpy as np
import plugin_model
import pytest
from plugin_fixtures import KNOBS, PRESETS, RATES, TOLERANCE, core, impulses, jit, needs, noise
from plugin_model import LATENCY

from adac_jax.host import denormals
from adac_jax.plugin.checking import loaded
from adac_jax.plugin.forms import TAIL_DECAYS

__all__ = ["core"]
TURNED = {"pre-gain": -9.3, "tone": 345.6, "mix": 0.37}
ORDER = list(KNOBS)


@pytest.fixture
def library(core):
    built, _ = core
    with loaded(built.paths["c"], built.metadata.prefix) as found:
        yield found


def turn(library, knobs):
    for name, value in knobs.items():
        library.call("set", library.handle, ORDER.index(name), value)


def values(library):
    return [library.call("get", library.handle, k) for k in range(len(ORDER))]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("blocks", [(1,), (4096,), (37,), (1, 4096, 37, 2, 999)], ids=str)
def test_impulse_responses_are_the_jits(library, rate, blocks):
    x = impulses(6000 if blocks == (1,) else 24000)
    assert library.init(rate) == 0
    np.testing.assert_allclose(library.process(x, blocks), jit(x, rate), rtol=0, atol=TOLERANCE)


def test_knobs_have_arrived_when_it_starts(library):
    turn(library, TURNED)
    library.init(48000)
    x = impulses()
    np.testing.assert_allclose(library.process(x), jit(x, 48000, TURNED), rtol=0, atol=TOLERANCE)
    library.call("reset", library.handle)
    np.testing.assert_allclose(library.process(x), jit(x, 48000, TURNED), rtol=0, atol=TOLERANCE)


def test_knobs_glide_while_it_runs(library):
    library.init(48000)
    turn(library, TURNED)
    x = noise()
    wanted = jit(x, 48000, TURNED, settled=False)
    np.testing.assert_allclose(library.process(x), wanted, rtol=0, atol=TOLERANCE)


def test_rates_that_there_is_no_form_for_are_silent(library):
    assert library.init(22050) == -1
    assert not library.process(noise()).any()
    assert library.init(44100) == 0
    assert library.process(noise()).any()
    assert [library.call("rate", k) for k in range(4)] == [*RATES, 0]


def test_it_says_its_latency_and_tail(library, core):
    _, versions = core
    for rate in RATES:
        library.init(rate)
        assert library.call("latency", library.handle) == LATENCY
        tail = library.call("tail", library.handle)
        certified = versions[rate].certificate.decay_seconds
        assert TAIL_DECAYS * certified < tail < TAIL_DECAYS * certified + 0.05
        # True to its word: 120 dB down when it is over.
        y = library.process(impulses(round(tail * rate) + 1000))
        assert np.max(np.abs(y[round(tail * rate) + LATENCY + 137 :])) < 1e-6 * np.max(np.abs(y))


def test_state_comes_back(library, core):
    built, _ = core
    turn(library, TURNED)
    size = library.call("state_size")
    state = c.create_string_buffer(size)
    assert library.call("state_save", library.handle, state, size - 1) == size
    assert state.raw == bytes(size)
    assert library.call("state_save", library.handle, state, size) == size
    with loaded(built.paths["c"], built.metadata.prefix) as other:
        assert other.call("state_load", other.handle, state, size) == 0
        assert values(other) == list(TURNED.values())


def test_state_that_is_none_changes_nothing(library):
    turn(library, TURNED)
    size = library.call("state_size")
    good = c.create_string_buffer(size)
    library.call("state_save", library.handle, good, size)
    rng = np.random.default_rng(1)
    for length in (0, 3, 7, 8, size - 1):
        assert library.call("state_load", library.handle, good.raw[:length], length) in (0, -3)
    assert library.call("state_load", library.handle, b"AJX1\xff\xff\xff\xff" + bytes(20), 28) == -3
    assert library.call("state_load", library.handle, b"nonsense" * 9, 72) == -3
    assert values(library) == list(TURNED.values())
    # Numbers that are none, and out of the range, stay in the range.
    for _ in range(200):
        broken = bytearray(good.raw)
        broken[8 + int(rng.integers(size - 8))] ^= 1 << int(rng.integers(8))
        library.call("state_load", library.handle, bytes(broken), size)
        for k, value in enumerate(values(library)):
            low, high = [(-24, 6), (100, 10000), (0, 1)][k]
            assert low <= value <= high


def test_presets_turn_all_knobs(library):
    names = [library.call("preset_name", k) for k in range(library.call("preset_count"))]
    assert names == [name.encode() for name in PRESETS]
    turn(library, TURNED)
    library.call("preset_load", library.handle, 1)
    assert values(library) == list((KNOBS | PRESETS["Half"]).values())
    library.call("preset_load", library.handle, 7)
    assert values(library) == list((KNOBS | PRESETS["Half"]).values())


def test_values_are_clipped_and_what_is_no_number_is_ignored(library):
    turn(library, {"tone": 1e9, "mix": -3.0, "pre-gain": np.inf})
    assert values(library) == [6.0, 10000.0, 0.0]
    turn(library, {"tone": np.nan})
    assert values(library) == [6.0, 10000.0, 0.0]


def test_bad_samples_do_not_stay(library):
    x = noise()
    x[1000] = [np.nan, np.inf]
    library.init(48000)
    y = library.process(x)
    assert np.all(np.isfinite(y))
    assert y[2000:].any()


def test_denormal_numbers_are_zero_and_the_hosts_own_bits_come_back(library):
    x = np.full((4000, 2), 1e-39, np.float32)
    turn(library, {"mix": 0.0})  # dry: what comes in goes out, if it is not flushed
    library.init(48000)
    before = (c.c_uint32 * 16)()
    register = denormals._register()
    if register is None:
        pytest.skip("no register of this processor is known")
    read, _, word, _ = register
    read(before)
    y = library.process(x)
    after = (c.c_uint32 * 16)()
    read(after)
    assert before[word] == after[word]
    assert not y.any()


def test_double_precision(tmp_path):
    settings = needs("c")
    built, _ = plugin_model.built(tmp_path / "plugin", settings, "double")
    x = impulses()
    with loaded(built.paths["c"], built.metadata.prefix) as library:
        for knobs in ({}, TURNED):
            turn(library, knobs)
            library.init(44100)
            wanted = jit(x, 44100, knobs, precision="double").astype(np.float32)
            # Only rounded at the end: half a unit in the last place of float32, twice.
            np.testing.assert_allclose(library.process(x), wanted, rtol=2.0**-23, atol=1e-30)


def test_exported_names_are_the_interfaces_own(core):
    built, _ = core
    done = subprocess.run(
        ["nm", "-D", "--defined-only", built.paths["c"]], capture_output=True, text=True
    )
    names = {line.split()[-1] for line in done.stdout.splitlines()}
    assert names
    assert all(name.startswith("twin_comb_") for name in names)
    assert not any(name.startswith("twin_comb_form") for name in names)
