"""Why nobody answers. The connector says how often it tried and drops the reason (4.9.0)."""

import base64
import contextlib
import http.client
import ssl
import urllib.request
from urllib.parse import unquote, urlsplit

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.target import Target

_SECONDS = 5.0
_AGAIN = 1.0


def what_is_wrong(target: Target) -> str:
    """What a plain TLS connection to the target runs into, through the proxy if any; empty when it works."""
    try:
        connection = _connection(target, ssl.create_default_context(cafile=target.ca_file))
        if connection is not None:
            with contextlib.closing(connection):
                connection.connect()
    except OSError as error:
        return f"{target.host}:{target.port}: {error}"
    return ""


def is_out_of_reach(target: Target, clock: Clock = SYSTEM_CLOCK) -> str:
    """The same for a host that never answered yet: looked at twice, and within seconds.

    The connector would try for a minute: right for a workspace that is known to exist, wrong for a typing error.
    """
    if wrong := what_is_wrong(target):
        clock.sleep(_AGAIN)
        wrong = what_is_wrong(target)
    return wrong


def _connection(target: Target, context: ssl.SSLContext) -> http.client.HTTPSConnection | None:
    """A connection that is not open yet; None where a kind of proxy is in between that is not known here."""
    proxy = "" if target.direct else urllib.request.getproxies().get("https", "")
    if not proxy or urllib.request.proxy_bypass(target.host):
        return http.client.HTTPSConnection(target.host, target.port, timeout=_SECONDS, context=context)
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        return None
    through = http.client.HTTPSConnection(parts.hostname, parts.port or 80, timeout=_SECONDS, context=context)
    headers = {}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    through.set_tunnel(target.host, target.port, headers)
    return through
