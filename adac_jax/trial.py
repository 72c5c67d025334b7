"""Compiles FAUST text of unknown origin in a process of its own, which may crash or hang.

libfaust answers text that is too deep by overflowing its stack, which ends the process, and can
take hours over text that is merely large. A child finds out first.
"""

from __future__ import annotations

import subprocess
import sys

from adac_jax.errors import AdacError

LIMIT_SECONDS = 120.0
"""Time that the child has."""
MANY_LINES = 2000
"""Lines of definitions above which text is not known to be tame."""
_FAILED = 3


def try_compile(source: str, sample_rate: int, limit_seconds: float = LIMIT_SECONDS) -> None:
    """Compiles and runs one sample in a child process, in single and in double precision.

    Args:
        source: FAUST text.
        sample_rate: Hertz.
        limit_seconds: After this the child is ended.

    Raises:
        AdacError: it does not compile, crashes or takes too long; the message says which.
    """
    command = [sys.executable, "-m", "adac_jax.trial", str(sample_rate)]
    size = f"the emitted FAUST ({source.count(chr(10))} lines)"
    try:
        child = subprocess.run(
            command, input=source.encode(), capture_output=True, timeout=limit_seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise AdacError(
            f"The compiler did not finish {size} within {limit_seconds:g} s; the model is too "
            "large for FAUST in this form."
        ) from None
    if child.returncode == _FAILED:
        raise AdacError(child.stderr.decode(errors="replace").strip().splitlines()[-1])
    if child.returncode:
        raise AdacError(
            f"The compiler crashed on {size}, in a process of its own; the model is too deep or "
            "too large for FAUST in this form."
        )


def main() -> int:
    """The child: text on standard input, the rate as argument."""
    from adac_jax.host import HostError, Library

    source = sys.stdin.buffer.read().decode()
    try:
        for precision in ("single", "double"):
            with Library(source, precision=precision, sample_rate=int(sys.argv[1])):
                pass
    except HostError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
