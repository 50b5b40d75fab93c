"""CREATE VOLUME, and PUT, GET, REMOVE and LIST of files."""

from datetime import UTC, datetime

import pyarrow as pa

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import Volume
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, Staging, StatementError
from dqctl.localworkspace.sql import commands
from dqctl.localworkspace.statements.results import nothing


def create_volume(command: commands.CreateVolume, context: Context) -> Result:
    """Make a managed volume: its folder first, then its entry."""
    name = context.namespace.full(command.parts)
    if name.name in context.catalog.schema(name.catalog, name.schema).volumes:
        raise errors.already_exists("VOLUME", str(name))
    volume = Volume(name, context.catalog.new_location(name, "volumes"), command.comment)
    folder = context.catalog.path(volume)
    folder.mkdir(parents=True)
    try:
        context.catalog.put(volume)
    except StatementError:
        folder.rmdir()
        raise
    return nothing()


def stage(command: commands.Stage, context: Context) -> Result:
    """Tell the client where to move a file. Whether one is there to be fetched or removed it finds out there."""
    if command.local_file == "":
        raise StatementError(
            "EMPTY_LOCAL_FILE_IN_STAGING_ACCESS_QUERY",
            f"Empty local file in staging {command.operation} query.",
            "42604",
        )
    try:
        place = context.volumes.file(command.volume_path)
    except StatementError as error:
        catalog = command.volume_path.removeprefix("/Volumes/").split("/")[0]
        if catalog.lower() not in context.catalog.catalogs():
            message = f"NOT_FOUND: Catalog '{catalog}' does not exist."
            raise StatementError(error.error_class, message, error.sqlstate) from error
        raise
    if command.operation == "PUT" and place.exists() and not command.overwrite:
        raise StatementError(
            "FILE_IN_STAGING_PATH_ALREADY_EXISTS",
            f"File in staging path {command.volume_path} already exists but OVERWRITE is not set.",
            "42K0M",
        )
    staging = Staging(command.operation, command.local_file, command.volume_path)
    return Result(pa.table({}), staging=staging)


def list_files(command: commands.ListFiles, context: Context) -> Result:
    """The files of a folder in a volume."""
    place = context.volumes.file(command.volume_path)
    if not place.is_dir():
        raise StatementError("FILE_NOT_FOUND", f"No such folder: {command.volume_path}", "42K03")
    root = command.volume_path.rstrip("/")
    rows = [
        (f"{root}/{one.name}", one.name + ("/" if one.is_dir() else ""), 0 if one.is_dir() else stat.st_size, stat)
        for one in sorted(place.iterdir())
        for stat in [one.stat()]
    ]
    return Result(
        pa.table(
            {
                "path": pa.array([row[0] for row in rows], pa.string()),
                "name": pa.array([row[1] for row in rows], pa.string()),
                "size": pa.array([row[2] for row in rows], pa.int64()),
                "modification_time": pa.array(
                    [datetime.fromtimestamp(row[3].st_mtime, UTC) for row in rows], pa.timestamp("ms", "UTC")
                ),
            }
        )
    )
