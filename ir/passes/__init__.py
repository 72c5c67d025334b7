"""Passes: pure functions from a graph to a graph that means the same."""

from ir.passes.expand import expand_sos
from ir.passes.fold import fold
from ir.passes.merge import merge
from ir.passes.rewrite import prune

__all__ = ["expand_sos", "fold", "merge", "prune"]
