"""Geometry commands of a vector tile feature: legal, closed, wound, inside. MVT 2.1, 4.3."""

from itertools import accumulate, pairwise

from tiles.verify.findings import Findings
from tiles.verify.protobuf import zigzag

MOVE_TO, LINE_TO, CLOSE_PATH = 1, 2, 7
POINT, LINE, POLYGON = 1, 2, 3
MAX_BUFFER = 16
"""The extent over this is how far beyond the tile coordinates may be; common writers use 1/64 to 1/16."""

Line = list[tuple[int, int]]


def check_geometry(findings: Findings, where: str, kind: int, codes: list[int], extent: int) -> None:
    """All rules for one feature; the first broken command ends the reading."""
    paths, words = read_paths(kind, codes)
    if words:
        findings.add("MVT_RING" if words.startswith("A ring") else "MVT_COMMAND", where, words)
        return
    reach = extent // MAX_BUFFER
    low = min(min(min(point) for point in path) for path in paths)
    high = max(max(max(point) for point in path) for path in paths)
    if low < -reach or high > extent + reach:
        findings.add("MVT_BUFFER", where, f"Coordinates reach from {low} to {high}, extent {extent}.")
    if kind == POLYGON:
        _check_rings(findings, where, paths)


def read_paths(kind: int, codes: list[int]) -> tuple[list[Line], str]:
    """Points, lines or rings of a geometry, and what is wrong ("" if nothing)."""
    paths: list[Line] = []
    at, cursor = 0, (0, 0)
    while at < len(codes):
        command, count = codes[at] & 7, codes[at] >> 3
        if command != MOVE_TO:
            return paths, f"Command {command} at {at} where MoveTo must be."
        if count < 1 or (kind != POINT and count != 1) or at + 1 + 2 * count > len(codes):
            return paths, f"MoveTo of {count} points at {at} of {len(codes)}."
        moved = _drawn(cursor, codes[at + 1 : at + 1 + 2 * count])
        at, cursor = at + 1 + 2 * count, moved[-1]
        if kind == POINT:
            if paths:
                return paths, "A second MoveTo in points."
            paths.append(moved)
            continue
        command, count = (codes[at] & 7, codes[at] >> 3) if at < len(codes) else (0, 0)
        if command != LINE_TO or at + 1 + 2 * count > len(codes):
            return paths, f"Command {command} of {count} points at {at} of {len(codes)} where LineTo must be."
        if count < (1 if kind == LINE else 2):
            return paths, f"{'A ring' if kind == POLYGON else 'A line'} of {count + 1} points."
        drawn = _drawn(cursor, codes[at + 1 : at + 1 + 2 * count])
        at, cursor = at + 1 + 2 * count, drawn[-1]
        paths.append(moved + drawn)
        if kind == POLYGON:
            if at >= len(codes) or codes[at] != (CLOSE_PATH | 1 << 3):
                return paths, f"A ring is not closed at {at} of {len(codes)}."
            at += 1
    return paths, "" if paths else "There is no geometry."


def _drawn(cursor: tuple[int, int], codes: list[int]) -> Line:
    """Places after each step; exact whole numbers of any size."""
    steps = [zigzag(code) for code in codes]
    xs = accumulate(steps[0::2], initial=cursor[0])
    ys = accumulate(steps[1::2], initial=cursor[1])
    return list(zip(xs, ys, strict=True))[1:]


def _check_rings(findings: Findings, where: str, rings: list[Line]) -> None:
    areas = [_doubled_area(ring) for ring in rings]
    if 0 in areas:
        findings.add("MVT_ZERO_AREA", where, f"Ring {areas.index(0)} has no area.")
    solid = [area for area in areas if area]
    if solid and solid[0] < 0:
        findings.add("MVT_WINDING", where, f"The first ring has area {solid[0] / 2}, it is an interior ring.")


def _doubled_area(ring: Line) -> int:
    """Positive for exterior rings: clockwise on the screen, where y goes down."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise([*ring, ring[0]]))
