import time
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from dqctl.localworkspace.contract import Staging as StagingResult
from dqctl.localworkspace.tokens import Signer
from dqctl.localworkspace.wire.staging import LIFETIME, PATH, Staging, is_permitted

SIGNER = Signer(b"k" * 32)
FILE = "/Volumes/main/s/v/a b/ü?#.bin"


def presigned(operation: str = "PUT") -> tuple[str, dict[str, str]]:
    url = Staging(SIGNER, "https://host:1").url(StagingResult(operation, None, FILE))  # type: ignore[arg-type]
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return unquote(parts.path).removeprefix(PATH), query


def test_a_presigned_url_is_good_for_its_file_and_method() -> None:
    path, query = presigned()
    assert path == FILE
    assert is_permitted(SIGNER, "PUT", path, **query)


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_it_is_good_for_no_other_method(method: str) -> None:
    path, query = presigned()
    assert not is_permitted(SIGNER, method, path, **query)


def test_it_is_good_for_no_other_file_operation_or_server() -> None:
    path, query = presigned()
    assert not is_permitted(SIGNER, "PUT", path + "x", **query)
    assert not is_permitted(SIGNER, "GET", path, **(query | {"operation": "GET"}))
    assert not is_permitted(Signer(b"o" * 32), "PUT", path, **query)
    assert not is_permitted(SIGNER, "PUT", path, "PUT", "", "")


def test_it_ends_after_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    path, query = presigned()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + LIFETIME + 2)
    assert not is_permitted(SIGNER, "PUT", path, **query)
    later = query | {"expires": str(int(query["expires"]) + 1000)}
    assert not is_permitted(SIGNER, "PUT", path, **later)
