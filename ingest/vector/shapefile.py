"""What must hold before a shapefile is read: its parts are there and whole, and its text has a known encoding.

Byte positions: ESRI Shapefile Technical Description (1998); dBASE III table file header.
"""

import codecs
import struct
from collections.abc import Iterator
from pathlib import Path

from layers.errors import InvalidInput
from layers.issue import Issue

HEADER_BYTES = 100
DBF_HEADER_BYTES = 32
SAMPLE_BYTES = 4_000_000

_LDID = {
    0x4D: "gb18030",
    0x7A: "gb18030",
    0x78: "big5",
    0x4F: "big5",
    0x03: "cp1252",
    0x57: "cp1252",
    0x01: "cp437",
    0x02: "cp850",
}
"""dBASE language ids (byte 29) -> Python codecs. 0x57 is what GDAL and ESRI write for «ANSI» whatever it is."""


def part(path: Path, suffix: str) -> Path | None:
    """A file of the set, in any case of its suffix."""
    return next((each for each in (path.with_suffix(suffix), path.with_suffix(suffix.upper())) if each.exists()), None)


def check(path: Path) -> list[Issue]:
    """Raise InvalidInput when a part is missing, cut off or not what its name says; a lone .dbf is a table.

    An index (.shx) that is missing can be made again from the .shp, and is: that is the issue.
    """
    if path.suffix.lower() == ".dbf":
        _check_dbf(path)
        return []
    table, index = part(path, ".dbf"), part(path, ".shx")
    if table is None:
        names = " and ".join(path.with_suffix(suffix).name for suffix in (".dbf", ".shx") if not part(path, suffix))
        hint = "Copy all files of the set into the folder."
        raise InvalidInput(f"{path.name} lacks {names}.", hint, code="SHP_PART_MISSING")
    for each in (path, index):
        if each is not None:
            _check_main(each)
    _check_dbf(table)
    if index is not None:
        return []
    message = f"{path.name} lacks {path.with_suffix('.shx').name}: the index was made again from the shapes."
    return [Issue("SHP_INDEX_MADE", path.name, message, "Copy all files of the set into the folder.", "warning")]


def is_multipatch(path: Path) -> bool:
    """True if the header says shape type 31: the polygons are faces of bodies."""
    return _head(path, HEADER_BYTES)[32:36] == b"\x1f\0\0\0"


def _head(path: Path, n_bytes: int) -> bytes:
    with path.open("rb") as file:
        return file.read(n_bytes)


def _check_main(path: Path) -> None:
    size = path.stat().st_size
    head = _head(path, HEADER_BYTES)
    if len(head) < HEADER_BYTES or struct.unpack(">i", head[:4])[0] != 9994:
        raise InvalidInput(f"{path.name} does not begin like a shapefile.", "Export it again.", code="FILE_UNREADABLE")
    claimed = struct.unpack(">i", head[24:28])[0] * 2
    if claimed > size:
        problem = f"{path.name} is cut off at byte {size}: its header claims {claimed} bytes."
        raise InvalidInput(problem, "Copy or export it again.", code="TRUNCATED")


def _check_dbf(path: Path) -> None:
    size = path.stat().st_size
    head = _head(path, DBF_HEADER_BYTES)
    if len(head) < 32:
        raise InvalidInput(f"{path.name} has only {len(head)} bytes.", "Copy or export it again.", code="TRUNCATED")
    n_rows, header_bytes, row_bytes = struct.unpack("<IHH", head[4:12])
    claimed = header_bytes + n_rows * row_bytes
    if claimed > size:
        n_whole = max(0, (size - header_bytes) // max(row_bytes, 1))
        problem = f"{path.name} is cut off at byte {size}: it claims {n_rows} rows and holds {n_whole}."
        raise InvalidInput(problem, "Copy or export it again.", code="TRUNCATED")


def encoding(path: Path, told: str | None) -> tuple[str, list[Issue]]:
    """The encoding of the DBF's text: told, else .cpg, else the language id, each only if the text decodes; then
    UTF-8, then GB18030, then Latin-1. An issue says which when the file did not.
    """
    table = path if path.suffix.lower() == ".dbf" else part(path, ".dbf")
    if table is None:
        return told or "utf-8", []
    declared = told or _cpg(path) or _LDID.get(_head(table, DBF_HEADER_BYTES)[29])
    texts = list(_texts(table))
    issues: list[Issue] = []
    if declared is not None:
        if _decodes(texts, declared):
            return _gdal_name(declared), issues
        message = f"The text of {table.name} is not {declared}, as is declared."
        issues.append(
            Issue("ENCODING_WRONG", table.name, message, "Correct the .cpg file or `encoding` in city.toml.", "warning")
        )
    plain = all(byte < 128 for text in texts for byte in text)
    guesses = ("utf-8", "gb18030") if _seems_chinese(texts) else ("utf-8",)
    found = next((each for each in guesses if _decodes(texts, each)), "iso-8859-1")
    if not plain:
        message = f"The text of {table.name} is read as {found}: it says no encoding that fits."
        hint = f"If names look wrong, give `encoding` in city.toml, or write a {path.stem}.cpg."
        issues.append(Issue("ENCODING_DETECTED", table.name, message, hint, "info"))
    return _gdal_name(found), issues


def _cpg(path: Path) -> str | None:
    file = part(path, ".cpg")
    text = file.read_text("ascii", "replace").strip() if file else ""
    if not text:
        return None
    name = {"936": "gb18030", "950": "big5", "65001": "utf-8", "gbk": "gb18030", "gb2312": "gb18030"}.get(
        text.lower(), text
    )
    name = f"cp{name}" if name.isdigit() else name.replace("ANSI ", "cp").replace("OEM ", "cp")
    name = {"cp936": "gb18030", "cp950": "big5"}.get(name.lower(), name)
    try:
        b"".decode(name)  # also refuses codecs that make no text, such as zlib
    except (LookupError, ValueError):
        return None
    return name


def _gdal_name(name: str) -> str:
    canonical = codecs.lookup(name).name
    return {"gb18030": "GB18030", "gbk": "GBK", "utf-8": "UTF-8", "iso8859-1": "ISO-8859-1", "big5": "BIG5"}.get(
        canonical, canonical.upper()
    )


def _decodes(texts: list[bytes], name: str) -> bool:
    """True if every text decodes; a character that the field's width cut in two does not count against it."""
    try:
        decoder = codecs.getincrementaldecoder(name)()
        for text in texts:
            decoder.reset()
            decoder.decode(text)
    except (UnicodeDecodeError, LookupError):
        return False
    return True


def _seems_chinese(texts: list[bytes]) -> bool:
    """True if most pairs of bytes are GB 2312 (both above 0xA0): after an accented letter mostly an ASCII one comes."""
    n_pairs = n_common = 0
    for text in texts:
        at = 0
        while at < len(text):
            if text[at] < 0x81:
                at += 1
                continue
            n_pairs += 1
            n_common += 0xA1 <= text[at] <= 0xF7 and text[at + 1 : at + 2] >= b"\xa1"
            at += 2
    return n_common * 2 > n_pairs


def _texts(path: Path) -> Iterator[bytes]:
    """Field names and the character fields of the first 4 MB of rows (values may be cut inside a character)."""
    with path.open("rb") as file:
        head = file.read(32)
        n_rows, header_bytes, row_bytes = struct.unpack("<IHH", head[4:12])
        fields, at = [], 1
        for _ in range((header_bytes - 33) // 32):
            row = file.read(32)
            if len(row) < 32 or row[0] == 0x0D:
                break
            yield row[:11].split(b"\0")[0]
            if row[11:12] == b"C":
                fields.append((at, at + row[16]))
            at += row[16]
        file.seek(header_bytes)
        for _ in range(min(n_rows, SAMPLE_BYTES // max(row_bytes, 1))):
            row = file.read(row_bytes)
            for start, end in fields:
                yield row[start:end].rstrip(b" \0")
