"""Where a mesh file lies. Such files name no CRS: city.toml does, or the `metadata.xml` of a photogrammetry delivery.

In this order: control points; `values = {lon, lat, height, heading}` for the origin of the frame; `metadata.xml` beside
the file or above it (`<SRS>`, `<SRSOrigin>`, as ContextCapture and others write it); `crs`, in which the
coordinates then are east, north, height, or geocentric for EPSG:4978. Otherwise the file is parked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lxml import etree

from ingest import markup, place
from ingest.mesh.parts import Float
from ingest.tileset import place as tileset_place
from layers import crs
from layers.certificate import Certificate, Method
from layers.errors import InvalidInput, Unplaceable
from layers.geocentric import ecef_to_geodetic, local_to_ecef
from layers.issue import Issue
from layers.source import Hints

GEODETIC, GEOCENTRIC = "EPSG:4979", "EPSG:4978"
METADATA = "metadata.xml"
METADATA_BYTES = 1 << 20
LEVELS_UP = 3
"""Data/Tile_1/Tile_1.obj has its metadata.xml two folders up."""

Move = Callable[[Float], Float]


@dataclass(frozen=True)
class Way:
    """How vertices (metres, z up) become coordinates of `crs`."""

    certificate: Certificate
    crs: str
    vertical_crs: str | None
    move: Move | None
    issues: list[Issue]
    is_metric: bool = True


@dataclass(frozen=True)
class Metadata:
    """What a photogrammetry program wrote beside its models."""

    srs: str
    origin: tuple[float, float, float]
    name: str


def way(path: Path, name: str, hints: Hints, low: Float, high: Float) -> Way:
    """The way of a model whose vertices lie between `low` and `high`. Raises Unplaceable, or InvalidInput."""
    if hints.control_points:
        made, issues = place.certificate(None, hints, name, None)
        return Way(made, made.source_crs or "", made.source_vertical_crs, None, issues, is_metric=False)
    matrix = tileset_place.given_place(hints.values, name)
    if matrix is not None:
        said = {key: hints.values[key] for key in tileset_place.KEYS if key in hints.values}
        facts = {"from": "the place given in city.toml for the origin of the model", "values": said}
        return _geocentric("geocentric", lambda xyz: xyz @ matrix[:3, :3].T + matrix[:3, 3], facts)
    metadata = find_metadata(path, hints.root)
    if metadata is not None:
        return _by_metadata(metadata, name, hints, low, high)
    if hints.crs is None:
        raise _unplaced(name, low, high)
    if crs.parse(hints.crs).is_geocentric:
        if float(np.linalg.norm((low + high) / 2)) < 6e6:
            middle = ", ".join(f"{value:.6g}" for value in (low + high) / 2)
            problem = f"{name} is said to be geocentric (EPSG:4978), but lies around {middle}."
            raise InvalidInput(problem, tileset_place.lines(name), code="COORDINATES_OUTSIDE_CRS")
        return _geocentric("given-crs", lambda xyz: xyz, {"from": "geocentric coordinates, as city.toml says"})
    return _projected(None, hints, name, (low, high), np.zeros(3))


def _projected(stated: str | None, hints: Hints, name: str, ends: tuple[Float, Float], origin: Float) -> Way:
    chosen = stated or hints.crs
    if chosen is not None and crs.is_geographic(crs.horizontal(chosen)):
        problem = f"{name}: a model in metres cannot be in {crs.horizontal(chosen)}, whose unit is the degree."
        raise InvalidInput(problem, "Give a projected CRS such as EPSG:4549.", code="MESH_CRS")
    (west, south), (east, north) = (tuple((end + origin)[:2].tolist()) for end in ends)
    made, issues = place.certificate(stated, hints, name, (west, south, east, north))
    move = (lambda xyz: xyz + origin) if origin.any() else None
    return Way(made, made.source_crs or "", made.source_vertical_crs, move, issues)


def _geocentric(method: Method, to_ecef: Move, parameters: Mapping[str, object]) -> Way:
    made = Certificate(method, source_crs=GEODETIC, source_vertical_crs=GEODETIC, parameters=dict(parameters))
    return Way(made, GEODETIC, GEODETIC, lambda xyz: ecef_to_geodetic(to_ecef(xyz)), [])


def _by_metadata(metadata: Metadata, name: str, hints: Hints, low: Float, high: Float) -> Way:
    said = {"from": metadata.name, "SRS": metadata.srs[:200], "SRSOrigin": list(metadata.origin)}
    origin = np.array(metadata.origin)
    if metadata.srs.upper().startswith("ENU:"):
        lat, lon = (float(each) for each in metadata.srs[4:].split(",")[:2])
        matrix = local_to_ecef(lon, lat, 0.0)
        return _geocentric("file-crs", lambda xyz: (xyz + origin) @ matrix[:3, :3].T + matrix[:3, 3], said)
    if crs.parse(metadata.srs).is_geocentric:
        return _geocentric("file-crs", lambda xyz: xyz + origin, said)
    found = _projected(metadata.srs, hints, name, (low, high), origin)
    return replace(found, certificate=replace(found.certificate, parameters={**found.certificate.parameters, **said}))


def find_metadata(path: Path, root: Path | None) -> Metadata | None:
    """The nearest metadata.xml with `<SRS>`, beside the file or up to three folders above, not above `root`."""
    for folder in path.parents[: LEVELS_UP + 1]:
        if root is not None and not folder.is_relative_to(root):
            return None
        found = folder / METADATA
        if found.is_file() and not found.is_symlink():
            return _parsed(found)
        if root is None:
            return None
    return None


def _parsed(path: Path) -> Metadata | None:
    """None for a metadata.xml of something else. Raises InvalidInput for one that cannot be used."""
    if path.stat().st_size > METADATA_BYTES:
        return None
    data = path.read_bytes()
    markup.check_bytes(data, path.name)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        tree = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        problem = f"{path.name} beside the model is not XML: {error}."
        raise InvalidInput(problem, "Copy it again, or remove it.", code="MESH_METADATA") from error
    texts = {
        etree.QName(each).localname: (each.text or "").strip() for each in tree.iter() if isinstance(each.tag, str)
    }
    if not texts.get("SRS"):
        return None
    try:
        x, y, z = (float(each) for each in (texts.get("SRSOrigin") or "0,0,0").replace(";", ",").split(","))
        if texts["SRS"].upper().startswith("ENU:"):
            lat, lon = (float(each) for each in texts["SRS"][4:].split(","))
            local_to_ecef(lon, lat, 0.0)
    except ValueError as error:
        problem = f"{path.name} beside the model has SRS {texts['SRS'][:60]!r}, SRSOrigin {texts.get('SRSOrigin')!r}."
        raise InvalidInput(problem, "Correct it: three numbers with commas.", code="MESH_METADATA") from error
    return Metadata(texts["SRS"], (x, y, z), path.name)


def _by_values(name: str) -> str:
    lines = place.toml_lines(name)
    return (
        f"Write the place of its origin into city.toml, with the true numbers:\n{lines}\n"
        "values = { lon = 121.0, lat = 28.1, height = 40.0, heading = 0.0 }"
    )


def _unplaced(name: str, low: Float, high: Float) -> Unplaceable:
    extent = f"{', '.join(f'{value:.6g}' for value in low)} to {', '.join(f'{value:.6g}' for value in high)}"
    problem = f"{name} does not say where it is; its coordinates run from {extent}."
    known = place.toml_lines(name, crs="EPSG:4549")
    if float(np.linalg.norm((low + high) / 2)) > 6e6 and float(np.abs(high - low).max()) < 1e6:
        known = place.toml_lines(name, crs=GEOCENTRIC)
    if float(np.abs([*low[:2], *high[:2]]).max()) < 10_000:  # no map has its city there
        return Unplaceable(
            problem, f"{_by_values(name)}\nOr give point pairs (control_points).", code="MESH_NOT_PLACED"
        )
    hint = (
        f"If they are map coordinates (east, north, height), write into city.toml, with the true code:\n{known}\n"
        "Otherwise give point pairs (control_points), or the place of its origin: "
        "values = { lon = 121.0, lat = 28.1, height = 40.0, heading = 0.0 }"
    )
    return Unplaceable(problem, hint, code="MESH_NOT_PLACED")
