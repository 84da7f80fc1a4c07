"""The planted pipe conflicts are in the data, and there are no others: every pair of pipes by brute force."""

from itertools import combinations
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from tests.sample_data.town_files import EXPECTED, TOWN

# GB 50289-2016 4.1.9, horizontal, m, outer wall to outer wall; the strictest value where editions differ
SIDE = {
    ("RL", "WS"): 1.5,
    ("JS", "RL"): 1.5,
    ("DL", "JS"): 0.5,
    ("JS", "TX"): 1.0,
    ("RQ", "RQ"): 0.4,
    ("DL", "RQ"): 1.0,
    ("RQ", "TX"): 1.0,
    ("DL", "RL"): 2.0,
    ("RL", "TX"): 1.0,
    ("JS", "RQ"): 0.5,
    ("TX", "WS"): 1.0,
    ("DL", "WS"): 0.5,
    ("RL", "RQ"): 1.0,
}
# 4.1.14, vertical at crossings
CROSS = {
    ("JS", "WS"): 0.40,
    ("WS", "WS"): 0.15,
    ("RL", "TX"): 0.25,
    ("DL", "WS"): 0.5,
    ("DL", "RL"): 0.5,
    ("DL", "TX"): 0.5,
    ("DL", "JS"): 0.25,
    ("DL", "DL"): 0.5,
    ("TX", "TX"): 0.25,
}


def pipes() -> gpd.GeoDataFrame:
    folder = TOWN / "pipes"
    tables = [
        gpd.read_file(folder / "给水管线.gpkg"),
        gpd.read_file(folder / "排水管线.gpkg", layer="雨水管线"),
        gpd.read_file(folder / "排水管线.gpkg", layer="污水管线"),
        gpd.read_file(folder / "pipe_gas.shp", encoding="gbk"),
        gpd.read_file(folder / "pipe_telecom.geojson").to_crs(4549),
        gpd.read_file(folder / "utility.gpkg", layer="pipe_heat"),
        gpd.read_file(folder / "utility.gpkg", layer="pipe_power"),
    ]
    names = ["管线编号", "管线类型", "管径", "外径", "起点点号", "终点点号", "压力", "高程位置", "geometry"]
    rows = [row for table in tables for row in table[names].itertuples(index=False, name=None)]
    return gpd.GeoDataFrame(
        rows, columns=["id", "kind", "dn", "od", "a", "b", "pressure", "z_ref", "geometry"], geometry="geometry"
    )


def family(kind: str) -> str:
    return "WS" if kind == "YS" else kind


def side_limit(p, q) -> float:
    kinds = tuple(sorted((family(p.kind), family(q.kind))))
    if kinds == ("JS", "WS"):
        return 1.5 if (p.dn if p.kind == "JS" else q.dn) > 200 else 1.0
    if kinds == ("RQ", "WS"):
        return 1.2 if "中压B" in {p.pressure, q.pressure} else 1.0
    return SIDE.get(kinds, 0.0)


def walls(p, at: shapely.Point) -> tuple[float, float]:
    """Bottom and top of the pipe at the plan point nearest `at`."""
    a, b = (np.array(c) for c in (p.geometry.coords[0], p.geometry.coords[-1]))
    t = np.clip(np.dot(np.array([at.x, at.y]) - a[:2], (b - a)[:2]) / np.dot((b - a)[:2], (b - a)[:2]), 0, 1)
    z, outer = (a + t * (b - a))[2], p.od / 1000
    axis = z + p.dn / 2000 if p.z_ref == "管内底" else z - outer / 2
    return axis - outer / 2, axis + outer / 2


def conflict(p, q) -> tuple[float, float] | None:
    """(measured, limit) of a pair that is not joined at a node; None where no rule applies."""
    plan = [shapely.force_2d(x.geometry) for x in (p, q)]
    crossing = plan[0].intersection(plan[1])
    if not crossing.is_empty:
        (low0, top0), (low1, top1) = (walls(x, crossing.centroid) for x in (p, q))
        kinds = tuple(sorted((family(p.kind), family(q.kind))))
        return max(low0 - top1, low1 - top0), CROSS.get(kinds, 0.15)
    limit = side_limit(p, q)
    return (plan[0].distance(plan[1]) - (p.od + q.od) / 2000, limit) if limit else None


@pytest.fixture(scope="module")
def found() -> dict[frozenset[str], tuple[float, float]]:
    table = list(pipes().itertuples())
    tree = shapely.STRtree([p.geometry for p in table])
    measured = {}
    for k, near in zip(*tree.query([p.geometry.buffer(4) for p in table]), strict=True):
        p, q = table[k], table[near]
        if k < near and not {p.a, p.b} & {q.a, q.b}:
            result = conflict(p, q)
            if result is not None:
                measured[frozenset((p.id, q.id))] = result
    assert len(measured) > 500
    return measured


def test_each_planted_pair_has_its_clearance(found):
    cases = [row for row in EXPECTED["pipes"] if row["other_id"]]
    assert sum(row["fails"] for row in cases) >= 7
    assert sum(not row["fails"] for row in cases) >= 6
    for row in cases:
        measured, limit = found[frozenset((row["pipe_id"], row["other_id"]))]
        assert measured == pytest.approx(row["measured"], abs=0.002), row
        assert limit == row["limit"], row


def test_nothing_else_is_too_close(found):
    short = {pair for pair, (measured, limit) in found.items() if measured < limit - 1e-6}
    assert short == {
        frozenset((row["pipe_id"], row["other_id"])) for row in EXPECTED["pipes"] if row["other_id"] and row["fails"]
    }


def test_slopes_and_covers():
    import rasterio

    drains = {p.id: p for p in pipes().itertuples() if p.kind in {"WS", "YS"}}
    with rasterio.open(TOWN / "terrain" / "dem.tif") as dem:
        for row in EXPECTED["pipes"]:
            p = drains.get(row["pipe_id"])
            if row["case"] == "slope":
                (a, b) = p.geometry.coords
                assert (a[2] - b[2]) / np.hypot(a[0] - b[0], a[1] - b[1]) == pytest.approx(row["measured"], abs=1e-4)
            if row["case"] == "cover":
                spots = [p.geometry.interpolate(t, normalized=True) for t in np.linspace(0, 1, 25)]
                grounds = [v[0] for v in dem.sample([(s.x, s.y) for s in spots])]
                cover = min(g - walls(p, s)[1] for g, s in zip(grounds, spots, strict=True))
                assert cover == pytest.approx(row["measured"], abs=0.03)
    falls = [(c[0][2] - c[-1][2]) / p.geometry.length for p in drains.values() for c in [p.geometry.coords]]
    assert min(falls) > 0, "every drain falls towards its end"


def test_the_epanet_file_is_the_same_network_and_runs(tmp_path: Path):
    wntr = pytest.importorskip("wntr")
    network = wntr.network.WaterNetworkModel(str(TOWN / "pipes" / "water.inp"))
    table = gpd.read_file(TOWN / "pipes" / "给水管线.gpkg").set_index("管线编号")
    for name, pipe in network.pipes():
        assert {pipe.start_node_name, pipe.end_node_name} == {table.loc[name, "起点点号"], table.loc[name, "终点点号"]}
        assert pipe.diameter * 1000 == pytest.approx(table.loc[name, "管径"])
        assert pipe.length == pytest.approx(shapely.force_2d(table.loc[name].geometry).length, abs=0.01)
    extra = {row["pipe_id"] for row in EXPECTED["pipes"] if row["layer"] == "pipe_water"}
    assert set(table.index) - set(network.pipe_name_list) == extra
    pressure = wntr.sim.EpanetSimulator(network).run_sim(file_prefix=str(tmp_path / "run")).node["pressure"]
    assert (pressure[network.junction_name_list] > 10).all(axis=None)


def test_every_two_pipes_of_one_case_stand_alone():
    ids = [row["pipe_id"] for row in EXPECTED["pipes"]]
    assert len(set(ids)) == len(ids)
    hosts = [row["other_id"] for row in EXPECTED["pipes"] if row["other_id"]]
    assert all(a != b for a, b in combinations(hosts, 2))
