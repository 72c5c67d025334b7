"""A training that is heard: updates in, steps for listeners out, at a bounded cost."""

from __future__ import annotations

import math
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from adac_jax.errors import AdacError, IRError
from adac_jax.host import HostError
from adac_jax.live.evaluation import Evaluator, Snapshot, Topology
from adac_jax.live.history import History, Moment
from adac_jax.live.listener import Listener
from adac_jax.live.player import Voice
from adac_jax.live.recording import Recording, sound
from adac_jax.live.wire import Form, Step, form_of
from ir import Program
from ir.knobs import settling

if TYPE_CHECKING:
    from adac_jax.live.device import Device
    from adac_jax.live.feed import Feed

WAITING = 64
"""Updates that wait at most; where more come, the oldest are passed over, but for their losses. JAX
hands out results before they are computed, so a training that asks for none runs some steps ahead
of what can be heard."""
PASSED = 4096
"""Losses of such updates that wait at most."""
MEGABYTES = 64.0
"""Memory for the history."""


class Session:
    """Lets a model be heard while it trains; made by `adac_jax.live`.

    `update` copies the parameters and returns. A thread computes the coefficients, keeps them, and
    wakes the listeners, each of which fetches what is new to it at its own pace: nothing that
    listens can hold up the training.

    Attributes:
        url: Where the page is, with a token that no one else knows; "" without a page.
        problem: What went wrong with the last update, as a sentence, or "".
        plugin: What the live plugin is told, if it is.
    """

    def __init__(
        self, evaluator: Evaluator, model: Any, *, history_megabytes: float = MEGABYTES
    ) -> None:
        if not (math.isfinite(history_megabytes) and history_megabytes > 0):
            raise AdacError(f"`history_megabytes` (={history_megabytes!r}) must be positive.")
        self.url = ""
        self.problem = ""
        self.plugin: Feed | None = None
        self._evaluator = evaluator
        self._history = History(round(history_megabytes * 2**20))
        self._topologies: list[Topology] = []
        self._forms: list[Form] = []
        self._controls: dict[str, float] = {}
        self._signals = 0
        self._waiting: deque[tuple[int, float, Any, Snapshot]] = deque()
        self._passed: deque[tuple[int, Any]] = deque(maxlen=PASSED)
        self._changed = threading.Condition()
        self._updates = self._busy = 0
        self._closed = False
        self._recordings: list[Recording] = []
        self._devices: list[Device] = []
        self._servers: list[Any] = []
        self._voice: Voice | None = None
        self._voices = threading.Lock()
        self._take((0, time.time(), None, evaluator.snapshot(model)))
        self._updates = 1
        self._thread = threading.Thread(target=self._run, name="adac_jax.live", daemon=True)
        self._thread.start()

    def update(self, model: Any, loss: Any = None) -> None:
        """Tells listeners of the model as it is now. Never waits for them, nor for JAX.

        Args:
            model: The model that the session was made for, after a step; or its parameters, as
                `nnx.split` or Linen's `init` gives them.
            loss: A number or a JAX array that will be one.

        Raises:
            AdacError: it is another model, or the session is closed.
        """
        if self._closed:
            raise AdacError("The live session is closed: no update can be heard any more.")
        snapshot = self._evaluator.snapshot(model)
        with self._changed:
            if len(self._waiting) == WAITING:
                number, _, passed, _ = self._waiting.popleft()
                self._passed.append((number, passed))
            self._waiting.append((self._updates, time.time(), loss, snapshot))
            self._updates += 1
            self._changed.notify_all()

    def serve(self, server: Any) -> None:
        """Has a page at `server.url` until the session is closed."""
        self._servers.append(server)
        self.url = server.url

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until all updates so far are with the listeners; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    @property
    def closed(self) -> bool:
        """Whether no update will come any more."""
        return self._closed

    @property
    def newest(self) -> int:
        """The number of the newest step; 0 is the model at the beginning."""
        with self._changed:
            assert self._history.newest is not None
            return self._history.newest.number

    @property
    def steps(self) -> list[int]:
        """The steps that are kept."""
        with self._changed:
            return self._history.numbers

    @property
    def losses(self) -> list[tuple[int, float]]:
        """Steps and their losses, NaN where there was none."""
        return self.news(0)[0]

    def step(self, number: int | None = None) -> Step:
        """The data of a step that is kept, or of the last one before it; the newest if None.

        Raises:
            AdacError: there is none.
        """
        moment = self._moment(number)
        values = self._topologies[moment.topology].values(moment.coefficients)
        return Step(moment.number, moment.topology, moment.loss, moment.time, values)

    def program(self, number: int | None = None) -> Program:
        """The model at a step, as `faust.emit` and `adac_jax.export` take it; see `step`."""
        moment = self._moment(number)
        return self._topologies[moment.topology].program(moment.coefficients)

    def form(self, number: int) -> Form:
        """The form of a number.

        Raises:
            AdacError: there is none.
        """
        with self._changed:
            if not 0 <= number < len(self._forms):
                raise AdacError(f"There is no form {number}; there are {len(self._forms)}.")
            return self._forms[number]

    @property
    def controls(self) -> dict[str, float]:
        """Where the knobs stand that listeners have turned."""
        with self._changed:
            return dict(self._controls)

    def turn(self, positions: Mapping[str, float]) -> None:
        """Turns knobs, for all listeners.

        Raises:
            AdacError: there is no such knob, or a position is out of its range.
        """
        knobs = {knob.name: knob for knob in self._forms[-1].knobs}
        for name, value in positions.items():
            if name not in knobs:
                raise AdacError(f"There is no control {str(name)[:60]!r}.")
            low, high = knobs[name].minimum, knobs[name].maximum
            if not low <= value <= high:
                raise AdacError(f"The control {name!r} (={value}) must lie in {low:g} to {high:g}.")
        with self._changed:
            self._controls.update({name: float(value) for name, value in positions.items()})
            self._signals += 1
            self._changed.notify_all()

    def listen(self) -> Listener:
        """What waits for news; a listener that comes late begins with all that is kept."""
        return Listener(self)

    def news(self, since: int) -> tuple[list[tuple[int, float]], int]:
        """Losses that were not counted yet at `since`, and the count now; for listeners."""
        with self._changed:
            return self._history.losses(since), self._history.count

    def wait(self, count: int, signals: int, timeout: float | None) -> tuple[int, int]:
        """Waits for a step, a signal (a knob, a problem) or the end; for listeners.

        Args:
            count: What is known of `History.count`.
            signals: Signals that are known.
            timeout: Seconds; None for ever.

        Returns:
            Both as they are now.
        """

        def is_new() -> bool:
            return self._closed or self._history.count > count or self._signals > signals

        with self._changed:
            self._changed.wait_for(is_new, timeout)
            return self._history.count, self._signals

    def render(self, x: Any, step: int | None = None) -> np.ndarray:
        """What the model makes of a sound, from silence, by FAUST in single precision.

        Args:
            x: (time, channels): as many as the model has inputs, or one for all.
            step: Which step; the newest if None.

        Returns:
            (time, outputs).

        Raises:
            AdacError: there is no such step, or the channels do not fit.
        """
        data, controls = self.step(step), self.controls
        form = self.form(data.form)
        with self._voices:
            if self._voice is None or self._voice.form is not form:
                if self._voice is not None:
                    self._voice.close()
                self._voice = Voice(form, data.values)
            self._voice.jump(data.values)
            known = {knob.name for knob in form.knobs}
            self._voice.turn({k: v for k, v in controls.items() if k in known})
            self._voice.library.reset()
            return self._voice.process(sound(x, form.inputs))

    def record(self, path: str | Path, x: Any, seconds: float = 0.1) -> None:
        """Writes what the training sounds like, until the session is closed.

        Args:
            path: A WAV file, which appears when the session is closed.
            x: The sound that is played, over and over: (time, channels).
            seconds: How long each update is heard. Updates for which there was no time, because
                training is faster than this can be rendered, are left out.

        Raises:
            AdacError: the file cannot be written, or the channels do not fit.
        """
        step = self.step()
        recording = Recording(Path(path), self.form(step.form), step.values, x, seconds)
        with self._changed:
            self._recordings.append(recording)

    def play(self, x: Any, device: str | int | None = None) -> Device:
        """Plays a sound through an audio device, over and over, until the session is closed.

        Args:
            x: The sound: (time, channels).
            device: Name or number of the device, as `python -m sounddevice` lists them; the
                system's own if None.

        Returns:
            What plays it, which can be closed before.

        Raises:
            AdacError: the package `sounddevice` or a device is not there, or the device does not
                play at the model's sample rate.
        """
        from adac_jax.live.device import Device

        if self._closed:
            raise AdacError("The live session is closed: nothing can be played any more.")
        found = Device(self, x, device)
        self._devices.append(found)
        return found

    def widget(self) -> Any:
        """The player for a notebook: show it in a cell before the one that trains.

        Raises:
            AdacError: the package `anywidget` is not there.
        """
        try:
            from adac_jax.live.widget import LiveWidget
        except ModuleNotFoundError as error:
            raise AdacError(
                f"The notebook's player needs the package {error.name!r}: "
                "pip install 'adac_jax[live]'."
            ) from None
        return LiveWidget(self)

    def to_plugin(self) -> None:
        """Has the live plugin follow, in any workstation of this user: see docs/plugins.md.

        Raises:
            AdacError: the channel's folder is not private, another session has it, or this is
                no Linux.
        """
        if self.plugin is not None:
            return
        if not sys.platform.startswith("linux"):
            raise AdacError("The live plugin is built and fed on Linux only.")
        from adac_jax.live.feed import Feed

        self.plugin = Feed(lambda number: settling(self._topologies[number].graph))
        step = None
        while step is None or step.number != self.newest:  # more may come meanwhile
            step = self.step()
            self.plugin.update(self.form(step.form), step.number, step.values)

    def close(self) -> None:
        """Hands out what is waiting, ends the page and the recordings."""
        if self._closed:
            return
        self.flush(10.0)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(10.0)
        for device in self._devices:
            device.close()
        for server in self._servers:
            server.close()
        with self._voices:
            if self._voice is not None:
                self._voice.close()
                self._voice = None
        for recording in self._recordings:
            recording.close()
        if self.plugin is not None:
            self.plugin.close()
            if self.plugin.problem:
                warnings.warn(self.plugin.problem, stacklevel=2)
        if self.problem:
            warnings.warn(f"Live: {self.problem}", stacklevel=2)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _moment(self, number: int | None) -> Moment:
        with self._changed:
            found = self._history.newest if number is None else self._history.at(number)
        if found is None:
            raise AdacError(f"There is no step {number}.")
        return found

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._waiting))
                if not self._waiting:
                    return
                item = self._waiting.popleft()
                self._busy = 1
            problem = ""
            try:
                self._take(item)
            except (AdacError, IRError, HostError) as error:
                problem = f"step {item[0]} cannot be heard: {error}"
            except Exception as error:  # a thread of ours must not end a training
                problem = f"step {item[0]} cannot be heard: {type(error).__name__}: {error}"
            with self._changed:
                if problem != self.problem:
                    self.problem = problem
                    self._signals += 1
                self._busy = 0
                self._changed.notify_all()

    def _take(self, item: tuple[int, float, Any, Snapshot]) -> None:
        number, when, loss, snapshot = item
        coefficients = self._evaluator.coefficients(snapshot)
        topology, values = self._evaluator.data(coefficients)
        value = _number(loss)
        passed = []
        while self._passed and self._passed[0][0] < number:
            before, its = self._passed.popleft()
            passed.append((before, _number(its)))
        with self._changed:
            self._history.pass_over(passed)
            if topology.number == len(self._topologies):
                self._topologies.append(topology)
                self._forms.append(form_of(topology.opened, topology.graph, topology.number))
            self._history.add(Moment(number, topology.number, value, when, coefficients))
            self._changed.notify_all()
            recordings = list(self._recordings)
        if self.plugin is not None:
            self.plugin.update(self._forms[topology.number], number, values)
        for recording in recordings:
            recording.update(self._forms[topology.number], values, self.controls)


def _number(loss: Any) -> float:
    return math.nan if loss is None else float(loss)


__all__ = ["Session"]
