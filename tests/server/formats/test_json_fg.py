"""JSON-FG: what 21-045 requires, checked by hand; GDAL's driver and the meshes as they came say whether it is right."""

import itertools
import json

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
import trimesh
from scipy.spatial import cKDTree

CORE = "http://www.opengis.net/spec/json-fg-1/1.0/conf/"
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"


def vector_area(ring):
    local = ring[:-1] - ring[0]
    return np.cross(local, np.roll(local, -1, axis=0)).sum(axis=0) / 2


def shells(place):
    """Every shell of a Polyhedron or MultiPolyhedron as polygons of rings, (n, 3) each."""
    solids = [place["coordinates"]] if place["type"] == "Polyhedron" else place["coordinates"]
    return [[[np.array(ring) for ring in polygon] for polygon in shell] for solid in solids for shell in solid]


def volume(shell):
    """Enclosed, by the divergence theorem; north-first coordinates are mirrored back."""
    origin = shell[0][0][0]
    return sum(
        (polygon[0][0] - origin) @ sum(vector_area(ring) for ring in polygon) / 3 for polygon in shell
    )  # fmt: skip


def east_first(shell):
    return [[ring[:, [1, 0, 2]] for ring in polygon] for polygon in shell]


@pytest.fixture(scope="module")
def houses(odd):
    return odd("/collections/building/items?f=jsonfg").json()


def by_id(document):
    return {each["id"]: each for each in document["features"]}


def test_the_root_says_what_it_is(houses, odd):
    assert {CORE + "core", CORE + "polyhedra", CORE + "types-schemas"} <= set(houses["conformsTo"])
    assert houses["featureType"] == "building"
    assert houses["coordRefSys"] == [EPSG + "4549", EPSG + "5737"]
    assert odd(houses["featureSchema"]).headers["content-type"].startswith("application/schema+json")
    assert "geometryDimension" not in houses  # one of them is a surface
    assert (houses["numberMatched"], houses["numberReturned"]) == (6, 6)
    for each in houses["features"]:
        assert not {"conformsTo", "coordRefSys", "featureType"} & set(each)
        assert set(each) >= {"type", "id", "time", "place", "geometry", "properties"}


def test_geometry_and_properties_are_those_of_geojson(houses, odd):
    plain = odd("/collections/building/items?f=json").json()
    for one, other in zip(houses["features"], plain["features"], strict=True):
        assert (one["id"], one["geometry"], one["properties"]) == (other["id"], other["geometry"], other["properties"])
        start, end = one["time"]["interval"]
        assert start == other["properties"]["valid_from"]
        assert start.endswith("Z")
        assert end == ".."


def test_models_are_what_they_were(houses, placed):
    kinds = {"house": "Polyhedron", "hollow": "Polyhedron", "twins": "MultiPolyhedron", "open": "MultiPolygon"}
    found = by_id(houses)
    assert found["h5"]["place"] is None  # has no model, and its outline has no heights
    for key, (name, vertices, triangles) in placed.items():
        place = found[key]["place"]
        assert place["type"] == kinds.get(name, "Polyhedron")
        flat = shapely.get_coordinates(shapely.from_geojson(json.dumps(found[key]["geometry"])))
        assert (np.abs(flat) < 180).all()
        points = np.array(json.loads(json.dumps(place["coordinates"]).replace("[", "").replace("]", "").join("[]")))
        points = points.reshape(-1, 3)[:, [1, 0, 2]]
        distance, _ = cKDTree(vertices).query(points)
        assert distance.max() < 0.001
        if name == "open":
            continue
        for shell in shells(place):
            assert all((ring[0] == ring[-1]).all() for polygon in shell for ring in polygon)
            edges = [
                tuple(map(tuple, pair)) for polygon in shell for ring in polygon for pair in itertools.pairwise(ring)
            ]
            assert len(set(edges)) == len(edges)
            assert {(b, a) for a, b in edges} == set(edges)  # closed: each edge once each way
        true = trimesh.Trimesh(vertices - vertices[0], triangles).volume
        assert sum(volume(east_first(shell)) for shell in shells(place)) == pytest.approx(true, rel=1e-4)
    hollow = shells(found["h1"]["place"])
    assert [round(volume(east_first(shell))) for shell in hollow] == [1000, -64]  # outer shell, then the void
    window = [polygon for shell in shells(found["h0"]["place"]) for polygon in shell if len(polygon) == 2]
    assert len(window) == 2


@pytest.mark.parametrize("crs", ["EPSG:4490", "EPSG:4326", "EPSG:3857"])
def test_models_in_another_crs(odd, placed, crs):
    document = odd(f"/collections/building/items?f=jsonfg&crs={crs}&ids=h0").json()
    assert document["coordRefSys"] == [EPSG + crs[5:], EPSG + "5737"]
    assert document["geometryDimension"] == 3
    place = document["features"][0]["place"]
    points = np.concatenate([ring for shell in shells(place) for polygon in shell for ring in polygon])
    back = pyproj.Transformer.from_crs(crs, "EPSG:4549", always_xy=False)  # axes as the authority says
    north, east = back.transform(points[:, 0], points[:, 1])
    distance, _ = cKDTree(placed["h0"][1]).query(np.stack([east, north, points[:, 2]], axis=1))
    assert distance.max() < 0.001


def test_models_with_heights_above_the_ellipsoid(odd, odd_city, placed):
    document = odd("/collections/building/items?f=jsonfg&crs=OGC:CRS84h&ids=h0").json()
    assert document["coordRefSys"] == "http://www.opengis.net/def/crs/OGC/0/CRS84h"
    points = np.concatenate([r for shell in shells(document["features"][0]["place"]) for p in shell for r in p])
    expected = odd_city.frame.ellipsoidal(placed["h0"][1])
    distance, _ = cKDTree(expected * (1e5, 1e5, 1)).query(points * (1e5, 1e5, 1))
    assert distance.max() < 0.001
    plain = odd("/collections/spot/items?f=jsonfg&crs=OGC:CRS84h").json()
    assert all(each["place"] is None for each in plain["features"])


def test_without_models(odd):
    flat = odd("/collections/plot/items?f=jsonfg&crs=EPSG:4549").json()
    assert flat["coordRefSys"] == [EPSG + "4549", EPSG + "5737"]  # one plot has heights
    places = {key: each["place"] for key, each in by_id(flat).items()}
    assert places["p3"]["coordinates"][0][0] == [3_110_000.0, 598_173.0, 7.25]
    assert [key for key, place in places.items() if place] == ["p3"]
    spots = odd("/collections/spot/items?f=jsonfg").json()
    assert [each["place"]["coordinates"] for each in spots["features"]][1] == [3_110_002.0, 598_001.0, 3.5]
    assert spots["geometryDimension"] == 0
    # a plain geometry in CRS84 stands in `geometry` alone
    plain = odd("/collections/spot/items?f=jsonfg&crs=OGC:CRS84").json()
    assert all(each["place"] is None and each["geometry"] for each in plain["features"])
    assert "coordRefSys" not in plain
    notes = odd("/collections/note/items?f=jsonfg").json()
    assert all(each["place"] is None and each["geometry"] is None for each in notes["features"])
    bare = odd("/collections/building/items?f=jsonfg&skipGeometry=true").json()
    assert all(each["place"] is None and each["geometry"] is None for each in bare["features"])


def test_gdal_reads_it(odd, tmp_path):
    path = tmp_path / "spots.json"
    path.write_bytes(odd("/collections/spot/items?f=jsonfg&crs=EPSG:4549").content)
    assert pyogrio.read_info(path)["driver"] == "JSONFG"
    meta, _, geometry, _fields = pyogrio.raw.read(path, columns=["id"])
    assert pyproj.CRS(meta["crs"]).sub_crs_list[0].to_epsg() == 4549
    points = shapely.get_coordinates(shapely.from_wkb(geometry), include_z=True)
    np.testing.assert_allclose(points[2], (598_002, 3_110_004, 7.0), atol=1e-4)
    path.write_bytes(odd("/collections/building/items?f=jsonfg&ids=h3").content)
    _, _, geometry, _ = pyogrio.raw.read(path, columns=["id"])
    assert shapely.get_num_geometries(shapely.from_wkb(geometry[0])) == 6  # five sides, one of them still in two parts
