"""Signing in through ``databricks-sdk``: headers for requests, renewed before they expire.

The SDK is imported when somebody signs in, not before: it costs most of a second, its ``Config`` asks the host
when it is made, and some of its ways start programs (``az``, ``databricks``) or ask servers without a time limit
(0.156).
"""

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dqctl.databricks.auth import NoToken, PersonalToken, ServicePrincipal
from dqctl.databricks.target import Target
from dqctl.redaction import register, reveal

Headers = Callable[[], dict[str, str]]

_HTTP_SECONDS = 10
_PROGRAMS = {"azure-cli": "az", "databricks-cli": "databricks"}


def sdk_headers(target: Target) -> Headers:
    """A function that gives the headers of a request, valid when it is called.

    Raises ``NoToken`` when there is no token to be had, here and in every call, and when nobody says so within
    ``target.patience`` seconds.
    """
    with _signing_in(target):
        config = _within(target.patience, lambda: _config(target))

    def headers() -> dict[str, str]:
        with _signing_in(target):
            found: dict[str, str] = _within(target.patience, config.authenticate)
            register(*(value.partition(" ")[2] or value for value in found.values()))
            return found

    return headers


def connector_credentials(target: Target) -> dict[str, Any]:
    """What ``databricks.sql.connect`` is told about them; nobody is asked before its first request."""
    if isinstance(target.auth, PersonalToken):
        return {"access_token": reveal(target.auth.token)}
    # The connector's Thrift backend ignores oauth_client_secret: M2M too takes a provider (4.9.0).
    return {"credentials_provider": lambda: _at_first_use(target)}


def _at_first_use(target: Target) -> Headers:
    # Where the provider itself raises, the connector leaves a connection behind that cannot be deleted (4.9.0).
    signed_in: list[Headers] = []

    def headers() -> dict[str, str]:
        if not signed_in:
            signed_in.append(sdk_headers(target))
        return signed_in[0]()

    return headers


def _config(target: Target) -> Any:
    from databricks.sdk.core import Config

    # It warns of hosts that tell nothing about themselves, which many do.
    logging.getLogger("databricks.sdk").setLevel(logging.ERROR)
    given: dict[str, Any] = {}
    if isinstance(target.auth, ServicePrincipal):
        given = {"client_id": target.auth.client_id, "client_secret": reveal(target.auth.secret)}
    elif not isinstance(target.auth, PersonalToken):
        given = {"profile": target.auth.profile}
    port = "" if target.port == 443 else f":{target.port}"
    return Config(
        host=f"https://{target.host}{port}",
        # Pinned: with DATABRICKS_TOKEN in the environment two families would be an error, and without any the
        # last resort is a browser.
        auth_type=target.auth.auth_type,
        http_timeout_seconds=_HTTP_SECONDS,
        retry_timeout_seconds=max(1, int(target.patience)),  # 0 would be 300
        **given,
    )


@contextmanager
def _signing_in(target: Target) -> Iterator[None]:
    try:
        yield
    except (ValueError, TimeoutError) as error:  # ValueError is all that the SDK says (0.156), whatever it was
        raise NoToken(ValueError(_reason(error, target)), target.auth.auth_type) from error


def _reason(error: Exception, target: Target) -> str:
    # The SDK adds all of its configuration, and says of a way that is pinned but does not work "cannot configure
    # default credentials" (0.156).
    said = str(error).partition(". Config: ")[0]
    if "cannot configure default credentials" not in said:
        return said
    program = _PROGRAMS.get(target.auth.auth_type)
    if program and not shutil.which(program):
        return f"the program {program} is not there"
    if program:
        # The SDK does not even start az for a host whose name is not of Azure.
        return f"nobody is signed in with {program}, or not for this host"
    return "what it needs is not set"


def _within(seconds: float, ask: Callable[[], Any]) -> Any:
    """What ``ask`` returns or raises; ``TimeoutError`` when it does neither in time, and is left behind."""
    said: list[Any] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            said.append(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised again, where somebody waits for it
            raised.append(error)

    thread = threading.Thread(target=run, name="databricks-sign-in", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not said:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return said[0]
