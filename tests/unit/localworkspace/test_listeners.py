"""Where the proxy listens; 127.0.0.2 stands for a bridge that containers are on."""

import json
import socket
from pathlib import Path

import pytest

from dqctl.localworkspace.endpoint import FILE_NAME, Endpoint
from dqctl.localworkspace.listeners import Ports, check_address, existing, listening, listening_everywhere

BRIDGE = "127.0.0.2"


def test_the_proxy_has_one_port_at_all_its_addresses() -> None:
    with listening_everywhere(0, 0, (BRIDGE,)) as listeners:
        names = [listener.getsockname() for listener in listeners]
        assert [name[0] for name in names] == ["127.0.0.1", BRIDGE]
        assert names[0][1] == names[1][1]
        for name in names:
            socket.create_connection(name, timeout=5).close()


def test_https_is_on_loopback_alone_unless_it_is_asked_for_everywhere() -> None:
    with listening(0, 0) as listener, pytest.raises(ConnectionRefusedError):
        socket.create_connection((BRIDGE, listener.getsockname()[1]), timeout=5)
    with listening(0, 0, everywhere=True) as listener:
        for address in ("127.0.0.1", BRIDGE):
            socket.create_connection((address, listener.getsockname()[1]), timeout=5).close()


def test_a_port_that_is_taken_at_one_address_only_is_not_taken_at_all() -> None:
    with socket.create_server((BRIDGE, 0)) as taken:
        port = taken.getsockname()[1]
        with listening_everywhere(0, port, (BRIDGE,)) as listeners:
            assert len({listener.getsockname()[1] for listener in listeners} | {port}) == 2
        # Asked for by name, it is an error, and nothing is left listening.
        with pytest.raises(OSError, match="in use"), listening_everywhere(port, 0, (BRIDGE,)):
            pytest.fail("two have one port")
        with listening(port, 0):
            pass


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("203.0.113.7", "203.0.113.7 is no address of this machine"),
        ("localhost", "'localhost' is no IP address"),
        ("0.0.0.0", "every network"),  # noqa: S104 - it is refused
        ("::", "every network"),
    ],
)
def test_an_address_where_nobody_can_listen_is_told_with_the_reason(address: str, why: str) -> None:
    with pytest.raises(OSError, match=why):
        check_address(address)
    assert existing((address, BRIDGE)) == (BRIDGE,)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"port": 1}', '{"port": "x", "proxy_port": 2}'])
def test_ports_that_cannot_be_read_are_not_known(tmp_path: Path, text: str) -> None:
    (tmp_path / "ports.json").write_text(text)
    assert Ports.read(tmp_path / "ports.json") == Ports() == Ports.read(tmp_path / "none")


def test_files_of_before_the_addresses_are_read(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"port": 1, "proxy_port": 2}')
    assert Ports.read(tmp_path / "ports.json") == Ports(1, 2)
    endpoint = Endpoint(
        "h", "127.0.0.1", 1, "http://127.0.0.1:2", "/p", tmp_path, tmp_path, tmp_path, 3, "sail", (BRIDGE,)
    )
    (tmp_path / FILE_NAME).write_text(endpoint.as_json())
    assert Endpoint.read(tmp_path) == endpoint
    content = json.loads(endpoint.as_json())
    assert content.pop("proxy_addresses") == [BRIDGE]
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    old = Endpoint.read(tmp_path)
    assert old is not None
    assert old.proxy_addresses == ()
