"""Where secrets of a systems file are: a variable, a file, a scope; never in the file itself."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from dqctl.errors import UsageError
from dqctl.testgen.systems.references import SecretReference, Sources


def resolve(reference: object, base: Path, scopes: object = None, **environment: str) -> str:
    sources = Sources(environment=environment, base=base, scopes=scopes)  # type: ignore[arg-type]
    return sources.resolve(SecretReference.model_validate(reference), "connection c").get_secret_value()


def test_a_variable_or_the_file_that_it_names_with_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    assert resolve({"env": "TOKEN"}, tmp_path, TOKEN="plain", TOKEN_FILE="/nowhere") == "plain"
    assert resolve({"env": "TOKEN"}, tmp_path, TOKEN_FILE=str(file)) == "from-a-file"
    assert resolve({"file": "token"}, tmp_path) == "from-a-file"


def test_a_scope_is_asked_for_the_key(tmp_path: Path) -> None:
    assert resolve({"scope": "s", "key": "k"}, tmp_path, lambda *asked: SecretStr("/".join(asked))) == "s/k"


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ({"env": "TOKEN"}, ("variable TOKEN;", "TOKEN_FILE", "{file: PATH}")),
        ({"scope": "s", "key": "k"}, ("DATABRICKS_HOST", "DQCTL_WORKSPACE", "{env: NAME}")),
    ],
)
def test_one_that_is_nowhere_names_every_place(tmp_path: Path, reference: object, names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="connection c") as missing:
        resolve(reference, tmp_path)
    assert all(name in missing.value.hint for name in names)


@pytest.mark.parametrize(
    "reference",
    [
        "dapi-literal-secret",
        {},
        {"env": "A", "file": "b"},
        {"scope": "s"},
        {"key": "k"},
        {"env": "A", "key": "k"},
        {"env": "A", "scope": "s", "key": "k"},
    ],
)
def test_a_literal_or_two_places_are_refused(reference: object) -> None:
    with pytest.raises(ValidationError) as refused:
        SecretReference.model_validate(reference)
    assert "{scope: SCOPE, key: KEY}" in str(refused.value.errors()[0]["msg"])


def test_a_secret_that_testgen_cannot_store_is_refused_wherever_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="outside ASCII"):
        resolve({"scope": "s", "key": "k"}, tmp_path, lambda *_: SecretStr("pässword"))
