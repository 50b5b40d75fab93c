"""The limits that a warehouse puts on statements and native parameters."""

from collections.abc import Sequence

from dqctl.localworkspace.contract import Parameter, StatementError

# Documented: 16 MiB of text; 255 markers and 1 MB of parameters (docs/parameters.md of databricks-sql-python;
# the warehouse itself words it as 256).
MAX_STATEMENT_BYTES = 16 * 1024 * 1024
MAX_PARAMETERS = 256
MAX_PARAMETER_BYTES = 1024 * 1024


def check_limits(statement: str, parameters: Sequence[Parameter]) -> None:
    """``StatementError`` when a warehouse would refuse the statement for its size."""
    if len(statement.encode()) > MAX_STATEMENT_BYTES:
        raise _refused(f"Statement text is longer than the limit of {MAX_STATEMENT_BYTES} bytes.")
    if len(parameters) > MAX_PARAMETERS:
        raise _refused(
            f"Parameterized query has too many parameters: {len(parameters)} parameters were given "
            f"but the limit is {MAX_PARAMETERS}."
        )
    size = sum(parameter.size for parameter in parameters)
    if size > MAX_PARAMETER_BYTES:
        raise _refused(f"Parameters take {size} bytes but the limit is {MAX_PARAMETER_BYTES}.")


def _refused(message: str) -> StatementError:
    return StatementError("BAD_REQUEST", message, "54000")
