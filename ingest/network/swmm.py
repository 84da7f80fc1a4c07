"""SWMM 5 input file -> drains, their nodes, the devices between them and subcatchments. Nothing is simulated here.

Format: SWMM 5.2 User's Manual, appendix D.2. Lengths become metres by FLOW_UNITS (CFS, GPM and MGD mean feet, and
acres; CMS, LPS and MLD metres, and hectares). Offsets are depths above the node's invert, or elevations where
LINK_OFFSETS says so; either way the conduit's ends get the elevation of its inner bottom. Ids are compared without
case, as SWMM does. The file has map coordinates but never a CRS: `hints` must give one.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely

from ingest import place
from ingest.network import inp, inp_layers
from ingest.network.inp import Sections, scaled, word
from ingest.network.inp_layers import Item, Network, Plan
from ingest.network.swmm_sections import section_of
from ingest.vector.reader import ids_name
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints, Reading

SUFFIXES = (".inp",)

US_UNITS, SI_UNITS = {"CFS", "GPM", "MGD"}, {"CMS", "LPS", "MLD"}
ACRE_M2, HECTARE_M2 = 4046.8564224, 10_000.0

NODES = {"JUNCTIONS": "junction", "OUTFALLS": "outfall", "DIVIDERS": "divider", "STORAGE": "storage"}
DEVICES = {"PUMPS": "pump", "ORIFICES": "orifice", "WEIRS": "weir", "OUTLETS": "outlet"}
LINKS = ("CONDUITS", *DEVICES)
READ = {*NODES, *LINKS, "SUBCATCHMENTS", "RAINGAGES", "XSECTIONS", "OPTIONS", "COORDINATES", "VERTICES", "POLYGONS",
        "SYMBOLS"}  # fmt: skip
SECTIONS = {
    each: each in READ
    for each in (
        *READ, "TITLE", "FILES", "EVAPORATION", "TEMPERATURE", "ADJUSTMENTS", "SUBAREAS", "INFILTRATION",
        "LID_CONTROLS", "LID_USAGE", "AQUIFERS", "GROUNDWATER", "GWF", "SNOWPACKS", "TRANSECTS", "LOSSES", "CONTROLS",
        "POLLUTANTS", "LANDUSES", "COVERAGES", "LOADINGS", "BUILDUP", "WASHOFF", "TREATMENT", "INFLOWS", "DWF",
        "RDII", "HYDROGRAPHS", "CURVES", "TIMESERIES", "PATTERNS", "REPORT", "MAP", "LABELS", "BACKDROP", "TAGS",
        "PROFILES", "EVENTS", "STREETS", "INLETS", "INLET_USAGE",
    )
}  # fmt: skip

_TEXT, _NUMBER = pa.string(), pa.float64()
_NODE = {
    "node_code": _TEXT, "node_type": _TEXT, "bottom_elev_m": _NUMBER, "depth_m": _NUMBER, "ground_elev_m": _NUMBER,
    "swmm": _TEXT,
}  # fmt: skip
_PIPE = {
    "pipe_code": _TEXT, "start_node": _TEXT, "end_node": _TEXT, "length_m": _NUMBER, "dn_mm": _NUMBER,
    "width_mm": _NUMBER, "height_mm": _NUMBER, "section_shape": _TEXT, "z_ref": _TEXT, "start_elev_m": _NUMBER,
    "end_elev_m": _NUMBER, "roughness": _NUMBER, "swmm_shape": _TEXT, "barrels": _NUMBER,
}  # fmt: skip
_DEVICE = {"link_id": _TEXT, "kind": _TEXT, "start_node": _TEXT, "end_node": _TEXT, "swmm": _TEXT}
_AREA = {
    "catchment_code": _TEXT, "outlet": _TEXT, "rain_gauge": _TEXT, "stated_area_m2": _NUMBER,
    "impervious_pct": _NUMBER, "flow_width_m": _NUMBER, "slope_pct": _NUMBER,
}  # fmt: skip
_GAUGE = {"station_code": _TEXT, "elements": _TEXT, "swmm": _TEXT}


class _Model:
    """Units, offsets and the network of one file."""

    def __init__(self, sections: Sections) -> None:
        self.sections = sections
        options = sections.options()
        line, words = options.get("FLOW_UNITS", (0, ["CFS"]))
        self.flow = words[0].upper()
        if self.flow not in US_UNITS | SI_UNITS:
            raise sections.wrong(line, f"FLOW_UNITS {words[0][:40]} are unknown")
        is_us = self.flow in US_UNITS
        self.length_m, self.area_m2 = (inp.FOOT_M, ACRE_M2) if is_us else (1.0, HECTARE_M2)
        line, words = options.get("LINK_OFFSETS", (0, ["DEPTH"]))
        if words[0].upper() not in {"DEPTH", "ELEVATION"}:
            raise sections.wrong(line, f"LINK_OFFSETS {words[0][:40]} are unknown")
        self.offsets_are_depths = words[0].upper() == "DEPTH"
        self.invert_m = {
            _fold(words[0]): scaled(sections.number(line, words, 1), self.length_m)
            for each in NODES
            for line, words in sections.of(each)
        }
        self.network = Network(sections, set(self.invert_m), _fold)
        self.shapes = {_fold(words[0]): (line, words) for line, words in sections.of("XSECTIONS")}
        self.polygons = sections.points("POLYGONS", _fold)
        self.symbols = sections.points("SYMBOLS", _fold)
        self.areas = {_fold(words[0]) for _, words in sections.of("SUBCATCHMENTS")}


def _fold(name: str) -> str:
    return name.upper()


def read(path: Path, hints: Hints) -> Reading:
    """Layers pipe_rain (or the hinted pipe layer), pipe_node, subcatchment, rain_station, and `<stem>_device`.

    Raises CrsMissing without `hints.crs`, InvalidInput when broken.
    """
    name = ids_name(path, hints)
    codec, issues = inp.encoding(path, hints, name)
    model = _Model(inp.parse(path, codec, name, SECTIONS))
    makers: list[tuple[Plan, Callable[[], Iterator[Item]]]] = [
        (Plan("node", _NODE, "node_code", "Point", "pipe_node"), partial(_nodes, model)),
        (Plan("conduit", _PIPE, "pipe_code", "LineString", _pipe_layer(hints)), partial(_conduits, model)),
        (Plan("device", _DEVICE, "link_id", "LineString"), partial(_devices, model)),
        (Plan("subcatchment", _AREA, "catchment_code", "Polygon", "subcatchment"), partial(_subcatchments, model)),
        (Plan("rain_station", _GAUGE, "station_code", "Point", "rain_station"), partial(_gauges, model)),
    ]
    makers = [(plan, items) for plan, items in makers if sum(1 for _ in items())]  # wrong lines refuse the file here
    if not model.network.points:
        problem = f"{name} has no [COORDINATES]."
        raise InvalidInput(problem, "Save it with its map from SWMM.", code="INP_NO_COORDINATES")
    if hints.crs is None and not hints.control_points:
        raise place.missing(name, " (SWMM files never do)")
    certificate, placed = place.certificate(None, hints, name, model.network.bounds())
    source = inp_layers.Source(path, hints, certificate, name)
    layers = [inp_layers.layer(source, plan, items) for plan, items in makers]
    return Reading(path, "SWMM", list(layers), certificate, [*issues, *placed, *_issues(model, name)])


def _pipe_layer(hints: Hints) -> str:
    """A hinted pipe layer (`pipe_sewage` …), else storm drains."""
    return hints.layer if hints.layer is not None and hints.layer.startswith("pipe_") else "pipe_rain"


def _issues(model: _Model, name: str) -> list[Issue]:
    sections = model.sections
    links = {_fold(words[0]) for each in LINKS for _, words in sections.of(each)}
    found = model.network.issues(name, links)
    known = model.areas | set(model.invert_m)
    for line, words in sections.of("SUBCATCHMENTS"):
        outlet = word(words, 2)
        if outlet is not None and _fold(outlet) not in known:
            message = f"Subcatchment {words[0]!r} drains to {outlet!r}, which is not in the file."
            found.append(Issue("INP_OUTLET_UNKNOWN", f"{name}, line {line}", message, "Correct that line."))
    return [*found, *inp_layers.model_data(sections, READ)]


def _nodes(model: _Model) -> Iterator[Item]:
    """`name invert maximum-depth …`; an outfall has no depth. No depth, or 0, leaves the ground unknown."""
    for section, kind in NODES.items():
        for line, words in model.sections.of(section):
            bottom = model.invert_m[_fold(words[0])]
            at = {"junction": 2, "storage": 2, "divider": None, "outfall": None}[kind]
            depth = None if at is None else scaled(model.sections.number(line, words, at), model.length_m)
            depth = depth or None
            row: dict[str, Any] = {
                "node_code": words[0],
                "node_type": kind,
                "bottom_elev_m": bottom,
                "depth_m": depth,
                "ground_elev_m": None if bottom is None or depth is None else bottom + depth,
                "swmm": " ".join(words[2:]) or None,
            }
            yield model.network.node(line, words[0], row)


def _conduits(model: _Model) -> Iterator[Item]:
    """`name from to length roughness in-offset out-offset …`."""
    for line, words in model.sections.of("CONDUITS"):
        model.sections.need(line, words, 5)
        length, roughness = (model.sections.number(line, words, at) for at in (3, 4))
        start, end = (_elevation(model, line, words, node, at) for node, at in ((1, 5), (2, 6)))
        row: dict[str, Any] = {
            "pipe_code": words[0],
            "start_node": words[1],
            "end_node": words[2],
            "length_m": scaled(length, model.length_m),
            "roughness": roughness,
            "z_ref": "invert",
            "start_elev_m": start,
            "end_elev_m": end,
        }
        shape = model.shapes.get(_fold(words[0]))
        if shape is not None:
            row |= section_of(model.sections, *shape, model.length_m)
        yield model.network.link(line, words, row)


def _elevation(model: _Model, line: int, words: list[str], node: int, at: int) -> float | None:
    """Inner bottom of a conduit's end. `*` and nothing mean the node's invert."""
    invert = model.invert_m.get(_fold(words[node]))
    if word(words, at) in {None, "*"}:
        return invert
    offset = scaled(model.sections.number(line, words, at), model.length_m)
    if not model.offsets_are_depths or offset is None:
        return offset
    return None if invert is None else invert + offset


def _devices(model: _Model) -> Iterator[Item]:
    for section, kind in DEVICES.items():
        for line, words in model.sections.of(section):
            model.sections.need(line, words, 3)
            row = {"link_id": words[0], "kind": kind, "start_node": words[1], "end_node": words[2]}
            yield model.network.link(line, words, {**row, "swmm": " ".join(words[3:]) or None})


def _subcatchments(model: _Model) -> Iterator[Item]:
    """`name gage outlet area impervious width slope …`; its outline is in [Polygons]."""
    for line, words in model.sections.of("SUBCATCHMENTS"):
        model.sections.need(line, words, 3)
        area, impervious, width, slope = (model.sections.number(line, words, at) for at in range(3, 7))
        row: dict[str, Any] = {
            "catchment_code": words[0],
            "rain_gauge": words[1],
            "outlet": words[2],
            "stated_area_m2": scaled(area, model.area_m2),
            "impervious_pct": impervious,
            "flow_width_m": scaled(width, model.length_m),
            "slope_pct": slope,
        }
        ring = model.polygons.get(_fold(words[0]), [])
        if len(set(ring)) < 3:
            sentence = f"Its outline has {len(set(ring))} different points."
            yield Item(line, row, None, ("INP_NOT_MAPPED", sentence))
        else:
            yield Item(line, row, shapely.Polygon(ring))


def _gauges(model: _Model) -> Iterator[Item]:
    for line, words in model.sections.of("RAINGAGES"):
        row = {"station_code": words[0], "elements": "rain", "swmm": " ".join(words[1:]) or None}
        at = model.symbols.get(_fold(words[0]))
        if at is None:
            yield Item(line, row, None, ("INP_NOT_MAPPED", "It has no coordinates in [SYMBOLS]."))
        else:
            yield Item(line, row, shapely.Point(at[-1]))
