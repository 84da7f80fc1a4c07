"""P01: exact distance, equal to the limit counts."""

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st

import twin
from layers import crs
from layers.catalogue import Attribute, LayerType, Title
from layers.errors import InvalidInput, LayerNotFound
from layers.report import Report
from twin import analysis, config
from twin.analysis.buffer_query import within_distance
from twin.scope import Scope
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord

EAST, NORTH = 500000.0, 3108000.0


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twin")
    config.save(config.TwinConfig("here", "EPSG:4549", 121.0, 28.1, height_model={"constant_m": 12.0}), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    lamp = LayerType("lamp", Title("灯", "Lamp"), "Point", "iot", (3,), (Attribute("d", "integer", Title("d", "d")),))
    source = SourceRecord("l", "", 0, 0, "")
    distances = [101, 99, 100, 0, 5000]
    shapes = shapely.points([(EAST + d, NORTH) for d in distances])
    with store.writing() as batch:
        batch.ensure_layer(lamp)
        batch.begin_source(source)
        batch.put("lamp", "l", Rows([f"at{d}" for d in distances], shapes, pa.table({"d": distances}), [None] * 5))
        batch.finish_source(source, Report("l", "x", "", "stored"))
    store.close()
    with twin.open(folder) as opened:
        yield opened


CENTRE = {"type": "Point", "coordinates": [EAST, NORTH]}


def test_hand_case_points_at_99_100_and_101_m(city):
    found = city.run("buffer-query", geometry=CENTRE, distance_m=100, layer="lamp", filter="d > 0", crs="city")
    assert found["n_hits"] == 2
    hits = found["features"]["features"]
    assert [hit["id"] for hit in hits] == ["at99", "at100"], "nearest first"
    assert [hit["properties"]["distance_m"] for hit in hits] == [99, 100]
    assert found["buffer_area_m2"] == pytest.approx(31412.77, abs=0.01)  # true circle: 31415.93


def test_the_same_in_degrees(city):
    lon, lat = crs.transform("EPSG:4549", crs.CRS84, np.array([EAST]), np.array([NORTH]))
    point = {"type": "Point", "coordinates": [lon[0], lat[0]]}
    found = city.run("buffer-query", geometry=point, distance_m=100, layer="lamp", limit=2)
    assert (found["n_hits"], found["is_complete"]) == (3, False)
    assert [hit["id"] for hit in found["features"]["features"]] == ["at0", "at99"]
    assert found["features"]["features"][0]["geometry"]["coordinates"] == pytest.approx([lon[0], lat[0]], abs=1e-9)


@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1, max_size=20),
    st.integers(0, 60),
)
@example([(3, 4), (0, 5), (5, 0), (-3, -4), (4, 4)], 5)
def test_whole_metres_equal_pythagoras_in_integers(points, distance):
    is_hit, _ = within_distance(shapely.points(points), shapely.Point(0, 0), distance)
    assert is_hit.tolist() == [x * x + y * y <= distance * distance for x, y in points]


def test_missing_and_empty_geometries_are_no_hits():
    shapes = np.array([None, shapely.Polygon(), shapely.box(0, 0, 9, 9)], dtype=object)
    is_hit, distances = within_distance(shapes, shapely.Point(1, 1), 5)
    assert is_hit.tolist() == [False, False, True]
    assert distances[2] == 0


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({"geometry": CENTRE, "layer": "lamp"}, "distance_m"),
        ({"geometry": CENTRE, "layer": "lamp", "distance_m": -1}, "distance_m"),
        ({"geometry": CENTRE, "layer": "lamp", "distance_m": 5, "colour": 3}, "colour"),
        ({"geometry": {"type": "Pint", "coordinates": [1, 2]}, "layer": "lamp", "distance_m": 5}, "no GeoJSON"),
        ({"geometry": {"type": "Polygon", "coordinates": []}, "layer": "lamp", "distance_m": 5}, "empty"),
        ({"geometry": CENTRE, "layer": "lamp", "distance_m": 5}, "does not fit"),  # metres read as degrees
    ],
)
def test_inputs_that_make_no_sense_are_named(city, inputs, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        city.run("buffer-query", **inputs)


def test_the_scope_is_kept(city):
    with pytest.raises(LayerNotFound):
        city.with_scope(Scope("nobody", frozenset())).run(
            "buffer-query", geometry=CENTRE, distance_m=5, layer="lamp", crs="city"
        )


@pytest.mark.parametrize("process", analysis.registry().values(), ids=lambda each: each.id)
def test_every_process_describes_itself(process):
    for parameter in (*process.inputs.values(), *process.outputs.values()):
        jsonschema.Draft202012Validator.check_schema(parameter.schema)
        assert parameter.title.zh
        assert parameter.title.en
    assert process.id == process.id.lower()
    assert process.title.zh
