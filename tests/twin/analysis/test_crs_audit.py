"""P35: the hand cases, shifts made with the published formulas, heights made with known errors."""

import json
import tomllib

import numpy as np
import pyarrow as pa
import pytest
import shapely

import twin
from layers import crs, gcj02
from layers.catalogue import Attribute, LayerType, Title
from layers.errors import InvalidInput
from layers.report import LayerCount, Report
from twin import config
from twin.analysis.crs_audit_heights import height_doubt
from twin.analysis.crs_audit_reference import nearest, suspicion
from twin.scope import Scope
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord

EAST, NORTH = 598273.711, 3109927.739
CENTRE = np.array([EAST, NORTH])
TRUE = CENTRE + np.random.default_rng(7).uniform(-4000, 4000, (60, 2))


def through(xy, shift):
    lon, lat = crs.transform("EPSG:4549", "EPSG:4326", xy[:, 0], xy[:, 1])
    return np.column_stack(crs.transform("EPSG:4326", "EPSG:4549", *shift(lon, lat)))


LAYERS = {
    "right": TRUE,
    "gcj": through(TRUE, gcj02.to_gcj02),
    "bd": through(TRUE, gcj02.to_bd09),
    "xian": TRUE + np.array([-61.0, 43.0]),
}


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twin")
    config.save(config.TwinConfig("here", "EPSG:4549", 121.0, 28.1, height_model={"constant_m": 12.0}), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    with store.writing() as batch:
        for name, xy in LAYERS.items():
            kind = LayerType(
                name, Title(name, name), "Point", "iot", (3,), (Attribute("k", "integer", Title("k", "k")),)
            )
            batch.ensure_layer(kind)
            batch.begin_source(SourceRecord(f"{name}.shp", "", 0, 0, ""))
            rows = Rows([f"{name}{i}" for i in range(60)], shapely.points(xy), pa.table({"k": range(60)}), [None] * 60)
            batch.put(name, f"{name}.shp", rows)
            batch.finish_source(
                SourceRecord(f"{name}.shp", "", 0, 0, ""),
                Report(f"{name}.shp", "x", "", "stored", layers=[LayerCount(name, name)]),
            )
    store.close()
    with twin.open(folder) as opened:
        yield opened


def finding(answer, layer):
    return next(row for row in answer["rows"] if row["layer"] == layer and row["finding"] not in {"place", "heights"})


@pytest.mark.parametrize(
    ("declared", "place", "code", "keys"),
    [
        ("EPSG:4549", [40598273, 3109927], "zone-prefix", {"crs": "EPSG:4528", "correct": ["given-crs"]}),
        ("EPSG:4490", [28.1, 121.0], "swapped-axes", {"correct": ["swap-axes"]}),
    ],
)
def test_hand_cases_with_lines_that_toml_reads(city, declared, place, code, keys):
    answer = city.run("crs-audit", coordinates=[place], declared_crs=declared)
    (row,) = answer["rows"]
    assert (answer["verdict"], row["finding"]) == ("fail", code)
    (source,) = tomllib.loads(row["proposal"])["source"]
    assert source == {"path": "FILE", **keys}


def test_gcj02_is_suspected_by_a_shift_of_about_540_m(city):
    row = finding(city.run("crs-audit", layer="gcj", reference="right", match="k"), "gcj")
    assert row["finding"] == "suspect-gcj02"
    assert row["measured"] == pytest.approx(542.8, abs=3)
    assert 'correct = ["gcj02"]' in row["proposal"]
    assert finding(city.run("crs-audit", layer="bd", reference="right", match="k"), "bd")["finding"] == "suspect-bd09"


def test_an_older_datum_is_suspected_with_control_points_as_the_cure(city):
    row = finding(city.run("crs-audit", layer="xian", reference="right", match="k"), "xian")
    assert (row["finding"], row["verdict"]) == ("suspect-old-datum", "warn")
    assert row["measured"] == pytest.approx(np.hypot(61, 43))
    (pair, *_) = tomllib.loads(row["proposal"])["source"][0]["control_points"]
    np.testing.assert_allclose(np.subtract(pair["to"], pair["from"]), (61, -43), atol=2e-3)


def test_without_reference_it_is_unknown_and_all_layers_are_told(city):
    answer = city.run("crs-audit")
    assert {row["layer"] for row in answer["rows"]} == set(LAYERS)
    assert answer["verdict"] == "unknown"
    assert finding(answer, "right")["verdict"] == "unknown"
    assert json.loads(json.dumps(answer)) == answer


def test_scope_hides_other_layers_and_sources(city):
    answer = city.with_scope(Scope("guest", frozenset({"right"}))).run("crs-audit")
    assert {row["layer"] for row in answer["rows"]} == {"right"}
    assert {row["source"] for row in answer["rows"]} == {""}


def test_certificates_are_those_of_the_scope(city):
    assert set(city.certificates()) == {f"{name}.shp" for name in LAYERS}
    assert set(city.with_scope(Scope("guest", frozenset({"right"}))).certificates()) == {"right.shp"}


def test_coordinates_need_their_crs(city):
    with pytest.raises(InvalidInput, match="declared_crs"):
        city.run("crs-audit", coordinates=[[1, 2]])


def test_an_outline_is_compared_by_its_nearest_edge():
    square = shapely.box(*CENTRE - 5000, *CENTRE + 5000)
    edge = shapely.get_coordinates(shapely.segmentize(square, 100))
    moved = through(edge, gcj02.to_gcj02)
    np.testing.assert_allclose(np.hypot(*nearest(edge, np.array([square])).T), 0, atol=1e-6)
    _, doubt = suspicion(moved, lambda xy: nearest(xy, np.array([square])), "EPSG:4549")
    assert doubt is not None
    assert doubt.code == "suspect-gcj02"


GROUND = np.random.default_rng(8).uniform(3, 60, 40)


@pytest.mark.parametrize(
    ("z", "code"),
    [
        (GROUND + 1.5, None),
        (GROUND + 12.2, "ellipsoidal-heights"),
        (GROUND / 0.3048, "heights-in-feet"),
        (GROUND * 100, "heights-in-centimetres"),
        (GROUND - 30.0, "height-offset"),
        (GROUND * 0 - 9999.0, "height-range"),
    ],
)
def test_heights(z, code):
    _, doubt = height_doubt(z, GROUND, 12.0)
    assert (doubt and doubt.code) == code
    if code == "height-offset":
        assert doubt.cure == {"vertical_offset_m": 30.0}


def test_heights_without_ground_are_unknown():
    assert height_doubt(GROUND, GROUND * np.nan, 12.0) == (None, None)
