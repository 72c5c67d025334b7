"""What several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sampling import pytest_collection_modifyitems

BESIDE = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of optional recordings and reference responses; skips where there is none."""
    folder = Path(os.environ.get("ADAC_JAX_DATA", BESIDE))
    if not folder.is_dir():
        pytest.skip(f"the optional data folder {folder} is not there")
    return folder


__all__ = ["data_folder", "pytest_collection_modifyitems"]
