"""The user's own line of an equation."""

from __future__ import annotations

import os
import site
import sysconfig
from functools import cache

from adac_jax._compat import JaxprEqn

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@cache
def _foreign() -> tuple[str, ...]:
    paths = {sysconfig.get_path(p) for p in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {*site.getsitepackages(), site.getusersitepackages()}
    return (*(p + os.sep for p in paths if p), _PACKAGE, "<frozen")


def user_line(eqn: JaxprEqn) -> str:
    """`file:line (function)` of the innermost frame outside JAX, Flax and this package, or ""."""
    traceback = eqn.source_info.traceback
    for frame in traceback.frames if traceback else ():
        if not frame.file_name.startswith(_foreign()):
            return f"{frame.file_name}:{frame.line_num} ({frame.function_name})"
    return ""
