"""The one exception that the host raises on purpose."""


class HostError(Exception):
    """A FAUST program cannot be compiled or run as asked; the message says which and why."""
