"""The live plugin's core, driven through ctypes: the channel, updates, forms, state.

Its thread does not run here (ADAC_JAX_LIVE_STILL): the tests say when it looks.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib

import numpy as np
import pytest
from flax import nnx
from live_models import Comb, moved, room
from live_plugin import (
    DRY,
    FOLLOWS,
    KEEPS,
    MISSING,
    RATE,
    REFUSED,
    Live,
    begun,
    closed,
    session,
    stereo,
)  # fmt: skip
from live_sound import RATE as HERTZ
from live_sound import above, sine

import adac_jax
from adac_jax import nn
from adac_jax.errors import AdacError
from adac_jax.live import channel, compiled, feed
from adac_jax.live.installing import install
from adac_jax.plugin import find_tools

BEGIN = 2 * HERTZ
CHUNK = 64


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    try:
        find_tools(("c",))
    except AdacError as error:
        pytest.skip(str(error))
    return install(tmp_path_factory.mktemp("live"), ("c",))["c"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One for all tests, so that each form is compiled once."""
    return tmp_path_factory.mktemp("cache") / "live"


@pytest.fixture(autouse=True)
def folder(cache, monkeypatch):
    monkeypatch.setenv("ADAC_JAX_LIVE", str(cache))
    monkeypatch.setenv("ADAC_JAX_LIVE_STILL", "1")
    return cache


@pytest.fixture
def live(library):
    made = []

    def make(rate: float = HERTZ) -> Live:
        made.append(Live(library, rate))
        return made[-1]

    yield make
    for instance in made:
        instance.close()


def told(training, *updates):
    """Has plugins know of updates."""
    for state in updates:
        training.update(state)
    assert training.flush(30)
    assert training.plugin.flush(60)
    assert not training.plugin.problem


def hall():
    m = nn.mutually_prime_delays(8, 960, 3840)
    absorption = nn.OnePole.from_t60(2.0, 0.8, m, sample_rate=HERTZ)
    return nn.FDN(m, absorption=absorption, outputs=2, rngs=nnx.Rngs(1))


def test_without_a_training_it_is_dry(live):
    plugin = live()
    x = np.random.default_rng(0).uniform(-1, 1, (5000, 2)).astype(np.float32)
    np.testing.assert_array_equal(plugin.process(x), x)
    assert plugin.status == DRY


def test_it_plays_the_model_from_the_first_sample(live):
    x = sine(1.0)
    with session(Comb()) as training:
        plugin = live()
        assert plugin.status == FOLLOWS
        y, wanted = plugin.process(stereo(x)), closed(training, x)
    np.testing.assert_allclose(y[:, :1], wanted, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(y[:, 0], y[:, 1])
    plugin.follow()
    assert plugin.status == KEEPS


@pytest.mark.parametrize("lines", [4, 9, 16])
def test_filters_that_run_side_by_side(live, lines):
    """Also where lines are no whole number of registers, and the numbers have moved."""
    model = room(lines)
    x = np.random.default_rng(0).uniform(-0.5, 0.5, 24000)
    with session(model) as training:
        plugin = live()
        plugin.process(stereo(x[:100]))
        told(training, moved(nnx.split(model)[1], np.random.default_rng(3), 0.05))
        plugin.follow()
        plugin.process(stereo(np.zeros(2000)))
        plugin.call("reset", plugin.handle)
        y, wanted = plugin.process(stereo(x)), closed(training, x)
    # Filters of the open form are written otherwise: 1e-6 of the peak.
    np.testing.assert_allclose(y[:, :1], wanted, rtol=0, atol=1e-6 * np.max(np.abs(wanted)))


def test_the_first_model_fades_in(live):
    plugin = live()
    x = stereo(sine(3.0))
    before = plugin.process(x[:BEGIN])
    with session(Comb()):
        plugin.follow()
        y = np.concatenate([before, plugin.process(x[BEGIN:])])
    assert above(y, first=BEGIN) < -120


def test_a_models_latency_is_the_plugins(live):
    """It is the model's that is played; with none there is none."""
    plugin = live()
    assert plugin.call("latency", plugin.handle) == 0
    late = Comb()
    late.latency = 37
    with session(late) as training:
        plugin.follow()
        assert plugin.call("latency", plugin.handle) == training.form(0).latency == 37
    with session(Comb()):
        plugin.follow()
        assert plugin.call("latency", plugin.handle) == 0


def updates(live, count: int) -> tuple[float, float, float]:
    """Energy above 6 kHz without and with updates, and the error of what is played after them."""
    graph, state = nnx.split(hall())
    rng = np.random.default_rng(2)
    seconds = 5.0
    x = stereo(sine(seconds))
    with session(nnx.merge(graph, state)) as training:
        still, plugin = live(), live()
        alone = above(still.process(x), first=BEGIN)
        parts = [plugin.process(x[:BEGIN])]
        for part in np.array_split(x[BEGIN : round(4.9 * HERTZ)], count):
            state = moved(state, rng)
            told(training, state)
            plugin.follow()
            parts.append(plugin.process(part))
        parts.append(plugin.process(x[round(4.9 * HERTZ) :]))
        moving = above(np.concatenate(parts), first=BEGIN)
        # What sounded before has died away: 5 s of a reverberation of 2 s, 150 dB.
        plugin.process(np.zeros((5 * HERTZ, 2), np.float32))
        impulse = np.zeros(HERTZ)
        impulse[0] = 1.0
        y, wanted = plugin.process(stereo(impulse)), closed(training, impulse)
    return alone, moving, float(np.max(np.abs(y - wanted)))


@pytest.mark.parametrize("count", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_updates_are_not_heard_above_the_sine(live, count):
    alone, moving, error = updates(live, count)
    assert alone < -120
    assert moving < alone + 3
    assert error < 1e-6


def test_other_topologies_spill_over(live):
    models = [Comb(), Comb((331, 421)), Comb((353, 433))]
    x = sine(6.0)
    plugin = None
    parts = []
    with session(models[0]) as training:
        plugin = live()
        parts.append(plugin.process(stereo(x[:BEGIN])))
        for k, part in enumerate(np.array_split(x[BEGIN:], 20), 1):
            told(training, models[k % 3])
            plugin.follow()
            parts.append(plugin.process(stereo(part)))
        assert above(np.concatenate(parts), first=BEGIN) < -120
        # The last one alone is left when the others have rung out.
        y = plugin.process(np.zeros((3 * HERTZ, 2), np.float32))
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, HERTZ)
        y = plugin.process(stereo(noise))
        np.testing.assert_allclose(y[:, :1], closed(training, noise), rtol=0, atol=1e-6)


def test_the_tail_of_an_old_form_is_kept(live):
    x = np.zeros(HERTZ)
    x[100] = 1
    at = 200 * CHUNK
    with session(Comb()) as training:
        plugin = live()
        wanted = closed(training, x)
        parts = [plugin.process(stereo(x[:at]))]
        told(training, Comb((331, 421)))
        plugin.follow()
        parts.append(plugin.process(stereo(x[at:])))
    np.testing.assert_allclose(np.concatenate(parts)[:, :1], wanted, rtol=0, atol=1e-6)


def test_knobs_stay_where_they_are(live):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, HERTZ)

    def level(plugin):
        return np.sqrt(np.mean(plugin.process(stereo(noise))[HERTZ // 2 :] ** 2))

    with session(Comb(knob=True)) as training:
        plain, plugin = live(), live()
        # In the middle it is the model's own.
        y = plain.process(stereo(noise))
        np.testing.assert_allclose(y[:, :1], closed(training, noise), rtol=0, atol=1e-6)
        plugin.turn(0, 1.0)
        assert level(plugin) == pytest.approx(2 * level(plain), rel=1e-3)
        told(training, Comb((331, 421), knob=True))
        for instance in (plain, plugin):
            instance.follow()
        quiet = np.zeros((3 * HERTZ, 2), np.float32)
        for instance in (plain, plugin):
            instance.process(stereo(noise))
            instance.process(quiet)
        assert level(plugin) == pytest.approx(2 * level(plain), rel=1e-3)
        assert plugin.knobs == [1.0, *[0.5] * 15]
        late = live()
        assert late.load(plugin.save()) == 0
        assert late.knobs == plugin.knobs
        assert level(late) == pytest.approx(2 * level(plain), rel=1e-2)
        plugin.turn(0, 0.25)
        level(plugin)
        assert level(plugin) == pytest.approx(0.5 * level(plain), rel=1e-3)


def test_state_brings_the_model_back(live):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, HERTZ)
    with session(Comb()) as training:
        plugin = live()
        plugin.turn(3, 0.75)
        state, wanted = plugin.save(), closed(training, noise)
    other = live()
    assert other.status == DRY
    assert other.load(state) == 0
    assert other.status == KEEPS
    assert other.knobs == plugin.knobs
    y = other.process(stereo(noise))
    np.testing.assert_allclose(y[:, :1], wanted, rtol=0, atol=1e-6)
    assert other.save() == state


def test_state_that_is_none_changes_nothing(live):
    with session(Comb()):
        state = live().save()
    plugin = live()
    rng = np.random.default_rng(0)
    for length in (0, 7, 50, len(state) - 1):
        assert plugin.load(state[:length]) != 0
    for _ in range(100):
        broken = bytearray(state)
        broken[int(rng.integers(len(state)))] ^= 1 << int(rng.integers(8))
        assert plugin.load(bytes(broken)) != 0
    assert plugin.status == DRY


def signed(body: bytes) -> bytes:
    return b"AJL1" + struct.pack("<I", zlib.crc32(body)) + body


def test_state_of_a_form_that_is_not_here(live):
    with session(Comb()):
        state = live().save()
    body = bytearray(state[8:])
    body[64] ^= 1
    plugin = live()
    x = stereo(sine(0.1))
    assert plugin.load(signed(bytes(body))) == 0
    assert plugin.status == MISSING
    np.testing.assert_allclose(plugin.process(x), x, atol=1e-7)


def test_other_numbers_than_the_form_takes(live):
    with session(Comb()):
        state = live().save()
    body = state[8:-12] + state[-8:]
    head = bytearray(body)
    struct.pack_into("<I", head, 64 + 32 + 8, (len(state) - 8 - 108) // 4 - 1)
    plugin = live()
    assert plugin.load(signed(bytes(head))) == 0
    assert plugin.status == MISSING


def test_at_another_rate_it_is_dry(live):
    x = stereo(sine(0.1))
    with session(Comb()):
        plugin = live(44100)
        assert plugin.status == RATE
        np.testing.assert_array_equal(plugin.process(x), x)
        plugin.init(HERTZ)
        assert plugin.status == FOLLOWS


def test_a_training_that_comes_back(live):
    with session(Comb()):
        plugin = live()
    plugin.follow()
    assert plugin.status == KEEPS
    with session(Comb((331, 421))):
        plugin.follow()
        assert plugin.status == FOLLOWS


def test_numbers_that_run_away_are_stopped(live):
    noise = stereo(np.random.default_rng(0).uniform(-0.5, 0.5, HERTZ))
    training, end = begun(Comb())
    with training:
        plugin = live()
        newest = training.step()
        identity = compiled.compiled(training.form(0))
        end._channel.write(identity, HERTZ, 1, newest.values * 4)
        plugin.follow()
        y = plugin.process(np.tile(noise, (3, 1)))
        assert np.all(np.isfinite(y))
        assert np.max(np.abs(y)) < 16
        end._channel.write(identity, HERTZ, 2, newest.values)
        plugin.follow()
        plugin.process(np.zeros((HERTZ, 2), np.float32))
        wanted = closed(training, noise[:, 0])
        np.testing.assert_allclose(plugin.process(noise)[:, :1], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("blocks", [(1,), (37, 4096, 2), (64,)], ids=str)
def test_blocks_of_any_length(live, blocks):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 6000)
    with session(Comb()) as training:
        y = live().process(stereo(noise), blocks)
        np.testing.assert_allclose(y[:, :1], closed(training, noise), rtol=0, atol=1e-6)


# The folder and the file.


def refused(library, live, match):
    with pytest.raises(AdacError, match=match):
        channel.Channel()
    plugin = live()
    assert plugin.status == REFUSED


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o704])
def test_a_folder_that_is_open_to_others_is_refused(library, live, tmp_path, monkeypatch, mode):
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(mode)
    monkeypatch.setenv("ADAC_JAX_LIVE", str(place))
    refused(library, live, "is open to others")


def test_a_link_to_a_folder_is_refused(library, live, tmp_path, monkeypatch):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("ADAC_JAX_LIVE", str(tmp_path / "link"))
    refused(library, live, "no link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_somebody_else_is_refused(library, live, tmp_path, monkeypatch):
    place = tmp_path / "other"
    place.mkdir(mode=0o700)
    os.chown(place, 12345, 12345)
    monkeypatch.setenv("ADAC_JAX_LIVE", str(place))
    refused(library, live, "belongs to somebody else")


def form_file(folder, state: bytes):
    return folder / "forms" / f"{state[72:104].hex()}.so"


@pytest.mark.parametrize("harm", ["writable", "broken", "link"])
def test_forms_that_others_may_have_changed_are_refused(live, folder, tmp_path, harm):
    with session(Comb((311, 409))):
        state = live().save()
    path = form_file(folder, state)
    kept = path.read_bytes()
    path.unlink()
    if harm == "link":
        (tmp_path / "form.so").write_bytes(kept)
        (tmp_path / "form.so").chmod(0o500)
        path.symlink_to(tmp_path / "form.so")
    else:
        broken = bytearray(kept)
        broken[len(kept) // 2] ^= harm == "broken"
        path.write_bytes(broken)
        path.chmod(0o502 if harm == "writable" else 0o500)
    plugin = live()
    plugin.load(state)
    assert plugin.status == MISSING
    path.unlink()
    with session(Comb((311, 409))):  # it is compiled anew
        assert live().status == FOLLOWS


def test_what_is_kept_in_the_folder_is_private(folder):
    with session(Comb()):
        for path in (folder, *folder.rglob("*")):
            assert path.lstat().st_mode & 0o077 == 0, path
        assert (folder / "channel").is_file()
    assert not (folder / "channel").exists()


def test_only_one_training_has_the_channel():
    with session(Comb()), pytest.raises(AdacError, match="Another session"):
        adac_jax.live(Comb(), page=False, plugin=True)
    with session(Comb()):
        pass


def test_the_same_topology_is_compiled_once(monkeypatch):
    first, second = Comb((317, 421)), Comb((317, 421))
    second.gains[...] = second.gains[...] * 0.9
    with session(first) as training:
        one = compiled.compiled(training.form(0))
    monkeypatch.setattr(compiled, "c_source", None)
    with session(second) as training:
        assert compiled.compiled(training.form(0)) == one


def test_a_form_that_does_not_compile_is_said(monkeypatch):
    def broken(*_):
        raise AdacError("The compiler is tired.")

    monkeypatch.setattr(feed, "compiled", broken)
    training = adac_jax.live(Comb(), page=False, plugin=True)
    assert training.plugin is not None
    assert training.plugin.flush(30)
    training.update(Comb())  # goes on
    with pytest.warns(UserWarning, match="cannot play the model: The compiler is tired"):
        training.close()


def test_numbers_are_never_half_seen(live):
    """One writes as fast as it can, one reads: all numbers of a reading are of one writing.

    The form's file is not there, so that the plugin has nothing else to do; its state shows what
    it has read.
    """
    plugin = live()
    count, ends = 3000, threading.Event()
    end = channel.Channel()
    written = [0]

    def write():
        values = np.empty(count)
        while not ends.is_set():
            written[0] += 1
            values.fill(written[0] % 1_000_000)
            end.write(b"x" * 32, float(HERTZ), written[0], values)

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    try:
        for _ in range(20_000):
            if len(seen) == 50:
                break
            plugin.follow()
            state = plugin.save()
            values = np.frombuffer(state[8 + 64 + 32 + 8 + 4 :], np.float32)
            assert len(np.unique(values)) <= 1
            seen.update(values[:1].tolist())
    finally:
        ends.set()
        thread.join()
        end.close()
    assert len(seen) == 50
    assert plugin.status == MISSING
