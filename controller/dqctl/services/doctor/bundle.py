"""The archive for support: what somebody who was not there needs to see, and no secret."""

import errno
import io
import json
import os
import stat
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from dqctl.errors import DqctlError, UsageError
from dqctl.progress import Progress
from dqctl.services import logs
from dqctl.services.doctor import versions
from dqctl.services.doctor.examination import Diagnosis, examine
from dqctl.services.doctor.findings import Verdict
from dqctl.services.doctor.subject import Subject
from dqctl.services.scrubbing import learn_secrets, scrub, scrub_document
from dqctl.services.status import status
from dqctl.settings import Settings, variable

LOG_LINES = 5000  # of each service: the last ones
_LOG_CHARACTERS = 2_000_000
_CONFIGURATION = ("stack.json", "settings.toml", "images.json", "compose.yaml", "postgres/dqctl.conf")
_SECRET_CONFIGURATION = ("secrets/config.env", "mounted/engine/config.env")


@dataclass(frozen=True)
class Member:
    """A file in the archive; ``size`` in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Archive:
    """The archive that was written. ``missing`` says what could not be put in, and why."""

    path: str
    size: int
    members: tuple[Member, ...]
    missing: tuple[str, ...]


Texts = Iterator[tuple[str, str]]


def write_bundle(settings: Settings, file: Path, progress: Progress) -> tuple[Archive, Diagnosis]:
    """Examine the stack and write what was found, and what lies behind it, to ``file``: 0600, whole or not.

    Raises ``UsageError`` when ``file`` exists or cannot be written. What cannot be read is left out, and named in
    the archive itself.
    """
    file = file.expanduser().absolute()
    if file.exists():
        raise _exists(file)
    learn_secrets(settings)
    progress("looking at everything")
    diagnosis = examine(settings)
    progress("collecting logs and configuration")
    texts, missing = _collect(settings, diagnosis)
    content = _pack(texts)
    _write(file, content)
    members = tuple(Member(name, len(text.encode())) for name, text in texts.items())
    return Archive(str(file), len(content), members, tuple(missing)), diagnosis


def _collect(settings: Settings, diagnosis: Diagnosis) -> tuple[dict[str, str], list[str]]:
    subject = Subject(settings)
    parts: dict[str, Callable[[], Texts]] = {
        "findings": lambda: _json("findings.json", diagnosis),
        "settings": lambda: _json("settings.json", _described(settings)),
        "versions": lambda: _json("versions.json", versions.versions(subject)),
        "configuration": lambda: _configuration(subject),
        "listing": lambda: iter([("files.txt", _listing(subject.paths.root))]),
        "logs": lambda: _logs(settings),
        "status": lambda: _json("status.json", status(settings)),
        "containers": lambda: _containers(subject),
    }
    left_out = _left_out(diagnosis)
    texts: dict[str, str] = {}
    missing = [f"{name}: {reason}" for name, reason in left_out.items()]
    for name, find in parts.items():
        if name in left_out:
            continue
        try:
            texts.update(find())
        except (DqctlError, OSError) as error:
            missing.append(f"{name}: {scrub(str(error))}")
        except Exception as error:  # noqa: BLE001 - what is broken is why somebody asks for support
            missing.append(f"{name}: {type(error).__name__}: {scrub(str(error))}")
    if missing:
        texts["missing.txt"] = "".join(f"{each}\n" for each in missing)
    return texts, missing


def _left_out(diagnosis: Diagnosis) -> dict[str, str]:
    """Parts that would only hang, as the examination has just found out."""
    found = {finding.id: finding for finding in diagnosis.findings}
    left_out = {}
    metadata = found.get("metadata.reachable")
    if metadata and metadata.verdict is Verdict.FAILED:
        left_out["status"] = f"the metadata database does not answer: {scrub(metadata.evidence)}"
    engine = found.get("docker.engine")
    if engine and engine.verdict in (Verdict.FAILED, Verdict.SKIPPED):
        reason = f"the Docker engine does not answer: {scrub(engine.evidence)}"
        left_out |= {"status": reason, "containers": reason}
    return left_out


def _described(settings: Settings) -> dict[str, Any]:
    """Every setting under the name of its variable; of a secret only whether it is set."""
    described: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        described[variable(name)] = "(set)" if isinstance(value, SecretStr) else value
    return described


def _configuration(subject: Subject) -> Texts:
    for name in _CONFIGURATION:
        path = subject.paths.root / name
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            yield f"stack/{name}", _scrubbed_json(text) if path.suffix == ".json" else scrub(text)
    for name in _SECRET_CONFIGURATION:
        path = subject.paths.root / name
        if path.is_file():
            yield f"stack/{name}", scrub(path.read_text(encoding="utf-8", errors="replace"))


def _scrubbed_json(text: str) -> str:
    try:
        return json.dumps(scrub_document(json.loads(text)), indent=2, ensure_ascii=False) + "\n"
    except ValueError:  # a damaged record is just what has to be seen
        return scrub(text)


def _listing(root: Path) -> str:
    """Names, modes and sizes below the stack's directory; of the database cluster only the top."""
    lines = []
    for directory, directories, names in os.walk(root):
        if Path(directory).parent == root and Path(directory).name == "postgres":
            directories.clear()
        for name in sorted((*directories, *names)):
            path = Path(directory) / name
            try:
                status = path.lstat()
            except OSError:
                continue
            changed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(status.st_mtime))
            lines.append(
                f"{stat.filemode(status.st_mode)} {status.st_uid:>6} {status.st_gid:>6} {status.st_size:>12} "
                f"{changed} {path.relative_to(root)}"
            )
    return scrub("\n".join(lines)) + "\n"


def _logs(settings: Settings) -> Texts:
    for source in logs.find_sources(settings):
        try:
            text = "\n".join(line.text for line in logs.read([source], lines=LOG_LINES))
        except DqctlError as error:  # the engine went away: the files are still there
            text = f"cannot be read: {error}"
        if text:
            # Whole before it is cut: a secret that is cut in two would not be recognised.
            yield f"logs/{source.name}.log", scrub(text)[-_LOG_CHARACTERS:] + "\n"


def _containers(subject: Subject) -> Texts:
    if subject.kind != "docker":
        return
    from dqctl.services.doctor.containers import describe

    for name, document in describe(subject).items():
        yield from _json(f"docker/{name}.json", document)


def _json(name: str, found: Any) -> Texts:
    yield name, json.dumps(scrub_document(_plain(found)), indent=2, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _ if hasattr(value, "__dataclass_fields__"):
            return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
        case _:
            return str(value)


def _pack(texts: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    directory = f"dqctl-support-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in texts.items():
            content = text.encode()
            member = tarfile.TarInfo(f"{directory}/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _write(file: Path, content: bytes) -> None:
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # 0600
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            # A link, unlike a rename, never replaces what is there.
            file.hardlink_to(temporary)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise _exists(file) from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UsageError(f"{file} cannot be written: {error.strerror}", "name a file elsewhere") from None


def _exists(file: Path) -> UsageError:
    return UsageError(f"{file} exists, and is not replaced", f"remove it (rm {file}), or name another file")
