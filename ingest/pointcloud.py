"""LAS, LAZ, COPC -> COPC, every point once, in bounded memory.

Formats: ASPRS LAS 1.4 R15; COPC 1.0 (https://copc.io). Legacy point formats become 6, 7 or 8. What COPC cannot carry
here (waveforms, extra bytes) is named in an issue.
"""

import struct
from pathlib import Path
from typing import Any

from ingest import place
from ingest.copc import write_copc
from ingest.vector import ids_name
from layers import catalogue
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, Hints, Reading

SUFFIXES = (".las", ".laz", ".copc.laz")

HEADER_BYTES = {0: 227, 1: 227, 2: 227, 3: 235, 4: 375}
FIRST_YEAR = 1990
"""Creation dates before it are empty fields of the header."""


def read(path: Path, hints: Hints) -> Reading:
    """The cloud as an asset. Raises InvalidInput for a header that lies, CrsMissing without CRS."""
    import laspy

    name = ids_name(path, hints)
    if hints.layer is not None and catalogue.layer_type(hints.layer).geometry != "points":
        raise InvalidInput(
            f"Layer {hints.layer!r} does not hold points.",
            "Correct `layer` in city.toml.",
            code="LAYER_GEOMETRY_DIFFERS",
        )
    check_header(path, name)
    try:
        with laspy.open(path) as source:
            header = source.header
            stated, issues = _crs(header, name)
            meta = _meta(header)
            bounds = tuple(float(value) for value in (*header.mins[:2], *header.maxs[:2]))
    except (laspy.errors.LaspyException, OSError, ValueError, RuntimeError, struct.error) as error:
        raise InvalidInput(f"{name} cannot be read: {error}.", "Export it again.", code="FILE_UNREADABLE") from error
    if meta["points"] == 0:
        raise InvalidInput(f"{name} has no points.", "Export it again.", code="FILE_EMPTY")
    west, south, east, north = bounds
    certificate, placed = place.certificate(stated, hints, name, (west, south, east, north))
    issues += [*placed, *_not_kept(meta, name)]
    horizontal, vertical = certificate.source_crs or "", certificate.source_vertical_crs
    layer = AssetLayer(
        name=path.name.split(".")[0],
        kind="points",
        layer_type=hints.layer or "point_cloud",
        crs=horizontal,
        bounds=(west, south, east, north),
        meta=meta,
        write=lambda target: write_copc(path, target, name, stated or horizontal),
        suffix=".copc.laz",
        vertical_crs=vertical,
        epoch=hints.epoch or meta["created"],
    )
    return Reading(path, f"LAS {meta['version']}", [layer], certificate, issues)


def check_header(path: Path, name: str) -> None:
    """Compare the public header block with the file's size before any library trusts it. Raises InvalidInput."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(375)
    if len(head) < 227 or head[:4] != b"LASF":
        raise InvalidInput(f"{name} does not begin like a LAS file.", "Export it again.", code="FILE_UNREADABLE")
    minor, header_size, offset, n_vlrs = head[25], *struct.unpack("<HII", head[94:104])
    record_format, record_length, n_points = head[104], *struct.unpack("<HI", head[105:111])
    if head[24] != 1 or minor not in HEADER_BYTES:
        raise InvalidInput(f"{name} is LAS {head[24]}.{minor}.", "Read are LAS 1.0 to 1.4.", code="LAS_VERSION")
    if minor == 4 and len(head) >= 375:
        first_evlr, n_evlrs, n_points_14 = struct.unpack("<QIQ", head[235:255])
        n_points = n_points_14 or n_points
        if n_evlrs * 60 > max(0, size - first_evlr):
            raise _lies(name, f"{n_evlrs} extended VLRs from byte {first_evlr}, but it has {size} bytes")
    if header_size < HEADER_BYTES[minor] or offset < header_size or offset > size:
        raise _lies(name, f"points from byte {offset}, but its header has {header_size} and the file {size} bytes")
    if n_vlrs * 54 > offset - header_size:
        raise _lies(name, f"{n_vlrs} VLRs, but there are only {offset - header_size} bytes for them")
    is_packed = bool(record_format & 0x80)
    if not is_packed and offset + n_points * record_length > size:
        n_whole = (size - offset) // max(record_length, 1)
        problem = f"{name} is cut off: it claims {n_points} points and holds {n_whole}."
        raise InvalidInput(problem, "Copy or export it again.", code="TRUNCATED")


def _lies(name: str, claim: str) -> InvalidInput:
    return InvalidInput(f"The header of {name} claims {claim}.", "It is damaged: export it again.", code="LAS_HEADER")


def _crs(header: Any, name: str) -> tuple[str | None, list[Issue]]:
    """WKT from the VLRs (LAS 1.4: WKT; before: GeoTIFF keys), or None."""
    try:
        parsed = header.parse_crs()
    except Exception as error:  # noqa: BLE001 whatever pyproj finds wrong with a record of the file
        message = f"Its CRS record cannot be read: {error}."
        return None, [Issue("CRS_UNREADABLE", name, message, "Give crs in city.toml.", "warning")]
    return (None, []) if parsed is None else (str(parsed.to_wkt()), [])


def _meta(header: Any) -> dict[str, Any]:
    return {
        "points": int(header.point_count),
        "version": str(header.version),
        "point_format": int(header.point_format.id),
        "scale": [float(value) for value in header.scales],
        "z_bounds": [float(header.mins[2]), float(header.maxs[2])],
        "created": header.creation_date.isoformat()
        if header.creation_date and header.creation_date.year >= FIRST_YEAR
        else None,
        "extra_dimensions": list(header.point_format.extra_dimension_names),
        "waveforms": bool(header.point_format.has_waveform_packet),
        "has_color": "red" in header.point_format.dimension_names,
    }


def _not_kept(meta: dict[str, Any], name: str) -> list[Issue]:
    issues = []
    if meta["extra_dimensions"]:
        message = f"The extra dimensions {', '.join(meta['extra_dimensions'])} are not carried over to COPC."
        issues.append(
            Issue("LAS_EXTRA_BYTES_DROPPED", name, message, "Keep the source file if you need them.", "warning")
        )
    if meta["waveforms"]:
        issues.append(
            Issue(
                "LAS_WAVEFORMS_DROPPED",
                name,
                "Waveforms are not carried over to COPC.",
                "Keep the source file.",
                "warning",
            )
        )
    return issues
