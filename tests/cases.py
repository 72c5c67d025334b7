"""The table of cases: for each operation of the op table, small programs, inputs and results.

`test_ops.py` drives every reading with every row; adding an operation means adding a row to one of
`cases_elementwise.py`, `cases_arrays.py` and `cases_time.py`.
"""

import cases_arrays
import cases_elementwise
import cases_time
from case import CASES, Case

__all__ = ["CASES", "Case", "cases_arrays", "cases_elementwise", "cases_time"]
