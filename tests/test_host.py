"""The FAUST host: both precisions against difference equations that are written out here.

Tolerances: where every intermediate result is a dyadic number of few bits, both precisions are
exact and the comparison is equality. Elsewhere the bound is the number of roundings on the
longest path times half a unit in the last place of the largest value (`eps / 2` of the dtype).
"""

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

from adac_jax.host import HostError, Library, Processor, versions


def single(source, **options):
    return Library(source, precision="single", **options)


HOSTS = [
    pytest.param(Processor, id="processor"),
    pytest.param(single, id="single"),
    pytest.param(Library, id="double"),
]
LIBRARIES = HOSTS[1:]


@pytest.fixture(params=HOSTS)
def host(request):
    return request.param


@pytest.fixture(params=LIBRARIES)
def library(request):
    return request.param


def impulse(length, channels=1, channel=0):
    x = np.zeros((length, channels))
    x[0, channel] = 1.0
    return x


# Exact responses.


def test_one_pole_is_exact(host):
    y = host("process = + ~ *(0.5);").render(impulse(20))
    np.testing.assert_array_equal(y[:, 0], 0.5 ** np.arange(20))  # powers of two: no rounding


@pytest.mark.parametrize("samples", [0, 1, 2, 511, 512, 513, 1000])
def test_delay_has_no_latency_of_its_own(host, samples):
    y = host(f"process = @({samples});").render(impulse(1200))
    assert np.flatnonzero(y[:, 0]).tolist() == [samples]
    assert y[samples, 0] == 1.0


def test_channels_keep_their_order(host):
    program = host("process = _,_,_ <: (_,_,_ :> _), (!,!,*(4)), (*(2),!,!), (!,_,!);")
    assert (program.inputs, program.outputs) == (3, 4)
    x = np.arange(15.0).reshape(5, 3)
    expected = np.stack([x.sum(1), 4 * x[:, 2], 2 * x[:, 0], x[:, 1]], axis=1)
    np.testing.assert_array_equal(program.render(x), expected)  # integers below 2**24


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("process(x, y) = y, x;", [5, 4]),
        ("process(x, y) = x, 2, y;", [4, 2, 5]),
        ("process(x, y) = 7, x, y, x + y;", [7, 4, 5, 9]),
        ("process(x, y) = y, y : mem, _;", [0, 5]),
        ('process(x, y) = hslider("a", 3, 0, 9, 1), x, (y : hbargraph("b", 0, 9));', [3, 4, 5]),
    ],
)
def test_outputs_do_not_overwrite_inputs(host, source, expected):
    # DawDreamer's outputs share the memory of its inputs.
    np.testing.assert_array_equal(host(source).render(np.array([[4, 5]])), [expected])


def test_many_channels(host):
    x = np.random.default_rng(0).integers(-9, 9, (100, 70)).astype(float)
    program = host("process = par(i, 70, *(i + 1));")
    np.testing.assert_array_equal(program.render(x), x * np.arange(1, 71))


def test_no_inputs(host):
    program = host("process = 1 : + ~ _ : -(1) <: _, *(3);")
    assert (program.inputs, program.outputs) == (0, 2)
    ramp = np.arange(700)
    np.testing.assert_array_equal(
        program.render(np.zeros((700, 0))), np.stack([ramp, 3 * ramp], axis=1)
    )


def test_precision_is_that_of_the_dtype(host):
    program = host("process(x) = x * 0.1 + 0.2;")
    x = np.random.default_rng(1).standard_normal((300, 1))
    y = program.render(x)
    dtype = np.float64 if host is Library else np.float32
    assert y.dtype == dtype
    # Two constants, the input, a product and a sum are rounded: five, of values up to max|y| + 0.2.
    bound = 5 * np.finfo(dtype).eps / 2 * (np.abs(y).max() + 0.2)
    assert np.abs(y - (x * 0.1 + 0.2)).max() <= bound


def test_double_is_not_single():
    y = Library("process = 0.1;").render(np.zeros((1, 0)))
    assert y[0, 0] == 0.1


def test_denormals(host):
    """They are zero while a host renders, unless told otherwise, and nowhere else."""
    smallest = np.finfo(np.float64 if host is Library else np.float32).smallest_normal
    x = np.full((4, 1), smallest)
    halved = x.astype(smallest.dtype) / 2
    assert np.all(halved > 0)
    for flush, y in ((True, 0.0), (False, halved)):
        program = host("process = *(0.5), (*(0.5) : *(2));", flush_denormals=flush)
        found = program.render(np.hstack([x, x]))
        np.testing.assert_array_equal(found[:, :1], y)
    np.testing.assert_array_equal(x.astype(smallest.dtype) / 2, halved)  # this thread's own work


def test_not_a_number_passes_through(host):
    y = host("process = _;").render(np.array([[1.0], [np.nan], [np.inf], [-2.0]]))
    np.testing.assert_array_equal(y[:, 0], [1.0, np.nan, np.inf, -2.0])


def test_standard_library_and_sample_rate(host):
    source = 'import("stdfaust.lib"); process = ma.SR, (1 : fi.pole(0.5));'
    y = host(source, sample_rate=44100).render(np.zeros((3, 0)))
    np.testing.assert_array_equal(y, [[44100, 1], [44100, 1.5], [44100, 1.75]])


# Lengths.


@pytest.mark.parametrize("rate", [1, 8000, 11025, 22050, 44100, 48000, 96000, 192000, 384000])
def test_lengths_are_exact(host, rate):
    program = host("process = _;", sample_rate=rate)
    generator = np.random.default_rng(2)
    for length in [*range(20), 49, 441, 511, 512, 513, 1023, 4095, 4097, 44099, 44101]:
        x = generator.standard_normal((length, 1)).astype(np.float32)
        y = program.render(x)
        assert y.shape == x.shape
        np.testing.assert_array_equal(y, x)


def test_long_render_is_exact(host):
    x = np.random.default_rng(3).standard_normal((2_000_003, 1)).astype(np.float32)
    np.testing.assert_array_equal(host("process = _;", sample_rate=44100).render(x), x)


@pytest.mark.parametrize("block_size", [1, 7, 64, 4096])
def test_processor_block_size_changes_nothing(block_size):
    x = np.random.default_rng(4).standard_normal((301, 1))
    source = "process = + ~ (*(0.7) : @(12));"
    expected = Processor(source).render(x)
    np.testing.assert_array_equal(Processor(source, block_size=block_size).render(x), expected)


def test_read_only_strided_and_integer_input(host):
    program = host("process = _,_;")
    x = np.arange(40).reshape(10, 4)[:, ::2]
    x.flags.writeable = False
    y = program.render(x)
    np.testing.assert_array_equal(y, x)
    y[:] = 0  # the caller's own: neither `x` nor the next render sees it
    np.testing.assert_array_equal(program.render(x), x)


# State.


@pytest.mark.parametrize(
    "source",
    [
        "process = + ~ *(0.5);",
        "process = @(100);",
        "process(x) = rwtable(8, 0.25, int(x), x, int(x) + 1);",  # not cleared by FAUST's own clear
        'import("stdfaust.lib"); process(x) = no.noise + os.osc(440) + x;',
    ],
)
def test_render_starts_from_silence(host, source):
    program = host(source)
    x = np.arange(1.0, 8.0)[:, None]
    first = program.render(x)
    for _ in range(3):
        np.testing.assert_array_equal(program.render(x), first)


def test_process_continues(library):
    source = "process = + ~ (*(0.7) : @(12)) : @(33);"
    x = np.random.default_rng(5).standard_normal((1000, 1))
    expected = library(source).render(x)
    assert np.abs(expected).max() > 0.0
    for size in (1, 3, 32, 33, 34, 999, 1000, 5000, None):
        with library(source) as program:
            np.testing.assert_array_equal(program.process(x, size), expected)
    with library(source) as program:
        cuts = np.split(x, [0, 1, 8, 8, 107, 640])
        np.testing.assert_array_equal(
            np.concatenate([program.process(block) for block in cuts]), expected
        )
        program.reset()
        np.testing.assert_array_equal(program.process(x), expected)


def test_instances_share_no_state(library):
    one, two = library("process = + ~ _;"), library("process = + ~ _;")
    one.process(np.ones((5, 1)))
    assert two.process(np.ones((1, 1)))[0, 0] == 1.0


def test_tables_of_two_sample_rates_do_not_mix(host):
    source = """
        rate = fconstant(int fSamplingFreq, <math.h>);
        process(x) = rdtable(8, (1 : + ~ _) * float(rate), int(x));
    """
    index = np.arange(3.0)[:, None]
    slow = host(source, sample_rate=8000)
    fast = host(source, sample_rate=48000)
    np.testing.assert_array_equal(slow.render(index)[:, 0], [8000, 16000, 24000])
    np.testing.assert_array_equal(fast.render(index)[:, 0], [48000, 96000, 144000])
    np.testing.assert_array_equal(slow.render(index)[:, 0], [8000, 16000, 24000])


# Controls.

KNOBS = """
    process = _ * hslider("gain x/y[unit:dB]", 0.5, -1, 3, 0.1),
        hgroup("g", vgroup("h[0]", checkbox("c") + button("b")) * nentry("né", 2, 1, 5, 1)),
        (_ : vbargraph("meter", -3, 4));
"""
PATHS = {"/m/gain_x_y", "/m/g/h/c", "/m/g/h/b", "/m/g/né", "/m/meter"}


def test_controls(host):
    program = host(KNOBS, name="m")
    assert set(program.parameters) == PATHS
    x = np.ones((3, 2))
    np.testing.assert_array_equal(program.render(x), np.tile([0.5, 0.0, 1.0], (3, 1)))
    program.set("/m/gain_x_y", 7.0)  # beyond its range: not clamped
    program.set("/m/g/h/c", 1.0)
    program.set("/m/g/né", 3.0)
    for _ in range(2):  # a render clears the state, not the controls
        np.testing.assert_array_equal(program.render(x), np.tile([7.0, 3.0, 1.0], (3, 1)))
    assert program.get("/m/gain_x_y") == 7.0
    for call in (program.get, lambda path: program.set(path, 1.0)):
        with pytest.raises(HostError, match=r"'m' has no parameter '/m/nope'; it has: .*/m/g/né"):
            call("/m/nope")


def test_ranges(library):
    program = library(KNOBS, name="m")
    gain = program.parameters["/m/gain_x_y"]
    assert (gain.kind, gain.init, gain.min, gain.max, gain.step) == ("slider", 0.5, -1, 3, 0.1)
    entry = program.parameters["/m/g/né"]
    assert (entry.kind, entry.init, entry.min, entry.max, entry.step) == ("nentry", 2, 1, 5, 1)
    meter = program.parameters["/m/meter"]
    assert (meter.kind, meter.min, meter.max) == ("bargraph", -3, 4)
    assert {p.kind for p in program.parameters.values()} >= {"button", "checkbox"}
    program.render(np.ones((1, 2)))
    assert program.get("/m/meter") == 1.0
    with pytest.raises(HostError, match="'/m/meter' is a bargraph"):
        program.set("/m/meter", 0.0)


def test_controls_have_full_precision():
    program = Library('process = nentry("a", 0.3, 0, 1, 0.001);')
    assert program.parameters["/model/a"].init == 0.3
    program.set("/model/a", 0.1)
    assert program.process(np.zeros((1, 0)))[0, 0] == 0.1


def test_controls_move_between_blocks(library):
    program = library('process = * (nentry("a", 1, 0, 9, 1));')
    parts = []
    for value in (2.0, 5.0, 3.0):
        program.set("/model/a", value)
        parts.append(program.process(np.ones((2, 1))))
    assert np.concatenate(parts)[:, 0].tolist() == [2, 2, 5, 5, 3, 3]


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ('process = hgroup("q", checkbox("a"));', "/q/a"),
        ('declare name "foo"; process = checkbox("a");', "/foo/a"),
        ('process = checkbox("a");', "/m_x.z/a"),
    ],
)
def test_roots_of_paths_agree(host, source, path):
    assert list(host(source, name="m x.z").parameters) == [path]


# Refusals.

BROKEN = {
    "syntax": ("process = +(;", "syntax error"),
    "unfinished": ("process = + ~ *(0.5)", "syntax error"),
    "unknown": ("process = foo;", "undefined symbol : foo"),
    "empty": ("", "is empty"),
    "blank": (" \n\t", "is empty"),
    "no process": ("x = 1;", "undefined symbol : process"),
    "arity": ("process = (_,_) : (_,_,_);", r"outputs \[2\] of A must be equal"),
    "no outputs": ("process = !;", "no output signal"),
    "non-ascii": ("process = é;", "syntax error"),
    "nul": ("process = _;\n\0", "NUL character in line 2"),
    "surrogate": ("process = _; // \ud800", "lone surrogate"),
    "library": ('import("nope.lib"); process = _;', "unable to open file nope.lib"),
    "division": ("process = 1 / 0;", "division by 0"),
    "delay": ("process = @(-1);", "possible negative values"),
    "range": ('process = hslider("a", 0, 1, 0, 0.1);', "min = 1 should be less than max = 0"),
    "path": ('process = nentry("a", 0, 0, 1, 1), nentry("a", 0, 0, 2, 1);', "already used"),
    "endless": ("a = a; process = a;", "endless evaluation cycle"),
    "recursive": ("f(n) = f(n - 1) + 1; process = f(3);", "stack overflow in eval"),
    "import forgotten": ("process = fi.pole(0.5);", "undefined symbol : fi"),
}


@pytest.mark.parametrize(("source", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_programs(host, source, message):
    with pytest.raises(HostError, match=message) as caught:
        host(source, name="broken")
    text = str(caught.value)
    assert text.startswith("FAUST program 'broken' ")
    assert "faustlibraries" not in text
    assert "dawdreamer" not in text
    # A refusal leaves the compiler in order.
    assert host("process = _;").render(np.ones((1, 1)))[0, 0] == 1.0


def test_messages_name_the_user_s_line(host):
    with pytest.raises(HostError, match=r"compile: mine:3 : ERROR : syntax error"):
        host("a = 1;\nb = 2;\nprocess = a +;\n", name="mine")


def test_source_must_be_text(host):
    with pytest.raises(HostError, match="must be a str, not bytes"):
        host(b"process = _;")


def test_comments_and_labels_beyond_ascii(host):
    y = host('// naïve, 漢字\nprocess = _ * hslider("é", 0.5, 0, 1, 0.1);').render(np.ones((1, 1)))
    assert y[0, 0] == 0.5


@pytest.mark.parametrize("shape", [(10, 1), (10, 3), (10, 0)])
def test_arity_names_both_numbers(host, shape):
    program = host("process = _,_;", name="pair")
    with pytest.raises(HostError, match=rf"'pair' has 2 inputs, but .* has {shape[1]} channels"):
        program.render(np.zeros(shape))


@pytest.mark.parametrize("shape", [(), (10,), (10, 2, 1)])
def test_audio_must_be_a_matrix(host, shape):
    with pytest.raises(HostError, match=r"must have the shape \(time, 2\)"):
        host("process = _,_;").render(np.zeros(shape))


@pytest.mark.parametrize("dtype", [complex, bool, object, "U1"])
def test_audio_must_be_real_numbers(host, dtype):
    with pytest.raises(HostError, match="must hold floats or integers"):
        host("process = _;").render(np.zeros((3, 1), dtype=dtype))


@pytest.mark.parametrize("rate", [0, -1, 44100.5, 2**31, None])
def test_sample_rate_is_checked(host, rate):
    with pytest.raises(HostError, match=r"`sample_rate` \(=.*\) must be an integer from 1"):
        host("process = _;", sample_rate=rate)


@pytest.mark.parametrize("name", ["", "a\0b", "é", "a\n", None])
def test_name_is_checked(host, name):
    with pytest.raises(HostError, match=r"`name` \(=.*\) must be"):
        host("process = _;", name=name)


def test_block_size_and_precision_are_checked():
    with pytest.raises(HostError, match=r"`block_size` \(=0\)"):
        Processor("process = _;", block_size=0)
    with pytest.raises(HostError, match=r"`block_size` \(=0\)"):
        Library("process = _;").process(np.ones((1, 1)), 0)
    with pytest.raises(HostError, match=r"`precision` \(='half'\)"):
        Library("process = _;", precision="half")  # pyright: ignore[reportArgumentType]


# Lifetime and threads.


def test_closed_program_refuses(library):
    with library('process = _ * checkbox("a");') as program:
        program.render(np.ones((1, 1)))
    program.close()
    for call in (
        program.reset,
        lambda: program.get("/model/a"),
        lambda: program.set("/model/a", 1.0),
        lambda: program.process(np.ones((1, 1))),
        lambda: program.render(np.ones((1, 1))),
    ):
        with pytest.raises(HostError, match="'model' is closed"):
            call()


def test_programs_are_collected(host):
    program = host("process = _;")
    gone = weakref.ref(program)
    del program
    gc.collect()
    assert gone() is None


def test_closing_one_of_two_leaves_the_other(library):
    one, two = library("process = + ~ _;"), library("process = + ~ _;")
    one.close()
    assert two.render(np.ones((2, 1)))[:, 0].tolist() == [1, 2]


def test_threads_compile_and_run():
    results = []

    def work(number):
        for extra in range(5):
            with Library(f"process = * ({number}.0 + {extra});") as program:
                results.append(program.render(np.ones((1, 1)))[0, 0] - number - extra)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0.0] * 20


def test_processor_belongs_to_the_first_thread_but_renders_in_any():
    program = Processor("process = + ~ _;")
    outcomes = []

    def work():
        outcomes.append(program.render(np.ones((3, 1)))[:, 0].tolist())
        try:
            Processor("process = _;")
        except HostError as error:
            outcomes.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert outcomes[0] == [1, 2, 3]
    assert "must be made in the thread that made the first Processor" in outcomes[1]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("process(x) = " + " + ".join(["x"] * 5000) + ";", 5000.0),
        ("process = " + "*(-1)(" * 2000 + "_" + ")" * 2000 + ";", 1.0),
        ("process = _" + ":*(-1)" * 2000 + ";", 1.0),
    ],
    ids=["sum of 5,000", "2,000 nested", "2,000 in sequence"],
)
def test_deep_programs(host, source, expected):
    assert host(source).render(np.ones((1, 1)))[0, 0] == expected


def test_too_deep_is_an_error(host):
    with pytest.raises(HostError, match="stack overflow in eval"):
        host("process(x) = " + " + ".join(["x"] * 20000) + ";")


def test_library_needs_no_engine():
    code = (
        "import sys; from adac_jax.host.libfaust import Library; import numpy as np;"
        "p = Library('process = + ~ _;'); print(p.render(np.ones((2, 1)))[:, 0].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1.0, 2.0]"


def test_versions():
    assert set(versions()) == {"dawdreamer", "libfaust"}
    assert all(version[0].isdigit() for version in versions().values())


def test_compile_seconds(host):
    assert 0.0 < host("process = _;").compile_seconds < 60.0
