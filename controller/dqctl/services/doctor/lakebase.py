"""Lakebase as the place of a stack's metadata: its endpoint, and how it is reached. What sleeps is not woken."""

from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from dqctl.errors import EnvironmentFault
from dqctl.runtime.lakebase import LakebaseServer
from dqctl.services.doctor.findings import Finding, check, failed, ok, skipped, warning
from dqctl.services.doctor.subject import Subject
from dqctl.stack.record import LakebaseRecord

_API = "/api/2.0/postgres"


def _record(subject: Subject) -> LakebaseRecord:
    record = subject.record
    if record is None or record.lakebase is None or record.lakebase.endpoint is None:
        raise EnvironmentFault("it is not known where the stack's Lakebase is", subject.command("install"))
    return record.lakebase


@check("lakebase.trust", needs=("stack.record",))
def trust(subject: Subject) -> Finding:
    """The certificates that Lakebase's own is checked with."""
    path = _record(subject).ca_file
    if path is None or not path.is_file():
        return failed(f"the certificates {path} are gone", subject.command("install", "--lakebase-ca") + " FILE")
    found = x509.load_pem_x509_certificates(path.read_bytes())
    if not any(each.not_valid_after_utc > datetime.now(UTC) for each in found):
        return failed(f"no certificate of {path} is valid any more", "renew it (package ca-certificates)")
    return ok(f"{len(found)} certificates in {path}")


@check("lakebase.network", seconds=6.0, needs=("stack.record", "secrets.files"))
def network(subject: Subject) -> Finding:
    """Whether somebody listens where Lakebase is; nobody signs in, so nothing wakes."""
    server = subject.runtime.postgres
    assert isinstance(server, LakebaseServer)  # noqa: S101 - runtime_of looks
    if server.answers:
        return ok(f"{server.host}:{server.port} answers")
    return failed(
        f"{server.host}:{server.port} does not answer",
        f"let this machine out to it (firewall, DNS, private link); if it has moved: {subject.command('install')}",
    )


@check("lakebase.endpoint", seconds=4.0, needs=("stack.record", "databricks.credentials"))
def endpoint(subject: Subject) -> Finding:
    """What Databricks says of the endpoint; one that sleeps is not woken to look further."""
    found = _record(subject)
    answer = subject.rest.get(f"{_API}/{found.endpoint}")
    if answer.status == 404:
        return failed(f"{found.endpoint} is not there any more", "make it again in Lakebase: data is not touched")
    if not answer.is_good:
        return failed(f"{found.endpoint}: {answer.reason}", "check that the principal may use the project")
    status: dict[str, Any] = answer.document.get("status") or {}
    state = str(status.get("current_state"))
    if status.get("disabled"):
        return failed(f"{found.endpoint} is disabled", "enable it in Lakebase")
    if not _native_login(subject, found):
        return failed(
            f"the project {found.project} lets no role in with a password",
            "allow it in the project's settings (enable_pg_native_login)",
        )
    if state == "IDLE":
        return skipped(f"{found.endpoint} sleeps, and is not woken to look: the next command that works wakes it")
    if state != "ACTIVE":
        return warning(f"{found.endpoint} is {state}", "wait a moment, and look again")
    return ok(f"{found.endpoint} is {state}")


def _native_login(subject: Subject, found: LakebaseRecord) -> bool:
    answer = subject.rest.get(f"{_API}/projects/{found.project}")
    status: dict[str, Any] = answer.document.get("status") or {}
    return not answer.is_good or bool(status.get("enable_pg_native_login"))


CHECKS = (trust, network, endpoint)
