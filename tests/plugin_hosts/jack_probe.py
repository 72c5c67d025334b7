"""IN.npy OUT.npy CLIENT: plays two channels into a JACK client, and keeps what it plays.

What comes is later than what went by the periods that the graph takes.
"""

import ctypes as c
import sys
import time

import numpy as np

source, target, host = sys.argv[1:]
x = np.load(source).astype(np.float32)
x = np.concatenate([x, np.zeros((32768, 2), np.float32)])
y = np.zeros_like(x)
jack = c.CDLL("libjack.so.0")
jack.jack_client_open.restype = c.c_void_p
jack.jack_client_open.argtypes = (c.c_char_p, c.c_int, c.c_void_p)
jack.jack_port_register.restype = c.c_void_p
jack.jack_port_register.argtypes = (c.c_void_p, c.c_char_p, c.c_char_p, c.c_ulong, c.c_ulong)
jack.jack_port_get_buffer.restype = c.c_void_p
jack.jack_port_get_buffer.argtypes = (c.c_void_p, c.c_uint32)
jack.jack_port_by_name.restype = c.c_void_p
jack.jack_port_by_name.argtypes = (c.c_void_p, c.c_char_p)
jack.jack_connect.argtypes = (c.c_void_p, c.c_char_p, c.c_char_p)
CALLBACK = c.CFUNCTYPE(c.c_int, c.c_uint32, c.c_void_p)
jack.jack_set_process_callback.argtypes = (c.c_void_p, CALLBACK, c.c_void_p)
jack.jack_activate.argtypes = jack.jack_client_close.argtypes = (c.c_void_p,)

NO_START, INPUT, OUTPUT, PATIENCE = 1, 1, 2, 60.0
KIND = b"32 bit float mono audio"
end = time.monotonic() + PATIENCE
client = None
while client is None:
    client = jack.jack_client_open(b"probe", NO_START, None)
    if time.monotonic() > end:
        sys.exit("no server")
    time.sleep(0.1)
outs = [jack.jack_port_register(client, b"out_%d" % k, KIND, OUTPUT, 0) for k in (1, 2)]
ins = [jack.jack_port_register(client, b"in_%d" % k, KIND, INPUT, 0) for k in (1, 2)]
at, runs = 0, False


def audio(port, frames):
    place = c.cast(jack.jack_port_get_buffer(port, frames), c.POINTER(c.c_float))
    return np.ctypeslib.as_array(place, (frames,))


def process(frames, _):
    global at
    part = slice(at, at + frames)
    for k in range(2):
        out = audio(outs[k], frames)
        out[:] = 0
        if runs and at < len(x):
            count = len(x[part])
            out[:count] = x[part, k]
            y[part, k] = audio(ins[k], frames)[:count]
    at += frames if runs else 0
    return 0


callback = CALLBACK(process)
jack.jack_set_process_callback(client, callback, None)
if jack.jack_activate(client):
    sys.exit("not activated")
while jack.jack_port_by_name(client, f"{host}/out_2".encode()) is None:
    if time.monotonic() > end:
        sys.exit(f"no {host}")
    time.sleep(0.1)
time.sleep(1)  # its plugins are loaded
for k in (1, 2):
    wires = [(b"probe:out_%d" % k, f"{host}/in_{k}"), (f"{host}/out_{k}", b"probe:in_%d" % k)]
    for a, b in wires:
        names = [w if isinstance(w, bytes) else w.encode() for w in (a, b)]
        if jack.jack_connect(client, *names):
            sys.exit(f"{a} does not connect to {b}")
time.sleep(0.5)
runs = True
while at < len(x):
    if time.monotonic() > end:
        sys.exit("it takes too long")
    time.sleep(0.05)
jack.jack_client_close(client)
np.save(target, y)
