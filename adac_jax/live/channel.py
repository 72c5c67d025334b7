"""The channel to the live plugin: a mapped file in a folder that is the user's alone."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import stat
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np

from adac_jax.errors import AdacError

MOST = 2**18
"""Numbers of a form that the plugin plays, at most."""
MAGIC = b"ADACLIVE"
VERSION = 1
_BEGIN = struct.Struct("=8sII")
_OPEN = struct.Struct("=II")
_MODEL = struct.Struct("=32sdQII")
"""As `emitters/plugin/live/live_channel.c` has them: magic, version, room; sequence (8 bytes);
open, check; id, rate, step, count, nothing; then float32 numbers."""
_SEQUENCE = _BEGIN.size
_STATE = _SEQUENCE + 8
_CHECKED = _STATE + _OPEN.size
_VALUES = _CHECKED + _MODEL.size


def folder() -> Path:
    """Where the channel and the compiled forms are.

    ADAC_JAX_LIVE, or `adac_jax/live` in the user's cache: XDG_CACHE_HOME, or `~/.cache`.
    """
    given = os.environ.get("ADAC_JAX_LIVE", "")
    if given.startswith("/"):
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if cache.startswith("/") else Path.home() / ".cache"
    return base / "adac_jax" / "live"


def private(path: Path) -> Path:
    """Makes a folder that nobody else can look into, or checks that it is one.

    Raises:
        AdacError: it is a link or a file, belongs to somebody else, or is open to others.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
    except OSError as error:
        raise AdacError(f"The folder {path} cannot be made: {error.strerror or error}.") from None
    if not stat.S_ISDIR(found.st_mode):
        raise AdacError(f"The live plugin's {path} must be a folder, and no link to one.")
    if found.st_uid != os.geteuid():
        raise AdacError(f"The live plugin's folder {path} belongs to somebody else.")
    if found.st_mode & 0o077:
        raise AdacError(
            f"The live plugin's folder {path} is open to others (mode "
            f"{found.st_mode & 0o777:03o}): programs are loaded from there. chmod 700 it, if "
            "nobody else has written into it."
        )
    return path


class Channel:
    """The writing end. One at a time: the newest that is open is followed.

    What is written is never half seen: a sequence number is odd meanwhile, and a sum tells.

    Raises:
        AdacError: the folder is not private, or another training has the channel.
    """

    def __init__(self) -> None:
        inside = private(folder())
        self.path = inside / "channel"
        _refuse_second(self.path)
        size = _VALUES + 4 * MOST  # most of which takes no memory until it is written
        self._file, name = tempfile.mkstemp(prefix=".channel-", dir=inside)
        try:
            os.fchmod(self._file, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            os.ftruncate(self._file, size)
            self._memory = mmap.mmap(self._file, size)
            self._memory[:_SEQUENCE] = _BEGIN.pack(MAGIC, VERSION, MOST)
            self._sequence = np.frombuffer(self._memory, np.uint64, 1, _SEQUENCE)
            self._memory[_STATE:_CHECKED] = _OPEN.pack(1, 0)
            os.replace(name, self.path)
        except BaseException as error:
            os.close(self._file)
            Path(name).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise AdacError(f"The channel {self.path} cannot be made: {error}.") from None
            raise
        self._own = os.fstat(self._file)
        self._closed = False

    def write(self, identity: bytes, rate: float, step: int, values: np.ndarray) -> None:
        """Says what the model is now; some microseconds.

        Args:
            identity: SHA-256 of the form's library.
            rate: Hertz.
            step: Number of the step.
            values: The data of the form.
        """
        if self._closed:
            return
        numbers = np.ascontiguousarray(values, np.float32).tobytes()
        head = _MODEL.pack(identity, rate, step, len(values), 0)
        check = zlib.crc32(numbers, zlib.crc32(head))
        self._sequence[0] += 1
        self._memory[_CHECKED:_VALUES] = head
        self._memory[_VALUES : _VALUES + len(numbers)] = numbers
        self._memory[_STATE:_CHECKED] = _OPEN.pack(1, check)
        self._sequence[0] += 1

    def close(self) -> None:
        """Says that nothing more will come."""
        if self._closed:
            return
        self._closed = True
        self._memory[_STATE : _STATE + 4] = bytes(4)
        del self._sequence
        self._memory.close()
        with contextlib.suppress(OSError):  # it may be gone already
            found = self.path.lstat()
            if (found.st_dev, found.st_ino) == (self._own.st_dev, self._own.st_ino):
                self.path.unlink()
        os.close(self._file)


def _refuse_second(path: Path) -> None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AdacError(
            "Another session has the live plugin's channel: close it, or end its process."
        ) from None
    finally:
        os.close(file)


__all__ = ["MOST", "Channel", "folder", "private"]
