"""GeoJSON written in bulk against GEOS and orjson, feature by feature, whatever geometries and texts there are."""

import contextlib
import json
import sqlite3
from dataclasses import replace
from datetime import date, datetime

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from layers.catalogue import Attribute, LayerType, Title
from server import geojson, geojson_few, geojson_text
from tests.server.conftest import put, rows
from twin.scope import EVERYTHING
from twin.store import read_few
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query
from twin.store.read_raw import reading

KINDS = {
    "name": "string",
    "n": "integer",
    "x": "number",
    "ok": "boolean",
    "day": "date",
    "at": "datetime",
    "note": "string",
}
LAYER = LayerType(
    "thing", Title("物", "Thing"), "Geometry", "base", (2,),
    tuple(Attribute(name, kind, Title(name, name)) for name, kind in KINDS.items()),
)  # fmt: skip
E, N = 598_000.0, 3_110_000.0
RING = [(E, N), (E + 50, N), (E + 50, N + 40), (E, N + 40)]
HOLE = [(E + 10, N + 10), (E + 10, N + 20), (E + 20, N + 20)]
OTHER = [(E + 100, N), (E + 120, N), (E + 110, N + 30)]
SHAPES = [
    None,
    shapely.Point(E + 0.123456789, N),
    shapely.Point(E, N, -3.14159265),
    shapely.LineString([(E, N), (E + 1 / 3, N + 2), (E + 5, N + 9)]),
    shapely.LineString([(E, N, 1), (E + 1, N + 2, 2.00004), (E + 5, N + 9, 3)]),
    shapely.Polygon(RING),
    shapely.Polygon(RING, [HOLE]),
    shapely.Polygon([(x, y, i / 7) for i, (x, y) in enumerate(RING)], [[(x, y, 9.5) for x, y in HOLE]]),
    shapely.MultiPoint([(E, N), (E + 1, N), (E + 2, N + 2)]),
    shapely.MultiPoint([(E, N)]),
    shapely.MultiLineString([[(E, N), (E + 1, N)], [(E, N + 4), (E + 1, N), (E + 3, N)]]),
    shapely.MultiPolygon([(RING, [HOLE]), (OTHER, [])]),
    shapely.MultiPolygon([(OTHER, []), (RING, [HOLE, [(E + 30, N + 10), (E + 30, N + 20), (E + 40, N + 20)]])]),
    shapely.MultiPolygon([(RING, [])]),
    shapely.GeometryCollection([shapely.Point(E, N), shapely.LineString([(E, N), (E + 1, N)])]),
    shapely.Polygon(),
    shapely.MultiPoint([(E + i, N + i % 9) for i in range(100)]),
    shapely.Polygon(RING, [[(E + i / 4, N + 1), (E + i / 4, N + 2), (E + i / 4 + 0.1, N + 2)] for i in range(1, 80)]),
]
TEXT = st.one_of(st.none(), st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12))
FLOATS = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.1, 1e-7, -0.0, 1e300])
)
FEATURE = st.tuples(
    st.integers(0, len(SHAPES) - 1), TEXT, st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), FLOATS,
    st.one_of(st.none(), st.booleans()), st.one_of(st.none(), st.dates()),
    st.one_of(st.none(), st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(None))), TEXT,
    st.one_of(st.none(), st.sampled_from(['{"备注": [1, "a\\"b"]}', "[]", "1"])),
)  # fmt: skip


def store_of(folder, features):
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    columns = dict(zip(KINDS, ([f[1 + at] for f in features] for at in range(len(KINDS))), strict=True))
    shapes = np.empty(len(features), object)
    shapes[:] = [SHAPES[f[0]] for f in features]
    ids = [f"f{i}" if i % 3 else f'"{i}\\' for i in range(len(features))]
    put(store, "a", LAYER, rows(ids, shapes, columns, LAYER.arrow_schema(), extra=[f[8] for f in features]))
    return store


def both(store, query, target):
    old = [
        json.loads(e) for b in store.query("thing", query, EVERYTHING) for e in geojson.encode(b, "EPSG:4549", target)
    ]
    with reading(store) as reader:
        plan = reader.plan(reader.layer("thing", EVERYTHING), query, EVERYTHING)
        items = reader.items(plan, reader.page(plan, 10_000))
        return old, json.loads(b"[" + geojson_text.encode(items, "EPSG:4549", target) + b"]")


def test_a_few_features_are_written_alike(tmp_path):
    """The way of small regions: the same features, whatever shapes and texts they have."""
    texts = [None, "a", 'q"\\\n', "楼"]
    moments = [None, datetime(2026, 1, 2, 3, 4, 5), datetime(2026, 1, 2, 3, 4, 5, 678_901)]
    features = [
        (
            i % len(SHAPES),
            texts[i % 4],
            i - 9,
            i / 7,
            i % 2 == 0,
            date(2020, 1, 1 + i % 28),
            moments[i % 3],
            None,
            '{"a": 1}',
        )
        for i in range(60)
    ]
    store = store_of(tmp_path, features)
    for target in ("OGC:CRS84", "EPSG:4549"):
        for query in (Query(), Query(properties=("x", "at", "ok")), Query(with_geometry=False)):
            place = replace(query, region=shapely.box(E - 50, N - 50, E + 60, N + 60))
            old = [
                json.loads(each)
                for batch in store.query("thing", place, EVERYTHING)
                for each in geojson.encode(batch, "EPSG:4549", target)
            ]
            with reading(store) as reader:
                plan = reader.plan(reader.layer("thing", EVERYTHING), place, EVERYTHING)
                few = reader.few(plan)
                new = json.loads(b"[" + geojson_few.encode(few, plan, "EPSG:4549", target) + b"]")
            assert len(old) == sum(SHAPES[f[0]] is not None and not SHAPES[f[0]].is_empty for f in features)
            assert new == old
    store.close()


@pytest.mark.parametrize(
    ("n", "n_passing", "is_few"),
    [
        (3 * read_few.MOST, read_few.MOST - 1, True),
        (3 * read_few.MOST, read_few.MOST + 1, False),
        (3 * read_few.MOST, 2 * read_few.MOST, False),
        (read_few.MOST_TESTED, 9, True),
        (read_few.MOST_TESTED + 1, 9, False),
    ],
)
def test_few_that_a_filter_leaves_of_many_are_read_at_once(tmp_path, n, n_passing, is_few):
    """Up to MOST of up to MOST_TESTED in the region. The rows stored first are those that pass, either way."""
    point = next(i for i, each in enumerate(SHAPES) if each is not None and each.geom_type == "Point")
    store = store_of(tmp_path, [(point, "a", i, None, None, None, None, None, None) for i in range(n)])
    asked = {"op": "<", "args": [{"property": "n"}, n_passing]}
    query = Query(filter=asked, region=shapely.box(E - 50, N - 50, E + 60, N + 60))
    with reading(store) as reader:
        plan = reader.plan(reader.layer("thing", EVERYTHING), query, EVERYTHING)
        few = reader.few(plan)
        page = reader.page(plan, 10_000)
    assert (few is not None) == is_few
    assert page.tolist() == list(range(1, n_passing + 1))
    if few is not None:
        assert [row[0] for row in few.rows] == page.tolist()
    store.close()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(FEATURE, min_size=1, max_size=12), st.sampled_from(["OGC:CRS84", "EPSG:4490", "EPSG:4549", "EPSG:3857"])
)
def test_bulk_text_says_what_feature_by_feature_says(tmp_path_factory, features, target):
    store = store_of(tmp_path_factory.mktemp("text"), features)
    for query in (Query(), Query(properties=("x", "name")), Query(with_geometry=False), Query(properties=())):
        old, new = both(store, query, target)
        assert new == old
    store.close()


def test_every_shape_at_its_place_by_proj(tmp_path):
    """Positions of each shape against pyproj in the order that EPSG:4490 declares."""
    features = [(i, None, None, None, None, None, None, None, None) for i in range(len(SHAPES))]
    store = store_of(tmp_path, features)
    _, found = both(store, Query(), "EPSG:4490")
    to_degrees = Transformer.from_crs("EPSG:4549", "EPSG:4490")
    for feature, given_shape in zip(found, SHAPES, strict=True):
        if given_shape is None:
            assert feature["geometry"] is None
            continue
        read = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert read.geom_type == given_shape.geom_type
        assert shapely.get_num_geometries(read) == shapely.get_num_geometries(given_shape)
        has_z = bool(shapely.has_z(given_shape))
        xyz = shapely.get_coordinates(given_shape, include_z=has_z)
        lat, lon = to_degrees.transform(xyz[:, 1], xyz[:, 0])
        np.testing.assert_allclose(
            shapely.get_coordinates(read, include_z=has_z),
            np.column_stack([lat, lon, *xyz[:, 2:].T]),
            rtol=0,
            atol=5e-5,
        )
        np.testing.assert_allclose(shapely.get_coordinates(read), np.column_stack([lat, lon]), rtol=0, atol=1e-9)
    store.close()


@pytest.mark.parametrize("value", ["not json", '{"a": ', "\x1f"])
def test_extra_that_is_no_json_is_a_text(tmp_path, value):
    store = store_of(tmp_path, [(1, "a", 1, 1.5, True, None, None, None, None)])
    with contextlib.closing(sqlite3.connect(store.path)) as other, other:
        other.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
        other.execute("UPDATE thing SET extra = ?", (value,))
    other.close()
    with reading(store) as reader:
        plan = reader.plan(reader.layer("thing", EVERYTHING), Query(), EVERYTHING)
        (feature,) = json.loads(
            b"[" + geojson_text.encode(reader.items(plan, reader.page(plan, 5)), "EPSG:4549", "OGC:CRS84") + b"]"
        )
    assert feature["properties"]["extra"] == value
    store.close()
