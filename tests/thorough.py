"""Tests that take long: the same at more moments, versions or places than others show it, and some whole features.

A run of all tests leaves them out unless it is asked for them (``--thorough``, as CI is); who names tests has
those. ``@pytest.mark.thorough(but="CASE")`` keeps one case of a parametrised test in every run, by its id. Tests
on a real Spark are thorough, all of them.
"""

from collections.abc import Iterable

import pytest


def choose(config: pytest.Config) -> None:
    """Thorough is also who names tests by file, name or mark, and who wants to know what all come to."""
    option = config.option
    named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS or option.keyword or option.markexpr
    option.thorough |= bool(named or option.compatibility)


def check(items: Iterable[pytest.Item]) -> None:
    """The cases that are kept exist; of no use where only some are collected."""
    kept: dict[str, bool] = {}
    for item in items:
        if mark := item.get_closest_marker("thorough"):
            test = item.nodeid.partition("[")[0]
            kept[test] = kept.get(test, "but" not in mark.kwargs) or not _is_thorough(item)
    if missing := [test for test, found in kept.items() if not found]:
        raise pytest.UsageError(f"no case is the one that thorough(but=...) keeps: {', '.join(missing)}")


def leave_out(item: pytest.Item) -> None:
    """Skip a thorough test where it was not asked for."""
    if _is_thorough(item) and not item.config.getoption("--thorough"):
        pytest.skip("thorough: scripts/test --thorough has them, and so has naming one")


def _is_thorough(item: pytest.Item) -> bool:
    if item.get_closest_marker("spark"):
        return True
    kept = (mark.kwargs.get("but") for mark in item.iter_markers("thorough"))
    return any(not item.name.endswith(f"[{each}]") for each in kept)
