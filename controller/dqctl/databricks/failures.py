"""What went wrong on Databricks, said in dqctl's errors: the one place that reads the connector's."""

import re

from databricks.sql import exc
from thrift.Thrift import TException
from urllib3.exceptions import HTTPError

from dqctl.databricks.auth import PRINCIPAL, SEE_TOOLS
from dqctl.databricks.probe import what_is_wrong
from dqctl.databricks.target import Target
from dqctl.errors import DatabricksRefused, DqctlError, EnvironmentFault
from dqctl.redaction import redact

_REFUSED = re.compile(
    r"PERMISSION_DENIED|INSUFFICIENT_PERMISSIONS|INSUFFICIENT_PRIVILEGES|UNAUTHORIZED|SQLSTATE: 42501"
)
# "User does not have USE SCHEMA on Schema 'main.data_quality'."
_GRANT = re.compile(
    r"does not have (?:permission )?([A-Z][A-Z ,]*[A-Z]) on (\w+) ['`\"]?([\w`-]+(?:\.[\w`-]+)*)", re.I
)
_CONFLICT = re.compile(r"SQLSTATE: 2D521|DELTA_CONCURRENT_\w+|DELTA_PROTOCOL_CHANGED|DELTA_METADATA_CHANGED")
_ERROR_CLASS = re.compile(r"\[([A-Z][A-Z0-9_.]+)\]")
# Also how a warehouse refuses statements while it stops or starts: it opens sessions, and knows nothing of them
# afterwards (lightdash 28654, posthog 49487).
_GONE = re.compile(
    r"Invalid (?:Session|Operation)Handle|INVALID_HANDLE|"
    r"session .{0,120}(?:closed|expired|does not exist|not been initialized)|"
    r"TEMPORARILY_UNAVAILABLE|(?:warehouse|endpoint|cluster)\b.{0,80} (?:is|was) (?:temporarily unavailable|stop)|"
    r"Couldn't create directory /local_disk0",
    re.I | re.S,
)
_OUT_OF_TIME = "Retry request would exceed"
_STAGING = re.compile(r"^Staging operation over HTTP was unsuccessful: (\d+)")
# Bounded: it is looked for in texts of any length.
_NO_TOKEN = re.compile(r"(the service principal|\b[a-z][a-z0-9-]{1,30}) got no token: .*", re.S)
# Nothing is wrong with the credentials: nobody could be asked. The SDK says all in a ValueError's text (0.156).
_NOT_ASKED = re.compile(
    r"no answer within|Max retries exceeded|Connection (?:refused|reset|aborted)|RemoteDisconnected|[Tt]imed out|"
    r"TEMPORARILY_UNAVAILABLE|RESOURCE_EXHAUSTED"
)
# In a message that somebody else made of it: TestGen keeps nothing but the text.
_PASSES = re.compile(
    r"\b(?:HTTP )?(?:429|503)\b.{0,40}(?:Too Many Requests|Service Unavailable|Temporarily)|Too Many Requests|"
    r"Service Unavailable|RemoteDisconnected|Failed to establish a new connection|Name or service not known|"
    r"Temporary failure in name resolution|Error during request to server",
    re.I,
)
_LONGEST = 600
# Of the statement; also where the storage behind a volume says it, in words of its own.
NO_SUCH_FILE = "FILE_NOT_FOUND"


class Unreachable(EnvironmentFault):
    """Nobody answers, or not in time; trying again later may help."""


class NobodyThere(Unreachable):
    """Nobody answers, and nobody ever did: most likely the host is not what it should be."""


class SessionGone(Unreachable):
    """The server is there and knows nothing of the session any more; a new one will do."""


class CredentialsRefused(DatabricksRefused):
    """The token or the service principal is not let in, or not any more."""


class Conflict(EnvironmentFault):
    """Another writer was faster; the same statement again will do."""


class OutcomeUnknown(EnvironmentFault):
    """A statement was sent, its answer was lost, and it must not be sent twice."""


class StatementFailed(EnvironmentFault):
    """Databricks could not run a statement. ``error_class`` is Databricks' name of the reason."""

    def __init__(self, message: str, hint: str = "", error_class: str = "") -> None:
        super().__init__(message, hint)
        self.error_class = error_class


def understand(error: Exception, target: Target) -> DqctlError:
    """``error`` of the connector (or of the network below it) as what the caller can act on."""
    text = redact(str(error).strip() or type(error).__name__)
    status = _http_status(error, text)
    if status in (401, 403):
        return CredentialsRefused(
            f"{target.host} refused the credentials (HTTP {status})",
            "check the token or the service principal, that it has not expired, and its CAN USE on the warehouse",
        )
    said = _NO_TOKEN.search(text)
    if said and _NOT_ASKED.search(said.group()):
        return _unreachable(said.group(), target)
    if said:
        return DatabricksRefused(
            f"{target.host}: {_short(said.group())}",
            "check DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, that the secret has not expired, and that "
            "the principal belongs to this workspace"
            if said.group(1) == PRINCIPAL
            else SEE_TOOLS,
        )
    if _REFUSED.search(text):
        return DatabricksRefused(f"Databricks refused: {_short(text)}", _grant(text, target))
    if _CONFLICT.search(text):
        return Conflict(f"another writer was faster: {_short(text)}", "run the command again")
    if status == 404 and not _STAGING.match(text):
        return EnvironmentFault(
            f"{target.host} has no warehouse at {target.http_path}",
            "check DATABRICKS_WAREHOUSE_ID or DQCTL_HTTP_PATH",
        )
    if _GONE.search(text):
        return SessionGone(*_said(text, target))
    answered = _STAGING.match(text) and status is not None and status < 500
    if answered or isinstance(error, exc.ServerOperationError | exc.ProgrammingError | exc.NotSupportedError):
        found = _ERROR_CLASS.search(text)
        name = found.group(1) if found else NO_SUCH_FILE if status == 404 else ""
        return StatementFailed(f"a statement failed on Databricks: {_short(text)}", "", name)
    # What comes while an answer is read is not the connector's (4.9.0): urllib3's when it is cut, Thrift's.
    if isinstance(error, exc.Error | OSError | HTTPError | TException | EOFError):
        return _unreachable(text, target)
    raise error


def may_pass(text: str) -> bool:
    """Whether what ``text`` tells of (a message of the connector in anybody's words) may be over in a moment."""
    return any(each.search(text) for each in (_PASSES, _NOT_ASKED, _GONE, _CONFLICT)) or _OUT_OF_TIME in text


def nobody_there(reason: str, target: Target) -> NobodyThere:
    """The error for a host that never answered; ``reason`` is what a connection runs into."""
    return NobodyThere(*_said(reason, target))


def _unreachable(text: str, target: Target) -> Unreachable:
    reason = what_is_wrong(target)
    if not reason and _OUT_OF_TIME in text:
        reason = "it is there, but busy (HTTP 429 or 503) or losing its answers for too long"
    return Unreachable(*_said(reason or text, target))


def _said(reason: str, target: Target) -> tuple[str, str]:
    return (
        f"{target.name} cannot be reached: {_short(reason)}",
        "see dqctl workspace status, and start it with dqctl workspace start"
        if target.direct
        else "check DATABRICKS_HOST and the network, then run the command again",
    )


def _http_status(error: Exception, text: str) -> int | None:
    staging = _STAGING.match(text)
    if staging:
        return int(staging.group(1))
    context = getattr(error, "context", None)
    found = context.get("http-code") if isinstance(context, dict) else None
    return found if isinstance(found, int) else None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + " ..."


def _grant(text: str, target: Target) -> str:
    found = _GRANT.search(text)
    if found:
        privilege, kind, name = found.groups()
        return f"have its owner run: GRANT {privilege.upper()} ON {kind.upper()} {name} TO <this principal>"
    return (
        f"dqctl needs USE CATALOG on {target.catalog}, and on {target.catalog}.{target.schema} USE SCHEMA, "
        "CREATE TABLE, CREATE VOLUME, SELECT, MODIFY, READ VOLUME and WRITE VOLUME"
    )
