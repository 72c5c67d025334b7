"""adac_jax's intermediate representation: standard library, NumPy and SciPy, no framework."""

from ir.builder import Builder
from ir.certificate import Certificate, certify
from ir.errors import DelayFreeLoopError, IRError
from ir.graph import Attribute, Graph, Node, Program, Shape, Type
from ir.interpreter import run
from ir.ops import OPS, Op
from ir.serial import dumps, loads
from ir.verify import verify, verify_program

__all__ = [
    "OPS",
    "Attribute",
    "Builder",
    "Certificate",
    "DelayFreeLoopError",
    "Graph",
    "IRError",
    "Node",
    "Op",
    "Program",
    "Shape",
    "Type",
    "certify",
    "dumps",
    "loads",
    "run",
    "verify",
    "verify_program",
]
