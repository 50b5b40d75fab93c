"""What dqctl knows of TestGen's upgrade scripts, beside the scripts of the versions that are installed here.

A script that takes rows away, or brings some, and is not listed makes every upgrade fail for those who have such
rows: the next known version of TestGen is to be read here first.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dqctl.testgen.capabilities import KNOWN
from dqctl.testgen.upgrades import Picture, compare

pytestmark = pytest.mark.local

_OLDEST = KNOWN[-1].schema_revision
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_FEWER = re.compile(r"\b(?:DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?)\s+(?:ONLY\s+)?(\w+)", re.IGNORECASE)
_DROPPED = re.compile(r"\bDROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(\w+)", re.IGNORECASE)
_MORE = re.compile(r"\b(?:INSERT|MERGE)\s+INTO\s+(\w+)", re.IGNORECASE)
_RENAMED = re.compile(r"\bALTER\s+TABLE\s+(\w+)\s+RENAME\s+COLUMN\s+(\w+)\s+TO\s+(\w+)", re.IGNORECASE)


def scripts(environments: Path, version: str) -> Iterator[tuple[int, str]]:
    """Number and text, without comments, of those that an upgrade from a known version carries out."""
    (directory,) = environments.glob(f"testgen-{version}/lib/python*/site-packages/testgen/template/dbupgrade")
    for path in sorted(directory.glob("*_incremental_upgrade.sql")):
        number = int(path.name.partition("_")[0])
        if number > _OLDEST:
            yield number, _COMMENT.sub("", path.read_text(encoding="utf-8"))


def picture(revision: int, columns: dict[str, dict[str, str]], rows: dict[str, int]) -> Picture:
    return Picture(revision, columns, rows, frozenset(), {}, "")


def explained(number: int, table: str, after: int, *, dropped: bool = False) -> bool:
    """Whether ``number`` alone may turn two rows of ``table`` into ``after``."""
    before = picture(number - 1, {table: {"id": "uuid"}}, {table: 2})
    then = picture(number, {} if dropped else {table: {"id": "uuid"}}, {} if dropped else {table: after})
    return compare(before, then).unexplained == ()


@pytest.mark.thorough(but="5.134.0")
@pytest.mark.parametrize("version", [each.version for each in KNOWN])
def test_every_script_that_takes_or_brings_rows_is_known(
    install_version: Callable[[str], Path], version: str
) -> None:
    found = list(scripts(install_version(version), version))
    # The list is of these: what a version has beyond its own revision, or lacks, would be another one.
    newest = next(each.schema_revision for each in KNOWN if each.version == version)
    assert [number for number, _ in found] == list(range(_OLDEST + 1, newest + 1))
    unknown = [
        f"{number:04}: {table} loses rows"
        for number, text in found
        for table in _FEWER.findall(text)
        if not explained(number, table.lower(), 1)
    ]
    unknown += [
        f"{number:04}: {table} is dropped"
        for number, text in found
        for table in _DROPPED.findall(text)
        if not explained(number, table.lower(), 0, dropped=True)
    ]
    unknown += [
        f"{number:04}: {table} gets rows"
        for number, text in found
        for table in _MORE.findall(text)
        if not explained(number, table.lower(), 3)
    ]
    assert unknown == []


@pytest.mark.thorough(but="5.134.0")
@pytest.mark.parametrize("version", [each.version for each in KNOWN])
def test_every_column_that_is_renamed_says_where_it_is_now(
    install_version: Callable[[str], Path], version: str
) -> None:
    for number, text in scripts(install_version(version), version):
        for table, old, new in _RENAMED.findall(text):
            before = picture(number - 1, {table: {old: "uuid"}}, {})
            after = picture(number, {table: {new: "uuid"}}, {})
            assert compare(before, after).moved == {f"{table}.{old}": f"{table}.{new}"}


def test_a_script_that_nobody_has_read_would_be_noticed() -> None:
    assert not explained(10**6, "test_results", 1)
    assert not explained(10**6, "test_results", 3)
    assert not explained(10**6, "test_results", 0, dropped=True)
    assert _FEWER.findall("DELETE\n  FROM test_results r; truncate table settings;") == [
        "test_results",
        "settings",
    ]
