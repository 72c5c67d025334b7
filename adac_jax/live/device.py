"""A model in training, heard from an audio device: for machines without a browser."""

from __future__ import annotations

import threading
from collections import deque
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from adac_jax.errors import AdacError
from adac_jax.host import HostError
from adac_jax.live.player import Player, Voice
from adac_jax.live.recording import sound
from adac_jax.live.wire import Form

if TYPE_CHECKING:
    from adac_jax.live.session import Session

PAUSE = 0.1
"""Seconds between two updates that are heard: a ramp costs much more than what is at rest."""
LATENCY = 0.2
"""Seconds of sound in store: a training has the processor, and Python, for long stretches."""
LOUD = 16.0
"""Beyond this (+24 dB) something went wrong: the form begins anew, from silence."""


class Device:
    """Plays a sound over and over through the newest step of a session.

    A thread of the audio library's calls for blocks, which libfaust computes; another waits for
    news, and compiles new forms. Updates are ramps, and new forms take over, as in `Player`.

    Args:
        session: Whose steps are heard.
        x: The sound: (time, channels).
        device: Name or number of the device, as `python -m sounddevice` lists them; the system's
            own if None.
        latency: Seconds of sound in store.

    Attributes:
        step: The newest step that is heard, or will be with the next block.
        problem: Why the newest step cannot be heard, or "".
        underruns: Blocks that came too late.
        peak: The largest sample so far; beyond 1 the device clips.

    Raises:
        AdacError: the library is not there, there is no such device, or it does not play at the
            model's sample rate.
    """

    def __init__(
        self, session: Session, x: Any, device: str | int | None = None, latency: float = LATENCY
    ) -> None:
        library = _library()
        step = session.step()
        self._form = session.form(step.form)
        if not self._form.outputs:
            raise AdacError("The model has no outputs, so there is nothing to hear.")
        self.step = step.number
        self.problem = ""
        self.underruns = 0
        self.peak = 0.0
        self._session = session
        self._x = sound(x, self._form.inputs)
        self._at = 0
        self._player = Player(self._form, step.values)
        self._turn(session.controls)
        self._news: deque[tuple[Form, np.ndarray | None, Voice | None]] = deque()
        self._closed = threading.Event()
        rate = self._form.sample_rate
        try:
            found = library.query_devices(device, "output")
            self._channels = min(2, int(found["max_output_channels"]))
            self._stream = library.OutputStream(
                samplerate=rate,
                device=device,
                channels=self._channels,
                dtype="float32",
                latency=latency,
                callback=self._callback,
            )
            self._stream.start()
        except (library.PortAudioError, ValueError) as error:
            self._player.close()
            raise AdacError(
                f"No audio device can play the model at {rate:g} Hz: {_first_line(error)}. "
                "`python -m sounddevice` lists the devices."
            ) from None
        self._thread = threading.Thread(target=self._listen, name="adac_jax.device", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the sound."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._stream.close()
        self._thread.join(10.0)
        for _, _, voice in self._news:
            if voice is not None:
                voice.close()
        self._player.close()

    def render(self, frames: int) -> np.ndarray:
        """The next samples: (time, channels of the device), float32."""
        while self._news:
            form, values, voice = self._news.popleft()
            if values is None:
                self._turn(self._session.controls)
            else:
                self._player.update(form, values, voice)
        places = (self._at + np.arange(frames)) % len(self._x)
        self._at += frames
        y = self._player.process(self._x[places])
        top = float(np.max(np.abs(y), initial=0.0))
        if not top < LOUD:  # NaN too
            self._player.clear()
            y = np.zeros_like(y)
        else:
            self.peak = max(self.peak, top)
        columns = [min(k, y.shape[1] - 1) for k in range(self._channels)]
        return np.asarray(y[:, columns], np.float32)

    def _callback(self, out: np.ndarray, frames: int, time: Any, status: Any) -> None:
        if status.output_underflow:
            self.underruns += 1
        try:
            out[:] = self.render(frames)
        except Exception as error:  # the audio library would end the stream without a word
            self.problem = f"{type(error).__name__}: {error}"
            out[:] = 0

    def _listen(self) -> None:
        listener, shown = self._session.listen(), self._form.number
        while not self._closed.is_set():
            news = listener.wait(0.2)
            if news is None:
                continue
            if news.controls is not None:
                self._news.append((self._form, None, None))
            if news.step is not None and news.step.number != self.step:
                form, voice = self._session.form(news.step.form), None
                try:
                    if form.number != shown:
                        voice = Voice(form, news.step.values)
                except HostError as error:
                    self.problem = f"step {news.step.number} cannot be heard: {error}"
                    continue
                shown, self.problem = form.number, ""
                self._news.append((form, news.step.values, voice))
                self.step = news.step.number
            if news.closed:
                return
            self._closed.wait(PAUSE)

    def _turn(self, controls: dict[str, float]) -> None:
        known = {knob.name for knob in self._player.form.knobs}
        self._player.turn({name: value for name, value in controls.items() if name in known})


def _library() -> ModuleType:
    try:
        return import_module("sounddevice")
    except ModuleNotFoundError:
        raise AdacError(
            "Playing through an audio device needs the package sounddevice: "
            "pip install 'adac_jax[device]'."
        ) from None
    except OSError:  # the package is there, and PortAudio is not
        raise AdacError(
            "Playing through an audio device needs PortAudio: apt install libportaudio2."
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


__all__ = ["LATENCY", "Device"]
