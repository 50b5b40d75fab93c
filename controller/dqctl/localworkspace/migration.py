"""Data directories of earlier versions: what their catalogs kept of tables and is in the tables' own logs now."""

import logging
from dataclasses import replace

from dqctl.localworkspace import transaction_log
from dqctl.localworkspace.catalog import Catalog, Table
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.table_properties import configuration_of, configured, for_entry, for_log

_log = logging.getLogger(__name__)


def move_to_log(catalog: Catalog) -> None:
    """Put properties and CHECK constraints of catalog entries into the logs of their tables.

    The log first: what a kill leaves in the catalog is moved again the next time, to the same end.
    """
    catalog.change_tables(lambda table: _moved(catalog, table))


def _moved(catalog: Catalog, table: Table) -> Table:
    checks = [one for one in table.constraints if one.kind == "CHECK"]
    if table.is_view or not (checks or for_log(table.properties)):
        return table
    path = catalog.path(table)
    try:
        before = transaction_log.read(path)
        configuration = before.configuration | configuration_of(table.properties, checks)
        if configuration != before.configuration:
            metadata, protocol = configured(before, configuration)
            what = transaction_log.Commit("SET TBLPROPERTIES", {"properties": configuration})
            transaction_log.commit(path, before, what, metadata=metadata, protocol=protocol)
    except (OSError, StatementError) as error:
        _log.warning("the properties of %s stay in the catalog, its log cannot be written: %s", table.name, error)
        return table
    keys = tuple(one for one in table.constraints if one.kind != "CHECK")
    return replace(table, properties=for_entry(table.properties), constraints=keys)
