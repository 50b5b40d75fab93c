"""What outlives an ephemeral stack: reports of its test runs and its logs, as files of who ran it."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from dqctl.errors import DqctlError, EnvironmentFault
from dqctl.files import write_atomically
from dqctl.progress import silent
from dqctl.redaction import redact
from dqctl.report import render
from dqctl.report.document import FORMAT, document, render_json
from dqctl.report.model import RunReport
from dqctl.report.options import FailOn, Form
from dqctl.report.review import Review
from dqctl.runtime import find_runtime
from dqctl.services import results
from dqctl.services.ci.record import CiPaths, Record
from dqctl.services.ci.up import EphemeralStack
from dqctl.services.work_session import report_of

log = logging.getLogger(__name__)

SUMMARY, RESULTS = "summary.md", "results.json"

_MOST = 1000  # runs that are looked at
_FORMS = {Form.JUNIT: "junit.xml", Form.HTML: "html", Form.MARKDOWN: "md", Form.JSON: "json"}


def write_reports(reports: Iterable[RunReport], folder: Path, fail_on: FailOn = FailOn.FAIL) -> tuple[Path, ...]:
    """Each test run as JUnit, HTML, Markdown and JSON, named after its suite; the files."""
    written = []
    for report in reports:
        name = re.sub(r"[^\w.-]+", "-", f"{report.run.system}-{report.name}")
        for form, ending in _FORMS.items():
            path = folder / f"{name}.{ending}"
            render.write(report, form, path, fail_on=fail_on)
            written.append(path)
    return tuple(written)


def write_summary(review: Review, folder: Path) -> tuple[Path, ...]:
    """One page about all suites, for a pull request; and all results in one file, to compare later runs with."""
    page, results_file = folder / SUMMARY, folder / RESULTS
    render.write(review, Form.MARKDOWN, page)
    if not review.suites:
        return (page,)
    runs = [document(suite.report) for suite in review.suites]
    try:
        write_atomically(results_file, render_json({"format": FORMAT, "runs": runs}))
    except OSError as error:
        raise EnvironmentFault(
            f"{results_file} cannot be written: {error.strerror}", "name another --artifacts"
        ) from error
    return page, results_file


def newest_runs(stack: EphemeralStack) -> tuple[RunReport, ...]:
    """The newest test run of each suite, whoever ran it; none when the stack does not answer any more."""
    try:
        with results.open_reader(find_runtime(stack.settings, silent), stack.name) as reader:
            newest: dict[str, str] = {}
            for row in results.runs(reader, kind="test", limit=_MOST):
                newest.setdefault(str(row["test_suite_id"]), str(row["run_id"]))
            return tuple(report_of(reader, run_id) for run_id in newest.values())
    except DqctlError as error:
        log.warning("no runs can be read: %s", error.message)
        return ()


def write_logs(paths: CiPaths, made: Record, folder: Path) -> tuple[Path, ...]:
    """The logs of TestGen, PostgreSQL, the installation and the local workspace, without secrets."""
    sources = {each: f"{each.stem}.log" for each in sorted(paths.stack.logs.glob("*.log"))}
    sources |= {each: f"{each.stem}.log" for each in sorted((paths.stack.postgres / "log").glob("*.log"))}
    sources |= {each: f"workspace-{each.name}" for each in sorted((paths.workspace / "logs").glob("*.log"))}
    try:
        texts = {name: each.read_text(encoding="utf-8", errors="replace") for each, name in sources.items()}
        if made.runtime == "docker":
            texts |= _of_containers(paths)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(redact(text), encoding="utf-8")
    except OSError as error:
        raise EnvironmentFault(
            f"{error.filename or folder}: {error.strerror}", "name another --artifacts"
        ) from error
    return tuple(folder / name for name in texts)


def _of_containers(paths: CiPaths) -> dict[str, str]:
    from dqctl.runtime import compose  # the engine's SDK, which a local stack has no use for
    from dqctl.runtime.engine import containers, explained

    try:
        with explained():
            return {
                f"container-{service}.log": container.logs(timestamps=True).decode(errors="replace")
                for service, container in containers(compose.project(paths.stack)).items()
            }
    except EnvironmentFault as fault:
        log.warning("no logs of containers: %s", fault.message)
        return {}
