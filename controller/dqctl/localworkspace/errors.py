"""The errors of a warehouse: one function each, and the mapping of what engine and storage raise."""

import re

from dqctl.localworkspace.contract import StatementError


def syntax_error(message: str) -> StatementError:
    """The statement cannot be read."""
    return StatementError("PARSE_SYNTAX_ERROR", message, "42601")


def too_complex() -> StatementError:
    """The statement nests deeper than can be read."""
    return StatementError(
        "FAILED_TO_PARSE_TOO_COMPLEX",
        "The statement, including potential SQL functions and referenced views, was too complex to parse. To "
        "mitigate this error divide the statement into multiple, less complex chunks.",
        "54001",
    )


def unsupported(what: str) -> StatementError:
    """A Databricks feature that the local workspace does not have; ``what`` is a full clause."""
    return StatementError("UNSUPPORTED_FEATURE", f"{what} is not supported by the local workspace.", "0A000")


def catalog_not_found(name: str) -> StatementError:
    """There is no such catalog."""
    return StatementError("NO_SUCH_CATALOG_EXCEPTION", f"Catalog '{name}' was not found.", "42704")


def schema_not_found(name: str) -> StatementError:
    """There is no such schema; ``name`` is quoted."""
    return StatementError(
        "SCHEMA_NOT_FOUND",
        f"The schema {name} cannot be found. Verify the spelling and correctness of the schema and catalog.",
        "42704",
    )


def table_not_found(name: str) -> StatementError:
    """There is no such table or view; ``name`` is quoted."""
    return StatementError(
        "TABLE_OR_VIEW_NOT_FOUND",
        f"The table or view {name} cannot be found. "
        "Verify the spelling and correctness of the schema and catalog.",
        "42P01",
    )


def volume_not_found(name: str) -> StatementError:
    """There is no such volume."""
    return StatementError("VOLUME_NOT_FOUND", f"Volume {name} does not exist.", "42704")


class AlreadyExistsError(StatementError):
    """What is to be created is there. A statement with IF NOT EXISTS takes it for an answer."""


def already_exists(kind: str, name: str) -> AlreadyExistsError:
    """``kind`` is one of CATALOG, SCHEMA, TABLE_OR_VIEW, VOLUME; ``name`` is quoted."""
    states = {
        "CATALOG": "42P06", "SCHEMA": "42P06", "TABLE_OR_VIEW": "42P07", "VOLUME": "42000", "ROUTINE": "42723",
        "TEMP_TABLE_OR_VIEW": "42P07",
    }  # fmt: skip
    what = kind.lower().replace("_", " ")
    return AlreadyExistsError(
        f"{kind}_ALREADY_EXISTS", f"Cannot create {what} {name} because it already exists.", states[kind]
    )


def nothing_to_undrop(kind: str, name: str) -> StatementError:
    """Nothing of that name, or with that id, was dropped in the last days."""
    states = {"TABLE": "TABLE_OR_VIEW_NOT_FOUND", "SCHEMA": "SCHEMA_NOT_FOUND", "CATALOG": "CATALOG_NOT_FOUND"}
    return StatementError(
        states[kind],
        f"No dropped {kind.lower()} {name} can be found: see SHOW TABLES DROPPED.",
        "42P01" if kind == "TABLE" else "42704",
    )


def function_not_found(name: str) -> StatementError:
    """There is no such function; ``name`` is quoted."""
    return StatementError(
        "ROUTINE_NOT_FOUND",
        f"The routine {name} cannot be found. Verify the spelling and correctness of the schema and catalog.",
        "42883",
    )


def unsupported_as_json() -> StatementError:
    """AS JSON goes with DESCRIBE TABLE EXTENDED only."""
    return StatementError(
        "DESCRIBE_JSON_NOT_EXTENDED",
        "DESCRIBE TABLE ... AS JSON only supported when [EXTENDED|FORMATTED] is specified.",
        "0A000",
    )


def column_exists(name: str) -> StatementError:
    """A name is there twice among the columns; ``name`` is quoted."""
    return StatementError("COLUMN_ALREADY_EXISTS", f"The column {name} already exists.", "42711")


def unresolved_column(name: str) -> StatementError:
    """A column that the relation does not have."""
    return StatementError(
        "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION",
        f"A column, variable, or function parameter with name {name} cannot be resolved.",
        "42703",
    )


def without_columns(name: str) -> StatementError:
    """A table that nothing can be read from, since it has no columns yet; ``name`` is quoted."""
    return StatementError(
        "DELTA_READ_TABLE_WITHOUT_COLUMNS",
        f"You are trying to read a Delta table {name} that does not have any columns. "
        "Write some new data with the option `mergeSchema = true` to be able to read the table.",
        "428GU",
    )


def window_not_found(name: str) -> StatementError:
    """OVER names a window that no WINDOW clause defines."""
    return StatementError(
        "MISSING_WINDOW_SPECIFICATION",
        f"Window specification is not defined in the WINDOW clause for `{name}`.",
        "42P20",
    )


def wrong_object(name: str, expected: str) -> StatementError:
    """A view where a table is needed, or the other way round."""
    return StatementError(
        f"EXPECT_{expected}_NOT_{'VIEW' if expected == 'TABLE' else 'TABLE'}",
        f"{name} is not a {expected.lower()}.",
        "42809",
    )


def invalid_parameter(message: str) -> StatementError:
    """A value that the statement cannot take."""
    return StatementError("INVALID_PARAMETER_VALUE", message, "22023")


def cancelled() -> StatementError:
    """The client cancelled the statement."""
    return StatementError("OPERATION_CANCELED", "Operation has been canceled.", "HY008")


def timed_out(seconds: float) -> StatementError:
    """The statement ran longer than STATEMENT_TIMEOUT allows."""
    return StatementError(
        "STATEMENT_TIMEOUT",
        f"The statement ran longer than the limit of {seconds:g} seconds and was cancelled.",
        "57KD0",
    )


def engine_lost() -> StatementError:
    """The engine's process ended while it worked on the statement."""
    return StatementError(
        "TEMPORARILY_UNAVAILABLE",
        "The engine ended while it worked on the statement: it was killed, or there was not enough memory for it. "
        "Nothing was changed, and another one takes the next statement: this one can be sent again.",
        "08006",
    )


# What raise_error raises: the engine says the message alone, so that the class is put before it.
USER_RAISED = "USER_RAISED_EXCEPTION"

# The first pattern that is found in what the engine said decides. Wording: Sail 0.7.2, Spark 4.
_ENGINE: tuple[tuple[str, str, str], ...] = (
    (r"\[USER_RAISED_EXCEPTION\]|' is not true!", USER_RAISED, "P0001"),
    (r"REMAINDER_BY_ZERO|[Rr]emainder by zero", "REMAINDER_BY_ZERO", "22012"),
    (r"divide by zero|DIVIDE_BY_ZERO|[Dd]ivision by zero", "DIVIDE_BY_ZERO", "22012"),
    (
        r"CAST_INVALID_INPUT|[Cc]annot cast (string|value)|[Ee]rror parsing",
        "CAST_INVALID_INPUT",
        "22018",
    ),
    (r"invalid timestamp: ", "CAST_INVALID_INPUT", "22018"),
    (r"CANNOT_PARSE_TIMESTAMP|datetime field at byte offset|invalid parsed", "CANNOT_PARSE_TIMESTAMP", "22007"),
    (r"CAST_OVERFLOW|Can't cast value .* to type", "CAST_OVERFLOW", "22003"),
    (
        r"NUMERIC_VALUE_OUT_OF_RANGE|too large to store in a Decimal",
        "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
        "22003",
    ),
    (
        r"INVALID_ARRAY_INDEX_IN_ELEMENT_AT|element_at: the index is out of bounds",
        "INVALID_ARRAY_INDEX_IN_ELEMENT_AT",
        "22003",
    ),
    (r"INVALID_INDEX_OF_ZERO|element_at: the index 0 is invalid", "INVALID_INDEX_OF_ZERO", "22003"),
    (r"INVALID_ARRAY_INDEX|index is out of bounds", "INVALID_ARRAY_INDEX", "22003"),
    (
        r"DATETIME_FIELD_OUT_OF_BOUNDS|^\w+: \w+ value '[-\d]+' is out of range",
        "DATETIME_FIELD_OUT_OF_BOUNDS",
        "22023",
    ),
    (r"ILLEGAL_DAY_OF_WEEK|Illegal input for day of week", "ILLEGAL_DAY_OF_WEEK", "22009"),
    (r"INVALID_TIMEZONE|^\w+: The timezone: ", "INVALID_TIMEZONE", "22009"),
    (r"INVALID_FORMAT|does not match the expected regex pattern", "INVALID_FORMAT.MISMATCH_INPUT", "42601"),
    (r"DUPLICATED_MAP_KEY|Duplicate map key", "DUPLICATED_MAP_KEY", "23505"),
    (r"CANNOT_DECODE_URL|Invalid percent-encoding", "CANNOT_DECODE_URL", "22546"),
    (
        r"regex parse error|Invalid regex pattern|Regular expression did not compile",
        "INVALID_PARAMETER_VALUE.PATTERN",
        "22023",
    ),
    (r"Unsupported charset", "INVALID_PARAMETER_VALUE.CHARSET", "22023"),
    (r"week-based pattern letter", "INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_WEEK_BASED_PATTERN", "42K0B"),
    (r"invalid datetime pattern", "INVALID_DATETIME_PATTERN.ILLEGAL_CHARACTER", "22007"),
    (
        r"SCALAR_SUBQUERY_TOO_MANY_ROWS|[Ss]calar subquery returned more than one row",
        "SCALAR_SUBQUERY_TOO_MANY_ROWS",
        "21000",
    ),
    (
        r"Scalar subquery should only return one column",
        "INVALID_SUBQUERY_EXPRESSION.SCALAR_SUBQUERY_RETURN_MORE_THAN_ONE_OUTPUT_COLUMN",
        "42823",
    ),
    (r"NESTED_AGGREGATE_FUNCTION|Aggregate function calls cannot be nested", "NESTED_AGGREGATE_FUNCTION", "42607"),
    (
        r"INVALID_INLINE_TABLE.NUM_COLUMNS|Inconsistent data length across values list",
        "INVALID_INLINE_TABLE.NUM_COLUMNS_MISMATCH",
        "42000",
    ),
    (r"LIMIT must be >= 0", "INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE", "42K0E"),
    (
        r"WRONG_NUM_ARGS|requires \d( or \d)? arguments?\b|\bvalues? expected: \[|does not support zero arguments"
        r"|expects \d+ arguments? but received|requires at least one parameter|expect number of args"
        r"|requires an even number of arguments|at least one value, but got an empty",
        "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
        "42605",
    ),
    (r"cannot cast \w+ to \w+|Unsupported CAST from", "DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION", "42K09"),
    (r"grouping functions can only be used", "UNSUPPORTED_GROUPING_EXPRESSION", "42K0E"),
    (r"ARITHMETIC_OVERFLOW|[Oo]verflow|too large to store|out of range", "ARITHMETIC_OVERFLOW", "22003"),
    (r"TABLE_OR_VIEW_NOT_FOUND|[Tt]able not found", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    (r"UNRESOLVED_COLUMN\.WITH_SUGGESTION", "UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703"),
    (
        r"UNRESOLVED_COLUMN|cannot resolve attribute|is missing from the schema|No field named|column not found",
        "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION",
        "42703",
    ),
    (r"UNRESOLVED_ROUTINE|unknown function|[Ff]unction not found|Invalid function", "UNRESOLVED_ROUTINE", "42883"),
    (
        r"MERGE_CARDINALITY_VIOLATION|Multiple source rows matched",
        "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE",
        "21506",
    ),
    (r"failed validation check", "DELTA_REPLACE_WHERE_MISMATCH", "44000"),
    (r"DELTA_NOT_NULL_CONSTRAINT_VIOLATED|NOT NULL constraint", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502"),
    (
        r"CommitFailedError|[Cc]oncurrent|commit conflict|[Vv]ersion already exists|transaction.*conflict",
        "DELTA_CONCURRENT_APPEND",
        "2D521",
    ),
    (
        r"exists at or before timestamp|TIMESTAMP_EARLIER_THAN_COMMIT_RETENTION",
        "DELTA_TIMESTAMP_EARLIER_THAN_COMMIT_RETENTION",
        "42816",
    ),
    (
        r"No version of the Delta table|Missing commit file|[Ii]nvalid (table )?version|VERSION_NOT_FOUND",
        "DELTA_VERSION_NOT_FOUND",
        "22003",
    ),
    (r"number of columns|column aliases|NUM_COLUMNS_MISMATCH", "NUM_COLUMNS_MISMATCH", "42826"),
    (
        r"DATATYPE_MISMATCH|[Cc]annot (coerce|infer common)|type mismatch|type_coercion",
        "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
        "42K09",
    ),
    (r"found .* expected|ParseException|PARSE_SYNTAX_ERROR", "PARSE_SYNTAX_ERROR", "42601"),
    (
        r"not (yet )?(supported|implemented)|does not support|[Uu]nsupported|UNSUPPORTED|NotImplemented",
        "UNSUPPORTED_FEATURE",
        "0A000",
    ),
    (r"ambiguous|AMBIGUOUS", "AMBIGUOUS_REFERENCE", "42704"),
)


def from_engine(error: Exception) -> StatementError:
    """The one place where the exceptions of the engine and of Delta storage become a warehouse's errors."""
    if isinstance(error, StatementError):
        return error
    if isinstance(error, RecursionError):
        return too_complex()
    text = f"{type(error).__name__}: {error}".split("\n\nJVM stacktrace")[0]
    message = re.sub(r"^\w+: (\[[\w.]+\] )?", "", text).strip() or type(error).__name__
    if text.startswith("BrokenOffError"):  # with what a thread said last, which is about the engine's own insides
        return StatementError("INTERNAL_ERROR", message[:4000], "XX000")
    if "RST_STREAM" in text:  # the engine's thread has panicked; the engine lives
        message = "The engine broke off: it does not know how to carry this statement out, or it is not valid."
    said = re.match(r"\w+: \[([A-Z][A-Z0-9_.]+)\] .*?SQLSTATE: ([0-9A-Z]{5})\b", text, re.DOTALL)
    for pattern, error_class, sqlstate in _ENGINE:
        if re.search(pattern, text):
            same = said is not None and said[1].partition(".")[0] == error_class.partition(".")[0]
            return StatementError(said[1] if said and same else error_class, message[:4000], sqlstate)
    if said:
        return StatementError(said[1], message[:4000], said[2])  # Spark's own are a warehouse's
    return StatementError("INTERNAL_ERROR", message[:4000], "XX000")
