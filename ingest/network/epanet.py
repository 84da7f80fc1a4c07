"""EPANET 2.2 input file -> the network as two layers: nodes (points) and links (lines). Nothing is simulated here.

Format: EPANET 2.2 User Manual, appendix C. Lengths are converted to metres and diameters to millimetres by the UNITS
of the file (US units are feet and inches). The file has map coordinates but never a CRS: `hints` must give one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest import place
from ingest.network import inp, inp_layers
from ingest.network.inp import Sections, scaled, word
from ingest.network.inp_layers import Item, Network, Plan
from ingest.vector.reader import ids_name
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints, Reading

SUFFIXES = (".inp",)

US_UNITS = {"CFS", "GPM", "MGD", "IMGD", "AFD"}
SI_UNITS = {"LPS", "LPM", "MLD", "CMH", "CMD", "CMS", "SI"}
KW_PER_HP = 0.7457
"""The factor of EPANET itself."""

NODES = ("JUNCTIONS", "RESERVOIRS", "TANKS")
LINKS = {"PIPES": "pipe", "PUMPS": "pump", "VALVES": "valve"}
READ = {*NODES, *LINKS, "STATUS", "OPTIONS", "COORDINATES", "VERTICES"}
SECTIONS = {
    each: each in READ
    for each in (
        "TITLE", "JUNCTIONS", "RESERVOIRS", "TANKS", "PIPES", "PUMPS", "VALVES", "TAGS", "DEMANDS", "STATUS",
        "PATTERNS", "CURVES", "CONTROLS", "RULES", "ENERGY", "EMITTERS", "QUALITY", "SOURCES", "REACTIONS", "MIXING",
        "TIMES", "REPORT", "OPTIONS", "COORDINATES", "VERTICES", "LABELS", "BACKDROP", "END", "LEAKAGE", "ROUGHNESS",
    )
}  # fmt: skip
SWMM_SECTIONS = {
    "SUBCATCHMENTS", "CONDUITS", "OUTFALLS", "RAINGAGES", "XSECTIONS", "SUBAREAS", "EVAPORATION", "INFILTRATION",
}  # fmt: skip

_NODE = Plan(
    "node",
    {
        "node_id": pa.string(), "kind": pa.string(), "elev_m": pa.float64(), "base_demand": pa.float64(),
        "flow_unit": pa.string(), "pattern": pa.string(), "init_level_m": pa.float64(), "min_level_m": pa.float64(),
        "max_level_m": pa.float64(), "tank_diameter_m": pa.float64(),
    },
    "node_id",
    "Point",
)  # fmt: skip
_LINK = Plan(
    "link",
    {
        "link_id": pa.string(), "kind": pa.string(), "start_node": pa.string(), "end_node": pa.string(),
        "length_m": pa.float64(), "diameter_mm": pa.float64(), "roughness": pa.float64(),
        "minor_loss": pa.float64(), "status": pa.string(), "valve_type": pa.string(), "setting": pa.string(),
        "head_curve": pa.string(), "power_kw": pa.float64(),
    },
    "link_id",
    "LineString",
)  # fmt: skip


class _Units:
    """Factors to metres, millimetres and kilowatts."""

    def __init__(self, sections: Sections) -> None:
        line, words = sections.options().get("UNITS", (0, ["GPM"]))
        self.flow = words[0].upper()
        if self.flow not in US_UNITS | SI_UNITS:
            raise sections.wrong(line, f"UNITS {words[0][:40]} are unknown")
        is_us = self.flow in US_UNITS
        self.length_m, self.diameter_mm = (inp.FOOT_M, inp.INCH_MM) if is_us else (1.0, 1.0)
        self.power_kw = KW_PER_HP if is_us else 1.0


def read(path: Path, hints: Hints) -> Reading:
    """Layers `<stem>_node` and `<stem>_link`. Raises CrsMissing without `hints.crs`, InvalidInput when broken."""
    name = ids_name(path, hints)
    codec, issues = inp.encoding(path, hints, name)
    sections = inp.parse(path, codec, name, dict.fromkeys(SWMM_SECTIONS) | SECTIONS)
    units = _Units(sections)
    network = Network(sections, {words[0] for each in NODES for _, words in sections.of(each)}, str)
    for _ in (*_nodes(sections, units, network), *_links(sections, units, network)):
        pass  # a line that is wrong refuses the file before anything of it is stored
    if not network.points:
        problem = f"{name} has no [COORDINATES]."
        raise InvalidInput(problem, "Save it with its map from EPANET.", code="INP_NO_COORDINATES")
    if hints.crs is None and not hints.control_points:
        raise place.missing(name, " (EPANET files never do)")
    certificate, placed = place.certificate(None, hints, name, network.bounds())
    source = inp_layers.Source(path, hints, certificate, name)
    layers = [
        inp_layers.layer(source, _NODE, lambda: _nodes(sections, units, network)),
        inp_layers.layer(source, _LINK, lambda: _links(sections, units, network)),
    ]
    issues += [*placed, *network.issues(name, {words[0] for each in LINKS for _, words in sections.of(each)})]
    issues += [*_curves(sections), *inp_layers.model_data(sections, READ)]
    return Reading(path, "EPANET", list(layers), certificate, issues)


def _curves(sections: Sections) -> list[Issue]:
    """Links that name a curve where the file has none at all: EPANET would not open it."""
    if sections.counts.get("CURVES"):
        return []
    rows = [(line, words) for line, words in sections.of("PUMPS") if "HEAD" in map(str.upper, words[3:])]
    return [
        Issue(
            "INP_CURVE_MISSING",
            f"{sections.name}, line {line}",
            f"Pump {words[0]!r} names a curve, but there are none.",
            "Add the curve.",
        )
        for line, words in rows
    ]


def _nodes(sections: Sections, units: _Units, network: Network) -> Iterator[Item]:
    for section in NODES:
        for line, words in sections.of(section):
            elevation = scaled(sections.number(line, words, 1), units.length_m)
            row: dict[str, Any] = {"node_id": words[0], "elev_m": elevation}
            if section == "JUNCTIONS":
                demand = sections.number(line, words, 2) if word(words, 2) != "*" else None
                row |= {"kind": "junction", "base_demand": demand, "pattern": word(words, 3)}
                row["flow_unit"] = None if demand is None else units.flow
            elif section == "RESERVOIRS" or len(words) <= 3:  # a tank without levels is a reservoir
                row |= {"kind": "reservoir", "pattern": word(words, 2)}
            else:
                names = ("init_level_m", "min_level_m", "max_level_m", "tank_diameter_m")
                row |= {
                    each: scaled(sections.number(line, words, at), units.length_m) for at, each in enumerate(names, 2)
                }
                row["kind"] = "tank"
            yield network.node(line, words[0], row)


def _links(sections: Sections, units: _Units, network: Network) -> Iterator[Item]:
    status = {words[0]: words[1] for _, words in sections.of("STATUS") if len(words) > 1}
    makers = {"pipe": _pipe, "pump": _pump, "valve": _valve}
    for section, kind in LINKS.items():
        for line, words in sections.of(section):
            sections.need(line, words, {"pipe": 6, "pump": 4, "valve": 6}[kind])
            row = {"link_id": words[0], "kind": kind, "start_node": words[1], "end_node": words[2]}
            row |= makers[kind](sections, line, words, units)
            if words[0] in status:
                row["status"] = status[words[0]]
            yield network.link(line, words, row)


def _pipe(sections: Sections, line: int, words: list[str], units: _Units) -> dict[str, Any]:
    """`id start end length diameter roughness [loss] [status]`; the loss may be left out before a status."""
    length, diameter, roughness = (sections.number(line, words, at) for at in (3, 4, 5))
    has_loss = len(words) > 6 and words[6].upper() not in {"OPEN", "CLOSED", "CV"}
    return {
        "length_m": scaled(length, units.length_m),
        "diameter_mm": scaled(diameter, units.diameter_mm),
        "roughness": roughness,
        "minor_loss": sections.number(line, words, 6) if has_loss else None,
        "status": word(words, 7 if has_loss else 6),
    }


def _valve(sections: Sections, line: int, words: list[str], units: _Units) -> dict[str, Any]:
    diameter = scaled(sections.number(line, words, 3), units.diameter_mm)
    return {"diameter_mm": diameter, "valve_type": words[4].upper(), "setting": word(words, 5)}


def _pump(sections: Sections, line: int, words: list[str], units: _Units) -> dict[str, Any]:
    keys = {words[at].upper(): at + 1 for at in range(3, len(words) - 1)}
    power = scaled(sections.number(line, words, keys["POWER"]), units.power_kw) if "POWER" in keys else None
    return {"head_curve": words[keys["HEAD"]] if "HEAD" in keys else None, "power_kw": power}
