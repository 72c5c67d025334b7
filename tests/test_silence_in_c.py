"""Bad samples in what C compilers make of the emitted FAUST, `-Ofast` included.

libfaust writes C, which is compiled to a program of its own: a library that gcc links with `-Ofast`
would set this process's bit for denormal numbers, without which libfaust cannot compile.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from test_silence import BAD, text

from adac_jax.host.capi import api, compiler_lock

LENGTH, AT = 3000, 700
HEADER = """
typedef struct { void* uiInterface;
  void (*openTabBox)(void*, const char*); void (*openHorizontalBox)(void*, const char*);
  void (*openVerticalBox)(void*, const char*); void (*closeBox)(void*);
  void (*declare)(void*, float*, const char*, const char*); } UIGlue;
typedef struct { void* metaInterface;
  void (*declare)(void*, const char*, const char*); } MetaGlue;
"""
MAIN = """
#include <stdio.h>
#include <stdlib.h>
int main(void) {
  static float x[3000], y[3000];
  float* in[1] = {x}; float* out[1] = {y};
  madedsp* dsp = newmadedsp();
  initmadedsp(dsp, 48000);
  if (fread(x, 4, 3000, stdin) != 3000) return 1;
  computemadedsp(dsp, 3000, in, out);
  return fwrite(y, 4, 3000, stdout) != 3000;
}
"""


def in_c(source: str, folder) -> None:
    """Writes made.c, with a main function that filters what comes in."""
    write = api().generateCAuxFilesFromFile
    write.restype = ctypes.c_bool
    write.argtypes = (
        ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p), ctypes.c_char_p
    )  # fmt: skip
    (folder / "made.dsp").write_text(source)
    options = ["-lang", "c", "-cn", "madedsp", "-o", "made.c", "-O", str(folder)]
    array = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    message = ctypes.create_string_buffer(4096)
    with compiler_lock:
        assert write(str(folder / "made.dsp").encode(), len(options), array, message), message.value
    (folder / "main.c").write_text(f'{HEADER}#include "made.c"\n{MAIN}')


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("name", ["nested allpasses", "section", "compressor", "phaser"])
def test_bad_samples_are_zeros_in_c(name, tmp_path):
    """As in the text's own tests, bit by bit, for every way of compiling."""
    in_c(text(name), tmp_path)
    x = np.random.default_rng(3).uniform(-0.5, 0.5, LENGTH).astype(np.float32)
    x[AT : AT + len(BAD)] = 0.0
    for flags in (["-O2"], ["-Ofast"], ["-Ofast", "-march=native"]):
        program = tmp_path / "made"
        command = ["gcc", *flags, "-w", "-o", program, tmp_path / "main.c", "-lm"]
        subprocess.run(command, check=True)

        def run(samples: np.ndarray, program=program) -> np.ndarray:
            done = subprocess.run([program], input=samples.tobytes(), capture_output=True)
            assert done.returncode == 0
            return np.frombuffer(done.stdout, np.float32)

        wanted = run(x)
        assert np.all(np.isfinite(wanted))
        assert np.any(wanted[AT + 100 :] != 0)
        for bad in BAD:
            disturbed = x.copy()
            disturbed[AT] = bad
            np.testing.assert_array_equal(run(disturbed), wanted)
