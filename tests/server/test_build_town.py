"""The sample town through the command, against the truths that were planted when it was made (expected.json)."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.mask
import shapely

import twin
from layers.mesh import decode
from twin.store.interface import Query

ROOT = Path(__file__).resolve().parents[2]
TOWN = ROOT / "sample_data" / "town"
EXPECTED = json.loads((TOWN / "expected.json").read_text("utf8"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("town") / "twin"
    command = [sys.executable, "-m", "server.cli", "build", str(TOWN), str(made)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # one IFC has no georeference, on purpose
    return made


@pytest.fixture(scope="module")
def city(folder):
    with twin.open(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(folder):
    rows = [json.loads(path.read_text("utf8")) for path in (folder / "reports").glob("*.json")]
    return {row["source"]: row for row in rows}


def meshes(city, layer_id):
    """Public id -> mesh in the ENU frame."""
    table = city.store.mesh_table(layer_id, city.scope)
    if not len(table.fids):
        return {}
    ids = city.store.features_by_fid(layer_id, table.fids, city.scope).ids
    stored = city.store.meshes(layer_id, table.fids, city.scope)
    return {name: decode(mesh.blob) for name, mesh in zip(ids, stored, strict=True)}


def to_city(city, enu):
    """ENU -> east, north, normal height by PROJ: topocentric and geocentric inverse, then the projection."""
    config = city.config
    steps = (
        "+proj=pipeline +step +inv +proj=topocentric +ellps=WGS84 "
        f"+lon_0={config.origin_lon_deg} +lat_0={config.origin_lat_deg} +h_0={config.origin_h_m} "
        "+step +inv +proj=cart +ellps=WGS84 +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    lon, lat, h = pyproj.Transformer.from_pipeline(steps).transform(*np.asarray(enu, float).T)
    e, n = pyproj.Transformer.from_crs("EPSG:4490", config.crs, always_xy=True).transform(lon, lat)
    from egm96 import undulation

    return np.stack([e, n, h - np.asarray(undulation(lat, lon))], axis=1)


def test_features_in_the_files_are_in_the_store_or_rejected(city, reports):
    for source, tables in EXPECTED["counts"].items():
        read = {layer["name"]: layer for layer in reports[source]["layers"]}
        if isinstance(tables, dict) and set(tables) <= set(read):
            assert {name: read[name]["n_read"] for name in tables} == tables, source
    stored = Counter()
    for report in reports.values():
        for layer in report["layers"]:
            assert layer["n_read"] == layer["n_stored"] + layer["n_rejected"]
            stored[layer["layer"]] += layer["n_stored"]
    assert city["source"].info.count == len(reports)  # the sources themselves are a layer
    for info in city.layers:
        if info.id == "source":
            continue
        assert stored[info.id] == info.count == city.store.count(info.id, Query(), city.scope)


def test_only_what_has_no_place_is_parked_and_it_says_why(reports):
    unplaced = {row["file"] for row in EXPECTED["bim"] if row["method"] == "none"} & set(reports)
    parked = {name for name, report in reports.items() if report["status"] != "stored"}
    assert parked == unplaced
    for name in parked:
        assert reports[name]["issues"][0]["hint"]


def test_every_placed_source_has_a_certificate(reports):
    methods = {row["file"]: row["method"] for row in EXPECTED["bim"]}
    for name, report in reports.items():
        if report["status"] == "stored" and report["certificate"]["source_crs"]:
            assert report["certificate"]["method"] == methods.get(name, report["certificate"]["method"])
            assert report["certificate"]["city_crs"] == EXPECTED["town"]["crs"]


def test_the_ground_is_the_ground(city):
    for point in EXPECTED["ground_heights"]:
        assert city.height(point["e"], point["n"]) == pytest.approx(point["ground_elev_m"], abs=0.05)


def test_lod2_solids_keep_their_volume_and_stand_where_they_were_measured(city):
    made = meshes(city, "building")
    for row in EXPECTED["lod2"]:
        mesh = made[row["object_id"]]
        stretch = 1 + 119.1e-6  # of the projection, at the town
        assert mesh.volume_m3() == pytest.approx(row["volume_m3"] / stretch**2, rel=3e-4)


def test_extruded_buildings_stand_on_their_base_and_reach_their_height(city):
    made = meshes(city, "building")
    table = city["building"].query()
    table = table[table["source"] == "vector/buildings.gpkg"]
    assert set(table.index) <= set(made)
    unstated = table[table["height_source"].fillna("").str.startswith("dsm")]
    assert len(unstated), "the town has buildings whose height nobody states"
    with rasterio.open(TOWN / "terrain" / "dsm.tif") as dsm:
        for _, row in unstated.iterrows():  # 70 % of the cells under the roof lie below it, the rim apart
            cells, _ = rasterio.mask.mask(dsm, [row.geometry.buffer(-0.75 * dsm.res[0])], crop=True, filled=False)
            measured = np.quantile(cells.compressed(), 0.7) if cells.count() else np.nan
            assert row["base_elev_m"] + row["height_m"] == pytest.approx(measured, abs=0.5)
    for name, row in table.iterrows():
        heights = to_city(city, made[name].vertices)
        assert heights[:, 2].min() == pytest.approx(row["base_elev_m"], abs=2e-3)
        if np.isnan(row["height_m"]):  # drawn as its plot: a tenth of a metre over the highest corner of the ground
            corners = shapely.get_coordinates(row.geometry)
            highest = np.nanmax(city.height(corners[:, 0], corners[:, 1]))
            assert heights[:, 2].max() == pytest.approx(highest + 0.1, abs=0.05)
        else:
            assert heights[:, 2].max() == pytest.approx(row["base_elev_m"] + row["height_m"], abs=2e-3)
        outline = shapely.multipoints(heights[:, :2])
        assert shapely.hausdorff_distance(shapely.convex_hull(outline), row.geometry.convex_hull) < 2e-3


def test_known_points_of_the_bim_models_land_within_a_centimetre(city):
    made = meshes(city, "bim_element")
    points = [point for model in EXPECTED["bim"] for point in model.get("known_points", [])]
    assert points
    for point in points:
        placed = to_city(city, made[point["guid"]].vertices)
        off = np.linalg.norm(placed - [point["e"], point["n"], point["h"]], axis=1).min()
        assert off < 0.01, point["what"]


def test_all_bim_elements_with_a_shape_have_a_mesh(city):
    expected = sum(model["n_bim_element"] for model in EXPECTED["bim"] if model["method"] != "none")
    info = city["bim_element"].info
    assert info.count == info.mesh_count == expected


def test_gaps_between_pipes_are_the_planted_ones(city):
    """Outer wall to outer wall: beside each other in plan, across each other in height, from axes and diameters."""
    seen = Counter()
    for case in EXPECTED["pipes"]:
        if case["case"] not in {"beside", "across"}:
            continue
        a = city[case["layer"]].get(case["pipe_id"])
        b = city[case["other_layer"]].get(case["other_id"])
        radii = (a["od_mm"] + b["od_mm"]) / 2000
        if case["case"] == "beside":
            gap = shapely.distance(a["geometry"], b["geometry"]) - radii
        else:
            at = shapely.intersection(shapely.force_2d(a["geometry"]), shapely.force_2d(b["geometry"]))
            gap = abs(height_at(a["geometry"], at) - height_at(b["geometry"], at)) - radii
        assert gap == pytest.approx(case["measured"], abs=0.011), case
        seen[case["case"]] += 1
    assert min(seen.values()) >= 3


def height_at(line, point):
    """Height of a line at a point of its plan."""
    flat = shapely.force_2d(line)
    xyz = shapely.get_coordinates(line, include_z=True)
    run = np.r_[0, np.cumsum(np.hypot(*np.diff(xyz[:, :2], axis=0).T))]
    return float(np.interp(shapely.line_locate_point(flat, point), run, xyz[:, 2]))


def test_pipes_are_tubes_around_their_axes(city):
    for layer_id in ("pipe_water", "pipe_sewage", "pipe_gas"):
        made = meshes(city, layer_id)
        table = city[layer_id].query()
        assert len(made) == len(table)
        for name, row in table.iterrows():
            axis = shapely.get_coordinates(row.geometry, include_z=True)
            length = np.linalg.norm(np.diff(axis, axis=0), axis=1).sum()
            assert made[name].volume_m3() == pytest.approx(np.pi * (row["od_mm"] / 2000) ** 2 * length, rel=0.01)
