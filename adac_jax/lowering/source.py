"""The user's own line of an equation."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache

from adac_jax._compat import JaxprEqn

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@cache
def _foreign() -> tuple[str, ...]:
    paths = {sysconfig.get_path(p) for p in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {*site.getsitepackages(), site.getusersitepackages()}
    return (*(p + os.sep for p in paths if p), _PACKAGE, "<frozen")


def user_line(eqn: JaxprEqn, calls: Sequence[JaxprEqn] = ()) -> str:
    """The line that an equation comes from, as `file:line (function)`, or "".

    Args:
        eqn: The equation.
        calls: The call equations round it, outermost first. What a cached call holds may have been
            traced for another line of the user's, so an inner line counts only if its traceback
            passes the line of the call, or begins in the function that is called.
    """
    found, outer = "", ""
    for item in (*calls, eqn):
        frames, first = _user_frames(item), _first_function(item)
        if frames and (not found or found in frames or first not in ("", outer)):
            found, outer = frames[0], first
    return found


def _first_function(eqn: JaxprEqn) -> str:
    """The function in which JAX began to trace an equation, or "" if it kept the whole stack."""
    frames = eqn.source_info.traceback.frames if eqn.source_info.traceback else ()
    if not frames or frames[-1].function_name in ("<module>", "Thread._bootstrap"):
        return ""
    return f"{frames[-1].file_name} ({frames[-1].function_name})"


def calling_line() -> str:
    """The line of the user's that is being run, as `user_line` gives it, or ""."""
    frame = sys._getframe()
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_foreign()):
            return f"{code.co_filename}:{frame.f_lineno} ({code.co_qualname})"
        frame = frame.f_back
    return ""


def _user_frames(eqn: JaxprEqn) -> list[str]:
    """The frames outside JAX, Flax and this package, innermost first."""
    traceback = eqn.source_info.traceback
    return [
        f"{frame.file_name}:{frame.line_num} ({frame.function_name})"
        for frame in (traceback.frames if traceback else ())
        if not frame.file_name.startswith(_foreign())
    ]
