"""The CLAP in Qtractor, a workstation, without a screen, sound hardware or sequencer."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from plugin_fixtures import HOSTS, TOLERANCE, hosts, impulses, jit, plugins
from plugin_model import NAME

__all__ = ["hosts", "plugins"]
SESSION = """<!DOCTYPE qtractor-session>
<session name="probe" version="0.9.31">
 <properties>
  <directory>{folder}</directory>
  <sample-rate>{rate}</sample-rate>
 </properties>
 <devices>
  <audio-engine>
   <audio-bus name="Master" mode="duplex">
    <channels>2</channels>
    <auto-connect>0</auto-connect>
    <output-gain>1</output-gain>
    <output-panning>0</output-panning>
    <output-plugins>
     <plugin type="CLAP">
      <filename>{plugin}</filename>
      <index>0</index>
      <label>{name}</label>
      <activated>1</activated>
     </plugin>
    </output-plugins>
    <monitor>1</monitor>
   </audio-bus>
  </audio-engine>
 </devices>
 <tracks></tracks>
</session>
"""


@pytest.fixture(scope="module")
def sequencer(tmp_path_factory):
    """A library that stands for ALSA's sequencer; skips where something is not there."""
    missing = [name for name in ("qtractor", "jackd", "gcc") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: apt install qtractor jackd2 gcc")
    try:
        ctypes.CDLL("libjack.so.0")
    except OSError:
        pytest.skip("needs libjack.so.0: apt install libjack-jackd2-0")
    path = tmp_path_factory.mktemp("sequencer") / "still.so"
    source = HOSTS / "still_sequencer.c"
    subprocess.run(["gcc", "-O1", "-Wall", "-shared", "-fPIC", "-o", path, source], check=True)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "period"), [(48000, 1024), (44100, 256), (96000, 2048)])
def test_qtractor_renders_the_clap(plugins, sequencer, tmp_path, rate, period):
    x = impulses()
    np.save(tmp_path / "in.npy", x)
    session = tmp_path / "probe.qtr"
    session.write_text(
        SESSION.format(folder=tmp_path, rate=rate, plugin=plugins.paths["clap"], name=NAME)
    )
    (tmp_path / "run").mkdir(mode=0o700)
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "JACK_DEFAULT_SERVER": f"adac_{os.getpid()}",
        "JACK_NO_AUDIO_RESERVATION": "1",
        "QT_QPA_PLATFORM": "offscreen",
    }
    # Periods wait for all clients (-S), however busy the machine is.
    server = ["jackd", "-S", "-r", "-t", "5000", "-d", "dummy", "-r", str(rate), "-p", str(period)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    running = [subprocess.Popen(server, **quiet)]
    try:
        time.sleep(0.5)
        environment["LD_PRELOAD"] = str(sequencer)
        running.append(subprocess.Popen(["qtractor", session], **quiet))
        del environment["LD_PRELOAD"]
        probe = [sys.executable, HOSTS / "jack_probe.py", "in.npy", "out.npy", "Qtractor:Master"]
        done = subprocess.run(
            probe, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(10)
    assert done.returncode == 0, done.stderr
    y, wanted = np.load(tmp_path / "out.npy"), jit(x, rate)
    # The probe, Qtractor and the probe again: two periods at most.
    errors = [np.max(np.abs(y[k * period :][: len(x)] - wanted)) for k in range(4)]
    assert min(errors) < TOLERANCE, errors
