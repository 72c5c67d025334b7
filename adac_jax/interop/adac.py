"""The JSON that adac writes of FLAMO's models: a tree of what contains what, and leaves.

adac (Franchino, Schlecht, "Automatic differentiable audio compilation"; adac 0.1.0,
`adac/codegen/flamo_to_json.py`, `json_to_faust.py`, `json_to_flamo.py`) walks a FLAMO model and
writes for each part an object with "type":

- Shell: one child, what stands between FFT and inverse FFT, which have no part in what it computes.
- Series: "children" one after the other.
- Parallel: "children" on the same input; their outputs are added if "sum_output", else joined.
- Recursion: y = fF(x + fB(y)), with "fF" and "fB".
- Leaf: "module_type", the name of FLAMO's class, and "params": see `adac_leaves.py`.

The root has "fs", the sample rate. What FLAMO computes of the model is what counts: where adac's
own FAUST differs (its biquads, SVFs and equalisers are placeholders, and delays in units other than
seconds come out longer by the unit), this module goes with FLAMO. FLAMO's damping against aliasing
in time ("alias_decay_db") belongs to its sampling of frequencies and is not applied.
"""

from __future__ import annotations

from typing import Any

import jax
from jax import Array
from jaxtyping import Float

from adac_jax.interop.adac_leaves import leaf
from adac_jax.interop.documents import Part
from adac_jax.nn.compose import Parallel, Serial
from adac_jax.nn.module import Module
from adac_jax.primitives import feedback

MAX_DEPTH = 64
CONTAINERS = ("Shell", "Series", "Parallel", "Recursion", "Leaf")
"""What "type" may be."""


class Recursion(Module):
    """y = F(x + B(y)): a loop that is heard after its forward path.

    Args:
        forward: F.
        back: B; on the way round there must be a delay of at least one sample.

    Raises:
        ValueError: the channels do not fit round the loop.
    """

    def __init__(self, forward: Module, back: Module) -> None:
        if back.inputs != forward.outputs or back.outputs != forward.inputs:
            raise ValueError(
                f"the forward path takes {forward.inputs} channels and gives {forward.outputs}, "
                f"but the path back takes {back.inputs} and gives {back.outputs}"
            )
        self.forward, self.back = forward, back
        self.inputs, self.outputs = forward.inputs, forward.outputs

    def __call__(self, x: Float[Array, "time inputs"]) -> Float[Array, "time outputs"]:
        """Runs the loop, from rest."""

        def loop(u: Array) -> tuple[Array, Array]:
            with jax.named_scope("forward"):
                y = self.forward(u)
            with jax.named_scope("back"):
                return self.back(y), y

        return feedback(loop, x, has_aux=True)[1]


class Shell(Module):
    """The whole model: its core, and the rate that it was made for.

    Args:
        core: What stands in it.
        sample_rate: In Hz.
    """

    def __init__(self, core: Module, sample_rate: float) -> None:
        self.core, self.sample_rate = core, sample_rate
        self.inputs, self.outputs = core.inputs, core.outputs

    def __call__(self, x: Float[Array, "time inputs"]) -> Float[Array, "time outputs"]:
        """Processes audio, from rest."""
        return self.core(x)


def adac(document: Any, name: str = "the document") -> Shell:
    """The model in a document of adac.

    Args:
        document: What `json.load` gives: an object with "type" and "fs".
        name: What to call it in errors.

    Returns:
        A model with the sample rate "fs", made of `adac_jax.nn`'s modules: gains, matrices,
        sections and taps are parameters, delays are fixed.

    Raises:
        FormatError: a part is missing, unknown, of another shape or not finite, or its channels
            do not fit those of its neighbour.
    """
    root = Part(document, name)
    rate = root.entry("fs").number(1.0, 1e7)
    if root.has("controls") and root.entry("controls").value:
        raise root.entry("controls").error(
            "missing or empty, for adac adds controls to its FAUST and not to the model"
        )
    return Shell(_build(root, rate, 0), rate)


def _build(part: Part, rate: float, depth: int) -> Module:
    if depth > MAX_DEPTH:
        raise part.error(f"nested at most {MAX_DEPTH} deep")
    kind = part.entry("type").text(*CONTAINERS)
    if kind == "Leaf":
        return leaf(part, rate)
    if kind == "Recursion":
        paths = [_build(part.entry(key), rate, depth + 1) for key in ("fF", "fB")]
        return _fitting(part, lambda: Recursion(*paths))
    parts = part.entry("children").parts(1 if kind == "Shell" else None)
    children = [_build(p, rate, depth + 1) for p in parts]
    if len(children) == 1:
        return children[0]
    if kind == "Series":
        return _fitting(part, lambda: Serial(*children))
    added = part.has("sum_output") and part.entry("sum_output").flag()
    return _fitting(part, lambda: Parallel(*children, combine="sum" if added else "concatenate"))


def _fitting(part: Part, make: Any) -> Module:
    """The module, or the error that its parts' channels do not fit, at its place."""
    try:
        return make()
    except ValueError as error:
        raise part.error(f"of parts whose channels fit: {str(error).rstrip('.')}") from None
