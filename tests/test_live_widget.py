"""The player in a notebook: what is sent to it, and that it plays in a real browser."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from browser import chromium
from flax import nnx
from live_models import Comb

import adac_jax
from adac_jax.live.bundle import ANALYSIS, WORKLET, script, static, widget_module
from adac_jax.live.wire import Step


class Heard:
    """What a widget sent, in order."""

    def __init__(self, widget):
        self.messages = []
        widget.send = lambda message, buffers=None: self.messages.append((message, buffers or []))

    def until(self, wanted, seconds=20):
        end = time.monotonic() + seconds
        while not any(wanted(m) for m, _ in list(self.messages)):
            assert time.monotonic() < end
            time.sleep(0.01)
        return [(m, b) for m, b in self.messages if wanted(m)]


@pytest.fixture
def shown():
    pytest.importorskip("anywidget", reason="pip install anywidget")
    model = Comb(knob=True)
    with adac_jax.live(model, page=False, name="comb") as session:
        widget = session.widget()
        yield session, widget, Heard(widget), nnx.split(model)[1]


def test_steps_are_sent_without_being_asked_for(shown):
    session, _, heard, state = shown
    session.update(state, loss=0.5)
    found = heard.until(lambda m: m["type"] == "news" and m["step"] and m["news"]["losses"])
    message, (data,) = found[-1]
    assert Step.unpack(bytes(data)).number == 1
    assert message["news"]["losses"][-1] == (1, 0.5)
    session.close()
    heard.until(lambda m: m["type"] == "news" and m["news"].get("closed"))


def test_a_view_that_is_shown_gets_all(shown):
    session, widget, heard, state = shown
    session.update(state, loss=0.5)
    session.flush(20)
    heard.messages.clear()
    widget._heard(widget, {"type": "hello"}, [])
    ((message, (module,)),) = heard.until(lambda m: m["type"] == "form")
    assert bytes(module[:4]) == b"\0asm"
    assert message["info"]["name"] == "comb"
    steps = [Step.unpack(bytes(b[0])).number for m, b in heard.messages if m.get("step")]
    assert {0, 1} <= set(steps)


def test_what_a_view_says(shown):
    session, widget, heard, _ = shown
    widget._heard(widget, {"type": "turn", "name": "gain", "value": 0.25}, [])
    assert session.controls == {"gain": 0.25}
    widget._heard(widget, {"type": "take", "number": 0, "suffix": "dsp"}, [])
    ((message, _),) = heard.until(lambda m: m["type"] == "file")
    assert message["name"] == "comb-step-0.dsp"
    for bad in (
        {}, {"type": "turn"}, {"type": "turn", "name": "gain", "value": "x"},
        {"type": "turn", "name": "gain", "value": 7}, {"type": "turn", "name": "x", "value": 0},
        {"type": "take", "number": "x", "suffix": "dsp"}, {"type": "eval", "code": "1"},
        {"type": "take", "number": 0, "suffix": "../x"},
    ):  # fmt: skip
        widget._heard(widget, bad, [])
    assert session.controls == {"gain": 0.25}


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "adac_jax.live.widget", None)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with adac_jax.live(Comb(), page=False) as session:
        monkeypatch.delitem(sys.modules, "adac_jax.live.widget")
        with pytest.raises(adac_jax.AdacError, match=r"pip install 'adac_jax\[live\]'"):
            session.widget()


@pytest.mark.parametrize("text", [widget_module(), script(WORKLET), script(ANALYSIS)])
def test_bundles_are_valid(tmp_path, text):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node to read them")
    (tmp_path / "bundle.mjs").write_text(text)
    subprocess.run([node, "--check", str(tmp_path / "bundle.mjs")], check=True)
    assert not [line for line in text.splitlines() if line.startswith("import ")]


PAGE = """<!doctype html><meta charset="utf-8"><style>{css}</style><div id="cell"></div>
<script type="module">
import widget from "./bundle.mjs";
const sent = {sent};
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const model = {{
  on(_, hear) {{ this.hear = hear; }},
  off() {{}},
  send(message) {{ (this.said ??= []).push(message); }},
}};
globalThis.model = model;
const cell = document.querySelector("#cell");
globalThis.close = widget.render({{ model, el: cell }});
for (const [message, buffers] of sent) model.hear(message, buffers.map(bytes));
globalThis.live = cell.live;
</script>"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_plays_in_a_browser(shown, tmp_path):
    """The module that a notebook gets, in a page that says what the kernel would say."""
    session, widget, heard, state = shown
    for k in range(3):
        session.update(state, loss=0.5**k)
        session.flush(20)
        heard.until(lambda m, k=k: m["type"] == "news" and [k + 1, 0.5**k] in
                    [list(pair) for pair in m["news"].get("losses", [])])  # fmt: skip
    news = list(heard.messages)
    heard.messages.clear()
    widget._heard(widget, {"type": "hello"}, [])
    sent = [
        (message, [base64.b64encode(bytes(b)).decode() for b in buffers])
        for message, buffers in (*heard.until(lambda m: m["type"] == "form"), *news)
    ]
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "bundle.mjs").write_text(widget_module())
    (folder / "index.html").write_text(PAGE.format(css=static("style.css"), sent=json.dumps(sent)))
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        port = int(server.stdout.readline().split("port ")[1].split()[0])
        with chromium(tmp_path / "profile") as browser:
            browser.get(f"http://127.0.0.1:{port}/")

            def until(script):
                end = time.monotonic() + 30
                while not browser.execute_script(script):
                    assert time.monotonic() < end, (script, browser.get_log("browser"))
                    time.sleep(0.05)

            until("return globalThis.live && live.player.shown?.number === 3")
            browser.execute_script("document.querySelector('.play').click()")
            until("return live.player.playing && live.player.context.currentTime > 0.3")
            y = browser.execute_async_script(
                "live.player.record(0.5).then(t => arguments[0](Array.from(t[0])))"
            )
            assert np.max(np.abs(y)) > 0.01
            browser.execute_script("live.player.goTo(1)")
            until("return live.player.shown.number === 1")
            browser.execute_script("live.player.turn('gain', 0.75)")
            until("return model.said.some(m => m.type === 'turn' && m.value === 0.75)")
            browser.execute_script("close()")
            said = [x for x in browser.get_log("browser") if x["level"] == "SEVERE"]
            assert not [x for x in said if "favicon" not in x["message"]]
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.slow
def test_it_is_shown_by_a_kernel(tmp_path):
    """In a real kernel that trains, whose front end hears of each step."""
    nbformat = pytest.importorskip("nbformat")
    from test_notebooks import execute

    notebook = nbformat.v4.new_notebook()
    folder = str(Path(__file__).parent)
    notebook.cells = [
        nbformat.v4.new_code_cell(
            f"import sys; sys.path.insert(0, {folder!r})\n"
            "import adac_jax\nfrom live_models import Comb\n"
            "model = Comb()\nsession = adac_jax.live(model, page=False)\n"
            "widget = session.widget()\nwidget"
        ),
        nbformat.v4.new_code_cell(
            "for k in range(5):\n"
            "    model.gains[...] = model.gains[...] * 0.9\n"
            "    session.update(model, loss=0.5)\n"
            "session.flush(30)\nprint(session.newest, session.problem)\nsession.close()"
        ),
    ]
    done = execute(notebook, tmp_path)
    (shown,) = [o for o in done.cells[0].outputs if "data" in o]
    assert "application/vnd.jupyter.widget-view+json" in shown["data"]
    assert done.cells[1].outputs[0]["text"] == "5 \n"
