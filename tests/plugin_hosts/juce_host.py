"""Renders through a VST3 in DawDreamer or pedalboard, in a process of its own.

python juce_host.py dawdreamer|pedalboard PLUGIN RATE BLOCK[,BLOCK…] IN.npy OUT.npy [NAME=POSITION…]
reads (time, channels), writes (blocks, time, channels), and prints what the host says of the plugin
as JSON. (Sizes that change within a stream are for the other hosts: pedalboard starts a plugin anew
at each new size.)
"""

from __future__ import annotations

import json
import sys

import numpy as np


def dawdreamer(path, rate, blocks, x, knobs):
    import dawdreamer

    found = []
    for block in blocks:
        engine = dawdreamer.RenderEngine(rate, int(block))
        plugin = engine.make_plugin_processor("plugin", path)
        described = plugin.get_parameters_description()
        for name, value in knobs.items():
            (index,) = (p["index"] for p in described if p["name"] == name)
            plugin.set_parameter(index, value)
        source = engine.make_playback_processor("in", np.ascontiguousarray(x.T))
        engine.load_graph([(source, []), (plugin, ["in"])])
        engine.render((len(x) + 0.5) / rate)
        found.append(engine.get_audio().T[: len(x)])
    texts = {p["name"]: [p["text"], p["label"], p["min"], p["max"]] for p in described}
    return found, {"latency": plugin.get_latency_samples(), "parameters": texts}


def pedalboard(path, rate, blocks, x, knobs):
    import pedalboard

    plugin = pedalboard.load_plugin(path)
    byname = {p.name: p for p in plugin.parameters.values()}
    for name, value in knobs.items():
        byname[name].raw_value = value
    if knobs:  # positions come with audio: after a reset, knobs stand where they went
        plugin(0 * x.T, float(rate))
    found = []
    for block in blocks:
        plugin.reset()
        found.append(plugin(x.T.copy(), float(rate), buffer_size=int(block)).T)
    state = plugin.raw_state
    texts = {p.name: [p.string_value, p.label, p.min_value, p.max_value] for p in byname.values()}
    other = pedalboard.load_plugin(path)
    other.raw_state = state
    again = {p.name: p.string_value for p in other.parameters.values()}
    about = {
        "name": plugin.name,
        "maker": plugin.manufacturer_name,
        "category": plugin.category,
        "version": plugin.version,
        "identifier": plugin.identifier,
        "latency": plugin.reported_latency_samples,
        "parameters": texts,
        "restored": again,
    }
    return found, about


def main() -> None:
    host, path, rate, blocks, source, target, *knobs = sys.argv[1:]
    values = {name: float(value) for name, _, value in (k.rpartition("=") for k in knobs)}
    run = {"dawdreamer": dawdreamer, "pedalboard": pedalboard}[host]
    found, about = run(path, int(rate), blocks.split(","), np.load(source), values)
    length = min(map(len, found))
    np.save(target, np.stack([y[:length] for y in found]))
    print(json.dumps(about))


if __name__ == "__main__":
    main()
