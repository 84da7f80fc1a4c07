"""The sample town through the readers: layer types as its makers meant them, counts as other tools counted them."""

import json

import pytest

from ingest import city_toml, detect, reader_for, scan
from layers import catalogue
from layers.source import Hints, VectorLayer


@pytest.fixture(scope="module")
def readings(town):
    toml = city_toml.load(town)
    assert toml.unmatched() == []
    files = [each for each in scan.sources(town) if not toml.skipped(each.path) and each.path.suffix != ".ifc"]
    files = [each for each in files if each.name != "bim/bim_truths.json"]  # truths for tests, not data
    return {each.name: reader_for(each.path).read(each.path, toml.hints_for(each.path)) for each in files}


def test_every_table_is_recognised_and_every_feature_counted(town, readings):
    counts = json.loads((town / "expected.json").read_text("utf8"))["counts"]
    for name, reading in readings.items():
        for layer in reading.layers:
            if not isinstance(layer, VectorLayer):
                continue
            n_good = sum(len(batch) for batch in layer.batches())
            wanted = counts.get(name)
            wanted = wanted.get(layer.name) if isinstance(wanted, dict) else wanted
            assert wanted is None or layer.n_read == wanted, (name, layer.name)
            assert n_good + len(layer.rejects) == layer.n_read
            assert layer.rejects == [], (name, layer.name, layer.rejects[:1])
            assert layer.layer_type in catalogue.load(), (name, layer.name)


def test_pipes_keep_diameter_material_and_elevation_reference(readings):
    for reading in readings.values():
        for layer in reading.layers:
            if layer.layer_type.startswith("pipe_") and layer.layer_type != "pipe_node":
                for batch in layer.batches():
                    for column in ("od_mm", "dn_mm", "z_ref", "start_elev_m", "end_elev_m", "material"):
                        filled = len(batch) - batch.attributes.column(column).null_count
                        assert filled > 0.8 * len(batch) or layer.layer_type in {"pipe_power", "pipe_telecom"}, (
                            layer.name,
                            column,
                        )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Water-Pipes 2024（给水）", "_water_pipes_2024_给水_"),
        ("BuildingFootprints", "_building_footprints_"),
        ("建筑2025", "_建筑_2025_"),
        ("１号", "_1_号_"),
    ],
)
def test_words_of_a_name(name, expected):
    assert detect.name_words(name) == expected


def _detected(name, columns, geometry, **hints):
    import pyarrow as pa

    return detect.detect(
        name,
        name.split("/")[-1].split(".")[0],
        pa.schema([(c, pa.string()) for c in columns]),
        geometry,
        Hints(**hints),
    )


@pytest.mark.parametrize(
    ("name", "columns", "geometry", "expected"),
    [
        ("a/buildings.gpkg", ["x"], "Polygon", "building"),
        ("a/建筑工地.gpkg", ["x"], "Polygon", "construction_site"),
        ("a/规划许可建筑.gpkg", ["x"], "MultiPolygon", "permit_building"),
        ("a/gas.shp", ["x"], "LineString", "pipe_gas"),
        ("a/DLTB.shp", ["x"], "Polygon", "land_survey"),
        ("a/x.shp", ["BSM", "DLBM", "DLMC", "TBMJ", "KCXS"], "Polygon", "land_survey"),
        ("a/JS.shp", ["管径"], "MultiLineString", "pipe_water"),
    ],
)
def test_detection_by_name_and_columns(name, columns, geometry, expected):
    found = _detected(name, columns, geometry)
    assert (found.layer_type.id, found.is_own) == (expected, False)


@pytest.mark.parametrize(
    ("name", "geometry"), [("buildings.gpkg", "Point"), ("zzz.gpkg", "Polygon"), ("管线.shp", "LineString")]
)
def test_what_is_not_plain_becomes_a_layer_of_its_own(name, geometry):
    found = _detected(name, ["管径", "材质", "外径", "起点高程"] if name == "管线.shp" else ["q"], geometry)
    assert found.is_own
    assert found.layer_type.id not in catalogue.load()
    [issue] = found.issues
    assert issue.code == "LAYER_TYPE_UNKNOWN"
    if name == "管线.shp":  # the columns say pipe, but not which
        assert "pipe_" in issue.message


def test_the_name_of_a_file_alone_does_not_speak_for_each_of_its_tables():
    import pyarrow as pa

    nothing = pa.schema([("围挡高度", pa.string())])
    assert detect.detect("工地.gpkg", "围挡", nothing, "Polygon", Hints()).is_own
    columns = pa.schema([(name, pa.string()) for name in ("管径", "材质", "外径")])
    assert detect.detect("燃气.gpkg", "管段", columns, "LineString", Hints()).layer_type.id == "pipe_gas"
