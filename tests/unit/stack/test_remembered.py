import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.errors import UsageError
from dqctl.settings import load
from dqctl.stack.remembered import remember


def test_what_is_remembered_is_what_load_finds(tmp_path: Path) -> None:
    path = tmp_path / "stacks" / "default" / "settings.toml"
    path.parent.mkdir(parents=True)
    assert remember(path, {"catalog": "lake", "http_path": "/sql/1.0/warehouses/a"})
    found = load({"home": tmp_path}, {})
    assert (found.catalog, found.http_path) == ("lake", "/sql/1.0/warehouses/a")


def test_again_changes_nothing_and_more_is_added(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    assert remember(path, {"catalog": "a"})
    assert not remember(path, {"catalog": "a"})
    assert not remember(path, {})
    assert remember(path, {"schema_name": "b"})
    assert tomllib.loads(path.read_text()) == {"catalog": "a", "schema_name": "b"}


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("databricks_host", "workspace"),
        ("databricks_config_profile", "workspace"),
        ("databricks_warehouse_id", "http_path"),
        ("warehouse_name", "http_path"),
        ("warehouse_name", "databricks_warehouse_id"),
    ],
)
def test_what_would_have_counted_in_its_place_is_forgotten(tmp_path: Path, new: str, old: str) -> None:
    path = tmp_path / "settings.toml"
    remember(path, {old: "/before", "catalog": "a"})
    assert remember(path, {new: "after"})
    assert tomllib.loads(path.read_text()) == {new: "after", "catalog": "a"}
    with pytest.raises(UsageError, match="are both given"):
        remember(path, {new: "x", old: "/y"})


def test_nothing_given_leaves_no_file(tmp_path: Path) -> None:
    assert not remember(tmp_path / "settings.toml", {})
    assert not (tmp_path / "settings.toml").exists()


@pytest.mark.parametrize("name", ["databricks_token", "databricks_client_secret", "home", "stack", "colour"])
def test_secrets_and_what_is_no_setting_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=name):
        remember(tmp_path / "settings.toml", {name: "value-of-it"})
    assert not (tmp_path / "settings.toml").exists()


def test_a_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("catalog = ")
    with pytest.raises(UsageError, match="cannot be read"):
        remember(path, {"catalog": "a"})
    assert path.read_text() == "catalog = "


@given(value=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_the_file(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    path = tmp_path_factory.mktemp("toml") / "settings.toml"
    remember(path, {"catalog": value})
    assert tomllib.loads(path.read_text()) == {"catalog": value}
