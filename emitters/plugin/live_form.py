"""A form whose numbers are data, as a shared library that the live plugin loads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emitters.plugin.form import filled
from emitters.plugin.quick import quick_open
from emitters.plugin.tables import number, text

CLASS = "adac_jax_form"
"""The name of FAUST's class."""
HEAD = """\
/* A live model's form: FAUST's C, written by adac_jax from a JAX model. */
#include <stdlib.h>
#include <string.h>

#include "live_form.h"

#define FAUSTFLOAT float

/* As faust/gui/CInterface.h has them: what FAUST's C calls to declare its sliders. */
typedef struct {
    void *uiInterface;
    void (*openTabBox)(void *, const char *);
    void (*openHorizontalBox)(void *, const char *);
    void (*openVerticalBox)(void *, const char *);
    void (*closeBox)(void *);
    void (*addButton)(void *, const char *, float *);
    void (*addCheckButton)(void *, const char *, float *);
    void (*addVerticalSlider)(void *, const char *, float *, float, float, float, float);
    void (*addHorizontalSlider)(void *, const char *, float *, float, float, float, float);
    void (*addNumEntry)(void *, const char *, float *, float, float, float, float);
    void (*declare)(void *, float *, const char *, const char *);
} UIGlue;

typedef struct {
    void *metaInterface;
    void (*declare)(void *, const char *, const char *);
} MetaGlue;

"""
TAIL = """
#define COUNT @count@u
#define SIZE @size@u
#define KNOBS @knobs@u
static const live_knob knob_table[KNOBS + 1] = {
@table@    {"", 0, 0, 0, 0},
};

static const uint32_t places[COUNT + 1] = {
@places@    SIZE,
};

static void ignore_label(void *ui, const char *label) { (void)ui, (void)label; }
static void ignore_close(void *ui) { (void)ui; }
static void ignore_switch(void *ui, const char *label, float *zone)
{
    (void)ui, (void)label, (void)zone;
}
static void ignore_note(void *ui, float *zone, const char *key, const char *value)
{
    (void)ui, (void)zone, (void)key, (void)value;
}
static void found_knob(void *ui, const char *label, float *zone, float initial, float low,
                       float high, float step)
{
    uint32_t k;
    (void)initial, (void)low, (void)high, (void)step;
    for (k = 0; k < KNOBS && k < LIVE_KNOBS; k++)
        if (strcmp(label, knob_table[k].name) == 0)
            ((float **)ui)[k] = zone;
}

static void form_prepare(int rate)
{
    static int is_done;
    if (!is_done)
        classInit@class@(rate);
    is_done = 1;
}
static void *form_create(void)
{
    size_t size = (sizeof(@class@) + 63) / 64 * 64;
    void *dsp = aligned_alloc(64, size); /* whole lines of the cache for `fData` */
    return dsp == NULL ? NULL : memset(dsp, 0, size);
}
static void form_destroy(void *dsp) { delete@class@((@class@ *)dsp); }
static void form_init(void *dsp, int rate) { instanceInit@class@((@class@ *)dsp, rate); }
static void form_clear(void *dsp) { instanceClear@class@((@class@ *)dsp); }
static float *form_numbers(void *dsp) { return ((@class@ *)dsp)->fData; }
static void form_zones(void *dsp, float **knobs)
{
    UIGlue glue;
    glue.uiInterface = knobs;
    glue.openTabBox = glue.openHorizontalBox = glue.openVerticalBox = ignore_label;
    glue.closeBox = ignore_close;
    glue.addButton = glue.addCheckButton = ignore_switch;
    glue.addVerticalSlider = glue.addHorizontalSlider = glue.addNumEntry = found_knob;
    glue.declare = ignore_note;
    buildUserInterface@class@((@class@ *)dsp, &glue);
}
ADAC_INLINE void between(float *restrict numbers, const float *restrict from,
                         const float *restrict way, float w)
{
    uint32_t k;
    for (k = 0; k < SIZE; k++)
        numbers[k] = from[k] + w * way[k];
}
#ifdef ADAC_AVX2
ADAC_AVX2 static void wide_between(float *numbers, const float *from, const float *way, float w)
{
    between(numbers, from, way, w);
}
#endif
static void form_move(void *dsp, const float *from, const float *way, float w)
{
    float *numbers = ((@class@ *)dsp)->fData;
#ifdef ADAC_AVX2
    if (__builtin_cpu_supports("avx2")) {
        wide_between(numbers, from, way, w);
        return;
    }
#endif
    between(numbers, from, way, w);
}
static void form_compute(void *dsp, int frames, float **inputs, float **outputs)
{
    compute@class@((@class@ *)dsp, frames, inputs, outputs);
}

__attribute__((visibility("default"))) const live_form adac_jax_live_form = {
    LIVE_FORM_ABI, @inputs@, @outputs@, COUNT, SIZE, KNOBS, @latency@, @settle@, @rate@,
    knob_table, places, form_prepare, form_create, form_destroy, form_init, form_clear,
    form_numbers, form_zones, form_move, form_compute,
};
"""


class Knob(Protocol):
    """What is told of a control."""

    @property
    def name(self) -> str: ...
    @property
    def minimum(self) -> float: ...
    @property
    def maximum(self) -> float: ...
    @property
    def default(self) -> float: ...
    @property
    def curve(self) -> str: ...


@dataclass(frozen=True, slots=True)
class LiveForm:
    """A form for the live plugin.

    Attributes:
        source: FAUST's C in single precision, of the class `CLASS`, of a text in open form.
        inputs: Channels.
        outputs: Channels.
        count: Numbers of its data.
        rate: Hertz.
        settle: Samples after which all knobs have arrived.
        latency: Samples by which its outputs come late.
        knobs: Its controls; the plugin's knobs are theirs in the order of their names.
    """

    source: str
    inputs: int
    outputs: int
    count: int
    rate: float
    settle: int
    latency: int
    knobs: Sequence[Knob]


def live_form_source(form: LiveForm) -> str:
    """A C file, to be compiled beside `live_form.h`."""
    rows = []
    for knob in sorted(form.knobs, key=lambda k: k.name):
        numbers = ", ".join(map(number, (knob.minimum, knob.maximum, knob.default)))
        rows.append(f"    {{{text(knob.name)}, {numbers}, {int(knob.curve == 'log')}}},\n")
    made = quick_open(form.source.strip() + "\n", CLASS, form.count)
    values = {
        "class": CLASS,
        "count": str(form.count),
        "knobs": str(len(rows)),
        "size": str(made.size),
        "places": "".join(f"    {place},\n" for place in made.places),
        "table": "".join(rows),
        "inputs": str(form.inputs),
        "outputs": str(form.outputs),
        "settle": str(form.settle),
        "latency": str(form.latency),
        "rate": number(form.rate),
    }
    return HEAD + made.source + filled(TAIL, values)


__all__ = ["CLASS", "LiveForm", "live_form_source"]
