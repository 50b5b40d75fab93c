"""Saying what goes on, without knowing who listens.

Services and adapters take a ``Progress`` and call it with one short line at every step; the command line shows
it on stderr, tests ignore it.
"""

from collections.abc import Callable

Progress = Callable[[str], None]


def silent(message: str) -> None:
    """The progress that nobody watches."""
    del message
