"""The notebooks run, and what is stored in them is what they gave."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from ipykernel.kernelspec import write_kernel_spec
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
MOST_LINES = {"amplifier": 40, "round_trip": 40, "colourless": 50, "room": 50}
"""Of code, so that a notebook is read in one go."""
MOST_BYTES = 1_000_000


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Runs a notebook with this interpreter, in an empty folder.

    A kernel spec of our own, which starts `sys.executable`: those that Jupyter would find may be
    missing in a fresh environment, or belong to another one.
    """
    specs, work = folder / "kernels", folder / "work"
    write_kernel_spec(specs / "python3")
    work.mkdir()
    found = KernelSpecManager(kernel_dirs=[str(specs)], ensure_native_kernel=False)
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=found)
    client = NotebookClient(
        notebook, km=manager, timeout=600, resources={"metadata": {"path": str(work)}}
    )
    # cleanup_kc: end the kernel and close its sockets, though the manager is not the client's own.
    return client.execute(
        cleanup_kc=True, env=os.environ | {"JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    )


def read(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_complete(path):
    notebook = read(path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(o.output_type != "error" for o in outputs(notebook))
    lines = [line for cell in cells for line in cell.source.splitlines() if line.strip()]
    assert len(lines) < MOST_LINES[path.stem]
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path):
    found = outputs(execute(read(path), tmp_path))
    shown = [o.data for o in found if o.output_type in ("display_data", "execute_result")]
    printed = "".join(o.text for o in found if o.output_type == "stream")
    assert "FAUST equals JAX: True" in printed
    assert any("image/png" in data for data in shown)
    assert any("<audio" in data.get("text/html", "") for data in shown)


def test_the_notebooks_are_there():
    assert {path.stem for path in NOTEBOOKS} == set(MOST_LINES)
