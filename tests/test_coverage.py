"""Every primitive of `jax.lax` has a rule or a reason, and the page says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from adac_jax._compat import CALLS
from adac_jax.lowering import RULES, coverage
from adac_jax.lowering.refusals import MEANINGLESS, REFUSED

PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"


@pytest.mark.parametrize("name", coverage.primitives())
def test_every_primitive_is_accounted_for(name):
    """Fails for what a new JAX adds: write its rule, or say why there is none."""
    assert (name in RULES or name in CALLS) + (name in MEANINGLESS) + (name in REFUSED) == 1


def test_the_page_is_what_the_script_writes():
    assert PAGE.read_text("utf-8") == coverage.table()


def test_reasons_are_sentences():
    for reason, instead in (MEANINGLESS | REFUSED).values():
        assert reason.endswith(".")
        assert instead.endswith(".")
