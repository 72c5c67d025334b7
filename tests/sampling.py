"""Which of a test's many cases the whole suite runs.

Grids of modules times sizes times transformations are there to be run where something is wrong, and
before a release: `ADAC_JAX_ALL=1 make test test-slow`, some hours. Each time, the whole suite runs
as many of each as are named here, spread evenly over the grid, and always the same. A file, a test
or a keyword that is asked for by name is run in full.
"""

from __future__ import annotations

import os
from collections import defaultdict

import pytest

MOST = {
    "test_roundtrip.py::test_faust_is_jax": 10,
    "test_primitives.py::test_derivatives_of_first_and_second_order": 4,
    "test_primitives.py::test_lfilter_is_scipys": 10,
    "test_primitives.py::test_vmap_is_a_loop": 5,
    "test_peaks.py::test_an_absorption_stays_below_0_db": 4,
    "test_gradients.py::test_first_derivatives": 12,
    "test_gradients.py::test_plain_reverse_mode_gives_the_same": 4,
    "test_frequency.py::test_modules": 8,
    "test_filters.py::test_gradients": 10,
    "test_ops.py::test_blocks": 20,
    "test_layouts.py::test_filters_outside_the_loop": 2,
    "test_layouts.py::test_filters_inside_the_loop": 2,
    "test_layouts.py::test_filters_as_matrices": 2,
    "test_layouts.py::test_other_numbers_of_inputs_and_outputs": 2,
    "test_chunks.py::test_a_long_gradient_is_that_of_the_scan_over_blocks": 2,
    "test_modulation.py::test_gradients_of_what_moves": 2,
    "test_recurrences.py::test_flax_layers_are_exported_as_they_are": 3,
    "test_recurrences.py::test_graph_computes_what_jax_computes": 13,
    "test_rates.py::test_effects_keep_their_seconds": 6,
    "test_rates.py::test_each_line_loses_as_much_in_a_second": 5,
    "test_rates.py::test_filters_keep_their_response": 10,
    "test_gradient_transforms.py::test_batches_of_models_are_one_after_another": 2,
    "test_gradient_transforms.py::test_second_derivatives": 3,
    "test_gradient_transforms.py::test_single_precision": 3,
    "test_fitting.py::test_a_response_meets_itself": 2,
    "test_controls.py::test_random_functions_of_knobs": 4,
    "test_frequency_parts.py::test_fir_of_any_length": 3,
    "test_frequency_parts.py::test_phases_are_exact_in_single_precision": 3,
}
"""Of the tests that are not slow, by file and function; all of those that are not named."""
SLOW = 3
"""Of each slow test."""


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out cases where the whole suite is asked for."""
    named = any(not str(a).startswith("-") for a in config.args if a not in _folders(config))
    if os.environ.get("ADAC_JAX_ALL") or named or config.getoption("keyword"):
        return
    cases: dict[tuple[str, bool], list[pytest.Item]] = defaultdict(list)
    for item in items:
        name = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
        cases[name, item.get_closest_marker("slow") is not None].append(item)
    left_out: set[pytest.Item] = set()
    for (name, slow), found in cases.items():
        most = SLOW if slow else MOST.get(name, len(found))
        left_out.update(set(found) - set(_spread(found, most)))
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]


def _folders(config: pytest.Config) -> set[str]:
    return {str(config.rootpath), *(str(p) for p in config.getini("testpaths"))}


def _spread(items: list[pytest.Item], most: int) -> list[pytest.Item]:
    """So many, evenly, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]
