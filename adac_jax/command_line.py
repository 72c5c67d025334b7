"""What the command lines share."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

ShowTraceback = Annotated[
    bool, typer.Option("--traceback", help="Show where in the code an error arose.")
]


def fail(errors: Console, error: BaseException, show_traceback: bool) -> NoReturn:
    """Says what went wrong in one sentence, and ends with exit code 1.

    Called where the error is being handled.
    """
    if show_traceback:
        errors.print(traceback.format_exc(), markup=False, highlight=False)
    errors.print("[bold red]error:[/bold red]", end=" ")
    errors.print(" ".join(str(error).split()), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1) from None


def list_files(console: Console, files: Iterable[Path]) -> None:
    """Prints paths so that they can be copied, a line each."""
    for path in files:
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)


def run(app: typer.Typer, program: str, arguments: Sequence[str] | None) -> int:
    """Runs a command line and returns its exit code."""
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name=program)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0
