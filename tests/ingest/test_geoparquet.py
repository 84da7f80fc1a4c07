"""GeoParquet: rows, places and values as geopandas (another reader and writer) has them, in every encoding."""

import json
import re

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from ingest.geoparquet import reader as geoparquet
from layers.errors import CrsMissing, InvalidInput
from layers.source import Hints
from tests.ingest.conftest import manifest

EAST, NORTH = 597000, 3109000
HOLE = [(EAST + 1, NORTH + 1), (EAST + 2, NORTH + 1), (EAST + 2, NORTH + 2)]
SHAPES = {
    "Point": [shapely.Point(EAST + i, NORTH) for i in range(4)],
    "LineString": [shapely.LineString([(EAST, NORTH + i), (EAST + 9, NORTH + i), (EAST + 9, NORTH)]) for i in range(4)],
    "Polygon": [shapely.Polygon(shapely.box(EAST, NORTH, EAST + 9 + i, NORTH + 9).exterior, [HOLE]) for i in range(4)],
}
SHAPES["MultiPoint"] = [shapely.MultiPoint(SHAPES["Point"][: i + 1]) for i in range(4)]
SHAPES["MultiLineString"] = [
    shapely.MultiLineString([SHAPES["LineString"][0], [(EAST + 20, NORTH), (EAST + 20 + i, NORTH + 9)]])
    for i in range(1, 5)
]
SHAPES["MultiPolygon"] = [
    shapely.MultiPolygon([SHAPES["Polygon"][0], shapely.box(EAST + 20, NORTH, EAST + 21 + i, NORTH + 1)])
    for i in range(4)
]


def consumed(path, hints=None):
    reading = geoparquet.read(path, hints or Hints())
    return reading, [(layer, list(layer.batches())) for layer in reading.layers]


def frame(shapes, crs="EPSG:4549", **columns):
    return gpd.GeoDataFrame({"name": [f"n{i}" for i in range(len(shapes))], **columns}, geometry=shapes, crs=crs)


def with_geo(path, change):
    """Rewrite the `geo` metadata of a file."""
    table = pq.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    change(geo["columns"]["geometry"])
    pq.write_table(table.replace_schema_metadata({b"geo": json.dumps(geo)}), path)
    return path


@pytest.mark.parametrize("encoding", ["WKB", "geoarrow"])
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("z", [False, True])
def test_every_encoding_gives_the_geometries_that_were_written(tmp_path, kind, encoding, z):
    shapes = np.array(SHAPES[kind], object)
    shapes = shapely.force_3d(shapes, 7.5) if z else shapes
    path = tmp_path / "x.parquet"
    given = [*shapes, None]
    frame(given).to_parquet(path, geometry_encoding=encoding, schema_version="1.1.0", row_group_size=2)
    _, [(layer, batches)] = consumed(path)
    assert (layer.n_read, [reject.code for reject in layer.rejects]) == (5, ["GEOMETRY_NULL"])
    assert layer.crs == "EPSG:4549"
    got = np.concatenate([batch.geometry for batch in batches])
    names = [name for batch in batches for name in batch.attributes.column("name").to_pylist()]
    assert names == ["n0", "n1", "n2", "n3"]
    assert shapely.equals(shapely.normalize(got), shapely.normalize(shapes)).all()
    assert (shapely.get_num_geometries(got) == shapely.get_num_geometries(shapes)).all()
    assert shapely.has_z(got).all() == z
    if z:
        assert set(shapely.get_coordinates(got, include_z=True)[:, 2]) == {7.5}


def test_the_crs_is_projjson_default_or_asked_for(tmp_path):
    path = tmp_path / "x.parquet"
    frame(SHAPES["Point"]).to_parquet(path)
    [(layer, _)] = consumed(path)[1]
    assert layer.crs == "EPSG:4549"
    with_geo(path, lambda column: column.update(crs=None))
    with pytest.raises(CrsMissing, match=r"x\.parquet"):
        consumed(path)
    [(layer, _)] = consumed(path, Hints(crs="EPSG:4549"))[1]
    assert (layer.crs, layer.certificate.method) == ("EPSG:4549", "given-crs")
    frame([shapely.Point(121, 28)], crs="OGC:CRS84").to_parquet(path)
    with_geo(path, lambda column: column.pop("crs"))
    [(layer, _)] = consumed(path)[1]
    assert layer.crs == "OGC:CRS84"
    [(layer, _)] = consumed(path, Hints(crs="EPSG:4490"))[1]
    assert layer.crs == "EPSG:4490"  # what is only the format's default yields to what is told


def test_parquets_own_geometry_type_needs_no_geo_metadata(realdata, tmp_path):
    table = pq.read_table(realdata / "vector" / "geoparquet_example.parquet", arrow_extensions_enabled=False)
    assert b"ARROW:extension:name" in table.schema.field("geometry").metadata
    pq.write_table(table.cast(pa.schema(list(table.schema))), tmp_path / "a.parquet")
    reading, [(layer, batches)] = consumed(tmp_path / "a.parquet")
    assert (reading.format, layer.crs, layer.n_read, sum(map(len, batches))) == ("GeoParquet", "OGC:CRS84", 5, 5)


def test_mixed_kinds_become_a_layer_each(tmp_path):
    path = tmp_path / "x.parquet"
    frame([*SHAPES["Point"], *SHAPES["Polygon"][:2]]).to_parquet(path)
    reading, layers = consumed(path)
    assert [(layer.name, layer.n_read) for layer, _ in layers] == [("x", 4), ("x_areas", 2)]
    assert [issue.code for issue in reading.issues] == ["GEOMETRY_KINDS_SPLIT"]


def test_other_geometry_columns_become_text_and_coverings_go(tmp_path):
    path = tmp_path / "x.parquet"
    given = frame(SHAPES["Polygon"])
    given["label"] = gpd.GeoSeries(SHAPES["Point"], crs="EPSG:4549")
    given.to_parquet(path, write_covering_bbox=True, schema_version="1.1.0")
    reading, [(layer, [batch])] = consumed(path)
    assert [issue.code for issue in reading.issues] == ["GEOMETRY_COLUMN_AS_TEXT"]
    assert batch.attributes.column("label").to_pylist() == [shapely.to_wkt(each, -1) for each in SHAPES["Point"]]
    assert set(layer.fields) == {"label"}


def test_epoch_and_spherical_edges_are_told(tmp_path):
    path = tmp_path / "x.parquet"
    frame(SHAPES["Point"]).to_parquet(path)
    with_geo(path, lambda column: column.update(epoch=2021.47, edges="spherical"))
    reading, _ = consumed(path)
    assert [issue.code for issue in reading.issues] == ["COORDINATE_EPOCH", "EDGES_SPHERICAL"]
    assert "2021.47" in reading.issues[0].message


def test_a_table_without_geometry_keeps_nested_values_as_json(tmp_path):
    path = tmp_path / "plain.parquet"
    table = pa.table(
        {
            "a": [1, 2],
            "words": pa.array(["x", "y"]).dictionary_encode(),
            "nested": [{"b": [1, 2]}, None],
            "bytes": [b"\x00\xff", None],
        }
    )
    pq.write_table(table, path)
    reading, [(layer, [batch])] = consumed(path)
    assert (reading.format, layer.geometry_type, layer.n_read) == ("Parquet", "none", 2)
    rows = batch.attributes.select(["a", "words", "nested", "bytes"]).to_pylist()
    assert rows == [
        {"a": 1, "words": "x", "nested": '{"b":[1,2]}', "bytes": "00ff"},
        {"a": 2, "words": "y", "nested": None, "bytes": None},
    ]


def test_a_file_of_many_row_groups_comes_in_batches(tmp_path):
    n = 25_000
    path = tmp_path / "x.parquet"
    shapes = shapely.points(EAST + np.arange(n) / 10, np.full(n, NORTH))
    frame(shapes).to_parquet(path, row_group_size=7_000)
    _, [(layer, batches)] = consumed(path)
    assert layer.n_read == sum(map(len, batches)) == n
    assert max(map(len, batches)) <= 10_000


@pytest.mark.parametrize("size", [0, 3, 50, 500, -1, -9])
def test_a_cut_file_is_refused(tmp_path, size):
    frame(SHAPES["Polygon"]).to_parquet(tmp_path / "x.parquet")
    data = (tmp_path / "x.parquet").read_bytes()[:size]
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(InvalidInput) as caught:
        consumed(tmp_path / "x.parquet")
    assert caught.value.code == "TRUNCATED"


FACTS = {name: row["expected"] for name, row in manifest().items() if re.fullmatch(r"vector/.*\.parquet", name)}


@pytest.mark.parametrize("name", sorted(FACTS) or ["none"])
def test_real_files_have_the_measured_rows_and_bounds(realdata, name):
    if name == "none":
        pytest.skip("no MANIFEST.csv")
    _, [(layer, batches)] = consumed(realdata / name)
    assert layer.n_read == int(re.search(r"rows=(\d+)", FACTS[name])[1]) == sum(map(len, batches))
    truth = gpd.read_parquet(realdata / name)
    assert layer.crs == "OGC:CRS84"
    bounds = shapely.total_bounds(np.concatenate([batch.geometry for batch in batches]))
    assert bounds == pytest.approx(truth.total_bounds, abs=1e-9)


def test_the_truncated_real_file_is_refused(realdata):
    with pytest.raises(InvalidInput, match="parquet_truncated_90pct"):
        consumed(realdata / "bad" / "parquet_truncated_90pct.parquet")
