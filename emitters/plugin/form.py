"""FAUST's C as one form of a plugin."""

from __future__ import annotations

import re

from emitters.plugin.metadata import Form, Metadata
from emitters.plugin.quick import quick
from emitters.plugin.tables import comment, endless, number

HEAD = """\
/* @title@ at @rate@ Hz: FAUST's C, written by adac_jax from a JAX model. */
#include "@p@_form.h"

"""
TAIL = """
static void *form_create(void) { return new@class@(); }
static void form_destroy(void *dsp) { delete@class@((@class@ *)dsp); }
static void form_init(void *dsp, int rate) { instanceInit@class@((@class@ *)dsp, rate); }
static void form_build(void *dsp, UIGlue *glue) { buildUserInterface@class@((@class@ *)dsp, glue); }
static void form_compute(void *dsp, int frames, FAUSTFLOAT **inputs, FAUSTFLOAT **outputs)
{
    compute@class@((@class@ *)dsp, frames, inputs, outputs);
}

const struct @p@_form @p@_form_@rate@ = {
    @rate@, @latency@, @settle@, @tail@, form_create, form_destroy,
    classInit@class@, form_init, form_build, form_compute,
};
"""


def form_source(metadata: Metadata, form: Form) -> str:
    """A C file: FAUST's class, and the table of its functions.

    Args:
        metadata: Of the plugin.
        form: One of its forms.
    """
    values = {
        "title": comment(metadata.name),
        "p": metadata.prefix,
        "class": metadata.form_name(form.rate),
        "rate": str(form.rate),
        "latency": str(form.latency),
        "settle": str(form.settle),
        "tail": number(endless(form.tail)),
    }
    real = "double" if metadata.precision == "double" else "float"
    source = quick(form.source.strip() + "\n", metadata.form_name(form.rate), real)
    return filled(HEAD, values) + source + filled(TAIL, values)


def filled(template: str, values: dict[str, str]) -> str:
    """The text with each `@word@` replaced; one that is not among the values stays as it is."""
    return re.sub(r"@(\w+)@", lambda m: values.get(m[1], m[0]), template)
