"""Vector tiles, decoded by mapbox-vector-tile and by GDAL, compared with shapely and PROJ feature by feature."""

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput, LayerNotFound, NotFound
from tests.tiles.mvt_city import CITY_CRS, EAST, MERCATOR, NORTH, address, city_of, in_units, put
from tiles import matrix_set, mvt
from tiles.mvt import choice, grid
from twin.scope import EVERYTHING, Scope

decoder = pytest.importorskip("mapbox_vector_tile", reason="pip install mapbox-vector-tile")

FRAME = shapely.box(-grid.BUFFER, -grid.BUFFER, 4096 + grid.BUFFER, 4096 + grid.BUFFER)
SETS = [matrix_set.get(each, CITY_CRS) for each in matrix_set.ids(CITY_CRS)]


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


def at(grid_set, zoom):
    """The tile of a grid at the city's origin, whose cells are those of a zoom of WebMercatorQuad."""
    z = choice.level_of(grid_set, zoom)
    x, y = pyproj.Transformer.from_crs("EPSG:4490", grid_set.crs, always_xy=True).transform(121.0, 28.1)
    return (z, *grid_set.cover(z, (x, y, x, y))[:2])


def made(city, place, grid_set=MERCATOR, **selection):
    """Features by id: shape in tile units, properties, numeric id, in the order of the tile."""
    return read(mvt.tile(city, ["building"], grid_set, place, EVERYTHING, **selection).data)


def read(data):
    if not data:
        return {}
    return {
        each["properties"]["id"]: (shapely.geometry.shape(each["geometry"]), each["properties"], each["id"])
        for each in decoder.decode(data, default_options={"y_coord_down": True})["building"]["features"]
    }


def by_force(shape, grid_set, place):
    """One geometry clipped by shapely alone, not rounded."""
    whole = in_units(shape, grid_set, place)
    if shapely.get_dimensions(whole) == 1:
        return shapely.clip_by_rect(whole, *FRAME.bounds)
    return shapely.make_valid(whole).intersection(FRAME)


def collapses(clipped, plain):
    """True if nothing need be left of a clipped geometry after rounding."""
    if clipped.is_empty or shapely.get_dimensions(clipped) < shapely.get_dimensions(plain):
        return True
    rounded = shapely.transform(clipped, np.rint)
    if shapely.get_dimensions(plain) == 2:
        return all(shapely.set_precision(part, 1.0).is_empty for part in shapely.get_parts(shapely.make_valid(rounded)))
    return shapely.get_dimensions(plain) == 1 and rounded.length == 0


@pytest.mark.parametrize("grid_set", SETS, ids=lambda each: each.id)
@pytest.mark.parametrize("zoom", [14, 15, 17])
def test_every_feature_is_what_shapely_and_proj_make_of_it(tmp_path, grid_set, zoom):
    geometry = blobs(250)
    place = at(grid_set, zoom)
    found = made(city_of(geometry, tmp_path), place, grid_set)
    met = 0
    for row, plain in enumerate(geometry):
        true = by_force(plain, grid_set, place)
        got = found.get(f"B-{row}")
        if got is None:
            assert collapses(true, plain)
            continue
        met += 1
        assert got[0].is_valid
        assert got[0].within(FRAME)
        assert shapely.hausdorff_distance(got[0], true) <= 1.0
        if true.area > 100:
            assert got[0].symmetric_difference(true).area <= 0.75 * true.length + 1
    assert met == len(found)
    assert met > 3


coordinate = st.integers(-300, 4400)
corner = st.tuples(coordinate, coordinate)
star = st.tuples(corner, st.lists(st.floats(5, 900), min_size=3, max_size=9), st.floats(0, 6))


def star_of(values):
    (x, y), radii, turn = values
    angles = turn + 2 * np.pi * np.arange(len(radii)) / len(radii)
    return shapely.Polygon(np.column_stack([x + np.cos(angles) * radii, y + np.sin(angles) * radii]))


def holed(values):
    outer = star_of(values)
    return outer.difference(shapely.affinity.scale(outer, 0.4, 0.4, origin=outer.representative_point()))


shapes = st.one_of(
    corner.map(shapely.Point),
    st.lists(corner, min_size=2, max_size=7, unique=True).map(shapely.LineString),
    star.map(star_of),
    star.map(holed),
    st.lists(star.map(star_of), min_size=2, max_size=3).map(shapely.union_all),
    st.lists(corner, min_size=2, max_size=4, unique=True).map(shapely.MultiPoint),
).filter(lambda shape: not shape.is_empty)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(shapes, min_size=1, max_size=6))
@example([shapely.box(-300, -300, 4400, 4400)])  # all of the tile and more
@example([shapely.box(-300, -300, -64, -64), shapely.box(4160, 0, 4400, 10)])  # touching the frame from outside
@example([shapely.box(-300, 100, 4400, 110).difference(shapely.box(100, 102, 200, 108))])
def test_random_shapes_are_clipped_and_rounded_as_by_force(tmp_path_factory, drawn):
    place = address(15)
    west, south, east, north = MERCATOR.bounds(*place)
    to_city = pyproj.Transformer.from_crs("EPSG:3857", CITY_CRS, always_xy=True)

    def laid(xy):
        x, y = west + xy[:, 0] * (east - west) / 4096, north - xy[:, 1] * (north - south) / 4096
        return np.column_stack(to_city.transform(x, y))

    geometry = [shapely.transform(shape, laid) for shape in drawn]
    found = made(city_of(geometry, tmp_path_factory.mktemp("drawn")), place)
    for row, plain in enumerate(geometry):
        true = by_force(plain, MERCATOR, place)
        got = found.get(f"B-{row}")
        if got is None:
            assert collapses(true, plain)
            continue
        assert got[0].is_valid
        assert shapely.hausdorff_distance(got[0], true) <= 1.0 + 1e-9
        assert abs(got[0].area - true.area) <= 0.75 * true.length + 1


def test_borders_are_the_same_in_neighbouring_tiles(tmp_path):
    """A feature on an edge is in both tiles; what both show of it is equal to the unit."""
    city = city_of(blobs(300), tmp_path)
    z, x, y = address(16)
    left, right = made(city, (z, x, y)), made(city, (z, x + 1, y))
    both = set(left) & set(right)
    assert both
    band = shapely.box(4096 - 60, 0, 4096 + 60, 4096)
    for each in both:
        one = shapely.get_coordinates(left[each][0])
        other = shapely.get_coordinates(right[each][0]) + np.array([4096, 0])
        inner = [set(map(tuple, xy[shapely.contains_xy(band, xy)])) for xy in (one, other)]
        assert inner[0] == inner[1]


@pytest.mark.parametrize("zoom", [11, 12, 13, 15])
def test_shared_borders_stay_together(tmp_path, zoom):
    """Of a coverage without gaps every two neighbours still share their border after generalisation."""
    n, side = 12, 150.0
    rng = np.random.default_rng(3)
    ticks = np.arange(2 * n + 1) * side / 2
    xy = np.stack(np.meshgrid(ticks, ticks), axis=-1) + rng.uniform(-9, 9, (2 * n + 1, 2 * n + 1, 2))
    xy += [EAST - n * side / 2, NORTH - n * side / 2]
    around = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    parcels = [shapely.Polygon([xy[2 * i + a, 2 * j + b] for a, b in around]) for i in range(n) for j in range(n)]
    place = address(zoom)
    found = made(city_of(parcels, tmp_path), place)
    inner = shapely.box(0, 0, 4096, 4096)
    got = np.array([shape for shape, _, _ in found.values()], dtype=object)
    step = choice.detail(MERCATOR, zoom).step
    assert {float(v) % step for v in shapely.get_coordinates(shapely.intersection(got, inner)).ravel() if 0 < v < 4096
            and float(v).is_integer()} <= {0.0}  # fmt: skip
    whole = shapely.union_all(got)
    # without overlaps and gaps the parts have the area of the whole, and the whole has no holes
    assert shapely.area(got).sum() == pytest.approx(whole.area, rel=1e-9)
    assert all(len(part.interiors) == 0 for part in shapely.get_parts(whole))
    true = shapely.union_all([in_units(each, MERCATOR, place) for each in parcels]).intersection(FRAME)
    assert shapely.hausdorff_distance(whole, true) <= step * 1.5


def test_gdal_reads_the_same_features(tmp_path):
    geometry = [g for i, g in enumerate(blobs(200)) if i % 5 > 1]
    z, x, y = address(14)
    path = tmp_path / "mvt" / str(z) / str(x)
    path.mkdir(parents=True)
    data = mvt.tile(city_of(geometry, tmp_path), ["building"], MERCATOR, (z, x, y), EVERYTHING).data
    (path / f"{y}.pbf").write_bytes(data)
    table = pyogrio.read_dataframe(f"MVT:{path / f'{y}.pbf'}", layer="building", CLIP="NO")
    mine = read(data)
    assert sorted(table["id"]) == sorted(mine)
    assert set(table.columns) >= {"id", "layer", "name", "height_m", "floors", "legal"}
    west, south, east, north = MERCATOR.bounds(z, x, y)
    unit = (east - west) / 4096
    to_mercator = pyproj.Transformer.from_crs(CITY_CRS, "EPSG:3857", always_xy=True)
    frame = shapely.box(west - 64 * unit, south - 64 * unit, east + 64 * unit, north + 64 * unit)
    for gid, shape in zip(table["id"], table.geometry, strict=True):
        true = shapely.transform(
            geometry[int(gid.removeprefix("B-"))], lambda xy: np.column_stack(to_mercator.transform(*xy.T))
        )
        assert shapely.hausdorff_distance(shape, true.intersection(frame)) <= unit * 1.001
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
    for turn, geometry in enumerate((around, around.reverse())):
        city = city_of([geometry], tmp_path / str(turn))
        (_, outer), (_, hole) = rings(mvt.tile(city, ["building"], MERCATOR, address(15), EVERYTHING).data)
        assert outer > 0 > hole  # positive in tile coordinates, y down: clockwise on the screen


def test_attributes_keep_their_types_and_missing_ones_are_absent(tmp_path):
    city = city_of([shapely.Point(EAST + i, NORTH) for i in range(7)], tmp_path)
    found = made(city, address(16))
    assert found["B-1"][1] == {
        "id": "B-1", "layer": "building", "name": "楼 1", "height_m": 0.125, "floors": 1, "legal": True,
    }  # fmt: skip
    assert found["B-6"][1] == {"id": "B-6", "layer": "building", "height_m": 0.75, "legal": False}
    fids = dict(zip(*_ids_and_fids(city), strict=True))
    assert {key: row[2] for key, row in found.items()} == fids


def _ids_and_fids(city):
    from twin.store.interface import Query

    (batch,) = city.store.query("building", Query(), EVERYTHING)
    return batch.ids, batch.fids.tolist()


def test_zoomed_out_only_what_style_and_labels_need_is_there_and_ids_are_kept(tmp_path):
    city = city_of(blobs(60), tmp_path, by="floors", colors={"1": "#ff0000"})
    found = made(city, address(12))
    assert found
    for key, (_, properties, _) in found.items():
        assert properties["id"] == key
        assert set(properties) <= {"id", "layer", "name", "height_m", "floors"}
    assert any("floors" in row[1] for row in found.values())
    assert any("legal" in row[1] for row in made(city, address(14)).values())


def test_a_self_crossing_polygon_becomes_valid_and_a_broken_line_stays_in_order(tmp_path):
    bow = shapely.Polygon([(EAST, NORTH), (EAST + 90, NORTH + 90), (EAST + 90, NORTH), (EAST, NORTH + 90)])
    eight = shapely.LineString([(EAST, NORTH), (EAST + 90, NORTH + 90), (EAST + 90, NORTH), (EAST, NORTH + 90)])
    place = address(16)
    found = made(city_of([bow, eight], tmp_path), place)
    assert found["B-0"][0].is_valid
    assert found["B-0"][0].area == pytest.approx(shapely.make_valid(in_units(bow, MERCATOR, place)).area, rel=0.01)
    np.testing.assert_allclose(
        shapely.get_coordinates(found["B-1"][0]), shapely.get_coordinates(in_units(eight, MERCATOR, place)), atol=0.51
    )


def test_too_many_features_lose_the_smallest_and_only_when_zoomed_out(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "MAX_FEATURES", 50)
    sizes = np.random.default_rng(0).permutation(np.linspace(20, 70, 500))
    rng = np.random.default_rng(1)
    xy = np.array([EAST, NORTH]) + rng.uniform(-200, 200, (500, 2))
    city = city_of(list(shapely.box(*xy.T, *(xy + sizes[:, None]).T)), tmp_path)
    z, x, y = address(13)
    found = made(city, (z, x, y))
    assert len(found) == 50
    kept = {int(key.removeprefix("B-")) for key in found}
    # boxes of the index are rounded to float32, a quarter of a metre here
    assert sizes[sorted(kept)].min() > np.sort(sizes)[-50] - 0.6
    seen = {key for place in _children((z, x, y), 15) for key in made(city, place)}
    assert len(seen) == 500


def _children(place, deep):
    z, x, y = place
    n = 2 ** (deep - z)
    return [(deep, x * n + dx, y * n + dy) for dx in range(n) for dy in range(n)]


def test_points_are_thinned_to_one_a_pixel_the_same_ones_each_time(tmp_path):
    rng = np.random.default_rng(5)
    xy = np.array([EAST, NORTH]) + rng.uniform(-900, 900, (4000, 2))
    points = list(shapely.points(xy))
    place = address(11)
    found = made(city_of(points, tmp_path / "a"), place)
    cells = [
        tuple(np.floor(shapely.get_coordinates(in_units(points[int(k[2:])], MERCATOR, place))[0] / 8)) for k in found
    ]
    assert len(set(cells)) >= 0.99 * len(cells)
    every = {tuple(np.floor(c / 8)) for c in shapely.get_coordinates(in_units(np.array(points), MERCATOR, place))}
    # the index knows a point to a quarter of a metre, so that a cell's border may go either way
    assert len(cells) >= 0.97 * len(every)
    assert set(made(city_of(points, tmp_path / "b"), place)) == set(found)


def test_parcels_too_small_to_be_drawn_still_colour_their_pixel(tmp_path):
    side = np.arange(60) * 20.0
    x, y = (each.ravel() for each in np.meshgrid(EAST + side, NORTH + side))
    found = made(city_of(list(shapely.box(x, y, x + 19, y + 19)), tmp_path), address(9))
    step = choice.detail(MERCATOR, 9).step
    assert len(found) > 50
    assert all(shape.area > 0 for shape, _, _ in found.values())
    spread = shapely.total_bounds([shape for shape, _, _ in found.values()])
    true = shapely.total_bounds(in_units(shapely.box(EAST, NORTH, EAST + 1200, NORTH + 1200), MERCATOR, address(9)))
    np.testing.assert_allclose(spread, true, atol=8 + step)


def test_the_whole_world_is_one_tile(tmp_path):
    geometry = shapely.box(EAST, NORTH, EAST + 30_000, NORTH + 30_000)
    found = made(city_of([geometry], tmp_path), (0, 0, 0))
    true = in_units(geometry, MERCATOR, (0, 0, 0))
    assert shapely.hausdorff_distance(found["B-0"][0], true) <= 4.0


def test_one_feature_at_a_senseless_place_does_not_hide_the_others(tmp_path):
    city = city_of([shapely.box(EAST, NORTH, EAST + 50, NORTH + 50), shapely.Point(1e12, -1e12)], tmp_path)
    for z in (0, 9, 16):
        made(city, address(z))
    assert set(made(city, address(16))) == {"B-0"}
    west, south, east, north = mvt.tilejson(city, ["building"], "", MERCATOR, EVERYTHING)["bounds"]
    assert west < 121 < east
    assert south < 28.1 < north


def test_tiles_elsewhere_are_empty(tmp_path):
    city = city_of(blobs(10), tmp_path)
    assert mvt.tile(city, ["building"], MERCATOR, address(12, 10.0, 50.0), EVERYTHING).data == b""
    nothing = city_of([None], tmp_path / "none")
    assert mvt.tile(nothing, ["building"], MERCATOR, (0, 0, 0), EVERYTHING).data == b""


def tags(city, zoom=16, reach=2):
    z, x, y = address(zoom)
    places = [(z, x + dx, y + dy) for dx in range(-reach, reach + 1) for dy in range(-reach, reach + 1)]
    return {place: mvt.tag(city, ["building"], MERCATOR, place, EVERYTHING) for place in places}


def test_an_edit_changes_the_tags_of_the_tiles_it_touches_and_no_other(tmp_path):
    geometry = blobs(400)
    city = city_of(geometry, tmp_path)
    before = tags(city)
    shapes = {place: made(city, place) for place in before}
    geometry[3] = shapely.affinity.translate(geometry[3], 5.0, 5.0)
    put(city.store, geometry)
    after = tags(city)
    changed = {place for place in before if before[place] != after[place]}
    old, new = city_of([blobs(400)[3]], tmp_path / "old"), city_of([geometry[3]], tmp_path / "new")
    touched = {place for place in before if made(old, place) or made(new, place)}
    assert touched
    assert touched <= changed
    assert len(changed - touched) <= 1  # by its box a feature may meet a tile that its outline does not
    for place in before:
        assert (made(city, place) == shapes[place]) or place in changed


def test_an_edit_from_outside_changes_the_tag(tmp_path):
    import sqlite3
    from contextlib import closing

    city = city_of([shapely.box(EAST, NORTH, EAST + 9, NORTH + 9), shapely.Point(EAST + 3000, NORTH)], tmp_path)
    place = address(16)
    before = mvt.tag(city, ["building"], MERCATOR, place, EVERYTHING)
    data = mvt.tile(city, ["building"], MERCATOR, place, EVERYTHING).data
    with closing(sqlite3.connect(city.folder / "city.gpkg", isolation_level=None)) as db:
        for name in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY", "ST_IsEmpty"):
            db.create_function(name, 1, lambda _: 0.0)
        db.execute("UPDATE building SET name = 'new' WHERE id = 'B-0'")
    assert mvt.tag(city, ["building"], MERCATOR, place, EVERYTHING) != before
    assert mvt.tile(city, ["building"], MERCATOR, place, EVERYTHING).data != data


@pytest.mark.parametrize("place", [(3, 8, 0), (3, 0, 8), (-1, 0, 0), (25, 0, 0), (3, -1, 0)])
def test_addresses_off_the_grid_are_not_found(tmp_path, place):
    with pytest.raises(NotFound):
        mvt.tile(city_of(blobs(3), tmp_path), ["building"], MERCATOR, place, EVERYTHING)


def test_the_scope_is_asked(tmp_path):
    with pytest.raises(LayerNotFound):
        mvt.tile(city_of(blobs(3), tmp_path), ["building"], MERCATOR, (0, 0, 0), Scope("guest", frozenset()))


def test_a_filter_shows_what_it_says(tmp_path):
    city = city_of(blobs(50), tmp_path)
    every = made(city, address(14))
    low = {"op": "<", "args": [{"property": "height_m"}, 3]}
    found = made(city, address(14), selection=mvt.Selection(filter=low, properties=("height_m",)))
    assert set(found) == {key for key, row in every.items() if row[1]["height_m"] < 3}
    assert all(set(row[1]) <= {"id", "layer", "height_m"} for row in found.values())
    west = {"type": "Polygon", "coordinates": [[[EAST - 5000, NORTH - 5000], [EAST, NORTH - 5000],
            [EAST, NORTH + 5000], [EAST - 5000, NORTH + 5000], [EAST - 5000, NORTH - 5000]]]}  # fmt: skip
    inside = {"op": "s_intersects", "args": [{"property": "geometry"}, west]}
    found = made(city, address(14), selection=mvt.Selection(filter=inside))
    line = in_units(shapely.LineString([(EAST, NORTH - 5000), (EAST, NORTH + 5000)]), MERCATOR, address(14))
    assert 0 < len(found) < len(every)
    assert all(shape.bounds[0] <= line.bounds[2] + 1 for shape, _, _ in found.values())
    with pytest.raises(InvalidInput):
        mvt.tile(city, ["building"], MERCATOR, (0, 0, 0), EVERYTHING, selection=mvt.Selection(
            filter={"op": "<", "args": [{"property": "nothing"}, 3]}))  # fmt: skip


def test_a_filter_on_more_than_a_tile_holds_still_finds_what_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "MAX_FEATURES", 20)
    city = city_of(blobs(500), tmp_path)
    one = {"op": "=", "args": [{"property": "height_m"}, 43 / 8]}
    assert set(made(city, address(10), selection=mvt.Selection(filter=one))) == {"B-43"}


def test_a_moment_shows_what_was_then(tmp_path):
    import time
    from datetime import UTC, datetime

    geometry = blobs(20)
    city = city_of(geometry, tmp_path)
    time.sleep(0.01)
    moment = datetime.now(UTC)
    time.sleep(0.01)
    then = made(city, address(14))
    put(city.store, geometry[:10])
    assert set(made(city, address(14))) < set(then)
    assert made(city, address(14), selection=mvt.Selection(at=moment)) == then


def test_tilejson_names_layers_fields_and_bounds(tmp_path):
    geometry = blobs(100)
    city = city_of(geometry, tmp_path)
    document = mvt.tilejson(city, ["building"], "https://example.org/{z}/{x}/{y}", MERCATOR, EVERYTHING)
    (layer,) = document["vector_layers"]
    assert layer["fields"]["height_m"] == "Number"
    assert layer["fields"]["legal"] == "Boolean"
    to_degrees = pyproj.Transformer.from_crs("EPSG:4549", "OGC:CRS84", always_xy=True)
    for shape in geometry:
        lon, lat = to_degrees.transform(*shapely.get_coordinates(shape).T)
        west, south, east, north = document["bounds"]
        assert west <= lon.min() <= lon.max() <= east
        assert south <= lat.min() <= lat.max() <= north
    assert document["minzoom"] == 0
    with pytest.raises(LayerNotFound):
        mvt.tilejson(city, [], "", MERCATOR, EVERYTHING)


def test_a_crowded_layer_starts_at_a_zoom_where_tiles_are_small():
    from tiles.mvt.one_tile import min_zoom

    wide = (0.0, 0.0, 20_000.0, 20_000.0)
    assert min_zoom(CITY_CRS, 1000, wide) == 0
    assert 9 < min_zoom(CITY_CRS, 1_000_000, wide) <= choice.EXACT_ZOOM
    assert min_zoom(CITY_CRS, 10, None) == 0
