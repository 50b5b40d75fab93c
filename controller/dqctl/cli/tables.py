"""``tables init|migrate|show``."""

from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.options import Catalog, Schema
from dqctl.cli.output import emit, plain, table
from dqctl.report.words import counted

if TYPE_CHECKING:
    from dqctl.services.tables import TablesReport


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    tables = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="The published tables.")
    tables.command("init", epilog="Example: dqctl tables init --catalog main --schema data_quality")(init)
    tables.command("migrate", epilog="Example: dqctl tables migrate")(migrate)
    tables.command("show", epilog="Example: dqctl tables show")(show)
    app.add_typer(tables, name="tables")


def init(catalog: Catalog = None, schema: Schema = None) -> None:
    """Make the schema and the tables; what is there already stays."""
    _bring_up_to_date(catalog, schema)


def migrate(catalog: Catalog = None, schema: Schema = None) -> None:
    """Bring the tables to this version of dqctl; only ever adds."""
    _bring_up_to_date(catalog, schema)


def show(
    catalog: Catalog = None,
    schema: Schema = None,
    start_warehouse: Annotated[
        bool, typer.Option("--start-warehouse", help="Start a SQL warehouse that is stopped, to look closer")
    ] = False,
) -> None:
    """Show the tables, and the statements that migrate would run.

    A SQL warehouse that is stopped stays so: Unity Catalog tells which tables there are.
    """
    from dqctl.services import tables

    settings = context().settings_with(catalog=catalog, schema_name=schema)
    report = tables.show(settings, start_warehouse=start_warehouse)
    emit(plain(report), lambda: _as_text(report))


def _bring_up_to_date(catalog: str | None, schema: str | None) -> None:
    from dqctl.services import tables

    here = context()
    report = tables.init(here.settings_with(catalog=catalog, schema_name=schema), here.progress)
    done = f"ran {counted(len(report.statements), 'statement')}" if report.statements else "nothing to do"
    emit(plain(report), lambda: f"{report.target}: {done}")


def _as_text(report: "TablesReport") -> str:
    rows = [
        {
            "name": each.name,
            "state": "missing"
            if not each.exists
            else f"lacks {', '.join(each.missing)}"
            if each.missing
            else "ready",
            "comment": each.comment,
        }
        for each in report.tables
    ]
    shown = table(rows, {"name": "table", "state": "state", "comment": "what it holds"}, "")
    asleep = (
        [
            f"the SQL warehouse {report.asleep} is stopped and was not started: this is what Unity Catalog lists, "
            "without the record of migrations; --start-warehouse looks closer"
        ]
        if report.asleep
        else []
    )
    return "\n".join([report.target, *asleep, shown, *(f"{statement};" for statement in report.statements)])
