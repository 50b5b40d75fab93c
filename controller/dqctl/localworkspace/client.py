"""Asking a running local workspace itself: what its clients have no business with. Imports nothing heavy."""

import contextlib
import http.client
import json
import ssl
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dqctl.localworkspace.endpoint import Endpoint
from dqctl.localworkspace.faults import Fault

# Requests with this header meet no fault, do not wait for the warehouse, and do not wake it.
UNDISTURBED = "x-dqctl-undisturbed"
FAULTS_PATH = "/api/dqctl/faults"
_SECONDS = 10.0


class NoAnswer(Exception):  # noqa: N818 - named for what it is
    """The local workspace does not answer, or refuses; the text says why."""


def request(endpoint: Endpoint, method: str, path: str, body: Any, timeout: float) -> dict[str, Any]:
    """The JSON object of the answer, of a refusal too; ``OSError``, ``HTTPException`` or ``ValueError``."""
    token = endpoint.token_file.read_text(encoding="utf-8").strip()
    context = ssl.create_default_context(cafile=str(endpoint.ca_file))
    connection = http.client.HTTPSConnection(endpoint.address, endpoint.port, timeout=timeout, context=context)
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", UNDISTURBED: "1"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = json.loads(connection.getresponse().read())
        if not isinstance(answer, dict):
            raise ValueError("the answer is no object")
        return answer


def answers(endpoint: Endpoint, timeout: float) -> bool:
    """Whether a real statement comes back within ``timeout`` seconds."""
    body = {"statement": "SELECT 1", "warehouse_id": endpoint.http_path.rsplit("/", 1)[1], "wait_timeout": "50s"}
    try:
        answer = request(endpoint, "POST", "/api/2.0/sql/statements", body, timeout)
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return bool(answer.get("result", {}).get("data_array") == [["1"]])


def add_fault(endpoint: Endpoint, fault: Fault) -> int:
    """Put a fault at the end of the script; its id. ``NoAnswer`` when the workspace does not take it."""
    return int(_ask(endpoint, "POST", asdict(fault))["id"])


def list_faults(endpoint: Endpoint) -> Sequence[dict[str, Any]]:
    """The script, as ``ScriptedFault.as_document`` has it."""
    faults: list[dict[str, Any]] = _ask(endpoint, "GET")["faults"]
    return faults


def load_faults(endpoint: Endpoint, faults: Sequence[Fault]) -> Sequence[int]:
    """Replace the script by these faults; their ids."""
    script = {"faults": [asdict(fault) for fault in faults]}
    return [int(each["id"]) for each in _ask(endpoint, "PUT", script)["faults"]]


def list_hits(endpoint: Endpoint) -> Sequence[dict[str, Any]]:
    """What happened since the script was cleared last, the oldest first, as ``faults.Hit`` has it."""
    hits: list[dict[str, Any]] = _ask(endpoint, "GET", path=f"{FAULTS_PATH}/hits")["hits"]
    return hits


def remove_fault(endpoint: Endpoint, number: int) -> None:
    """Forget one fault by its id; ``NoAnswer`` when there is none."""
    _ask(endpoint, "DELETE", path=f"{FAULTS_PATH}/{number}")


def clear_faults(endpoint: Endpoint) -> int:
    """Forget all faults, let expired tokens in, have the warehouse run; how many faults were still to come."""
    return int(_ask(endpoint, "DELETE")["cleared"])


def _ask(endpoint: Endpoint, method: str, body: Any = None, path: str = FAULTS_PATH) -> dict[str, Any]:
    try:
        answer = request(endpoint, method, path, body, _SECONDS)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(f"the local workspace does not answer: {error or type(error).__name__}") from error
    if "error_code" in answer:
        raise NoAnswer(str(answer.get("message")))
    return answer
