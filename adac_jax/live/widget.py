"""The player in a notebook (anywidget)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anywidget

from adac_jax.errors import AdacError, IRError
from adac_jax.live.bundle import static, widget_module
from adac_jax.live.events import form_json, history_json, news_json
from adac_jax.live.files import step_file
from adac_jax.live.wasm import to_wasm

if TYPE_CHECKING:
    from adac_jax.live.session import Session

PAUSE = 0.05
"""Seconds between two pushes to the notebook, at least."""


class LiveWidget(anywidget.AnyWidget):
    """The live page in a notebook's cell.

    While a cell trains, its kernel answers no questions; what the player needs is sent to it by a
    thread, from the moment on that it is shown.
    """

    _esm = widget_module()
    _css = static("style.css")

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._forms: dict[int, tuple[dict[str, Any], bytes]] = {}
        self._sending = threading.RLock()
        self.on_msg(self._heard)
        self._send_form(session.step().form)
        threading.Thread(target=self._follow, name="adac_jax.live widget", daemon=True).start()

    def _follow(self) -> None:
        listener, session = self._session.listen(), self._session
        while True:
            news = listener.wait()
            if news is None:
                continue
            try:
                if news.step is not None:
                    self._send_form(news.step.form)
                found = {"type": "news", "news": news_json(session, news)}
                data = [] if news.step is None else [news.step.pack()]
                self._tell(found | {"step": bool(data)}, data)
            except AdacError as error:  # a form that does not compile
                self._tell({"type": "news", "news": {"problem": str(error)}, "step": False}, [])
            if news.closed:
                return
            threading.Event().wait(PAUSE)

    def _send_form(self, number: int) -> None:
        if number not in self._forms:
            form = self._session.form(number)
            wasm = to_wasm(form.source, form.count)
            self._forms[number] = form_json(form, wasm), wasm.module
            self._tell({"type": "form", "info": self._forms[number][0]}, [wasm.module])

    def _tell(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        with self._sending:
            self.send(message, buffers)

    def _heard(self, _: Any, message: dict[str, Any], __: Any) -> None:
        """Answers a view. What it says is checked: a notebook may have come from elsewhere."""
        session = self._session
        try:
            if message.get("type") == "hello":
                self._greet()
            elif message.get("type") == "turn":
                session.turn({str(message["name"]): float(message["value"])})
            elif message.get("type") == "take":
                name, text = step_file(session, int(message["number"]), str(message["suffix"]))
                self._tell({"type": "file", "name": name, "text": text}, [])
        except (AdacError, IRError, KeyError, TypeError, ValueError):
            return

    def _greet(self) -> None:
        """All that a view needs that was not there before."""
        session = self._session
        for info, module in list(self._forms.values()):
            self._tell({"type": "form", "info": info}, [module])
        history = history_json(session)
        for step in dict.fromkeys((session.step(0).number, session.newest)):
            self._tell({"type": "news", "news": history, "step": True}, [session.step(step).pack()])
            history = {}


__all__ = ["LiveWidget"]
