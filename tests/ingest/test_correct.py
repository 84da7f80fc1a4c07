"""Repairs on request, and city.toml's keys for them."""

import json

import numpy as np
import pytest
import shapely
import trimesh

import ingest
from ingest import city_toml
from layers import crs, gcj02
from layers.errors import InvalidInput
from layers.source import Hints

LON, LAT, EAST, NORTH = 121.0, 28.1, 598273.711, 3109927.739


def geojson(tmp_path, x, y, code=None):
    document = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {"k": i}, "geometry": {"type": "Point", "coordinates": [x + i * 1e-6, y]}}
            for i in range(3)
        ],
    }
    if code:
        document["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}"}}
    path = tmp_path / "points.geojson"
    path.write_text(json.dumps(document))
    return path


def first(path, **hints):
    reading = ingest.read(path, Hints(root=path.parent, **hints))
    (batch,) = reading.layers[0].batches()
    return reading, shapely.get_coordinates(batch.geometry)[0]


def test_swapped_axes_are_refused_with_the_line_and_put_right_when_asked(tmp_path):
    path = geojson(tmp_path, NORTH, EAST, 4549)
    with pytest.raises(InvalidInput, match="swap-axes"):
        ingest.read(path, Hints())
    reading, place = first(path, correct=("swap-axes",))
    assert place == pytest.approx((EAST, NORTH), abs=1e-5)
    assert "swapped" in reading.certificate.parameters["corrections"][0]


def test_zone_prefix_is_taken_off_or_put_on(tmp_path):
    path = geojson(tmp_path, 40e6 + EAST, NORTH, 4549)
    with pytest.raises(InvalidInput, match="EPSG:4528"):
        ingest.read(path, Hints())
    assert first(path, correct=("zone-prefix",))[1] == pytest.approx((EAST, NORTH), abs=1e-5)
    reading, place = first(path, correct=("given-crs",), crs="EPSG:4528")
    assert (reading.certificate.source_crs, place[0]) == ("EPSG:4528", 40e6 + EAST)
    path = geojson(tmp_path, EAST, NORTH, 4528)
    assert first(path, correct=("zone-prefix",))[1] == pytest.approx((40e6 + EAST, NORTH), abs=1e-5)


def test_a_point_of_another_zone_is_never_moved():
    zones = crs.gauss_zones("EPSG:4549")
    assert zones == (frozenset({40}), None)
    placed = crs.with_zone(np.array([41384860.594, 40598273.711]), *zones)
    np.testing.assert_allclose(placed, [41384860.594, EAST], rtol=0, atol=1e-6)
    assert crs.gauss_zones("EPSG:4528") == (frozenset({40}), 40)
    assert crs.gauss_zones("EPSG:4550") == (frozenset({41, 21}), None)  # 123° E is also the middle of 6-degree zone 21
    assert crs.gauss_zones("EPSG:4490") is None


@pytest.mark.parametrize(("name", "shift"), [("gcj02", gcj02.to_gcj02), ("bd09", gcj02.to_bd09)])
@pytest.mark.parametrize("code", ["EPSG:4326", "EPSG:4549"])
def test_web_map_shift_is_undone_in_degrees_and_in_metres(tmp_path, name, shift, code):
    lon, lat = (float(v[0]) for v in shift(np.array([LON]), np.array([LAT])))
    x, y = (float(v[0]) for v in crs.transform("EPSG:4326", code, np.array([lon]), np.array([lat])))
    reading, place = first(geojson(tmp_path, x, y, code.removeprefix("EPSG:")), correct=(name,))
    expected = (LON, LAT) if code == "EPSG:4326" else (EAST, NORTH)
    assert place == pytest.approx(expected, abs=1e-9 if code == "EPSG:4326" else 1e-3)
    assert reading.certificate.accuracy_m == gcj02.ACCURACY_M


def test_nothing_is_done_unasked(tmp_path):
    reading, place = first(geojson(tmp_path, LON, LAT))
    assert tuple(place) == (LON, LAT)
    assert reading.certificate.parameters == {}


def test_vertical_offset_moves_z_and_elevations(tmp_path):
    path = tmp_path / "valves.geojson"
    feature = {
        "type": "Feature",
        "properties": {"ground_elev_m": 3.5},
        "geometry": {"type": "Point", "coordinates": [LON, LAT, 4.0]},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    hints = Hints(root=tmp_path, vertical_offset_m=-12.5)
    reading = ingest.read(path, hints)
    (batch,) = reading.layers[0].batches()
    assert shapely.get_z(batch.geometry[0]) == -8.5
    assert reading.certificate.parameters["vertical_offset_m"] == -12.5
    if "ground_elev_m" in batch.attributes.schema.names:
        assert batch.attributes["ground_elev_m"].to_pylist() == [-9.0]


TOML = """
crs = "EPSG:4549"
[[source]]
path = "*.geojson"
priority = 3
vertical_offset_m = -12.5
correct = ["swap-axes", "swap-axes"]
control_points = [{from = [0, 0], to = [500000, 3100000]}, {from = [1, 0, 2], to = [500001, 3100000, 7.5]}]
join = {layer = "building", attribute = "code", column = "BM"}
unit_scale = 0.001
pipeline = [{type = "filters.outlier", method = "statistical"}]
[[source]]
path = "*.geojson"
table = "b"
correct = ["gcj02"]
"""


def test_city_toml_says_all_of_it(tmp_path):
    (tmp_path / "city.toml").write_text(TOML)
    hints = city_toml.load(tmp_path).hints_for(tmp_path / "a.geojson")
    assert (hints.priority, hints.vertical_offset_m, hints.correct) == (3, -12.5, ("swap-axes",))
    assert hints.control_points[1].source == (1.0, 0.0, 2.0)
    assert hints.control_points[1].true == (500001.0, 3100000.0, 7.5)
    assert hints.join["column"] == "BM"
    assert hints.unit_scale == 0.001
    assert hints.pipeline[0]["method"] == "statistical"
    assert hints.for_table("b").correct == ("gcj02",)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("priority = true", "priority"),
        ("priority = 1.5", "priority"),
        ("vertical_offset_m = 1e9", "12000 m"),
        ("vertical_offset_m = nan", "must be a number"),
        ('correct = ["flip"]', "swap-axes"),
        ('correct = ["gcj02", "bd09"]', "both"),
        ("control_points = [{from = [0, 0], to = [1, 1]}]", "2 are needed"),
        ("control_points = [{from = [0], to = [1, 1]}, {from = [0, 0], to = [1, 1]}]", r"control_points\[1\].from"),
        ('control_points = [{from = [0, "a"], to = [1, 1]}, {from = [0, 0], to = [1, 1]}]', "must be a number"),
        ("control_points = [1, 2]", "from = "),
        ('join = {layer = "building"}', "attribute"),
        ("unit_scale = 0", "more than 0"),
        ('pipeline = [{method = "x"}]', "type"),
        ('pipeline = [{type = "readers.las", filename = "/x"}]', "only filters"),
    ],
)
def test_city_toml_is_checked(tmp_path, line, words):
    (tmp_path / "city.toml").write_text(f'[[source]]\npath = "a"\n{line}\n')
    with pytest.raises(InvalidInput, match=words) as caught:
        city_toml.load(tmp_path)
    assert caught.value.code == "CITY_TOML_WRONG"
    assert "[[source]] 1" in caught.value.problem


def box_gml(order, flip):
    """A closed box 4 × 2 × 3 m as CityGML without a readable axis order; `order` of its coordinates, faces outwards."""
    corners = np.array([(x, y, z) for z in (0, 3) for x, y in ((0, 0), (4, 0), (4, 2), (0, 2))], float)
    corners += (EAST, NORTH, 5.0)
    faces = [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    rings = []
    for face in faces:
        ring = [*face, face[0]]
        text = " ".join(" ".join(f"{v:.3f}" for v in corners[i][order]) for i in (ring[::-1] if flip else ring))
        rings.append(
            "<gml:surfaceMember><gml:Polygon><gml:exterior><gml:LinearRing><gml:posList srsDimension='3'>"
            f"{text}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></gml:surfaceMember>"
        )
    return (
        '<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml" '
        'xmlns:bldg="http://www.opengis.net/citygml/building/2.0"><core:cityObjectMember><bldg:Building gml:id="b">'
        "<bldg:lod1Solid><gml:Solid srsName='EPSG:4549'><gml:exterior><gml:CompositeSurface>"
        f"{''.join(rings)}</gml:CompositeSurface></gml:exterior></gml:Solid></bldg:lod1Solid>"
        "</bldg:Building></core:cityObjectMember></core:CityModel>"
    )


@pytest.mark.parametrize("flip", [False, True])
def test_a_closed_solid_stays_closed_and_looks_outwards_when_axes_are_swapped(tmp_path, flip):
    path = tmp_path / "box.gml"
    path.write_text(box_gml([1, 0, 2], flip), "utf8")
    reading = ingest.read(path, Hints(root=tmp_path, correct=("swap-axes",)))
    ((mesh,),) = [batch.meshes for layer in reading.layers for batch in layer.batches()]
    assert mesh.volume_m3() == pytest.approx(24)
    solid = trimesh.Trimesh(mesh.vertices - mesh.vertices[0], mesh.triangles)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(24)
    assert mesh.bounds() == pytest.approx((EAST, NORTH, 5, EAST + 4, NORTH + 2, 8), abs=1e-3)


def test_heights_in_feet_become_metres_before_the_offset(tmp_path):
    """100 ft = 30.48 m, and 0.52 m of offset: 31 m."""
    path = tmp_path / "valves.geojson"
    feature = {
        "type": "Feature", "properties": {"k": 1}, "geometry": {"type": "Point", "coordinates": [LON, LAT, 100.0]},
    }  # fmt: skip
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    feet = 'VERTCRS["height in feet",VDATUM["somewhere"],CS[vertical,1],AXIS["up (H)",up],LENGTHUNIT["foot",0.3048]]'
    reading = ingest.read(path, Hints(root=tmp_path, vertical_crs=feet, vertical_offset_m=0.52))
    (batch,) = reading.layers[0].batches()
    assert shapely.get_z(batch.geometry[0]) == pytest.approx(31.0, abs=1e-9)
    depth = ingest.read(path, Hints(root=tmp_path, vertical_crs="EPSG:5715", vertical_offset_m=2.0))
    (batch,) = depth.layers[0].batches()
    assert shapely.get_z(batch.geometry[0]) == pytest.approx(-98.0, abs=1e-9)  # EPSG:5715 is depth below mean sea level


def test_zones_on_both_sides_of_the_named_one_are_refused_although_their_middle_fits(tmp_path):
    path = geojson(tmp_path, 40e6 + EAST, NORTH, 4528)
    document = json.loads(path.read_text())
    for feature, zone in zip(document["features"], (39, 40, 41), strict=True):
        feature["geometry"]["coordinates"] = [zone * 1e6 + EAST, NORTH]
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInput) as caught:
        ingest.read(path, Hints())
    assert caught.value.code == "COORDINATES_OUTSIDE_CRS"
    assert "39, 41 are mixed" in caught.value.hint
