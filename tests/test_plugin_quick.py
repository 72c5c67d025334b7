"""FAUST's C as plugins compile it: matrices as products, the same on every processor."""

from __future__ import annotations

import ctypes as c
import re
import shutil
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import adac_jax
from adac_jax import nn
from adac_jax.host import c_source
from adac_jax.plugin.building import FLAGS
from adac_jax.verification import traced_at
from emitters import faust
from emitters.plugin.beside import beside
from emitters.plugin.dense import groups_of
from emitters.plugin.live_form import HEAD, LiveForm, live_form_source
from emitters.plugin.quick import quick, quick_open

RATE, LINES, FRAMES = 48000, 18, 3000
TAIL = """
void *made(void) { net *d = newnet(); initnet(d, 48000); return d; }
void run(void *d, int n, float **x, float **y) { computenet((net *)d, n, x, y); }
"""
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(scope="module")
def program():
    delays = nn.mutually_prime_delays(LINES, 300, 1200)
    absorption = nn.OnePole.from_t60(1.0, 0.5, delays, sample_rate=float(RATE))
    model = nn.FDN(delays, absorption=absorption, outputs=2, rngs=nnx.Rngs(0))
    return traced_at(model, sample_rate=float(RATE))[1]


@pytest.fixture(scope="module")
def source(program):
    return c_source(faust.emit(program), class_name="net", sample_rate=RATE)


def library(text, folder, *flags):
    (folder / "made.c").write_text(text.replace("live_form.h", "stdint.h"))
    path = folder / f"made{len(list(folder.iterdir()))}.so"
    command = ["gcc", "-std=c11", *FLAGS, *flags, "-fPIC", "-shared", "-w", "-o", path]
    subprocess.run([*command, folder / "made.c", "-lm"], check=True)
    made = c.CDLL(str(path))
    made.made.restype = c.c_void_p
    return made


def render(made, x=None):
    if x is None:
        x = np.random.default_rng(0).uniform(-0.5, 0.5, (1, FRAMES)).astype(np.float32)
    y = np.zeros((2, FRAMES), np.float32)
    dsp = c.c_void_p(made.made())
    at = 0
    for size in (1, 7, 64, FRAMES - 72):
        rows = [
            (c.c_void_p * len(a))(*(r.ctypes.data + 4 * at for r in a)) for a in (x, y)
        ]  # fmt: skip
        made.run(dsp, size, *rows)
        at += size
    return y


@needs_gcc
def test_rows_become_products_whose_sums_are_those_of_faust(source, tmp_path):
    text = quick(source, "net", "float")
    assert text.count("adac_product(adac_a0") == 1
    assert f"{LINES}, 24, is_wide" in text  # 18 rows and two outputs
    assert text.count("for (l = 0; l < 24; l++) {") == 1  # filters of 18 lines
    before, after = (render(library(HEAD + t + TAIL, tmp_path)) for t in (source, text))
    # A sum of 18 products, of which each rounding is at most half of 2^-23 of the largest partial
    # sum; the loop is lossless at most, so that errors of its 10 rounds add up.
    limit = 10 * 2 * LINES * 2.0**-24 * np.sqrt(LINES) * np.max(np.abs(before))
    assert np.max(np.abs(after - before)) < limit
    assert np.any(after != 0)


@needs_gcc
def test_all_processors_compute_the_same_bits(source, tmp_path):
    text = HEAD + quick(source, "net", "float") + TAIL
    ways = [(), ("-DADAC_ANY",), ("-O1",), ("-DADAC_ANY", "-march=native")]
    first, *others = (render(library(text, tmp_path, *flags)) for flags in ways)
    for other in others:
        np.testing.assert_array_equal(first, other)


@needs_gcc
def test_other_compilers_compute_the_same_bits(source, tmp_path):
    text = HEAD + quick(source, "net", "float") + TAIL
    plain = text.replace("#if defined(__GNUC__)\n#define ADAC_INLINE", "#if 0\n#define ADAC_INLINE")
    assert plain != text
    first, other = (render(library(t, tmp_path)) for t in (text, plain))
    np.testing.assert_array_equal(first, other)


def test_every_number_of_an_open_form_has_a_place_of_its_own(program):
    opened = faust.open_form(program)
    count = len(opened.initial)
    text = c_source(opened.text, class_name="net", sample_rate=RATE)
    made = quick_open(text, "net", count)
    assert len(set(made.places)) == len(made.places) == count
    assert max(made.places) < made.size
    assert not re.search(r"fEntry|fSlow", made.source)
    rows = LINES + 2
    assert len(re.findall(r"adac_product\(dsp->fData \+ \d+", made.source)) == 1
    assert made.size >= LINES * (-(-rows // 8) * 8)


def test_a_form_says_where_its_numbers_are(program):
    opened = faust.open_form(program)
    text = c_source(opened.text, class_name="adac_jax_form", sample_rate=RATE)
    form = LiveForm(text, 1, 2, len(opened.initial), float(RATE), 0, 0, ())
    source = live_form_source(form)
    assert f"#define COUNT {len(opened.initial)}u" in source
    assert "addNumEntry(ui" not in source


LONG = " + ".join(f"0.{k + 1}f * fTemp{k}" for k in range(5))
HEADS = "".join(f"\tfloat fTemp{k} = 1.0f;\n" for k in range(5))


@pytest.mark.parametrize(
    "row",
    [
        LONG.replace("fTemp4", "fTemp3"),  # twice the same
        LONG.replace("fTemp4", "fTemp4 * fTemp3"),
        LONG.replace("0.5f", "fSlow2"),  # no number
        LONG.replace("0.5f * fTemp4", "sinf(fTemp4)"),
        LONG.replace("fTemp4", "fTemp9"),  # comes later
        LONG.replace("fTemp4", "dsp->fRec1[1]"),
        LONG + " + 1.0f",
    ],
)
def test_what_is_no_matrix_stays(row):
    lines = [f"\tdsp->fRec{k}[0] = ((dsp->iConst{k}) ? {row} : 0.0f);\n" for k in range(6)]
    text = HEADS + "".join(lines) + "\tfloat fTemp9 = 1.0f;\n"
    assert groups_of(text, lambda word: not word.startswith("fSlow")) == []


def test_signs_and_parentheses_are_read():
    row = "0.5f * fTemp0 - (fTemp1 + 0.25f * (fTemp2 - 2.0f * fTemp3)) + -1e-05f * fTemp4"
    plain = row.replace("0.25f * (fTemp2 - 2.0f * fTemp3)", "(0.25f * fTemp2 - 2.0f * fTemp3)")
    lines = [
        f"\tdsp->fRec{k}[0] = fTemp0 - ((dsp->iConst{k}) ? {plain} : 0.0f);\n" for k in range(6)
    ]
    (group,) = groups_of(HEADS + "".join(lines), lambda word: True)
    wanted = {"fTemp0": "0.5f", "fTemp1": "-1.0", "fTemp2": "-0.25f", "fTemp3": "2.0f"}
    assert dict(group.rows[0].terms) == wanted | {"fTemp4": "-1e-05f"}
    lines = [f"\tdsp->fRec{k}[0] = ((dsp->iConst{k}) ? {row} : 0.0f);\n" for k in range(6)]
    assert groups_of(HEADS + "".join(lines), lambda word: True) == []


def lines_of(*statements: str, count: int = 6) -> str:
    """A loop's statements, once for each line, with `#` as its number."""
    written = [f"\t\t\t{s.replace('#', str(k + 10))};" for k in range(count) for s in statements]
    states = sorted(set(re.findall(r"fRec\d+(?=\[)", "\n".join(written))))
    shifts = [f"\t\t\tdsp->{s}[1] = dsp->{s}[0];" for s in states]
    return "\n".join(["void compute() {", *written, "\t\t\toutput0[i0] = fTemp10;", *shifts, "}"])


FILTER = (
    "float fTemp# = dsp->fVec1[(dsp->IOTA0 - 4#) & 63]",
    "dsp->fRec#[0] = 0.5f * fTemp# - 0.1#f * dsp->fRec#[1]",
    "float fTemp2# = fTemp# + dsp->fRec#[1]",
    "float fTemp3# = 2.0f * fTemp2# - fTemp0",
    "output1[i0] = fTemp3#",
)


def side_by_side(*statements, literals=lambda words: "adac_c0[l]", **others):
    return beside(lines_of(*statements, **others), "float", literals)


def test_what_repeats_becomes_a_loop():
    found = side_by_side(*FILTER)
    assert found is not None
    assert found.fields == (("adac_x0", 8),)
    assert found.gone == {f"fRec{k}" for k in range(10, 16)}
    assert "\t\t\t\tfloat t1 = 0.5f * adac_i0[l] - adac_c0[l] * dsp->adac_x0[l];" in found.compute
    assert "\t\t\t\tfloat t3 = 2.0f * t2 - fTemp0;" in found.compute
    assert found.compute.index("fTemp315 = adac_o3[5]") < found.compute.index("= fTemp310;")
    assert "fRec" not in found.compute


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fTemp# = dsp->fVec1[(dsp->IOTA0 - 4#) & 63]", "fTemp# = dsp->fRec10[1]"),  # another's
        ("output1[i0] = fTemp3#", "output1[i0] = dsp->fRec#[0]"),  # a state that is seen
        ("fTemp3# = 2.0f * fTemp2#", "fTemp3# = 2.0f * fTemp210"),  # the first's
        ("2.0f * fTemp2# - fTemp0", "sinf(fTemp2#)"),  # and then arithmetic needs it
    ],
)
def test_what_depends_on_another_line_stays(old, new):
    statements = [s.replace(old, new) for s in FILTER]
    statements.insert(4, "float fTemp4# = fTemp3# + dsp->fRec#[1]")
    assert side_by_side(*statements) is None


def test_numbers_that_are_no_array_stay():
    assert side_by_side(*FILTER, literals=lambda words: None) is None
    assert side_by_side(*FILTER, count=3) is None


@needs_gcc
def test_a_cascade_stays(tmp_path):
    """Each section reads the one before."""
    sos = [[1.0, 0.2, 0.1 * k, 1.0, -0.3, 0.05 * k] for k in range(1, 9)]

    def model(x):
        for row in sos:
            x = adac_jax.sosfilt(jnp.array([row]), x)
        return x

    program = traced_at(model, inputs=2, sample_rate=float(RATE))[1]
    source = c_source(faust.emit(program), class_name="net", sample_rate=RATE)
    text = quick(source, "net", "float")
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (2, FRAMES)).astype(np.float32)
    before, after = (render(library(HEAD + t + TAIL, tmp_path), x) for t in (source, text))
    np.testing.assert_array_equal(before, after)
