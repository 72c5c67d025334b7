"""From a model in training to numbers: traced once, then only coefficients are computed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from adac_jax.errors import AdacError
from adac_jax.live.watching import Watched
from adac_jax.tracing import Latency, Traced, pure
from adac_jax.verification import traced_at
from emitters.faust import OpenForm, TopologyError, open_form
from ir import Graph, Program
from ir.verify import DTYPES


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The parameters of a model at one moment, in memory of their own.

    Attributes:
        structure: What else there is to the model; None for a tree of parameters.
        parameters: Their tree.
        shapes: Of its leaves.
    """

    structure: Any
    parameters: Any
    shapes: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """An open form, and all that is needed to fill it.

    Attributes:
        graph: The graph, without its numbers.
        opened: Its open form.
        number: Counts topologies from 0.
    """

    graph: Graph
    opened: OpenForm
    number: int

    def program(self, coefficients: np.ndarray) -> Program:
        """The program with other coefficients, given as one array."""
        return Program(self.graph, named(self.graph, coefficients))

    def values(self, coefficients: np.ndarray) -> np.ndarray:
        """The data of its open form."""
        return self.opened.values(named(self.graph, coefficients))


def named(graph: Graph, coefficients: np.ndarray) -> dict[str, np.ndarray]:
    """Coefficients by slot, from one array that holds them one after the other."""
    found, start = {}, 0
    for slot, type_ in graph.slots.items():
        part = coefficients[start : start + type_.size].reshape(type_.shape)
        found[slot] = part.astype(DTYPES[type_.kind], copy=False)
        start += type_.size
    return found


@jax.jit
def _copied(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.copy(leaf) for leaf in leaves]


class Evaluator:
    """Computes the data of a model's open form, at any of its steps.

    `snapshot` is called in the thread of the training and costs some tenths of a millisecond;
    `coefficients` and `data` are for one other thread.

    Args:
        model: As for `adac_jax.export`.
        options: `parameters`, `inputs`, `sample_rate`, `name` and `latency` of `adac_jax.trace`.

    Raises:
        AdacError, RefusedError: as `adac_jax.trace`.
    """

    def __init__(
        self,
        model: Any,
        *,
        parameters: Any = None,
        inputs: int | None = None,
        sample_rate: float | None = None,
        name: str | None = None,
        latency: Latency = 0,
    ) -> None:
        self._options = {
            "inputs": inputs, "sample_rate": sample_rate, "name": name, "latency": latency,
        }  # fmt: skip
        self._model = None if isinstance(model, nnx.Module) else model
        self._kind = type(model)
        traced, program = traced_at(model, parameters, **self._options)
        tree: Any = {} if traced is None else pure(model, parameters)[1]
        structure = nnx.split(model)[0] if isinstance(model, nnx.Module) else None
        self._tree = jax.tree.structure(tree)
        self._fill(traced, program, structure, _shapes(jax.tree.leaves(tree)))
        self._topology: Topology | None = None
        self._watched: Watched | None = None

    def snapshot(self, model: Any) -> Snapshot:
        """The parameters of a model of the same class, or a tree of parameters like its own.

        Raises:
            AdacError: it is something else.
        """
        structure = None
        if isinstance(model, nnx.Module):
            leaves, tree, structure = self._read(model)
        else:
            given = {} if self._traced is None or model is self._model else model
            leaves, tree = jax.tree.flatten(given)
        if tree != self._tree and structure is None:
            raise AdacError(
                f"The update is a {type(model).__name__}, whose parameters are not those of the "
                f"{self._kind.__name__} that the session was made for; give the model itself, or "
                "the state that `nnx.split` makes of it."
            )
        # A training step may give the memory of its arguments away: `donate_argnums`.
        arrays = _copied([leaf for leaf in leaves if isinstance(leaf, jax.Array)])
        taken = iter(arrays)
        leaves = [next(taken) if isinstance(leaf, jax.Array) else leaf for leaf in leaves]
        return Snapshot(structure, jax.tree.unflatten(tree, leaves), _shapes(leaves))

    def _read(self, model: nnx.Module) -> tuple[list[Any], Any, Any]:
        leaves = self._watched.leaves(model) if self._watched is not None else None
        if leaves is None or self._watched is None:
            self._watched = Watched(model)
            leaves = jax.tree.leaves(nnx.split(model)[1])
        return leaves, self._watched.tree, self._watched.structure

    def coefficients(self, snapshot: Snapshot) -> np.ndarray:
        """All coefficients as one float64 array; traces again where the structure has changed."""
        structure = snapshot.structure
        changed = structure is not None and structure is not self._structure
        if changed and structure == self._structure:
            self._structure, changed = structure, False
        if changed or snapshot.shapes != self._shapes:
            structure = structure or self._structure
            if structure is None:
                model, parameters = self._model, snapshot.parameters
            else:
                model, parameters = nnx.merge(structure, snapshot.parameters), None
            traced, program = traced_at(model, parameters, **self._options)
            self._fill(traced, program, structure, snapshot.shapes)
        if self._traced is None:
            return self._flat
        with jax.enable_x64(True):
            return np.asarray(self._compiled(snapshot.parameters))

    def data(self, coefficients: np.ndarray) -> tuple[Topology, np.ndarray]:
        """The data of an open form that takes these coefficients: the last one where it does.

        Where a number that was zero is none any more, all zeros become data.

        Raises:
            IRError: a coefficient is not finite, or FAUST cannot write the program.
        """
        last, program = self._topology, Program(self._graph, named(self._graph, coefficients))
        again = last is not None and last.graph is self._graph
        if last is not None and again:
            try:
                return last, last.values(coefficients)
            except TopologyError:
                pass
        opened = open_form(program, dense=again, fixed=() if again else _constants(self._graph))
        number = 0 if last is None else last.number + 1
        self._topology = Topology(self._graph, opened, number)
        return self._topology, opened.initial

    def _fill(self, traced: Traced | None, program: Program, structure: Any, shapes: Any) -> None:
        self._traced, self._structure, self._shapes = traced, structure, shapes
        graph = program.graph if traced is None else traced.graph
        # As traced, before lengths are folded: they may change while the graph stays.
        self._graph = replace(graph, name=program.graph.name, latency=program.graph.latency)
        slots = graph.slots
        if traced is None:
            parts = [program.coefficients[slot].ravel() for slot in slots]
            self._flat = np.concatenate([np.zeros(0), *parts])
            return

        def flat(parameters: Any) -> jax.Array:
            found = traced.coefficients(parameters)
            parts = [found[slot].ravel().astype(jnp.float64) for slot in slots]
            return jnp.concatenate([jnp.zeros(0), *parts])

        self._compiled = jax.jit(flat)


def _constants(graph: Graph) -> list[str]:
    """Coefficients that follow from no parameter, as the tracer calls them.

    A parameter may have such a name: it is data from its first change on.
    """
    return [slot for slot in graph.slots if re.fullmatch(r"constant(\.\d+)?", slot)]


def _shapes(leaves: list[Any]) -> tuple[Any, ...]:
    return tuple((getattr(x, "shape", ()), getattr(x, "dtype", type(x))) for x in leaves)


__all__ = ["Evaluator", "Snapshot", "Topology", "named"]
