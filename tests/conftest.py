"""What several test files share, and how JAX compiles while they run.

Most of the time of the tests goes into XLA's compiler, for programs that run once. With
`--hurried` it optimises little and emits code in the older and quicker of its ways: the same
programs, in half the time, at the same tolerances. The default tests run so. The slow ones do not,
nor do those marked `optimised`, which say of compiled code that it is equal to the bit: they run
what users run. `make test` and `make test-slow`, hence .ci/run too, choose accordingly; plain
`pytest` compiles as users do.
"""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from sampling import leave_out

BESIDE = Path(__file__).parents[2] / "shared" / "data"
HURRIED = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
    # Both cores are busy with other tests: no use in compiling a program in parts.
    "--xla_cpu_parallel_codegen_split_count=1",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hurried", action="store_true", help="compile quickly: less optimised code")


def pytest_configure(config: pytest.Config) -> None:
    # Traced programs are many small objects that stay: looked through less often.
    gc.set_threshold(100_000, 20, 20)
    # XLA reads its flags once in a process, when JAX first computes. Workers inherit them.
    if not config.getoption("--hurried") or hasattr(config, "workerinput"):
        return
    flags = " ".join([os.environ.get("XLA_FLAGS", ""), *HURRIED]).strip()
    environment = {**os.environ, "XLA_FLAGS": flags}
    # A process ends at a flag that XLA no longer knows. So let another one try.
    tried = subprocess.run(
        [sys.executable, "-c", "import jax; jax.devices()"],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    if tried.returncode:
        print("--hurried: this XLA does not take the flags; it compiles as always.")
    else:
        os.environ["XLA_FLAGS"] = flags


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_out(config, items)
    if config.getoption("--hurried"):
        skip = pytest.mark.skip(reason="says what holds for code as users compile it")
        for item in items:
            if item.get_closest_marker("optimised"):
                item.add_marker(skip)


@pytest.fixture(autouse=True, scope="module")
def _memory() -> Iterator[None]:
    """Gives back the programs that a file compiled, else gigabytes in the end."""
    yield
    jax.clear_caches()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of optional recordings and reference responses; skips where there is none."""
    folder = Path(os.environ.get("ADAC_JAX_DATA", BESIDE))
    if not folder.is_dir():
        pytest.skip(f"the optional data folder {folder} is not there")
    return folder
