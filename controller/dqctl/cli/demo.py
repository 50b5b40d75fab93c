"""``demo``: the main job on real data, on this machine alone."""

import sys
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqctl.cli.context import context
from dqctl.cli.options import Workspace
from dqctl.cli.output import emit
from dqctl.report.words import counted

if TYPE_CHECKING:
    from dqctl.report.model import RunReport
    from dqctl.services.demo import DemoReport

# Names of tests under each defect.
_SHOWN = 3


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: dqctl demo")(demo)


def demo(
    version: Annotated[str | None, typer.Option(help="Version of TestGen [default: the newest known]")] = None,
    workspace: Workspace = None,
) -> None:
    """Do the main job on real data, on this machine alone: New York's flights of 2013.

    Installs the stack "demo", loads the data into a local workspace, profiles it, generates tests, runs them,
    breaks the data, and runs them again.
    """
    from dqctl.services import demo as demonstration

    here = context()
    here.flags["stack"] = here.flags.get("stack") or demonstration.STACK
    report = demonstration.demo(here.settings_with(workspace=workspace), version=version, progress=here.progress)
    content = {
        "workspace": {"host": report.endpoint.host, "data_dir": str(report.endpoint.data_dir)},
        "runs": [
            {
                "kind": each.run.kind,
                "run_id": each.run.run_id,
                "status": each.run.status,
                "seconds": each.run.seconds,
            }
            for each in report.runs
        ],
        "results": [_counts(each) for each in (report.before, report.after)],
        "published": report.published,
        "report": str(report.report),
        "caught": report.caught,
        "seconds": round(report.seconds, 1),
    }
    emit(content, lambda: _as_text(report), report.exit_code)


def _counts(report: "RunReport") -> dict[str, Any]:
    tally = report.tally
    return {
        "run_id": report.run.run_id,
        "passed": tally.passed,
        "failed": tally.failed,
        "warning": tally.warning,
        "error": tally.error,
        "log": tally.log,
    }


def _as_text(report: "DemoReport") -> str:
    lines = [
        "",
        f"New York's flights of 2013: {report.profile.run.records or 0:,} records in "
        f"{counted(len({each.table for each in report.profile.columns}), 'table')}, "
        f"{counted(len(report.profile.columns), 'column')}, profiled in {report.profile.run.seconds or 0:.1f} s: "
        f"{counted(len(report.profile.anomalies), 'anomaly', 'anomalies')}.",
        f"From the profile TestGen made {counted(report.before.tally.total, 'test')}.",
        "",
        f"The data as it is:    {_sentence(report.before)}",
        f"The data, broken:     {_sentence(report.after)}",
        "",
        "What was broken, and the tests that noticed:",
    ]
    for caught in report.caught:
        lines.append(f"  {caught.story}")
        shown = list(caught.tests[:_SHOWN])
        if len(caught.tests) > _SHOWN:
            shown.append(f"and {len(caught.tests) - _SHOWN} more")
        lines.append(f"    {'; '.join(shown) or 'NOT NOTICED by any test'}")
    rows = ", ".join(f"{name} {count:,}" for name, count in sorted(report.published.items()) if count)
    latest = f"{report.settings.catalog}.{report.settings.schema_name}.dq_latest_results"
    # By its path: the environment that scripts/demo makes is not on the PATH of who reads this.
    dqctl = quote(sys.argv[0])
    home = f"--home {quote(str(report.settings.home))} --stack {report.settings.stack}"
    data = f"--data-dir {quote(str(report.endpoint.data_dir))}"
    lines += [
        "",
        f"Published to {report.settings.catalog}.{report.settings.schema_name}: {rows} rows.",
        f"Report: {report.report}",
        "",
        f"That took {report.seconds:.0f} s. What to try next:",
        f"  {dqctl} {home} results latest --failed",
        f"  {dqctl} {home} anomalies latest",
        f'  {dqctl} workspace sql {data} "TABLE {latest}"',
        f"  {dqctl} {home} uninstall --purge; {dqctl} workspace stop {data}",
    ]
    return "\n".join(lines)


def _sentence(report: "RunReport") -> str:
    tally = report.tally
    parts = (
        ("passed", tally.passed),
        ("failed", tally.failed),
        ("warned", tally.warning),
        ("errored", tally.error),
    )
    return ", ".join(f"{count} {word}" for word, count in parts if count or word in ("passed", "failed"))
