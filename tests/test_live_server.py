"""The page's server: what it gives, and all that it must not."""

from __future__ import annotations

import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from flax import nnx
from live_models import Comb

import adac_jax
from adac_jax.live import server as serving
from adac_jax.live.wire import Step
from emitters import faust
from ir import loads


@pytest.fixture(scope="module")
def session():
    model = Comb(knob=True)
    with adac_jax.live(model, name="a <comb>") as session:
        state = nnx.split(model)[1]
        for k in range(3):
            session.update(state, loss=0.5**k)
        session.flush(30)
        yield session


def ask(session, path="", method="GET", body=None, token=None, **headers):
    """Status, headers and body of an answer; `token`: another than the right one."""
    parts = urlsplit(session.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    target = parts.path + path if token is None else f"/{token}/{path}"
    skip = "Host" in names
    connection.putrequest(method, target, skip_host=skip)
    if body is not None and "Content-Length" not in names:
        connection.putheader("Content-Length", str(len(body)))
    for name, value in names.items():
        for one in value if isinstance(value, list) else [value]:
            connection.putheader(name, one)
    connection.endheaders(body)
    answer = connection.getresponse()
    found = answer.status, dict(answer.headers), answer.read()
    connection.close()
    return found


def origin(session):
    return session.url[: session.url.index("/", 8)]


def test_files(session):
    for name, kind in (
        ("", "text/html"), ("page.js", "text/javascript"), ("style.css", "text/css"),
        ("worklet.js", "text/javascript"), ("icon.svg", "image/svg+xml"),
    ):  # fmt: skip
        status, headers, body = ask(session, name)
        assert status == 200
        assert headers["Content-Type"].startswith(kind)
        assert body


def test_all_that_the_page_loads_is_its_own(session):
    """No inline script, no address of another server; the policy forbids them too."""
    status, headers, body = ask(session)
    assert status == 200
    assert b"<script>" not in body
    for name in ("engine", "worklet", "analysis", "player", "plots", "view", "knobs", "page"):
        _, _, text = ask(session, f"{name}.js")
        assert b"http://" not in text.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https://" not in text
        assert b"eval(" not in text
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert not any(name.startswith("Access-Control") for name in headers)


def test_forms_and_steps(session):
    status, headers, body = ask(session, "forms/0.wasm")
    assert (status, headers["Content-Type"]) == (200, "application/wasm")
    assert body[:4] == b"\0asm"
    info = json.loads(ask(session, "forms/0.json")[2])
    assert info["count"] == len(info["data"]) == 6
    assert info["knobs"][0]["name"] == "gain"
    assert info["places"][0] >= 0
    assert "source" not in info
    step = Step.unpack(ask(session, "steps/1")[2])
    assert (step.number, step.loss) == (1, 1.0)
    np.testing.assert_array_equal(step.values, session.step(1).values)
    status, headers, body = ask(session, "steps/2.dsp")
    assert headers["Content-Disposition"] == 'attachment; filename="a_comb-step-2.dsp"'
    assert body.decode().partition("\n")[2] == faust.emit(session.program(2))
    _, headers, body = ask(session, "steps/2.ir.json")
    assert faust.emit(loads(body.decode())) == faust.emit(session.program(2))


def events(session, count):
    parts = urlsplit(session.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("GET", parts.path + "events")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    found = []
    while len(found) < count:
        line = answer.readline().decode().rstrip("\n")
        if line.startswith("event: "):
            found.append((line[7:], json.loads(answer.readline().decode()[6:])))
    connection.close()
    return found


def test_those_who_come_late_get_what_was(session):
    (first, history), (second, news) = events(session, 2)
    assert (first, second) == ("history", "news")
    assert history["name"] == "a <comb>"
    assert [loss for _, loss in news["losses"]] == [None, 1.0, 0.5, 0.25]
    assert "step" in news


def test_knobs_are_turned(session):
    body = json.dumps({"gain": 0.25}).encode()
    assert ask(session, "controls", "POST", body, Origin=origin(session))[0] == 204
    assert session.controls == {"gain": 0.25}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"1", b'{"gain": "1"}', b'{"gain": true}', b'{"gain": NaN}', b'{"gain": 7}',
     b'{"gain": 1e999}', b'{"other": 0.5}', b"[" * 8000, b'{"gain": null}', b"\xff\xfe"],
)  # fmt: skip
def test_positions_that_are_none(session, body):
    session.turn({"gain": 0.5})
    status, _, answer = ask(session, "controls", "POST", body, Origin=origin(session))
    assert status == 400
    assert b"Traceback" not in answer
    assert session.controls == {"gain": 0.5}


def test_hosts(session):
    port = urlsplit(session.url).port
    assert ask(session, Host=f"localhost:{port}")[0] == 200
    for host in (
        "evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port}.evil.example",
        f"localhost:{port + 1}", "", [f"127.0.0.1:{port}", "evil.example"],
    ):  # fmt: skip
        status, _, body = ask(session, Host=host)
        assert status == 403
        assert body == b"Refused: Host."
    assert ask(session, Host=[])[0] == 403


def test_tokens(session):
    token = urlsplit(session.url).path.strip("/")
    assert len(token) >= 32
    for wrong in (
        "",
        "x",
        token[:-1],
        token + "x",
        token.swapcase(),
        "..",
        "%00",
        "é".encode().hex(),
    ):
        for path in ("", "events", "steps/1", "page.js"):
            status, _, body = ask(session, path, token=wrong)
            assert status == 403
            assert body == b"Refused: token."


def test_tokens_differ():
    with adac_jax.live(Comb()) as one, adac_jax.live(Comb()) as other:
        assert one.url.split("/")[3] != other.url.split("/")[3]


def test_other_origins_turn_no_knobs(session):
    session.turn({"gain": 0.5})
    body = json.dumps({"gain": 0.9}).encode()
    own = origin(session)
    for wrong in (
        "http://evil.example",
        "null",
        own + ".evil.example",
        own.replace("http", "https"),
        "",
    ):
        assert ask(session, "controls", "POST", body, Origin=wrong)[0] == 403
    assert ask(session, "controls", "POST", body)[0] == 403  # none at all
    for site in ("cross-site", "same-site"):
        assert ask(session, "controls", "POST", body, Origin=own, Sec_Fetch_Site=site)[0] == 403
        assert ask(session, "steps/1", Sec_Fetch_Site=site)[0] == 403
    assert session.controls == {"gain": 0.5}


def test_sizes(session):
    own = origin(session)
    large = str(serving.MOST_BODY + 1)
    assert ask(session, "controls", "POST", b"", Origin=own, Content_Length=large)[0] == 413
    for length in ("-1", "x", "1e3", "9" * 40):
        assert ask(session, "controls", "POST", b"", Origin=own, Content_Length=length)[0] == 411
    chunked = {"Transfer_Encoding": "chunked", "Content_Length": "1"}
    assert ask(session, "controls", "POST", b"", Origin=own, **chunked)[0] == 411
    assert ask(session, "x" * 70_000)[0] == 414
    assert ask(session, X="y" * 70_000)[0] == 431


@pytest.mark.parametrize(
    "path",
    ["../server.py", "..%2fserver.py", "%2e%2e/server.py", "static/page.js", "server.py",
     "/etc/passwd", "..\\server.py", "engine.js/", "nothing.js", "steps/-1", "steps/x",
     "forms/7.json", "forms/7.wasm", "steps/1.exe", "forms/0", "steps/" + "9" * 40, "controls",
     "index.html/../page.js", ".js", ".", "forms/../forms/0.json"],
)  # fmt: skip
def test_there_is_nothing_else(session, path):
    status, _, body = ask(session, path)
    assert status == 404
    assert b"Traceback" not in body


@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "PATCH"]
)
def test_other_methods(session, method):
    assert ask(session, "page.js", method)[0] == 501


def test_posts_go_nowhere_else(session):
    assert ask(session, "steps/1", "POST", b"{}", Origin=origin(session))[0] == 404


def test_only_this_machine(session):
    """It listens on the loopback interface and no other."""
    port = urlsplit(session.url).port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; says which address would be used
        except OSError:
            pytest.skip("this machine has no other interface")
        other = probe.getsockname()[0]
    if other.startswith("127."):
        pytest.skip("this machine has no other interface")
    with pytest.raises(OSError):
        socket.create_connection((other, port), timeout=2).close()


def test_connections_are_bounded_in_number(monkeypatch):
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 4)
    with adac_jax.live(Comb()) as session:
        parts = urlsplit(session.url)
        held = [socket.create_connection((parts.hostname, parts.port)) for _ in range(4)]
        deadline = time.monotonic() + 10
        refused = False
        while not refused and time.monotonic() < deadline:
            with socket.create_connection((parts.hostname, parts.port), timeout=5) as one:
                one.sendall(b"GET / HTTP/1.1\r\n\r\n")
                try:
                    refused = one.recv(100) == b""
                except ConnectionError:
                    refused = True
        assert refused
        for one in held:
            one.close()
        while ask_or_none(session) != 200 and time.monotonic() < deadline + 10:
            time.sleep(0.05)
        assert ask_or_none(session) == 200


def ask_or_none(session):
    try:
        return ask(session)[0]
    except OSError:
        return None
    except http.client.HTTPException:
        return None


def test_connections_are_bounded_in_time(monkeypatch):
    monkeypatch.setattr(serving, "PATIENCE", 0.2)
    with adac_jax.live(Comb()) as session:
        parts = urlsplit(session.url)
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as slow:
            slow.sendall(b"GET /")
            assert slow.recv(100) == b""


def test_the_compiler_is_started_apart_from_the_working_folder(tmp_path, monkeypatch):
    """What lies in the folder that a training runs in is not run by the page."""
    trap = "raise SystemExit('run')"
    for name in ("json.py", "dawdreamer.py", "sitecustomize.py"):
        (tmp_path / name).write_text(trap)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with adac_jax.live(Comb()) as session:
        assert ask(session, "forms/0.wasm")[0] == 200


def test_the_server_ends_with_the_session():
    with adac_jax.live(Comb()) as session:
        assert ask(session)[0] == 200
    with pytest.raises(OSError):
        ask(session)


def test_a_port_that_is_taken():
    with adac_jax.live(Comb()) as session:
        port = urlsplit(session.url).port
        with pytest.raises(adac_jax.AdacError, match=f"port {port} cannot be used"):
            adac_jax.live(Comb(), port=port)
