"""Which primitives of `jax.lax` the walker knows: `python -m adac_jax.lowering.coverage`."""

from __future__ import annotations

from jax import lax

from adac_jax._compat import CALLS
from adac_jax.lowering import RULES
from adac_jax.lowering.refusals import MEANINGLESS, REFUSED

WRITTEN_OUT = {"while", "cond", "scan"}


def primitives() -> list[str]:
    """The names of all primitives that `jax.lax` shows."""
    found = {getattr(lax, name) for name in dir(lax) if name.endswith("_p")}
    return sorted({p.name for p in found if hasattr(p, "name")})


def table() -> str:
    """The coverage table, as Markdown.

    Raises:
        KeyError: a primitive has neither a rule nor a reason.
    """
    rows, counts = [], {"supported": 0, "refused": 0, "no meaning": 0}
    for name in primitives():
        if name in RULES or name in CALLS:
            kind, text = "supported", _note(name)
        elif name in MEANINGLESS:
            kind, text = "no meaning", " ".join(MEANINGLESS[name]).strip()
        else:
            kind, text = "refused", " ".join(REFUSED[name]).strip()
        counts[kind] += 1
        rows.append(f"| `{name}` | {kind} | {text[:1].upper()}{text[1:]} |")
    total = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return "\n".join(
        [
            "# Primitives of `jax.lax`",
            "",
            "What `trace` makes of each; written by `python -m adac_jax.lowering.coverage`, and "
            "compared with this page by the tests.",
            "",
            f"{len(rows)} primitives: {total}.",
            "",
            "| primitive | per sample | |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _note(name: str) -> str:
    return {
        "scan": "over time a loop of the graph, over anything else written out",
        "while": "if how often it runs is known when the model is traced",
        "cond": "a branch that a signal decides becomes a selection inside a scan",
        "conv_general_dilated": "over time with padding in front, dilated or grouped, not strided",
        "cumsum": "over time a loop of one sample",
        "cumlogsumexp": "over channels",
        "sort": "over channels, by one key",
        "iota": "along time it counts samples",
        "gather": "with constant indices, over channels",
        "scatter": "with constant indices, over channels",
        "scatter-add": "with constant indices, over channels",
        "dynamic_slice": "with constant positions; along time it is look-ahead or delay",
        "dynamic_update_slice": "with constant positions, over channels",
        "dot_general": "over channels",
        "rev": "over channels",
        "reduce_precision": "down to single precision, where it changes nothing",
        "is_finite": "tells numbers up to the largest of single precision",
        "erf_inv": "to a few rounding errors, by three steps of Halley's method",
    }.get(name, "")


if __name__ == "__main__":
    print(table(), end="")
