"""A receiver as strict as DataOps Observability's event API, with faults on request; and results to hand over.

What it demands was found in the receiver's published source (dataops-observability 65f34f3): its request schema,
the limits of its configuration (100 KB, 500 outcomes), and the columns that it stores outcomes in.
"""

import http.server
import json
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import psycopg

from dqctl.localworkspace.certificates import Certificates

KEY = "sa-key-0815-4711-receiver"
PATH = "/api/events/v1/test-outcomes"
_ENVELOPE = {
    *("external_url", "stream_name", "run_key", "server_name", "task_name", "pipeline_key", "pipeline_name"),
    *("metadata", "run_name", "task_key", "stream_key", "server_key", "component_tool", "dataset_key"),
    *("dataset_name", "event_timestamp", "component_integrations", "test_outcomes"),
}
_OUTCOME = {
    *("integrations", "key", "type", "min_threshold", "max_threshold", "name", "description", "metadata"),
    *("start_time", "result", "end_time", "dimensions", "status", "metric_value", "metric_name"),
    "metric_description",
}
_LENGTHS = {"key": 255, "type": 40, "name": 255, "description": 255, "metric_name": 40, "metric_description": 255}


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """What the API would answer 400 to, or the consumer behind it would drop."""


def _demand(fact: object, where: str) -> None:
    if not fact:
        raise Refused(where)


def validate(document: Mapping[str, Any]) -> None:
    """``Refused`` for what the receiver would not keep."""
    _demand(set(document) == _ENVELOPE, f"fields {sorted(set(document) ^ _ENVELOPE)}")
    for name in ("dataset_key", "dataset_name", "component_tool"):
        _demand(isinstance(document[name], str) and 0 < len(document[name]) <= 255, name)
    for name in ("pipeline_key", "server_key", "stream_key"):
        _demand(document[name] is None, f"{name} beside dataset_key")
    datetime.fromisoformat(document["event_timestamp"])
    about = document["component_integrations"]["integrations"]["testgen"]
    _demand(about["version"] == 1, "version")
    for name in ("connection_name", "database_name"):
        _demand(isinstance(about[name], str) and about[name], name)
    tables = about["tables"]
    _demand(tables["include_list"] or tables["include_pattern"], "include_list or include_pattern")
    _demand(all(tables["include_list"]), "include_list")
    for value in (about["schema"], tables["include_pattern"], tables["exclude_pattern"]):
        _demand(value is None or (isinstance(value, str) and value), "an empty text")
    group = about["table_group_configuration"]
    _demand(isinstance(group["sample_percentage"], str | None), "sample_percentage")
    _demand(1 <= len(document["test_outcomes"]) <= 500, "test_outcomes: Length must be between 1 and 500.")
    for place, outcome in enumerate(document["test_outcomes"]):
        try:
            _validate_outcome(outcome)
        except Refused as refused:
            raise Refused(f"Invalid request: {{'test_outcomes': {{{place}: {refused}}}}}") from refused


def _validate_outcome(outcome: Mapping[str, Any]) -> None:
    _demand(set(outcome) == _OUTCOME, f"fields {sorted(set(outcome) ^ _OUTCOME)}")
    _demand(outcome["status"] in ("PASSED", "FAILED", "WARNING"), f"status {outcome['status']}")
    _demand(outcome["name"], "name")
    for name, longest in _LENGTHS.items():
        value = outcome[name]
        _demand(value is None or (isinstance(value, str) and len(value) <= longest), name)
        _demand(value is None or value or name == "description", f"{name} is empty")
    _demand(outcome["result"] is None or outcome["result"], "result")
    _demand(len((outcome["result"] or "").encode()) < 2**16, "result is too long")
    for name in ("metric_value", "min_threshold", "max_threshold"):
        if outcome[name] is not None:
            try:
                value = Decimal(outcome[name])
            except InvalidOperation:
                raise Refused(f"{name}: Not a valid number.") from None
            _demand(value.is_finite() and abs(value) < 10**15, name)
    dimensions = outcome["dimensions"]
    _demand(
        dimensions is None or (dimensions and all(isinstance(each, str) and each for each in dimensions)), "dim"
    )
    for name in ("start_time", "end_time"):
        datetime.fromisoformat(outcome[name])
    item = outcome["integrations"]["testgen"]
    _demand(set(item) == {"columns", "table", "test_suite", "test_parameters", "version"}, "integrations")
    _demand(item["table"] and item["test_suite"] and item["version"] == 1 and all(item["columns"]), "integrations")
    for parameter in item["test_parameters"]:
        _demand(
            set(parameter) == {"name", "value"} and parameter["name"] and parameter["value"], "test_parameters"
        )


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


Fault = Callable[["_Handler", Request], bool]


@dataclass
class Receiver:
    """``faults`` are what becomes of requests, by place; ``taken`` are those that it keeps. What has the outcome
    ``dislikes``, by key, is refused."""

    url: str
    is_strict: bool = True
    path: str = PATH
    dislikes: str = ""
    faults: dict[int, Fault] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)
    taken: list[Request] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        return [outcome for request in self.taken for outcome in request.document["test_outcomes"]]

    @property
    def keys(self) -> Counter[str]:
        """How often it has each test's outcome."""
        return Counter(str(outcome["key"]) for outcome in self.outcomes)


class _Handler(http.server.BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        place = len(self.receiver.seen)
        self.receiver.seen.append(request)
        fault = self.receiver.faults.get(place)
        if fault is None or fault(self, request):
            self.take(request)

    def take(self, request: Request) -> None:
        if request.path != self.receiver.path:
            self.say(404, {"error": "Not Found"})
        elif self.receiver.is_strict and request.headers.get("serviceaccountauthenticationkey") != KEY:
            self.say(401, {"error": "Unauthorized"})
        elif len(request.body) > 100 * 1024:
            self.say(413, {"error": "Request Entity Too Large"})
        else:
            try:
                if self.receiver.is_strict:
                    validate(request.document)
                if self.receiver.dislikes and self.receiver.dislikes.encode() in request.body:
                    raise Refused("Invalid request: {'test_outcomes': {0: {'name': ['no']}}}")
            except Refused as refused:
                self.say(400, {"error": str(refused)})
                return
            self.receiver.taken.append(request)
            self.say(204)

    def say(self, status: int, document: object = None, **headers: str) -> None:
        said = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def reset(self) -> None:
        """End the connection as a machine that fails does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: Any) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client that was killed is part of the test."""


def answering(status: int, document: object = None, **headers: str) -> Fault:
    """Not taken; the answer is another."""

    def fault(handler: _Handler, request: Request) -> bool:
        handler.say(status, document or {"error": "on request"}, **headers)
        return False

    return fault


def cut_off(*, taken: bool) -> Fault:
    """The body is read and the connection ends, whether the request is kept or not."""

    def fault(handler: _Handler, request: Request) -> bool:
        if taken:
            handler.receiver.taken.append(request)
        handler.reset()
        return False

    return fault


def held(handler: _Handler, request: Request) -> bool:
    """Kept, and answered when the test says so."""
    handler.receiver.taken.append(request)
    handler.receiver.came.set()
    handler.receiver.go_on.wait(120)
    handler.reset()
    return False


@contextmanager
def receiving(certificates: Certificates | None = None) -> Iterator[Receiver]:
    """A receiver for as long as the block lasts; behind TLS with the certificate of ``localhost``."""

    class Handler(_Handler):
        pass

    with _Server(("127.0.0.1", 0), Handler) as server:
        place = f"http://127.0.0.1:{server.server_address[1]}"
        if certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.server_file, certificates.server_key_file)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            place = f"https://localhost:{server.server_address[1]}"
        receiver = Receiver(f"{place}/api")
        Handler.receiver = receiver
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.go_on.set()
            server.shutdown()
            thread.join(60)


_SUITE = """
    WITH c AS (INSERT INTO connections (project_code, sql_flavor, sql_flavor_code, project_host, project_port,
                                        project_db, connection_name)
               VALUES ('DEFAULT', 'postgresql', 'postgresql', 'db.example.com', '5432', 'shop', 'pg')
               RETURNING connection_id),
         g AS (INSERT INTO table_groups (project_code, connection_id, table_groups_name, table_group_schema,
                                         profiling_table_set, profiling_include_mask, profiling_exclude_mask)
               SELECT 'DEFAULT', connection_id, 'tables of ' || %s, 'sales',
                      '''orders'',''customers''', '%%', 'tmp%%'
               FROM c RETURNING id, connection_id)
    INSERT INTO test_suites (project_code, test_suite, connection_id, table_groups_id)
    SELECT 'DEFAULT', %s, connection_id, id FROM g RETURNING id
"""
# Of each type a test, or as many as are asked for; what stock TestGen can export is sent by both alike.
_DEFINITIONS = """
    INSERT INTO test_definitions (table_groups_id, test_suite_id, test_type, schema_name, table_name, column_name,
                                  threshold_value, test_active, lock_refresh)
    SELECT s.table_groups_id, s.id, t.test_type, 'sales', 'orders_' || n, 'amount', (10 + n)::text, 'Y', 'Y'
    FROM test_suites s, test_types t, generate_series(1, %s) n WHERE s.id = %s AND t.test_type = ANY(%s)
"""
_RESULTS = """
    INSERT INTO test_results (test_type, test_suite_id, test_definition_id, test_time, schema_name, table_name,
                              column_names, input_parameters, result_code, result_status, result_message,
                              result_measure, threshold_value, test_run_id, table_groups_id, severity,
                              observability_status)
    SELECT d.test_type, d.test_suite_id, d.id, timestamp '2026-03-01 02:03:04.56', d.schema_name, d.table_name,
           d.column_name || ',note', 'Threshold=10, List=a,b , Empty= ', 1,
           (ARRAY['Passed', 'Failed', 'Warning'])[1 + mod(row_number() OVER (ORDER BY d.id), 3)],
           'Count: 7, Threshold: 10 "é" %%', '7.25', d.threshold_value, %s, d.table_groups_id, 'Fail', 'Queued'
    FROM test_definitions d WHERE d.test_suite_id = %s
"""


@dataclass(frozen=True)
class Made:
    """A suite with a finished run whose results wait."""

    suite: str
    suite_id: str
    run_id: str


def make_results(
    connection: "psycopg.Connection[Any]", suite: str, types: Sequence[str], each: int = 1, own_id: bool = True
) -> Made:
    """A suite with ``each`` tests of every type, and a run of it; ``own_id``: runs are called by their jobs."""
    suite_id = _one(connection, _SUITE, suite, suite)
    connection.execute(_DEFINITIONS, (each, suite_id, list(types)))
    return Made(suite, str(suite_id), make_run(connection, str(suite_id), own_id))


def make_run(connection: "psycopg.Connection[Any]", suite_id: str, own_id: bool = True) -> str:
    """One run more of a suite; its id."""
    job = _one(
        connection,
        "INSERT INTO job_executions (id, project_code, job_key, kwargs, source, status, started_at, completed_at)"
        " VALUES (gen_random_uuid(), 'DEFAULT', 'run-tests', jsonb_build_object('test_suite_id', %s::text), 'cli',"
        " 'completed', now() - interval '1 minute', now()) RETURNING id",
        suite_id,
    )
    if own_id:
        connection.execute("INSERT INTO test_runs (id, test_suite_id) VALUES (%s, %s)", (job, suite_id))
        run = job
    else:
        run = _one(
            connection,
            "INSERT INTO test_runs (id, test_suite_id, job_execution_id)"
            " VALUES (gen_random_uuid(), %s, %s) RETURNING id",
            suite_id,
            job,
        )
    connection.execute(_RESULTS, (run, suite_id))
    connection.commit()
    return str(job)


def all_types(connection: "psycopg.Connection[Any]") -> list[str]:
    return [row[0] for row in connection.execute("SELECT test_type FROM test_types ORDER BY 1").fetchall()]


def _one(connection: "psycopg.Connection[Any]", statement: str, *values: object) -> object:
    row = connection.execute(statement.encode(), values).fetchone()
    assert row
    return row[0]
