"""What a stranger sends that cannot be right is refused, by the name of the input; nothing passes unlooked at."""

import pytest
import shapely

from layers.errors import InvalidInput, NotFound
from tests.twin.analysis import water_city
from tests.twin.analysis.water_city import EAST, NORTH

POINT = {"type": "Point", "coordinates": [EAST, NORTH]}
BASIN = shapely.geometry.mapping(shapely.box(EAST, NORTH - 9, EAST + 9, NORTH)) | {"crs": "city"}
LINE = {"type": "LineString", "coordinates": [[EAST, NORTH, 1.0], [EAST + 9, NORTH, 1.0]]}


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    area = shapely.box(EAST - 500, NORTH - 500, EAST + 500, NORTH + 500)
    with water_city.make(
        tmp_path_factory.mktemp("wrong"), layers=[("place", "Polygon", {"u": (area, {"d": 1})})]
    ) as made:
        yield made


def one(geometry, **properties):
    feature = {"type": "Feature", "id": "x", "geometry": geometry, "properties": properties}
    return {"type": "FeatureCollection", "crs": "city", "features": [feature]}


def observed(**more):
    row = {"device_id": "n", "time": "2025-06-01T22:30:00+08:00", "quantity": "noise", "value": 57.0, "unit": "dB(A)"}
    return [row | more]


@pytest.mark.parametrize(
    ("process", "inputs", "name"),
    [
        ("areal-rainfall", {"stations": one(POINT, rain_mm=3001.0), "basin": BASIN}, "stations"),
        ("areal-rainfall", {"stations": one(POINT, rain_mm=True), "basin": BASIN}, "stations"),
        ("idw", {"points": one(POINT, v=1e39), "property": "v", "cell_m": 1}, "points"),
        ("idw", {"points": one(POINT, v="abc"), "property": "v", "cell_m": 1}, "property"),
        ("pipe-clearance", {"pipes": one(LINE, kind="water", od_mm=1e6)}, "pipes"),
        ("pipe-cover-slope", {"pipes": one(LINE, kind="rain", dn_mm=1e300)}, "pipes"),
        ("pit-impact", {"pits": one(BASIN, depth_m=True)}, "pits"),
        ("pit-impact", {"pits": one(BASIN, depth_m=3.0), "objects": one(None)}, "objects"),
        ("crane-conflict", {"cranes": one(POINT, jib_m=True)}, "cranes"),
        ("sensor-exceedance", {"observations": observed(time="9999-12-31T23:59:59Z")}, "observations/0/time"),
        ("sensor-exceedance", {"observations": observed(time="0001-01-01T00:00:00Z")}, "observations/0/time"),
        ("sensor-exceedance", {"observations": observed(), "at": "9999-12-31T23:59:59Z"}, "at"),
    ],
    ids=["rain 3001 mm", "rain true", "idw 1e39", "idw text", "od 1 km", "dn 1e300", "depth true", "no geometry",
         "jib true", "year 9999", "year 1", "now in 9999"],
)  # fmt: skip
def test_what_cannot_be_is_named(city, process, inputs, name):
    with pytest.raises(InvalidInput, match=rf"^{name}"):
        city.run(process, **inputs)


@pytest.mark.parametrize(
    ("process", "inputs", "name"),
    [
        ("crane-conflict", {"cranes": {"collection": "no_such"}}, "cranes"),
        ("pit-impact", {"pits": {"collection": "no_such"}}, "pits"),
        ("pipe-clearance", {"pipes": {"collection": "no_such"}}, "pipes"),
        ("sensor-exceedance", {"observations": {"collection": "no_such"}}, "observations"),
        ("sensor-exceedance", {"observations": observed(), "sites": {"collection": "no_such"}}, "sites"),
        ("areal-rainfall", {"stations": {"collection": "no_such"}, "basin": BASIN}, "stations"),
    ],
)
def test_a_layer_that_is_not_there_is_named_with_its_input(city, process, inputs, name):
    with pytest.raises(NotFound, match=rf"^{name}: No layer 'no_such'"):
        city.run(process, **inputs)


def test_a_lone_crane_with_nothing_to_look_at_does_not_pass(city):
    crane = one(POINT, jib_m=50.0, tail_m=10.0, low_part_elev_m=40.0, top_elev_m=50.0)
    assert city.run("crane-conflict", cranes=crane)["verdict"] == "unknown"
    far = one(shapely.geometry.mapping(shapely.box(EAST + 300, NORTH, EAST + 310, NORTH + 9)), base_elev_m=0.0)
    assert city.run("crane-conflict", cranes=crane, buildings=far)["verdict"] == "pass"
