"""The water network as an EPANET 2.2 input file: the same nodes, pipes and diameters as the pipe layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sample_data.maker.layout import ground
from sample_data.maker.pipes import KINDS, Pipe
from sample_data.maker.town import Town

HEAD_M = 46.0
SOURCE = "YXSK"


def trunk(town: Town, water: list[Pipe]) -> Pipe:
    """The main from the reservoir's outlet below the dam to the nearest street node of the water network."""
    names = {name: xyz for p in water for name, xyz in ((p.start, p.coords[0]), (p.end, p.coords[-1]))}
    lane = np.asarray(town.plan.dam_road.coords)
    first = min(sorted(names), key=lambda k: np.hypot(names[k][0] - lane[0, 0], names[k][1] - lane[0, 1]))
    path = [names[first]] + [
        (round(float(e), 3), round(float(n), 3), round(float(ground(e, n)) - 2.3, 3)) for e, n in lane[4:-3:4]
    ]
    return Pipe("JS0900", KINDS["pipe_water"], first, SOURCE, tuple(path), 400, 2012, "0.6MPa", None, True)


def write_inp(town: Town, water: list[Pipe], path: Path) -> None:
    """LPS, Hazen-Williams; one reservoir; demand by the buildings around each node; a day in hours."""
    nodes: dict[str, tuple[float, float, float]] = {}
    for p in water:
        nodes.setdefault(p.start, p.coords[0])
        nodes.setdefault(p.end, p.coords[-1])
    demand = _demands(town, nodes)
    lines = ["[TITLE]", "清湾镇给水管网", "", "[JUNCTIONS]", ";ID Elev Demand Pattern"]
    lines += [f"{k} {z:.3f} {demand[k]:.3f} DAY" for k, (_, _, z) in sorted(nodes.items()) if k != SOURCE]
    lines += [
        "",
        "[RESERVOIRS]",
        f"{SOURCE} {HEAD_M:.2f}",
        "",
        "[PIPES]",
        ";ID Node1 Node2 Length Diameter Roughness MinorLoss Status",
    ]
    lines += [
        f"{p.id} {p.start} {p.end} {p.length_m:.3f} {p.dn_mm} {120 if p.year > 2000 else 100} 0 Open" for p in water
    ]
    pattern = [
        0.4,
        0.35,
        0.35,
        0.4,
        0.6,
        1.0,
        1.5,
        1.6,
        1.4,
        1.2,
        1.1,
        1.2,
        1.3,
        1.1,
        1.0,
        1.0,
        1.1,
        1.3,
        1.6,
        1.5,
        1.3,
        1.0,
        0.7,
        0.5,
    ]
    lines += ["", "[PATTERNS]", *[" ".join(["DAY", *(f"{x:g}" for x in pattern[k : k + 6])]) for k in range(0, 24, 6)]]
    lines += [
        "",
        "[TIMES]",
        "Duration 24:00",
        "Hydraulic Timestep 1:00",
        "Pattern Timestep 1:00",
        "Report Timestep 1:00",
        "",
        "[OPTIONS]",
        "Units LPS",
        "Headloss H-W",
        "",
        "[COORDINATES]",
    ]
    lines += [f"{k} {e:.3f} {n:.3f}" for k, (e, n, _) in sorted(nodes.items())]
    lines += ["", "[VERTICES]"]
    for p in water:
        lines += [f"{p.id} {e:.3f} {n:.3f}" for e, n, _ in p.coords[1:-1]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, "", "[END]", ""]), encoding="utf-8")


def _demands(town: Town, nodes: dict[str, tuple[float, float, float]]) -> dict[str, float]:
    """Litres a second: 2e-6 of each building's floor area at the nearest junction."""
    names = [k for k in sorted(nodes) if k != SOURCE]
    at = np.array([nodes[k][:2] for k in names])
    total = dict.fromkeys(nodes, 0.0)
    for b in town.buildings:
        c = b.shape.centroid
        nearest = int(np.argmin(np.hypot(at[:, 0] - c.x, at[:, 1] - c.y)))
        total[names[nearest]] += b.gfa_m2 * (6e-5 if "住宅" in b.use else 3e-5)
    return total
