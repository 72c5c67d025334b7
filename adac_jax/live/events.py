"""What listeners in browsers are told, as server-sent events and as JSON."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from adac_jax.live.listener import News
from adac_jax.live.wasm import Wasm
from adac_jax.live.wire import Form

if TYPE_CHECKING:
    from adac_jax.live.session import Session

MOST_LOSSES = 4096
"""Losses in one event; of more, some are left out evenly."""


def form_json(form: Form, wasm: Wasm) -> dict[str, Any]:
    """What a player needs to know of a form, besides the module."""
    about = asdict(form)
    del about["source"]
    return about | {
        "size": wasm.size,
        "data": wasm.data,
        "places": [wasm.controls.get(knob.name, -1) for knob in form.knobs],
    }


def history_json(session: Session) -> dict[str, Any]:
    """What there is already, for those who come late."""
    return {
        "name": session.form(0).name,
        "controls": session.controls,
        "closed": session.closed,
    }


def news_json(session: Session, news: News) -> dict[str, Any]:
    """What is new, but for the step."""
    found: dict[str, Any] = {"losses": _thinned(news.losses), "problem": session.problem}
    if news.controls is not None:
        found["controls"] = news.controls
    if news.closed:
        found["closed"] = True
    return found


def first_event(session: Session) -> bytes:
    """The event that comes first."""
    return _event("history", history_json(session))


def news_event(session: Session, news: News) -> bytes:
    """The event for some news."""
    found = news_json(session, news)
    if news.step is not None:
        found["step"] = base64.b64encode(news.step.pack()).decode()
    return _event("news", found)


def _event(kind: str, value: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()


def _thinned(losses: list[tuple[int, float]]) -> list[tuple[int, float | None]]:
    stride = -(-len(losses) // MOST_LOSSES) or 1
    kept = losses[::-stride][::-1]
    return [(number, loss if math.isfinite(loss) else None) for number, loss in kept]


__all__ = ["first_event", "form_json", "history_json", "news_event", "news_json"]
