"""Unity Catalog, files and tokens through the real databricks-sdk."""

import email.utils
import hashlib
import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient, errors
from databricks.sdk.core import Config
from databricks.sdk.errors import (
    AlreadyExists,
    BadRequest,
    NotFound,
    PermissionDenied,
    ResourceAlreadyExists,
    ResourceDoesNotExist,
)
from databricks.sdk.service.catalog import PermissionsChange, Privilege, TableType, VolumeType

from dqctl.localworkspace.endpoint import Endpoint
from rest_clients import ask, by_name, sdk_client

pytestmark = pytest.mark.local


@pytest.fixture(autouse=True)
def _by_name(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    by_name(endpoint, monkeypatch)


@pytest.fixture
def client(endpoint: Endpoint) -> WorkspaceClient:
    return sdk_client(endpoint)


def execute(client: WorkspaceClient, *statements: str) -> None:
    for statement in statements:
        status = client.statement_execution.execute_statement(statement, "local", wait_timeout="50s").status
        assert status
        assert status.error is None, status.error


@pytest.fixture(scope="module")
def volume(endpoint: Endpoint) -> str:
    """A volume for all tests of files."""
    for statement in ("CREATE SCHEMA main.filed", "CREATE VOLUME main.filed.v"):
        body = f'{{"statement": "{statement}", "warehouse_id": "local"}}'
        status, _, answer = ask(endpoint, "POST", "/api/2.0/sql/statements", body)
        assert (status, answer["status"]["state"]) == (200, "SUCCEEDED")
    return "/Volumes/main/filed/v"


@pytest.mark.feature("REST", "Unity Catalog: catalogs and schemas are made, changed and removed")
def test_catalogs_and_schemas_come_and_go(client: WorkspaceClient) -> None:
    made = client.catalogs.create("made", comment="it's one")
    assert (made.name, made.comment, made.metastore_id) == (
        "made",
        "it's one",
        client.metastores.summary().metastore_id,
    )
    with pytest.raises(BadRequest, match="already exists"):
        client.catalogs.create("made")
    schema = client.schemas.create("raw", "made", comment="first")
    assert schema.full_name == "made.raw"
    assert client.schemas.update("made.raw", comment="second").comment == "second"
    assert {each.name for each in client.schemas.list("made")} == {"default", "information_schema", "raw"}
    with pytest.raises(errors.NotImplemented, match="new_name"):
        client.schemas.update("made.raw", new_name="other")
    with pytest.raises(errors.NotImplemented, match="storage_root"):
        client.schemas.create("elsewhere", "made", storage_root="s3://somewhere")
    execute(client, "CREATE TABLE made.raw.t (n INT)")
    with pytest.raises(BadRequest):
        client.schemas.delete("made.raw")
    client.schemas.delete("made.raw", force=True)
    with pytest.raises(NotFound, match=r"Schema 'made\.raw' does not exist"):
        client.schemas.get("made.raw")
    client.catalogs.delete("made", force=True)
    with pytest.raises(NotFound) as refused:
        client.catalogs.get("made")
    assert refused.value.error_code == "CATALOG_DOES_NOT_EXIST"
    assert refused.value.get_error_details().error_info
    with pytest.raises(NotFound):
        list(client.schemas.list("made"))
    for nonsense in ("", "a.b", "a/b"):
        with pytest.raises((BadRequest, NotFound)):
            client.catalogs.create(nonsense)


@pytest.mark.feature("REST", "Unity Catalog: tables and views, their columns, summaries, whether they exist")
def test_tables_are_described(client: WorkspaceClient, endpoint: Endpoint) -> None:
    execute(
        client,
        "CREATE SCHEMA main.told",
        "CREATE TABLE main.told.facts (id BIGINT NOT NULL COMMENT 'key', amount DECIMAL(9,2), tags ARRAY<STRING>)"
        " COMMENT 'what happened'",
        "CREATE VIEW main.told.seen AS SELECT id FROM main.told.facts",
    )
    facts = client.tables.get("main.told.facts")
    assert (facts.table_type, facts.comment, facts.data_source_format) == (
        TableType.MANAGED, "what happened", facts.data_source_format,
    )  # fmt: skip
    assert facts.table_id == client.tables.get("main.told.facts").table_id
    assert str(facts.storage_location).startswith("file:///")
    columns = [(each.name, each.type_text, str(each.type_name), each.nullable) for each in facts.columns or []]
    assert columns == [
        ("id", "bigint", "ColumnTypeName.LONG", False),
        ("amount", "decimal(9,2)", "ColumnTypeName.DECIMAL", True),
        ("tags", "array<string>", "ColumnTypeName.ARRAY", True),
    ]
    assert (facts.columns or [])[0].comment == "key"
    seen = client.tables.get("main.told.seen")
    assert seen.table_type is TableType.VIEW
    assert "main.told.facts" in str(seen.view_definition).replace("`", "")
    summaries = client.tables.list_summaries("main", schema_name_pattern="to_d", table_name_pattern="f%")
    assert [each.full_name for each in summaries] == ["main.told.facts"]
    assert client.tables.exists("main.told.facts").table_exists
    assert not client.tables.exists("main.nowhere.facts").table_exists
    client.tables.delete("main.told.seen")
    client.tables.delete("main.told.facts")
    with pytest.raises(NotFound, match="does not exist"):
        client.tables.delete("main.told.facts")
    with pytest.raises(BadRequest, match="3 parts"):
        client.tables.get("facts")


@pytest.mark.feature("REST", "Unity Catalog: lists in pages")
def test_lists_come_in_pages(client: WorkspaceClient, endpoint: Endpoint) -> None:
    execute(
        client, "CREATE SCHEMA main.paged", *(f"CREATE VIEW main.paged.v{n} AS SELECT 1 AS n" for n in range(5))
    )
    base = "/api/2.1/unity-catalog/tables?catalog_name=main&schema_name=paged"
    found, token, pages = [], "", 0
    while True:
        _, _, answer = ask(endpoint, "GET", f"{base}&max_results=2&page_token={token}")
        found += [each["name"] for each in answer["tables"]]
        pages += 1
        if "next_page_token" not in answer:
            break
        token = answer["next_page_token"]
    assert (found, pages) == ([f"v{n}" for n in range(5)], 3)
    assert [each.name for each in client.tables.list("main", "paged", max_results=3)] == found
    for wrong in ("max_results=-1", "max_results=x", "page_token=%ff", "page_token=!"):
        assert ask(endpoint, "GET", f"{base}&{wrong}")[0] == 400, wrong


@pytest.mark.feature("REST", "Unity Catalog: volumes")
def test_volumes_come_and_go(client: WorkspaceClient) -> None:
    client.schemas.create("volumed", "main")
    made = client.volumes.create("main", "volumed", "incoming", VolumeType.MANAGED, comment="drop here")
    assert (made.full_name, made.comment) == ("main.volumed.incoming", "drop here")
    client.files.upload("/Volumes/main/volumed/incoming/a.csv", io.BytesIO(b"a,b\n1,2\n"))
    assert [each.name for each in client.volumes.list("main", "volumed")] == ["incoming"]
    assert client.volumes.read("main.volumed.incoming").volume_id == made.volume_id
    with pytest.raises(ResourceAlreadyExists):
        client.volumes.create("main", "volumed", "incoming", VolumeType.MANAGED)
    with pytest.raises(errors.NotImplemented):
        client.volumes.create("main", "volumed", "e", VolumeType.EXTERNAL, storage_location="s3://x/y")
    client.volumes.delete("main.volumed.incoming")
    with pytest.raises(NotFound):
        client.files.get_metadata("/Volumes/main/volumed/incoming/a.csv")


@pytest.mark.feature("REST", "Unity Catalog: grants are kept and shown, inherited ones as well")
def test_grants_are_kept_and_shown(client: WorkspaceClient) -> None:
    execute(client, "CREATE SCHEMA main.granted", "CREATE TABLE main.granted.t (n INT)")
    who = "o'neill@example.com"
    given = client.grants.update(
        "table",
        "main.granted.t",
        changes=[PermissionsChange(principal=who, add=[Privilege.SELECT, Privilege.MODIFY])],
    )
    assert [(each.principal, set(each.privileges or [])) for each in given.privilege_assignments or []] == [
        (who, {Privilege.SELECT, Privilege.MODIFY})
    ]
    on_schema = [PermissionsChange(principal=who, add=[Privilege.USE_SCHEMA])]
    client.grants.update("schema", "main.granted", changes=on_schema)
    client.grants.update(
        "table", "main.granted.t", changes=[PermissionsChange(principal=who, remove=[Privilege.MODIFY])]
    )
    (left,) = client.grants.get("table", "main.granted.t").privilege_assignments or []
    assert left.privileges == [Privilege.SELECT]
    (effective,) = client.grants.get_effective("table", "main.granted.t").privilege_assignments or []
    found = {(each.privilege, each.inherited_from_name) for each in effective.privileges or []}
    assert found == {(Privilege.SELECT, None), (Privilege.USE_SCHEMA, "main.granted")}
    assert not client.grants.get("table", "main.granted.t", principal="nobody").privilege_assignments
    with pytest.raises(NotFound):
        client.grants.get("table", "main.granted.nothing")
    with pytest.raises(errors.NotImplemented, match="external_location"):
        client.grants.get("external_location", "x")


@pytest.mark.feature("REST", "Jobs, clusters, DBFS, tags, notebooks: refused by name with 501")
def test_what_is_not_there_is_named(client: WorkspaceClient) -> None:
    for feature, call in {
        "Jobs: GET /api/2.2/jobs/list": lambda: list(client.jobs.list()),
        "Clusters": lambda: list(client.clusters.list()),
        "DBFS": lambda: list(client.dbfs.list("/")),
        "Tags": lambda: list(client.entity_tag_assignments.list("tables", "main.a.b")),
        "Notebooks": lambda: list(client.workspace.list("/")),
        "Query history": client.query_history.list,
        "Pipelines": lambda: list(client.pipelines.list_pipelines()),
    }.items():
        with pytest.raises(errors.NotImplemented, match=f"{feature}.* is not implemented by the local workspace"):
            call()


@pytest.mark.feature("REST", "Files: uploads in parts, downloads in ranges and in parallel")
def test_a_large_file_goes_in_parts_and_comes_in_ranges(endpoint: Endpoint, volume: str, tmp_path: Path) -> None:
    client = WorkspaceClient(
        config=Config(
            host=f"https://{endpoint.host}",
            token=endpoint.token_file.read_text().strip(),
            auth_type="pat",
            files_ext_multipart_upload_min_stream_size=1024 * 1024,
            files_ext_multipart_upload_default_part_size=1024 * 1024,
            files_ext_parallel_download_min_file_size=1024 * 1024,
            files_ext_parallel_download_default_part_size=1024 * 1024,
        )
    )
    content = os.urandom(5 * 1024 * 1024 + 17)
    path = f"{volume}/deep/down/grüße.bin"
    client.files.upload(path, io.BytesIO(content), part_size=1024 * 1024)
    assert client.files.download(path).contents.read() == content  # type: ignore[union-attr]
    client.files.download_to(path, str(tmp_path / "parallel"), use_parallel=True, parallelism=4)
    assert hashlib.sha256((tmp_path / "parallel").read_bytes()).digest() == hashlib.sha256(content).digest()
    (tmp_path / "source").write_bytes(content[::-1])
    with pytest.raises(AlreadyExists):
        client.files.upload_from(path, str(tmp_path / "source"), overwrite=False, use_parallel=True)
    client.files.upload_from(
        path, str(tmp_path / "source"), overwrite=True, use_parallel=True, part_size=1024 * 1024
    )
    assert client.files.download(path).contents.read() == content[::-1]  # type: ignore[union-attr]
    assert list((endpoint.data_dir / "uploads").iterdir()) == []


@pytest.mark.feature("REST", "Files: a multipart upload that is aborted or wrong leaves nothing")
def test_an_upload_that_fails_leaves_nothing(endpoint: Endpoint, volume: str) -> None:
    path, base = f"{volume}/never.bin", "/api/2.0/fs"
    begun = ask(endpoint, "POST", f"{base}/files{path}?action=initiate-upload")[2]
    token = begun["multipart_upload"]["session_token"]
    about = f'{{"path": "{path}", "session_token": "{token}", "start_part_number": 1, "count": 2}}'
    urls = [
        each["url"]
        for each in ask(endpoint, "POST", f"{base}/create-upload-part-urls", about)[2]["upload_part_urls"]
    ]
    sent = [url.partition(str(endpoint.port))[2] for url in urls]
    status, headers, _ = ask(endpoint, "PUT", sent[0], b"part one", {"Authorization": ""})
    assert status == 200
    complete = f"{base}/files{path}?action=complete-upload&upload_type=multipart&session_token={token}"
    etag = headers["ETag"].strip('"')
    for parts in (
        "[]",
        '[{"part_number": 2, "etag": "x"}]',
        f'[{{"part_number": 1, "etag": "{etag[::-1]}"}}]',
        f'[{{"part_number": 1, "etag": "{etag}"}}, {{"part_number": 1, "etag": "{etag}"}}]',
        '[{"part_number": "one"}]',
        '{"part_number": 1}',
    ):
        assert ask(endpoint, "POST", complete, f'{{"parts": {parts}}}')[0] == 400, parts
    assert ask(endpoint, "PUT", sent[1].replace("/parts/", "/parts/x"), b"other", {"Authorization": ""})[0] == 403
    assert ask(endpoint, "HEAD", f"{base}/files{path}")[0] == 404
    abort = ask(endpoint, "POST", f"{base}/create-abort-upload-url", about)[2]["abort_upload_url"]["url"]
    assert ask(endpoint, "DELETE", abort.partition(str(endpoint.port))[2], headers={"Authorization": ""})[0] == 200
    assert ask(endpoint, "PUT", sent[1], b"too late", {"Authorization": ""})[0] == 404
    assert ask(endpoint, "POST", complete, f'{{"parts": [{{"part_number": 1, "etag": "{etag}"}}]}}')[0] == 404
    assert list((endpoint.data_dir / "uploads").iterdir()) == []
    old = f'{about[:-1]}, "expire_time": "2020-01-01T00:00:00Z"}}'
    begun = ask(endpoint, "POST", f"{base}/files{path}?action=initiate-upload")[2]
    old = old.replace(token, begun["multipart_upload"]["session_token"])
    url = ask(endpoint, "POST", f"{base}/create-upload-part-urls", old)[2]["upload_part_urls"][0]["url"]
    status, _, said = ask(endpoint, "PUT", url.partition(str(endpoint.port))[2], b"x", {"Authorization": ""})
    assert (status, b"Request has expired" in said) == (403, True)
    again = about.replace(token, begun["multipart_upload"]["session_token"])
    abort = ask(endpoint, "POST", f"{base}/create-abort-upload-url", again)[2]["abort_upload_url"]["url"]
    assert ask(endpoint, "DELETE", abort.partition(str(endpoint.port))[2], headers={"Authorization": ""})[0] == 200


@pytest.mark.feature("REST", "Files: ranges and conditions of a download")
def test_downloads_take_ranges_and_conditions(endpoint: Endpoint, volume: str) -> None:
    path = f"/api/2.0/fs/files{volume}/ranged.txt"
    assert ask(endpoint, "PUT", path, b"0123456789")[0] == 204
    status, headers, content = ask(endpoint, "GET", path, headers={"Range": "bytes=8-"})
    assert (status, headers["Content-Range"], content) == (206, "bytes 8-9/10", 89)
    assert ask(endpoint, "GET", path, headers={"Range": "bytes=20-"})[0] == 416
    before = email.utils.formatdate(time.time() - 3600, usegmt=True)
    assert ask(endpoint, "GET", path, headers={"If-Unmodified-Since": before})[0] == 412
    after = email.utils.formatdate(time.time() + 3600, usegmt=True)
    assert ask(endpoint, "GET", path, headers={"If-Unmodified-Since": after})[0] == 200
    status, headers, _ = ask(endpoint, "HEAD", path)
    assert (status, headers["Content-Length"]) == (200, "10")


@pytest.mark.feature("REST", "Files: directories in pages")
def test_directories_are_listed_in_pages(client: WorkspaceClient, endpoint: Endpoint, volume: str) -> None:
    for name in "dbca":
        client.files.upload(f"{volume}/listed/{name}", io.BytesIO(b"x"))
    found = list(client.files.list_directory_contents(f"{volume}/listed", page_size=3))
    assert [each.name for each in found] == list("abcd")
    assert found[0].path == f"{volume}/listed/a"
    answer = ask(endpoint, "GET", f"/api/2.0/fs/directories{volume}/listed?page_size=3")[2]
    assert (len(answer["contents"]), "next_page_token" in answer) == (3, True)
    client.files.create_directory(f"{volume}/listed/sub/subsub")
    client.files.get_directory_metadata(f"{volume}/listed/sub/subsub")
    with pytest.raises(BadRequest, match="not empty"):
        client.files.delete_directory(f"{volume}/listed")
    with pytest.raises(NotFound):
        list(client.files.list_directory_contents(f"{volume}/nowhere"))


@pytest.mark.feature("REST", "Files: of uploads at the same time that may not overwrite, one wins")
def test_of_uploads_at_the_same_time_one_wins(endpoint: Endpoint, volume: str) -> None:
    start = threading.Barrier(6)

    def upload(number: int) -> int:
        start.wait(60)
        return ask(endpoint, "PUT", f"/api/2.0/fs/files{volume}/raced", chr(96 + number) * 200_000)[0]

    with ThreadPoolExecutor(6) as pool:
        states = list(pool.map(upload, range(1, 7)))
    assert sorted(states) == [204, *[409] * 5]
    winner = states.index(204) + 1
    assert ask(endpoint, "GET", f"/api/2.0/fs/files{volume}/raced")[2] == chr(96 + winner).encode() * 200_000


@pytest.mark.feature("REST", "Personal access tokens: made with a lifetime, listed, deleted")
def test_tokens_are_made_end_and_are_deleted(client: WorkspaceClient, endpoint: Endpoint) -> None:
    made = client.tokens.create(comment="for a night", lifetime_seconds=3600)
    assert made.token_info
    assert int(made.token_info.expiry_time or 0) - int(made.token_info.creation_time or 0) == 3_600_000
    other = sdk_client(endpoint, made.token_value)
    assert other.current_user.me().user_name == client.current_user.me().user_name
    assert {each.comment for each in client.tokens.list()} == {"the local workspace's", "for a night"}
    client.tokens.delete(str(made.token_info.token_id))
    with pytest.raises(PermissionDenied, match="Invalid access token"):
        other.current_user.me()
    with pytest.raises(ResourceDoesNotExist):
        client.tokens.delete(str(made.token_info.token_id))
    (own,) = client.tokens.list()
    with pytest.raises(BadRequest, match="cannot be deleted"):
        client.tokens.delete(str(own.token_id))
    short = client.tokens.create(lifetime_seconds=1)
    ends = time.monotonic() + 60
    while (
        ask(endpoint, "GET", "/api/2.0/token/list", headers={"Authorization": f"Bearer {short.token_value}"})[0]
        == 200
    ):
        assert time.monotonic() < ends, "a token of a second does not end"
        time.sleep(0.1)
    assert str(short.token_value) not in (endpoint.data_dir / "server" / "tokens.json").read_text()
    with pytest.raises(BadRequest, match="lifetime_seconds"):
        client.tokens.create(lifetime_seconds=0)
