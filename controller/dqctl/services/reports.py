"""Reports of finished runs, and comparisons of two."""

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.report.comparison import Comparison, compare
from dqctl.report.model import build
from dqctl.services import results
from dqctl.services.work_session import report_of
from dqctl.testgen.reader import MetadataReader

__all__ = ["comparison_of", "report_of"]

PREVIOUS = "previous"


def comparison_of(
    reader: MetadataReader, run: str, earlier: str, clock: Clock = SYSTEM_CLOCK, *, samples: bool = False
) -> Comparison:
    """Compare a test run with another: an id, the beginning of one, or ``previous``, the run before of its suite.

    Raises ``UsageError`` when there is no such run, or one of them is no test run.
    """
    # Of two kinds of runs "latest" means the one that can be compared.
    after = results.run(reader, run, "test" if run == results.LATEST else "")
    other = results.before(reader, after.run["run_id"]) if earlier == PREVIOUS else earlier
    before = results.run(reader, other, "test" if other == results.LATEST else "")
    now = clock.now()
    return compare(
        build(before, generated_at=now, samples=samples), build(after, generated_at=now, samples=samples)
    )
