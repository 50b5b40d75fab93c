"""What each test came to in the runs before: one letter a run, and what was measured.

A test is known by its definition. TestGen makes new definitions where it generates a suite anew: then a test goes
on from the one that stood in its place (table, columns, type), if only one test of the run stands there.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dqctl.records import Place, Row, place_of

# Earlier runs that are remembered of each test.
MOST = 10
# Letters of Status, and one for a run in which the test was not.
ABSENT = "-"
_LETTERS = {"Failed": "F", "Error": "E", "Warning": "W", "Log": "L", "Passed": "P"}


@dataclass(frozen=True)
class Past:
    """Outcomes of earlier runs, the oldest run first.

    A row holds a test's outcomes, in no order: ``test_definition_id``, ``table_name``, ``column_names``,
    ``test_type``, and three lists of one length: ``places`` (1 for the first of ``run_ids``), ``statuses`` and
    ``measures``.
    """

    run_ids: tuple[str, ...] = ()
    rows: Sequence[Row] = ()


class Memory:
    """Looks up what the tests of a run came to before."""

    def __init__(self, past: Past, results: Sequence[Row]) -> None:
        self._runs = len(past.run_ids)
        self._by_definition: dict[object, list[Row]] = {}
        self._by_place: dict[Place, list[Row]] = {}
        known = {row.get("test_definition_id") for row in results}
        for row in past.rows:
            if row["test_definition_id"] in known:
                self._by_definition.setdefault(row["test_definition_id"], []).append(row)
            else:
                self._by_place.setdefault(place_of(row), []).append(row)
        # Two tests of one type in one place: nobody can tell which of them went on.
        self._taken = Counter(map(place_of, results)) if self._by_place else Counter[Place]()

    def of(self, result: Row) -> tuple[str, tuple[str | None, ...]]:
        """Letters and measures of the runs before, the oldest first; nothing when there were none."""
        if not self._runs:
            return "", ()
        found = self._by_definition.get(result.get("test_definition_id"), ())
        if self._by_place and self._taken[place := place_of(result)] == 1:
            found = [*self._by_place.get(place, ()), *found]
        letters = [ABSENT] * self._runs
        measures: list[str | None] = [None] * self._runs
        for row in found:
            for number, status, measure in zip(row["places"], row["statuses"], row["measures"], strict=True):
                letters[number - 1] = _LETTERS.get(status, "E")
                measures[number - 1] = measure
        return "".join(letters), tuple(measures)
