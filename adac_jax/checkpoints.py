"""Trained parameters from an orbax checkpoint into a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from adac_jax.errors import AdacError

Key = tuple[str, ...]


def load_weights(model: Any, path: str | Path) -> None:
    """Puts an orbax checkpoint of an NNX state into a model, in place.

    The checkpoint is the folder that `orbax.checkpoint.StandardCheckpointer().save(folder,
    nnx.state(model))` writes, or the same of `nnx.to_pure_dict(nnx.state(model))`. States of random
    number generators in it are left out.

    Raises:
        AdacError: the model is not an NNX module, there is no checkpoint, or its entries do not
            have the model's names, shapes and kinds; the message names the first that differs.
    """
    if not isinstance(model, nnx.Module):
        raise AdacError(f"Weights go into a Flax NNX module, not into a {type(model).__name__}.")
    stored = dict(_flat(_restored(Path(path)), ()))
    for key, _ in nnx.to_flat_state(nnx.state(model, nnx.RngState)):
        stored.pop(_names(key), None)
    variables = {_names(key): v for key, v in nnx.to_flat_state(_state(model))}
    for key in sorted(set(variables) ^ set(stored)):
        where = "the model has no such parameter" if key in stored else "the checkpoint lacks it"
        raise AdacError(f"The weights {path} do not fit: {'.'.join(key)!r}: {where}.")
    for key, variable in variables.items():
        _check(path, key, stored[key], variable[...])
    fresh = [
        (key, variable.replace(jax.numpy.asarray(stored[_names(key)], variable[...].dtype)))
        for key, variable in nnx.to_flat_state(_state(model))
    ]
    nnx.update(model, nnx.from_flat_state(fresh))


def _state(model: nnx.Module) -> Any:
    return nnx.state(model, nnx.Not(nnx.RngState))


def _restored(path: Path) -> Any:
    import orbax.checkpoint as ocp  # slow to import, and seldom needed

    if not path.is_dir():
        raise AdacError(f"The weights {path} must be a folder: an orbax checkpoint.")
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(path.resolve())
    except Exception:  # orbax and tensorstore raise what they like, in many lines
        raise AdacError(
            f"The folder {path} is not an orbax checkpoint of one tree, or it is damaged."
        ) from None


def _flat(tree: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    """The arrays of a tree by their path, without the `value` that a saved NNX state ends in."""
    if isinstance(tree, Mapping):
        for name, branch in tree.items():
            yield from _flat(branch, (*key, str(name)))
    elif isinstance(tree, (list, tuple)):
        for k, branch in enumerate(tree):
            yield from _flat(branch, (*key, str(k)))
    elif tree is not None:
        yield (key[:-1] if key[-1:] == ("value",) else key), tree


def _names(key: Any) -> Key:
    return tuple(map(str, key))


def _check(path: str | Path, key: Key, found: Any, wanted: Any) -> None:
    name = ".".join(key)
    if np.shape(found) != np.shape(wanted):
        raise AdacError(
            f"The weights {path} do not fit: {name!r} has the shape {np.shape(found)} there and "
            f"{np.shape(wanted)} in the model."
        )
    array = np.asarray(found)
    kinds = [np.dtype(a.dtype).kind for a in (array, np.asarray(wanted))]
    if kinds[0] != kinds[1]:
        raise AdacError(f"The weights {path} do not fit: {name!r} holds {array.dtype} there.")
    if not np.all(np.isfinite(array)):
        raise AdacError(f"The weights {path} hold numbers that are not finite in {name!r}.")
