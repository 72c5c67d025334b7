"""The open form: numbers as data, which give what the closed form gives, and follow coefficients.

Both forms compute the same products and sums of the same float64 numbers; only where FAUST folds
numbers that it knows may a rounding differ (2^-53 a number, at most some dozen of them a sample on
any path, and loops that remember a few thousand samples at a gain below one): 1e-12 of the peak.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from cases import CASES
from effects_models import MODELS as EFFECTS
from flax import nnx
from golden_models import comb, gain, householder
from readings import interpreted

import adac_jax
import ir
from adac_jax import nn
from adac_jax.host import HostError, Library
from adac_jax.host.data import Data
from adac_jax.presets import hall
from emitters import faust
from emitters.faust.live import GROUP
from emitters.faust.sections import filter_settings, kind_of, second_order

TOLERANCE = 1e-12
LENGTH = 3000


def traced(model, **options) -> ir.Program:
    with jax.enable_x64(True):
        return adac_jax.trace(model, **options).program


def moved(program: ir.Program, seed: int = 1, amount: float = 0.02) -> ir.Program:
    """Other numbers for the same graph, such as a training step makes; zeros and ones stay.

    The last coefficients of filters move little, so that stable ones stay so.
    """
    rng = np.random.default_rng(seed)
    found = {}
    for slot, value in program.coefficients.items():
        if value.dtype.kind == "f":
            factor = rng.uniform(1 - amount, 1.0, value.shape)
            value = np.where(value == 1, value, value * factor)
        found[slot] = value
    return dataclasses.replace(program, coefficients=found)


def noise(program: ir.Program, length: int = LENGTH) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, (length, program.graph.input_channels))


def closed(program: ir.Program, x: np.ndarray) -> np.ndarray:
    with Library(faust.emit(program)) as library:
        return library.render(x)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.max(np.abs(expected)))


def check(program: ir.Program, other: ir.Program | None = None, **options: bool) -> None:
    """Open and closed form, before an update and after it, in one running program."""
    form = faust.open_form(program, **options)
    x = noise(program)
    with Library(form.text) as library:
        data = Data(library, GROUP, len(form.initial))
        data.write(form.values(program.coefficients))
        assert_close(library.render(x), closed(program, x))
        if other is not None:
            data.write(form.values(other.coefficients))
            assert_close(library.render(x), closed(other, x))


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("model", [gain, comb, householder], ids=lambda m: m.__name__)
def test_golden_models(model, dense):
    program = model()
    check(program, moved(program), dense=dense)


def test_the_hall():
    program = traced(hall())
    check(program, moved(program))


@pytest.mark.slow
def test_a_network_with_equalisers():
    delays = nn.mutually_prime_delays(16, 960, 3840)
    models = [
        nn.FDN(delays, absorption=nn.AccurateGEQ.from_t60(t60, delays, sample_rate=48000))
        for t60 in (2.0, 1.2)
    ]
    check(*map(traced, models), dense=True)  # some of their sections begin by doing nothing


FAST = ["flanger", "phaser", "ping_pong", "limiter", "tone_stack", "lstm", "s4d"]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in EFFECTS]
)
def test_effects(name):
    with jax.enable_x64(True):
        model = EFFECTS[name].make()
        graph, state = nnx.split(model)
        rng = np.random.default_rng(1)

        def nudged(path, p):
            # Rates of oscillators are integers, steps of a phase: they decide on the text.
            fixed = p.dtype.kind != "f" or any("rate" in str(key) for key in path)
            return p if fixed else p * rng.uniform(0.99, 1.01)

        other = jax.tree_util.tree_map_with_path(nudged, state)
        programs = [adac_jax.trace(m).program for m in (model, nnx.merge(graph, other))]
    check(*programs)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_operation(case):
    program = case.program
    if not program.graph.output_channels:
        pytest.skip("FAUST needs an output")
    flat = [np.asarray(x, float).reshape(case.length, x[0].size) for x in case.inputs]
    x = np.concatenate([np.zeros((case.length, 0)), *flat], axis=1)
    wanted = interpreted(program, case.inputs, case.length)
    joined = np.concatenate([np.asarray(y, float).reshape(case.length, -1) for y in wanted], axis=1)
    for dense in (False, True):
        form = faust.open_form(program, dense=dense)
        with Library(form.text) as library:
            Data(library, GROUP, len(form.initial)).write(form.initial)
            np.testing.assert_allclose(
                library.render(x), joined, rtol=0, atol=1e-10 * max(1, np.max(np.abs(joined)))
            )


def test_values_are_the_data_in_order():
    program = householder()
    form = faust.open_form(program)
    assert form.text == faust.emit(program, form="open")
    np.testing.assert_array_equal(faust.open_values(program), form.initial)
    np.testing.assert_array_equal(form.values(program.coefficients), form.initial)
    (entry,) = form.entries
    assert (entry.name, entry.start, entry.count) == ("v", 0, 70)
    assert form.initial.tolist() == [0.25] * 70


def test_what_follows_from_coefficients_is_computed_before():
    """Sums and products of parameters are numbers like others, and not FAUST's business."""
    b = ir.Builder("derived")
    x = b.add("input", index=0, shape=(2,), kind="real", name="x")
    g = b.add("coefficient", slot="gain", shape=(2,), kind="real")
    h = b.add("coefficient", slot="level", shape=(), kind="real")
    product = b.add("mul", b.add("exp", g), h, name="curve")
    program = ir.Program(
        b.build([b.add("mul", x, product)]), {"gain": np.array([0.1, -0.5]), "level": np.array(0.5)}
    )
    form = faust.open_form(program)
    assert "exp" not in form.text
    np.testing.assert_array_equal(form.initial, np.exp([0.1, -0.5]) * 0.5)
    other = {"gain": np.array([0.2, 0.0]), "level": np.array(2.0)}
    np.testing.assert_array_equal(form.values(other), np.exp([0.2, 0.0]) * 2.0)


def test_literals_by_choice():
    program = householder()
    form = faust.open_form(program, fixed=["v"])
    assert len(form.values(program.coefficients)) == 0
    with pytest.raises(faust.TopologyError, match="'v' decides on the text"):
        form.values({"v": np.ones(70)})


def test_the_same_text_for_the_same_topology():
    program = traced(hall())
    first, second = (faust.open_form(p).text.splitlines() for p in (program, moved(program)))
    differing = [pair for pair in zip(first, second, strict=True) if pair[0] != pair[1]]
    assert all("nentry" in line for pair in differing for line in pair)


def test_what_needs_another_text():
    program = comb()
    form = faust.open_form(program)
    kept = dict(program.coefficients)
    with pytest.raises(faust.TopologyError, match="'start' was zero in the text, and is 3 now"):
        form.values(kept | {"start": np.array([1.0, 3.0, 0.0, -0.5])})
    with pytest.raises(faust.TopologyError, match=r"'sos' holds a filter that is no 'section'"):
        form.values(kept | {"sos": np.array([[0.25, 0.5, 0.25, 1.0, -2.1, 1.2]])})
    with pytest.raises(faust.TopologyError, match=r"'start' has the shape \(3,\), not \(4,\)"):
        form.values(kept | {"start": np.ones(3)})
    with pytest.raises(ir.IRError, match="'start' has no value"):
        form.values({"sos": kept["sos"]})
    with pytest.raises(ir.IRError, match="'start' holds nan; every number must be finite"):
        form.values(kept | {"start": np.array([np.nan, 0, 0, 1])})


def test_dense_data_take_zeros():
    program = comb()
    form = faust.open_form(program, dense=True)
    other = {"start": np.array([0.0, 3.0, 0.5, -0.5]), "sos": program.coefficients["sos"]}
    check(program, dataclasses.replace(program, coefficients=other), dense=True)
    assert len(form.initial) == len(faust.open_form(program).initial) + 2


def test_filters_that_become_more():
    """A filter that does nothing, or a one-pole, is a section where zeros are data."""
    b = ir.Builder("filters")
    x = b.add("input", index=0, shape=(), kind="real", name="x")
    sos = b.add("coefficient", slot="sos", shape=(2, 6), kind="real")
    graph = b.build([b.add("sos", x, sos, name="equaliser")])

    def program(*rows: list[float]) -> ir.Program:
        return ir.Program(graph, {"sos": np.array(rows)})

    simple = program([1, 0.0, 0, 1, 0, 0], [0.5, 0.1, 0, 1, -0.4, 0])
    full = program([1, 0.5, 0.25, 1, -0.5, 0.3], [0.5, 0.1, 0.1, 1, -0.4, 0.2])
    with pytest.raises(faust.TopologyError):
        faust.open_form(simple).values(full.coefficients)
    check(simple, full, dense=True)
    again = program([1, 0.0, 0, 1, 0, 0], [0.5, 0.2, 0, 1, -0.3, 0])
    check(simple, again)


def test_delays_decide_on_the_text():
    b = ir.Builder("moved")
    x = b.add("input", index=0, shape=(2,), kind="real", name="x")
    m = b.add("coefficient", slot="m", shape=(2,), kind="int")
    y = b.add("variable_delay", x, m, minimum=1, maximum=30)
    program = ir.Program(b.build([y]), {"m": np.array([3, 4])})
    form = faust.open_form(program)
    assert len(form.values(program.coefficients)) == 0
    with pytest.raises(faust.TopologyError, match="'m' decides on the text"):
        form.values({"m": np.array([3, 5])})


def test_branches_decide_on_the_text():
    b = ir.Builder("branch")
    x = b.add("input", index=0, shape=(), kind="real", name="x")
    g = b.add("coefficient", slot="g", shape=(), kind="real")
    y = b.add("select", b.add("gt", g, b.constant(0.0), name="sign"), x, b.constant(0.0))
    program = ir.Program(b.build([b.add("mul", y, g)]), {"g": np.array(0.5)})
    form = faust.open_form(program)
    assert form.values({"g": np.array(0.25)}).tolist() == [0.25]
    with pytest.raises(faust.TopologyError, match="sign"):
        form.values({"g": np.array(-0.25)})


def table(count: int) -> ir.Program:
    b = ir.Builder("table")
    x = b.add("input", index=0, shape=(), kind="int", name="x")
    t = b.add("coefficient", slot="t", shape=(count,), kind="real")
    return ir.Program(b.build([b.add("lookup", t, x)]), {"t": np.sin(np.arange(count) + 1.0)})


def test_short_tables_are_data_and_long_ones_text():
    program = table(64)
    x = np.arange(64.0)[:, None]
    other = {"t": program.coefficients["t"] * 2}
    form = faust.open_form(program)
    with Library(form.text) as library:
        Data(library, GROUP, len(form.initial)).write(form.values(other))
        np.testing.assert_array_equal(library.render(x)[:, 0], other["t"])
    long = faust.open_form(table(65))
    assert len(long.initial) == 0
    with pytest.raises(faust.TopologyError):
        long.values({"t": np.ones(65)})


def test_unstable_numbers_do_not_stay_in_a_loop():
    """While a model trains, a loop may become unstable: it comes back with good numbers."""
    program = traced(hall())
    form = faust.open_form(program)
    bad = form.initial.copy()
    matrix = next(e for e in form.entries if e.name.startswith("matrix"))
    bad[matrix.start : matrix.start + matrix.count] *= 30
    with Library(form.text, precision="single") as library:
        data = Data(library, GROUP, len(form.initial))
        data.write(bad)
        library.process(noise(program, 100_000))
        data.write(form.initial)
        y = library.process(np.zeros((400_000, 2)))
    assert np.all(np.isfinite(y))
    assert np.max(np.abs(y[-1000:])) < 2.0**64


def test_settings_of_many_filters():
    rng = np.random.default_rng(0)
    r, angle = rng.uniform(0, 0.999, 200), rng.uniform(0.01, 3.1, 200)
    a = np.stack((np.ones(200), -2 * r * np.cos(angle), r**2), 1) * rng.uniform(0.5, 2, (200, 1))
    b = rng.uniform(-1, 1, (200, 3))
    b[:20, 2] = a[:20, 2] = 0
    a[:20, 1] = rng.uniform(-0.99, 0.99, 20) * a[:20, 0]
    a[20:30, 2] = 1.1 * a[20:30, 0]
    for row in range(200):
        call = second_order(b[row].tolist(), a[row].tolist())
        assert call is not None
        assert call.helper == kind_of(b[row].tolist(), a[row].tolist())
        found, fits = filter_settings(call.helper, b[row : row + 1], a[row : row + 1])
        assert fits.all()
        assert tuple(found[0].tolist()) == call.settings
    found, fits = filter_settings("section", a, a)
    assert fits.sum() == 190
    np.testing.assert_allclose(found[fits][:, 3:], [[1, 0, 0]] * 190, atol=1e-6)
    assert filter_settings("through", a, a)[1].all()


def test_data_of_a_running_program():
    form = faust.open_form(householder())
    with Library(form.text) as library:
        data = Data(library, GROUP, len(form.initial))
        assert len(data) == 70
        data.write(np.arange(70.0))
        np.testing.assert_array_equal(data.read(), np.arange(70.0))
        assert library.get(f"/{GROUP}/00042") == 42
        with pytest.raises(HostError, match="takes 70 finite numbers"):
            data.write(np.zeros(3))
        with pytest.raises(HostError, match="takes 70 finite numbers"):
            data.write(np.full(70, np.nan))
    with pytest.raises(HostError, match="closed"):
        data.read()


def test_forms_have_names():
    with pytest.raises(ir.IRError, match='must be "closed" or "open"'):
        faust.emit(gain(), form="half")  # type: ignore[arg-type]


def test_knobs_stay_knobs():
    @nnx.jit
    def model(x):
        return x * adac_jax.control("gain", 0.5, 0.0, 1.0) * 0.3

    form = faust.open_form(traced(model, inputs=1))
    with Library(form.text) as library:
        assert sum("gain" in path for path in library.parameters) == 1


@pytest.mark.parametrize("op", ["expm1", "log1p", "cbrt", "erf", "erfc"])
def test_functions_that_not_all_compilers_have(op):
    b = ir.Builder()
    x = b.add("input", index=0, shape=(), kind="real", name="x")
    program = ir.Program(b.build([b.add(op, x)]))
    text = faust.portable(faust.emit(program))
    assert f"ffunction(float {op}" not in text
    small = np.geomspace(1e-8, 3, 500)
    x = np.concatenate([-small[small < 0.99], small])
    (wanted,) = interpreted(program, [x], len(x))
    with Library(text) as library:
        found = library.render(x[:, None])[:, 0]
    np.testing.assert_allclose(found, wanted, rtol=2e-7 if "erf" in op else 1e-12)
