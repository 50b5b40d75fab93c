"""Imports that others make and dqctl has no use for: put off, or kept from happening."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def put_off(name: str) -> Iterator[None]:
    """``import name`` gives, while the block runs, a module that is imported when something is asked of it."""
    if name in sys.modules:
        yield
        return
    later = _Later(name)
    sys.modules[name] = later
    try:
        yield
    finally:
        if sys.modules.get(name) is later:
            del sys.modules[name]


@contextlib.contextmanager
def hide(name: str) -> Iterator[None]:
    """``import name`` fails while the block runs, unless it was imported before."""
    hiding = _Hiding(name)
    sys.meta_path.insert(0, hiding)
    try:
        yield
    finally:
        sys.meta_path.remove(hiding)


class _Hiding(MetaPathFinder):
    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Somebody imports ``fullname``, which is not there yet."""
        del path, target
        if fullname == self._name:
            raise ModuleNotFoundError(f"{fullname} is hidden", name=fullname)


class _Later(ModuleType):
    def __getattr__(self, attribute: str) -> Any:
        # Python asks for these while it imports.
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self.__name__), attribute)
