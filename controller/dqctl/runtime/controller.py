"""dqctl as a container of the stack that it works on: the service ``controller`` of compose/stack.yaml.j2.

From in there the metadata database is a name in the stack's network. What only the Docker engine can do (start a
container, run a job in one) needs the engine's socket, which is there only where ``install`` was told to mount it.
"""

import os
import socket
from pathlib import Path

from dqctl.errors import EnvironmentFault

_VARIABLE = "DQCTL_INSIDE"  # set by the Compose definition, and by nobody else
SOCKET = Path("/var/run/docker.sock")  # where the Compose definition mounts it

PORT = 19187  # where the sidecar answers in the stack's network


def is_here() -> bool:
    """Whether this process runs in a controller."""
    return bool(os.environ.get(_VARIABLE))


def has_engine() -> bool:
    """Whether the Docker engine can be asked: always on the host, in a controller with the socket mounted."""
    return not is_here() or bool(os.environ.get("DOCKER_HOST")) or SOCKET.exists()


def require_host(doing: str) -> None:
    """``EnvironmentFault`` in a controller, which has no docker command: it makes and removes no containers."""
    if is_here():
        raise EnvironmentFault(
            f"{doing} is not for the controller: it has no docker command to make or remove containers with",
            f"run it on the host: {doing}",
        )


def address_of(container: str) -> str | None:
    """The address of a container in the stack's network; None while it does not run.

    The engine's DNS knows a container exactly as long as it is connected, which is as long as it runs (20.10).
    """
    try:
        return socket.gethostbyname(container)
    except OSError:
        return None
