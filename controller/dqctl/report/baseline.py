"""What the tests of a base came to, read back from the JSON that a run of it wrote.

Taken is what ``run-tests --output json`` prints, and what ``run-tests --json`` writes of one suite.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dqctl.errors import UsageError
from dqctl.report.document import FORMAT
from dqctl.report.model import Kind, RunReport
from dqctl.report.results import Tally
from dqctl.report.review import Baseline, suite_name
from dqctl.report.schema import ReportDocument

_AGAIN = "make it anew from the base: dqctl --output json run-tests --all > FILE"
_DOCUMENT = TypeAdapter(ReportDocument)


def read_baseline(path: Path, *, optional: bool = False) -> Baseline | None:
    """Read what the base wrote; ``None`` when nothing is there and that is all right, since it is the first run.

    Raises ``UsageError`` when the file is missing, cannot be read, is damaged, of another format, or about no test
    run.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        if optional:
            return None
        raise UsageError(
            f"the baseline {path} is not there",
            "name the JSON that a run of the base wrote; for a first run, without one, add --baseline-optional",
        ) from None
    except OSError as error:
        raise UsageError(
            f"the baseline {path} cannot be read: {error.strerror or error}", "name a file that can be read"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the baseline {path} is damaged, it is no JSON: {error}", _AGAIN) from None
    reports = [_report(path, document) for document in _documents(path, found)]
    # What broke and was run again is there twice: the later one counts.
    runs = {suite_name(report): report for report in reports if report.run.kind is Kind.TEST}
    if not runs:
        raise UsageError(f"the baseline {path} holds no test run", _AGAIN)
    return Baseline(path, runs)


def _documents(path: Path, found: Any) -> list[Any]:
    if not isinstance(found, dict) or not ({"runs", "run"} & set(found)):
        raise UsageError(f"the baseline {path} is no report of test runs", _AGAIN)
    if found.get("format") != FORMAT:
        raise UsageError(
            f"the baseline {path} is of format {found.get('format')!r}, and this dqctl reads format {FORMAT}",
            f"{_AGAIN}, with the same dqctl",
        )
    documents = found.get("runs", [found])
    if not isinstance(documents, list):
        raise UsageError(f"the baseline {path} is no report of test runs", _AGAIN)
    return documents


def _report(path: Path, document: Any) -> RunReport:
    try:
        read = _DOCUMENT.validate_python(document)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise UsageError(
            f"the baseline {path} is damaged, or of another dqctl: {where}: {problem['msg'].lower()}",
            f"{_AGAIN}, with the same dqctl",
        ) from None
    return RunReport(
        run=read.run,
        generated_at=read.generated_at,
        tally=Tally.count(result.status for result in read.results),
        tables=read.tables,
        results=read.results,
        definitions=read.definitions,
        columns=read.columns,
        anomalies=read.anomalies,
        subjects=read.subjects,
        trend=read.trend,
        past_runs=read.past_runs,
        samples=read.samples,
    )
