"""FlatGeobuf, GeoParquet, GeoPackage and CSV: GDAL, geopandas and csv read back what the GeoJSON answer says."""

import csv
import io
import json

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import pytest
import shapely
from pyarrow import parquet

from server.formats.csv_text import harmless
from server.formats.selection import Selection
from tests.server.formats.conftest import N_PLOTS, TEXTS

BINARY = ["fgb", "parquet", "gpkg"]
NORTH_FIRST = {"EPSG:4490", "EPSG:4549", "EPSG:4326"}
SELECTIONS = [
    "", "crs=EPSG:4549", "crs=EPSG:4490", "crs=EPSG:3857", "ids=p1,p3,p6", "properties=big,since",
    "filter=area%20%3E%200.25", "limit=3", "offset=5", "bbox=121.0,28.09,121.0012,28.2",
    "filter=name%20IS%20NULL&crs=EPSG:4326",
]  # fmt: skip


def frame_of(content, name, tmp_path):
    """What a reader that is not ours makes of it."""
    if name == "parquet":
        try:
            return geopandas.read_parquet(io.BytesIO(content))
        except ValueError:  # no geometry in it
            return pd.read_parquet(io.BytesIO(content))
    path = tmp_path / f"x.{name}"
    path.write_bytes(content)
    return pyogrio.read_dataframe(path)


def geojson(odd, query, layer="plot"):
    return odd(f"/collections/{layer}/items?{query}").json()["features"]


def flipped(feature, query):
    """The geometry of a GeoJSON answer, east first."""
    if feature["geometry"] is None:
        return None
    shape = shapely.from_geojson(json.dumps(feature["geometry"]))
    crs = next((part[4:] for part in query.split("&") if part.startswith("crs=")), "")
    return shapely.transform(shape, lambda xy: xy[:, ::-1]) if crs in NORTH_FIRST else shape


@pytest.mark.parametrize("query", SELECTIONS)
@pytest.mark.parametrize("name", BINARY)
def test_every_selection_is_that_of_geojson(odd, name, query, tmp_path):
    expected = geojson(odd, query)
    answer = odd(f"/collections/plot/items?{query}&f={name}")
    got = frame_of(answer.content, name, tmp_path)
    assert list(got["id"]) == [each["id"] for each in expected]
    for i, each in enumerate(expected):
        wanted, found = flipped(each, query), got.geometry.iloc[i]
        if wanted is None:
            assert found is None
            continue
        tolerance = 2e-9 if "4549" not in query and "3857" not in query else 1e-4
        assert shapely.equals_exact(shapely.force_2d(found).normalize(), shapely.multipolygons(
            list(shapely.get_parts(wanted))).normalize(), tolerance)  # fmt: skip
        assert got["big"].iloc[i] == each["properties"]["big"]
    matched = answer.headers["OGC-NumberMatched"]
    assert matched == odd(f"/collections/plot/items?{query}").headers["OGC-NumberMatched"]


@pytest.mark.parametrize("name", BINARY)
def test_columns_have_the_types_of_the_schema(odd, name, tmp_path):
    got = frame_of(odd(f"/collections/plot/items?f={name}").content, name, tmp_path)
    assert got["big"].tolist() == [2**53 + 1 + i for i in range(N_PLOTS)]
    assert pd.isna(got["area"].iloc[0])
    assert got["area"].iloc[3] == pytest.approx(0.3)
    assert bool(got["public"].iloc[0]) is True
    assert bool(got["public"].iloc[1]) is False
    assert pd.isna(got["public"].iloc[2])
    assert [str(each)[:10] for each in got["since"]][:3] == ["1969-12-30", "1969-12-31", "1970-01-01"]
    assert pd.Timestamp(got["seen"].iloc[0]).strftime("%Y-%m-%dT%H:%M:%S.%f")[:23] == "2026-02-03T04:05:06.789"
    assert pd.isna(got["seen"].iloc[-1])
    assert [None if pd.isna(each) else each for each in got["name"]] == TEXTS
    assert got["ID_"].tolist() == [str(i) for i in range(N_PLOTS)]  # beside the id of the feature
    assert json.loads(got["extra"].iloc[0]) == {"k": [1]}
    assert got["version"].tolist() == [1] * N_PLOTS


@pytest.mark.parametrize("crs", ["EPSG:4549", "EPSG:4490", "EPSG:4326", "EPSG:3857", None])
@pytest.mark.parametrize("name", BINARY)
def test_the_crs_is_named_and_coordinates_are_east_first(odd, name, crs, tmp_path):
    query = f"&crs={crs}" if crs else ""
    got = frame_of(odd(f"/collections/spot/items?f={name}{query}").content, name, tmp_path)
    assert pyproj.CRS(got.crs).equals(pyproj.CRS(crs or "EPSG:4326"), ignore_axis_order=True)
    to = pyproj.Transformer.from_crs("EPSG:4549", crs or "EPSG:4326", always_xy=True)
    x, y = to.transform([598_000.0 + i for i in range(4)], [3_110_000.0 + 2 * i for i in range(4)])
    tolerance = 1e-9 if crs in {"EPSG:4490", "EPSG:4326", None} else 1e-4
    np.testing.assert_allclose(got.geometry.x, x, rtol=0, atol=tolerance)
    np.testing.assert_allclose(got.geometry.y, y, rtol=0, atol=tolerance)
    np.testing.assert_allclose(shapely.get_z(got.geometry), [0, 3.5, 7, 10.5])


@pytest.mark.parametrize("name", BINARY)
def test_heights_above_the_ellipsoid(odd, odd_city, name, tmp_path):
    got = frame_of(odd(f"/collections/spot/items?f={name}&crs=OGC:CRS84h").content, name, tmp_path)
    plain = odd("/collections/spot/items").json()["features"]
    lon, lat = np.array([each["geometry"]["coordinates"][:2] for each in plain]).T
    step = odd_city.frame.height_model.undulation_m(lon, lat)
    assert abs(step).min() > 1
    np.testing.assert_allclose(shapely.get_z(got.geometry), np.array([0, 3.5, 7, 10.5]) + step, atol=1e-4)
    assert pyproj.CRS(got.crs).is_geographic


@pytest.mark.parametrize("name", BINARY)
def test_one_kind_of_geometry_and_no_height_is_made_up(odd, name, tmp_path):
    got = frame_of(odd(f"/collections/plot/items?f={name}").content, name, tmp_path)
    present = got.geometry.dropna()
    assert set(present.geom_type) == {"MultiPolygon"}
    # FlatGeobuf has heights for all or for none
    assert [each.has_z for each in present] == [name != "fgb" and each == "p3" for each in got["id"][present.index]]
    if name != "fgb":
        assert set(shapely.get_coordinates(present[3], include_z=True)[:, 2]) == {7.25}


@pytest.mark.parametrize("name", [*BINARY, "csv"])
@pytest.mark.parametrize("path", ["note", "plot/skip", "plot/none"])
def test_without_geometry_and_without_features(odd, name, path, tmp_path):
    layer, _, how = path.partition("/")
    query = {"": "", "skip": "skipGeometry=true&", "none": "ids=nobody&"}[how]
    answer = odd(f"/collections/{layer}/items?{query}f={name}")
    if name == "csv":
        lines = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
        assert len(lines) == 1 + {"": 2, "skip": N_PLOTS, "none": 0}[how]
        assert ("wkt" in lines[0]) == (how == "none")
        return
    got = frame_of(answer.content, name, tmp_path)
    assert len(got) == {"": 2, "skip": N_PLOTS, "none": 0}[how]
    assert "id" in got.columns
    if name == "fgb" and how != "none":  # GDAL tells of a geometry that is missing everywhere
        assert (got.geometry.isna() | got.geometry.is_empty).all()
    else:
        assert ("geometry" in got.columns) == (how == "none")


def test_flatgeobuf_of_many_batches_is_one_file(odd, monkeypatch):
    whole = odd("/collections/plot/items?f=fgb").content
    monkeypatch.setattr("server.formats.flatgeobuf.BATCH", 3)
    monkeypatch.setattr("server.formats.selection.BATCH", 3)
    monkeypatch.setattr(Selection.batches, "__defaults__", (3,))
    parted = odd("/collections/plot/items?f=fgb&lang=en").content  # another address: no copy is kept of this one
    one, other = (pyogrio.read_dataframe(io.BytesIO(each)) for each in (whole, parted))
    assert list(one["id"]) == list(other["id"]) == [f"p{i}" for i in range(N_PLOTS)]
    assert shapely.to_wkb(one.geometry.to_numpy()).tolist() == shapely.to_wkb(other.geometry.to_numpy()).tolist()
    info = pyogrio.read_info(io.BytesIO(parted))
    assert info["features"] == N_PLOTS
    low_x, low_y, high_x, high_y = one.total_bounds
    west, south, east, north = info["total_bounds"]
    assert west <= low_x <= west + 1e-5
    assert south <= low_y <= south + 1e-5
    assert high_x <= east <= high_x + 1e-5
    assert high_y <= north <= high_y + 1e-5
    some = odd("/collections/plot/items?f=fgb&filter=big%20%3E%201").content
    info = pyogrio.read_info(io.BytesIO(some), force_total_bounds=True)
    assert info["features"] == N_PLOTS
    np.testing.assert_allclose(info["total_bounds"], one.total_bounds)  # found by reading: not known beforehand


def test_geoparquet_says_what_is_in_it(odd):
    answer = odd("/collections/plot/items?f=parquet&crs=EPSG:4549")
    file = parquet.ParquetFile(io.BytesIO(answer.content))
    geo = json.loads(file.metadata.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (geo["version"], geo["primary_column"], column["encoding"]) == ("1.1.0", "geometry", "WKB")
    assert column["geometry_types"] == ["MultiPolygon", "MultiPolygon Z"]
    assert pyproj.CRS.from_json_dict(column["crs"]).to_epsg() == 4549
    frame = geopandas.read_parquet(io.BytesIO(answer.content))
    np.testing.assert_allclose(column["bbox"], frame.total_bounds)
    few = geopandas.read_parquet(io.BytesIO(answer.content), bbox=(597_990, 3_110_090, 598_010, 3_110_110))
    assert list(few["id"]) == ["p1"]  # by the covering column


def test_geopackage_has_an_index_and_a_layer_that_qgis_finds(odd, tmp_path):
    path = tmp_path / "x.gpkg"
    path.write_bytes(odd("/collections/plot/items?f=gpkg&crs=EPSG:4549").content)
    assert [list(each) for each in pyogrio.list_layers(path)] == [["plot", "MultiPolygon Z"]]
    assert list(pyogrio.read_dataframe(path, bbox=(597_990, 3_110_090, 598_010, 3_110_110))["id"]) == ["p1"]
    assert pyogrio.read_dataframe(path, sql="SELECT count(*) AS n FROM rtree_plot_geom")["n"].tolist() == [7]


def test_csv_follows_rfc_4180(odd):
    answer = odd("/collections/plot/items?f=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    text = answer.content.decode("utf-8-sig")
    lines = list(csv.reader(io.StringIO(text, newline="")))
    assert text.count("\r\n") == len(lines) + 1  # each line, and the one inside a value
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    expected = ["'=1+1", TEXTS[1], "", "-1.5", "'@x", "楼", "'+86 577", ""]
    assert [row["name"] for row in rows] == expected
    assert [int(row["big"]) for row in rows] == [2**53 + 1 + i for i in range(N_PLOTS)]
    assert rows[0]["since"] == "1969-12-30"
    assert rows[0]["seen"] == "2026-02-03T04:05:06.789012Z"
    assert (rows[0]["public"], rows[1]["public"], rows[2]["public"]) == ("true", "false", "")
    wanted = geojson(odd, "")
    for row, each in zip(rows, wanted, strict=True):
        if each["geometry"] is None:
            assert row["wkt"] == ""
        else:
            shape = shapely.from_geojson(json.dumps(each["geometry"]))
            assert shapely.equals_exact(shapely.from_wkt(row["wkt"]), shape, 1e-9)


def test_csv_of_points_has_coordinates_of_their_own(odd):
    text = odd("/collections/spot/items?f=csv&crs=EPSG:4549").content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(float(r["x"]), float(r["y"]), float(r["z"])) for r in rows] == [
        (598_000 + i, 3_110_000 + 2 * i, 3.5 * i) for i in range(4)
    ]
    assert rows[1]["wkt"] == "POINT Z (598001 3110002 3.5)"


def test_only_what_a_spreadsheet_would_run_is_changed():
    import pyarrow as pa

    texts = ["=A1", "+1", "-2e5", "-x", "\tx", "@", "a=b", None, "", "- 1", "+.5"]
    expected = ["'=A1", "+1", "-2e5", "'-x", "'\tx", "'@", "a=b", None, "", "'- 1", "+.5"]
    assert harmless(pa.chunked_array([pa.array(texts)])).to_pylist() == expected
