from pathlib import Path

import pytest

from dqctl.errors import MissingSetting, UsageError
from dqctl.settings import Settings, load, missing, variable


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_flag_beats_a_variable_beats_the_stacks_file_beats_the_users(tmp_path: Path) -> None:
    places = {"home": str(tmp_path)}
    write(tmp_path / "settings.toml", 'catalog = "user"')
    assert load(places, {}).catalog == "user"
    write(tmp_path / "stacks/default/settings.toml", 'catalog = "stack"')
    assert load(places, {}).catalog == "stack"
    assert load(places, {"DQCTL_CATALOG": "variable"}).catalog == "variable"
    assert load({**places, "catalog": "flag"}, {"DQCTL_CATALOG": "variable"}).catalog == "flag"


def test_the_file_of_the_chosen_stack_is_read(tmp_path: Path) -> None:
    write(tmp_path / "stacks/other/settings.toml", 'schema_name = "theirs"')
    environment = {"DQCTL_HOME": str(tmp_path), "DQCTL_STACK": "other"}
    assert load({}, environment).schema_name == "theirs"
    assert load({"stack": "default"}, environment).schema_name == "data_quality"


def test_a_secret_comes_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    write(tmp_path / "token", "dapi 123\n")
    settings = load({"home": tmp_path}, {"DATABRICKS_TOKEN_FILE": str(tmp_path / "token")})
    assert settings.databricks_token
    assert settings.databricks_token.get_secret_value() == "dapi 123"


def test_a_secret_never_shows_in_settings(tmp_path: Path) -> None:
    settings = load({"home": tmp_path}, {"DATABRICKS_TOKEN": "dapi-secret"})
    assert "dapi-secret" not in repr(settings) + str(settings)


def test_an_empty_secret_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "token", "\n")
    with pytest.raises(UsageError, match="empty"):
        load({"home": tmp_path}, {"DATABRICKS_TOKEN_FILE": str(tmp_path / "token")})


def test_a_secret_in_a_settings_file_is_refused_without_showing_it(tmp_path: Path) -> None:
    write(tmp_path / "settings.toml", 'databricks_token = "dapi-secret"')
    with pytest.raises(UsageError) as caught:
        load({"home": tmp_path}, {})
    assert "DATABRICKS_TOKEN_FILE" in caught.value.hint
    assert "dapi-secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("text", ["nonsense = 1", "not toml", "stack = 7"])
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str) -> None:
    write(tmp_path / "settings.toml", text)
    with pytest.raises(UsageError) as caught:
        load({"home": tmp_path}, {})
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DQCTL_STACK", "../etc"),
        ("DQCTL_STACK", "A b"),
        ("DQCTL_JOB_TIMEOUT", "soon"),
        ("DQCTL_JOB_TIMEOUT", "-1"),
    ],
)
def test_a_value_that_does_not_fit_names_its_variable(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({"home": tmp_path}, {name: value})
    assert name in caught.value.hint


def test_a_missing_setting_names_every_place_that_was_looked_at(tmp_path: Path) -> None:
    settings = load({"home": tmp_path, "stack": "mine"}, {})
    error = missing(settings, "databricks_host")
    assert isinstance(error, MissingSetting)
    for place in ("DATABRICKS_HOST", str(tmp_path / "stacks/mine/settings.toml"), str(tmp_path / "settings.toml")):
        assert place in error.hint
    assert "DATABRICKS_TOKEN_FILE" in missing(settings, "databricks_token").hint


def test_a_host_may_be_written_as_an_address(tmp_path: Path) -> None:
    settings = load({"home": tmp_path, "databricks_host": "https://adb-1.2.azuredatabricks.net/?o=1"}, {})
    assert settings.databricks_host == "adb-1.2.azuredatabricks.net"


def test_the_variables_of_the_published_schema_are_the_documented_ones() -> None:
    assert variable("catalog") == "DQCTL_CATALOG"
    assert variable("schema_name") == "DQCTL_SCHEMA"
    assert variable("databricks_host") == "DATABRICKS_HOST"
    assert all(field.description for field in Settings.model_fields.values())


def test_a_settings_file_that_is_named_has_to_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DQCTL_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(UsageError, match=r"DQCTL_CONFIG names .* which is not there"):
        load({"home": tmp_path}, {})


def test_a_host_by_variable_beats_a_local_workspace_by_file_and_the_other_way_round(tmp_path: Path) -> None:
    write(tmp_path / "settings.toml", 'workspace = "/srv/workspace"\nhttp_path = "/sql/1.0/warehouses/a"')
    settings = load({"home": tmp_path}, {"DATABRICKS_HOST": "h.example.com", "DATABRICKS_WAREHOUSE_ID": "b"})
    assert settings.workspace is None
    assert settings.http_path is None
    settings = load({"home": tmp_path, "workspace": tmp_path}, {"DATABRICKS_HOST": "h.example.com"})
    assert settings.databricks_host is None
    assert settings.workspace == tmp_path


@pytest.mark.parametrize(
    ("variables", "left"),
    [
        ({"DQCTL_WAREHOUSE": "Nightly"}, (None, None, "Nightly")),
        ({"DATABRICKS_WAREHOUSE_ID": "b"}, ("b", None, None)),
        ({"DQCTL_HTTP_PATH": "/p"}, (None, "/p", None)),
        ({}, ("a", None, None)),
    ],
)
def test_a_warehouse_named_higher_up_replaces_the_one_below_however_either_is_named(
    tmp_path: Path, variables: dict[str, str], left: tuple[str | None, ...]
) -> None:
    write(tmp_path / "settings.toml", 'databricks_warehouse_id = "a"')
    found = load({"home": tmp_path}, variables)
    assert (found.databricks_warehouse_id, found.http_path, found.warehouse_name) == left


def test_a_profile_by_variable_beats_a_local_workspace_by_file_and_the_other_way_round(tmp_path: Path) -> None:
    write(tmp_path / "settings.toml", 'workspace = "/srv/workspace"')
    assert load({"home": tmp_path}, {"DATABRICKS_CONFIG_PROFILE": "night"}).workspace is None
    write(tmp_path / "settings.toml", 'databricks_config_profile = "night"')
    found = load({"home": tmp_path}, {"DQCTL_WORKSPACE": "/srv/workspace"})
    assert (found.databricks_config_profile, found.workspace) == (None, Path("/srv/workspace"))
