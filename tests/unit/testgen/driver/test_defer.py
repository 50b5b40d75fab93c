"""Imports that are put off: TestGen's own, of the packages that are named, and no others."""

import builtins
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from dqctl.testgen.driver import defer

# Made for these tests, so that nobody has imported it.
MODULE = "chunk_of_nothing"


@pytest.fixture(autouse=True)
def deferring(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    directory = tmp_path_factory.mktemp("modules")
    (directory / f"{MODULE}.py").write_text(
        "LOADED = True\nclass Base:\n    word = 'real'\ndef double(x, *, more=0):\n    return 2 * x + more\n"
    )
    monkeypatch.syspath_prepend(str(directory))
    monkeypatch.setattr(defer, "PUT_OFF", {MODULE: "testgen.common."})
    monkeypatch.setattr(builtins, "__import__", builtins.__import__)
    defer.defer()
    yield
    sys.modules.pop(MODULE, None)


def run(importer: str, source: str) -> dict[str, Any]:
    module = ModuleType(importer)
    exec(source, module.__dict__)  # noqa: S102 - what a module of TestGen's would do
    return module.__dict__


@pytest.mark.parametrize(
    ("statement", "use"),
    [
        (f"from {MODULE} import double", "double(3, more=1)"),
        (f"import {MODULE} as short", "short.double(3, more=1)"),
        (f"from {MODULE} import double as other, Base", "other(3, more=1)"),
    ],
)
def test_testgens_import_is_put_off_until_it_is_used(statement: str, use: str) -> None:
    names = run("testgen.common.mails", statement)
    assert MODULE not in sys.modules
    exec(f"found = {use}", names)  # noqa: S102 - the use of what was imported
    assert names["found"] == 7
    assert MODULE in sys.modules


def test_a_class_can_be_derived_from(monkeypatch: pytest.MonkeyPatch) -> None:
    names = run("testgen.common.mails", f"from {MODULE} import Base\nclass Own(Base):\n    pass\n")
    assert names["Own"].word == "real"
    assert names["Own"].__mro__[1] is sys.modules[MODULE].Base


ANNOTATED = f"""
import {MODULE} as short
def halve(x: short.Base | None, *, others: list[int] = []) -> None | short.Base: return x and x.halved
class Pair:
    one: short.Base
    kind = short.Base
"""


def test_an_annotation_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defer, "ANNOTATING", {"Base"})
    names = run("testgen.common.mails", ANNOTATED)
    assert MODULE not in sys.modules
    assert names["Pair"].kind.word == "real"
    assert isinstance(sys.modules[MODULE].Base(), names["Pair"].kind)
    assert not isinstance("other", names["Pair"].kind)


def test_what_a_function_asks_for_is_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defer, "ANNOTATING", {"Base"})
    names = run("testgen.common.mails", f"import {MODULE} as short\ndef made(): return short.Base\n")
    assert MODULE not in sys.modules
    assert names["made"]() is sys.modules[MODULE].Base


def test_what_a_module_asks_for_beside_classes_is_the_real_one() -> None:
    assert run("testgen.common.mails", f"import {MODULE} as short\nloaded = short.LOADED\n")["loaded"] is True


def test_what_is_told_to_it_the_real_one_has() -> None:
    run("testgen.common.mails", f"from {MODULE} import Base\nBase.word = 'told'\n")
    assert sys.modules[MODULE].Base.word == "told"


@pytest.mark.parametrize("importer", ["pandas.core", "testgenerator", "tests", "testgen.ui.session"])
def test_nobody_elses_import_is_put_off(importer: str) -> None:
    names = run(importer, f"import {MODULE}")
    assert names[MODULE] is sys.modules[MODULE]


def test_it_is_called_as_pythons_own_is() -> None:
    assert __import__(name="json", globals=None, locals=None, fromlist=["dumps"], level=0).dumps({}) == "{}"
    assert list(inspect.signature(builtins.__import__).parameters) == [
        "name", "globals", "locals", "fromlist", "level",
    ]  # fmt: skip


def test_what_is_not_there_is_said_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defer, "PUT_OFF", {"there_is_no_such_module": "testgen."})
    names = run("testgen.common.mails", "from there_is_no_such_module import thing")
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        names["thing"]()
