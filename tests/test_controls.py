"""Controls: at rest, at both ends, and moving, in every reading.

At rest and settled, JAX computes the same expressions in float64, and errors are those of a few
dozen rounded operations round loops whose gain is at most 0.9: EPS * 1000 of the peak bounds them.
Moving, FAUST and the block reading run the same graph as the interpreter, with other orders of the
same sums and other exp, sin and pow: the same bound, but for recursions with poles near 1, whose
coefficients' errors are multiplied by 1 / (1 - p)² at most: `SENSITIVE`.
"""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control_cases import MODELS, random_model
from jsonschema import Draft202012Validator
from plain import EPS, double

import adac_jax
import ir
from adac_jax import blocks, control, delay, fractional_delay, set_controls
from adac_jax.host import Library, path_of
from adac_jax.knob_checks import moving
from emitters import faust
from ir.knobs import follow, settling
from ir.serial import SCHEMA

LENGTH = 600
HELD = 60
SENSITIVE = {"biquad": 100.0, "pole": 10.0}
"""Poles at 200 Hz and 48 kHz lie 0.02 from 1, and a time constant of 1,000 samples 0.001."""
FAST = 0.002
"""Seconds a ramp, so that knobs arrive within a short signal."""


@pytest.fixture(autouse=True)
def x64():
    with double():
        yield


def noise(length: int = LENGTH) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, (length, 2))


def traced(model) -> ir.Program:
    """The program with faster ramps."""
    program = adac_jax.trace(model, inputs=2, name="model").program
    nodes = []
    for node in program.graph.nodes:
        if node.op == "control":
            attributes = dict(node.attributes)
            way = attributes["maximum"] - attributes["minimum"]
            attributes["step"] = way / (FAST * 48000)
            node = replace(node, attributes=tuple(sorted(attributes.items())))
        nodes.append(node)
    return replace(program, graph=replace(program.graph, nodes=tuple(nodes)))


def rendered(program: ir.Program, x: np.ndarray, moves) -> np.ndarray:
    with Library(faust.emit(program)) as library:
        paths = {path_of(library.parameters, name): k for name, k in moves.items()}
        return library.render(x, HELD, paths)


def in_blocks(program: ir.Program, x: np.ndarray, moves) -> np.ndarray:
    coefficients = {k: jnp.asarray(v) for k, v in program.coefficients.items()}
    run = jax.jit(lambda x, k: blocks.run(program.graph, coefficients, [x], len(x), k)[0])
    return np.asarray(run(x, moves))


def held(graph: ir.Graph, seed: int) -> dict[str, np.ndarray]:
    """Positions, another one every `HELD` samples."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, node in graph.controls.items():
        ends = float(node["minimum"]), float(node["maximum"])  # type: ignore[arg-type]
        spots = rng.uniform(*ends, LENGTH // HELD)
        spots[rng.random(len(spots)) < 0.2] = ends[int(rng.integers(2))]
        found[name] = np.repeat(spots, HELD)
    return found


def agree(model, tolerance: float, seed: int, in_faust: bool = True) -> None:
    program = traced(model)
    graph = program.graph
    assert graph.controls
    x = noise()
    wanted = np.asarray(jax.jit(model)(jnp.asarray(x)))
    scale = max(1.0, float(np.max(np.abs(wanted))))
    np.testing.assert_allclose(ir.run(program, x)[0], wanted, 0, EPS * 1000 * scale)

    settle = settling(graph)
    waited = np.vstack([np.zeros((settle, 2)), x])
    for end in ("minimum", "maximum"):
        at = {name: float(node[end]) for name, node in graph.controls.items()}  # type: ignore[arg-type]
        with set_controls(at):
            y = np.asarray(jax.jit(model)(jnp.asarray(waited)))[settle:]
        found = ir.run(program, waited, controls=at)[0][settle:]
        scale = max(1.0, float(np.max(np.abs(y))))
        np.testing.assert_allclose(found, y, 0, tolerance * scale)

    moves = held(graph, seed)
    judge = ir.run(program, x, controls=moves)[0]
    scale = max(1.0, float(np.max(np.abs(judge))))
    np.testing.assert_allclose(in_blocks(program, x, moves), judge, 0, tolerance * scale)
    if in_faust:
        np.testing.assert_allclose(rendered(program, x, moves), judge, 0, tolerance * scale)


@pytest.mark.parametrize("name", MODELS)
def test_everywhere_a_number_may_stand(name):
    agree(MODELS[name], EPS * 1000 * SENSITIVE.get(name, 1.0), seed=len(name))


@pytest.mark.parametrize("seed", range(8))
def test_random_functions_of_knobs(seed):
    agree(random_model(seed), EPS * 1000, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 28))
def test_more_random_functions_of_knobs(seed):
    agree(random_model(seed), EPS * 1000, seed)


# -- What a control is in JAX ---------------------------------------------------------------------


def louder(x):
    return x * control("gain", 0.5, 0, 2)


def test_it_is_a_primitive():
    text = str(jax.make_jaxpr(louder)(jnp.ones((3, 2))))
    assert "control[" in text
    assert "name=gain" in text


def test_at_rest_it_is_its_default_as_a_python_number_would_be():
    for x in (jnp.ones((3, 2), jnp.float32), jnp.ones((3, 2))):
        for run in (louder, jax.jit(louder), jax.jit(jax.vmap(louder))):
            y = run(x)
            assert y.dtype == x.dtype
            np.testing.assert_array_equal(y, 0.5 * x)
    np.testing.assert_array_equal(jax.grad(lambda x: louder(x).sum())(jnp.ones((3, 2))), 0.5)


def test_positions_are_part_of_the_key_of_caches():
    x = jnp.ones((3, 2))
    compiled = jax.jit(louder)
    assert compiled(x)[0, 0] == 0.5
    for position, wanted in ((1.5, 1.5), (0.25, 0.25), (1.5, 1.5), (9, 2.0), (-1.0, 0.0)):
        with set_controls({"gain": position}):
            assert compiled(x)[0, 0] == wanted
        assert compiled(x)[0, 0] == 0.5


def test_positions_nest():
    def model(x):
        return x * (control("a", 1, 0, 9) + 10 * control("b", 1, 0, 9))

    with set_controls({"a": 2, "b": 3}), set_controls({"b": 4}):
        assert jax.jit(model)(jnp.ones((1, 1)))[0, 0] == 42


def test_positions_may_be_traced():
    compiled = jax.jit(louder)

    def total(position):
        with set_controls({"gain": position}):
            return compiled(jnp.ones((3, 2))).sum()

    assert jax.grad(total)(1.0) == 6
    assert jax.jit(jax.grad(total))(1.0) == 6
    np.testing.assert_array_equal(jax.vmap(total)(jnp.arange(3.0)), [0, 6, 12])
    np.testing.assert_array_equal(jax.jit(total)(0.5), 3)


def test_tracing_sees_the_knob_and_not_its_position():
    with set_controls({"gain": 1.5}):
        program = adac_jax.trace(louder, inputs=2).program
    assert list(program.graph.controls) == ["gain"]
    np.testing.assert_array_equal(ir.run(program, np.ones((3, 2)))[0], 0.5)


def test_a_name_that_no_model_asks_for_is_refused():
    with pytest.raises(adac_jax.AdacError, match="'gian'"), set_controls({"gian": 1.0}):
        louder(jnp.ones((1, 1)))
    with pytest.raises(adac_jax.AdacError, match="shape"), set_controls({"gain": np.ones(3)}):
        pass


REFUSED = {
    "range": ({"minimum": 2.0}, "below `maximum`"),
    "default": ({"default": 3.0}, "must lie in"),
    "infinite": ({"maximum": float("inf")}, "finite"),
    "name": ({"name": "3d"}, "letter"),
    "long name": ({"name": "a" * 101}, "letter"),
    "blank at the end": ({"name": "a "}, "letter"),
    "unit": ({"unit": "[x]"}, "unit"),
    "curve": ({"curve": "cubic"}, "linear"),
    "log": ({"curve": "log"}, "positive"),
    "ramp": ({"ramp": 0.0}, "ramp"),
    "text": ({"default": "loud"}, "must be a number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_control_is_refused(case):
    changed, message = REFUSED[case]
    settings = {"name": "gain", "default": 0.5, "minimum": 0.0, "maximum": 2.0, **changed}
    with pytest.raises((adac_jax.AdacError, ir.IRError), match=message):
        control(**settings)


def test_a_default_that_is_traced_is_refused():
    with pytest.raises(adac_jax.AdacError, match="`default` depends"):
        jax.jit(lambda g: control("gain", g, 0, 1))(0.5)


# -- What is refused in a model -------------------------------------------------------------------


def two_of_one_name(x):
    return x * control("gain", 0.5, 0, 2) + x * control("gain", 0.25, 0, 2)


def nearly_one_name(x):
    return x * control("pre delay", 0.5, 0, 2) + x * control("pre_delay", 0.5, 0, 2)


def initial_state(x):
    def step(c, v):
        return c + v, c

    return jax.lax.scan(step, jnp.zeros(2) + control("gain", 0.5, 0, 2), x)[1]


def how_often(x):
    n = control("count", 1, 0, 5).astype(jnp.int32)
    return x * jax.lax.fori_loop(0, n, lambda k, a: a + 1, 0)


def convolved(x):
    kernel = jnp.ones((3, 2, 2)) * control("gain", 0.5, 0, 2)
    dims = ("NHC", "HIO", "NHC")
    return jax.lax.conv_general_dilated(x[None], kernel, (1,), [(2, 0)], dimension_numbers=dims)[0]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (two_of_one_name, "'gain' is there twice"),
        (nearly_one_name, "differ in more than spaces"),
        (initial_state, "initial state follows a control"),
        (how_often, "how often it runs depends on a control"),
        (convolved, "what a control decides"),
    ],
)
def test_models_that_are_refused(model, message):
    with pytest.raises((adac_jax.AdacError, ir.IRError), match=message):
        adac_jax.trace(model, inputs=2)


def test_whole_delays_name_what_to_use():
    def model(x):
        return delay(x, control("d", 3, 0, 9).astype(jnp.int32))

    with pytest.raises(ValueError, match=r"variable_delay .* fractional_delay"):
        adac_jax.trace(model, inputs=2)
    with pytest.raises(ValueError, match=r"variable_delay .* fractional_delay"):
        jax.jit(lambda x: delay(x, [control("d", 3, 0, 9).astype(jnp.int32), 2]))(noise())


# -- The motion -----------------------------------------------------------------------------------


def knob_program(default=0.3, low=-1.0, high=2.0, step=0.01) -> ir.Program:
    builder = ir.Builder("knob")
    return ir.Program(builder.build([builder.control("k", default, low, high, step=step)]))


@pytest.mark.parametrize("seed", range(4))
def test_the_motion_is_the_equation_s(seed):
    """In float64, against the equation as it is written, with its own rounding at each step."""
    program = knob_program()
    (node,) = program.graph.controls.values()
    rng = np.random.default_rng(seed)
    k = np.repeat(rng.uniform(-1.5, 2.5, 12), 100)
    found = follow(node, k)
    y, wanted = 0.3, []
    for target in np.clip(k, -1, 2):
        y += np.clip(target - y, -0.01, 0.01)
        wanted.append(y)
    np.testing.assert_allclose(found, wanted, 0, EPS * 2 * len(k))
    assert np.all(np.abs(np.diff(found)) <= 0.01 + 4 * EPS)
    assert found.min() >= -1
    assert found.max() <= 2


def test_arrival_and_rest_are_exact():
    program = knob_program(default=0.1, step=0.007)
    (node,) = program.graph.controls.values()
    assert set(follow(node, np.full(50, 0.1))) == {0.1}
    for goal in (0.7, -0.3, 2.0, -1.0, 1 / 3):
        y = follow(node, np.full(400, goal))
        arrived = int(np.ceil(abs(goal - 0.1) / 0.007))
        assert set(y[arrived + 1 :]) == {goal}
        back = follow(node, np.concatenate([np.full(400, goal), np.full(400, 0.1)]))
        assert back[-1] == 0.1


@pytest.mark.parametrize("precision", ["single", "double"])
def test_faust_rests_and_arrives_exactly(precision):
    program = knob_program(default=0.1, step=0.007)
    dtype = np.float32 if precision == "single" else np.float64
    with Library(faust.emit(program), precision=precision) as library:
        path = path_of(library.parameters, "k")
        assert set(library.render(np.zeros((50, 0)))[:, 0]) == {dtype(0.1)}
        for goal in (0.7, -0.3, 2.0, -1.0, 1 / 3):
            library.set(path, goal)
            y = library.process(np.zeros((600, 0)))[:, 0]
            assert y[-1] == dtype(goal)
            assert np.max(np.abs(np.diff(y))) <= 0.007 + 4 * np.finfo(dtype).eps
        library.set(path, 5.0)
        assert library.process(np.zeros((600, 0)))[-1, 0] == 2


@pytest.mark.parametrize("cuts", [(), (100,), (1, 2, 350)])
def test_a_stream_s_knobs_move_as_one_signal_s(cuts):
    def model(x):
        g = control("gain", 0.5, 0, 2, ramp=FAST)
        return adac_jax.feedback(lambda u: 0.9 * delay(u, 3) * g / 2, x)

    stream = adac_jax.stream(model, inputs=2)
    x = noise()
    k = held(adac_jax.trace(model, inputs=2).graph, 3)["gain"]
    (wanted,) = ir.run(adac_jax.trace(model, inputs=2).program, x, controls={"gain": k})
    state, parts = stream.start(), []
    for a, b in zip((0, *cuts), (*cuts, LENGTH), strict=True):
        state, y = stream(state, x[a:b], controls={"gain": k[a:b]})
        parts.append(y)
    np.testing.assert_allclose(np.concatenate(parts), wanted, 0, EPS * 1000)
    whole = stream.whole(x, chunk=128, controls={"gain": k})
    np.testing.assert_allclose(whole, wanted, 0, EPS * 1000)
    np.testing.assert_allclose(stream.whole(x), jax.jit(model)(x), 0, EPS * 1000)
    with pytest.raises(ir.IRError, match="no control 'gian'"):
        stream(stream.start(), x, controls={"gian": 1.0})
    with pytest.raises(ir.IRError, match="one a sample"):
        stream(stream.start(), x, controls={"gain": k[:5]})


def test_the_interpreter_names_what_does_not_fit():
    program = knob_program()
    for controls, message in (
        ({"l": 1.0}, "no control 'l'; it has: 'k'"),
        ({"k": np.zeros(3)}, "one a sample"),
        ({"k": np.full(8, np.nan)}, "not finite"),
    ):
        with pytest.raises(ir.IRError, match=message):
            ir.interpreter.run_for(program, 8, controls=controls)


# -- The graph ------------------------------------------------------------------------------------


def test_json_keeps_controls_and_the_schema_knows_them():
    program = traced(MODELS["in_feedback"])
    text = ir.dumps(program)
    assert ir.loads(text).graph == program.graph
    schema = Draft202012Validator(json.loads(SCHEMA.read_text()))
    data = json.loads(text)
    schema.validate(data)
    (at, *_) = (k for k, node in enumerate(data["nodes"]) if node["op"] == "control")
    for key, value in (("minimum", "low"), ("curve", "cubic"), ("step", 0), ("unit", 3)):
        broken = json.loads(text)
        broken["nodes"][at]["attributes"][key] = value
        assert not schema.is_valid(broken), key
        with pytest.raises(ir.IRError):
            ir.loads(json.dumps(broken))


def test_the_frequency_response_is_that_at_rest():
    response = adac_jax.frequency_response(MODELS["in_feedback"], inputs=2)
    w = np.linspace(0, np.pi, 9)
    wanted = 1 / (1 - 0.25 * np.exp(-1j * w[:, None] * np.array([3, 5])))
    found = np.asarray(response(jnp.asarray(w)))
    np.testing.assert_allclose(np.diagonal(found, axis1=1, axis2=2), wanted, 0, EPS * 100)


def test_a_knob_is_one_slider():
    program = traced(MODELS["repeated_over_time"])
    text = faust.emit(program)
    assert text.count("hslider(") == 1
    assert 'hslider("g", 0.5, 0.0, 0.9, 1e-05)' in text
    text = faust.emit(traced(MODELS["pole"]))
    assert 'hslider("tau[unit:s][scale:log]", 0.01, 0.001, 1.0, 1e-06)' in text
    assert faust.cost(program).others > 0


def test_verification_turns_knobs():
    report = adac_jax.verify(MODELS["in_feedback"], inputs=2, seconds=0.1)
    assert report.passed
    turned = [c for c in report.checks if "controls" in c.reading]
    assert {c.signal.partition(", ")[2] for c in turned} == {
        "controls at minimum", "controls at maximum", "controls moving",
        "g at minimum", "g at maximum", "h at minimum", "h at maximum",
    }  # fmt: skip
    assert {c.reading for c in turned} == {
        f"{name} (controls)" for name in ("FAUST double", "FAUST single", "interpreter")
    }
    assert {c.reference for c in turned} == {"JAX float64", "graph float64"}
    assert [knob["name"] for knob in report.controls] == ["g", "h"]
    assert json.loads(report.to_json())["controls"][0]["maximum"] == 0.9


def test_verification_sees_a_knob_that_is_wired_wrongly():
    """FAUST of a model with another use of the same knob: equal at rest, and not when turned."""
    from adac_jax.verification import traced_at, verify_program

    traced, program = traced_at(lambda x: x * control("g", 1, 0, 2), inputs=1)
    _, wrong = traced_at(lambda x: x * control("g", 1, 0, 2) ** 2, inputs=1)
    report = verify_program(program, traced, seconds=0.1, source=faust.emit(wrong))
    failed = {c.reading for c in report.checks if not c.passed}
    assert failed == {"FAUST double (controls)", "FAUST single (controls)"}


def test_a_model_that_sounds_by_itself_is_held_to_its_graph():
    def model(x):
        tone = adac_jax.sine(adac_jax.phasor(440.0, x, sample_rate=48000.0))
        return x + control("level", 0.5, 0, 1) * tone

    report = adac_jax.verify(model, inputs=1, seconds=0.1)
    assert report.passed
    assert {c.reference for c in report.checks if "controls" in c.reading} == {"graph float64"}


def test_moving_positions_reach_the_ends():
    program = traced(MODELS["pole"])
    k = moving(program.graph, 48000)["tau"]
    assert k.min() == 0.001
    assert k.max() == 1
    assert len(np.unique(k)) > 20
    assert np.all(k.reshape(-1, 64) == k.reshape(-1, 64)[:, :1])


def test_fractional_delays_move_without_a_jump():
    """A ramp delayed by d[t] samples, interpolated linearly, is t - d[t]."""

    def model(x):
        d = control("d", 10.25, 5, 40, ramp=0.1)
        return fractional_delay(x, d, order=1, minimum=1, maximum=64)

    program = adac_jax.trace(model, inputs=1).program
    t = np.arange(2000.0)
    (node,) = program.graph.controls.values()
    k = np.where(t < 900, 10.25, 37.6)
    (y,) = ir.run(program, t[:, None], controls={"d": k})
    np.testing.assert_allclose(y[100:, 0], (t - follow(node, k))[100:], 0, EPS * 4000)
