"""Features that are no features, sent to every question about land, buildings and sight: refused, the input named."""

import numpy as np
import pytest
import shapely
from geopandas import GeoDataFrame

import twin
from layers.errors import InvalidInput, NotFound
from tests.twin.analysis.land_city import EAST, NORTH, box, collection, feature, made, with_raster

AREA = collection(feature(box(0, 0, 100, 100), "a", code="0701", code_system="ydyh2023", DLBM="0101"))
POINT = collection(feature(shapely.Point(EAST + 20, NORTH + 20), "p"))
OTHER = collection(feature(shapely.Point(EAST + 80, NORTH + 80), "q"))
ASKED = {
    "overlay-stats": {"zones": AREA, "layer": AREA},
    "topology-check": {"layer": AREA},
    "control-line-check": {"project": AREA, "pbf": AREA, "eco_redline": AREA, "urban_boundary": AREA},
    "plan-compliance": {"project": AREA, "land_plan": AREA},
    "parcel-intensity": {"parcels": AREA, "buildings": AREA, "green": AREA, "controls": AREA},
    "setback-height-check": {"buildings": AREA, "parcels": AREA, "controls": AREA},
    "illegal-building-screen": {"buildings": AREA, "permits": AREA, "buildings_before": AREA},
    "model-diff": {"before": AREA, "after": AREA},
    "cut-fill": {"area": AREA, "design_elev_m": 10},
    "terrain": {"area": AREA, "measure": "slope_deg"},
    "line-of-sight": {"observer": POINT, "targets": OTHER, "buildings": AREA},
    "viewshed": {"observer": POINT, "radius_m": 30, "buildings": AREA},
    "view-corridor": {"observer": POINT, "target": OTHER, "width_m": 20, "buildings": AREA},
    "skyline": {"observer": POINT, "radius_m": 30, "buildings": AREA},
}
FEATURES = [(process, name) for process, inputs in ASKED.items() for name in inputs if isinstance(inputs[name], dict)]
AT = [EAST + 10, NORTH + 10]
WRONG = {
    "properties-are-text": {"type": "Feature", "properties": "x", "geometry": {"type": "Point", "coordinates": AT}},
    "nowhere": {"type": "Feature", "properties": {}, "geometry": None},
    "huge": {"type": "Polygon", "coordinates": [[AT, [1e308, NORTH], [EAST, 1e300], AT]]},
    "nan": {"type": "Polygon", "coordinates": [[AT, [float("nan"), NORTH], [EAST, NORTH + 99], AT]]},
    "no-ring": {"type": "Polygon", "coordinates": []},
    "empty-ring": {"type": "Polygon", "coordinates": [[]]},
    "words-for-numbers": {"type": "Polygon", "coordinates": [[["a", "b"], ["c", "d"], ["e", "f"], ["a", "b"]]]},
    "far-away": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},
    "bow-tie": {"type": "Polygon", "coordinates": [[AT, [EAST + 30, NORTH + 30], [EAST + 30, NORTH + 10],
                                                    [EAST + 10, NORTH + 30], AT]]},
    "bow-tie-in-degrees": {"type": "Polygon", "crs": "CRS84", "coordinates": [[
        [121.0, 28.1], [121.0001, 28.1001], [121.0001, 28.1], [121.0, 28.1001], [121.0, 28.1]]]},
    "no-such-layer": {"collection": "nothing_of_that_name"},
    "no-such-property": {"collection": "building", "filter": "no_such_property > 3"},
    "half-a-filter": {"collection": "building", "filter": "floors >"},
    "no-moment": {"collection": "building", "datetime": "yesterday"},
    "no-crs": {"type": "Point", "coordinates": AT, "crs": "EPSG:999999"},
}  # fmt: skip
NO_PLACE = {"nowhere", "no-ring", "empty-ring"}
LISTED = {
    ("overlay-stats", "layer"): NO_PLACE,
    ("topology-check", "layer"): {*NO_PLACE, "bow-tie", "bow-tie-in-degrees"},
    ("model-diff", "before"): NO_PLACE,
    ("model-diff", "after"): NO_PLACE,
}
"""What the answer lists apart instead: the question is about these very features."""


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    layers = {"building": [("b", box(10, 10, 20, 20), {"floors": 3, "height_m": 9.0, "base_elev_m": 5.0})]}
    with made(tmp_path_factory.mktemp("wrong"), layers) as opened:
        with_raster(opened, "ground", np.full((120, 120), 5.0), west=EAST - 10, north=NORTH + 110, layer="dem")
        yield opened


@pytest.mark.parametrize(
    ("process", "name", "wrong"),
    [(*each, wrong) for each in FEATURES for wrong in WRONG if wrong not in LISTED.get(each, ())],
)
def test_the_input_is_named(city, process, name, wrong):
    given = dict(WRONG[wrong])
    if "collection" not in given:
        given.setdefault("crs", "city")
    with pytest.raises((InvalidInput, NotFound)) as caught:
        city.run(process, **{**ASKED[process], name: given})
    assert name in caught.value.problem.split(":")[0], caught.value


@pytest.mark.parametrize("process", ASKED)
def test_what_is_right_is_answered(city, process):
    assert city.run(process, **ASKED[process])


@pytest.mark.parametrize(
    ("geometry", "says"),
    [
        ({"type": "Point", "coordinates": [28.1, 121.0]}, "geometry"),
        ({"type": "Polygon", "coordinates": []}, "geometry"),
        (WRONG["bow-tie"], "geometry"),
        (WRONG["huge"], "geometry"),
    ],
    ids=["swapped", "empty", "bow-tie", "huge"],
)
def test_a_place_out_of_the_city_has_no_neighbours(city, geometry, says):
    inputs = {"geometry": geometry, "distance_m": 100, "layer": "building"}
    with pytest.raises(InvalidInput, match=says):
        city.run("buffer-query", **inputs, crs="city" if geometry["type"] == "Polygon" else "CRS84")


@pytest.mark.parametrize(("name", "value"), [("region", AREA), ("rise_min_m", 3.0)])
def test_what_belongs_to_surface_models_is_not_dropped_in_silence(city, name, value):
    with pytest.raises(InvalidInput, match=f"^{name}"):
        city.run("illegal-building-screen", permits=AREA, **{name: value})


def test_a_layer_of_permits_without_any_permit_makes_nobody_suspect(tmp_path):
    house = [("b", box(0, 0, 20, 20), {"height_m": 9.0})]
    with made(tmp_path, {"building": house, "permit_building": []}) as city:
        with pytest.raises(InvalidInput, match=r"^permits"):
            city.run("illegal-building-screen")
        told = city.run("supervise-one-map", checks=["illegal-building"])
        assert {rule["verdict"] for check in told["checks"] for rule in check["rules"]} == {"unknown"}
        assert told["counts"]["fail"] == 0


def test_the_plate_of_a_building_without_height_is_no_model_of_it(folder):
    shapes = {"id": ["known", "unknown"], "height_m": [30.0, None], "base_elev_m": [10.0, 10.0]}
    outlines = [box(0, 0, 20, 20), box(10, 10, 30, 30)]
    GeoDataFrame(shapes, geometry=outlines, crs="EPSG:4549").to_file(folder.files / "building.gpkg")
    folder.build()
    with twin.open(folder.twin) as city:
        layer = {"collection": "building"}
        told = city.run("model-diff", before=layer, after=layer)
        found = {row["before"]: row for row in told["differences"]}
        names = dict(zip(sorted(found), ("known", "unknown"), strict=True))
        assert [found[name]["volume_after_m3"] is None for name in names] == [False, True]
        assert told["n_unknown"] == 1
        clash = city.run("bim-clash", elements=layer, soft_gap_m=1)
        assert (clash["n_hard"], len(clash["without_mesh"]), clash["verdict"]) == (0, 1, "unknown")


@pytest.mark.parametrize(
    ("process", "name", "value"),
    [
        ("model-diff", "region", AREA),
        ("coverage-indicators", "datetime", "yesterday"),
        ("plan-indicators", "datetime", "yesterday"),
        ("crs-audit", "reference", "nothing_of_that_name"),
        ("crs-audit", "match", "no_such_property"),
        ("overlay-stats", "zone_field", "no_such_property"),
        ("setback-height-check", "lines", {"type": "Feature", "properties": {}, "geometry": None}),
        ("setback-height-check", "lines", WRONG["bow-tie"] | {"crs": "city"}),
    ],
    ids=["region", "coverage", "plan", "reference", "match", "zone", "no-line", "bow-tie-line"],
)
def test_the_other_inputs_are_named(city, process, name, value):
    more = {"coverage-indicators": {"indicator": "I-06"}, "crs-audit": {"layer": "building", "reference": "building"}}
    given = {**ASKED.get(process, {}), **more.get(process, {}), name: value}
    with pytest.raises((InvalidInput, NotFound)) as caught:
        city.run(process, **given)
    assert caught.value.problem.startswith(name), caught.value
