import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from dqctl.localworkspace.wire.paths import Paths


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("//sql/1.0/warehouses/local", "/sql/1.0/warehouses/local"),
        ("///api", "/api"),
        ("/a//b", "/a//b"),
        ("//", "/"),
    ],
)
def test_a_path_begins_with_one_slash(written: str, meant: str) -> None:
    seen: list[str] = []

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        seen.append(scope["path"])

    async def nothing(*_: Any) -> Any:
        return {}

    given = {"type": "http", "path": written}
    asyncio.run(Paths(app)(given, nothing, nothing))
    assert seen == [meant]
    assert given["path"] == written  # the server's own record of the request is left alone
