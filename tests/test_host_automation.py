"""Controls of a host that move while it renders: read at the first sample of each block."""

from __future__ import annotations

import numpy as np
import pytest

from adac_jax.host import HostError, Library, Processor, path_of

TEXT = 'declare name "knobs"; process = *(hslider("a knob[unit:dB]", 0.5, 0, 1000, 0.001));'


def test_a_library_reads_automation_once_a_block():
    with Library(TEXT) as library:
        path = path_of(library.parameters, "a knob")
        y = library.render(np.ones((130, 1)), 64, {path: np.arange(130.0)})
        np.testing.assert_array_equal(y[:, 0], np.repeat([0.0, 64.0, 128.0], 64)[:130])
        assert library.get(path) == 128
        np.testing.assert_array_equal(library.process(np.ones((3, 1))), 128)


def test_a_processor_reads_automation_once_a_block():
    processor = Processor(TEXT, block_size=64, name="knobs")
    path = path_of(processor.parameters, "a knob")
    y = processor.render(np.ones((130, 1)), {path: np.arange(130.0)})
    np.testing.assert_array_equal(y[:, 0], np.repeat([0.0, 64.0, 128.0], 64)[:130])
    np.testing.assert_array_equal(processor.render(np.ones((70, 1))), 0.5)
    processor.set(path, 2.0)
    np.testing.assert_array_equal(processor.render(np.ones((70, 1))), 2.0)


@pytest.mark.parametrize("values", [np.ones(4), np.ones((5, 1)), np.array([0, 1, np.nan, 3, 4])])
def test_automation_of_another_shape_is_refused(values):
    with Library(TEXT) as library, pytest.raises(HostError, match="5 finite numbers"):
        library.render(np.ones((5, 1)), automation={"/knobs/a_knob": values})


def test_an_unknown_label_is_refused():
    with Library(TEXT) as library, pytest.raises(HostError, match="'b'"):
        path_of(library.parameters, "b")
