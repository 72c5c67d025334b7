"""The controls of a running program: their paths, ranges and where their values live."""

import ctypes as c
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from adac_jax.host.errors import HostError

Kind = Literal["button", "checkbox", "slider", "nentry", "bargraph"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One widget of a FAUST program.

    Attributes:
        path: the groups and the label, joined by `/`, as FAUST's own hosts write it.
        kind: the widget; a `bargraph` is an output, which can be read but not set.
        init: value after compilation, in the widget's own unit, exact.
        min: lowest value, to seven digits; FAUST does not clamp to it.
        max: highest value, to seven digits; FAUST does not clamp to it.
        step: distance between values, to seven digits; 0 for a bargraph, which has none.
        address: where the value is, valid as long as the program is open.
    """

    path: str
    kind: Kind
    init: float
    min: float
    max: float
    step: float
    address: int


class UIGlue(c.Structure):
    """`UIGlue` of faust/gui/CInterface.h: one function pointer per kind of widget."""

    _fields_ = [
        ("interface", c.c_void_p),
        *(
            (name, c.c_void_p)
            for name in (
                "openTabBox",
                "openHorizontalBox",
                "openVerticalBox",
                "closeBox",
                "addButton",
                "addCheckButton",
                "addVerticalSlider",
                "addHorizontalSlider",
                "addNumEntry",
                "addHorizontalBargraph",
                "addVerticalBargraph",
                "addSoundfile",
                "declare",
            )
        ),
    ]


# FAUST's hosts replace these in a path (PathBuilder.h), so that it can be an OSC address.
_RESERVED = str.maketrans(dict.fromkeys("/ #*,?[](){}", "_"))


def path_part(label: str) -> str:
    """Returns the label of a group or a widget as it stands in a path."""
    return label.translate(_RESERVED)


def path_of(paths: Iterable[str], label: str) -> str:
    """The one path that ends in a widget's label.

    Raises:
        HostError: there is none, or more than one.
    """
    paths = tuple(paths)
    found = [path for path in paths if path.rpartition("/")[2] == path_part(label)]
    if len(found) != 1:
        listed = ", ".join(paths) or "none"
        raise HostError(f"{len(found)} parameters are called {label!r}, of {listed}; one must be.")
    return found[0]


def read_parameters(
    build: Callable[[c.c_void_p], None], real: type[c.c_float] | type[c.c_double]
) -> tuple[Parameter, ...]:
    """Returns the widgets of an instance in the order in which FAUST declares them.

    Args:
        build: calls `buildUserInterfaceCDSPInstance` with the pointer to a `UIGlue`.
        real: the type of the compiled program's numbers.

    Raises:
        HostError: if libfaust's callbacks pass other numbers than were measured.
    """
    found: list[Parameter] = []
    groups: list[str] = []

    def path(label: bytes) -> str:
        return "/" + "/".join([*groups, path_part(label.decode(errors="replace"))])

    def opened(_: int, label: bytes) -> None:
        groups.append(path_part(label.decode(errors="replace")))

    def closed(_: int) -> None:
        groups.pop()

    def added(kind: Kind) -> Callable[..., None]:
        def add(_: int, label: bytes, address: int, *numbers: float) -> None:
            low, high, step = (float(str(np.float32(number))) for number in numbers[-3:])
            # The value itself has the program's precision, the callback's copy has not.
            init = real.from_address(address).value
            if numbers[:-3] and np.float32(init) != numbers[0]:
                unlike.append(f"{path(label)}: {numbers[0]} for {init}")
            found.append(Parameter(path(label), kind, init, low, high, step, address))

        return add

    def switch(kind: Kind) -> Callable[..., None]:
        add = added(kind)
        return lambda _, label, address: add(_, label, address, 0.0, 1.0, 1.0)

    def meter(_: int, label: bytes, address: int, low: float, high: float) -> None:
        added("bargraph")(_, label, address, low, high, 0.0)

    def ignored(*_: object) -> None:
        """Metadata changes nothing that is computed; sound files have no place in a model."""

    # Ranges arrive as C floats, even from a program that is compiled with `-double`; the values
    # themselves are doubles then. If that ever changes, `unlike` shows it.
    unlike: list[str] = []
    real32 = c.c_float
    label_only = c.CFUNCTYPE(None, c.c_void_p, c.c_char_p)
    nothing = c.CFUNCTYPE(None, c.c_void_p)
    zone = c.CFUNCTYPE(None, c.c_void_p, c.c_char_p, c.c_void_p)
    ranged = c.CFUNCTYPE(None, c.c_void_p, c.c_char_p, c.c_void_p, real32, real32, real32, real32)
    bounded = c.CFUNCTYPE(None, c.c_void_p, c.c_char_p, c.c_void_p, real32, real32)
    soundfile = c.CFUNCTYPE(None, c.c_void_p, c.c_char_p, c.c_char_p, c.c_void_p)
    declare = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.c_char_p, c.c_char_p)
    callbacks = (
        label_only(opened),
        label_only(opened),
        label_only(opened),
        nothing(closed),
        zone(switch("button")),
        zone(switch("checkbox")),
        ranged(added("slider")),
        ranged(added("slider")),
        ranged(added("nentry")),
        bounded(meter),
        bounded(meter),
        soundfile(ignored),
        declare(ignored),
    )
    # `callbacks` outlives the call: libfaust holds bare pointers to what it owns.
    glue = UIGlue(None, *(c.cast(callback, c.c_void_p) for callback in callbacks))
    build(c.cast(c.pointer(glue), c.c_void_p))
    if unlike:
        raise HostError(f"libfaust declares ranges as other than C floats ({unlike[0]}).")
    return tuple(found)
