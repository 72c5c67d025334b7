"""A step as a file to take away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adac_jax.errors import AdacError
from adac_jax.exporting import file_stem
from emitters import faust
from ir import dumps

if TYPE_CHECKING:
    from adac_jax.live.session import Session

SUFFIXES = ("dsp", "ir.json")


def step_file(session: Session, number: int, suffix: str) -> tuple[str, str]:
    """Name and text: FAUST in closed form, or the IR, which `python -m adac_jax.export` takes.

    Args:
        session: What is heard.
        number: Of the step, or of one after it.
        suffix: "dsp" or "ir.json".

    Raises:
        AdacError: there is no such step, or no such kind of file.
    """
    if suffix not in SUFFIXES:
        raise AdacError(f"A step is {' or '.join(SUFFIXES)}, and not {suffix[:20]!r}.")
    program, kept = session.program(number), session.step(number).number
    stem = file_stem(program.graph.name)
    text = f"// {stem}, after {kept} updates\n{faust.emit(program)}"
    return f"{stem}-step-{kept}.{suffix}", text if suffix == "dsp" else dumps(program)


__all__ = ["step_file"]
