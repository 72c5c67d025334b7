"""Begins a live session."""

from __future__ import annotations

from typing import Any

from adac_jax.live.evaluation import Evaluator
from adac_jax.live.session import MEGABYTES, Session
from adac_jax.tracing import Latency


def live(
    model: Any,
    *,
    parameters: Any = None,
    inputs: int | None = None,
    sample_rate: float | None = None,
    name: str | None = None,
    latency: Latency = 0,
    page: bool = True,
    port: int = 0,
    plugin: bool = False,
    history_megabytes: float = MEGABYTES,
) -> Session:
    """Lets a model be heard while it trains.

        with adac_jax.live(model) as session:
            print(session.url)
            for _ in range(steps):
                loss = step(model)
                session.update(model, loss=loss)

    The model is traced once; an update computes its coefficients and nothing else. The page at
    `session.url` plays sounds through the model as it is, or was at any step: see docs/live.md.

    Args:
        model: As for `adac_jax.export`.
        parameters: For functions of (parameters, audio) and Linen modules.
        inputs: Input channels; the model's own attribute `inputs` if None.
        sample_rate: Hertz; the model's own, or 48000, if None.
        name: The model's name; the class or function name if None.
        latency: As for `adac_jax.trace`.
        page: Whether a page is served, to this machine alone.
        port: The page's port; one that is free if 0.
        plugin: Whether the live plugin follows, in workstations of this user.
        history_megabytes: Memory for past steps; where it is used up, every other one is forgotten.

    Raises:
        RefusedError, AdacError, IRError: as `adac_jax.trace`; or the port is not free, or the
            plugin's folder not private.
    """
    evaluator = Evaluator(
        model,
        parameters=parameters,
        inputs=inputs,
        sample_rate=sample_rate,
        name=name,
        latency=latency,
    )
    session = Session(
        evaluator, model if parameters is None else parameters, history_megabytes=history_megabytes
    )
    try:
        if plugin:
            session.to_plugin()
        if page:
            from adac_jax.live.server import Server

            session.serve(Server(session, port))
    except BaseException:
        session.close()
        raise
    return session
