"""Many models trained at once, on one device or on many.

A batch holds models of one structure, its members: rooms of their own, or starting points for the
same room. A step trains each of them for itself, on its own loss, in one compiled program:

    batch = stack([make(nnx.Rngs(seed)) for seed in range(64)], jax.devices())
    targets = batch.put(targets)  # (members, time, channels)
    state = batch.optimiser_state(optimiser)
    step = train_step(lambda model, target: loss(model(impulse), target), optimiser)
    for _ in range(1000):
        batch, state, losses = step(batch, state, targets)
    best = batch.model(int(losses.argmin()))

Members are mapped over within a device (`jax.vmap`) and divided among devices (`jax.shard_map`),
which do not communicate while they train. A single device is a mesh of one, and runs the same code.

Several hosts: each process calls `jax.distributed.initialize` first and then runs the same
program, whose `jax.devices()` are those of all hosts. Each makes all models and hands the same
NumPy arrays to `put`; its devices take their part. Where a process has only its own part of the
data, `jax.make_array_from_process_local_data(batch.sharding(), part)` joins the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from adac_jax.errors import AdacError

AXIS = "batch"
"""The axis of the mesh of devices over which members are divided."""

# JAX's own types declare its class of devices as a variable.
Devices = Sequence[jax.Device] | Mesh  # pyright: ignore[reportInvalidTypeForm]
Tree = TypeVar("Tree")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("parameters", "rest"),
    meta_fields=("graphdef", "mesh"),
)
@dataclass(frozen=True, eq=False)
class Batch:
    """Models of one structure; made by `stack`. A pytree, whose arrays lead with the member.

    Attributes:
        parameters: What is trained: the models' `nnx.Param`.
        rest: All other state of the models.
        graphdef: Their structure.
        mesh: The devices.
    """

    parameters: nnx.State
    rest: nnx.State
    graphdef: nnx.GraphDef[Any]
    mesh: Mesh

    def __len__(self) -> int:
        """The number of members."""
        return jax.tree.leaves(self.parameters)[0].shape[0]

    def model(self, k: int) -> Any:
        """Member k as a module of its own, on one device.

        On several hosts all processes must call it together, and each gets the module.

        Raises:
            IndexError: there is no such member.
        """
        if not 0 <= k < len(self):
            raise IndexError(f"`k` (={k}) must be a member: 0 to {len(self) - 1}.")
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        state = jax.device_put((self.parameters, self.rest), everywhere)
        return nnx.merge(self.graphdef, *jax.tree.map(lambda v: v.addressable_data(0)[k], state))

    def sharding(self, *axes: str | None) -> NamedSharding:
        """Where data (members, ...) belongs; `axes` as in `put`."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS, *axes))

    def put(self, data: Tree, *axes: str | None) -> Tree:
        """Puts data beside its members.

        Args:
            data: Arrays (members, ...).
            *axes: Axes of the mesh, or None, over which the axes after the first are divided.

        Raises:
            AdacError: an array has another number of members than the batch.
        """
        self._check(data)
        return jax.device_put(data, self.sharding(*axes))

    def optimiser_state(self, optimiser: optax.GradientTransformation) -> Any:
        """The state from which an optimiser starts, for each member its own."""
        return jax.jit(_over_members(self.mesh, optimiser.init))(self.parameters)

    def _check(self, data: Any) -> None:
        for leaf in jax.tree.leaves(data):
            if jnp.shape(leaf)[:1] != (len(self),):
                raise AdacError(
                    f"`data` has an array of shape {jnp.shape(leaf)}, whose first axis must be "
                    f"the batch's {len(self)} members."
                )


def stack(models: Sequence[nnx.Module], devices: Devices | None = None) -> Batch:
    """Models of one structure as a batch.

    They may differ in the values of parameters and other arrays, and in nothing else: whole delays,
    for one, are structure, since they are compiled.

    Args:
        models: At least one; their arrays are copied.
        devices: What they are divided among, as many on each; the default device if None. Of a
            mesh its axis "batch"; further axes, which must be `AxisType.Auto`, are for
            `Batch.put`.

    Raises:
        AdacError: models differ in structure, and the message names the first difference; they
            cannot be divided evenly among the devices; or the mesh has no axis "batch".
    """
    if not models:
        raise AdacError("`models` is empty, but a batch needs at least one model.")
    for k, model in enumerate(models):
        if not isinstance(model, nnx.Module):
            raise AdacError(f"Model {k} must be a Flax NNX module, not a {type(model).__name__}.")
    mesh = _mesh(len(models), devices)
    parts = [nnx.split(model, nnx.Param, ...) for model in models]
    for k, part in enumerate(parts):
        if _signature(part) != _signature(parts[0]):
            raise AdacError(
                f"Models of a batch must be of one structure, but {_difference(models, k)}."
            )
    if not jax.tree.leaves(parts[0][1]):
        raise AdacError(f"A {type(models[0]).__name__} has no parameters (`nnx.Param`) to train.")
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))

    def divided(*members: Array) -> Array:
        def part(index: Any) -> Array:
            return jnp.stack(members[index[0]])

        # No device, and no host, is given other members than its own.
        shape = (len(members), *jnp.shape(members[0]))
        return jax.make_array_from_callback(shape, sharding, part)

    parameters, rest = jax.tree.map(divided, *(part[1:] for part in parts))
    return Batch(parameters, rest, parts[0][0], mesh)


def train_step(
    loss: Callable[[Any, Any], Float[Array, ""]],
    optimiser: optax.GradientTransformation,
    *,
    at_once: int | None = None,
) -> Callable[..., tuple[Batch, Any, Float[Array, " members"]]]:
    """A training step for every member of a batch: θ_k ← θ_k + optimiser(∇ loss(model_k, data_k)).

    Members do not see each other, not even through the optimiser: clipping to a global norm, say,
    goes by each member's own. One that diverges leaves the others as they are.

    One model with its data over several devices is a batch of one member on a mesh with a second
    axis, `jax.make_mesh((1, 4), ("batch", "signals"), (AxisType.Auto,) * 2)`, its data put by
    `batch.put(data, "signals")`, and a loss that takes the mean over signals: XLA then adds up the
    devices' gradients.

    Args:
        loss: loss(model, data) -> scalar, for one member. What all members share, such as an input
            or a common target, it may close over.
        optimiser: From optax; those that search along a line too.
        at_once: How many of its members a device computes together; all if None. The rest wait, so
            that a step needs the working memory of so many only. On a processor 1 is fastest (see
            `benchmarks/batches.py`); accelerators want more, to be kept busy.

    Returns:
        step(batch, optimiser_state, data=None) -> (batch, optimiser_state, losses). Arrays of
        `data` are (members, ...), and losses, (members,), are those before the step. It is compiled
        once for each structure and each shape of data. The batch and the optimiser state that are
        given are donated: use those returned. On several hosts a process sees its own part of
        losses; `jax.experimental.multihost_utils.process_allgather(losses, tiled=True)` is all.

    Raises:
        AdacError: `at_once` is below 1; or, by the step, `data` has another number of members than
            the batch.
    """
    if at_once is not None and at_once < 1:
        raise AdacError(f"`at_once` (={at_once}) must be at least 1 member.")
    update = optax.with_extra_args_support(optimiser).update

    def one(graphdef: Any, parameters: Any, rest: Any, state: Any, data: Any) -> tuple[Any, ...]:
        def value_of(parameters: Any) -> tuple[Array, Any]:
            model = nnx.merge(graphdef, parameters, rest, copy=True)
            # Calling it may change what is not trained: counters of random numbers, for one.
            return loss(model, data), nnx.split(model, nnx.Param, ...)[2]

        (value, changed), gradient = jax.value_and_grad(value_of, has_aux=True)(parameters)
        searching = {"value": value, "grad": gradient, "value_fn": lambda p: value_of(p)[0]}
        updates, state = update(gradient, state, parameters, **searching)
        return optax.apply_updates(parameters, updates), changed, state, value

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(batch: Batch, optimiser_state: Any, data: Any = None) -> tuple[Batch, Any, Array]:
        batch._check(data)
        run = _over_members(batch.mesh, partial(one, batch.graphdef), at_once)
        parameters, rest, state, losses = run(batch.parameters, batch.rest, optimiser_state, data)
        return replace(batch, parameters=parameters, rest=rest), state, losses

    return step


def _mesh(members: int, devices: Devices | None) -> Mesh:
    if not isinstance(devices, Mesh):
        chosen = list(jnp.zeros(()).devices() if devices is None else devices)
        devices = jax.make_mesh((len(chosen),), (AXIS,), (AxisType.Auto,), devices=chosen)
    if AXIS not in devices.shape:
        raise AdacError(f"`devices` is a mesh of axes {devices.axis_names}, none called {AXIS!r}.")
    if members % devices.shape[AXIS]:
        raise AdacError(
            f"{members} models cannot be divided evenly among {devices.shape[AXIS]} devices."
        )
    return devices


def _over_members(
    mesh: Mesh, function: Callable[..., Any], at_once: int | None = None
) -> Callable[..., Any]:
    """`function` of one member as one of all: mapped within a device, divided among devices.

    Not divided by XLA's partitioner, which gathers the members of all devices on each where it
    cannot divide an operation, as with FFTs and factorisations.
    """

    def on_device(*members: Any) -> Any:
        if at_once is None:
            return jax.vmap(function)(*members)
        # A batch of one would be mapped over, too.
        size = None if at_once == 1 else at_once
        return jax.lax.map(lambda member: function(*member), members, batch_size=size)

    spec = PartitionSpec(AXIS)
    # The check that is turned off is for outputs that are equal on all devices; there are none.
    return jax.shard_map(
        on_device, mesh=mesh, in_specs=spec, out_specs=spec, axis_names={AXIS}, check_vma=False
    )


def _signature(part: tuple[Any, ...]) -> tuple[Any, ...]:
    leaves = jax.tree.leaves(part[1:])
    return part[0], [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def _difference(models: Sequence[nnx.Module], k: int) -> str:
    """In words, the first part in which model k is not as model 0."""
    ours, theirs = _parts(models[0]), _parts(models[k])
    for path in sorted(ours | theirs):
        here, there = ours.get(path, "missing"), theirs.get(path, "missing")
        if here != there:
            name = ".".join(path) or "the model itself"
            return f"`{name}` is {there} in model {k} and {here} in model 0"
    return f"model {k} uses the same parts in other places"


def _parts(model: nnx.Module) -> dict[tuple[str, ...], str]:
    """By path, in words, all that a model consists of."""
    paths = {tuple(map(str, path)): value for path, value in nnx.iter_graph(model)}
    # Flax keeps notes of its own under such names.
    return {p: _in_words(v) for p, v in paths.items() if not p or p[-1][:8] != "_pytree_"}


def _in_words(value: Any) -> str:
    kind = type(value).__name__
    array = value[...] if isinstance(value, nnx.Variable) else value
    if isinstance(array, (Array, np.ndarray)):
        return f"{kind} of shape {array.shape} and type {array.dtype}"
    numbers = isinstance(value, tuple) and all(isinstance(v, (int, float)) for v in value)
    if value is None or numbers or jax.tree_util.all_leaves([value]):
        return repr(value)
    return f"a {kind}"  # what it holds has paths of its own
