"""Maps against shapely, PROJ and GDAL: pixels of areas, lines and discs, what is small, what is many, tags, rasters."""

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import rasterio
import shapely
from rasterio.enums import Resampling
from rasterio.transform import from_bounds, from_origin
from rasterio.vrt import WarpedVRT

import twin
from layers.errors import CityTwinError
from tests.tiles.mvt_city import CITY_CRS, EAST, NORTH, city_of, put, transformer
from tests.tiles.towns import layer_type
from tiles import drawing, styles
from tiles.drawing import RasterItem, VectorItem, View, canvas, choice, expression, features, fonts, key, labels
from tiles.drawing.canvas import Canvas
from tiles.drawing.features import Selection, Shapes
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset
from twin.store.wkb_paths import LINE, RING, Paths

FILL, RIM = (0xD8, 0xCF, 0xC0), (0x6B, 0x6B, 0x6B)
SIZE = 300


def view(half=200.0, size=SIZE, target=CITY_CRS, **more):
    """A square round the origin of the city."""
    box = (EAST - half, NORTH - half, EAST + half, NORTH + half)
    if target != CITY_CRS:
        box = transformer(target).transform_bounds(*box)
    return View(target, box, size, size, **more)


def drawn(city, seen, *items, **more):
    return drawing.Drawing(city, city.scope, items or (VectorItem("building"),), seen, **more).pixels()


def centres(seen):
    """The middle of each pixel in the view's CRS."""
    west, south, east, north = seen.bounds
    x = west + (np.arange(seen.width) + 0.5) * (east - west) / seen.width
    y = north - (np.arange(seen.height) + 0.5) * (north - south) / seen.height
    return np.meshgrid(x, y)


def in_crs(geometry, target):
    if target == CITY_CRS:
        return geometry
    return shapely.transform(geometry, transformer(target).transform, interleaved=False)


def stars(count, seed=0, reach=180.0, size=(15.0, 45.0)):
    """Star-shaped polygons that do not touch each other, some with a hole, turned either way."""
    rng = np.random.default_rng(seed)
    taken, found = [], []
    while len(found) < count:
        x, y = EAST + rng.uniform(-reach, reach), NORTH + rng.uniform(-reach, reach)
        radius = rng.uniform(*size)
        if any(np.hypot(x - a, y - b) < radius + r + 3 for a, b, r in taken):
            continue
        taken.append((x, y, radius))
        angles = np.sort(rng.uniform(0, 2 * np.pi, 24))
        far = radius * rng.uniform(0.6, 1.0, 24)
        ring = np.column_stack([x + far * np.cos(angles), y + far * np.sin(angles)])
        hole = [np.column_stack([x + radius / 4 * np.cos(angles), y + radius / 4 * np.sin(angles)])[::-1]]
        shape = shapely.Polygon(ring, hole if len(found) % 2 else [])
        found.append(shape.reverse() if len(found) % 3 == 0 else shape)
    return [shape for shape in found if shape.is_valid]


@pytest.fixture(scope="module")
def shapes():
    return stars(25)


@pytest.fixture(scope="module")
def city(shapes, tmp_path_factory):
    with city_of(shapes, tmp_path_factory.mktemp("stars") / "twin") as opened:
        yield opened


@pytest.mark.parametrize("target", ["EPSG:4549", "EPSG:3857", "EPSG:4326", "EPSG:4490", "OGC:CRS84"])
def test_pixels_inside_have_the_colour_of_the_style_and_pixels_outside_none(city, shapes, target):
    seen = view(target=target)
    pixels = drawn(city, seen)
    placed = shapely.union_all([in_crs(shape, target) for shape in shapes])
    x, y = centres(seen)
    # what is nearer to an edge than a pixel and half the outline is a mixture
    near = 1.5 * max(seen.cell)
    inside = shapely.contains_xy(placed.buffer(-near), x, y)
    outside = ~shapely.contains_xy(placed.buffer(near), x, y)
    assert inside.sum() > 5000
    assert outside.sum() > 20_000
    assert (pixels[inside] == (*FILL, 255)).all()
    assert (pixels[outside][:, 3] == 0).all()
    on_edge = shapely.contains_xy(placed.boundary.buffer(0.1 * max(seen.cell)), x, y)
    assert (np.abs(pixels[on_edge][:, :3].astype(int) - RIM).max(axis=1) < 60).mean() > 0.9


def paths_of(geometries, kind=RING):
    parts = [ring for each in geometries for ring in (shapely.get_rings(each) if kind == RING else [each])]
    rows = [
        row for row, each in enumerate(geometries) for _ in range(len(shapely.get_rings(each)) if kind == RING else 1)
    ]
    outer = [at == 0 for each in geometries for at in range(len(shapely.get_rings(each)) if kind == RING else 1)]
    xy = [shapely.get_coordinates(each) for each in parts]
    starts = np.cumsum([0, *map(len, xy)])
    kinds = np.full(len(parts), kind, np.int8)
    return Paths(np.concatenate(xy), starts, np.array(rows), kinds, np.array(outer))


def local(geometries, scale=1.0):
    """Shapes round the origin as pixels of a canvas of 400."""
    return [shapely.transform(each, lambda xy: (xy - [EAST, NORTH]) * scale + 200) for each in geometries]


@pytest.mark.parametrize("scale", [1.0, 0.3, 0.05])
def test_the_opacity_of_filled_pixels_adds_up_to_the_area(scale):
    placed = local(stars(25), scale)
    target = Canvas(400, 400)
    target.areas(paths_of(placed), (1, 0, 0, 1))
    area = sum(each.area for each in placed)
    assert target.pixels[..., 3].sum() / 255 == pytest.approx(area, rel=0.01, abs=1)


def test_holes_stay_open_whichever_way_rings_are_turned():
    square = shapely.Polygon(
        [(50, 50), (150, 50), (150, 150), (50, 150)], [[(80, 80), (120, 80), (120, 120), (80, 120)]]
    )
    for shape in (square, square.reverse(), shapely.orient_polygons(square), shapely.orient_polygons(square).reverse()):
        target = Canvas(200, 200)
        target.areas(paths_of([shape]), (0, 0, 1, 1))
        assert target.pixels[100, 100, 3] == 0
        assert target.pixels[60, 60, 3] == 255
        # an overlapping neighbour of the other turn takes nothing away
        target = Canvas(200, 200)
        target.areas(paths_of([shape, shapely.box(40, 40, 70, 70).reverse()]), (0, 0, 1, 1))
        assert target.pixels[60, 60, 3] == 255


def test_a_line_covers_its_buffer():
    line = shapely.LineString([(20, 20), (180, 60), (100, 150), (30, 170)])
    target = Canvas(200, 200)
    target.lines(paths_of([line], LINE), (0, 0, 0, 1), 6.0)
    wanted = line.buffer(3.0)
    x, y = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    assert target.pixels[..., 3].sum() / 255 == pytest.approx(wanted.area, rel=0.02)
    assert (target.pixels[shapely.contains_xy(wanted.buffer(-1), x, y)][:, 3] == 255).all()
    assert (target.pixels[~shapely.contains_xy(wanted.buffer(1), x, y)][:, 3] == 0).all()


def test_a_disc_is_where_its_point_is():
    target = Canvas(100, 80)
    target.discs(np.array([[30.0, 20.0], [70.2, 60.4]]), (1, 0, 0, 1), 6.0, rim=(1, 1, 1, 1), rim_px=0.6)
    alpha = target.pixels[..., 3] > 127
    x, y = np.meshgrid(np.arange(100) + 0.5, np.arange(80) + 0.5)
    for left, top in ((30, 20), (70, 60)):
        assert alpha[np.hypot(x - left, y - top) < 5.5].all()
    assert not alpha[(np.hypot(x - 30, y - 20) > 7.5) & (np.hypot(x - 70, y - 60) > 7.5)].any()
    assert tuple(target.pixels[20, 30]) == (255, 0, 0, 255)


def test_over_is_porter_and_duff():
    below, above = np.array([[0.2, 0.4, 0.6, 0.5]]), np.array([[1.0, 0.0, 0.0, 0.25]])
    mixed = canvas.over(below, above)[0]
    assert mixed[3] == pytest.approx(0.25 + 0.5 * 0.75)
    assert mixed[0] == pytest.approx((0.25 * 1.0 + 0.375 * 0.2) / mixed[3])


def test_coarsening_moves_nothing_and_keeps_ends():
    xy = np.array([[0, 0], [0.01, 0.02], [0.1, 0.1], [5, 5], [5.05, 5.05], [9, 1], [np.inf, 2], [3, 3]])
    paths = Paths(xy, np.array([0, 6, 8]), np.array([0, 1]), np.full(2, LINE, np.int8), np.ones(2, bool))
    left = canvas.coarsened(paths)
    np.testing.assert_array_equal(left.xy, [[0, 0], [5, 5], [9, 1]])  # what has no place is no path
    assert left.rows.tolist() == [0]


def test_what_is_smaller_than_a_pixel_stays_as_one(tmp_path):
    rng = np.random.default_rng(3)
    corner = rng.uniform(-1900, 1900, (800, 2)) + np.array([EAST, NORTH])
    tiny = [shapely.box(x, y, x + 1.5, y + 1.5) for x, y in corner]
    seen = view(half=2000.0, size=200)  # 20 m a pixel
    with city_of(tiny, tmp_path / "twin") as city:
        pixels = drawn(city, seen)
    expected = np.zeros((200, 200), bool)
    middle = corner + 0.75
    expected[np.floor((NORTH + 2000 - middle[:, 1]) / 20).astype(int),
             np.floor((middle[:, 0] - EAST + 2000) / 20).astype(int)] = True  # fmt: skip
    shown = pixels[..., 3] > 0
    # the index rounds boxes to quarters of a metre: a middle may slip over the border of its pixel
    assert (shown != expected).sum() <= 0.03 * expected.sum()
    assert (pixels[shown][:, :3] == FILL).all()
    assert (np.abs(pixels[shown][:, 3] / 255 - choice.FAINT) < 0.02).mean() > 0.9


def test_a_sea_of_small_parcels_is_full(tmp_path):
    x, y = np.meshgrid(np.arange(100) * 8.0 - 400, np.arange(100) * 8.0 - 400)
    sea = [shapely.box(EAST + a, NORTH + b, EAST + a + 8, NORTH + b + 8) for a, b in zip(x.flat, y.flat, strict=True)]
    with city_of(sea, tmp_path / "twin") as city:
        for size in (50, 66, 93):  # parcels of 0.53, 0.69 and 0.98 pixels
            assert (drawn(city, view(half=380.0, size=size))[..., 3] > 240).all()


def chosen(boxes, size=(100, 100), **more):
    boxes = np.asarray(boxes, float)
    return choice.chosen(np.arange(1, len(boxes) + 1), boxes, size, **{"are_points": False, "are_areas": True} | more)


def test_of_too_many_shapes_the_largest_are_drawn_and_boxes_for_the_others(monkeypatch):
    monkeypatch.setattr(choice, "MAX_SHAPES", 2)
    found = chosen([[0, 0, 10, 10], [20, 20, 60, 60], [70, 70, 75, 75], [1, 80, 31, 90], [50.2, 3.2, 50.6, 3.6]])
    assert sorted(found.shapes.tolist()) == [1, 3]
    assert sorted(found.boxes.tolist()) == [0, 2]
    assert found.specks.tolist() == [4]
    assert found.pixels.tolist() == [[50, 3]]


def test_small_ones_in_one_pixel_add_up_and_the_largest_gives_the_colour():
    found = chosen([[5.0, 5.0, 5.5, 5.5], [5.1, 5.1, 5.9, 5.9], [7.0, 7.0, 7.1, 7.1], [200, 3, 200.5, 3.5]])
    assert dict(zip(found.specks.tolist(), found.strength.tolist(), strict=True)) == pytest.approx(
        {1: 0.25 + 0.64, 2: choice.FAINT}, abs=1e-6
    )


def test_symbols_are_drawn_once_a_pixel():
    found = chosen([[5, 5, 5, 5], [5.2, 5.3, 5.2, 5.3], [9, 9, 9, 9], [-300, 0, -300, 0]], are_points=True)
    assert len(found.shapes) == 2
    assert not len(found.specks)


def test_boxes_beyond_the_limit_are_filled(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "MAX_SHAPES", 10)
    wide = [shapely.box(EAST + 20 * i, NORTH, EAST + 20 * i + 15, NORTH + 15) for i in range(-8, 8)]
    with city_of(wide, tmp_path / "twin") as city:
        pixels = drawn(city, view())
    x, y = centres(view())
    inside = shapely.contains_xy(shapely.union_all(wide).buffer(-2.5), x, y)
    assert (pixels[inside] == (*FILL, 255)).all()


def test_pieces_of_many_points_are_all_drawn(city, shapes, monkeypatch):
    whole = drawn(city, view())
    monkeypatch.setattr(features, "MAX_POINTS", 60)
    monkeypatch.setattr(features, "ROWS_AT_ONCE", 3)
    pieces = drawn(city, view())
    assert (pieces[..., 3] > 0).sum() == (whole[..., 3] > 0).sum()
    assert np.abs(pieces.astype(int) - whole).mean() < 0.5


def test_a_filter_and_a_spatial_filter_choose(city, shapes):
    only = Selection({"op": "=", "args": [{"property": "id"}, "B-3"]})
    alpha = drawn(city, view(), selection=only)[..., 3] > 127
    x, y = centres(view())
    assert alpha.sum() == pytest.approx(shapes[3].area / (400 / SIZE) ** 2, rel=0.15)
    assert shapely.contains_xy(shapes[3].buffer(2.5), x, y)[alpha].all()
    point = shapely.point_on_surface(shapes[5])
    there = Selection({"op": "s_intersects", "args": [{"property": "geometry"}, shapely.geometry.mapping(point)]})
    alpha = drawn(city, view(), selection=there)[..., 3] > 127
    assert shapely.contains_xy(shapes[5].buffer(2.5), x, y)[alpha].all()
    assert alpha.any()


def test_tags_name_what_is_seen_and_nothing_else(tmp_path):
    folder = tmp_path / "twin"
    pair = [shapely.box(EAST - 90, NORTH, EAST - 60, NORTH + 30), shapely.box(EAST + 60, NORTH, EAST + 90, NORTH + 30)]
    left = View(CITY_CRS, (EAST - 100, NORTH - 50, EAST, NORTH + 50), 200, 200)
    right = View(CITY_CRS, (EAST, NORTH - 50, EAST + 100, NORTH + 50), 200, 200)

    def tags(city):
        item = (VectorItem("building"),)
        return [drawing.Drawing(city, city.scope, item, each).tag() for each in (left, right)]

    with city_of(pair, folder) as city:
        before, again = tags(city), tags(city)
        store = GeoPackageStore(folder / "city.gpkg")
        put(store, [pair[0], shapely.box(EAST + 50, NORTH, EAST + 90, NORTH + 30)])
        store.close()
        after = tags(city)
    assert before == again
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert before[0] != before[1]


def test_kept_pictures_are_made_once(city):
    made = drawing.Drawing(city, city.scope, (VectorItem("building"),), view(size=64))
    calls = []

    def encode(pixels):
        calls.append(pixels.shape)
        return b"bytes"

    assert [made.kept(encode, made.tag(), "x") for _ in range(2)] == [b"bytes", b"bytes"]
    assert calls == [(64, 64, 4)]


def test_symbols_grow_as_pixels_get_smaller(tmp_path):
    road = shapely.LineString([(EAST - 150, NORTH), (EAST + 150, NORTH)])
    widths = []
    with city_of([road], tmp_path / "twin") as city:
        for seen in (view(), view(pixel_mm=0.07)):
            alpha = drawn(city, seen)[..., 3] / 255
            widths.append(alpha[:, SIZE // 2].sum())
            zoom = seen.zoom
    assert widths[1] == pytest.approx(4 * widths[0], rel=0.25)  # the zoom grows too, by two
    assert zoom == pytest.approx(view().zoom - 2)


def test_zoom_is_that_of_web_mercator():
    """Zoom z of MapLibre has 512 pixels x 2^z round the equator."""
    side = 2 * np.pi * 6378137 / 512 / 2**14
    seen = View("EPSG:3857", (13469000.0, 3262000.0, 13469000 + 100 * side, 3262000 + 100 * side), 100, 100)
    assert seen.zoom == pytest.approx(14.0, abs=1e-3)
    ground = side * np.cos(np.radians(28.1))
    same = View(CITY_CRS, (EAST, NORTH, EAST + 100 * ground, NORTH + 100 * ground), 100, 100)
    assert same.zoom == pytest.approx(14.0, abs=0.01)


def test_pixels_are_where_proj_puts_them():
    for target in ("EPSG:3857", "EPSG:4326"):
        seen = view(target=target)
        place = seen.placer(CITY_CRS, (EAST - 300, NORTH - 300, EAST + 300, NORTH + 300))
        rng = np.random.default_rng(1)
        xy = rng.uniform(-250, 250, (500, 2)) + np.array([EAST, NORTH])
        x, y = pyproj.Transformer.from_crs(CITY_CRS, target, always_xy=True).transform(*xy.T)
        west, south, east, north = seen.bounds
        exact = np.column_stack([(x - west) / (east - west), (north - y) / (north - south)]) * SIZE
        np.testing.assert_allclose(place(xy), exact, rtol=0, atol=1e-4)


TABLE = pa.table({"code": ["01", "02", None, "x"], "name": ["a", None, "c", ""]})


def test_expressions_of_the_style():
    match = ["match", ["get", "code"], ["01", "02"], "#111111", "x", "#222222", "#333333"]
    assert expression.value(match, TABLE, 0).tolist() == ["#111111", "#111111", "#333333", "#222222"]
    growing = ["interpolate", ["linear"], ["zoom"], 10, 1.0, 14, 3.0, 18, 11.0]
    assert [expression.value(growing, TABLE, zoom) for zoom in (8, 10, 12, 16, 30)] == [1.0, 1.0, 2.0, 7.0, 11.0]
    assert expression.rows(["has", "name"], TABLE).tolist() == [True, False, True, True]
    assert expression.rows(["==", ["get", "code"], "01"], TABLE).tolist() == [True, False, False, False]
    both = ["all", ["!=", ["get", "code"], "01"], ["!=", ["get", "code"], "x"]]
    assert expression.rows(both, TABLE).tolist() == [False, True, True, False]
    assert expression.rows(["==", ["get", "nowhere"], "01"], TABLE).tolist() == [False] * 4
    for strange in (["step", ["zoom"], 1], ["literal", 2]):
        with pytest.raises(CityTwinError, match="cannot draw"):
            expression.value(strange, TABLE, 0)


def test_every_style_of_the_catalogue_can_be_drawn():
    """Whatever the styles say must be understood here: they are one source of truth."""
    from layers import catalogue

    table = pa.table({"": pa.nulls(3)})
    for kind in catalogue.load().values():
        for entry in styles.style("", [kind], {}, labels=True)["layers"]:
            expression.rows(entry.get("filter"), table)
            for name, said in entry.get("paint", {}).items():
                if name.endswith(("-color", "-width", "-radius")):
                    expression.value(said, table, 15.0)


needs_font = pytest.mark.skipif(fonts.path() is None, reason="no font with Chinese glyphs here")


@needs_font
def test_labels_are_drawn_and_never_over_each_other(city):
    plain = drawn(city, view(), VectorItem("building"))
    named = drawn(city, view(), VectorItem("building", labels=True))
    changed = (plain != named).any(axis=2)
    assert changed.sum() > 500
    look = labels.Look(12.0, "#222222", "#ffffff", 1.2)
    rng = np.random.default_rng(0)
    wanted = [(labels.Label("楼 12", *rng.uniform(0, 300, 2), 0.0, 1.0), look) for _ in range(300)]
    target = Canvas(SIZE, SIZE)
    n = labels.draw(target, wanted)
    alone = Canvas(SIZE, SIZE)
    labels.draw(alone, [(labels.Label("楼 12", 150, 150, 0.0, 1.0), look)])
    one = (alone.pixels[..., 3] > 0).sum()
    assert 20 < n < 150
    # every label has all of its pixels: none is covered and none cut
    assert (target.pixels[..., 3] > 0).sum() == pytest.approx(n * one, rel=0.03)


@needs_font
def test_a_name_lies_along_its_street_and_in_the_middle_of_its_house():
    street = shapely.LineString([(10, 10), (110, 110)])
    made = Shapes(paths_of([street], LINE), pa.table({"": pa.nulls(1)}), np.array([100.0]))
    (label,) = labels.candidates(made, ["路"], along=True, below_px=0.0)
    assert (label.x, label.y) == pytest.approx((60, 60))
    assert label.angle_deg == pytest.approx(-45)
    house = shapely.Polygon([(0, 0), (40, 0), (40, 10), (10, 10), (10, 40), (0, 40)])
    made = Shapes(paths_of([house]), pa.table({"": pa.nulls(1)}), np.array([40.0]))
    (label,) = labels.candidates(made, ["楼"], along=False, below_px=0.0)
    assert (label.x, label.y) == pytest.approx((house.centroid.x, house.centroid.y))


def test_without_a_font_names_are_left_out(city, monkeypatch):
    plain = drawn(city, view())
    monkeypatch.setattr(fonts, "of_size", lambda _: None)
    assert (drawn(city, view(), VectorItem("building", labels=True)) == plain).all()


def test_a_legend_has_each_colour_of_the_style():
    kind = layer_type(by="floors", colors={"1": "#ff0000", "2": "#00ff00"})
    said = key.lines(kind, "en")
    assert [(shown, name) for _, shown, name, _ in said] == [
        ("#ff0000", "1"),
        ("#00ff00", "2"),
        ("#d8cfc0", "Building"),
    ]
    picture = drawing.legend(kind, "en").reshape(-1, 4)
    for colour in ((255, 0, 0), (0, 255, 0), FILL):
        assert (picture == (*colour, 255)).all(axis=1).sum() > 100


@pytest.fixture(scope="module")
def photo(city):
    """A smooth picture of the ground, 0.5 m a pixel, in the city's folder."""
    rng = np.random.default_rng(0)
    from PIL import Image

    rough = [Image.fromarray(rng.uniform(0, 255, (40, 40)).astype(np.float32)) for _ in range(3)]
    data = np.stack([np.asarray(each.resize((1200, 1200), Image.Resampling.BICUBIC)) for each in rough])
    path = city.folder / "rasters" / "photo.tif"
    path.parent.mkdir(exist_ok=True)
    box = (EAST - 300, NORTH - 300, EAST + 300, NORTH + 300)
    with rasterio.open(
        path, "w", driver="GTiff", width=1200, height=1200, count=3, dtype="uint8", crs=CITY_CRS,
        transform=from_origin(box[0], box[3], 0.5, 0.5), tiled=True, blockxsize=256, blockysize=256,
    ) as out:  # fmt: skip
        out.write(np.clip(data, 0, 255).astype(np.uint8))
        out.build_overviews([2, 4], Resampling.average)
    return Asset("photo", "dom", "raster", "rasters/photo.tif", CITY_CRS, box, box, "a.tif")


@pytest.mark.parametrize("target", ["EPSG:4549", "EPSG:3857", "EPSG:4490"])
@pytest.mark.parametrize("size", [(400, 400), (1500, 700), (90, 333)])
def test_imagery_is_what_gdal_warps_into_the_same_pixels(city, photo, target, size):
    half = 250 if size[0] < 1000 else 120
    box = (EAST - half, NORTH - half * size[1] / size[0] * 0.9, EAST + half, NORTH + half * size[1] / size[0] * 0.9)
    if size[0] < 100:
        box = (EAST - 60, NORTH - 200, EAST + 60, NORTH + 200)
    if target != CITY_CRS:
        box = transformer(target).transform_bounds(*box)
    seen = View(target, box, *size)
    got = drawn(city, seen, RasterItem("dom", (photo,))).astype(int)
    assert (got[..., 3] == 255).all()
    with rasterio.open(city.folder / photo.path) as file, WarpedVRT(
        file, crs=target, transform=from_bounds(*box, *size), width=size[0], height=size[1],
        resampling=Resampling.bilinear, tolerance=0.001,
    ) as warped:  # fmt: skip
        want = np.moveaxis(warped.read([1, 2, 3]), 0, -1).astype(int)
    difference = np.abs(got[..., :3] - want)
    # pixels that are not square are made of finer ones that are
    is_square = abs(seen.cell[0] / seen.cell[1] - 1) < 1e-3
    assert difference.mean() < (0.6 if is_square else 2.5)
    assert np.percentile(difference, 99.5) <= (4 if is_square else 16)


def test_features_lie_over_imagery_in_the_order_given(city, photo, shapes):
    seen = view()
    over = drawn(city, seen, RasterItem("dom", (photo,)), VectorItem("building"))
    under = drawn(city, seen, VectorItem("building"), RasterItem("dom", (photo,)))
    x, y = centres(seen)
    inside = shapely.contains_xy(shapely.union_all(shapes).buffer(-2.5), x, y)
    assert (over[inside] == (*FILL, 255)).all()
    assert (over[..., 3] == 255).all()
    assert (under == drawn(city, seen, RasterItem("dom", (photo,)))).all()


def test_a_view_over_the_antimeridian_shows_both_sides(tmp_path):
    """A city on either side of 180 degrees."""
    folder = tmp_path / "twin"
    folder.mkdir()
    config.save(config.TwinConfig("edge", "EPSG:4490", 179.9, -17.0, 0.0), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4490")
    put(store, [shapely.box(179.9, -17.1, 179.95, -17.0), shapely.box(-179.98, -17.1, -179.9, -17.0)])
    store.close()
    seen = View("OGC:CRS84", (179.8, -17.2, 180.2, -16.9), 400, 300, wraps=True)
    with twin.open(folder) as city:
        pixels = drawn(city, seen)
        tag = drawing.Drawing(city, city.scope, (VectorItem("building"),), seen).tag()
    assert len(tag) == 32
    inside = pixels[..., 3] > 127
    columns = np.flatnonzero(inside[150])
    # 179.9 to 179.95 are columns 100 to 150, -179.98 to -179.9 are 220 to 300
    assert columns.min() == pytest.approx(100, abs=1)
    assert columns.max() == pytest.approx(300, abs=1)
    assert inside[150, 102:148].all()
    assert not inside[150, 153:217].any()
    assert inside[150, 223:297].all()
