"""The process that reads one E57 file with libE57: what it finds goes to standard output in frames.

`python -m ingest.points.e57_worker FILE facts|points`. A damaged file may end this process; the one that asked goes on.
A frame is a letter (F facts, B block of points, X refusal, E end), 8 bytes of length, and JSON or raw records.
"""

import json
import math
import os
import resource
import struct
import sys
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

BLOCK_POINTS = 200_000
MEMORY_BYTES = 6_000_000_000
MAX_SCANS = 100_000
BLOCK = np.dtype(
    [("xyz", "<f8", 3), ("intensity", "<u2"), ("red", "<u2"), ("green", "<u2"), ("blue", "<u2"), ("source_id", "<u2")]
)
CARTESIAN = ("cartesianX", "cartesianY", "cartesianZ")
SPHERICAL = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
COLOURS = ("colorRed", "colorGreen", "colorBlue")
STATES = ("cartesianInvalidState", "sphericalInvalidState")
OTHERS_READ = ("intensity", "isColorInvalid", "isIntensityInvalid")
LEFT_OUT = {"rowIndex", "columnIndex", "returnIndex", "returnCount"}
"""Order of the points in the scan, of no use once they are in a tree."""
GPS_EPOCH_DAYS = 722_820
"""6 January 1980 as a proleptic ordinal: E57 counts seconds from there."""


def frame(out: BinaryIO, letter: bytes, payload: bytes) -> None:
    """Write one frame."""
    out.write(letter + struct.pack("<Q", len(payload)))
    out.write(payload)


def value(node: Any, *names: str, default: Any = None) -> Any:
    """The value below a node by names, or the default where one of them is missing."""
    for each in names:
        if not node.isDefined(each):
            return default
        node = node[each]
    return node.value() if hasattr(node, "value") else default


def pose(scan: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation (3, 3) and translation (3,) of a scan; identity where it states none (ASTM E2807, 8.4.4)."""
    w, x, y, z = (float(value(scan, "pose", "rotation", each, default=0.0)) for each in "wxyz")
    length = math.sqrt(w * w + x * x + y * y + z * z)
    moved = np.array([float(value(scan, "pose", "translation", each, default=0.0)) for each in "xyz"])
    if length == 0:
        return np.eye(3), moved
    w, x, y, z = (each / length for each in (w, x, y, z))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows), moved


def facts(file: Any) -> dict[str, Any]:
    """What the file says of itself, scan by scan."""
    import datetime as dt

    scans, root = [], file.root
    for i in range(min(file.scan_count, MAX_SCANS)):
        header = file.get_header(i)
        started = value(header.node, "acquisitionStart", "dateTimeValue", default=0.0)
        day = None
        if started and 0 < started < 4e9:
            day = (dt.date.fromordinal(GPS_EPOCH_DAYS) + dt.timedelta(seconds=float(started))).isoformat()
        fields = list(header.point_fields)
        scans.append(
            {
                "points": int(header.point_count),
                "fields": fields,
                "has_pose": bool(header.has_pose()),
                "day": day,
                "unread": sorted(set(fields) - {*CARTESIAN, *SPHERICAL, *COLOURS, *STATES, *OTHERS_READ, *LEFT_OUT}),
            }
        )
    images = root["images2D"].childCount() if root.isDefined("images2D") else 0
    return {"crs": str(value(root, "coordinateMetadata", default="") or ""), "images": int(images), "scans": scans}


def limits(scan: Any, group: str, field: str, default: tuple[float, float]) -> tuple[float, float]:
    """Lowest and highest value of a field: as the scan states them, or the default."""
    low, high = (value(scan, group, f"{field}{end}", default=None) for end in ("Minimum", "Maximum"))
    if low is None or high is None or not float(high) > float(low):
        return default
    return float(low), float(high)


def scaled(values: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.uint16]:
    """Values as 0 … 65535 between their limits."""
    low, high = bounds
    part = np.nan_to_num((values - low) / (high - low))
    return np.rint(np.clip(part, 0, 1) * 65535).astype(np.uint16)


def points(file: Any, out: BinaryIO) -> dict[str, int]:
    """Send every valid point of every scan, placed by the scan's pose."""
    counts = {"points": 0, "invalid": 0}
    for i in range(min(file.scan_count, MAX_SCANS)):
        if file.get_header(i).point_count:
            _scan(file, i, out, counts)
    return counts


def _scan(file: Any, i: int, out: BinaryIO, counts: dict[str, int]) -> None:
    from pye57 import libe57

    header = file.get_header(i)
    fields = set(header.point_fields)
    axes = CARTESIAN if set(CARTESIAN) <= fields else SPHERICAL
    wanted = [each for each in (*axes, *COLOURS, *STATES, *OTHERS_READ) if each in fields]
    columns = {each: np.empty(BLOCK_POINTS, np.float64) for each in wanted}
    buffers = libe57.VectorSourceDestBuffer()
    for name, column in columns.items():
        buffers.append(libe57.SourceDestBuffer(file.image_file, name, column, BLOCK_POINTS, True, True))
    rotation, moved = pose(header.node)
    bytes_wide = limits(header.node, "intensityLimits", "intensity", (0.0, 1.0))
    colour_limits = [limits(header.node, "colorLimits", each, (0.0, 255.0)) for each in COLOURS]
    reader = header.points.reader(buffers)
    try:
        while n := reader.read():
            block = np.zeros(n, BLOCK)
            raw = np.stack([columns[each][:n] for each in axes], axis=1)
            block["xyz"] = (raw if axes is CARTESIAN else _cartesian(raw)) @ rotation.T + moved
            block["source_id"] = min(i + 1, 65535)
            if "intensity" in columns:
                block["intensity"] = scaled(columns["intensity"][:n], bytes_wide)
            if set(COLOURS) <= set(columns):
                for name, colour, bounds in zip(("red", "green", "blue"), COLOURS, colour_limits, strict=True):
                    block[name] = scaled(columns[colour][:n], bounds)
            _blank(block, columns, n)
            is_valid = np.isfinite(block["xyz"]).all(axis=1)
            for state in STATES:
                if state in columns:
                    is_valid &= columns[state][:n] == 0
            counts["points"] += int(is_valid.sum())
            counts["invalid"] += int(n - is_valid.sum())
            frame(out, b"B", block[is_valid].tobytes())
    finally:
        reader.close()


def _blank(block: NDArray[np.void], columns: dict[str, NDArray[np.float64]], n: int) -> None:
    """Colours and intensities that are marked as invalid become 0."""
    for flag, names in (("isColorInvalid", ("red", "green", "blue")), ("isIntensityInvalid", ("intensity",))):
        if flag in columns:
            for name in names:
                block[name][columns[flag][:n] != 0] = 0


def _cartesian(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Range, azimuth from x towards y, elevation above the xy plane -> x, y, z (ASTM E2807, 8.4.4)."""
    distance, azimuth, elevation = raw.T
    flat = distance * np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)], axis=1)


def main(path: str, what: str) -> None:
    """Answer on what was standard output; the library's own words go to standard error."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        try:
            import pye57

            with pye57.E57(path) as file:
                if what == "facts":
                    frame(out, b"F", json.dumps(facts(file)).encode())
                else:
                    frame(out, b"E", json.dumps(points(file, out)).encode())
        except Exception as error:  # noqa: BLE001 told to the process that asked
            said = str(error).strip().splitlines() or [type(error).__name__]
            frame(out, b"X", said[0].encode())


if __name__ == "__main__":
    main(*sys.argv[1:3])
