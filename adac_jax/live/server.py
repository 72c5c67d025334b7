"""The page's server: this machine alone, one secret address, nothing but what the page needs.

Who may ask: connections come over the loopback interface. A page from elsewhere that is open in
the same browser can reach it too, under a name of its own (hence the check of `Host`), but does not
know the token that all addresses begin with, nor may it turn knobs (`Origin`). Nothing that is sent
here is run, and requests are bounded in size, in number and in time.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import TYPE_CHECKING, Any

from adac_jax.errors import AdacError, IRError
from adac_jax.live.events import first_event, form_json, news_event
from adac_jax.live.files import step_file
from adac_jax.live.wasm import Wasm, to_wasm

if TYPE_CHECKING:
    from adac_jax.live.session import Session

ADDRESS = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "connect-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-store",
}
MOST_BODY = 16_384
"""Bytes of a request's body."""
MOST_CONNECTIONS = 64
PATIENCE = 20.0
"""Seconds that a connection may take to send or receive."""
PAUSE = 0.02
"""Seconds between two pushes to one page, at least."""
DIGITS = re.compile(r"\d{1,12}")


class Server:
    """Serves the page of a session.

    Args:
        session: What is heard.
        port: One that is free if 0.

    Attributes:
        url: The page's address, with its token.

    Raises:
        AdacError: the port is not free.
    """

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session = session
        self.token = secrets.token_urlsafe(24)
        self.closing = threading.Event()
        self._wasm: dict[int, Wasm] = {}
        self._compiling = threading.Lock()
        self._connections = threading.BoundedSemaphore(MOST_CONNECTIONS)
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
            raise AdacError(f"`port` (={port!r}) must be an integer from 0 to 65535.")
        try:
            self._http = _Http((ADDRESS, port), _handler(self))
        except OSError as error:
            raise AdacError(f"The port {port} cannot be used: {error.strerror}.") from None
        self.port = self._http.server_address[1]
        self.url = f"http://{ADDRESS}:{self.port}/{self.token}/"
        self.hosts = frozenset({f"{ADDRESS}:{self.port}", f"localhost:{self.port}"})
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True,
            name="adac_jax.live page",
        )  # fmt: skip
        self._thread.start()

    def wasm(self, number: int) -> Wasm:
        """A form as WebAssembly; compiled once."""
        with self._compiling:
            if number not in self._wasm:
                form = self.session.form(number)
                self._wasm[number] = to_wasm(form.source, form.count)
            return self._wasm[number]

    def admit(self) -> bool:
        """Whether one more connection may come in."""
        return self._connections.acquire(blocking=False)

    def leave(self) -> None:
        """A connection ends."""
        self._connections.release()

    def close(self) -> None:
        """Ends the page."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5.0)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that goes away is no error."""


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"live": server, "timeout": PATIENCE})


class _Handler(BaseHTTPRequestHandler):
    live: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "adac_jax", ""

    def handle(self) -> None:
        if not self.live.admit():
            return
        try:
            super().handle()
        finally:
            self.live.leave()

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Addresses hold the token, so none is written anywhere."""

    def _answer(self, act: Callable[[str], None]) -> None:
        try:
            path = self._path()
            if path is not None:
                act(path)
        except (AdacError, IRError) as error:
            self._send(HTTPStatus.NOT_FOUND, str(error).encode())
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _path(self) -> str | None:
        """What is asked for, behind the token; None where it was refused."""
        if self.headers.get_all("Host", []) not in [[host] for host in self.live.hosts]:
            self._refuse("Host")
            return None
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            self._refuse("Sec-Fetch-Site")
            return None
        token, slash, path = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not slash or not secrets.compare_digest(token.encode(), self.live.token.encode()):
            self._refuse("token")
            return None
        return path

    def _refuse(self, what: str) -> None:
        self.close_connection = True
        self._send(HTTPStatus.FORBIDDEN, f"Refused: {what}.".encode())

    def _send(self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8",
              name: str = "") -> None:  # fmt: skip
        self.send_response(status)
        for key, value in HEADERS.items():
            self.send_header(key, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if name:
            self.send_header("Content-Disposition", f'attachment; filename="{name}"')
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _get(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        stem, _, suffix = name.partition(".")
        session = self.live.session
        if path == "events":
            self._events()
        elif folder == "forms" and DIGITS.fullmatch(stem) and suffix in ("json", "wasm"):
            wasm = self.live.wasm(int(stem))
            if suffix == "wasm":
                self._send(HTTPStatus.OK, wasm.module, "application/wasm")
            else:
                self._json(form_json(session.form(int(stem)), wasm))
        elif folder == "steps" and DIGITS.fullmatch(stem):
            self._step(int(stem), suffix)
        elif not folder:
            self._file(name or "index.html")
        else:
            raise AdacError("There is nothing here.")

    def _step(self, number: int, suffix: str) -> None:
        session = self.live.session
        if not suffix:
            self._send(HTTPStatus.OK, session.step(number).pack(), "application/octet-stream")
            return
        name, text = step_file(session, number, suffix)
        kind = "application/json" if suffix == "ir.json" else "text/plain; charset=utf-8"
        self._send(HTTPStatus.OK, text.encode(), kind, name)

    def _file(self, name: str) -> None:
        suffix = name[name.rfind(".") :]
        file = resources.files("adac_jax.live") / "static" / name
        if suffix not in TYPES or "/" in name or "\\" in name or not file.is_file():
            raise AdacError("There is nothing here.")
        self._send(HTTPStatus.OK, file.read_bytes(), TYPES[suffix])

    def _json(self, value: Any) -> None:
        self._send(HTTPStatus.OK, json.dumps(value).encode(), "application/json")

    def _events(self) -> None:
        """News for as long as the page listens."""
        session = self.live.session
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        for key, value in HEADERS.items():
            self.send_header(key, value)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        listener = session.listen()
        self.wfile.write(first_event(session))
        self.wfile.flush()
        while not self.live.closing.is_set():
            news = listener.wait(5.0)
            if news is None:
                self.wfile.write(b": still here\n\n")
            else:
                self.wfile.write(news_event(session, news))
                if news.closed:
                    return
            self.wfile.flush()
            self.live.closing.wait(PAUSE)

    def _post(self, path: str) -> None:
        if self.headers.get("Origin") not in {f"http://{host}" for host in self.live.hosts}:
            self._refuse("Origin")
            return
        length = self.headers.get("Content-Length", "")
        if not DIGITS.fullmatch(length) or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            self._send(HTTPStatus.LENGTH_REQUIRED, b"A length is required.")
            return
        if int(length) > MOST_BODY:
            self.close_connection = True
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"Too long.")
            return
        body = self.rfile.read(int(length))
        if path != "controls":
            raise AdacError("There is nothing here.")
        try:
            self.live.session.turn(_positions(body))
        except AdacError as error:
            self._send(HTTPStatus.BAD_REQUEST, str(error).encode())
            return
        self._send(HTTPStatus.NO_CONTENT, b"")


def _positions(body: bytes) -> dict[str, float]:
    """Where knobs are to stand, from JSON that anyone may have sent."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise AdacError("Positions must be JSON.") from None
    if not isinstance(found, dict) or len(found) > 1000:
        raise AdacError("Positions must be an object.")
    for value in found.values():
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
        ):
            raise AdacError("Positions must be finite numbers.")
    return {str(name): float(value) for name, value in found.items()}


__all__ = ["Server"]
