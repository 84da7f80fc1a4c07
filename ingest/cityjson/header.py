"""What stands at the head of a CityJSON file or sequence: version, transform; and headers that are files of their own.

Spec: https://www.cityjson.org/specs/2.0.1/#cityjson-object ; CityJSONSeq: https://www.cityjson.org/cityjsonseq/ .
"""

import math
from pathlib import Path
from typing import Any

from ingest.cityjson.json import parse
from layers.errors import InvalidInput
from layers.issue import Issue

VERSIONS = ("1.0", "1.1", "2.0")
MAX_COMPANION_BYTES = 16 << 20
MAX_COMPANIONS = 500
"""So many files of a folder are looked at for a header."""
_HEADER_WORDS = ("header", "metadata")


def check_header(header: dict[str, Any], name: str) -> None:
    """Raises InvalidInput where type, version or transform are not those of CityJSON 1.0 to 2.0."""
    if header.get("type") != "CityJSON":
        problem = f"{name}: /type is {header.get('type')!r}, not 'CityJSON'."
        raise InvalidInput(problem, "Correct it, or export it again.", code="CJ_INVALID")
    version = str(header.get("version", ""))
    if not version.startswith(VERSIONS):
        problem = f"{name}: /version is {version[:20]!r}."
        raise InvalidInput(problem, f"Read are {', '.join(VERSIONS)}: cjio FILE upgrade save OUT.", code="CJ_VERSION")
    if "transform" not in header:
        if not version.startswith("1.0"):
            problem = f"{name}: /transform is missing, so the vertices have no scale."
            raise InvalidInput(problem, "Export it again as CityJSON 2.0.", code="CJ_INVALID")
        return
    for key in ("scale", "translate"):
        values = header["transform"].get(key) if isinstance(header["transform"], dict) else None
        if not (isinstance(values, list) and len(values) == 3 and all(_is_number(value) for value in values)):
            problem = f"{name}: /transform/{key} is {short(values)}, not three numbers."
            raise InvalidInput(problem, "Correct it, or export it again.", code="CJ_INVALID")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def short(value: Any) -> str:
    """A value for a message, cut."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def companion(path: Path, name: str) -> tuple[dict[str, Any], Issue]:
    """The header of a sequence that begins with a feature: the one header file of its folder.

    A header file is a CityJSON object with a transform and without city objects; names with `header` or `metadata` go
    first. Raises InvalidInput where there is none, or more than one.
    """
    found = {each: header for each in _neighbours(path) if (header := _as_header(each)) is not None}
    named = {each: header for each, header in found.items() if any(word in each.name.lower() for word in _HEADER_WORDS)}
    chosen = named or found
    if len(chosen) == 1:
        [(file, header)] = chosen.items()
        message = f"Its first line is a feature, no header; scale and reference system were taken from {file.name}."
        return header, Issue("CJ_HEADER_FILE", name, message, "", "info")
    there = f"there are {len(chosen)}: {', '.join(sorted(each.name for each in chosen)[:5])}" if chosen else "is none"
    raise InvalidInput(
        f"{name} begins with a CityJSONFeature, so its scale and reference system are in a header file; beside it "
        f"{there}.",
        "Put the CityJSON object with the transform on the first line, or beside it as metadata.json.",
        code="CJ_HEADER_MISSING",
    )


def has_sequences(path: Path) -> bool:
    """True if beside a header file there are sequences that may belong to it."""
    return any(each.name.lower().endswith(".jsonl") for each in path.parent.iterdir())


def _neighbours(path: Path) -> list[Path]:
    files = sorted(each for each in path.parent.iterdir() if each.suffix.lower() == ".json" and each.is_file())
    files.sort(key=lambda each: not any(word in each.name.lower() for word in _HEADER_WORDS))
    return files[:MAX_COMPANIONS]


def _as_header(path: Path) -> dict[str, Any] | None:
    if path.stat().st_size > MAX_COMPANION_BYTES:
        return None
    data = path.read_bytes()
    if b'"CityJSON"' not in data:
        return None
    try:
        header = parse(data, path.name)
        check_header(header, path.name)
    except InvalidInput:
        return None
    return header if "transform" in header and not header.get("CityObjects") else None
