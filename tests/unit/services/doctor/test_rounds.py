import threading
import time
from pathlib import Path

import pytest

from dqctl.errors import DatabricksRefused, EnvironmentFault, ExitCode
from dqctl.services.doctor.examination import Diagnosis
from dqctl.services.doctor.findings import Check, Finding, Look, Verdict, check, failed, ok, skipped, warning
from dqctl.services.doctor.rounds import run_all
from dqctl.services.doctor.subject import Subject
from dqctl.settings import load


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return Subject(load({"home": tmp_path}, {}))


def make(name: str, look: Look, seconds: float = 5.0, needs: tuple[str, ...] = (), late: str = "") -> Check:
    return check(name, seconds=seconds, needs=needs, late=late)(look)


def fine(_: Subject) -> Finding:
    return ok("fine")


def test_findings_come_in_the_order_of_the_checks(subject: Subject) -> None:
    found = run_all([make(name, fine) for name in ("c", "a", "b")], subject)
    assert [(each.id, each.verdict, each.evidence) for each in found] == [
        (name, Verdict.OK, "fine") for name in ("c", "a", "b")
    ]


def test_checks_run_at_the_same_time(subject: Subject) -> None:
    together = threading.Barrier(3)

    def meet(_: Subject) -> Finding:
        together.wait(10)  # breaks, and fails the check, when the others do not come
        return ok("met")

    found = run_all([make(name, meet, 15.0) for name in "abc"], subject)
    assert {each.verdict for each in found} == {Verdict.OK}


def test_a_check_that_hangs_is_given_up_and_holds_up_nobody(subject: Subject) -> None:
    release = threading.Event()

    def hang(_: Subject) -> Finding:
        release.wait(60)
        return ok("too late")

    began = time.monotonic()
    found = run_all([make("hangs", hang, 0.3, late="pull the plug"), make("other", fine)], subject)
    release.set()
    assert time.monotonic() - began < 30
    assert (found[0].verdict, found[0].evidence, found[0].fix) == (
        Verdict.FAILED,
        "no answer within 0.3 s",
        "pull the plug",
    )
    assert found[1].verdict is Verdict.OK


@pytest.mark.parametrize("useless", [failed("broken", "mend it"), skipped("nobody knows")])
def test_what_needs_a_check_that_did_not_end_well_is_not_looked_at(subject: Subject, useless: Finding) -> None:
    looked = []

    def look(_: Subject) -> Finding:
        looked.append(1)
        return ok("fine")

    checks = [
        make("third", look, needs=("second",)),
        make("second", look, needs=("first", "one that is not run")),
        make("first", lambda _: useless),
    ]
    found = {each.id: each for each in run_all(checks, subject)}
    assert looked == []
    assert found["second"].evidence == "not looked at, because of first"
    assert found["third"].evidence == "not looked at, because of second"
    assert found["third"].verdict is Verdict.SKIPPED


def test_a_warning_does_not_stop_what_needs_it(subject: Subject) -> None:
    found = run_all(
        [make("first", lambda _: warning("hm", "look")), make("second", fine, needs=("first",))], subject
    )
    assert found[1].verdict is Verdict.OK


def test_errors_of_ours_and_of_others_are_findings(subject: Subject) -> None:
    def fault(_: Subject) -> Finding:
        raise EnvironmentFault("no disk", "buy one")

    def refused(_: Subject) -> Finding:
        raise DatabricksRefused("no", "ask")

    def foreign(_: Subject) -> Finding:
        return ok(Path("/nonexistent/file").read_text())

    def defect(_: Subject) -> Finding:
        return ok(str(1 / int("0")))

    found = run_all([make(look.__name__, look) for look in (fault, refused, foreign, defect)], subject)
    assert {each.verdict for each in found} == {Verdict.FAILED}
    assert (found[0].evidence, found[0].fix, found[0].refused) == ("no disk", "buy one", False)
    assert found[1].refused
    assert "/nonexistent/file: No such file" in found[2].evidence
    assert "ZeroDivisionError" in found[3].evidence


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok("fine"), warning("hm", "look"), skipped("?")], ExitCode.DONE),
        ([failed("broken", "mend")], ExitCode.ENVIRONMENT),
        ([failed("no", "ask", refused=True)], ExitCode.DATABRICKS_REFUSED),
        ([failed("broken", "mend"), failed("no", "ask", refused=True)], ExitCode.DATABRICKS_REFUSED),
    ],
)
def test_the_worst_finding_decides_the_exit_code(findings: list[Finding], code: ExitCode) -> None:
    assert Diagnosis("s", "/h", "local", "0", tuple(findings), 0.1).exit_code is code


def test_a_command_names_the_stack_that_it_is_about(tmp_path: Path) -> None:
    subject = Subject(load({"home": tmp_path / "with space", "stack": "other", "runtime": "docker"}, {}))
    assert subject.command("install") == (
        f"dqctl --home '{tmp_path}/with space' --stack other install --runtime docker"
    )
    assert Subject(load({}, {})).command("publish", "--pending") == "dqctl publish --pending"
