"""The workspace: does it answer, does it let us in, may we do what a publish does. No warehouse is woken.

What a local workspace does not have (permissions, lifetimes of tokens) it answers with HTTP 501: not told here.
"""

import contextlib
import re
import socket
import ssl
import urllib.request
from datetime import UTC, datetime
from shlex import quote
from typing import Any

from dqctl.databricks.auth import INSTEAD, PersonalToken, family_of
from dqctl.databricks.target import ServicePrincipal, Target
from dqctl.databricks.warehouses import locate, warehouse_id
from dqctl.errors import UsageError
from dqctl.services.doctor.answers import REST_SECONDS, not_told, user_name
from dqctl.services.doctor.findings import Finding, check, failed, ok, skipped, warning
from dqctl.services.doctor.subject import Subject

_CONNECT = 1.0
_SIGN_IN = 12.0  # az and its like take seconds, and so does the SDK that starts them
_SOON = 14  # days
_ANSI_BY_HAND = "ask in a SQL editor, which wakes the warehouse: SET ANSI_MODE"
_ANSI_FIX = (
    "unset DQCTL_PROFILE_ANSI, so that profiles run with ANSI mode off in their own sessions; or set "
    "ANSI_MODE=false on the warehouse (Settings > Compute > SQL warehouses > SQL configuration parameters)"
)


@check("databricks.settings")
def settings(subject: Subject) -> Finding:
    """Whether it is said where results go, and as whom."""
    given = subject.settings
    if given.workspace is None and not given.databricks_host:
        try:
            return ok(subject.target.name)
        except UsageError as error:
            return skipped("no workspace is set, results stay in the stack", error.hint)
    return ok(f"results go to {subject.target.name}")


@check("databricks.auth", needs=("databricks.settings",))
def auth(subject: Subject) -> Finding:
    """By what way dqctl signs in, and whether TestGen can be given the same; nobody is asked."""
    family = family_of(subject.target.auth)
    evidence = f"{family.auth_type}, {family.what.replace('`', '')}"
    if family.testgen:
        return ok(f"{evidence}; TestGen's connections get the same")
    return warning(f"{evidence}; TestGen cannot use it", INSTEAD)


@check(
    "databricks.host",
    needs=("databricks.settings",),
    late="the name server does not answer: check /etc/resolv.conf, or the spelling of DATABRICKS_HOST",
)
def host(subject: Subject) -> Finding:
    """Whether the host resolves and answers TLS."""
    target = subject.target
    if not target.direct and (proxy := urllib.request.getproxies().get("https")):
        answer = subject.rest.anonymously("/.well-known/databricks-config")
        return ok(f"{target.host} answers HTTP {answer.status} through the proxy {_without_user(proxy)}")
    try:
        addresses = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return failed(f"{target.host} does not resolve: {error.strerror or error}", "check DATABRICKS_HOST")
    address = str(addresses[0][4][0])
    try:
        with socket.create_connection((address, target.port), _CONNECT) as connection:
            return _greet(target, connection, address)
    except TimeoutError:
        said = f"no answer within {_CONNECT:g} s"
    except ConnectionRefusedError:
        said = "nobody listens"
    except OSError as error:
        said = str(error.strerror or error)
    fix = (
        f"dqctl workspace start --data-dir {quote(target.place)}"
        if target.direct
        else "check the network: a firewall, HTTPS_PROXY, a VPN"
    )
    return failed(f"{target.host} ({address}:{target.port}): {said}", fix)


def _greet(target: Target, connection: socket.socket, address: str) -> Finding:
    context = ssl.create_default_context(cafile=target.ca_file)
    try:
        with context.wrap_socket(connection, server_hostname=target.host) as secured:
            return ok(f"{target.host} ({address}:{target.port}) answers {secured.version()}")
    except ssl.SSLCertVerificationError as error:
        return failed(
            f"the certificate of {target.host} is not trusted: {error.verify_message}",
            "name the authority that signed it: export SSL_CERT_FILE=/path/to/ca-bundle.pem",
        )


def _without_user(url: str) -> str:
    return re.sub(r"//[^/]*@", "//", url)


@check(
    "databricks.credentials",
    seconds=_SIGN_IN,
    needs=("databricks.host",),
    late="see how long Databricks' own tools take: databricks auth describe",
)
def credentials(subject: Subject) -> Finding:
    """Whether the token, or the service principal, is let in."""
    answer = subject.rest.get("/api/2.0/preview/scim/v2/Me")
    if answer.is_good:
        return ok(f"let in as {user_name(answer)}, by {subject.target.auth.auth_type}")
    refused = answer.status in (401, 403)
    match subject.target.auth:
        case PersonalToken():
            fix = "make a new token (User settings > Developer > Access tokens), and set DATABRICKS_TOKEN"
        case ServicePrincipal():
            fix = "check DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, and that it belongs to the workspace"
        case _:
            fix = "see as whom Databricks' own tools get in: databricks auth describe"
    if subject.target.direct:
        where = f"--data-dir {quote(subject.target.place)}"
        fix = f"dqctl workspace stop {where}; dqctl workspace start {where} (it writes its token again)"
    return failed(f"{subject.target.host}: {answer.reason}", fix if refused else "try again", refused=refused)


@check("databricks.warehouse", seconds=REST_SECONDS, needs=("databricks.credentials",))
def warehouse(subject: Subject) -> Finding:
    """The warehouse's state; asking for it does not wake it."""
    path = locate(subject.rest, subject.target).http_path
    found = warehouse_id(path)
    if not found:
        return skipped(f"{path} is a cluster, not a SQL warehouse", "see it under Compute")
    answer = subject.rest.get(f"/api/2.0/sql/warehouses/{found}")
    if answer.status in (401, 403):
        return failed(answer.reason, f"have CAN USE granted on the warehouse {found}", refused=True)
    if answer.status in (400, 404):
        return failed(answer.reason, "check DATABRICKS_WAREHOUSE_ID or DQCTL_HTTP_PATH")
    if not answer.is_good:
        return not_told(answer)
    return judge_warehouse(answer.document, local=subject.target.direct, may_start=subject.target.start_warehouse)


def judge_warehouse(found: dict[str, Any], *, local: bool, may_start: bool = True) -> Finding:
    """What the warehouse's own description says about it; ``may_start`` is whether dqctl is to start it."""
    state, stop = found.get("state"), found.get("auto_stop_mins")
    kind = "serverless" if found.get("enable_serverless_compute") else str(found.get("warehouse_type") or "?")
    evidence = f"{found.get('name')} is {state}, {kind}, {found.get('cluster_size')}, auto stop after {stop} min"
    if state in ("DELETED", "DELETING"):
        return failed(evidence, "name another one: DATABRICKS_WAREHOUSE_ID")
    health = found.get("health") or {}
    if health.get("status") in ("FAILED", "DEGRADED"):
        return warning(f"{evidence}; {health['status']}: {health.get('summary')}", "see it under SQL Warehouses")
    if state in ("STOPPED", "STOPPING") and not may_start:
        return warning(
            f"{evidence}; dqctl was told not to start it, so results wait",
            "start it before a run, or let dqctl: DQCTL_START_WAREHOUSE=true",
        )
    # Idle time is paid for: short nightly work on a warehouse that stays up costs hours.
    if not local and isinstance(stop, int) and not 0 < stop <= 15:
        return warning(evidence, "let it stop sooner: auto stop after 5 to 15 min")
    return ok(evidence)


@check("databricks.ansi_mode", seconds=REST_SECONDS, needs=("databricks.credentials",))
def ansi_mode(subject: Subject) -> Finding:
    """Whether text columns can be profiled; only administrators are told how the warehouses are configured."""
    switched_off = subject.settings.profile_ansi == "off"
    answer = subject.rest.get("/api/2.0/sql/config/warehouses")
    if not answer.is_good:
        if switched_off:
            return ok("profiles run with ANSI mode off; what the warehouse has, only administrators are told")
        return skipped(f"unknown: only administrators are told ({answer.reason})", _ANSI_BY_HAND)
    parameters = answer.document.get("sql_configuration_parameters") or {}
    pairs = parameters.get("configuration_pairs") or ()
    values = {str(pair.get("key")).upper(): str(pair.get("value")).lower() for pair in pairs}
    if values.get("ANSI_MODE") == "false":
        return ok("ANSI_MODE is false for all warehouses of the workspace")
    said = f"is {values['ANSI_MODE']}" if "ANSI_MODE" in values else "is not set, which means true"
    if switched_off:
        return ok(f"ANSI_MODE {said}; profiles run with it off in their own sessions, tests as it is")
    return warning(f"ANSI_MODE {said}: TestGen cannot profile text columns completely", _ANSI_FIX)


@check("databricks.token", seconds=REST_SECONDS, needs=("databricks.credentials",))
def token(subject: Subject) -> Finding:
    """Secrets that are about to expire. Which of a user's tokens is ours is not told: the first to end counts."""
    if isinstance(subject.target.auth, ServicePrincipal):
        return skipped(
            "the lifetime of a service principal's secret is told to account administrators only",
            f"databricks service-principal-secrets-proxy list ID (client id {subject.target.auth.client_id})",
        )
    if not isinstance(subject.target.auth, PersonalToken):
        return skipped(f"{subject.target.auth.auth_type} makes a new token whenever one is needed")
    answer = subject.rest.get("/api/2.0/token/list")
    if not answer.is_good:
        return not_told(answer, "see User settings > Developer > Access tokens")
    return judge_tokens(answer.document, datetime.now(UTC))


def judge_tokens(document: dict[str, Any], now: datetime) -> Finding:
    """What the list of the user's tokens says about how long they live."""
    ends = []
    for each in document.get("token_infos") or ():
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            if (end := int(each.get("expiry_time", -1))) > 0:  # -1: never
                ends.append(datetime.fromtimestamp(end / 1000, UTC))
    living = sorted(end for end in ends if end > now)
    count = len(document.get("token_infos") or ())
    if not living:
        return ok(f"none of the {count} tokens of this user ends, as far as is told")
    days = (living[0] - now).days
    evidence = f"{count} tokens of this user, the first ends {living[0]:%Y-%m-%d}, in {days} days"
    if days < _SOON:
        return warning(evidence, "make a new token in time (User settings > Developer > Access tokens)")
    return ok(evidence)


CHECKS = (settings, auth, host, credentials, warehouse, ansi_mode, token)
