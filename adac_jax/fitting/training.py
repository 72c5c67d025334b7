"""The training loop: optax, with checkpoints from which it goes on exactly."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from adac_jax.errors import AdacError
from adac_jax.fitting.model import Room
from adac_jax.fitting.objective import Objective

RATES = {"t60": 0.02, "raw": 0.02, "db": 0.3, "output_gain": 0.25, "gain": 0.005}
"""Adam's step for each kind of parameter, by the last name in its path that is a key here; "gain"
for all others: the logarithm of a reverberation time, a level in dB, output gains, whose step is a
part of their effective value so that the level of a recording does not matter, and all else."""
LAST = 0.03
"""Step sizes rise from this part of those above and fall to it again, along a cosine."""
WARMUP = 10
"""Steps until they are reached: the first gradients of Adam have no measure yet."""
EVERY = 25
"""Steps between checkpoints."""
COMPILER = {"xla_cpu_use_fusion_emitters": False}
"""Options of XLA on CPU: the older emitters compile in about two thirds of the time and their code
is as fast here."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        loss: The last loss.
        terms: Its parts: see `Objective.terms`.
        seconds: That training has taken, compilation and earlier runs included.
        left: Seconds that are left, about.
    """

    step: int
    steps: int
    loss: float
    terms: dict[str, float]
    seconds: float
    left: float


@dataclass(frozen=True, slots=True)
class Trained:
    """What is known after training.

    Attributes:
        losses: The loss before each step.
        seconds: That training took, compilation and earlier runs included.
    """

    losses: np.ndarray
    seconds: float


def train(
    room: Room,
    objective: Objective,
    steps: int,
    *,
    folder: Path | None = None,
    settings: dict[str, Any] | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Trained:
    """Trains a room model in place; all but its early reflections.

    Where `folder` holds checkpoints of a run with the same settings, training goes on from the last
    one, and ends with the same numbers as if it had not been interrupted.

    Args:
        room: The model, as it begins.
        objective: What is minimised.
        steps: How many steps to take.
        folder: Where checkpoints are written; none are if None.
        settings: What tells this run from another, for JSON.
        progress: Called after each step.

    Raises:
        AdacError: the folder holds checkpoints of another run or damaged ones, or the loss is not
            finite.
    """
    begun = time.perf_counter()
    graphdef, trained, fixed = nnx.split(room, _is_trained, ...)
    optimiser = _optimiser(trained, steps)
    state = optimiser.init(trained)
    losses = np.full(steps, np.nan, np.float32)
    first, before = 0, np.zeros(())
    x = jnp.zeros((objective.length, 1)).at[0].set(1.0)

    def loss(trained: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        y = nnx.merge(graphdef, trained, fixed)(x)
        return objective.loss(y), objective.terms(y)

    def step(trained: Any, state: Any) -> tuple[Any, Any, jax.Array, dict[str, jax.Array]]:
        (value, terms), gradient = jax.value_and_grad(loss, has_aux=True)(trained)
        updates, state = optimiser.update(gradient, state, trained)
        return optax.apply_updates(trained, updates), state, value, terms

    options = COMPILER if jax.default_backend() == "cpu" else None
    compiled = jax.jit(step, compiler_options=options)
    with contextlib.ExitStack() as stack:
        keeper = None
        if folder is not None:
            keeper = stack.enter_context(_Keeper(folder, settings or {}))
            if (found := keeper.load((trained, state, losses, before))) is not None:
                first, (trained, state, losses, before) = found
        for k in range(first, steps):
            trained, state, value, terms = compiled(trained, state)
            losses[k] = float(value)
            if not np.isfinite(losses[k]):
                raise AdacError(f"The loss is {losses[k]} at step {k}; training cannot go on.")
            numbers = {name: float(term) for name, term in terms.items()}
            run = time.perf_counter() - begun
            seconds = float(before) + run
            if keeper is not None and ((k + 1) % EVERY == 0 or k + 1 == steps):
                keeper.save(k + 1, (trained, state, losses, np.array(seconds)))
            left = run / (k + 1 - first) * (steps - k - 1)
            progress(Progress(k + 1, steps, float(value), numbers, seconds, left))
    nnx.update(room, trained)
    return Trained(losses, float(before) + time.perf_counter() - begun)


def _is_trained(path: tuple[Any, ...], variable: Any) -> bool:
    return isinstance(variable, nnx.Param) and "early" not in path


def _optimiser(trained: Any, steps: int) -> optax.GradientTransformation:
    def kind(path: Any, _: Any) -> str:
        names = [str(getattr(key, "key", getattr(key, "name", key))) for key in path]
        return next((name for name in reversed(names) if name in RATES), "gain")

    effective = [
        float(jnp.sqrt(jnp.mean(value**2)))
        for path, value in jax.tree_util.tree_leaves_with_path(trained)
        if kind(path, value) == "output_gain"
    ]
    rates = {**RATES, "output_gain": RATES["output_gain"] * float(np.mean(effective or [1.0]))}
    labels = jax.tree_util.tree_map_with_path(kind, trained)
    schedules: dict[Any, optax.GradientTransformation] = {
        name: optax.adam(
            optax.warmup_cosine_decay_schedule(
                LAST * rate, rate, min(WARMUP, steps // 2), max(2, steps), LAST * rate
            )
        )
        for name, rate in rates.items()
    }
    return optax.multi_transform(schedules, labels)


class _Keeper:
    """Checkpoints of one run, by orbax."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        import orbax.checkpoint as ocp  # slow to import

        text = json.dumps(settings, sort_keys=True)
        mark = folder / "run.json"
        if mark.exists():
            if mark.read_text("utf-8") != text:
                raise AdacError(
                    f"The folder {folder} holds checkpoints of a run with other settings or "
                    "another response; remove it, or write to another folder."
                )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            mark.write_text(text, "utf-8")
        self._folder = folder
        self._args = ocp.args
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager((folder / "steps").resolve(), options=options)

    def __enter__(self) -> _Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def load(self, like: Any) -> tuple[int, Any] | None:
        """The last step and what was kept then; None if there is nothing.

        Raises:
            AdacError: it cannot be read.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        leaves, tree = jax.tree.flatten(like)
        try:
            kept = self._manager.restore(step, args=self._args.StandardRestore(_named(leaves)))
            found = [kept[name] for name in _named(leaves)]
        except Exception as error:  # of whatever kind a damaged file makes orbax raise
            raise AdacError(
                f"The checkpoint of step {step} in {self._folder} is damaged "
                f"({type(error).__name__}); remove that folder to begin anew."
            ) from error
        found = [
            jnp.asarray(a, b.dtype) if isinstance(b, jax.Array) else np.array(a, b.dtype)
            for a, b in zip(found, leaves, strict=True)
        ]
        return step, jax.tree.unflatten(tree, found)

    def save(self, step: int, state: Any) -> None:
        """Keeps the state after a step."""
        leaves = jax.tree.leaves(state)
        self._manager.save(step, args=self._args.StandardSave(_named(leaves)))


def _named(leaves: list[Any]) -> dict[str, Any]:
    """Leaves under names that sort in their order."""
    return {f"{k:06d}": leaf for k, leaf in enumerate(leaves)}


def fingerprint(response: np.ndarray) -> str:
    """What tells a response from another."""
    return hashlib.sha256(np.ascontiguousarray(response).tobytes()).hexdigest()[:16]
