"""Programs in fixed point: formats from proved peaks, noise predicted and measured."""

from ir.precision.blocks import prepared
from ir.precision.report import FixedPoint, SignalFormat, fixed_point

__all__ = ["FixedPoint", "SignalFormat", "fixed_point", "prepared"]
