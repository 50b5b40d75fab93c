"""The sidecar as a service of systemd: its unit, and what it tells systemd."""

import contextlib
import os
import shlex
import socket
from collections.abc import Sequence

from dqctl.errors import UsageError
from dqctl.services.schedule import dqctl_command, kept_variables
from dqctl.settings import Settings

_UNIT = """\
# {place}
[Unit]
Description=dqctl's sidecar of stack {stack}
Wants=network-online.target
After=network-online.target docker.service

[Service]
Type=notify
ExecStart={command}
{environment}Restart=on-failure
RestartSec=10
# A loop that does not turn any more is started anew.
WatchdogSec=180
TimeoutStopSec=15
# It ends what it started by itself. A PostgreSQL that a schedule had to start is to stay.
KillMode=process
UMask=0077
NoNewPrivileges=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictRealtime=yes
LockPersonality=yes

[Install]
WantedBy={target}
"""


def render(settings: Settings, environment: "dict[str, str]") -> tuple[str, tuple[str, ...]]:
    """The text of the unit, and the names of variables that hold a secret and are therefore not in it.

    ``environment`` is what the sidecar will find, as far as it is about dqctl.
    """
    kept, left_out = kept_variables(environment)
    lines = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in kept.items())
    name = f"dqctl-{settings.stack}-controller.service"
    is_root = os.geteuid() == 0
    directory = "/etc/systemd/system" if is_root else "~/.config/systemd/user"
    systemctl = "systemctl" if is_root else "systemctl --user"
    text = _UNIT.format(
        place=f"{directory}/{name}; then: {systemctl} daemon-reload && {systemctl} enable --now {name}",
        stack=settings.stack,
        command=_command([*dqctl_command(settings), "controller", "run"]),
        environment=lines,
        target="multi-user.target" if is_root else "default.target",
    )
    return text, left_out


def notify(state: str) -> None:
    """Tell systemd, where it started us and wants to know (sd_notify): READY=1, WATCHDOG=1, STOPPING=1."""
    where = os.environ.get("NOTIFY_SOCKET")
    if not where:
        return
    # Where it does not hear us, it does what it does with those that are silent.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), f"\0{where[1:]}" if where.startswith("@") else where)


def _command(argv: Sequence[str]) -> str:
    return shlex.join(argv).replace("%", "%%").replace("$", "$$")


def _quoted(assignment: str) -> str:
    if "\n" in assignment:
        raise UsageError(f"{assignment.partition('=')[0]} has more than one line", "unset it for this command")
    escaped = assignment.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
