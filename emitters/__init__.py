"""Emitters: from the IR to other languages. They import the IR and nothing else of the project."""
