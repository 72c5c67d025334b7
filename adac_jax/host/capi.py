"""libfaust's C interface (faust/dsp/llvm-dsp-c.h), as DawDreamer's shared library exports it."""

import ctypes as c
import functools
import importlib.metadata
import importlib.util
import threading
from pathlib import Path

import dawdreamer  # noqa: F401  (its import loads what the shared library itself depends on)

from adac_jax.host.errors import HostError

# libfaust compiles in global state, and ctypes releases the interpreter's lock: without a lock of
# ours, four threads that compile end the process. Reentrant, because the garbage collector may
# free a program while this thread holds it.
compiler_lock = threading.RLock()

_POINTERS = c.c_void_p  # the address of an array of channel addresses
_SIGNATURES = {
    "getCLibFaustVersion": (c.c_char_p, ()),
    "startMTDSPFactories": (c.c_bool, ()),
    "createCDSPFactoryFromString": (
        c.c_void_p,
        (c.c_char_p, c.c_char_p, c.c_int, c.POINTER(c.c_char_p), c.c_char_p, c.c_char_p, c.c_int),
    ),
    "generateCAuxFilesFromString": (
        c.c_bool,
        (c.c_char_p, c.c_char_p, c.c_int, c.POINTER(c.c_char_p), c.c_char_p),
    ),
    "deleteCDSPFactory": (c.c_bool, (c.c_void_p,)),
    "createCDSPInstance": (c.c_void_p, (c.c_void_p,)),
    "deleteCDSPInstance": (None, (c.c_void_p,)),
    "initCDSPInstance": (None, (c.c_void_p, c.c_int)),
    "instanceConstantsCDSPInstance": (None, (c.c_void_p, c.c_int)),
    "instanceClearCDSPInstance": (None, (c.c_void_p,)),
    "getNumInputsCDSPInstance": (c.c_int, (c.c_void_p,)),
    "getNumOutputsCDSPInstance": (c.c_int, (c.c_void_p,)),
    "buildUserInterfaceCDSPInstance": (None, (c.c_void_p, c.c_void_p)),
    "computeCDSPInstance": (None, (c.c_void_p, c.c_int, _POINTERS, _POINTERS)),
}


def _folder() -> Path:
    spec = importlib.util.find_spec("dawdreamer")
    if spec is None or spec.origin is None:
        raise HostError("The package `dawdreamer` has no folder: it must be an installed wheel.")
    return Path(spec.origin).parent


def _shared_library() -> Path:
    candidates = [importlib.util.find_spec("dawdreamer.dawdreamer")]
    found = [Path(spec.origin) for spec in candidates if spec is not None and spec.origin]
    for suffix in (".so", ".pyd", ".dylib"):
        found += sorted(_folder().glob(f"*{suffix}"))
    for path in found:
        if path.suffix in (".so", ".pyd", ".dylib"):
            return path
    raise HostError(
        f"The package `dawdreamer` ({_folder()}) must hold a shared library (.so, .pyd or .dylib)."
    )


def libraries_folder() -> Path:
    """The folder of `stdfaust.lib` and its like: libfaust does not look there by itself."""
    return _folder() / "faustlibraries"


@functools.cache
def api() -> c.CDLL:
    """The loaded library with its functions' types set.

    Raises:
        HostError: where DawDreamer's shared library cannot be loaded or lacks a function.
    """
    path = _shared_library()
    try:
        library = c.CDLL(str(path))
    except OSError as error:
        raise HostError(f"The shared library of `dawdreamer` cannot be loaded: {error}.") from error
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise HostError(
                f"The shared library of `dawdreamer` ({path.name}) must export libfaust's C "
                f"function `{name}`; dawdreamer 0.9.0 on Linux does."
            ) from None
        function.restype = result
        function.argtypes = arguments
    # libfaust's own lock: guards against compilations that do not pass through this package.
    library.startMTDSPFactories()
    return library


def versions() -> dict[str, str]:
    """The versions of what compiles and renders: `dawdreamer` and `libfaust`."""
    return {
        "dawdreamer": importlib.metadata.version("dawdreamer"),
        "libfaust": api().getCLibFaustVersion().decode(),
    }
