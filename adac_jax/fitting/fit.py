"""From a measured room response to a model of the room that ships."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import soundfile
from flax import nnx
from jaxtyping import Float

from adac_jax import metrics
from adac_jax.audio import fit_channels, open_source
from adac_jax.checkpoints import load_weights
from adac_jax.errors import AdacError
from adac_jax.exporting import Exported, export
from adac_jax.fitting.initial import initial_room, structure_of
from adac_jax.fitting.model import Room, Structure
from adac_jax.fitting.objective import objective_of
from adac_jax.fitting.target import Target, read_target, target_of
from adac_jax.fitting.training import COMPILER, Progress, fingerprint, train
from adac_jax.staging import staged

LINES, EARLY, SLOPES, STEPS = 16, 0.06, 1, 150
"""Delay lines, seconds of early reflections, networks, and steps of training."""
STRUCTURE, WEIGHTS, CHECKPOINTS = "room.json", "weights", "checkpoints"
"""Names of what is written beside the export: lengths, trained parameters, training's state."""
LISTEN_SECONDS = 20.0
"""Of a dry recording so much is played through the rooms."""


@dataclass(frozen=True)
class Fit:
    """A fitted room.

    Attributes:
        room: The trained model.
        target: What it was fitted to.
        before: The response before training, (time, channels).
        after: The response of the trained model.
        compared_before: How far the response was from the target before training.
        compared: How far it is now.
        losses: The loss before each step.
        seconds: What training took, compilation and earlier, interrupted runs included.
        exported: The export and its proof; None if nothing was written.
        files: What was written, the export included.
    """

    room: Room
    target: Target
    before: Float[np.ndarray, "time channels"]
    after: Float[np.ndarray, "time channels"]
    compared_before: metrics.Comparison
    compared: metrics.Comparison
    losses: np.ndarray
    seconds: float
    exported: Exported | None
    files: tuple[Path, ...]


def fit(
    target: str | Path | np.ndarray | Target,
    out: str | Path | None = None,
    *,
    sample_rate: float | None = None,
    name: str | None = None,
    lines: int = LINES,
    early: float = EARLY,
    slopes: int = SLOPES,
    steps: int = STEPS,
    seed: int = 0,
    listen_to: str | Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    stage: Callable[[str], None] = lambda _: None,
) -> Fit:
    """Fits a room model to a measured impulse response, and exports it.

    The response is measured (reverberation time and level in octave bands, noise floor); a `Room`
    is made that has its early reflections, reverberation times and levels; it is trained on the
    decay curves in octave bands, by gradients of its exact impulse response; and it is exported as
    `export` does. A run that was interrupted goes on where it was, if it is begun again with the
    same arguments.

    Args:
        target: A sound file (WAV, FLAC, …; mono or stereo), or the response itself, (time,) or
            (time, channels), with `sample_rate`.
        out: The folder to write to; nothing is written if None.
        sample_rate: Of the model, in Hz; the file's if None. A file is resampled to it.
        name: The model's name; the file's if None.
        lines: Delay lines in all.
        early: Seconds of the response that are kept as they are: the early reflections.
        slopes: 1, or 2 for rooms that decay with two slopes: two networks share the lines.
        steps: Steps of training.
        seed: Of the random matrices and gains.
        listen_to: A dry recording: what it sounds like in the measured room, in the model before,
            and after training is written too.
        progress: Called after each step.
        stage: Called with what is being done.

    Raises:
        AdacError: the target is no room's response, an argument is out of its range, or the folder
            cannot be written or holds another run.
        ComparisonError: the FAUST of the trained model differs from it; nothing was exported.
    """
    if not 1 <= steps <= 100_000:
        raise AdacError(f"`steps` (={steps}) must lie in 1 to 100000.")
    folder = None if out is None else Path(out)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise AdacError(f"The output {folder} is a file; it must be a folder.")
    found = _target(target, sample_rate, name)
    dry = None if listen_to is None else _dry(Path(listen_to), round(found.sample_rate))
    stage("measuring the response")
    objective = objective_of(found)
    structure = structure_of(found, lines, early, slopes)
    room = initial_room(found, objective, structure, seed)
    response = _responder(room, max(len(found.response), objective.length))
    before = response(room)
    stage("compiling the training step")
    settings = {
        "response": fingerprint(found.response),
        "structure": dataclasses.asdict(structure),
        "steps": steps,
        "seed": seed,
    }
    checkpoints = None if folder is None else _made(folder) / CHECKPOINTS
    trained = train(
        room,
        objective,
        steps,
        folder=checkpoints,
        settings=settings,
        progress=progress,
    )
    after = response(room)
    rate = found.sample_rate
    result = Fit(
        room=room,
        target=found,
        before=before,
        after=after,
        compared_before=metrics.compare(before, found.response, rate),
        compared=metrics.compare(after, found.response, rate),
        losses=trained.losses,
        seconds=trained.seconds,
        exported=None,
        files=(),
    )
    if folder is None:
        return result
    exported = export(room, folder, name=found.name, sample_rate=rate, stage=stage)
    stage("drawing and writing sounds")
    sounds = {
        "target": result.target.response,
        "before": result.before,
        "after": result.after,
    }
    if dry is not None and listen_to is not None:
        sounds |= _heard(dry, Path(listen_to).stem, sounds)
    files = _write(result, structure, folder, sounds)
    return dataclasses.replace(result, exported=exported, files=(*exported.files, *files))


def load(folder: str | Path) -> Room:
    """The trained model that `fit` wrote to a folder.

    Raises:
        AdacError: there is none, or it is damaged.
    """
    folder = Path(folder)
    room = Room(Structure.load(folder / STRUCTURE))
    load_weights(room, folder / WEIGHTS)
    return room


def _target(
    target: str | Path | np.ndarray | Target, sample_rate: float | None, name: str | None
) -> Target:
    if isinstance(target, Target):
        if sample_rate not in (None, target.sample_rate):
            raise AdacError(
                f"`sample_rate` (={sample_rate:g}) must be that of the target, "
                f"{target.sample_rate:g} Hz, or None."
            )
        found = target
    elif isinstance(target, (str, Path)):
        found = read_target(target, sample_rate)
    elif sample_rate is None:
        raise AdacError("`sample_rate` must be given where the response is an array.")
    else:
        found = target_of(target, sample_rate)
    return dataclasses.replace(found, name=_plain(name or found.name))


def _plain(name: str) -> str:
    """A name that files and FAUST can have."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in name)
    return kept.strip("._-")[:100] or "room"


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AdacError(f"The folder {folder} cannot be made: {error.strerror}.") from None
    return folder


def _responder(room: Room, length: int) -> Callable[[Room], np.ndarray]:
    graphdef, _ = nnx.split(room)
    options = COMPILER if jax.default_backend() == "cpu" else None
    x = jnp.zeros((length, 1)).at[0].set(1.0)
    run = jax.jit(lambda state: nnx.merge(graphdef, state)(x), compiler_options=options)
    return lambda room: np.asarray(run(nnx.state(room)), np.float64)


def _write(
    result: Fit, structure: Structure, folder: Path, sounds: dict[str, np.ndarray]
) -> tuple[Path, ...]:
    import orbax.checkpoint as ocp

    from adac_jax.fitting.figure import save  # matplotlib takes a second to import

    rate = round(result.target.sample_rate)
    with staged(folder) as (temporary, deliver):
        structure.save(temporary / STRUCTURE)
        with ocp.StandardCheckpointer() as checkpointer:
            state = nnx.to_pure_dict(nnx.state(result.room, nnx.Param))
            checkpointer.save((temporary / WEIGHTS).resolve(), state)
        text = json.dumps(summary(result), indent=2, allow_nan=False)
        (temporary / "fit.json").write_text(text + "\n", "utf-8")
        save(result, temporary / "fit.png")
        names = [STRUCTURE, WEIGHTS, "fit.json", "fit.png"]
        for label, sound in sounds.items():
            names.append(f"{label}.wav")
            soundfile.write(temporary / names[-1], sound.astype(np.float32), rate, subtype="FLOAT")
        return deliver(names)


def _dry(path: Path, rate: int) -> np.ndarray:
    """The beginning of a dry recording as one channel, (time, 1)."""
    parts, wanted = [], round(LISTEN_SECONDS * rate)
    for block in open_source(path).blocks(rate):
        parts.append(fit_channels(block, 1))
        if sum(map(len, parts)) >= wanted:
            break
    return np.concatenate(parts)[:wanted]


def _heard(x: np.ndarray, name: str, responses: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A dry recording in the measured room and in the models, at one level."""
    from scipy.signal import oaconvolve

    wet = {
        f"{name}.{label}": oaconvolve(x, response, axes=0) for label, response in responses.items()
    }
    peak = max(float(np.max(np.abs(y))) for y in wet.values())
    return {name: 0.9 * y / max(peak, 1e-12) for name, y in wet.items()}


def summary(result: Fit) -> dict[str, Any]:
    """What was found, for JSON: NaN, where nothing can be said, becomes null."""

    def numbers(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return numbers(value.tolist())
        if isinstance(value, (list, tuple)):
            return [numbers(v) for v in value]
        if isinstance(value, float):
            return round(value, 6) if np.isfinite(value) else None
        return value

    def compared(found: metrics.Comparison) -> dict[str, Any]:
        return {key: numbers(value) for key, value in dataclasses.asdict(found).items()}

    return {
        "name": result.target.name,
        "sample_rate": result.target.sample_rate,
        "left_out_seconds": numbers(result.target.delay),
        "training_seconds": numbers(float(result.seconds)),
        "before": compared(result.compared_before),
        "after": compared(result.compared),
        "losses": numbers(result.losses.astype(float)),
    }


__all__ = ["Fit", "fit", "load", "summary"]
