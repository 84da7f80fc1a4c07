"""The header of a LAS file: checked before any library trusts it, and what it says of the CRS.

ASPRS LAS 1.4 R15. A CRS is WKT (LAS 1.4) or GeoTIFF keys (OGC 19-008); the keys, user-defined ones too, are read by
GDAL out of a GeoTIFF of one cell that is made of them.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layers import crs
from layers.errors import InvalidInput
from layers.issue import Issue

HEADER_BYTES = {0: 227, 1: 227, 2: 227, 3: 235, 4: 375}
BASE_BYTES = {0: 20, 1: 28, 2: 26, 3: 34, 4: 57, 5: 63, 6: 30, 7: 36, 8: 38, 9: 59, 10: 67}
PACKING, UNPACKED_BYTES = 500, 100_000_000
"""LAZ packs surveys 1 : 5 to 1 : 20; beyond 1 : 500 a header lies, but for small clouds of equal points."""
MAX_VLR_BYTES = 64_000_000
_KEYS, _DOUBLES, _TEXTS, _WKT = 34735, 34736, 34737, 2112
_CARRIED = {
    ("LASF_Projection", _KEYS), ("LASF_Projection", _DOUBLES), ("LASF_Projection", _TEXTS), ("LASF_Projection", _WKT),
    ("LASF_Spec", 4), ("laszip encoded", 22204), ("copc", 1), ("copc", 1000), ("copc", 10000), ("liblas", _WKT),
}  # fmt: skip
_LASZIP = 22204
_VERTICAL_UNITS = 4099
UNIT_NAMES = {9001: "metres", 9002: "feet", 9003: "US survey feet"}


@dataclass(frozen=True)
class Record:
    """One VLR or EVLR."""

    user: str
    number: int
    data: bytes


@dataclass(frozen=True)
class LasHeader:
    """What the checked header states."""

    version: str
    format_id: int
    record_bytes: int
    n_points: int
    is_packed: bool
    records: list[Record]
    issues: list[Issue]

    def find(self, number: int, user: str = "LASF_Projection") -> bytes | None:
        """Payload of the first record with a number, or None."""
        return next((each.data for each in self.records if (each.user, each.number) == (user, number)), None)


def checked(path: Path, name: str) -> LasHeader:
    """Compare header, VLRs and EVLRs with the file's size. Raises InvalidInput at once for a header that lies."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(375)
        minor = _check_version(head, name)
        header_bytes, start, n_vlrs = struct.unpack("<HII", head[94:104])
        format_id, record_bytes, n_points = head[104] & 0x3F, *struct.unpack("<HI", head[105:111])
        is_packed = bool(head[104] & 0xC0)
        first_evlr, n_evlrs, issues = 0, 0, list[Issue]()
        if minor == 4 and len(head) >= 375:
            first_evlr, n_evlrs, n_long = struct.unpack("<QIQ", head[235:255])
            if n_points and n_long and n_points != n_long:
                message = (
                    f"Its header states {n_points} points in one place and {n_long} in another; the latter counts."
                )
                issues.append(Issue("LAS_COUNT_DIFFERS", name, message, "Export it again.", "warning"))
            n_points = n_long or n_points
            if n_evlrs and n_evlrs * 60 > max(0, size - first_evlr):
                raise _lies(name, f"{n_evlrs} extended VLRs from byte {first_evlr}, but it has {size} bytes")
        if header_bytes < HEADER_BYTES[minor] or start < header_bytes or start > size:
            raise _lies(name, f"points from byte {start}, but its header has {header_bytes} and the file {size} bytes")
        if n_vlrs * 54 > start - header_bytes:
            raise _lies(name, f"{n_vlrs} VLRs, but there are only {start - header_bytes} bytes for them")
        if format_id not in BASE_BYTES or record_bytes < BASE_BYTES[format_id]:
            raise _lies(name, f"point format {format_id} with {record_bytes} bytes a point")
        if is_packed and n_points * record_bytes > max(UNPACKED_BYTES, PACKING * size):
            raise _lies(name, f"{n_points} points, more than {size} bytes can hold")
        if not is_packed and start + n_points * record_bytes > size:
            n_whole = (size - start) // record_bytes
            problem = f"{name} is cut off: it claims {n_points} points and holds {n_whole}."
            raise InvalidInput(problem, "Copy or export it again.", code="TRUNCATED")
        if not is_packed and (n_more := ((first_evlr if n_evlrs else size) - start) // record_bytes - n_points) > 0:
            message = f"After the {n_points} points of its header come bytes for {n_more} more, which are not read."
            issues.append(
                Issue("LAS_COUNT_DIFFERS", name, message, "Export it again if points are missing.", "warning")
            )
        file.seek(header_bytes)
        records = _records(file, name, n_vlrs, start, "<2x16sHH32x")
        file.seek(first_evlr if n_evlrs else size)
        records += _records(file, name, n_evlrs, size, "<2x16sHQ32x")
        if is_packed and n_points:
            packing = next((each.data for each in records if each.number == _LASZIP), b"")
            _check_packing(file, name, packing, start, size, (n_points, record_bytes))
    issues += _not_carried(records, name)
    return LasHeader(f"1.{minor}", format_id, record_bytes, n_points, is_packed, records, issues)


def _check_version(head: bytes, name: str) -> int:
    if len(head) < 227 or head[:4] != b"LASF":
        raise InvalidInput(f"{name} does not begin like a LAS file.", "Export it again.", code="FILE_UNREADABLE")
    if head[24] != 1 or head[25] not in HEADER_BYTES:
        raise InvalidInput(f"{name} is LAS {head[24]}.{head[25]}.", "Read are LAS 1.0 to 1.4.", code="LAS_VERSION")
    return head[25]


def _check_packing(file: Any, name: str, packing: bytes, start: int, size: int, points: tuple[int, int]) -> None:  # noqa: PLR0917
    """Compare what LAZ states with the file: items, chunk size, chunk table (LASzip 3.4; the decoder trusts them).

    Raises InvalidInput for items that make no record, for chunks of nothing, for more chunks than points or bytes.
    """
    n_points, record_bytes = points
    if len(packing) < 34:
        raise _lies(name, "packed points without a whole LASzip record")
    chunk_points, n_items = struct.unpack("<I", packing[12:16])[0], struct.unpack("<H", packing[32:34])[0]
    items = (
        struct.unpack(f"<{3 * n_items}H", packing[34 : 34 + 6 * n_items]) if len(packing) >= 34 + 6 * n_items else ()
    )
    if not items or sum(items[1::3]) != record_bytes or chunk_points == 0:
        raise _lies(name, f"LAZ items of {sum(items[1::3])} bytes for points of {record_bytes}")
    file.seek(start)
    (table,) = struct.unpack("<q", file.read(8).ljust(8, b"\0"))
    if table == -1:  # written as a stream: the place of the table stands at the end
        file.seek(size - 8)
        (table,) = struct.unpack("<q", file.read(8))
    if not start + 8 <= table <= size - 8:
        problem = f"{name} is cut off: its table of LAZ chunks is at byte {table} of {size}."
        raise InvalidInput(problem, "Copy or export it again.", code="TRUNCATED")
    file.seek(table)
    _, n_chunks = struct.unpack("<II", file.read(8))
    if n_chunks > n_points or (chunk_points != 0xFFFFFFFF and n_chunks * chunk_points < n_points):
        raise _lies(name, f"{n_chunks} LAZ chunks of {chunk_points} points for {n_points}")


def _lies(name: str, claim: str) -> InvalidInput:
    return InvalidInput(f"The header of {name} claims {claim}.", "It is damaged: export it again.", code="LAS_HEADER")


def _records(file: Any, name: str, n: int, end: int, layout: str) -> list[Record]:
    """VLRs from here on; raises InvalidInput where one would reach beyond `end`."""
    found = []
    for i in range(n):
        user, number, length = struct.unpack(
            layout, file.read(struct.calcsize(layout)).ljust(60, b"\0")[: struct.calcsize(layout)]
        )
        if file.tell() + length > end:
            raise _lies(name, f"{length} bytes for VLR {i + 1} of {n}, but {max(0, end - file.tell())} are left")
        if length > MAX_VLR_BYTES:
            file.seek(length, 1)
            data = b""
        else:
            data = file.read(length)
        found.append(Record(user.split(b"\0")[0].decode("ascii", "replace"), number, data))
    return found


def _not_carried(records: list[Record], name: str) -> list[Issue]:
    others = [each for each in records if (each.user, each.number) not in _CARRIED and each.number < 65535]
    others = [each for each in others if not (each.user == "LASF_Spec" and 100 <= each.number < 355)]  # of waveforms
    if not others:
        return []
    named = ", ".join(f"{each.user}/{each.number}" for each in others[:5])
    message = f"{len(others)} records of the header are not carried over to COPC: {named}."
    return [Issue("LAS_RECORDS_DROPPED", name, message, "Keep the source file if you need them.", "info")]


def stated_crs(header: LasHeader, name: str) -> tuple[str | None, list[Issue]]:
    """The CRS as text, WKT before keys; None (with an issue) where there is none that can be read."""
    problems = []
    for wkt in (header.find(_WKT), header.find(_WKT, "liblas")):
        text = (wkt or b"").split(b"\0")[0].decode("utf8", "replace").strip()
        if text:
            try:
                return crs.parse(text).to_wkt(), []
            except InvalidInput as error:
                problems.append(str(error))
    keys = header.find(_KEYS)
    if keys and (found := _of_keys(keys, header.find(_DOUBLES) or b"", header.find(_TEXTS) or b"", problems)):
        return found, []
    if not problems:
        return None, []
    message = f"Its CRS record cannot be read: {problems[0]}"
    return None, [Issue("CRS_UNREADABLE", name, message, "Give crs in city.toml.", "warning")]


def _of_keys(keys: bytes, doubles: bytes, texts: bytes, problems: list[str]) -> str | None:
    import rasterio
    from rasterio.errors import RasterioError

    if len(keys) < 8 or len(keys) < 8 + 8 * struct.unpack("<H", keys[6:8])[0]:
        problems.append("the GeoTIFF keys are cut off.")
        return None
    try:
        with (
            rasterio.Env(GTIFF_REPORT_COMPD_CS=True),
            rasterio.MemoryFile(_geotiff(keys, doubles, texts), ext=".tif") as held,
            held.open() as opened,
        ):
            return None if opened.crs is None else crs.parse(opened.crs.to_wkt(version="WKT2_2019")).to_wkt()
    except (RasterioError, InvalidInput, ValueError) as error:
        problems.append(f"{error}.")
        return None


def _geotiff(keys: bytes, doubles: bytes, texts: bytes) -> bytes:
    """A GeoTIFF of one cell with these keys (TIFF 6.0; tags in ascending order, values after the directory)."""
    keys = keys[: 8 + 8 * struct.unpack("<H", keys[6:8])[0]]
    doubles, texts = doubles[: len(doubles) // 8 * 8], texts.rstrip(b"\0") + b"\0"
    short, ascii_, double = (3, 2), (2, 1), (12, 8)
    tags: list[tuple[int, tuple[int, int], bytes]] = [
        (tag, short, struct.pack("<H", value))
        for tag, value in ((256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 1))
    ]
    tags += [(33550, double, struct.pack("<3d", 1, 1, 0)), (33922, double, struct.pack("<6d", *[0] * 6))]
    tags += [(_KEYS, short, keys), (_DOUBLES, double, doubles), (_TEXTS, ascii_, texts)]
    tags = [each for each in tags if each[2]]
    directory, values = struct.pack("<H", len(tags)), b""
    end = 16 + 2 + 12 * len(tags) + 4
    for tag, (kind, item_bytes), data in tags:
        directory += struct.pack("<HHI", tag, kind, len(data) // item_bytes)
        if len(data) <= 4:
            directory += data.ljust(4, b"\0")
        else:
            directory += struct.pack("<I", end + len(values))
            values += data + b"\0" * (len(data) % 2)
    return struct.pack("<2sHI8x", b"II", 42, 16) + directory + struct.pack("<I", 0) + values


def vertical_unit(header: LasHeader) -> str | None:
    """The unit of heights that the GeoTIFF keys name (VerticalUnitsGeoKey), in words; None if they name none."""
    keys = header.find(_KEYS) or b""
    for at in range(8, len(keys) - 7, 8):
        key, _, _, value = struct.unpack("<4H", keys[at : at + 8])
        if key == _VERTICAL_UNITS:
            return UNIT_NAMES.get(value, f"EPSG unit {value}")
    return None
