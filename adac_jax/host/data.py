"""The numbers of an open form, where a running program keeps them."""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable

import numpy as np

from adac_jax.host.errors import HostError
from adac_jax.host.libfaust import Library


class Data:
    """The widgets of one group, which are called by their positions, as one array.

    Those that FAUST found to change nothing are not there, and are passed over.

    Args:
        library: A running program; the array is valid as long as it is open.
        group: The group's name.
        count: Length of the array.

    Raises:
        HostError: a widget has another name than 0 to count - 1.
    """

    def __init__(self, library: Library, group: str, count: int) -> None:
        found: dict[int, int] = {}
        for path, parameter in library.parameters.items():
            *_, folder, last = ["", *path.split("/")]
            if folder == group:
                found[int(last)] = parameter.address
        self._present = np.array(sorted(found), np.intp)
        if found and max(found) >= count:
            raise HostError(f"The numbers in {group!r} must be called 0 to {count - 1}.")
        addresses = np.array([found[k] for k in sorted(found)], np.int64)
        self._library = library
        self._count = count
        # A view, in words of 32 bits, from the first to the last of them, which lie in one block of
        # the heap; integers between them put numbers of 64 bits where 8 does not divide.
        self._words = np.zeros((0, library.dtype.itemsize // 4), np.intp)
        self._memory = np.zeros(0, np.uint32)
        if len(found):
            first, last = int(addresses.min()), int(addresses.max())
            size = library.dtype.itemsize // 4
            self._words = (addresses[:, None] - first) // 4 + np.arange(size)
            words = c.c_uint32 * ((last - first) // 4 + size)
            self._memory = np.ctypeslib.as_array(words.from_address(first))

    def __len__(self) -> int:
        return self._count

    def read(self) -> np.ndarray:
        """What the numbers are now; zero where they are not there."""
        self._library.require_open()
        found = np.zeros(self._count, self._library.dtype)
        found[self._present] = self._memory[self._words].view(self._library.dtype)[:, 0]
        return found

    def write(self, values: np.ndarray) -> None:
        """Sets all of them, from the next sample on.

        Raises:
            HostError: there are more or fewer, one is not finite, or the program is closed.
        """
        self.writer(np.asarray(values)[None])(0)

    def writer(self, rows: np.ndarray) -> Callable[[int], None]:
        """What sets all of them to a row, by its position: `each` of `Library.process`.

        Args:
            rows: (rows, count).

        Raises:
            HostError: rows have more or fewer numbers, one is not finite, or the program is closed.
        """
        self._library.require_open()
        rows = np.asarray(rows, self._library.dtype)
        if rows.shape[1:] != (self._count,) or not np.all(np.isfinite(rows)):
            raise HostError(
                f"FAUST program {self._library.name!r} takes {len(self)} finite numbers, not an "
                f"array of shape {rows.shape[1:]}."
            )
        present = np.ascontiguousarray(rows[:, self._present])
        words = present.view(np.uint32).reshape(len(rows), self._words.size)
        memory, places = self._memory, self._words.ravel()

        def write(row: int) -> None:
            memory[places] = words[row]

        return write


__all__ = ["Data"]
