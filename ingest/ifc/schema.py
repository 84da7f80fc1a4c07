"""Which schemas are read, and the stated policy for drafts and release candidates of IFC 4.3.

IFC2X3, IFC4 and IFC4X3_ADD2 are read as they are. IFC4X1, IFC4X2 and every earlier IFC4X3 are read as IFC4X3_ADD2,
class names that became others being replaced. Classes that ADD2 does not have, and instances whose number of attributes
differs from ADD2's, are counted in an Issue: their values may be lost or shifted, everything else is as written.
"""

import re
from collections import Counter
from pathlib import Path

from ingest.ifc.file import READ_SCHEMAS, Scratch, Unpacked, instance_ids
from layers.issue import Issue

READ_AS = "IFC4X3_ADD2"

_CANDIDATE = re.compile(r"IFC4X[123](_\w+)?$")
_SCHEMA = re.compile(rb"(FILE_SCHEMA\s*\(\s*\(\s*')([^']*)'", re.IGNORECASE)
_RENAMED = {
    b"IFCSOLIDSTRATUM": b"IFCGEOTECHNICALSTRATUM",
    b"IFCWATERSTRATUM": b"IFCGEOTECHNICALSTRATUM",
    b"IFCVOIDSTRATUM": b"IFCGEOTECHNICALSTRATUM",
}
_OLD_NAMES = re.compile(rb"=\s*(" + b"|".join(_RENAMED) + rb")\s*\(", re.IGNORECASE)
_CLASS = re.compile(rb"\s*=\s*(\w+)")
_HEAD = 65536


def is_candidate(stated: str) -> bool:
    """True for a draft or release candidate that is read as IFC4X3_ADD2."""
    return stated not in READ_SCHEMAS and _CANDIDATE.match(stated) is not None


def to_known(source: Unpacked, name: str) -> tuple[Unpacked, list[Issue]]:
    """The file itself, or a temporary copy under the name of the schema that it is read as; lines stay as they were."""
    with source.path.open("rb") as reading:
        head = reading.read(_HEAD)
        found = _SCHEMA.search(head)
        stated = found[2].decode("ascii", "replace").strip().upper() if found else ""
        if found is None or not is_candidate(stated):
            return source, []
        folder = Scratch()
        target = folder.path / "model.ifc"
        renamed: Counter[str] = Counter()
        reading.seek(found.end())
        with target.open("wb") as writing:
            writing.write(head[: found.start(2)] + READ_AS.encode() + b"'")
            writing.writelines(_rename(line, renamed) for line in reading)
    words = ", ".join(f"{count} {old}" for old, count in sorted(renamed.items()))
    message = f"{name} is of schema {stated}, a draft; it is read as {READ_AS}."
    if words:
        message += f" Read under the names that their classes have there: {words}."
    hint = "Export it as IFC4X3_ADD2 (ISO 16739-1:2024) where something is missing."
    return Unpacked(target, folder), [Issue("IFC_SCHEMA_CANDIDATE", name, message, hint)]


def _rename(line: bytes, renamed: Counter[str]) -> bytes:
    if b"STRATUM" not in line.upper():
        return line

    def new_name(match: re.Match[bytes]) -> bytes:
        old = match[1].upper()
        renamed[old.decode()] += 1
        return b"=" + _RENAMED[old] + b"("

    return _OLD_NAMES.sub(new_name, line)


def lost(plain: Path, name: str, missing: set[int], log: str) -> list[Issue]:
    """What of a candidate could not be read: instances by class, and how many have another number of attributes."""
    issues = []
    if missing:
        classes: Counter[str] = Counter()
        with plain.open("rb") as file:
            for number, offset in instance_ids(plain):
                if number in missing:
                    file.seek(offset + len(str(number)))
                    found = _CLASS.match(file.read(200))
                    classes[found[1].decode("ascii", "replace") if found else "?"] += 1
        words = ", ".join(f"{count} {each}" for each, count in classes.most_common())
        message = f"{sum(classes.values())} instances are of classes that {READ_AS} does not have: {words}."
        issues.append(Issue("IFC_CANDIDATE_LOST", name, message, "Export the file as IFC4X3_ADD2."))
    n_odd = sum("Expected" in line and "attribute values" in line for line in log.splitlines())
    if n_odd:
        message = f"{n_odd} instances have another number of attributes than in {READ_AS}; values may be missing."
        issues.append(Issue("IFC_CANDIDATE_ATTRIBUTES", name, message, "Export the file as IFC4X3_ADD2."))
    return issues
