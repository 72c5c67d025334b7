"""Writes a program as FAUST text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np

from emitters.faust.definitions import Definition, Function, Line, functions, with_barriers
from emitters.faust.folding import folded, numbers_where_known
from emitters.faust.guard import HELPERS as GUARDS
from emitters.faust.guard import Guards, bus, guards, guards_for_any
from emitters.faust.live import OpenForm
from emitters.faust.numbers import Data, Numbers, known_numbers
from emitters.faust.recursion import Opened, open_loops
from emitters.faust.rules import ADDITIVE, FOREIGN, LINEAR, RULES, Atoms, array
from emitters.faust.sections import HELPERS
from emitters.faust.text import Number, atom, comment, quoted
from emitters.faust.writer import Writer
from ir.cycles import components
from ir.errors import IRError
from ir.graph import Graph, Node, Program
from ir.passes import fold, merge, prune
from ir.verify import verify, verify_program

WIDTH = 100
"""Columns of lists of names."""


Form = Literal["closed", "open"]


def emit(program: Program, guard: bool = True, form: Form = "closed") -> str:
    """The program as FAUST.

    Deterministic; names follow the modules; every number is written so that it reads back as the
    same float64. The text needs no library.

    Args:
        program: What to write.
        guard: Whether samples that are no numbers, or beyond 2^20, become zero before they can stay
            in a state for ever; see docs/precision.md. Others pass with every bit.
        form: "closed": numbers are literals, which is what ships. "open": they are data that may be
            written while it runs; see `open_form`.

    Raises:
        IRError: the program is not valid, or holds a number that FAUST cannot write.
    """
    if form not in ("closed", "open"):
        raise IRError(f'`form` (={form!r}) must be "closed" or "open".')
    return open_form(program, guard).text if form == "open" else _written(program, guard)[0]


def open_form(
    program: Program, guard: bool = True, dense: bool = False, fixed: Collection[str] = ()
) -> OpenForm:
    """The program as FAUST whose numbers are data, and how they follow from its coefficients.

    Args:
        program: What to write.
        guard: As for `emit`; in the open form every loop has guards, whatever its numbers are.
        dense: Whether zeros are data too, and filters of the most general kind that they may
            become, so that fewer coefficients need another text, at the cost of more operations.
        fixed: Coefficients that are literals, such as those that follow from no parameter.

    Raises:
        IRError: as `emit`.
    """
    literal = frozenset(fixed) | {k for k, v in program.coefficients.items() if v.dtype.kind != "f"}
    text, numbers, data = _written(program, guard, Data(literal, dense))
    assert numbers is not None
    slots = {slot: v for slot, v in program.coefficients.items() if slot in literal}
    return OpenForm(
        text,
        np.array([n.value for n in data], np.float64),
        tuple(numbers.entries(data)),
        numbers.derivation(data, slots),
    )


def open_values(program: Program) -> np.ndarray:
    """The data of a program's open form, in order: what a live update writes."""
    return open_form(program).initial


def _written(
    program: Program, guard: bool, data: Data | None = None
) -> tuple[str, Numbers | None, list[Number]]:
    """The text; what its data are, if it has any."""
    program = verify_program(fold(verify_program(program)))
    program = program.with_graph(merge(prune(program.graph)))
    if not program.graph.output_channels:
        raise IRError(f"The graph {program.graph.name!r} has no outputs; FAUST needs at least one.")
    opened = open_loops(program.graph)
    graph = verify(opened.graph)
    writer = Writer()
    inside = Guards()
    if guard:
        inside = guards_for_any(program) if data else guards(program)
    atoms: dict[int, Atoms] = {}
    arguments = _arguments(graph, writer, atoms, opened.ports)
    if data:
        numbers = known_numbers(graph, program, writer.unique, data)
        writer.numbers = numbers
        known = numbers.values
        read = {s for k, node in graph if k not in known for s in node.inputs} | {*graph.outputs}
        atoms |= {k: numbers.atoms(k) if k in read else np.empty(0, object) for k in known}
    # Opened, the graph has no cycle, so each node can follow all it reads, through delays too.
    for (k,) in components(range(len(graph.nodes)), lambda k: graph.nodes[k].inputs):
        if k not in atoms:
            operands = [atoms[s] for s in graph.nodes[k].inputs]
            if k in inside.filters:
                operands[0] = _finite(writer, graph.nodes[k], operands[0])
            atoms[k] = _node(writer, graph, program, k, operands)
    results = [atom(value) for k in graph.outputs for value in atoms[k].flat]
    lines = with_barriers(writer.definitions, results, lambda: writer.helper("keep"))
    back, entering = _buses(writer, opened, inside, guard)
    read = []
    if writer.numbers is not None:
        words = {w for line in lines if isinstance(line, Definition) for w in line.words()}
        read = writer.numbers.used(words | {*results})
        writer.knobs += writer.numbers.definitions(read)
    text = _text(program.graph, writer, lines, arguments, results, back, entering)
    return text, writer.numbers, read


def _buses(
    writer: Writer, opened: Opened, inside: Guards, guard: bool
) -> tuple[list[str], list[str]]:
    """What each signal passes that goes back in a loop, and each that comes in: a guard or none."""
    nodes, ports = opened.graph.nodes, opened.ports
    back: list[str] = []
    entering: list[str] = []
    for k in opened.graph.outputs[:ports]:
        is_guarded = k in inside.loops and nodes[k].type.kind == "real"
        back += ["finite" if is_guarded else "_"] * nodes[k].type.size
    for k in opened.graph.inputs[ports:]:
        is_guarded = guard and nodes[k].type.kind == "real"
        entering += ["guard" if is_guarded else "_"] * nodes[k].type.size
    writer.helpers.update({*back, *entering} - {"_"})
    return back, entering


def _finite(writer: Writer, node: Node, x: Atoms) -> Atoms:
    """The signal that a filter takes in, guarded."""
    helper = writer.helper("finite")
    writer.start(f"{node.name}.in" if node.name else "in", "in")
    texts = (
        writer.name(f"{helper}({v})", str(k)) if isinstance(v, str) else v
        for k, v in enumerate(x.flat)
    )
    return array(texts, x.shape)


def _arguments(graph: Graph, writer: Writer, atoms: dict[int, Atoms], ports: int) -> list[str]:
    names: list[str] = []
    for position, k in enumerate(graph.inputs):
        node = graph.nodes[k]
        is_port = position < ports
        writer.start(f"{node.name or 'loop'}_back" if is_port else node.name or "in", "in")
        found = array((writer.argument(i) for i in np.ndindex(node.shape)), node.shape)
        names.extend(found.ravel())
        atoms[k] = found if is_port else _received(writer, node, found)
    return names


def _received(writer: Writer, node: Node, found: Atoms) -> Atoms:
    """The arguments as what they are: FAUST hands over real numbers only."""
    if node.type.kind == "real":
        return found
    template = "int({})" if node.type.kind == "int" else "{} != 0"
    values = (
        writer.name(template.format(value), "_".join((node.type.kind, *map(str, index))))
        for index, value in zip(np.ndindex(node.shape), found.ravel(), strict=True)
    )
    return array(values, node.shape)


def _node(writer: Writer, graph: Graph, program: Program, k: int, operands: list[Atoms]) -> Atoms:
    node = graph.nodes[k]
    if node.op == "constant":
        return array([node["value"]], ())
    if node.op == "coefficient":
        return program.coefficients[node.text("slot")].astype(object)
    if node.op == "control":
        return array([writer.knob(node)], ())
    if not node.type.size:
        return array((), node.shape)
    kinds = [graph.nodes[s].type.kind for s in node.inputs]
    number = folded(node, operands, kinds)
    if number is not None:
        return number
    writer.start(node.name, node.op)
    writer.family = "sum" if node.op in ADDITIVE else "linear" if node.op in LINEAR else ""
    mark = len(writer.definitions)
    found = numbers_where_known(node, operands, kinds, RULES[node.op](writer, node, *operands))
    known = {value for operand in operands for value in operand.flat if isinstance(value, str)}
    known |= {d.name for d in writer.definitions[mark:] if isinstance(d, Definition)}
    result = np.empty(node.shape, object)
    for index in np.ndindex(node.shape):
        value: Any = found[index]
        if isinstance(value, str) and value not in known:
            value = writer.name(value, "_".join(map(str, index)))
        result[index] = value
    if len(writer.definitions) > mark:
        writer.definitions.insert(mark, _caption(node))
    return result


def _caption(node: Node) -> str:
    note = f" {node.text('subscripts')}" if node.op == "einsum" else ""
    return comment(f"{node.name or '(unnamed)'}: {node.op}{note}")


def _text(
    graph: Graph,
    writer: Writer,
    lines: list[Line],
    arguments: list[str],
    results: list[str],
    back: list[str],
    entering: list[str],
) -> str:
    head = [
        f"declare name {quoted(graph.name)};",
        'declare description "Written by adac_jax from a JAX model.";',
        f"declare adac_jax_sample_rate {quoted(f'{graph.sample_rate:g}')};",
        *([f"declare latency_samples {quoted(str(graph.latency))};"] if graph.latency else []),
        "",
    ]
    for name in sorted(writer.helpers):
        if name in FOREIGN:
            signature = f"float {name}f|{name}|{name}l(float)"
            head.append(f'{name} = ffunction({signature}, <math.h>, "");')
        elif name == "impulse":
            head.append("// One at the first sample, zero after.\nimpulse = 1 - 1';")
        else:
            head.append((HELPERS | GUARDS)[name].rstrip())
    for values, name in writer.tables.items():
        # Only here does FAUST take a negative number without parentheses, and nothing else.
        numbers = _wrapped([atom(v).strip("()") for v in values])
        head.append(f"{name} = waveform {{\n{numbers}\n}};")
    head.extend(writer.knobs)
    if writer.helpers or writer.tables:
        head.append("")
    parts = functions(lines, arguments, results)
    names = ["model"] if len(parts) == 1 else [f"part_{k + 1}" for k in range(len(parts))]
    body = [line for name, part in zip(names, parts, strict=True) for line in _function(name, part)]
    if len(parts) > 1:
        body.append(f"model = {' : '.join(names)};")
    call = "model"
    if back:
        rest = len(results) - len(back)
        call += f" ~ {bus(back)} : (par(i, {len(back)}, !), par(i, {rest}, _))"
    if "guard" in entering:
        call = f"{bus(entering)} : {call}"
    return "\n".join([*head, *body, f"process = {call};", ""])


def _function(name: str, part: Function) -> list[str]:
    head = f"{name}({', '.join(part.arguments)}) =" if part.arguments else f"{name} ="
    if len(head) > WIDTH:
        head = f"{name}(\n{_wrapped(part.arguments)}\n) ="
    text = [head, _wrapped(part.results)]
    if part.lines:
        text += ["with {", *(f"    {line}" for line in part.lines), "}"]
    text[-1] += ";"
    return [*text, ""]


def _wrapped(names: Sequence[str]) -> str:
    rows, row = [], ""
    for k, name in enumerate(names):
        piece = name + (", " if k < len(names) - 1 else "")
        if len(row) + len(piece) > WIDTH - 4:
            rows.append(row.rstrip())
            row = ""
        row += piece
    rows.append(row)
    return "\n".join(f"    {r}" for r in rows)
