"""Proofs that a program cannot blow up; see docs/certificate.md."""

from ir.certificate.certify import SINGLE, certify
from ir.certificate.verdict import Certificate, LoopProof, Verdict

__all__ = ["SINGLE", "Certificate", "LoopProof", "Verdict", "certify"]
