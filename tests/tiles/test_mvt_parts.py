"""Parts of the vector tiles against other software: WKB and shapely, projection and PROJ, bytes and protobuf."""

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.tiles.mvt_city import CITY_CRS, EAST, NORTH, city_of, put, transformer
from tiles import matrix_set
from tiles.mvt import choice, encode, placement, varint
from twin.scope import EVERYTHING
from twin.store import geometry_blob, packed, read_raw, wkb_paths
from twin.store.interface import Query
from twin.store.wkb_paths import POINT, Paths

decoder = pytest.importorskip("mapbox_vector_tile", reason="pip install mapbox-vector-tile")


def some_geometry(rng, kind):
    centre = rng.uniform(0, 1e6, 2)
    disc = shapely.Point(centre).buffer(rng.uniform(1, 99), int(rng.integers(1, 5)))
    ring = disc.difference(shapely.Point(centre).buffer(0.5, 2))
    line = shapely.LineString(rng.uniform(0, 1e6, (rng.integers(2, 9), 2 + kind % 2)))
    return [
        shapely.Point(centre), shapely.Point(*centre, 3.5), line, disc, ring, None, shapely.Point(), shapely.Polygon(),
        shapely.MultiPolygon([ring, shapely.box(0, 0, 1, 1)]), shapely.MultiLineString([line, line]),
        shapely.MultiPoint([centre, centre + 1]), shapely.force_3d(shapely.MultiPolygon([ring, disc]), 7.0),
        shapely.GeometryCollection([disc, line, shapely.GeometryCollection([shapely.Point(centre)])]),
        shapely.MultiPoint(rng.uniform(0, 9, (100, 2))),  # more parts than are walked side by side
        shapely.box(0, 0, 999, 9) - shapely.union_all([shapely.box(i, 2, i + 3, 5) for i in range(5, 900, 9)]),
    ][kind]  # fmt: skip


def by_shapely(geometries):
    """Row, coordinates and whether a path begins a part, of each path."""
    for row, whole in enumerate(geometries):
        parts = [] if whole is None else [whole]
        while any(shapely.get_type_id(part) > 3 for part in parts):
            parts = list(shapely.get_parts(np.array(parts, dtype=object)))
        for part in parts:
            paths = [part] if part.geom_type != "Polygon" else shapely.get_rings(part)
            for at, path in enumerate(paths):
                if not path.is_empty:
                    yield row, shapely.get_coordinates(path), at == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 14), max_size=30))
@example(0, list(range(15)))
@example(0, [])
def test_paths_of_blobs_are_those_that_shapely_reads(seed, kinds):
    rng = np.random.default_rng(seed)
    geometries = np.array([some_geometry(rng, kind) for kind in kinds] + [None], dtype=object)
    paths = wkb_paths.parse(packed.of_list(geometry_blob.encode(geometries, 4549).blobs))
    wanted = list(by_shapely(geometries))
    assert paths.rows.tolist() == [row for row, _, _ in wanted]
    assert paths.is_outer.tolist() == [outer for _, _, outer in wanted]
    for at, (_, xy, _) in enumerate(wanted):
        np.testing.assert_array_equal(paths.xy[paths.starts[at] : paths.starts[at + 1]], xy)


@pytest.mark.parametrize("cut", [3, 20, 60, 90])
def test_a_blob_that_is_cut_short_is_refused(cut):
    blob = geometry_blob.encode(np.array([shapely.box(0, 0, 1, 1)], dtype=object), 4549).blobs[0]
    with pytest.raises(InvalidInput):
        wkb_paths.parse(packed.of_list([blob[:cut]]))
    big_endian = blob[:40] + shapely.to_wkb(shapely.box(0, 0, 2, 1), byte_order=0)
    assert wkb_paths.parse(packed.of_list([big_endian])).xy.max() == 2.0


@pytest.mark.parametrize("set_id", matrix_set.ids(CITY_CRS))
@pytest.mark.parametrize("zoom", [0, 6, 10, 13, 16, 20])
def test_places_are_those_of_proj(set_id, zoom):
    grid = matrix_set.get(set_id, CITY_CRS)
    z = choice.level_of(grid, zoom)
    east, north = transformer(grid.crs).transform(EAST, NORTH)
    x, y, _, _ = grid.cover(z, (east, north, east, north))
    west, south, right, top = bounds = grid.bounds(z, x, y)
    reach = min(20_000.0, 40_000_000 / 2**zoom)
    region = (EAST - reach, NORTH - reach, EAST + reach, NORTH + reach)
    place = placement.of_tile(CITY_CRS, grid.crs, bounds, region)
    assert place.coefficients is not None
    xy = np.array([EAST, NORTH]) + np.random.default_rng(zoom).uniform(-2.5 * reach, 2.5 * reach, (5000, 2))
    gx, gy = transformer(grid.crs).transform(xy[:, 0], xy[:, 1])
    true = np.column_stack([(gx - west) / (right - west), (top - gy) / (top - south)]) * 4096
    # floating point: a mercator metre is 1e-9 of a tile unit at most, at zoom 20 a unit is 9 mm
    np.testing.assert_allclose(place(xy), true, atol=placement.TOLERANCE * 1.5)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
@example([0, 127, 128, 2**14 - 1, 2**14, 2**63, 2**64 - 1])
def test_varints_are_those_of_protobuf(values):
    from google.protobuf.internal.encoder import _VarintBytes

    numbers = np.array(values, np.uint64)
    sizes = varint.sizes(numbers)
    assert varint.encoded(numbers, sizes).tobytes() == b"".join(map(_VarintBytes, values))
    assert b"".join(map(varint.one, values)) == b"".join(map(_VarintBytes, values))


scalars = st.tuples(
    st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=200)),
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    st.one_of(st.none(), st.booleans()),
)
spots = st.tuples(st.integers(-64, 4160), st.integers(-64, 4160))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(scalars, min_size=1, max_size=12),
    st.lists(spots, min_size=12, max_size=12),
    st.sampled_from([0, 2**32 - 5, 2**40]),
)
def test_any_values_and_any_places_come_back(rows, places, first):
    kinds = (pa.string(), pa.float64(), pa.int64(), pa.bool_())
    table = pa.Table.from_arrays(
        [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)], names=["t", "x", "n", "b"]
    )
    n = len(rows)
    ones = np.ones(n, bool)
    points = Paths(np.array(places[:n], float), np.arange(n + 1), np.arange(n), np.full(n, POINT, np.int8), ones)
    data = encode.layer("l", points, np.arange(n) + first, table, {"layer": "面"})
    features = decoder.decode(data, default_options={"y_coord_down": True})["l"]["features"]
    for at, (feature, row, place) in enumerate(zip(features, rows, places[:n], strict=True)):
        wanted = {key: value for key, value in zip("txnb", row, strict=True) if value is not None}
        assert feature["properties"] == wanted | {"layer": "面"}
        assert tuple(feature["geometry"]["coordinates"]) == place
        assert feature["id"] == at + first


def test_the_index_read_by_its_nodes_gives_what_the_virtual_table_gives(tmp_path):
    import sqlite3
    from contextlib import closing

    rng = np.random.default_rng(0)
    low = np.array([EAST, NORTH]) + rng.uniform(-5000, 5000, (3000, 2))
    shapes = list(shapely.box(*low.T, *(low + rng.uniform(0, 90, (3000, 2))).T))
    with city_of(shapes, tmp_path) as city:
        put(city.store, shapes[:2000])  # entries go, nodes are merged
        for side in (10.0, 700.0, 20_000.0):
            box = (EAST - side, NORTH - side / 2, EAST + side / 3, NORTH + side)
            with read_raw.reading(city.store) as reader:
                found = reader.candidates(reader.layer("building", EVERYTHING), box)
            sql = "SELECT id FROM rtree_building_geom WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?"
            with closing(sqlite3.connect(city.folder / "city.gpkg")) as db:
                wanted = [row[0] for row in db.execute(sql, (box[0], box[2], box[1], box[3]))]
            assert sorted(found.fids.tolist()) == sorted(wanted)
            query = Query(region=shapely.box(*box))
            exact = [fid for part in city.store.query("building", query, EVERYTHING) for fid in part.fids.tolist()]
            assert set(exact) <= set(found.fids.tolist())
            assert set(found.fids.tolist()) <= set(range(1, 3001))


def test_of_a_huge_index_a_fixed_choice_is_looked_into(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    points = list(shapely.points(np.array([EAST, NORTH]) + rng.uniform(-5000, 5000, (5000, 2))))
    monkeypatch.setattr(read_raw, "MAX_NODES", 20)
    box = (EAST - 9e3, NORTH - 9e3, EAST + 9e3, NORTH + 9e3)
    with city_of(points, tmp_path) as city:
        seen = []
        for _ in range(2):
            with read_raw.reading(city.store) as reader:
                seen.append(reader.candidates(reader.layer("building", EVERYTHING), box).fids)
    assert 0 < len(seen[0]) < 5000
    np.testing.assert_array_equal(*seen)


def test_text_that_is_no_text_is_read_row_by_row(tmp_path):
    """A column with bytes in it cannot go through SQLite's JSON; the layer is refused by name, not by a crash."""
    import sqlite3
    from contextlib import closing

    with city_of([shapely.Point(EAST, NORTH)], tmp_path) as city:
        with closing(sqlite3.connect(city.folder / "city.gpkg", isolation_level=None)) as db:
            for name in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY", "ST_IsEmpty"):
                db.create_function(name, 1, lambda _: 0.0)
            db.execute("UPDATE building SET name = x'ff00'")
        with read_raw.reading(city.store) as reader:
            layer = reader.layer("building", EVERYTHING)
            plan = reader.plan(layer, Query(), EVERYTHING)
            with pytest.raises(InvalidInput, match="name"):
                reader.rows(plan, np.array([1]))
