"""layer.json by the rules of both QGIS and CesiumJS, its tiles, and the edges that neighbours share."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tiles.verify.findings import Findings
from tiles.verify.json_text import child, is_count, numbers
from tiles.verify.source import ACCEPT_TERRAIN, Source, Unread
from tiles.verify.terrain_file import STEPS, FloatArray, IntArray, Square, Terrain, check_terrain

MAX_ZOOM = 30
MAX_GRID = 2**22
"""Tiles of a level whose `available` is compared with the level above as a grid."""
MAX_RANGES = 2000
"""Of a level."""
KEPT_EDGES = 20_000
OPPOSITE = {"west": "east", "east": "west", "south": "north", "north": "south"}
Range = tuple[int, int, int, int]
"""First and last column, first and last row."""
EdgeLine = tuple[IntArray, FloatArray, float]
"""Places along, heights, size of a height step."""


def square(z: int, x: int, y: int, *, mercator: bool = False) -> Square:
    """Radians of a tile counted from the south; in Web Mercator the latitudes of its rows."""
    if not mercator:
        side = np.pi / 2**z
        return x * side - np.pi, y * side - np.pi / 2, (x + 1) * side - np.pi, (y + 1) * side - np.pi / 2
    side = 2 * np.pi / 2**z
    south, north = (2 * np.arctan(np.exp((row * side) - np.pi)) - np.pi / 2 for row in (y, y + 1))
    return x * side - np.pi, float(south), (x + 1) * side - np.pi, float(north)


@dataclass
class Edges:
    """Edges of tiles that were met, until their neighbours come; the oldest go first."""

    findings: Findings
    _kept: OrderedDict[tuple[int, int, int, str], EdgeLine] = field(default_factory=OrderedDict)

    def add(self, where: str, place: tuple[int, int, int], terrain: Terrain) -> None:
        """Compare with the neighbours that are there, keep the rest."""
        z, x, y = place
        step = (terrain.header.high - terrain.header.low) / STEPS
        for name, (dx, dy) in {"west": (-1, 0), "south": (0, -1), "east": (1, 0), "north": (0, 1)}.items():
            line = (*terrain.edge(name), step)
            other = self._kept.pop((z, x + dx, y + dy, OPPOSITE[name]), None)
            if other is not None:
                self._compare(where, name, line, other)
            else:
                self._kept[z, x, y, name] = line
        while len(self._kept) > KEPT_EDGES:
            self._kept.popitem(last=False)

    def _compare(self, where: str, name: str, line: EdgeLine, other: EdgeLine) -> None:
        if not np.array_equal(line[0], other[0]):
            only = len(np.setxor1d(line[0], other[0]))
            words = f"{only} vertices of the {name} edge are in one of the neighbours only."
            self.findings.add("TERRAIN_EDGE_CRACK", where, words)
            return
        off = float(np.abs(line[1] - other[1]).max(initial=0))
        if off > line[2] + other[2] + 1e-6:
            self.findings.add("TERRAIN_EDGE_CRACK", where, f"Heights of the {name} edge differ by up to {off:.3f} m.")
        elif off > 1e-6:
            self.findings.add("TERRAIN_EDGE_INEXACT", where, f"Heights of the {name} edge differ by up to {off:.2g} m.")


@dataclass
class TerrainWalk:
    """Checks a layer.json and its tiles, level by level."""

    findings: Findings
    source: Source
    goes_on: Callable[[str], bool]

    def check(self, address: str, layer: dict[str, Any]) -> None:
        """Everything that the document names."""
        self.findings.read("layer.json", address)
        self._structure(address, layer)
        mercator = layer.get("projection") == "EPSG:3857"
        levels = self._available(address, layer, mercator=mercator)
        self._hierarchy(address, levels, mercator=mercator)
        templates = layer.get("tiles")
        if not isinstance(templates, list) or not templates or not isinstance(templates[0], str):
            return
        edges = Edges(self.findings)
        from_north = layer.get("scheme", layer.get("schema")) in ("xyz", "slippyMap")
        for z, x, y in _places(levels):
            if not self.goes_on(address):
                return
            row = 2**z - 1 - y if from_north else y
            name = templates[0].replace("{version}", str(layer.get("version", "")))
            for key, value in (("{z}", z), ("{x}", x), ("{y}", row)):
                name = name.replace(key, str(value))
            self._tile(self.source.join(address, name), (z, x, y), edges, mercator=mercator)

    def _tile(self, address: str, place: tuple[int, int, int], edges: Edges, *, mercator: bool) -> None:
        try:
            data = self.source.read(address, ACCEPT_TERRAIN)
        except Unread as error:
            code = "TERRAIN_MISSING" if error.code == "MISSING" else error.code
            self.findings.add(code, address, str(error))
            return
        terrain = check_terrain(self.findings, address, data, square(*place, mercator=mercator))
        if terrain is not None:
            edges.add(address, place, terrain)

    def _structure(self, where: str, layer: dict[str, Any]) -> None:
        add = self.findings.add
        if layer.get("format") != "quantized-mesh-1.0":
            add("LAYER_JSON_FORMAT", where, f"format is {layer.get('format')!r}.")
        if layer.get("projection") not in ("EPSG:4326", "EPSG:3857"):
            add("LAYER_JSON_QGIS", where, f"projection is {layer.get('projection')!r}.")
        if layer.get("scheme", layer.get("schema")) not in ("tms", "xyz", "slippyMap"):
            add("LAYER_JSON_QGIS", where, f"scheme is {layer.get('scheme')!r}.")
        if not isinstance(layer.get("version"), str):
            add("LAYER_JSON_QGIS", where, f"version is {layer.get('version')!r}, not a string.")
        tiles = layer.get("tiles")
        if not isinstance(tiles, list) or not tiles or not all(_is_template(each) for each in tiles):
            add("LAYER_JSON_STRUCTURE", where, f"tiles is {str(tiles)[:120]}.")
        low, high = layer.get("minzoom", 0), layer.get("maxzoom")
        if not is_count(low) or not is_count(high) or not low <= high <= MAX_ZOOM:
            add("LAYER_JSON_STRUCTURE", where, f"minzoom is {low!r}, maxzoom {high!r}.")
        bounds = numbers(layer.get("bounds", [-180, -90, 180, 90]), 4)
        if bounds is None or not (-180 <= bounds[0] <= bounds[2] <= 180 and -90 <= bounds[1] <= bounds[3] <= 90):
            add("LAYER_JSON_STRUCTURE", where, f"bounds is {str(layer.get('bounds'))[:80]}.")
        names = layer.get("extensions", [])
        if not isinstance(names, list) or set(map(str, names)) - {
            "octvertexnormals",
            "vertexnormals",
            "watermask",
            "metadata",
        }:
            add("LAYER_JSON_STRUCTURE", where, f"extensions is {str(names)[:80]}.")
        if "metadataAvailability" in layer:
            add("LAYER_JSON_METADATA", where, f"metadataAvailability is {layer['metadataAvailability']!r}.")
        if "parentUrl" in layer:
            add("LAYER_JSON_METADATA", where, "parentUrl is not read by QGIS.")

    def _available(self, where: str, layer: dict[str, Any], *, mercator: bool) -> list[list[Range]]:
        listed = layer.get("available")
        if not isinstance(listed, list) or not listed:
            self.findings.add("LAYER_JSON_AVAILABLE", where, f"available is {str(listed)[:60]}.")
            return []
        high = layer.get("maxzoom")
        if is_count(high) and len(listed) != high + 1:
            self.findings.add("LAYER_JSON_AVAILABLE", where, f"{len(listed)} levels, maxzoom is {high}.")
        levels: list[list[Range]] = []
        for z, ranges in enumerate(listed[: MAX_ZOOM + 1]):
            columns, rows = 2 ** (z if mercator else z + 1), 2**z
            made: list[Range] = []
            if isinstance(ranges, list) and len(ranges) > MAX_RANGES:
                self.findings.cut(f"{where}#/available/{z}", f"{len(ranges):,} ranges; {MAX_RANGES:,} are read.")
            for said in ranges[:MAX_RANGES] if isinstance(ranges, list) else [None]:
                read = [child(said).get(key) for key in ("startX", "endX", "startY", "endY")]
                a, b, c, d = (each if is_count(each) else -1 for each in read)
                if 0 <= a <= b < columns and 0 <= c <= d < rows:
                    made.append((a, b, c, d))
                else:
                    self.findings.add("LAYER_JSON_AVAILABLE", f"{where}#/available/{z}", f"{str(said)[:100]}.")
            levels.append(made)
        return levels

    def _hierarchy(self, where: str, levels: list[list[Range]], *, mercator: bool) -> None:
        wants = {(0, 0)} if mercator else {(0, 0), (1, 0)}
        has = {(x, y) for a, b, c, d in (levels[0] if levels else []) for x in range(a, b + 1) for y in range(c, d + 1)}
        if has != wants:
            self.findings.add("LAYER_JSON_ROOT", where, f"Level 0 has {sorted(has)}.")
        for z in range(1, len(levels)):
            at = f"{where}#/available/{z}"
            grid = _grid(levels[z])
            if grid is None:
                self.findings.cut(at, "The level has too many tiles to compare it with the one above.")
                continue
            x0, y0, there = grid
            fours = there[0::2, 0::2].astype(int) + there[1::2, 0::2] + there[0::2, 1::2] + there[1::2, 1::2]
            broken = np.argwhere((fours > 0) & (fours < 4))
            if len(broken):
                x, y = x0 // 2 + broken[0][1], y0 // 2 + broken[0][0]
                words = f"{len(broken)} tiles of level {z - 1} have some children only, for example {z - 1}/{x}/{y}."
                self.findings.add("LAYER_JSON_FOUR", at, words)
            lost = np.argwhere((fours > 0) & ~_window(levels[z - 1], x0 // 2, y0 // 2, fours.shape))
            if len(lost):
                x, y = x0 // 2 + lost[0][1], y0 // 2 + lost[0][0]
                words = f"{len(lost)} tiles of level {z - 1} are missing, for example {z - 1}/{x}/{y}."
                self.findings.add("LAYER_JSON_PARENT", at, words)


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and all(key in value for key in ("{z}", "{x}", "{y}"))


def _has(ranges: list[Range], x: int, y: int) -> bool:
    return any(a <= x <= b and c <= y <= d for a, b, c, d in ranges)


def _grid(ranges: list[Range]) -> tuple[int, int, np.ndarray[Any, np.dtype[np.bool_]]] | None:
    """First (even) column and row, and what is there; None where that would be too large."""
    if not ranges:
        return 0, 0, np.zeros((0, 0), bool)
    x0, y0 = min(r[0] for r in ranges) // 2 * 2, min(r[2] for r in ranges) // 2 * 2
    x1, y1 = max(r[1] for r in ranges) // 2 * 2 + 2, max(r[3] for r in ranges) // 2 * 2 + 2
    if (x1 - x0) * (y1 - y0) > MAX_GRID:
        return None
    return x0, y0, _window(ranges, x0, y0, (y1 - y0, x1 - x0))


def _window(ranges: list[Range], x0: int, y0: int, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(rows, columns) booleans: which tiles of a part of a level are in the ranges."""
    there = np.zeros(shape, bool)
    for a, b, c, d in ranges:
        there[max(c - y0, 0) : max(d + 1 - y0, 0), max(a - x0, 0) : max(b + 1 - x0, 0)] = True
    return there


def _places(levels: list[list[Range]]) -> Iterator[tuple[int, int, int]]:
    """Every tile once, row by row, so that neighbours follow soon."""
    for z, ranges in enumerate(levels):
        for i, (a, b, c, d) in enumerate(ranges):
            for y in range(c, d + 1):
                for x in range(a, b + 1):
                    if not _has(ranges[:i], x, y):
                        yield z, x, y
