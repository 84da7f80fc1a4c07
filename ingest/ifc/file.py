"""An IFC file as text: unpacking, finding the line of an error, counting what the parser should have found.

The parser drops what it cannot read in silence (7 of 6184 instances of one broken file, without a message), so the
instances in the text are counted too. Spec: ISO 10303-21 (clear text encoding); .ifczip is a zip with one .ifc.
"""

import mmap
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest import archive
from layers.errors import InvalidInput
from layers.issue import Issue

READ_SCHEMAS = ("IFC2X3", "IFC4", "IFC4X3_ADD2")
ZIP_LIMITS = archive.Limits(total_bytes=8 << 30)

_INSTANCE = re.compile(rb"(?:^|;)[ \t]*#(\d+)[ \t\r\n]*=", re.MULTILINE)
_COMMENT = re.compile(rb"/\*.*?\*/", re.DOTALL)
_SCHEMA = re.compile(rb"FILE_SCHEMA\s*\(\s*\(\s*'([^']*)'", re.IGNORECASE)
_OFFSET = re.compile(r"at offset (\d+)")
_COMMENTED_SIZE = 256 << 20
_N_TOLD = 20


class Scratch:
    """A temporary folder that goes when the last one who holds it goes."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="citytwin-ifc-"))
        self._finalizer = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class Unpacked:
    """The plain file to read, and what keeps it alive when it is a temporary copy."""

    path: Path
    folder: Scratch | None = None


def unpack(path: Path) -> Unpacked:
    """The file itself, or the one .ifc inside an .ifczip. Raises InvalidInput."""
    if not path.exists():
        raise InvalidInput(f"{path.name} does not exist.", "Check the path.", code="FILE_MISSING")
    if path.suffix.lower() != ".ifczip":
        return Unpacked(path)
    with archive.opened(path, ZIP_LIMITS) as held:
        members = held.names(".ifc")
        if len(members) != 1:
            problem = f"{path.name} holds {len(members)} .ifc files, not one."
            raise InvalidInput(problem, "Pack one model into one .ifczip.", code="IFC_ZIP")
        folder = Scratch()
        with (folder.path / "model.ifc").open("wb") as target:
            target.writelines(held.blocks(members[0]))
    return Unpacked(folder.path / "model.ifc", folder)


def check_head_and_tail(path: Path, name: str) -> None:
    """Refuse what is empty, no STEP file, of a schema that is not read, or cut off. Raises InvalidInput."""
    size = path.stat().st_size
    if size == 0:
        raise InvalidInput(f"{name} is empty (0 bytes).", "Export it again.", code="FILE_EMPTY")
    with path.open("rb") as file:
        head = file.read(65536)
        file.seek(max(0, size - 4096))
        tail = file.read()
    if b"ISO-10303-21" not in head[:4096]:
        problem = f"{name} does not begin with ISO-10303-21 (line 1), so it is no IFC file in STEP form."
        raise InvalidInput(problem, "Export it as .ifc (not .ifcXML).", code="IFC_SYNTAX")
    schema = _SCHEMA.search(head)
    stated = schema[1].decode("ascii", "replace").strip().upper() if schema else None
    if stated is not None and stated not in READ_SCHEMAS and not re.match(r"IFC4X[123](_\w+)?$", stated):
        raise _schema_refused(name, stated)
    if b"END-ISO-10303-21" not in tail:
        raise InvalidInput(
            f"{name} ends at line {line_of(path, size)} without END-ISO-10303-21: it is cut off.",
            "Copy or export it again.",
            code="IFC_TRUNCATED",
        )


def _schema_refused(name: str, stated: str) -> InvalidInput:
    return InvalidInput(
        f"{name} is of schema {stated}, which is not read.",
        "Read are IFC2X3, IFC4 and IFC4X3_ADD2 (ISO 16739-1:2024), and drafts of 4.3 as ADD2. Export it again.",
        code="IFC_SCHEMA_UNSUPPORTED",
    )


def parse_failed(path: Path, name: str, kind: str, message: str, log: str) -> InvalidInput:
    """The parser's refusal as an error with the line, where the parser tells the place."""
    if kind == "SchemaError":
        return _schema_refused(name, message.rsplit(" ", 1)[-1])
    where = first_error_line(path, log)
    place = f" at line {where[0]}: {where[1]}" if where else f": {message}"
    return InvalidInput(f"{name} cannot be parsed{place}.", "Export it again.", code="IFC_SYNTAX")


def first_error_line(path: Path, log: str) -> tuple[int, str] | None:
    """Line and words of the first error in the parser's log that names an offset."""
    for line in log.splitlines():
        if line.startswith("[error]") and (match := _OFFSET.search(line)):
            words = line.split("] ", 2)[-1]
            return line_of(path, int(match[1])), words.split(" at offset")[0]
    return None


def dangling(path: Path, name: str, log: str) -> list[Issue]:
    """References to instances that do not exist, with their lines; at most 20 are told one by one."""
    lines = [line for line in log.splitlines() if line.startswith("[error]") and "Instance reference" in line]
    found = []
    for line in lines[:_N_TOLD]:
        match = _OFFSET.search(line)
        where = f"line {line_of(path, int(match[1]))}" if match else name
        words = line.split("] ", 2)[-1].split(" at offset")[0]
        found.append(Issue("IFC_DANGLING_REFERENCE", where, f"{words}.", "Correct the line or export again.", "error"))
    if len(lines) > _N_TOLD:
        message = f"{len(lines) - _N_TOLD} more references lead nowhere."
        found.append(Issue("IFC_DANGLING_REFERENCE", name, message, "Export the file again.", "error"))
    return found


def line_of(path: Path, offset: int) -> int:
    """1-based line of a byte offset, without reading the whole file at once."""
    n_lines = 1
    with path.open("rb") as file:
        while offset > 0 and (block := file.read(min(offset, 1 << 20))):
            n_lines += block.count(b"\n")
            offset -= len(block)
    return n_lines


def n_instances(path: Path) -> int:
    """How many instances the text has; comments are left out."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"/*") < 0:
            return sum(1 for _ in _INSTANCE.finditer(data))
    return sum(1 for _ in instance_ids(path))


def instance_ids(path: Path) -> Iterator[tuple[int, int]]:
    """(instance id, byte offset) of every instance in the text; comments are left out."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"/*") >= 0 and len(data) <= _COMMENTED_SIZE:
            blanked = _COMMENT.sub(lambda match: re.sub(rb"[^\n]", b" ", match[0]), data[:])
            for match in _INSTANCE.finditer(blanked):
                yield int(match[1]), match.start(1)
        else:
            for match in _INSTANCE.finditer(data):
                yield int(match[1]), match.start(1)
