"""Reading systems files: every mistake has its line and its remedy, and no value is repeated."""

import io
import re
from pathlib import Path

import pytest

from dqctl.errors import UsageError
from dqctl.testgen.systems.declaration import Declaration
from dqctl.testgen.systems.document import parse, read

EXAMPLES = Path(__file__).parents[4] / "examples" / "systems"

GOOD = """\
version: 1
systems:
  - name: shop
    connections:
      - name: pg
        flavor: postgresql
        host: db.example.com
        database: shop
        user: reader
        password: {env: SHOP_PASSWORD}
        schema: sales
        table_groups:
          - name: orders
            suites:
              - name: nightly
"""


def refused(text: str) -> UsageError:
    with pytest.raises(UsageError) as raised:
        parse(text, "systems.yaml")
    return raised.value


def test_a_good_file_is_read():
    declaration = parse(GOOD, "systems.yaml")
    (system,) = declaration.systems
    assert [suite.name for suite in system.suites] == ["nightly"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_valid(path):
    assert isinstance(read(path), Declaration)


def test_the_example_of_every_key_has_every_key():
    text = (EXAMPLES / "every-key.yaml").read_text()
    keys: set[str] = set()

    def gather(schema: dict, root: dict) -> None:
        for definition in root["$defs"].values():
            keys.update(definition.get("properties", {}))
        keys.update(schema.get("properties", {}))

    schema = Declaration.model_json_schema()
    gather(schema, schema)
    assert {key for key in keys if f"{key}:" not in text} == set()


@pytest.mark.parametrize(
    ("old", "new", "line", "nearest"),
    [
        ("        schema: sales", "        shema: sales", 11, "schema"),
        ("        password:", "        pasword:", 10, "password"),
        ("    connections:", "    conections:", 4, "connections"),
        (
            "              - name: nightly",
            "              - name: nightly\n                severty: Fail",
            16,
            "severity",
        ),
        ("version: 1", "version: 1\nsytems: []", 2, "systems"),
    ],
)
def test_an_unknown_key_is_refused_with_its_line_and_the_nearest(old, new, line, nearest):
    error = refused(GOOD.replace(old, new))
    assert error.message.startswith(f"systems.yaml:{line}: ")
    assert f"did you mean {nearest}?" in error.message


def test_an_unknown_key_like_no_other_is_refused_with_what_there_is():
    assert "known here: version, systems, remove" in refused(GOOD + "zzz: 1\n").message


@pytest.mark.parametrize("literal", ["hunter2-secret", '"{env: X}"', "12345678", "[hunter2-secret]", "true"])
def test_a_literal_password_is_refused_and_not_repeated(literal):
    error = refused(GOOD.replace("{env: SHOP_PASSWORD}", literal))
    assert error.message.startswith("systems.yaml:10: ")
    assert "must not stand in the file" in error.message
    assert "{env: NAME}" in error.message
    assert "hunter2" not in error.message + error.hint


@pytest.mark.parametrize(
    "literal", ["dapi0123456789abcdef", "{token: dapi0123456789abcdef}", "{client_id: a, client_secret: dapi0123}"]
)
def test_a_literal_token_is_refused_and_not_repeated(literal):
    text = (
        "version: 1\nsystems:\n  - name: s\n    connections:\n      - name: c\n        catalog: main\n"
        f"        credentials: {literal}\n"
    )
    error = refused(text)
    assert "must not stand in the file" in error.message
    assert error.message.startswith("systems.yaml:7: ")
    assert "dapi" not in error.message + error.hint


def test_a_secret_that_breaks_the_yaml_is_not_repeated():
    error = refused(GOOD.replace("{env: SHOP_PASSWORD}", "{hunter2-secret"))
    assert "hunter2" not in error.message + error.hint


def test_a_secret_from_two_places_is_refused():
    assert "one place" in refused(GOOD.replace("{env: SHOP_PASSWORD}", "{env: A, file: b}")).message


def test_two_equal_keys_are_refused():
    error = refused(GOOD.replace("        user: reader\n", "        user: reader\n        user: admin\n"))
    assert error.message == "systems.yaml:10: user stands here twice"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (GOOD + "              - name: nightly\n", "suite nightly is declared twice"),
        (
            GOOD.replace("- name: nightly", "- {name: nightly, renamed_from: nightly}"),
            "suite nightly is both declared",
        ),
        (GOOD + "    remove: {suites: [nightly]}\n", "suite nightly is both declared and removed"),
        (GOOD + "remove: {systems: [shop]}\n", "system shop is both declared and removed"),
        (GOOD.replace("        schema: sales\n", ""), "table group orders has no schema"),
        (GOOD.replace("name: nightly", "name: a/b"), "name:"),
        (GOOD.replace("name: shop\n    conn", "name: my shop\n    conn"), "name:"),
        (GOOD.replace("version: 1", "version: 2"), "version:"),
        (GOOD.replace("flavor: postgresql", "flavor: oracle"), "flavor must be one of databricks, postgresql"),
        (GOOD.replace("- name: orders\n", '- name: orders\n            include: ["it\'s"]\n'), "include:"),
        ("systems: []", "version:"),
        ("[]", "a mapping"),
        ("", "a mapping"),
    ],
)
def test_what_does_not_fit_is_refused(text, what):
    error = refused(text)
    assert what in error.message
    assert "nothing was changed" in error.hint or what == "a mapping"


def test_all_mistakes_are_told_at_once():
    error = refused(GOOD.replace("schema: sales", "shema: sales").replace("name: nightly", "nam: nightly"))
    assert error.message.startswith("systems.yaml:")
    assert "also: systems.yaml:" in error.hint


def test_unknown_keys_at_several_depths_and_what_else_is_wrong_are_told_at_once():
    text = GOOD.replace("    connections:", "    conections: []\n    connections:")
    text = text.replace("schema: sales", "schema: sales\n        hots: a").replace("name: nightly", "nam: nightly")
    error = refused(text)
    told = error.message + error.hint
    for mistake in ("unknown key conections", "unknown key hots; did you mean host?", "unknown key nam;"):
        assert mistake in told
    assert "required" not in told


def test_a_mistake_in_the_only_connection_does_not_make_it_missing():
    error = refused(GOOD.replace("{env: SHOP_PASSWORD}", "hunter2-secret"))
    assert error.hint == "docs/systems.md has all keys; nothing was changed"
    assert "at least one connection" in refused("version: 1\nsystems:\n  - {name: s, connections: []}\n").message


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path):
    path = tmp_path / "systems.yaml"
    path.write_bytes("version: 1\n# café\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"systems\.yaml:2: this is not UTF-8"):
        read(path)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "none.yaml")


def test_every_key_is_documented():
    text = (EXAMPLES.parents[1] / "docs" / "systems.md").read_text()
    schema = Declaration.model_json_schema()
    keys = {key for definition in schema["$defs"].values() for key in definition.get("properties", {})}
    keys.update(schema["properties"])
    assert {key for key in keys if not re.search(rf"`[^`]*\b{key}\b[^`]*`", text)} == set()


def test_the_document_s_own_example_is_valid():
    text = (EXAMPLES.parents[1] / "docs" / "systems.md").read_text()
    assert parse(text.split("```yaml\n")[1].split("```")[0], "docs").systems[0].name == "flights"


def test_stdin_is_read_and_named_in_what_is_wrong_with_it(monkeypatch):
    def piped(content):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))

    piped("version: 1\nsystems: [{name: größe}]\n".encode())
    with pytest.raises(UsageError, match=r"^stdin:2: "):
        read(Path("-"))
    piped(b"version: 1\n# \xff\n")
    with pytest.raises(UsageError, match=r"^stdin:2: this is not UTF-8"):
        read(Path("-"))
