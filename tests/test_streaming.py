"""Streaming: any blocks give the whole signal, in constant memory, with the model's gradient."""

from __future__ import annotations

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
import soxr
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import adac_jax
from adac_jax import nn

RATE = 8000
DELAYS = (13, 17, 29)
GAIN = 0.8  # of the loop, at most: its matrix is a reflection, its one-poles have 0.8 at 0 Hz
LENGTH = 600

OPERATIONS = 64
"""Roundings that a sample meets on one way through the model: 3 for each one-pole, 5 for a row of
the matrix, 10 for the FIR, 9 for the biquad, 4 for the gains, and as many again, about, where a
filter is computed as a block: a logarithm of its length for a scan."""


def room(outputs: int = 2) -> nn.Module:
    """A network with filters and a delay around it: every kind of state."""
    lines = len(DELAYS)
    network = nn.FDN(
        DELAYS,
        inputs=1,
        outputs=outputs,
        matrix="householder",
        absorption=nn.OnePole(lines, GAIN, 0.4),
        input_gain=np.ones((lines, 1)),
        output_gain=np.linspace(-1, 1, outputs * lines).reshape(outputs, lines),
    )
    taps = np.array([[0.4], [0.3], [-0.2], [0.05], [0.05]])
    return nn.Serial(
        nn.FIR(1, taps),
        network,
        nn.Delay([3] * outputs),
        nn.Biquad(outputs, "lowpass", frequency=1500.0, sample_rate=RATE),
    )


def plain() -> nn.Module:
    """A network that is compiled sooner."""
    return nn.FDN((7, 11), inputs=1, outputs=1, matrix="householder", absorption=[0.5, 0.5])


def tolerance(dtype: type) -> float:
    """How far two readings of `room` may lie apart for signals in -1 … 1.

    The FIR passes 1 at most (its taps' sizes add up to one), so what is in the loop has a norm of
    at most √3 / (1 - 0.8); each of the roundings on the way is half an epsilon of that, goes round
    with the gain 0.8, and out with the norm of a row of gains, at most √3. Both readings round.
    """
    level = np.sqrt(3) / (1 - GAIN)
    return 2 * OPERATIONS * float(np.finfo(dtype).eps) / 2 * level * np.sqrt(3) / (1 - GAIN)


def noise(length: int = LENGTH, channels: int = 1, dtype: type = np.float64) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, (length, channels)).astype(dtype)


@pytest.fixture(scope="module", params=[np.float64, np.float32], ids=["float64", "float32"])
def case(request):
    """Precision, stream, audio, and what the model itself gives."""
    dtype = request.param
    with jax.enable_x64(dtype is np.float64), jax.numpy_dtype_promotion("strict"):
        model = room()
        x = noise(dtype=dtype)
        whole = np.asarray(jax.jit(model)(jnp.asarray(x)))
        assert whole.dtype == dtype
        assert np.max(np.abs(whole)) > 0.5
        return dtype, adac_jax.stream(model, sample_rate=RATE), x, whole


@pytest.fixture(scope="module")
def single():
    """A stream in float32, compiled once for the tests that need one length only."""
    return adac_jax.stream(room(), sample_rate=RATE)


def streamed(stream, x: np.ndarray, cuts: list[int]) -> np.ndarray:
    state, parts = stream.start(), []
    for begin, end in itertools.pairwise([0, *cuts, len(x)]):
        state, y = stream(state, x[begin:end])
        parts.append(np.asarray(y))
    return np.concatenate(parts)


# Lengths from a few, so that each is compiled once: below, at and above the shortest delay, and
# many times it; their sums put cuts anywhere.
LENGTHS = (1, 13, 101)
PIECES = st.lists(st.sampled_from([0, *LENGTHS]), max_size=12)


@given(pieces=PIECES)
@settings(max_examples=12, deadline=None)
@pytest.mark.parametrize("case", [np.float64], ids=["float64"], indirect=True)
def test_any_blocks_give_the_whole(case, pieces: list[int]):
    dtype, stream, x, whole = case
    cuts = [c for c in np.cumsum(pieces).tolist() if c < LENGTH]
    # what is left goes in pieces of these lengths too
    while (left := LENGTH - (cuts[-1] if cuts else 0)) > 1:
        cuts.append(LENGTH - left + max(n for n in LENGTHS if n <= left))
    with jax.enable_x64(dtype is np.float64):
        found = streamed(stream, x, cuts)
    assert found.dtype == dtype
    assert found.shape == whole.shape
    assert np.max(np.abs(found - whole)) <= tolerance(dtype)


def test_whole_is_the_model(case):
    dtype, stream, x, whole = case
    with jax.enable_x64(dtype is np.float64):
        y = np.asarray(stream.whole(x, chunk=101))
    assert y.dtype == dtype
    assert np.max(np.abs(y - whole)) <= tolerance(dtype)


def test_a_model_with_nothing_to_remember():
    stream = adac_jax.stream(lambda x: jnp.tanh(2 * x), inputs=2)
    x = noise(50, 2, np.float32)
    state = stream.start()
    assert jax.tree.leaves(state) == []
    assert np.array_equal(streamed(stream, x, [7, 20]), np.asarray(jnp.tanh(2 * x)))
    assert (stream.inputs, stream.outputs, stream.sample_rate) == (2, 2, 48000.0)


def test_state_is_a_pytree_whose_size_does_not_depend_on_the_signal(single):
    stream = single
    state = stream.start()
    shapes = jax.tree.map(lambda a: (a.shape, a.dtype), state)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    # every line is there, and a little for the filters
    kept = sum(leaf.size for leaf in jax.tree.leaves(state))
    assert sum(DELAYS) <= kept <= 2 * sum(DELAYS) + 3 * max(DELAYS)
    for length in (1, 100, 3000):
        after, y = stream(state, noise(length, dtype=np.float32))
        assert jax.tree.map(lambda a: (a.shape, a.dtype), after) == shapes
        assert y.shape == (length, 2)
    # a block without samples leaves the state as it is
    same, y = stream(after, np.zeros((0, 1), np.float32))
    assert y.shape == (0, 2)
    assert y.dtype == jnp.float32
    assert all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(after), strict=True)
    )


def test_a_stream_goes_on_from_any_state(single):
    """Two streams from one state do not disturb each other: nothing is kept but the state."""
    stream = single
    x = noise(dtype=np.float32)
    state, _ = stream(stream.start(), x[:200])
    _, first = stream(state, x[200:300])
    stream(state, -x[200:300])
    _, again = stream(state, x[200:300])
    assert np.array_equal(first, again)


@pytest.mark.parametrize("shape", [(10, 2), (10, 0), (10,), (1, 10, 1)])
def test_wrong_channels_are_refused(shape: tuple[int, ...]):
    stream = adac_jax.stream(lambda x: 2 * x, inputs=1)
    x = np.zeros(shape, np.float32)
    message = rf"has the shape \({', ?'.join(map(str, shape))},?\) but must be \(time, 1\)"
    with pytest.raises(ValueError, match=message):
        stream(stream.start(), x)
    with pytest.raises(ValueError, match=message):
        stream.whole(x)
    with pytest.raises(ValueError, match=message):
        list(stream.process([np.zeros((3, 1)), x]))


@pytest.mark.parametrize("size", [0, -1])
def test_blocks_have_a_sample_at_least(size: int):
    stream = adac_jax.stream(lambda x: 2 * x, inputs=1)
    with pytest.raises(ValueError, match=rf"`chunk` \(={size}\) must be at least 1"):
        stream.whole(noise(), chunk=size)
    with pytest.raises(ValueError, match=rf"`block` \(={size}\) must be at least 1"):
        list(stream.process([noise()], block=size))


def test_sample_rate_is_the_models_or_as_given():
    def double(x):
        return 2 * x

    assert adac_jax.stream(double, inputs=1).sample_rate == 48000.0
    assert adac_jax.stream(double, inputs=1, sample_rate=96000).sample_rate == 96000.0
    double.sample_rate = 44100
    assert adac_jax.stream(double, inputs=1).sample_rate == 44100.0
    with pytest.raises(adac_jax.AdacError, match=r"`sample_rate` \(=fast\) must be"):
        adac_jax.stream(double, inputs=1, sample_rate="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize("lengths", [[LENGTH], [1] * LENGTH, [0, 333, 0, 0, 267], [102, 100, 398]])
def test_process_takes_blocks_of_any_lengths(case, lengths: list[int]):
    dtype, stream, x, whole = case
    with jax.enable_x64(dtype is np.float64):
        blocks = np.split(x, np.cumsum(lengths)[:-1])
        found = list(stream.process(iter(blocks), block=101))
    assert [len(y) for y in found] == [101] * 5 + [LENGTH - 505]
    assert np.max(np.abs(np.concatenate(found) - whole)) <= tolerance(dtype)


def test_process_of_nothing_is_nothing(single):
    assert list(single.process([])) == []
    assert list(single.process([np.zeros((0, 1))])) == []
    assert single.whole(np.zeros((0, 1), np.float32)).shape == (0, 2)


def test_process_reads_no_more_than_it_needs():
    """What came in is given out before more is asked for: a live signal has no end."""
    stream = adac_jax.stream(lambda x: 2 * x, inputs=1)
    asked = 0

    def blocks():
        nonlocal asked
        while True:
            asked += 1
            yield np.full((64, 1), float(asked))

    for k, y in enumerate(itertools.islice(stream.process(blocks(), block=64), 5), start=1):
        assert np.array_equal(y, np.full((64, 1), 2.0 * k))
        assert asked == k


# Files


@pytest.mark.parametrize(("kind", "subtype"), [("wav", "FLOAT"), ("flac", "PCM_24")])
def test_file(single, tmp_path: Path, kind: str, subtype: str):
    source = tmp_path / f"dry.{kind}"
    soundfile.write(source, noise(), RATE, subtype=subtype)
    target = single.file(source, tmp_path / "made" / "wet.wav", tail=0.1)
    x = np.pad(soundfile.read(source, always_2d=True)[0], ((0, 800), (0, 0)))
    wanted = np.asarray(jax.jit(room())(jnp.asarray(x)))
    y, rate = soundfile.read(target, always_2d=True)
    assert rate == RATE
    assert soundfile.info(target).subtype == "FLOAT"
    assert y.shape == (LENGTH + 800, 2)
    assert np.max(np.abs(y - wanted)) <= tolerance(np.float32)
    assert np.max(np.abs(y[LENGTH + 50 :])) > 1e-4  # the tail is heard


def test_file_of_another_rate_is_resampled(tmp_path: Path):
    stream = adac_jax.stream(lambda x: 0.5 * x, inputs=1, sample_rate=RATE)
    stereo = noise(44100 // 4, 2)
    soundfile.write(tmp_path / "dry.wav", stereo, 44100, subtype="DOUBLE")
    y, rate = soundfile.read(stream.file(tmp_path / "dry.wav", tmp_path / "wet.wav"))
    wanted = 0.5 * soxr.resample(stereo.mean(axis=1), 44100, RATE, quality="VHQ")
    assert rate == RATE
    assert len(y) == len(wanted) == RATE // 4
    # soxr in blocks and at once: the same filter; then two roundings to single precision
    assert np.max(np.abs(y - wanted)) <= 4 * np.finfo(np.float32).eps


def test_long_file_in_constant_memory(tmp_path: Path):
    """Longer than a block of the file; a mono file goes to both inputs."""
    stream = adac_jax.stream(lambda x: x * jnp.array([1.0, -1.0]), inputs=2, sample_rate=RATE)
    x = noise(40_001, 1, np.float32)
    soundfile.write(tmp_path / "dry.wav", x, RATE, subtype="FLOAT")
    y, _ = soundfile.read(stream.file(tmp_path / "dry.wav", tmp_path / "wet.wav"), dtype="float32")
    assert np.array_equal(y, x * np.array([1, -1], np.float32))


def test_a_file_may_replace_itself(tmp_path: Path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, noise(40_000, 1, np.float32), RATE, subtype="FLOAT")
    adac_jax.stream(lambda x: 0.5 * x, inputs=1, sample_rate=RATE).file(path, path)
    assert np.array_equal(soundfile.read(path)[0], 0.5 * noise(40_000, 1, np.float32)[:, 0])
    assert list(tmp_path.iterdir()) == [path]


def test_bad_files_leave_nothing_behind(tmp_path: Path):
    stream = adac_jax.stream(lambda x: x, inputs=1, sample_rate=RATE)
    triple = adac_jax.stream(lambda x: x, inputs=3, sample_rate=RATE)
    good, broken, text = (tmp_path / name for name in ("good.wav", "nan.wav", "text.wav"))
    soundfile.write(good, noise(100, 2), RATE)
    # beyond the first block, so that something was written by then
    late = noise(20_000)
    late[17_000] = np.nan
    soundfile.write(broken, late, RATE, subtype="FLOAT")
    text.write_text("no sound")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "out.wav"
    for run, source, target, message in (
        (stream, tmp_path / "none.wav", out, r"none\.wav does not exist"),
        (stream, tmp_path / "folder", out, "folder is a folder"),
        (stream, text, out, r"text\.wav cannot be read"),
        (stream, broken, out, r"nan\.wav holds nan at sample 17000, channel 1"),
        (triple, good, out, "has 2 channels and the model 3 inputs"),
        (stream, good, tmp_path / "folder", "folder is a folder"),
        (stream, good, text / "out.wav", r"text\.wav is a file; it must be a folder"),
        (stream, good, text / "deeper" / "out.wav", "cannot be written"),
    ):
        with pytest.raises(adac_jax.AdacError, match=message):
            run.file(source, target)
    for tail in (-1.0, float("nan"), float("inf")):
        with pytest.raises(adac_jax.AdacError, match=r"`tail` \(=.*\) must be a number of seconds"):
            stream.file(good, out, tail=tail)
    assert sorted(tmp_path.rglob("*")) == before


# Transformations


def _loss(y: jax.Array) -> jax.Array:
    """Weighs each sample and channel by another number in -1 … 1, and bends a little."""
    weight = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    return jnp.sum(weight * jnp.sin(y))


def test_gradient_is_the_models():
    with jax.enable_x64(True):
        model = room()
        graphdef, parameters = nnx.split(model)
        stream = adac_jax.stream(model)
        x = jnp.asarray(noise())
        plain = jax.jit(jax.grad(lambda p, x: _loss(nnx.merge(graphdef, p)(x)), argnums=(0, 1)))(
            parameters, x
        )
        found = jax.jit(
            jax.grad(lambda p, x: _loss(stream.whole(x, p, chunk=101)), argnums=(0, 1))
        )(parameters, x)
        # A parameter's derivative is a sum over the samples of signals as they are in the loop
        # and of what comes back through it, whose level has the same bound.
        bound = LENGTH * tolerance(np.float64) * np.sqrt(3) / (1 - GAIN)
        sizes = []
        for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(found), strict=True):
            assert np.max(np.abs(a - b)) <= bound
            sizes.append(float(np.max(np.abs(a))))
        assert min(sizes) > 1e3 * bound  # the bound says something about each


def test_gradient_through_the_state():
    """A block's derivative with respect to the state that it began with, in one direction."""
    with jax.enable_x64(True):
        stream = adac_jax.stream(plain())
        x = noise()
        state, _ = stream(stream.start(), x[:30])
        direction = jax.tree.map(
            lambda a: (
                jnp.cos(jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape)
                if jnp.issubdtype(a.dtype, jnp.floating)
                else jnp.zeros_like(a)
            ),
            state,
        )

        def along(step: float) -> jax.Array:
            moved = jax.tree.map(lambda a, d: a + step * d, state, direction)
            return _loss(stream(moved, x[30:60])[1])

        # the error of central differences: (1e-5)² of the third derivative, which is of the order
        # of the loss, and rounding of 1e-16 / 1e-5 of it; the loss is below 60
        numerical = (along(1e-5) - along(-1e-5)) / 2e-5
        assert abs(numerical) > 1e-2
        assert float(jax.grad(along)(0.0)) == pytest.approx(float(numerical), abs=1e-6)


def test_vmap_and_jit_over_parameters_and_audio():
    with jax.enable_x64(True):
        model = plain()
        stream = adac_jax.stream(model)
        graphdef, parameters = nnx.split(model)
        batch = jax.tree.map(lambda a: jnp.stack([a, 0.9 * a]), parameters)
        xs = jnp.stack([jnp.asarray(noise()), -0.5 * jnp.asarray(noise())])
        wanted = jax.jit(jax.vmap(lambda p, x: nnx.merge(graphdef, p)(x)))(batch, xs)
        whole = jax.jit(jax.vmap(lambda p, x: stream.whole(x, p, chunk=100)))(batch, xs)

        @jax.jit
        @jax.vmap
        def blocks(p, x):
            state, first = stream(stream.start(p), x[: LENGTH // 2], p)
            return jnp.concatenate([first, stream(state, x[LENGTH // 2 :], p)[1]])

        # this network has fewer operations and lower gains than the bound assumes
        for found in (whole, blocks(batch, xs)):
            assert found.shape == (2, LENGTH, 1)
            assert np.max(np.abs(found - wanted)) <= tolerance(np.float64)
        assert np.max(np.abs(wanted[0] - wanted[1])) > 0.1


def test_memory_of_the_gradient_is_that_of_a_chunk():
    """Of each further sample only audio is kept, and of each further chunk a state."""
    stream = adac_jax.stream(plain())
    graphdef, parameters = nnx.split(plain())
    chunk = 1024
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(stream.start()))

    def memory(run, length: int) -> int:
        x = jax.ShapeDtypeStruct((length, 1), jnp.float32)
        gradient = jax.jit(jax.grad(lambda p, x: jnp.sum(run(p, x) ** 2)))
        return gradient.lower(parameters, x).compile().memory_analysis().temp_size_in_bytes

    def in_chunks(p, x):
        return stream.whole(x, p, chunk=chunk)

    short, long = 4 * chunk, 64 * chunk
    few, many = memory(in_chunks, short), memory(in_chunks, long)
    # audio in and out, each with its cotangent or a padded copy, in single precision
    assert many - few <= (long - short) * 4 * 4 + (long - short) // chunk * 2 * state
    # the model keeps the signals of its lines, of their filters and gains
    assert 2 * many < memory(lambda p, x: nnx.merge(graphdef, p)(x), long)
