"""Numbers too small for full precision, taken for zero by the processor while it renders.

What decays towards silence ends in such denormal numbers, on which some processors compute ten to a
hundred times more slowly than on others. A bit in the processor's control register makes them zero,
as hosts of plugins do around each block. The register belongs to the thread, and is put back.
"""

from __future__ import annotations

import ctypes as c
import functools
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

_WORDS = 16  # of 32 bits; `fenv_t` has 8 on x86-64 Linux, 4 on macOS, 2 on 64-bit ARM Linux
_X86 = 0x8040
"""MXCSR: results (FTZ, bit 15) and operands (DAZ, bit 6)."""
_ARM = 1 << 24
"""FPCR: FZ, both."""
_PLACES = {
    ("linux", "x86_64"): (7, _X86),
    ("linux", "aarch64"): (0, _ARM),
    ("darwin", "x86_64"): (1, _X86),
    ("darwin", "arm64"): (2, _ARM),
}
"""In which word of `fenv_t` the register is, and its bits. In glibc's and musl's for x86-64, seven
words of the old coprocessor come first; macOS keeps two halves of a word first, and on ARM the
status, of 64 bits."""


@functools.cache
def _register() -> tuple[Callable, Callable, int, int] | None:
    """C's functions that read and write the register, and where in what they write it is."""
    place = _PLACES.get((sys.platform, platform.machine()))
    if place is None:
        return None
    library = c.CDLL(None)
    try:
        return library.fegetenv, library.fesetenv, *place
    except AttributeError:
        return None


@contextmanager
def _flushed() -> Iterator[None]:
    found = _register()
    if found is None:
        yield
        return
    read, write, word, bits = found
    before = (c.c_uint32 * _WORDS)()
    read(before)
    within = (c.c_uint32 * _WORDS)(*before)
    within[word] |= bits
    write(within)
    try:
        yield
    finally:
        write(before)


def flushed(wanted: bool = True) -> AbstractContextManager[None]:
    """Within it, this thread takes denormal numbers for zero, on x86-64 and 64-bit ARM.

    On other machines, and on systems other than Linux and macOS, it does nothing.

    Args:
        wanted: False: nothing is changed.
    """
    return _flushed() if wanted else nullcontext()
