"""The page's modules as one, for notebooks, which have no server to load others from."""

from __future__ import annotations

import json
import re
from importlib import resources

MAIN = ("spectrum", "steps", "sounds", "player", "plots", "knobs", "view")
WORKLET = ("ramp", "engine", "worklet")
ANALYSIS = ("ramp", "engine", "spectrum", "analysis")
_IMPORT = re.compile(r"^import .*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const|function|class|async)", re.MULTILINE)


def static(name: str) -> str:
    """The text of a file of the page."""
    return (resources.files("adac_jax.live") / "static" / name).read_text("utf-8")


def script(names: tuple[str, ...]) -> str:
    """Modules one after the other, without what they import from and export to each other."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", static(f"{name}.js"))) for name in names)


def widget_module() -> str:
    """The notebook widget as a module of its own, which exports `render`."""
    parts = [
        f"const WORKLET = {json.dumps(script(WORKLET))};",
        f"const ANALYSIS = {json.dumps(script(ANALYSIS))};",
        script((*MAIN, "widget")),
        "export default { render };",
    ]
    return "\n".join(parts)


__all__ = ["script", "static", "widget_module"]
