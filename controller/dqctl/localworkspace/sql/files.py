"""Files of volumes as relations: which of them a path means, and how a reader is told about them."""

from collections.abc import Mapping
from pathlib import Path

from dqctl.localworkspace import errors
from dqctl.localworkspace.volumes import Volumes

FORMATS = frozenset({"parquet", "csv", "json", "text"})
# Names of options that mean the same.
_SAME = {"delimiter": "sep", "charset": "encoding"}
# What Sail 0.7.2 and Spark call them; an option in another spelling would be lost.
_SPELLED = {
    each.lower(): each
    for each in (
        "inferSchema", "multiLine", "nullValue", "emptyValue", "nanValue", "dateFormat", "timestampFormat",
        "lineSep", "ignoreLeadingWhiteSpace", "ignoreTrailingWhiteSpace", "mergeSchema", "recursiveFileLookup",
        "allowComments", "primitivesAsString", "prefersDecimal", "columnNameOfCorruptRecord", "maxColumns",
        "wholeText", "compression", "pathGlobFilter",
    )
}  # fmt: skip


def reader_options(file_format: str, options: Mapping[str, str]) -> dict[str, str]:
    """Options as the engine's reader spells them; ``StatementError`` for one that it would get wrong."""
    found: dict[str, str] = {}
    for key, value in options.items():
        name = _SAME.get(key.lower(), key.lower())
        if name == "mode" and value.upper() != "FAILFAST" and value.upper() != "PERMISSIVE":
            raise errors.unsupported(f"The mode {value} of reading files")
        if name == "inferschema" and file_format != "csv":
            continue
        found[_SPELLED.get(name, name)] = value
    return found


def data_files(path: str, volumes: Volumes) -> dict[str, Path]:
    """The files at a path, which may have wildcards, by their volume paths; hidden ones are left out.

    Names that begin with ``_`` or ``.`` are hidden, as on Databricks.
    """
    plain = path.removeprefix("dbfs:").rstrip("/")
    wild = [index for index, part in enumerate(plain.split("/")) if any(char in part for char in "*?[{")]
    if not wild:
        return _below(plain, volumes.file(plain))
    parts = plain.split("/")
    root = "/".join(parts[: wild[0]])
    place = volumes.file(root)
    found: dict[str, Path] = {}
    for pattern in _braces("/".join(parts[wild[0] :])):
        for each in sorted(place.glob(pattern)):
            name = f"{root}/{each.relative_to(place)}"
            found.update(_below(name, volumes.file(name)))
    return found


def _braces(pattern: str) -> list[str]:
    """``{a,b}`` as patterns of their own."""
    before, opened, rest = pattern.partition("{")
    inside, closed, after = rest.partition("}")
    if not opened or not closed:
        return [pattern]
    return [each for choice in inside.split(",") for each in _braces(before + choice + after)]


def _below(path: str, place: Path) -> dict[str, Path]:
    if place.is_file():
        return {path: place}
    return {
        f"{path}/{file.relative_to(place)}": file
        for file in sorted(place.rglob("*"))
        if file.is_file() and not any(part[0] in "_." for part in file.relative_to(place).parts)
    }
