"""The plan: what is declared against what is there, as pure data."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqctl.errors import UsageError
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.systems.described import History, Kind, Part
from dqctl.testgen.systems.document import parse
from dqctl.testgen.systems.plan import HIDDEN, Change, plan
from dqctl.testgen.systems.references import Sources
from dqctl.testgen.systems.wanted import unwanted, wanted

FILE = """\
version: 1
systems:
  - name: shop
    title: Shop
    connections:
      - name: pg
        flavor: postgresql
        host: db.example.com
        database: shop
        user: reader
        password: {env: PW}
        schema: sales
        table_groups:
          - name: orders
            suites:
              - name: nightly
              - name: weekly
"""
NEWEST = capabilities("5.134.0")


def declared(text=FILE, shop_pw="pw-of-the-shop", version=NEWEST):
    declaration = parse(text, "f")
    sources = Sources(environment={"PW": shop_pw}, base=Path())
    return wanted(declaration, sources, None, version), unwanted(declaration)


def there(parts):
    """TestGen after it has been given ``parts``."""
    return tuple(
        Part(p.kind, p.system, p.name, p.parent, f"{p.kind}-{p.name}", dict(p.values), History(tests=1))
        for p in parts
    )


def reverse(secret):
    return secret.get_secret_value()[::-1]


def stored(parts):
    return {f"{p.kind}-{p.name}": {c: reverse(s) for c, s in p.secrets.items()} for p in parts if p.secrets}


def made(text, existing, keeps, shop_pw="pw-of-the-shop"):
    parts, gone = declared(text, shop_pw)
    return plan(parts, gone, existing, keeps, reverse)


def brief(result):
    return [(action.change.value, action.kind.value, action.name) for action in result.changes]


def test_nothing_there_means_everything_is_created_from_the_top_down():
    assert brief(made(FILE, (), {})) == [
        ("create", "system", "shop"),
        ("create", "connection", "pg"),
        ("create", "table_group", "orders"),
        ("create", "suite", "nightly"),
        ("create", "suite", "weekly"),
    ]


def test_the_second_time_there_is_nothing_to_do():
    parts, _ = declared()
    result = made(FILE, there(parts), stored(parts))
    assert result.changes == ()
    assert {action.change for action in result.actions} == {Change.UNCHANGED}


def test_only_what_differs_is_changed():
    parts, _ = declared()
    text = FILE.replace("- name: weekly", "- {name: weekly, severity: Log}")
    (action,) = made(text, there(parts), stored(parts)).changes
    assert (action.change, action.name) == (Change.UPDATE, "weekly")
    assert [(d.column, d.before, d.after) for d in action.differences] == [("severity", None, "Log")]


def test_a_setting_that_leaves_the_file_goes_back_to_its_default():
    text = FILE.replace("- name: orders", "- name: orders\n            delay_days: 3")
    parts, _ = declared(text)
    (action,) = made(FILE, there(parts), stored(parts)).changes
    assert [(d.column, d.before, d.after) for d in action.differences] == [("profiling_delay_days", 3, 0)]


def test_a_changed_secret_is_an_update_that_shows_nothing():
    parts, _ = declared()
    result = made(FILE, there(parts), stored(parts), shop_pw="another-password")
    (action,) = result.changes
    assert [(d.column, d.before, d.after) for d in action.differences] == [
        ("project_pw_encrypted", HIDDEN, HIDDEN)
    ]
    text = json.dumps(asdict(result)) + repr(result)
    assert "another-password" not in text
    assert "pw-of-the-shop" not in text


def test_a_secret_that_cannot_be_read_back_is_written_again():
    parts, _ = declared()
    (action,) = made(FILE, there(parts), {"connection-pg": {"project_pw_encrypted": None}}).changes
    assert action.name == "pg"


def test_what_the_file_does_not_mention_is_left_alone():
    parts, _ = declared()
    result = made(FILE.replace("              - name: weekly\n", ""), there(parts), stored(parts))
    assert result.changes == ()
    assert result.left_alone == ("suite shop/weekly",)


def test_a_removal_says_what_history_goes_with_it():
    parts, _ = declared()
    existing = tuple(
        replace(p, history=History(profiles=2)) if p.kind is Kind.TABLE_GROUP else p for p in there(parts)
    )
    text = FILE.split("        table_groups:")[0] + "    remove: {table_groups: [orders]}\n"
    (action,) = made(text, existing, stored(parts)).changes
    assert (action.change, action.kind) == (Change.REMOVE, Kind.TABLE_GROUP)
    assert action.loses == History(profiles=2, tests=2)


def test_removing_what_is_not_there_is_nothing_to_do():
    parts, _ = declared()
    text = FILE + "    remove: {suites: [never-was], connections: [neither]}\nremove: {systems: [nor-this]}\n"
    assert made(text, there(parts), stored(parts)).changes == ()


def test_a_rename_keeps_the_row_and_is_done_once():
    parts, _ = declared()
    text = FILE.replace("- name: orders", "- name: all-orders\n            renamed_from: orders")
    result = made(text, there(parts), stored(parts))
    assert brief(result) == [("rename", "table_group", "all-orders")]
    assert result.changes[0].renamed_from == "orders"
    renamed, _ = declared(text)
    assert made(text, there(renamed), stored(renamed)).changes == ()


def test_a_renamed_system_takes_everything_along():
    parts, _ = declared()
    text = FILE.replace("- name: shop", "- name: store\n    renamed_from: shop")
    assert brief(made(text, there(parts), stored(parts))) == [("rename", "system", "store")]


def test_everything_can_be_renamed_and_changed_at_once():
    parts, _ = declared()
    text = (
        FILE.replace("- name: shop", "- name: store\n    renamed_from: shop")
        .replace("- name: pg", "- name: db\n        renamed_from: pg")
        .replace("- name: orders", "- name: all\n            renamed_from: orders")
        .replace("- name: nightly", "- {name: night, renamed_from: nightly, severity: Fail}")
        .replace("              - name: weekly\n", "")
        + "    remove: {suites: [weekly]}\n"
    )
    assert brief(made(text, there(parts), stored(parts))) == [
        ("rename", "system", "store"),
        ("remove", "suite", "weekly"),
        ("rename", "connection", "db"),
        ("rename", "table_group", "all"),
        ("rename", "suite", "night"),
        ("update", "suite", "night"),
    ]


def test_a_removed_name_can_be_taken_by_a_rename():
    parts, _ = declared()
    text = FILE.replace("              - name: nightly\n              - name: weekly\n", "") + (
        "              - {name: fresh, renamed_from: nightly}\n    remove: {suites: [weekly]}\n"
    )
    assert brief(made(text, there(parts), stored(parts))) == [
        ("remove", "suite", "weekly"),
        ("rename", "suite", "fresh"),
    ]


def test_a_rename_of_what_never_was_creates_it():
    assert ("create", "suite", "weekly") in brief(
        made(FILE.replace("- name: weekly", "- {name: weekly, renamed_from: monthly}"), (), {})
    )


def test_a_rename_onto_a_taken_name_is_refused():
    parts, _ = declared()
    text = FILE.replace("              - name: nightly\n", "").replace(
        "- name: weekly", "- {name: weekly, renamed_from: nightly}"
    )
    with pytest.raises(UsageError, match="cannot be renamed"):
        made(text, there(parts), stored(parts))


def test_a_part_that_would_move_is_refused():
    parts, _ = declared()
    text = FILE.replace("              - name: weekly\n", "") + (
        "          - name: returns\n            suites:\n              - name: weekly\n"
    )
    with pytest.raises(UsageError, match="weekly hangs below orders in TestGen, not below returns"):
        made(text, there(parts), stored(parts))


def test_a_name_that_testgen_has_twice_is_refused():
    parts, _ = declared()
    existing = there(parts)
    with pytest.raises(UsageError, match="two suites called weekly"):
        made(FILE, (*existing, existing[-1]), stored(parts))


def test_generation_sets_are_refused_where_testgen_has_none():
    text = FILE.replace("- name: weekly", "- {name: weekly, generation_sets: [Standard]}")
    with pytest.raises(UsageError, match=r"TestGen 5\.33\.3 does not know"):
        declared(text, version=capabilities("5.33.3"))


def test_the_plan_is_json():
    parts, _ = declared()
    text = FILE.replace("- name: weekly", "- {name: weekly, generation_sets: [Standard]}")
    json.dumps(asdict(made(text, there(parts), stored(parts))))


names = st.lists(st.sampled_from("abcdef"), unique=True, min_size=1, max_size=4)


@settings(deadline=None)  # the machine may be busy
@given(had=names, has=names)
def test_applying_a_plan_leaves_nothing_to_do(had, has):
    def text(suites):
        head = FILE.split("              - name: nightly")[0]
        return head + "".join(f"              - name: suite-{name}\n" for name in suites)

    before, _ = declared(text(had))
    after, _ = declared(text(has))
    first = made(text(has), there(before), stored(before))
    assert [action.name for action in first.changes] == [f"suite-{name}" for name in has if name not in had]
    left = tuple(part for part in there(before) if part.kind is Kind.SUITE and part.name[6:] not in has)
    assert made(text(has), (*there(after), *left), stored(after)).changes == ()
