"""What a folder of seeds is understood as, and what is wrong with one, before anything is made."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from dqctl.errors import UsageError
from dqctl.services.ci import seeds


def write(folder: Path, name: str, content: str | bytes = "id\n1\n") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "seeds"
    made.mkdir()
    return made


def refused(folder: Path) -> str:
    with pytest.raises(UsageError) as caught:
        seeds.plan(folder)
    assert caught.value.hint
    return caught.value.message


def test_folders_are_schemas_and_catalogs_and_statements_come_last(folder: Path) -> None:
    write(folder, "shop/a_views.sql", "SELECT 1; SELECT 2")
    write(folder, "shop/orders.csv")
    write(folder, "sales/gold/Revenue.csv")
    write(folder, "countries.csv")
    (folder / "shop" / "returns" / "_delta_log").mkdir(parents=True)
    write(folder, ".gitkeep", "")
    found = seeds.plan(folder)
    assert [(each.kind, each.catalog, each.schema, each.table) for each in found.files] == [
        ("csv", None, "default", "countries"),
        ("csv", "sales", "gold", "Revenue"),
        ("csv", None, "shop", "orders"),
        ("delta", None, "shop", "returns"),
        ("sql", None, "shop", "a_views"),
    ]
    assert found.schemas == ("default", "gold", "shop")
    assert found.statements
    assert [each.text for each in found.statements[folder / "shop" / "a_views.sql"]] == ["SELECT 1", "SELECT 2"]


def test_a_catalog_of_its_own_has_no_place_in_throw_away_schemas(folder: Path) -> None:
    write(folder, "sales/gold/revenue.csv")
    with pytest.raises(UsageError, match=r"seeds/sales/gold/revenue\.csv is for the catalog sales"):
        seeds.plan(folder).require_one_catalog()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "there is no folder" in refused(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.txt", "hello", "seeds/notes.txt is no seed"),
        ("a/b/c/orders.csv", "id\n1\n", "seeds/a/b/c is too deep"),
        ("shop/orders.parquet", "no parquet", "seeds/shop/orders.parquet is no Parquet file"),
        ("orders.csv", "id,name\n1,a\n2,b,c\n3,d\n", "seeds/orders.csv:3: 3 values, and 2 columns"),
        ("orders.csv", "id,ID\n1,2\n", "seeds/orders.csv:1: column 'id' is there twice"),
        ("orders.csv", "id,\n1,2\n", "seeds/orders.csv:1: column number 2 has no name"),
        ("orders.csv", "", "seeds/orders.csv cannot be read: Empty CSV file"),
        ("orders.csv", b"id,name\n1,\xff\xfe\n", "seeds/orders.csv: column 'name' is not UTF-8"),
        ("shop.sql", "SELECT 1;\n\nSELECT 'a;\n", "seeds/shop.sql:3: ' is not closed"),
        ("shop.sql", b"SELECT '\xff'", "seeds/shop.sql cannot be read"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(
    folder: Path, name: str, content: str | bytes, said: str
) -> None:
    write(folder, name, content)
    assert refused(folder).startswith(said)


def test_two_files_of_one_table_are_refused(folder: Path) -> None:
    write(folder, "shop/orders.csv")
    pyarrow.parquet.write_table(pa.table({"id": [1]}), folder / "shop" / "Orders.parquet")
    assert refused(folder).endswith("another file is the same table")
