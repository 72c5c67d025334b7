"""Sound files in blocks: reading at any rate, writing at any length, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
import soxr

from adac_jax.errors import AdacError

BLOCK = 16384
"""Frames that are read at once."""
WAV_BYTES = 4_000_000_000
"""Above this a file is written as RF64: the sizes in a plain WAV have 32 bits."""


@dataclass(frozen=True, slots=True)
class Source:
    """A sound file to be read.

    Attributes:
        path: The file.
        sample_rate: Its own rate in hertz.
        channels: Its channels.
        frames: Its length at its own rate.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int

    def blocks(self, sample_rate: int) -> Iterator[np.ndarray]:
        """The file as float64 (time, channels), block by block, at a rate of one's choice.

        Raises:
            AdacError: the file breaks off, or holds a number that is not finite.
        """
        same = sample_rate == self.sample_rate
        stream = None if same else soxr.ResampleStream(
            self.sample_rate, sample_rate, self.channels, dtype="float64", quality="VHQ"
        )  # fmt: skip
        read = 0
        try:
            with soundfile.SoundFile(self.path) as file:
                while len(block := file.read(BLOCK, dtype="float64", always_2d=True)):
                    self._check(block, read)
                    read += len(block)
                    yield block if stream is None else stream.resample_chunk(block)
        except (soundfile.LibsndfileError, OSError) as error:
            raise AdacError(
                f"The sound file {self.path} cannot be read: {_reason(error)}"
            ) from None
        if read == 0:
            raise AdacError(f"The sound file {self.path} has no samples.")
        if stream is not None:
            yield stream.resample_chunk(np.zeros((0, self.channels)), last=True)

    def _check(self, block: np.ndarray, start: int) -> None:
        finite = np.isfinite(block)
        if not finite.all():
            frame, channel = (int(k[0]) for k in np.nonzero(~finite))
            raise AdacError(
                f"The sound file {self.path} holds {block[frame, channel]} at sample "
                f"{start + frame}, channel {channel + 1}; every sample must be a finite number."
            )


def open_source(path: str | Path) -> Source:
    """Looks at a sound file: WAV, FLAC, AIFF, OGG and what else libsndfile reads.

    Raises:
        AdacError: there is no such file, or it is not a sound file.
    """
    path = Path(path)
    if not path.exists():
        raise AdacError(f"The sound file {path} does not exist.")
    if path.is_dir():
        raise AdacError(f"The sound file {path} is a folder.")
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(path, error) from None
    return Source(path, info.samplerate, info.channels, info.frames)


class Sink:
    """A WAV file (RF64 if it is to be long) of 32-bit floats, which hold more than full scale.

    Args:
        path: The file to write.
        sample_rate: Hertz.
        channels: Channels.
        frames: About how long it will be.

    Raises:
        AdacError: it cannot be written.
    """

    def __init__(self, path: Path, sample_rate: int, channels: int, frames: int) -> None:
        self.path = path
        kind = "RF64" if 4 * channels * frames > WAV_BYTES else "WAV"
        try:
            self._file = soundfile.SoundFile(
                path, "w", sample_rate, channels, subtype="FLOAT", format=kind
            )
        except (soundfile.LibsndfileError, OSError) as error:
            raise AdacError(f"The sound file {path} cannot be written: {_reason(error)}") from None

    def write(self, block: np.ndarray) -> None:
        """Appends a block (time, channels)."""
        try:
            self._file.write(np.asarray(block, np.float32))
        except (soundfile.LibsndfileError, OSError) as error:
            raise AdacError(
                f"The sound file {self.path} cannot be written: {_reason(error)}"
            ) from None

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def fit_channels(block: np.ndarray, channels: int) -> np.ndarray:
    """Gives audio (time, channels) the number of channels that a model takes.

    As many as there are: unchanged. One channel goes to every input. Several go to a single input
    as their mean.

    Raises:
        AdacError: neither number is one, and they differ.
    """
    found = block.shape[1]
    if found == channels:
        return block
    if found == 1:
        return np.repeat(block, channels, axis=1)
    if channels == 1:
        return np.mean(block, axis=1, keepdims=True)
    raise AdacError(
        f"The sound file has {found} channels and the model {channels} inputs; "
        f"give it a file of 1 or {channels} channels."
    )


def _unreadable(path: Path, error: Exception) -> AdacError:
    return AdacError(f"The sound file {path} cannot be read: {_reason(error)}")


def _reason(error: Exception) -> str:
    """What libsndfile or the system says, as the end of a sentence."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return f"{str(text).strip().rstrip('.')}."
