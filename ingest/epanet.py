"""EPANET 2.2 input file -> the network as two layers: nodes (points) and links (lines). Nothing is simulated here.

Format: EPANET 2.2 User Manual, appendix C. Lengths are converted to metres and diameters to millimetres by the UNITS
of the file (US units are feet and inches). The file has map coordinates but never a CRS: `hints` must give one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from ingest import geometry as shapes
from ingest import ids, place, text
from ingest.detect import slug
from ingest.geometry import Conformed
from ingest.mapping import Mapper
from ingest.stream import Chunk, FeatureStream
from ingest.vector import ids_name
from layers import catalogue
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints, Reading, VectorLayer

SUFFIXES = (".inp",)

US_UNITS = {"CFS", "GPM", "MGD", "IMGD", "AFD"}
SI_UNITS = {"LPS", "LPM", "MLD", "CMH", "CMD"}
FOOT_M, INCH_MM = 0.3048, 25.4

NODES = {"JUNCTIONS": "junction", "RESERVOIRS": "reservoir", "TANKS": "tank"}
LINKS = {"PIPES": "pipe", "PUMPS": "pump", "VALVES": "valve"}
SECTIONS = frozenset(
    {
        "TITLE", "JUNCTIONS", "RESERVOIRS", "TANKS", "PIPES", "PUMPS", "VALVES", "TAGS", "DEMANDS", "STATUS",
        "PATTERNS", "CURVES", "CONTROLS", "RULES", "ENERGY", "EMITTERS", "QUALITY", "SOURCES", "REACTIONS", "MIXING",
        "TIMES", "REPORT", "OPTIONS", "COORDINATES", "VERTICES", "LABELS", "BACKDROP", "END", "LEAKAGE", "ROUGHNESS",
    }
)  # fmt: skip
SWMM_SECTIONS = frozenset(
    [
        "SUBCATCHMENTS",
        "CONDUITS",
        "OUTFALLS",
        "RAINGAGES",
        "XSECTIONS",
        "EVAPORATION",
        "SUBAREAS",
        "INFILTRATION",
    ]
)

_NODE_FIELDS = {"node_id": pa.string(), "kind": pa.string(), "elev_m": pa.float64()}
_LINK_FIELDS = {
    "link_id": pa.string(), "kind": pa.string(), "start_node": pa.string(), "end_node": pa.string(),
    "length_m": pa.float64(), "diameter_mm": pa.float64(), "roughness": pa.float64(), "status": pa.string(),
}  # fmt: skip


@dataclass
class _Network:
    """Lines by section: (line number, words)."""

    name: str
    rows: dict[str, list[tuple[int, list[str]]]] = field(default_factory=dict)
    length_m: float = 1.0
    diameter_mm: float = 1.0
    points: dict[str, tuple[float, float]] = field(default_factory=dict)
    vertices: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def number(self, line: int, words: list[str], at: int) -> float | None:
        """The word at a place as a number; None where there is none. InvalidInput for another word."""
        if at >= len(words):
            return None
        try:
            return float(words[at])
        except ValueError as error:
            problem = f"{self.name}, line {line}: {words[at]!r} is not a number."
            raise InvalidInput(problem, "Correct that line.", code="INP_BROKEN") from error


def read(path: Path, hints: Hints) -> Reading:
    """Layers `<stem>_node` and `<stem>_link`. Raises CrsMissing without `hints.crs`, InvalidInput when broken."""
    name = ids_name(path, hints)
    encoding, issues = _encoding(path, hints, name)
    network = _parse(path, encoding, name)
    _place(network)
    if not network.points:
        raise InvalidInput(
            f"{name} has no [COORDINATES].", "Save it with its map from EPANET.", code="INP_NO_COORDINATES"
        )
    if hints.crs is None:
        raise place.missing(name, " (EPANET files never do)")
    xy = np.array(list(network.points.values()))
    bounds = (*xy.min(axis=0).tolist(), *xy.max(axis=0).tolist())
    certificate, placed = place.certificate(None, hints, name, bounds)
    layers = [_layer(path, hints, certificate, network, is_link=is_link) for is_link in (False, True)]
    return Reading(path, "EPANET", list(layers), certificate, [*issues, *placed])


def _encoding(path: Path, hints: Hints, name: str) -> tuple[str, list[Issue]]:
    try:
        return text.encoding(path, hints.encoding, name)
    except InvalidInput:
        if hints.encoding is not None:
            raise
        message = "The text is neither UTF-8 nor GB18030; it is read as Latin-1."
        return "latin-1", [Issue("ENCODING_DETECTED", name, message, "Give `encoding` in city.toml.", "info")]


def _parse(path: Path, encoding: str, name: str) -> _Network:
    network = _Network(name)
    section = ""
    with path.open(encoding=encoding) as file:
        for line, raw in enumerate(file, 1):
            words = raw.split(";")[0].split()
            if not words:
                continue
            if words[0].startswith("["):
                section = words[0].strip("[]").upper()
                section = next(
                    (each for each in sorted(SECTIONS) if each.startswith(section[:4]) and section[:4]), section
                )
                if section in SWMM_SECTIONS:
                    raise InvalidInput(f"{name} is a SWMM file.", "Only EPANET files are read.", code="FORMAT_UNKNOWN")
                if section not in SECTIONS:
                    raise InvalidInput(
                        f"{name}, line {line}: there is no section {words[0]}.", "Correct that line.", code="INP_BROKEN"
                    )
            elif not section:
                raise InvalidInput(f"{name} does not begin with a section.", "It is no EPANET file.", code="INP_BROKEN")
            else:
                network.rows.setdefault(section, []).append((line, words))
    return network


def _place(network: _Network) -> None:
    unit = next(
        (
            words[1].upper()
            for _, words in network.rows.get("OPTIONS", [])
            if words[0].upper() == "UNITS" and len(words) > 1
        ),
        "GPM",
    )
    if unit not in US_UNITS | SI_UNITS:
        raise InvalidInput(f"{network.name}: UNITS {unit} are unknown.", "Correct [OPTIONS].", code="INP_BROKEN")
    if unit in US_UNITS:
        network.length_m, network.diameter_mm = FOOT_M, INCH_MM
    for section in ("COORDINATES", "VERTICES"):
        for line, words in network.rows.get(section, []):
            x, y = network.number(line, words, 1), network.number(line, words, 2)
            if x is None or y is None:
                raise InvalidInput(
                    f"{network.name}, line {line}: a coordinate is missing.", "Correct that line.", code="INP_BROKEN"
                )
            if section == "COORDINATES":
                network.points[words[0]] = (x, y)
            else:
                network.vertices.setdefault(words[0], []).append((x, y))


def _layer(path: Path, hints: Hints, certificate: Certificate, network: _Network, *, is_link: bool) -> VectorLayer:
    stem = path.name.split(".")[0]
    word, fields = ("link", _LINK_FIELDS) if is_link else ("node", _NODE_FIELDS)
    geometry_type = "LineString" if is_link else "Point"
    made = catalogue.from_fields(slug(f"{stem}_{word}"), f"{stem} {word}", geometry_type, fields)
    mapper = Mapper(made, list(fields), Hints(values=hints.values, epoch=hints.epoch), network.name)
    plan = ids.IdPlan(f"{word}_id", ids.prefix(path, hints.root, word), persistent=False)
    layer = VectorLayer(
        f"{stem}_{word}",
        made.id,
        certificate.source_crs,
        lambda: iter(()),
        certificate.source_vertical_crs,
        dict(fields),
        geometry_type,
    )
    layer.batches = FeatureStream(layer, mapper, plan, lambda: _chunks(network, is_link=is_link)).batches
    return layer


def _chunks(network: _Network, *, is_link: bool) -> Iterator[Chunk]:
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    made: list[shapely.Geometry | None] = []
    for section, kind in (LINKS if is_link else NODES).items():
        for line, words in network.rows.get(section, []):
            rows.append(_link(network, line, words, kind) if is_link else _node(network, line, words, kind))
            made.append(_line(network, words) if is_link else _point(network, words[0]))
            lines.append(line)
    if not rows:
        return
    table = pa.Table.from_pylist(rows, schema=pa.schema(list((_LINK_FIELDS if is_link else _NODE_FIELDS).items())))
    array = np.empty(len(made), dtype=object)
    array[:] = made
    raw = [None if shape is None else bytes(shapely.to_wkb(shape)) for shape in made]
    bad = {
        row: ("INP_NOT_MAPPED", "It (or a node of it) has no coordinates.")
        for row, shape in enumerate(made)
        if shape is None
    }
    yield Chunk(
        table, shapes.check(Conformed(array)), raw, None, lambda row: f"{network.name}, line {lines[row]}", bad=bad
    )


def _node(network: _Network, line: int, words: list[str], kind: str) -> dict[str, Any]:
    elevation = network.number(line, words, 1)
    return {"node_id": words[0], "kind": kind, "elev_m": None if elevation is None else elevation * network.length_m}


def _link(network: _Network, line: int, words: list[str], kind: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "link_id": words[0],
        "kind": kind,
        "start_node": _word(words, 1),
        "end_node": _word(words, 2),
    }
    if kind == "pipe":
        length, diameter, roughness = (network.number(line, words, at) for at in (3, 4, 5))
        row |= {"length_m": None if length is None else length * network.length_m, "roughness": roughness}
        row |= {"diameter_mm": None if diameter is None else diameter * network.diameter_mm, "status": _word(words, 7)}
    elif kind == "valve":
        diameter = network.number(line, words, 3)
        row |= {"diameter_mm": None if diameter is None else diameter * network.diameter_mm, "status": _word(words, 4)}
    return row


def _word(words: list[str], at: int) -> str | None:
    return words[at] if at < len(words) else None


def _point(network: _Network, node: str) -> shapely.Geometry | None:
    return shapely.Point(network.points[node]) if node in network.points else None


def _line(network: _Network, words: list[str]) -> shapely.Geometry | None:
    ends = [network.points.get(_word(words, at) or "") for at in (1, 2)]
    if ends[0] is None or ends[1] is None:
        return None
    return shapely.LineString([ends[0], *network.vertices.get(words[0], []), ends[1]])
