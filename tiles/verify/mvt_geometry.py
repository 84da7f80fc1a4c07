"""Geometry commands of a vector tile feature: legal, closed, wound, inside. MVT 2.1, 4.3."""

import numpy as np
from numpy.typing import NDArray

from tiles.verify.findings import Findings
from tiles.verify.protobuf import zigzag

MOVE_TO, LINE_TO, CLOSE_PATH = 1, 2, 7
POINT, LINE, POLYGON = 1, 2, 3
MAX_BUFFER = 16
"""The extent over this is how far beyond the tile coordinates may be; common writers use 1/64 to 1/16."""

Lines = list[NDArray[np.int64]]


def check_geometry(findings: Findings, where: str, kind: int, codes: NDArray[np.uint64], extent: int) -> None:
    """All rules for one feature; the first broken command ends the reading."""
    paths, words = read_paths(kind, codes)
    if words:
        findings.add("MVT_RING" if words.startswith("A ring") else "MVT_COMMAND", where, words)
        return
    reach = extent // MAX_BUFFER
    everything = np.concatenate(paths)
    low, high = int(everything.min()), int(everything.max())
    if low < -reach or high > extent + reach:
        findings.add("MVT_BUFFER", where, f"Coordinates reach from {low} to {high}, extent {extent}.")
    if kind == POLYGON:
        _check_rings(findings, where, paths)


def read_paths(kind: int, codes: NDArray[np.uint64]) -> tuple[Lines, str]:
    """Points, lines or rings of a geometry as (n, 2) arrays, and what is wrong ("" if nothing)."""
    paths: Lines = []
    at, cursor = 0, np.zeros(2, np.int64)
    while at < len(codes):
        command, count = int(codes[at]) & 7, int(codes[at]) >> 3
        if command != MOVE_TO:
            return paths, f"Command {command} at {at} where MoveTo must be."
        if count < 1 or (kind != POINT and count != 1) or at + 1 + 2 * count > len(codes):
            return paths, f"MoveTo of {count} points at {at} of {len(codes)}."
        moved = cursor + np.cumsum(_pairs(codes, at + 1, count), axis=0)
        at, cursor = at + 1 + 2 * count, moved[-1]
        if kind == POINT:
            if paths:
                return paths, "A second MoveTo in points."
            paths.append(moved)
            continue
        lowest = 1 if kind == LINE else 2
        command, count = (int(codes[at]) & 7, int(codes[at]) >> 3) if at < len(codes) else (0, 0)
        if command != LINE_TO or at + 1 + 2 * count > len(codes):
            return paths, f"Command {command} of {count} points at {at} of {len(codes)} where LineTo must be."
        if count < lowest:
            return paths, f"{'A ring' if kind == POLYGON else 'A line'} of {count + 1} points."
        drawn = cursor + np.cumsum(_pairs(codes, at + 1, count), axis=0)
        at, cursor = at + 1 + 2 * count, drawn[-1]
        paths.append(np.vstack([moved, drawn]))
        if kind == POLYGON:
            if at >= len(codes) or int(codes[at]) != (CLOSE_PATH | 1 << 3):
                return paths, f"A ring is not closed at {at} of {len(codes)}."
            at += 1
    return paths, "" if paths else "There is no geometry."


def _pairs(codes: NDArray[np.uint64], start: int, count: int) -> NDArray[np.int64]:
    return zigzag(codes[start : start + 2 * count]).reshape(-1, 2)


def _check_rings(findings: Findings, where: str, rings: Lines) -> None:
    areas = [_doubled_area(ring) for ring in rings]
    if 0 in areas:
        findings.add("MVT_ZERO_AREA", where, f"Ring {areas.index(0)} has no area.")
    solid = [area for area in areas if area]
    if solid and solid[0] < 0:
        findings.add("MVT_WINDING", where, f"The first ring has area {solid[0] / 2}, it is an interior ring.")


def _doubled_area(ring: NDArray[np.int64]) -> int:
    """Positive for exterior rings: clockwise on the screen, where y goes down."""
    x, y = (ring - ring[0]).T
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
