"""One quantized-mesh 1.0 tile, decoded and checked alone.

With its place in the grid also the bounding sphere and the horizon occlusion point are checked.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.verify.findings import Findings
from tiles.verify.json_text import BadJson, parse
from tiles.verify.volumes import SEMI_MAJOR_M, SEMI_MINOR_M, ecef

STEPS = 32767
EDGES = ("west", "south", "east", "north")
NORMALS, WATERMASK, METADATA = 1, 2, 4
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Square = tuple[float, float, float, float]
"""West, south, east, north of a tile, radians."""


@dataclass(frozen=True)
class Header:
    """The 88 bytes at the start."""

    centre: FloatArray
    low: float
    high: float
    sphere: FloatArray
    horizon: FloatArray


@dataclass
class Terrain:
    """A decoded tile; heights in metres."""

    header: Header
    u: IntArray
    v: IntArray
    height: IntArray
    triangles: IntArray
    edges: dict[str, IntArray] = field(default_factory=dict)

    @property
    def heights_m(self) -> FloatArray:
        """As CesiumJS interpolates them between the lowest and the highest."""
        part = self.height / STEPS
        return np.asarray((1 - part) * self.header.low + part * self.header.high)

    def edge(self, name: str) -> tuple[IntArray, FloatArray]:
        """Along (u or v) and heights of an edge, ascending."""
        rows = self.edges[name]
        along = (self.v if name in {"west", "east"} else self.u)[rows]
        order = np.argsort(along, kind="stable")
        return along[order], self.heights_m[rows][order]


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, dtype: str, count: int) -> NDArray[Any]:
        kind = np.dtype(dtype)
        if self.at + kind.itemsize * count > len(self.data):
            raise EOFError(f"{count:,} numbers of {kind.itemsize} bytes at byte {self.at:,} of {len(self.data):,}")
        made = np.frombuffer(self.data, kind, count, self.at)
        self.at += kind.itemsize * count
        return made


def check_terrain(findings: Findings, where: str, data: bytes, square: Square | None) -> Terrain | None:
    """The decoded tile, None where it cannot be decoded. `square` is its place where that is known."""
    findings.read("terrain", where)
    cursor = _Cursor(data)
    try:
        terrain = _decode(findings, where, cursor)
    except EOFError as error:
        findings.add("TERRAIN_TRUNCATED", where, f"{error}.")
        return None
    if terrain is None:
        return None
    _check_edges(findings, where, terrain)
    _check_triangles(findings, where, terrain)
    _check_extensions(findings, where, cursor, len(terrain.u))
    if square is not None and np.isfinite([terrain.header.low, terrain.header.high]).all():
        _check_place(findings, where, terrain, square)
    return terrain


def _decode(findings: Findings, where: str, cursor: _Cursor) -> Terrain | None:
    header = _header(findings, where, cursor)
    n = int(cursor.take("<u4", 1)[0])
    axes = []
    for name in ("u", "v", "height"):
        coded = cursor.take("<u2", n).astype(np.int64)
        values = np.cumsum((coded >> 1) ^ -(coded & 1))
        if n and (values.min() < 0 or values.max() > STEPS):
            findings.add("TERRAIN_QUANTIZED", where, f"{name} decodes to {values.min()}..{values.max()}.")
            return None
        axes.append(values)
    kind, size = ("<u4", 4) if n > 65536 else ("<u2", 2)
    cursor.at += -cursor.at % size
    n_triangles = int(cursor.take("<u4", 1)[0])
    codes = cursor.take(kind, 3 * n_triangles).astype(np.int64)
    is_new = codes == 0
    highest = np.cumsum(is_new) - is_new
    indices = highest - codes
    if not n or not n_triangles:
        findings.add("TERRAIN_TRUNCATED", where, f"{n} vertices, {n_triangles} triangles.")
        return None
    if indices.min() < 0:
        at = int(np.flatnonzero(indices < 0)[0])
        words = f"Code {codes[at]} of corner {at} where {highest[at]} vertices were used before."
        findings.add("TERRAIN_HIGH_WATER", where, words)
        return None
    if indices.max() >= n:
        findings.add("TERRAIN_INDEX_RANGE", where, f"Index {indices.max()} of {n} vertices.")
        return None
    terrain = Terrain(header, axes[0], axes[1], axes[2], indices.reshape(-1, 3))
    for name in EDGES:
        rows = cursor.take(kind, int(cursor.take("<u4", 1)[0])).astype(np.int64)
        if len(rows) and rows.max() >= n:
            findings.add("TERRAIN_INDEX_RANGE", where, f"Index {rows.max()} in the {name} edge of {n} vertices.")
            rows = rows[rows < n]
        terrain.edges[name] = rows
    return terrain


def _header(findings: Findings, where: str, cursor: _Cursor) -> Header:
    centre, heights = cursor.take("<f8", 3), cursor.take("<f4", 2).astype(np.float64)
    sphere, horizon = cursor.take("<f8", 4), cursor.take("<f8", 3)
    if not np.isfinite(np.concatenate([centre, heights, sphere, horizon])).all() or sphere[3] < 0:
        findings.add("TERRAIN_HEADER", where, f"Heights {heights.tolist()}, sphere {sphere.tolist()}.")
    elif heights[0] > heights[1]:
        findings.add("TERRAIN_HEIGHTS", where, f"Lowest {heights[0]}, highest {heights[1]}.")
    return Header(centre, float(heights[0]), float(heights[1]), sphere, horizon)


def _check_edges(findings: Findings, where: str, terrain: Terrain) -> None:
    on = {
        "west": terrain.u == 0, "south": terrain.v == 0, "east": terrain.u == STEPS, "north": terrain.v == STEPS,
    }  # fmt: skip
    for name, mask in on.items():
        rows = terrain.edges[name]
        off = rows[~mask[rows]]
        if len(off):
            at = f"u {terrain.u[off[0]]}, v {terrain.v[off[0]]}"
            findings.add(
                "TERRAIN_EDGE_OFF", where, f"{len(off)} of the {name} edge are elsewhere, vertex {off[0]} at {at}."
            )
        if len(np.unique(rows)) != len(rows):
            findings.add("TERRAIN_EDGE_REPEATED", where, f"{len(rows) - len(np.unique(rows))} of the {name} edge.")
        missing = np.setdiff1d(np.flatnonzero(mask), rows)
        if len(missing):
            findings.add(
                "TERRAIN_EDGE_MISSING", where, f"{len(missing)} of the {name} edge, first vertex {missing[0]}."
            )


def _check_triangles(findings: Findings, where: str, terrain: Terrain) -> None:
    unused = len(terrain.u) - len(np.unique(terrain.triangles))
    if unused:
        findings.add("TERRAIN_UNUSED", where, f"{unused} of {len(terrain.u)} vertices.")
    a, b, c = ((terrain.u[each], terrain.v[each]) for each in terrain.triangles.T)
    doubled = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
    if (doubled < 0).any():
        findings.add("TERRAIN_WINDING", where, f"{int((doubled < 0).sum())} of {len(doubled)} turn clockwise.")
    part = float(np.abs(doubled).sum()) / (2 * STEPS**2)
    if abs(part - 1) > 1e-6:
        findings.add("TERRAIN_AREA", where, f"The triangles cover {part:.4f} of the tile.")


def _check_extensions(findings: Findings, where: str, cursor: _Cursor, n: int) -> None:
    data, at = cursor.data, cursor.at
    seen = set()
    while at < len(data):
        if at + 5 > len(data):
            findings.add("TERRAIN_EXTENSION", where, f"{len(data) - at} bytes are left over.")
            return
        kind, length = struct.unpack_from("<BI", data, at)
        body = data[at + 5 : at + 5 + length]
        if len(body) < length or kind in seen:
            findings.add("TERRAIN_EXTENSION", where, f"Extension {kind} has {length:,} bytes, or is there twice.")
            return
        seen.add(kind)
        if (kind == NORMALS and length != 2 * n) or (kind == WATERMASK and length not in {1, 65536}):
            findings.add("TERRAIN_EXTENSION", where, f"Extension {kind} has {length:,} bytes for {n} vertices.")
        elif kind == METADATA:
            _check_metadata(findings, where, body)
        at += 5 + length


def _check_metadata(findings: Findings, where: str, body: bytes) -> None:
    length = int.from_bytes(body[:4], "little")
    if len(body) != 4 + length:
        findings.add("TERRAIN_EXTENSION", where, f"Metadata: {length} bytes of JSON in {len(body)}.")
        return
    try:
        parse(body[4:])
    except BadJson as error:
        findings.add("TERRAIN_EXTENSION", where, f"Metadata: {error}.")


def _check_place(findings: Findings, where: str, terrain: Terrain, square: Square) -> None:
    west, south, east, north = square
    lon = west + (east - west) * (terrain.u / STEPS)
    lat = south + (north - south) * (terrain.v / STEPS)
    points = ecef(lon, lat, terrain.heights_m)
    sphere = terrain.header.sphere
    over = float(np.linalg.norm(points - sphere[:3], axis=1).max() - sphere[3])
    # half a step across and in height, rounded places of a writer's grid
    step = (east - west) * SEMI_MAJOR_M / STEPS + (terrain.header.high - terrain.header.low) / STEPS
    if over > 1.0 + 2 * step:
        findings.add("TERRAIN_SPHERE", where, f"A vertex lies {over:.1f} m outside of the radius {sphere[3]:.1f} m.")
    needed = horizon_reach(points, terrain.header.horizon, (east - west) / STEPS)
    reach = float(np.linalg.norm(terrain.header.horizon))
    if needed is not None and reach < needed * (1 - 1e-6):
        words = f"It lies at {reach:.6f} radii, the vertices need {needed:.6f}."
        findings.add("TERRAIN_HORIZON", where, words)


def horizon_reach(points: FloatArray, horizon: FloatArray, slack_rad: float) -> float | None:
    """How far out (in radii) a point towards `horizon` must be so as to be seen whenever one of the points is.

    A vertex at distance m (in radii, at least 1) and angle a from the direction is visible from every place that sees
    the point at 1 / cos(a + b) with cos b = 1 / m. None where no point is far enough (a + b of a quarter turn).
    """
    scaled = points / [SEMI_MAJOR_M, SEMI_MAJOR_M, SEMI_MINOR_M]
    length = float(np.linalg.norm(horizon))
    if not np.isfinite(length) or length == 0:
        return None
    magnitudes = np.linalg.norm(scaled, axis=1)
    towards = horizon / length
    along = scaled @ towards
    across = np.linalg.norm(scaled - along[:, None] * towards, axis=1)
    angle = np.maximum(np.arctan2(across, along) - slack_rad, 0)
    turn = angle + np.arccos(1 / np.maximum(magnitudes, 1))
    return None if turn.max() > 1.5 else float((1 / np.cos(turn)).max())
