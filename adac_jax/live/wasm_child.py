"""Compiles FAUST to WebAssembly, in a process of its own: text in, a line of JSON and bytes out.

Run by its path, so that it needs DawDreamer and not JAX, and so that neither a crash of the
compiler nor the time it takes concerns a training.
"""

import json
import sys

GROUP = "coefficients"


def widgets(items: list, groups: tuple = ()):
    """All widgets with the groups that they are in."""
    for item in items:
        if "items" in item:
            yield from widgets(item["items"], (*groups, item["label"]))
        else:
            yield groups, item


def main() -> int:
    """FAUST text on standard input."""
    from dawdreamer.faust import FaustContext, box  # type: ignore[attr-defined]

    source = sys.stdin.buffer.read().decode()
    with FaustContext():  # outside of which such calls end the process
        try:
            program = box.boxFromDSP(source)  # type: ignore[attr-defined]
            module = box.boxToSource(program, "wasm", "model", ["-ftz", "2"])  # type: ignore[attr-defined]
        except RuntimeError as error:
            print(" ".join(str(error).split()), file=sys.stderr)
            return 3
    found = json.loads(module[module.index(b'{"name"') :].decode())
    data: dict[int, int] = {}
    controls: dict[str, int] = {}
    for groups, item in widgets(found["ui"]):
        if groups[-1:] == (GROUP,):
            data[int(item["label"])] = item["index"]
        elif item["type"] in ("hslider", "vslider", "nentry"):
            controls[item["label"]] = item["index"]
    info = {
        "size": found["size"],
        "inputs": found["inputs"],
        "outputs": found["outputs"],
        # -1: FAUST found that the number changes nothing.
        "data": [data.get(k, -1) for k in range(max(data, default=-1) + 1)],
        "controls": controls,
    }
    sys.stdout.buffer.write(json.dumps(info).encode() + b"\n" + module)
    return 0


if __name__ == "__main__":
    sys.exit(main())
