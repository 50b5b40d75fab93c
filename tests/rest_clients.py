"""Clients of a local workspace's REST: the real SDK by name, and plain HTTP that sends what it is told."""

import http.client
import json
import ssl
import urllib.request
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

from dqctl.localworkspace.endpoint import Endpoint


def by_name(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has clients of this process reach the workspace as others reach Databricks."""
    monkeypatch.setenv("HTTPS_PROXY", endpoint.proxy_url)
    monkeypatch.setenv("SSL_CERT_FILE", str(endpoint.ca_file))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(endpoint.ca_file))
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def sdk_client(endpoint: Endpoint, token: str | None = None) -> WorkspaceClient:
    """The SDK with the workspace's own token, or another; what fails is not tried for long."""
    given = token or endpoint.token_file.read_text().strip()
    host = f"https://{endpoint.host}"
    return WorkspaceClient(config=Config(host=host, token=given, auth_type="pat", retry_timeout_seconds=30))


def trusting(endpoint: Endpoint) -> urllib.request.HTTPSHandler:
    """What makes ``urllib`` trust the workspace."""
    return urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(endpoint.ca_file)))


def bearer(endpoint: Endpoint) -> dict[str, str]:
    """The header of the workspace's own token."""
    return {"Authorization": f"Bearer {endpoint.token_file.read_text().strip()}"}


def ask(
    endpoint: Endpoint, method: str, path: str, body: Any = b"", headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, Any]:
    """Status, headers, and JSON (else the bytes) of one request on a connection of its own."""
    context = ssl.create_default_context(cafile=str(endpoint.ca_file))
    connection = http.client.HTTPSConnection(endpoint.address, endpoint.port, timeout=60, context=context)
    try:
        connection.request(method, path, body, bearer(endpoint) | (headers or {}))
        answer = connection.getresponse()
        content = answer.read()
        try:
            return answer.status, answer.headers, json.loads(content)
        except ValueError:
            return answer.status, answer.headers, content
    finally:
        connection.close()
