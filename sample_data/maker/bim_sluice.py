"""A tidal sluice of three bays across the river: sill, piers, abutments, gates, hoists, service bridge.

Local x runs across the river, y along it; local z is the height in the 1985 datum, metres.
"""

from __future__ import annotations

from typing import Any

from sample_data.maker.bim_author import Author

CREST_ELEV_M = 6.8
PIER_M, BAY_M, N_BAYS = 1.6, 8.0, 3
GATE_TOP_M = 4.6


def build_sluice(author: Author, ground: Any, width: float, depth: float, bed: float) -> dict[str, Any]:
    """The works as an IfcMarineFacility with two parts; returns the crest's products and one corner of it."""
    facility = _part(author, "IfcMarineFacility", "清湾河口水闸", ground, PredefinedType="MARINEDEFENCE")
    gatehead = _part(author, "IfcMarinePart", "闸室", facility, UsageType="LATERAL", PredefinedType="GATEHEAD")
    protection = _part(author, "IfcMarinePart", "护坦", facility, UsageType="LONGITUDINAL", PredefinedType="PROTECTION")
    clear = N_BAYS * BAY_M + (N_BAYS + 1) * PIER_M
    x0, y0 = (width - clear) / 2, (depth - 14.0) / 2
    sill = author.box((x0, y0, bed - 1.2, clear, 14.0, 1.2))
    base = author.product("IfcSlab", "闸底板", gatehead, (sill, "concrete"), PredefinedType="BASESLAB")
    piers = _piers(author, gatehead, (x0, y0), bed)
    gates, hoists = _gates(author, gatehead, (x0, y0), bed)
    deck = author.box((x0 - 4, y0 + 9.5, CREST_ELEV_M, clear + 8, 3.0, 0.5))
    bridge = author.product("IfcBeam", "工作桥", gatehead, (deck, "concrete"), PredefinedType="GIRDER_SEGMENT")
    walls = [
        author.product("IfcWall", f"翼墙-{name}", gatehead, (author.box((x, y0, bed - 1.2, 0.8, 14.0, h)), "concrete"))
        for name, x, h in (("左", x0 - 0.8, 7.5), ("右", x0 + clear, 7.5))
    ]
    for wall in walls:
        wall.PredefinedType = "RETAININGWALL"
    aprons = [
        author.product("IfcSlab", name, protection, (author.box((x0, y, bed - 0.6, clear, 6.0, 0.6)), "concrete"))
        for name, y in (("上游护坦", y0 - 6.0), ("下游护坦", y0 + 14.0))
    ]
    rail = author.box((x0 - 4, y0 + 9.5, CREST_ELEV_M + 0.5, clear + 8, 0.05, 1.1))
    railing = author.product("IfcRailing", "护栏", gatehead, (rail, "steel"), PredefinedType="GUARDRAIL")
    bolts = _bolts(author, gatehead, (x0, y0))
    assembly = author.product("IfcElementAssembly", "闸门系统", gatehead)
    author.aggregate(assembly, *gates)
    author.contain(gatehead, base, *piers, *hoists, bridge, *walls, railing, *bolts, assembly)
    author.contain(protection, *aprons)
    author.group("IfcSystem", "启闭系统", hoists)
    author.properties(
        "CityTwin_HydraulicWorks", [facility], Type="水闸", CrestElevation=CREST_ELEV_M, NumberOfBays=N_BAYS
    )
    author.properties("Pset_ConcreteElementGeneral", piers, StrengthClass="C30")
    return {"guids": [pier.GlobalId for pier in piers], "corner": (x0, y0, CREST_ELEV_M)}


def _part(author: Author, entity: str, name: str, above: Any, **attributes: Any) -> Any:
    place = author.place(parent=above)
    made = author.root(entity, name, ObjectPlacement=place, CompositionType="ELEMENT", **attributes)
    author.aggregate(above, made)
    return made


def _piers(author: Author, gatehead: Any, corner: tuple[float, float], bed: float) -> list[Any]:
    made = []
    for i in range(N_BAYS + 1):
        x = corner[0] + i * (BAY_M + PIER_M)
        solid = author.box((x, corner[1], bed, PIER_M, 14.0, CREST_ELEV_M - bed))
        pier = author.product("IfcColumn", f"闸墩-{i + 1}", gatehead, (solid, "concrete"), Tag=f"P{i + 1}")
        pier.PredefinedType = "PIERSTEM"
        made.append(pier)
    return made


def _gates(author: Author, gatehead: Any, corner: tuple[float, float], bed: float) -> tuple[list[Any], list[Any]]:
    gates, hoists = [], []
    for i in range(N_BAYS):
        x = corner[0] + PIER_M + i * (BAY_M + PIER_M)
        leaf = author.box((x + 0.02, corner[1] + 5.0, bed, BAY_M - 0.04, 0.4, GATE_TOP_M - bed))
        gates.append(
            author.product("IfcBuiltElement", f"闸门-{i + 1}", gatehead, (leaf, "steel"), ObjectType="平板闸门")
        )
        motor = author.box((x + BAY_M / 2 - 0.8, corner[1] + 10.2, CREST_ELEV_M + 0.5, 1.6, 1.2, 1.0))
        hoists.append(author.product("IfcActuator", f"启闭机-{i + 1}", gatehead, (motor, "frame")))
        hoists[-1].PredefinedType = "ELECTRICACTUATOR"
    return gates, hoists


def _bolts(author: Author, gatehead: Any, corner: tuple[float, float]) -> list[Any]:
    """Anchor bolts under the railing: parts of parts, level 7."""
    made = []
    for i in range(4):
        solid = author.cylinder(corner[0] + i * 8.0, corner[1] + 9.6, CREST_ELEV_M + 0.4, 0.015, 0.2)
        bolt = author.product("IfcMechanicalFastener", f"锚栓-{i + 1}", gatehead, (solid, "steel"))
        bolt.PredefinedType = "ANCHORBOLT"
        made.append(bolt)
    return made
