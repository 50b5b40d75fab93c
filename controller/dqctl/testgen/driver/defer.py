"""TestGen's imports that most of its work has no use for, put off until they are used.

Half of a start of TestGen (5.33.3 to 5.134.0) goes to four packages: a template compiler for mails, a forecast
for monitors, statistics for thresholds, and a library of its UI of which one function hashes passwords; a tenth of
the rest (not in 5.33.3) to Streamlit, by way of the UI's session, which two of its services ask who is there; a
third of what is left to pandas and numpy, of which only monitors and the UI make anything (and Databricks' own
connector, which imports them itself). TestGen imports them at the top of its modules and uses them inside of
functions. Only its own import statements are put off, only those of these packages: every other module gets, and
sees, the real ones.
"""

import builtins
import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

PUT_OFF = {
    "numpy": "testgen.",
    "pandas": "testgen.",
    "pybars": "testgen.",
    "scipy": "testgen.",
    "statsmodels.tsa.statespace.sarimax": "testgen.",
    "streamlit_authenticator": "testgen.",
    # The UI itself has the real one, whatever it does with it.
    "testgen.ui.session": "testgen.common.",
}
"""What is put off, and for whom: modules whose names begin so."""
ANNOTATING = {"DataFrame", "DatetimeIndex", "Series", "Timedelta", "Timestamp", "ndarray"}
"""Classes of pandas and numpy that TestGen names in annotations, where nobody asks anything of them."""


class Later:
    """A module, or something in it, that is imported when it is called or asked for anything."""

    def __init__(self, module: str, name: str | None = None) -> None:
        self.__dict__.update(_module=module, _name=name)

    def _real(self) -> Any:
        module = importlib.import_module(self._module)
        if self._name is None:
            return module
        try:
            return getattr(module, self._name)
        except AttributeError:
            return importlib.import_module(f"{self._module}.{self._name}")

    def __getattr__(self, name: str) -> Any:
        """Ask the real one; what the body of a module or of a class names is put off, too, if it is a class."""
        names_it = sys._getframe(1).f_code
        if name in ANNOTATING and not names_it.co_flags & inspect.CO_OPTIMIZED:
            return Later(self._module, name)
        return getattr(self._real(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Tell the real one."""
        setattr(self._real(), name, value)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the real one."""
        return self._real()(*arguments, **named)

    def __mro_entries__(self, _: Any) -> tuple[Any, ...]:
        """To derive from it is to use it."""
        return (self._real(),)

    def __instancecheck__(self, instance: object) -> bool:
        """Whether it is one of the real one's."""
        return isinstance(instance, self._real())

    def __or__(self, _: Any) -> "Later":
        """``pandas.Series | None``, in an annotation: what it is worth is asked by nobody."""
        return self

    __ror__ = __or__


class Module:
    """What an import statement gets: names of a ``from`` are put off one by one, all else is the module's."""

    def __init__(self, name: str, wanted: Sequence[str]) -> None:
        self.__dict__.update({each: Later(name, each) for each in wanted})


def defer() -> None:
    """Put off what TestGen imports from now on."""
    real = builtins.__import__

    # Whoever calls it may name its arguments, as Python's documentation does.
    def importing(
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - see above
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - see above
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        importer = str((globals or {}).get("__name__"))
        whose = PUT_OFF.get(name)
        if level or whose is None or not importer.startswith(whose):
            return real(name, globals, locals, fromlist, level)
        return Module(name, fromlist) if fromlist else Later(name)

    builtins.__import__ = importing
