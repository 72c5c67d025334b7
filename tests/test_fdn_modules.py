"""Feedback delay networks against plain NumPy, sample by sample."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.signal
from flax import nnx
from plain import (
    EPS,
    RNG,
    Network,
    Sections,
    Step,
    agree,
    contraction,
    double,
    gains,
    impulse,
    nodes,
    noise,
    sections,
)

import adac_jax
from adac_jax import DelayFreeLoopError, nn
from adac_jax.host import Library, Processor
from emitters import faust


@pytest.fixture(autouse=True)
def _double():
    with double():
        yield


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (1, 2), (2, 3), (3, 5)])
def test_fdn(inputs, outputs):
    m, A, g = (7, 1, 12, 30), contraction(4), gains(4, inputs, outputs)
    x = noise(120, inputs)
    wanted = Network(m, A, *g.values()).run(x)
    agree(nn.FDN(m, matrix=A, **g), wanted, x, 120 * 8)


def test_fdn_with_filters_and_feedback_delays():
    m, f, A, g, sos = (7, 1, 12), (0, 5, 3), contraction(3), gains(3, 2, 2), sections(3)
    x = noise(100, 2)
    wanted = Network(m, A, *g.values(), absorption=Step(sos=sos), fed_back=Step(samples=f)).run(x)
    model = nn.FDN(m, matrix=A, absorption=Sections(sos), feedback_delays=f, **g)
    agree(model, wanted, x, 100 * 30)


def test_fdn_with_delays_in_the_feedback_path_only():
    A, g, x = contraction(3), gains(3, 1, 2), noise(60, 1)
    s = np.zeros((60, 3))
    for t in range(60):
        back = [(A @ s[t - m])[i] if m <= t else 0.0 for i, m in enumerate((2, 9, 4))]
        s[t] = g["input_gain"] @ x[t] + back
    wanted = s @ g["output_gain"].T + x @ g["direct"].T
    agree(nn.FDN((0, 0, 0), matrix=A, feedback_delays=(2, 9, 4), **g), wanted, x, 60 * 8)


def test_fdn_inside_the_loop_of_an_fdn():
    A, g, x = contraction(3), gains(3, 2, 2), noise(100, 2)
    inner_A, inner = contraction(2), gains(2, 3, 3)
    inner = {k: 0.3 * v for k, v in inner.items()}
    wanted = Network(
        (5, 9, 14), A, *g.values(), inner=Network((3, 4), inner_A, *inner.values())
    ).run(x)
    model = nn.FDN((5, 9, 14), matrix=A, loop=nn.FDN((3, 4), matrix=inner_A, **inner), **g)
    agree(model, wanted, x, 100 * 40)
    names = {node.name for node in nodes(model) if node.op == "delay"}
    assert names == {"delays", "loop.delays"}


def test_fdn_with_scattering():
    m, g, x = (5, 9, 14), gains(3, 1, 1), noise(100, 1)
    scattering = nn.Scattering([[0, 2, 5], [7, 0, 1]], gain_per_sample=0.9)
    taps = 0.8 * np.asarray(jax.jit(scattering.taps)())
    past: list[np.ndarray] = []

    def scatter(s: np.ndarray) -> np.ndarray:
        past.insert(0, s)
        return np.asarray(sum(h @ v for h, v in zip(taps, past, strict=False)))

    wanted = Network(m, np.eye(3), *g.values(), inner=scatter).run(x)
    model = nn.FDN(m, matrix=scattering, absorption=np.full(3, 0.8), **g)
    # The reference attenuates within the loop, so its lines are 1 / 0.8 of the model's.
    wanted = (wanted - x @ g["direct"].T) * 0.8 + x @ g["direct"].T
    agree(model, wanted, x, 100 * 60)


def test_tones():
    m, A, g, x = (7, 3), contraction(2), gains(2, 1, 2), noise(60, 1)
    before, after = sections(1), sections(2)
    net = Network(m, A, g["input_gain"], g["output_gain"], absorption=None)
    pre, post = Step(sos=before), Step(sos=after)
    wanted = np.array([post(net(pre(v))) + g["direct"] @ v for v in x])
    model = nn.FDN(m, matrix=A, pre_tone=Sections(before), tone=Sections(after), **g)
    agree(model, wanted, x, 60 * 40)


def test_one_sample_loop_and_one_sample_signal():
    model = nn.FDN((1,), matrix=np.array([[0.9]]), input_gain=[[1.0]], output_gain=[[1.0]])
    x = noise(50, 1)
    wanted = scipy.signal.lfilter([0, 1], [1, -0.9], x, axis=0)
    agree(model, wanted, x, 100)
    direct = nn.FDN.reverb(4, inputs=1)
    assert direct(jnp.ones((1, 1))).tolist() == [[1.0, 1.0]]
    assert direct(jnp.ones((0, 1))).shape == (0, 2)


def test_fdn_without_inputs_is_silent():
    model = nn.FDN((3, 4), input_gain=np.zeros((2, 0)), outputs=2)
    assert model.inputs == 0
    np.testing.assert_array_equal(model(jnp.zeros((9, 0))), np.zeros((9, 2)))


@pytest.mark.parametrize("case", ["fdn_N4_gain", "fdn_N8_sos", "fdn_N6_scatter"])
def test_networks_computed_by_others(case, data_folder):
    path = data_folder / "fdn_reference" / f"{case}.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    d = np.load(path)
    n = len(d["delays"])
    matrix = d.get("A")
    if matrix is None:
        # Its stages attenuate as its lines do: gains = γ^delays.
        gain = float(d["gains"][0] ** (1 / d["delays"][0]))
        matrix = nn.Scattering(
            d["shifts"].astype(int),
            matrix=list(d["U"]),
            left=d["m_L"].astype(int),
            right=d["m_R"].astype(int),
            gain_per_sample=gain,
        )
        np.testing.assert_allclose(jax.jit(matrix.taps)(), d["A_fir"], atol=n**3 * EPS)
    elif "A_raw" in d:
        found = nn.Orthogonal(n, weight=d["A_raw"]).matrix()
        np.testing.assert_allclose(found, d["A"], atol=64 * n * EPS)
    absorption = d["gains"] if "gains" in d else Sections(d["sos"])
    model = nn.FDN(
        d["delays"],
        matrix=matrix,
        absorption=absorption,
        input_gain=d["b"],
        output_gain=d["c"],
        direct=d["d"],
    )
    wanted = d["h_td"][:, :, 0]
    got = nnx.jit(lambda m, x: m(x))(model, impulse(len(wanted)))
    assert np.abs(got - wanted).max() <= 1e-10
    source = faust.emit(adac_jax.trace(model).program)
    peak = np.abs(wanted).max()
    with Library(source, precision="double") as library:
        double = library.render(np.asarray(impulse(len(wanted))))
    assert np.abs(double - wanted).max() <= 1e-10
    single = Processor(source).render(np.asarray(impulse(len(wanted))))
    assert np.abs(single - wanted).max() <= 1e-6 * peak


def every_part() -> nn.FDN:
    """A network with something trainable in every place."""
    return nn.FDN(
        nn.FractionalDelay([3.3, 5.21, 8.77, 11.4], minimum=1, maximum=16),
        inputs=2,
        outputs=3,
        matrix=nn.Serial(nn.Orthogonal(4), nn.Rotation(4, angles=[0.4, 1.0])),
        absorption=Sections(sections(4)[:1]),
        loop=nn.Parallel(
            nn.Serial(nn.Householder(4, vector=[1.0, 2.0, -0.5, 0.3]), nn.Gain(4, 0.6)),
            nn.Serial(nn.Circulant(4, orthogonal=True), nn.Delay([0, 2, 1, 4]), nn.Gain(4, 0.3)),
            nn.FDN((2, 3), inputs=4, outputs=4, matrix=0.2 * np.eye(2)),
        ),
        direct=np.ones((3, 2)),
        feedback_delays=(1, 0, 2, 0),
        pre_tone=Sections(sections(2)[:1]),
        tone=nn.Circulant(3),
    )


def test_gradients_of_every_parameter():
    model, x = every_part(), jnp.asarray(noise(40, 2))
    weights = jnp.asarray(noise(40, 3))
    graphdef, state = nnx.split(model)

    @jax.jit
    def loss(state):
        return jnp.sum(weights * nnx.merge(graphdef, state)(x) ** 2)

    gradient = jax.jit(jax.grad(loss))(state)
    leaves, tree = jax.tree.flatten(state)
    slopes, h = jax.tree.leaves(gradient), 1e-6
    assert len(leaves) >= 15
    for k, (value, slope) in enumerate(zip(leaves, slopes, strict=True)):
        assert jnp.isfinite(slope).all()
        direction = jnp.asarray(RNG.normal(size=value.shape))
        ends = []
        for sign in (1, -1):
            moved = [*leaves[:k], value + sign * h * direction, *leaves[k + 1 :]]
            ends.append(loss(jax.tree.unflatten(tree, moved)))
        numeric = (ends[0] - ends[1]) / (2 * h)
        # 120 terms of the loss, each rounded to about 10 EPS, divided by h; truncation is h².
        assert abs(numeric - jnp.sum(slope * direction)) < 120 * 10 * EPS / h


def test_every_part_is_traced():
    model, x = every_part(), noise(60, 2)
    agree(model, np.asarray(jax.jit(model)(jnp.asarray(x))), x, 60 * 100)
    names = {node.name for node in nodes(model)}
    assert {"pre_tone", "input_gain", "loop.fdn.matrix", "output_gain", "direct"} <= names


def test_batches():
    model, x = nn.FDN((3, 1, 7), inputs=2, outputs=2, absorption=np.full(3, 0.9)), noise(40, 2)
    batch = jnp.stack([jnp.asarray(x), 2 * jnp.asarray(x)])
    single = jax.jit(model)(batch[0])
    for found in (jax.jit(jax.vmap(model))(batch), jax.jit(model)(batch)):
        np.testing.assert_allclose(found[1], 2 * single, atol=40 * 8 * EPS)
    graphdef, state = nnx.split(model)
    many = jax.tree.map(lambda v: jnp.stack([v, v]), state)
    found = jax.jit(jax.vmap(lambda s, x: nnx.merge(graphdef, s)(x)))(many, batch)
    np.testing.assert_allclose(found[0], single, atol=40 * 8 * EPS)


def test_delay_free_loops_are_named():
    x = jnp.zeros((8, 1))
    with pytest.raises(DelayFreeLoopError, match=r"matrix.*no delay"):
        nn.FDN((3, 0))(x)
    with pytest.raises(DelayFreeLoopError, match=r"matrix.*no delay"):
        nn.FDN((3, 3), loop=nn.FDN((0, 0), inputs=2, outputs=2))(x)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"matrix": np.eye(3)}, "`weight` has the shape"),
        ({"matrix": nn.Delay([1, 2, 3])}, "`matrix` takes 3 channels"),
        ({"absorption": nn.Delay([1])}, "`absorption` takes 1 channels"),
        ({"absorption": np.ones(3)}, "`gain` of shape"),
        ({"feedback_delays": [1, 2, 3]}, "`feedback_delays` takes 3"),
        ({"loop": nn.Delay([1])}, "`loop` takes 1 channels and gives 1, but here it must take 2"),
        ({"input_gain": np.ones(2)}, "`input_gain` has the shape"),
        ({"input_gain": np.ones((3, 1))}, "`input_gain` takes 1 channels and gives 3"),
        ({"output_gain": np.ones((1, 3))}, "`output_gain` takes 3"),
        ({"direct": np.ones((2, 1))}, "`direct` takes 1 channels and gives 2"),
        ({"tone": nn.Delay([1, 2])}, "`tone` takes 2"),
        ({"pre_tone": nn.Delay([1, 2])}, "`pre_tone` takes 2"),
    ],
)
def test_fdn_refuses(arguments, match):
    with pytest.raises(ValueError, match=match):
        nn.FDN((3, 4), **arguments)


def test_reverb_decays_as_asked():
    rate, t60 = 8000.0, 0.5
    model = nn.FDN.reverb(6, t60=t60, t60_nyquist=None, sample_rate=rate, dry=0.0)
    assert (model.inputs, model.outputs, model.sample_rate) == (2, 2, rate)
    h = np.asarray(jax.jit(model)(impulse(int(1.1 * t60 * rate), 2)))
    energy = np.cumsum((h[::-1] ** 2).sum(axis=1))[::-1]
    level = 10 * np.log10(energy / energy[0])
    fit = np.flatnonzero((level < -5) & (level > -35))
    slope = np.polyfit(fit / rate, level[fit], 1)[0]
    # All modes decay alike (Jot and Chaigne 1991); what is left is the ripple of few modes.
    assert abs(-60 / slope / t60 - 1) < 0.02
    default = nn.FDN.reverb()
    assert (default.inputs, default.outputs, default.delays.inputs) == (2, 2, 16)
    assert np.isfinite(jax.jit(default)(jnp.ones((100, 2)))).all()
