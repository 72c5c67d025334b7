"""The page's ramps, in Node: four numbers at once, or one by one, are the same."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest

RAMP = resources.files("adac_jax.live") / "static" / "ramp.js"
SCRIPT = """
import { Ramp, hasQuads } from %s;
const { places, from, to, ws } = JSON.parse(process.argv[1]);
const found = [false, true].map((quads) => {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const heap = new Float32Array(memory.buffer);
  const ramp = new Ramp(memory, Int32Array.from(places), 4096, quads);
  ramp.begin(Float64Array.from(from), Float64Array.from(to));
  return ws.map((w) => { ramp.move(w); return Array.from(heap.subarray(0, 400)); });
});
console.log(JSON.stringify({ found, quads: hasQuads() }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
@pytest.mark.parametrize("places", [
    [*range(10, 18), 3, 5, 7, *range(100, 107), 300],
    list(reversed(range(40, 60))),
    [0, 2, 4],
    [8, 8, 8, 8, 9, 10, 11],  # numbers that change nothing share a place
    [],
])  # fmt: skip
def test_four_at_once(places):
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, len(places)))
    ws = [0.0, 0.25, 0.8]
    given = {"places": places, "from": list(before), "to": list(after), "ws": ws}
    script = SCRIPT % json.dumps(str(RAMP))
    command = ["node", "--input-type=module", "-e", script, json.dumps(given)]
    done = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert done["quads"]
    ones, fours = np.array(done["found"], np.float32)
    shared = {place for place in places if places.count(place) > 1}
    ones[:, list(shared)] = fours[:, list(shared)]
    np.testing.assert_array_equal(ones, fours)
    for w, heap in zip(ws, fours, strict=True):
        wanted = {p: a + w * (b - a) for p, a, b in zip(places, before, after, strict=True)}
        for place, value in wanted.items():
            assert place in shared or abs(heap[place] - value) < 1e-6
        assert np.count_nonzero(heap) == len(wanted)
