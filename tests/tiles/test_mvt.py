"""Vector tiles, decoded by mapbox-vector-tile and by GDAL, compared with shapely and PROJ feature by feature."""

import io

import numpy as np
import pyarrow as pa
import pyogrio
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import LayerNotFound, NotFound
from tests.tiles.towns import plane_city
from tiles import mercator, mvt, mvt_writer
from twin.scope import EVERYTHING, Scope

decoder = pytest.importorskip("mapbox_vector_tile", reason="pip install mapbox-vector-tile")

TO_MERCATOR = pyproj.Transformer.from_crs("EPSG:4549", "EPSG:3857", always_xy=True)
EAST, NORTH = pyproj.Transformer.from_crs("EPSG:4490", "EPSG:4549", always_xy=True).transform(121.0, 28.1)


def blobs(n, side=2000.0, seed=0):
    """Polygons with holes, lines and points strewn over a square."""
    rng = np.random.default_rng(seed)
    xy = np.array([EAST, NORTH]) + rng.uniform(-side / 2, side / 2, (n, 2))
    made = []
    for i, (x, y) in enumerate(xy):
        size = rng.uniform(10, 80)
        if i % 5 == 0:
            made.append(shapely.Point(x, y))
        elif i % 5 == 1:
            made.append(shapely.LineString(np.array([x, y]) + rng.normal(0, 2 * size, (6, 2)).cumsum(axis=0)))
        elif i % 5 == 2:
            made.append(
                shapely.MultiPolygon(
                    [shapely.box(x, y, x + size, y + size), shapely.box(x + 2 * size, y, x + 3 * size, y + size)]
                )
            )
        else:
            made.append(shapely.Point(x, y).buffer(size, 4).difference(shapely.Point(x, y).buffer(size / 2, 4)))
    return made


def address(z, lon=121.0, lat=28.1):
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2
    return z, int((lon + 180) / 360 * 2**z), int(y * 2**z)


def expected(geometry, z, x, y):
    """In tile units, y down, unclipped, not rounded; the world's side by the definition of the grid."""
    side = 2 * np.pi * 6378137.0

    def place(xy):
        east, north = TO_MERCATOR.transform(xy[:, 0], xy[:, 1])
        return np.column_stack([(east / side + 0.5) * 2**z - x, (0.5 - north / side) * 2**z - y]) * 4096

    return shapely.transform(geometry, place)


def read(data):
    """Features by id as shapely geometries in tile units, y down."""
    return {
        each["properties"]["id"]: (shapely.geometry.shape(each["geometry"]), each["properties"], each["id"])
        for each in decoder.decode(data, default_options={"y_coord_down": True})["building"]["features"]
    }


@pytest.mark.parametrize("z", [13, 15, 17])
def test_every_feature_is_where_shapely_and_proj_put_it(tmp_path, z):
    geometry = blobs(400)
    found = read(mvt.tile(plane_city(geometry, tmp_path), ["building"], *address(z), EVERYTHING))
    frame = shapely.box(-mvt.BUFFER, -mvt.BUFFER, 4096 + mvt.BUFFER, 4096 + mvt.BUFFER)
    met = 0
    for row, plain in enumerate(geometry):
        true = expected(plain, *address(z)).intersection(frame)
        got = found.get(f"B-{row}")
        if got is None:  # only what is smaller than a unit, or only touches the buffer, may be missing
            assert true.is_empty or true.area + true.length < 8
            continue
        met += 1
        assert shapely.is_valid(got[0])
        assert shapely.hausdorff_distance(got[0], true) <= 1.0 + 1e-6
        if true.area > 100:
            assert got[0].area == pytest.approx(true.area, abs=true.length)
    assert met == len(found)
    assert met > 10


def test_gdal_reads_the_same_features(tmp_path):
    geometry = [g for i, g in enumerate(blobs(200)) if i % 5 > 1]
    z, x, y = address(14)
    path = tmp_path / "mvt" / str(z) / str(x)
    path.mkdir(parents=True)
    data = mvt.tile(plane_city(geometry, tmp_path), ["building"], z, x, y, EVERYTHING)
    (path / f"{y}.pbf").write_bytes(data)
    table = pyogrio.read_dataframe(f"MVT:{path / f'{y}.pbf'}", layer="building", CLIP="NO")
    mine = read(data)
    assert sorted(table["id"]) == sorted(mine)
    assert set(table.columns) >= {"id", "layer", "name", "height_m", "floors", "legal"}
    west, south, east, north = mercator.bounds(z, x, y)
    unit = (east - west) / 4096
    for gid, shape in zip(table["id"], table.geometry, strict=True):
        row = int(gid.removeprefix("B-"))
        true = shapely.transform(geometry[row], lambda xy: np.column_stack(TO_MERCATOR.transform(*xy.T)))
        true = true.intersection(shapely.box(west - 64 * unit, south - 64 * unit, east + 64 * unit, north + 64 * unit))
        assert shapely.hausdorff_distance(shape, true) <= unit * 1.001
        assert shape.is_valid


def rings(data):
    """Signed areas of all rings in the order of the tile, by the spec's own reading of the commands."""
    import mapbox_vector_tile.Mapbox.vector_tile_pb2 as pb

    tile = pb.tile() if hasattr(pb, "tile") else pb.Tile()
    tile.ParseFromString(data)
    for feature in tile.layers[0].features:
        cursor, ring, numbers, at = np.zeros(2, int), [], list(feature.geometry), 0
        while at < len(numbers):
            command, count = numbers[at] & 7, numbers[at] >> 3
            at += 1
            if command == 7:
                a, b = np.array(ring), np.roll(ring, -1, axis=0)
                yield feature.id, float((a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]).sum() / 2)
                continue
            for _ in range(count):
                step = [(v >> 1) ^ -(v & 1) for v in numbers[at : at + 2]]
                cursor = cursor + step
                ring = [cursor] if command == 1 else [*ring, cursor]
                at += 2


def test_exterior_rings_turn_one_way_and_holes_the_other(tmp_path):
    around = shapely.Point(EAST, NORTH).buffer(100, 3).difference(shapely.Point(EAST, NORTH).buffer(40, 3))
    for geometry in (around, around.reverse()):
        data = mvt.tile(
            plane_city([geometry], tmp_path / str(hash(geometry.wkb))), ["building"], *address(15), EVERYTHING
        )
        (_, outer), (_, hole) = rings(data)
        assert outer > 0 > hole  # positive in tile coordinates, y down: clockwise on the screen


def test_attributes_keep_their_types_and_missing_ones_are_absent(tmp_path):
    made = plane_city([shapely.Point(EAST + i, NORTH) for i in range(7)], tmp_path)
    found = read(mvt.tile(made, ["building"], *address(16), EVERYTHING))
    assert found["B-1"][1] == {
        "id": "B-1",
        "layer": "building",
        "name": "楼 1",
        "height_m": 0.0,
        "floors": 1,
        "legal": True,
    }
    assert found["B-6"][1] == {"id": "B-6", "layer": "building", "height_m": 0.0, "legal": False}
    assert found["B-6"][2] == 19  # the store's row number


scalars = st.tuples(
    st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=6)),
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    st.one_of(st.none(), st.booleans()),
)

spots = st.tuples(st.integers(-64, 4160), st.integers(-64, 4160))


@settings(max_examples=60, deadline=None)
@given(st.lists(scalars, min_size=1, max_size=12), st.lists(spots, min_size=12, max_size=12))
def test_any_values_and_any_places_come_back(rows, places):
    kinds = (pa.string(), pa.float64(), pa.int64(), pa.bool_())
    table = pa.Table.from_arrays(
        [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)], names=["t", "x", "n", "b"]
    )
    n = len(rows)
    pieces = mvt_writer.points(shapely.points(places[:n]), np.arange(n))
    data = mvt_writer.layer("l", [pieces], np.arange(n) + 5, table)
    features = decoder.decode(data, default_options={"y_coord_down": True})["l"]["features"]
    for feature, row, place in zip(features, rows, places[:n], strict=True):
        wanted = {key: value for key, value in zip("txnb", row, strict=True) if value is not None}
        assert feature["properties"] == wanted
        assert tuple(feature["geometry"]["coordinates"]) == place


def test_a_self_crossing_polygon_becomes_valid_and_a_broken_line_stays_in_order(tmp_path):
    bow = shapely.Polygon([(EAST, NORTH), (EAST + 90, NORTH + 90), (EAST + 90, NORTH), (EAST, NORTH + 90)])
    eight = shapely.LineString([(EAST, NORTH), (EAST + 90, NORTH + 90), (EAST + 90, NORTH), (EAST, NORTH + 90)])
    found = read(mvt.tile(plane_city([bow, eight], tmp_path), ["building"], *address(16), EVERYTHING))
    assert found["B-0"][0].is_valid
    assert found["B-0"][0].area == pytest.approx(expected(bow, *address(16)).buffer(0).area * 2, rel=0.01)
    np.testing.assert_allclose(
        shapely.get_coordinates(found["B-1"][0]), shapely.get_coordinates(expected(eight, *address(16))), atol=0.51
    )


def test_too_many_features_lose_the_smallest_and_only_when_zoomed_out(tmp_path, monkeypatch):
    monkeypatch.setattr(mvt, "MAX_FEATURES", 50)
    sizes = np.random.default_rng(0).permutation(np.linspace(10, 60, 500))
    rng = np.random.default_rng(1)
    xy = np.array([EAST, NORTH]) + rng.uniform(-200, 200, (500, 2))
    made = plane_city(list(shapely.box(*xy.T, *(xy + sizes[:, None]).T)), tmp_path)
    real = made.store.query
    made.store.query = lambda *args: real(*args, batch_size=37)
    z, x, y = address(13)
    found = read(mvt.tile(made, ["building"], z, x, y, EVERYTHING))
    assert len(found) == 50
    kept = {int(key.removeprefix("B-")) for key in found}
    # a unit is 1.05 m here, so sizes are known to about a metre
    assert sizes[sorted(kept)].min() > np.sort(sizes)[-50] - 2.5
    assert sum(len(read(t)) for t in _children(made, *address(13), 15) if t) >= 500


def _children(made, z, x, y, deep):
    for dx in range(2 ** (deep - z)):
        for dy in range(2 ** (deep - z)):
            yield mvt.tile(made, ["building"], deep, (x << (deep - z)) + dx, (y << (deep - z)) + dy, EVERYTHING)


def test_the_whole_world_is_one_tile_that_asks_only_for_the_layer(tmp_path):
    made = plane_city([shapely.box(EAST, NORTH, EAST + 30_000, NORTH + 30_000)], tmp_path)
    found = read(mvt.tile(made, ["building"], 0, 0, 0, EVERYTHING))
    true = expected(made.store.geometry[0], 0, 0, 0)
    assert shapely.hausdorff_distance(found["B-0"][0], true) <= 1.0
    assert made.store.queries[0].region.area < 1e11


def test_one_feature_at_a_senseless_place_does_not_hide_the_others(tmp_path):
    made = plane_city([shapely.box(EAST, NORTH, EAST + 50, NORTH + 50), shapely.Point(1e12, -1e12)], tmp_path)
    for z in (0, 9, 16):
        mvt.tile(made, ["building"], *address(z), EVERYTHING)
    assert set(read(mvt.tile(made, ["building"], *address(16), EVERYTHING))) == {"B-0"}
    west, south, east, north = mvt.tilejson(made, ["building"], "", EVERYTHING)["bounds"]
    assert west < 121 < east
    assert south < 28.1 < north


def test_tiles_elsewhere_are_empty_and_ask_nothing(tmp_path):
    made = plane_city(blobs(10), tmp_path)
    assert mvt.tile(made, ["building"], *address(12, 10.0, 50.0), EVERYTHING) == b""
    assert made.store.queries == []
    assert mvt.tile(plane_city([None], tmp_path / "none"), ["building"], 0, 0, 0, EVERYTHING) == b""


def test_a_change_of_the_layer_is_seen_and_an_unchanged_one_comes_from_disk(tmp_path):
    made = plane_city([shapely.Point(EAST, NORTH)], tmp_path)
    first = mvt.tile(made, ["building"], *address(14), EVERYTHING)
    assert mvt.tile(made, ["building"], *address(14), EVERYTHING) == first
    assert len(made.store.queries) == 1
    made.store.geometry = np.array([shapely.Point(EAST + 200, NORTH)], dtype=object)
    made.store.layer_version += 1
    assert mvt.tile(made, ["building"], *address(14), EVERYTHING) != first


@pytest.mark.parametrize("place", [(3, 8, 0), (3, 0, 8), (-1, 0, 0), (25, 0, 0)])
def test_addresses_off_the_grid_are_not_found(tmp_path, place):
    with pytest.raises(NotFound):
        mvt.tile(plane_city(blobs(3), tmp_path), ["building"], *place, EVERYTHING)


def test_the_scope_is_asked(tmp_path):
    with pytest.raises(LayerNotFound):
        mvt.tile(plane_city(blobs(3), tmp_path), ["building"], 0, 0, 0, Scope("guest", frozenset()))


def test_tilejson_names_layers_fields_and_bounds(tmp_path):
    made = plane_city(blobs(100), tmp_path)
    document = mvt.tilejson(made, ["building"], "https://example.org/{z}/{x}/{y}", EVERYTHING)
    (layer,) = document["vector_layers"]
    assert layer["fields"]["height_m"] == "Number"
    assert layer["fields"]["legal"] == "Boolean"
    to_degrees = pyproj.Transformer.from_crs("EPSG:4549", "OGC:CRS84", always_xy=True)
    for shape in made.store.geometry:
        lon, lat = to_degrees.transform(*shapely.get_coordinates(shape).T)
        west, south, east, north = document["bounds"]
        assert west <= lon.min() <= lon.max() <= east
        assert south <= lat.min() <= lat.max() <= north
    assert document["minzoom"] == 0
    with pytest.raises(LayerNotFound):
        mvt.tilejson(made, [], "", EVERYTHING)


def test_a_crowded_layer_starts_at_a_zoom_where_tiles_are_small(tmp_path, monkeypatch):
    monkeypatch.setattr(mvt, "MAX_FEATURES", 5)
    made = plane_city(blobs(2000), tmp_path)
    zoom = mvt.tilejson(made, ["building"], "", EVERYTHING)["minzoom"]
    assert zoom == mvt.EXACT_ZOOM
    assert io.BytesIO(mvt.tile(made, ["building"], *address(3), EVERYTHING)).getbuffer().nbytes > 0
