"""Why nobody answers. The connector says how often it tried and drops the reason (4.9.0)."""

import socket
import ssl
import urllib.request

from dqctl.databricks.target import Target

_SECONDS = 5.0


def what_is_wrong(target: Target) -> str:
    """What a plain TLS connection to the target runs into; empty when it works, or when a proxy is in between."""
    if not target.direct and urllib.request.getproxies().get("https"):
        return ""
    try:
        context = ssl.create_default_context(cafile=target.ca_file)
        with (
            socket.create_connection((target.host, target.port), _SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=target.host),
        ):
            return ""
    except OSError as error:
        return f"{target.host}:{target.port}: {error}"
