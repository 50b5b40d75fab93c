"""Where what watches a stack is, seen from here."""

import socket
from urllib.parse import urlsplit

from dqctl.runtime import controller
from dqctl.runtime.monitoring import SERVICES
from dqctl.stack.images import read_images
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord


def pages(paths: StackPaths, record: StackRecord) -> dict[str, str]:
    """URLs of Prometheus, Alertmanager and Grafana beside a stack, by service, as far as they run."""
    if record.runtime != "docker" or not controller.has_engine():
        return {}
    from dqctl.runtime import compose, engine  # the SDK takes a third of a second to import

    pinned = read_images(paths)
    if pinned is None or not pinned.monitoring:
        return {}
    found = engine.published(compose.project(paths))
    return {name: f"http://{found[name]}/" for name in pinned.monitoring if name in found}


def seen_from_here(url: str, paths: StackPaths, record: StackRecord) -> str:
    """``url``, unless it names a service beside the stack by its name in the containers' network, which is known
    there alone: then the one that it has on this machine.
    """
    parts = urlsplit(url)
    if record.runtime != "docker" or parts.hostname not in SERVICES or _is_known(parts.hostname):
        return url
    page = pages(paths, record).get(parts.hostname)
    return page.rstrip("/") + parts.path if page else url


def _is_known(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False
