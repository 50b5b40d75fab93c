from pathlib import Path

from dqctl import records
from dqctl.tables import document

PAGE = Path(__file__).parents[3] / "docs" / "tables.md"


def test_page_of_tables_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == document.document(), (
        "run python -m dqctl.tables.document docs/tables.md"
    )


def test_check_notices_a_page_that_drifted(tmp_path: Path) -> None:
    page = tmp_path / "tables.md"
    assert document.main(["--check", str(page)]) == 1
    assert document.main([str(page)]) == 0
    assert document.main(["--check", str(page)]) == 0
    page.write_text(page.read_text(encoding="utf-8").replace("never NULL", "maybe NULL", 1), encoding="utf-8")
    assert document.main(["--check", str(page)]) == 1


def test_every_column_is_on_the_page() -> None:
    page = document.document()
    for table in records.TABLES:
        section = page.split(f"## {table.name}\n")[1].split("\n## ")[0]
        for column in table.columns:
            assert f"| `{column.name}` | {column.type}" in section
