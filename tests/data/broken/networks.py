"""Pipes, nodes, valves and model networks: cases 19 to 23."""

from pathlib import Path
from typing import Any

import shapely

from broken.case import EAST, NORTH, Case
from broken.vectors import save


def line(east: float, north: float, to_east: float, to_north: float) -> shapely.LineString:
    """A straight pipe at offsets from the city's corner, metres."""
    return shapely.LineString([(EAST + east, NORTH + north), (EAST + to_east, NORTH + to_north)])


def lines(n: int) -> list[shapely.LineString]:
    """Parallel pipes of 10 m."""
    return [line(0, 5 * i, 10, 5 * i) for i in range(n)]


def pipes(folder: Path, name: str, shapes: list[Any], **columns: Any) -> None:
    """Pipes with their codes."""
    save(folder / f"{name}.gpkg", shapes, columns={"pipe_code": [f"W{i}" for i in range(len(shapes))], **columns})


def missing_depths(folder: Path) -> None:
    pipes(folder, "pipe_water", lines(5), dn_mm=[300, 300, 0, 300, 300], z_ref=["crown"] * 5,
          start_elev_m=[4.0, 4.0, 4.0, None, None], end_elev_m=[3.9, None, 3.9, None, None],
          start_depth_m=[None, None, None, 1500, 150], end_depth_m=[None, None, None, 1600, 155])  # fmt: skip


def no_reference(folder: Path) -> None:
    pipes(folder, "pipe_gas", lines(2), dn_mm=[200, 200], z_ref=["crown", None], start_elev_m=[3.0] * 2,
          end_elev_m=[3.0] * 2)  # fmt: skip


def sewers(folder: Path) -> None:
    shapes = [line(0, 0, 50, 0), line(50, 0, 99.985, 0), line(100, 0, 149.5, 0)]
    pipes(folder, "pipe_sewage", shapes, dn_mm=[400] * 3, z_ref=["invert"] * 3, start_elev_m=[3.0, 2.9, 2.7],
          end_elev_m=[2.9, 2.95, 2.6], start_node=["N0", "N1", "N2"], end_node=["N1", "N2", "N3"])  # fmt: skip
    nodes = [shapely.Point(EAST + 50 * i, NORTH) for i in range(4)]
    save(folder / "pipe_node.gpkg", nodes, columns={"node_code": [f"N{i}" for i in range(4)]})


def lost_valve(folder: Path) -> None:
    pipes(folder, "pipe_water", lines(2), dn_mm=[300] * 2)
    places = [shapely.Point(EAST + 5, NORTH), shapely.Point(EAST + 500, NORTH), shapely.Point(EAST + 5, NORTH + 0.2)]
    save(folder / "valve.gpkg", places, columns={"device_code": list("abc"), "link_id": ["W9", None, None]})


INP = """[JUNCTIONS]
 J1 100
 J2 110
 J3 120
[PIPES]
 P1 J1 J2 1000 12 120 0 Open
 P2 J2 J9 500 8 120 0 Closed
[COORDINATES]
 J1 {x} {y}
 J2 {x2} {y}
{more}[OPTIONS]
 UNITS GPM
[END]
"""


def us_units(folder: Path) -> None:
    (folder / "net.inp").write_text(INP.format(x=EAST, x2=EAST + 300, y=NORTH, more=""))


def local_places(folder: Path) -> None:
    (folder / "net.inp").write_text(INP.format(x=12, x2=40, y=7, more=""))


GIVEN = '[[source]]\npath = "net.inp"\ncrs = "EPSG:4549"\n'
CASES = (
    Case(19, "19_missing_depths", missing_depths, ("PIPE_ELEV_MISSING", "PIPE_SIZE_MISSING", "VALUE_OUT_OF_DOMAIN",
         "DEPTH_UNLIKELY"), 5, 5),
    Case(20, "20_no_reference", no_reference, ("PIPE_Z_REF_UNKNOWN",), 2, 2),
    Case(21, "21_sewers", sewers, ("SEWER_REVERSE_SLOPE", "PIPE_END_NEAR_NODE", "PIPE_END_OFF_NODE"), 3, 3),
    Case(22, "22_lost_valve", lost_valve, ("DEVICE_LINK_UNKNOWN", "DEVICE_WITHOUT_LINK"), 3, 3),
    Case(23, "23_us_units", us_units, ("INP_NOT_MAPPED", "INP_NODE_UNKNOWN"), 5, 3, GIVEN),
    Case(23, "23_local_places", local_places, ("COORDINATES_OUTSIDE_CRS",), 0, 0, GIVEN),
)  # fmt: skip
