"""From what a user types to a model: `package.module:attribute`, `file.py:attribute`, a file."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from flax import nnx

from adac_jax import interop
from adac_jax.errors import AdacError
from ir import IRError, Program, loads

FORMS = (
    "`package.module:attribute`, `file.py:attribute`, an IR file `name.json` or a trained network "
    "`name.json`, `name.aidax`, `name.nam`"
)
MAX_BYTES = 2**28
"""Size of the largest IR file that is read."""
MAX_WORK = 2**21
"""Multiplications a sample in the largest graph from a file."""
MAX_MEMORY = 2**27
"""Samples of delay in the largest graph from a file: 1 GiB in float64."""


def load(text: str, *, sample_rate: float | None = None) -> Any:
    """The model that a text names.

    The attribute is a Flax NNX module, an `ir.Program`, a function of audio, or something to call
    without arguments that returns one of these: a class or a factory. A class or factory that asks
    for `rngs` gets `nnx.Rngs(0)`, and one that takes `sample_rate` gets the one asked for. A file
    is an IR file, or of one of the formats that `adac_jax.interop` reads.

    Args:
        text: One of `FORMS`.
        sample_rate: Hertz, if one was asked for.

    Raises:
        AdacError: there is no such thing, it is no model, or its code raises.
        IRError: the IR file is not valid.
    """
    if text.endswith(interop.SUFFIXES) and (text[-5:] != ".json" or interop.known(Path(text))):
        return _at_rate(text, interop.load(text), sample_rate, "resample what it plays")
    if text.endswith(".json"):
        return load_program(Path(text), sample_rate)
    target, colon, attribute = text.rpartition(":")
    if not colon or not target or not attribute:
        raise AdacError(f"The model {text!r} must be written as {FORMS}.")
    module = _from_file(Path(target)) if target.endswith(".py") else _from_package(target)
    model = _instance(text, _attribute(module, target, attribute), sample_rate)
    return _at_rate(text, model, sample_rate, "let its factory take `sample_rate`")


def remade(text: str) -> Callable[[float], Any] | None:
    """What makes the model that a text names for a sample rate, if its class or factory takes one.

    Raises:
        AdacError: as `load`.
    """
    target, colon, attribute = text.rpartition(":")
    if not colon or text.endswith(interop.SUFFIXES):
        return None
    module = _from_file(Path(target)) if target.endswith(".py") else _from_package(target)
    found = _attribute(module, target, attribute)
    if isinstance(found, (nnx.Module, Program)) or not callable(found):
        return None
    if "sample_rate" not in _parameters(found) or _required(text, found) - {"rngs", "sample_rate"}:
        return None
    return lambda rate: load(text, sample_rate=rate)


def load_program(path: Path, sample_rate: float | None = None) -> Program:
    """The program in an IR file, if it is of a size that can be verified.

    Raises:
        AdacError: there is no such file, it is too large, or made for another rate.
        IRError: it is not a valid program.
    """
    if not path.is_file():
        raise AdacError(f"The IR file {path} does not exist.")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise AdacError(f"The IR file {path} has {size} bytes; at most {MAX_BYTES} are read.")
        program = loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise AdacError(f"The IR file {path} cannot be read: {error}.") from None
    except IRError as error:
        raise IRError(f"The IR file {path} is not valid: {error}") from None
    _check_size(path, program)
    made_for = program.graph.sample_rate
    if sample_rate is not None and sample_rate != made_for:
        raise AdacError(
            f"The IR file {path} was made for {made_for:g} Hz; its coefficients cannot be remade "
            f"for {sample_rate:g} Hz."
        )
    return program


def user_frame(error: BaseException) -> str:
    """` at file.py:12 (name)` for the innermost frame outside installed packages, or ""."""
    package = str(Path(__file__).parent)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        foreign = "site-packages" in frame.filename or frame.filename.startswith((package, "<"))
        if not foreign and not frame.filename.startswith(sys.base_prefix):
            return f" at {frame.filename}:{frame.lineno} ({frame.name})"
    return ""


def raised(what: str, error: BaseException) -> AdacError:
    """The error for user code that raised: one sentence, with the user's own line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = f": {lines[0][:300]}" if lines else ""
    return AdacError(f"{what} raised {type(error).__name__}{user_frame(error)}{reason}")


def _at_rate(text: str, model: Any, sample_rate: float | None, instead: str) -> Any:
    """The model, if it was made for the rate asked for or for none."""
    made_for = getattr(model, "sample_rate", None)
    if sample_rate is not None and isinstance(made_for, (int, float)) and made_for != sample_rate:
        raise AdacError(
            f"The model {text!r} was made for {made_for:g} Hz, not for {sample_rate:g} Hz; "
            f"{instead}."
        )
    return model


def _from_package(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:  # a console script does not look there by itself
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise AdacError(f"There is no module {name!r}; the model must be {FORMS}.") from None
        raise AdacError(f"The module {name!r} needs {error.name!r}, which is missing.") from None
    except (Exception, SystemExit) as error:
        raise raised(f"The module {name!r}", error) from None


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise AdacError(f"The file {path} does not exist.")
    name = f"adac_jax_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AdacError(f"The file {path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))  # so that it can import what lies beside it
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise AdacError(
            f"The file {error.filename} is not valid Python at line {error.lineno}: {error.msg}."
        ) from None
    except ModuleNotFoundError as error:
        raise AdacError(f"The file {path} needs {error.name!r}, which is missing.") from None
    except (Exception, SystemExit) as error:
        raise raised(f"The file {path}", error) from None
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _attribute(module: ModuleType, target: str, attribute: str) -> Any:
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            public = [key for key in dir(found) if not key.startswith("_")]
            near = difflib.get_close_matches(name, public, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise AdacError(f"{target!r} has no attribute {attribute!r}{hint}")
        found = getattr(found, name)
    return found


def _instance(text: str, found: Any, sample_rate: float | None) -> Any:
    """The model itself, made by calling a class or a factory where it is one."""
    if isinstance(found, (nnx.Module, Program)):
        return found
    if not callable(found) or isinstance(found, ModuleType):
        raise _no_model(text, found)
    wanted = _required(text, found)
    if not inspect.isclass(found) and wanted - {"rngs"}:
        return found  # a function of audio
    if wanted - {"rngs"}:
        raise AdacError(
            f"The class {text!r} needs the arguments {', '.join(sorted(wanted))}; name a function "
            "without arguments that makes the model."
        )
    try:
        made = found(**_offered(found, wanted, sample_rate))
    except Exception as error:
        raise raised(f"Making the model {text!r}", error) from None
    if isinstance(made, (nnx.Module, Program)) or (callable(made) and not inspect.isclass(made)):
        return made
    raise _no_model(text, made)


def _required(text: str, function: Callable[..., Any]) -> set[str]:
    """The names of the arguments that a call must give."""
    try:
        parameters = _parameters(function).values()
    except (TypeError, ValueError):
        raise AdacError(f"The model {text!r} has no signature; wrap it in a function.") from None
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {p.name for p in parameters if p.default is p.empty and p.kind not in variable}


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What a function or class takes; Flax's classes hide it behind `*args, **kwargs`."""
    if not inspect.isclass(function):
        return dict(inspect.signature(function).parameters)
    own = dict(inspect.signature(function.__init__).parameters)
    return {key: own[key] for key in [*own][1:]}


def _offered(
    function: Callable[..., Any], wanted: set[str], sample_rate: float | None
) -> dict[str, Any]:
    offered: dict[str, Any] = {"rngs": nnx.Rngs(0)} if "rngs" in wanted else {}
    if sample_rate is not None and "sample_rate" in _parameters(function):
        offered["sample_rate"] = sample_rate
    return offered


def _no_model(text: str, found: Any) -> AdacError:
    return AdacError(
        f"{text!r} is a {type(found).__name__}, not a model: it must be a Flax NNX module, a "
        "function of audio, or a function without arguments that returns one."
    )


def _check_size(path: Path, program: Program) -> None:
    """Refuses what is valid but would take all of the machine."""
    work = memory = 0
    for _, node in program.graph:
        types = [program.graph.nodes[k].type for k in node.inputs]
        work += max([node.type.size, *(t.size for t in types)])
        if node.op == "einsum":
            letters = node.text("subscripts").partition("->")[0].split(",")
            sizes = dict(zip("".join(letters), sum((t.shape for t in types), ()), strict=True))
            work += math.prod(sizes.values())
        elif node.op == "delay":
            memory += max(node.ints("samples"), default=0) * node.type.size
        elif node.op == "variable_delay":
            memory += node.int("maximum") * node.type.size
    for what, found, bound in (
        ("computes {} numbers a sample", work, MAX_WORK),
        ("keeps {} samples in its delays", memory, MAX_MEMORY),
    ):
        if found > bound:
            raise AdacError(f"The IR file {path} {what.format(found)}; the bound is {bound}.")
