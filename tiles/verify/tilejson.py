"""TileJSON 3.0 and the tiles that it names: a sample of each zoom, spread over the bounds."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tiles.verify.findings import Findings
from tiles.verify.gltf_document import image_fault
from tiles.verify.json_text import child, is_count, numbers, objects
from tiles.verify.mvt_file import check_mvt
from tiles.verify.source import Source, Unread

MAX_ZOOM = 30
A_ZOOM = 25
"""Tiles of a zoom that are read at most."""
_MARGIN_LAT = 85.0511287798066
_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")


@dataclass
class TileJsonWalk:
    """Checks the document and a sample of its tiles."""

    findings: Findings
    source: Source
    goes_on: Callable[[str], bool]

    def check(self, address: str, document: dict[str, Any]) -> None:
        """Everything that the document names."""
        self.findings.read("tilejson", address)
        templates, bounds, zooms = self._structure(address, document)
        declared = self._layers(address, document)
        if not templates:
            return
        answered = asked = 0
        for place in _sample(bounds, zooms):
            if not self.goes_on(address):
                return
            z, x, y = place
            row = 2**z - 1 - y if document.get("scheme") == "tms" else y
            name = templates[0]
            for key, value in (("{z}", z), ("{x}", x), ("{y}", row)):
                name = name.replace(key, str(value))
            asked += 1
            answered += self._tile(self.source.join(address, name), declared)
        if asked and not answered:
            self.findings.add("TILEJSON_NO_TILES", address, f"None of {asked} tiles answers.")

    def _tile(self, address: str, declared: dict[str, set[str]] | None) -> bool:
        """Whether it answers: an absent vector or raster tile is an empty one."""
        try:
            data = self.source.read(address)
        except Unread as error:
            if error.code != "MISSING" or error.status not in {0, 404}:
                self.findings.add(error.code, address, str(error))
            return False
        if data.startswith(_IMAGES):
            self.findings.read("raster", address)
            words = image_fault(data) or _shape_fault(data)
            if words:
                self.findings.add("RASTER_TILE", address, words)
            return True
        for name, keys in check_mvt(self.findings, address, data).items():
            if declared is not None and name not in declared:
                self.findings.add("TILEJSON_UNDECLARED", address, f"Layer {name!r} is not in vector_layers.")
            elif declared is not None and keys - declared[name]:
                words = f"Keys {sorted(keys - declared[name])[:5]} of {name!r} are not in its fields."
                self.findings.add("TILEJSON_UNDECLARED", address, words)
        return True

    def _structure(self, where: str, document: dict[str, Any]) -> tuple[list[str], tuple[float, ...], tuple[int, int]]:
        add = self.findings.add
        version = document.get("tilejson")
        if not isinstance(version, str) or not version.startswith("3."):
            add("TILEJSON_VERSION", where, f"tilejson is {version!r}.")
        tiles = document.get("tiles")
        if not isinstance(tiles, list) or not tiles or not all(_is_template(each) for each in tiles):
            add("TILEJSON_STRUCTURE", where, f"tiles is {str(tiles)[:120]}.")
            tiles = []
        low, high = document.get("minzoom", 0), document.get("maxzoom", MAX_ZOOM)
        if not is_count(low) or not is_count(high) or not low <= high <= MAX_ZOOM:
            add("TILEJSON_STRUCTURE", where, f"minzoom is {low!r}, maxzoom {high!r}.")
            low, high = 0, 0
        said = document.get("bounds", [-180, -_MARGIN_LAT, 180, _MARGIN_LAT])
        bounds = numbers(said, 4)
        if bounds is None or not (-180 <= bounds[0] <= bounds[2] <= 180 and -90 <= bounds[1] <= bounds[3] <= 90):
            add("TILEJSON_STRUCTURE", where, f"bounds is {str(said)[:80]}.")
            bounds = [-180.0, -_MARGIN_LAT, 180.0, _MARGIN_LAT]
        centre = document.get("center")
        if centre is not None and numbers(centre, 3) is None:
            add("TILEJSON_STRUCTURE", where, f"center is {str(centre)[:80]}.")
        if document.get("scheme", "xyz") not in ("xyz", "tms"):
            add("TILEJSON_STRUCTURE", where, f"scheme is {document.get('scheme')!r}.")
        return tiles, tuple(bounds), (low, high)

    def _layers(self, where: str, document: dict[str, Any]) -> dict[str, set[str]] | None:
        """Fields by layer; None where the document describes no vector tiles."""
        if "vector_layers" not in document:
            is_image = "encoding" in document or str(document.get("format", "")) in {"png", "webp", "jpg", "jpeg"}
            is_vector = any(f".{each}" in str(document.get("tiles")) for each in ("pbf", "mvt"))
            if not is_image and is_vector:
                self.findings.add("TILEJSON_LAYERS", where, "vector_layers is missing.")
            return None
        made: dict[str, set[str]] = {}
        listed = document["vector_layers"]
        for entry in objects(listed) if isinstance(listed, list) else [{}]:
            name = entry.get("id")
            if not isinstance(name, str) or name in made or not isinstance(entry.get("fields"), dict):
                self.findings.add(
                    "TILEJSON_LAYERS", where, f"A layer has id {name!r}, fields {entry.get('fields')!r:.60}."
                )
            made[str(name)] = set(child(entry, "fields"))
        return made


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and all(key in value for key in ("{z}", "{x}", "{y}"))


def _shape_fault(data: bytes) -> str:
    import io

    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return "" if image.width == image.height else f"{image.width} x {image.height} pixels."


def _sample(bounds: tuple[float, ...], zooms: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """At most A_ZOOM tiles of each zoom: all, or an even grid that has the corners."""
    side = math.isqrt(A_ZOOM)
    for z in range(zooms[0], zooms[1] + 1):
        x0, y0 = _tile_of(bounds[0], bounds[3], z)
        x1, y1 = _tile_of(bounds[2], bounds[1], z)
        for y in _spread(y0, y1, side):
            for x in _spread(x0, x1, side):
                yield z, x, y


def _spread(first: int, last: int, n: int) -> list[int]:
    if last - first < n:
        return list(range(first, last + 1))
    return [first + (last - first) * i // (n - 1) for i in range(n)]


def _tile_of(lon_deg: float, lat_deg: float, z: int) -> tuple[int, int]:
    """Column and row (from the north) in Web Mercator."""
    lat = math.radians(max(-_MARGIN_LAT, min(_MARGIN_LAT, lat_deg)))
    x = (lon_deg + 180) / 360 * 2**z
    y = (1 - math.asinh(math.tan(lat)) / math.pi) / 2 * 2**z
    return (min(2**z - 1, max(0, int(x))), min(2**z - 1, max(0, int(y))))
