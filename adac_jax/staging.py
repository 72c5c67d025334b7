"""Files that appear all at once, when they are complete, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adac_jax.errors import AdacError


@contextmanager
def staged(out: Path) -> Iterator[tuple[Path, Callable[[list[str]], tuple[Path, ...]]]]:
    """A temporary folder on the target's own disk, and what moves its files into place.

    Args:
        out: The target folder; made when there is something to move into it.

    Yields:
        The temporary folder, and a function of names of files or folders in it, which replace
        those of the same name in the target and whose new paths it returns.

    Raises:
        AdacError: the target cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise AdacError(f"The output {out} is a file; it must be a folder.")
    beside = out
    while not beside.exists():
        beside = beside.parent
    try:
        folder = Path(tempfile.mkdtemp(prefix=".adac_jax-", dir=beside))
    except OSError as error:
        raise _unwritable(out, error) from None

    def deliver(names: list[str]) -> tuple[Path, ...]:
        for name in names:
            target = out / name
            if target.exists() and target.is_dir() != (folder / name).is_dir():
                kind = "folder" if target.is_dir() else "file"
                raise AdacError(f"The output file {target} is a {kind}.")
        out.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            os.replace(folder / name, out / name)
        return tuple(out / name for name in names)

    try:
        yield folder, deliver
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unwritable(out: Path, error: OSError) -> AdacError:
    return AdacError(f"The folder {out} cannot be written: {error.strerror or error}.")
