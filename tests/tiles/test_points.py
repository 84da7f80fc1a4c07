"""Point tiles: every point of a file in exactly one tile, at its place by PROJ, with its colour and values."""

import json
from itertools import pairwise

import laspy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.errors import InvalidInput, NotFound, Unplaceable
from tests.tiles import point_clouds as clouds
from tiles.points import classes, cloud, colour, copc, encode, tileset
from tiles.points.tileset import Choice
from twin.config import TwinConfig

N = 90_000
BOUND_M = {"compact": encode.COARSEST_STEP_M / 2, "compat": 2e-5}
ROUNDING_M = 2e-6
"""Of geocentric coordinates in float64, and of PROJ against our own formulas."""


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """90,000 points with colours, several levels deep: file, city, cloud."""
    folder = tmp_path_factory.mktemp("cloud")
    rng = np.random.default_rng(1)
    bands = {band: rng.integers(0, 65536, N).astype(np.uint16) for band in ("red", "green", "blue")}
    returns = rng.integers(1, 6, N).astype(np.uint8)
    path = clouds.write_las(folder / "town.laz", clouds.hills(N), return_number=returns, **bands)
    return (laspy.read(path), *clouds.opened(folder, path))


def assert_same_points(las, tiles, transform, bound_m, source_crs="EPSG:4549", **how):
    order = clouds.ids(tiles)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(las.points)))
    true = clouds.expected_ecef(np.stack([las.x, las.y, las.z], axis=1), source_crs, **how)
    # the grid is along the frame's axes
    off = (clouds.ecef(tiles, transform) - true[order]) @ transform[:3, :3]
    assert np.abs(off).max() <= bound_m + ROUNDING_M
    return order


@pytest.mark.parametrize("form", ["compact", "compat"])
def test_every_point_is_in_one_tile_at_its_place_with_its_values(town, form):
    las, city, made = town
    tiles, transform = clouds.walk(city, made, Choice(form))
    assert max(tile.depth for tile in tiles) >= 1
    order = assert_same_points(las, tiles, transform, BOUND_M[form])
    for band, name in enumerate(("red", "green", "blue")):
        srgb = np.asarray(las[name]) / 65535
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        np.testing.assert_array_equal(clouds.joined(tiles, "COLOR_0")[:, band], np.rint(linear * 255)[order])
    for attribute, name in (("_RETURN_NUMBER", "return_number"), ("_NUMBER_OF_RETURNS", "number_of_returns")):
        np.testing.assert_array_equal(clouds.joined(tiles, attribute), np.asarray(las[name])[order])


def test_boxes_hold_their_points_and_tiles_name_their_cloud(town):
    _, city, made = town
    tiles, _ = clouds.walk(city, made)
    for tile in tiles:
        low, high = clouds.ends(tile.box)
        assert (tile.content["enu"] >= low).all()
        assert (tile.content["enu"] <= high).all()
        said = tile.content["document"]["asset"]["extras"]
        assert said == {"layer": "point_cloud", "asset": "cloud", "node": tile.address.removesuffix(".glb")}


def test_boxes_are_tight(town):
    """The root's box is hardly larger than the points' own."""
    _, city, made = town
    tiles, _ = clouds.walk(city, made)
    enu = clouds.joined(tiles, "enu")
    low, high = clouds.ends(next(tile.box for tile in tiles if tile.depth == 0))
    # the grid's north is turned against the frame's by the convergence
    assert ((high - low) - np.ptp(enu, axis=0) < 1.0).all()


@pytest.mark.parametrize("form", ["compact", "compat"])
@pytest.mark.parametrize("only", [None, frozenset({0}), frozenset({77})])
def test_the_validator_finds_nothing(town, gltf_validator, form, only):
    _, _, made = town
    report = gltf_validator(tileset.content(made, Choice(form, classes=only), (0, 0, 0, 0))())
    assert (report["issues"]["numErrors"], report["issues"]["numWarnings"]) == (0, 0), report["issues"]["messages"]


def test_packed_tiles_are_smaller(town):
    _, _, made = town
    compact, compat = (len(tileset.content(made, Choice(form), (0, 0, 0, 0))()) for form in ("compact", "compat"))
    assert compact < 0.4 * compat


def test_a_large_tree_is_split_into_documents(town, monkeypatch):
    las, city, made = town
    monkeypatch.setattr(tileset, "MAX_TILES", 4)
    monkeypatch.setattr(tileset, "INLINE_TILES", 0)
    n_inside = tileset.document(city, made, Choice()).decode().count(".json")
    assert n_inside == (made.tree.keys[:, 0] == 1).sum() > 1
    tiles, transform = clouds.walk(city, made, Choice("compat"))
    assert_same_points(las, tiles, transform, BOUND_M["compat"])


@pytest.mark.parametrize("color", colour.COLOURS)
def test_colours_follow_the_values_alike_in_all_tiles(town, color):
    las, city, made = town
    tiles, _ = clouds.walk(city, made, Choice("compat", color))
    order, rgb = clouds.ids(tiles), clouds.joined(tiles, "COLOR_0")[:, :3].astype(int)
    assert (clouds.joined(tiles, "COLOR_0")[:, 3] == 255).all()
    if color == "rgb":
        return  # compared above
    values = {
        "class": las.classification, "return": las.return_number, "height": las.z, "intensity": las.intensity,
    }[color]  # fmt: skip
    values = np.asarray(values, float)[order]
    if color in {"class", "return"}:
        assert len({(value, *row) for value, row in zip(values, rgb.tolist(), strict=True)}) == len(np.unique(values))
        return
    low, high = json.loads(tileset.document(city, made, Choice("compat", color)))["asset"]["extras"]["range"]
    assert np.ptp(values) * 0.9 < high - low <= np.ptp(values)
    assert len(np.unique(rgb[values <= low], axis=0)) == 1
    assert len(np.unique(rgb[values >= high], axis=0)) == 1
    if color == "intensity":
        assert (np.diff(rgb[np.argsort(values)].sum(axis=1)) >= 0).all()


def test_a_legend_says_what_the_colours_mean(town):
    _, city, made = town
    said = json.loads(tileset.document(city, made, Choice(color="class")))["asset"]["extras"]
    assert said["colors"] == list(colour.COLOURS)
    assert [(row["value"], row["title"]["zh"]) for row in said["classes"]] == [(0, "从未分类"), (1, "未分类")]
    glb = clouds.read_glb(tileset.content(made, Choice("compat", "class"), (0, 0, 0, 0))())
    shown = np.unique(glb["COLOR_0"][glb["_CLASSIFICATION"] == 0][:, :3], axis=0)
    srgb = np.array([int(said["classes"][0]["color"][i : i + 2], 16) for i in (1, 3, 5)]) / 255
    np.testing.assert_array_equal(shown, [np.rint(255 * ((srgb + 0.055) / 1.055) ** 2.4)])


@pytest.mark.parametrize("form", ["compact", "compat"])
def test_each_class_is_a_feature_with_its_names(town, form):
    """The property table, decoded by the rules of the binary format."""
    _, _, made = town
    document, body = clouds.chunks(tileset.content(made, Choice(form), (0, 0, 0, 0))())
    [primitive] = document["meshes"][0]["primitives"]
    assert primitive["attributes"]["_FEATURE_ID_0"] == primitive["attributes"]["_CLASSIFICATION"]
    [ids] = primitive["extensions"]["EXT_mesh_features"]["featureIds"]
    assert ids == {"featureCount": 2, "attribute": 0, "propertyTable": 0}
    metadata = document["extensions"]["EXT_structural_metadata"]
    [table] = metadata["propertyTables"]
    properties = metadata["schema"]["classes"][table["class"]]["properties"]
    assert properties.keys() == table["properties"].keys()
    starts = len(chunk_before(document, made, form))

    def view(number):
        view = document["bufferViews"][number]
        assert (view["buffer"], (starts + view["byteOffset"]) % 8) == (0, 0)
        return body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]

    assert list(view(table["properties"]["classification"]["values"])) == [0, 1]
    names = table["properties"]["name_zh"]
    offsets = np.frombuffer(view(names["stringOffsets"]), "<u2")
    assert names["stringOffsetType"] == "UINT16"
    text = view(names["values"])
    assert [text[a:b].decode() for a, b in pairwise(offsets)] == ["从未分类", "未分类"]
    for name, value in (("layer", "point_cloud"), ("asset", "cloud")):
        assert list(view(table["properties"][name]["values"])) == [0, 0]
        assert metadata["schema"]["enums"][name]["values"] == [{"name": value, "value": 0}]


def chunk_before(document, made, form):
    """What stands before the BIN chunk's content."""
    glb = tileset.content(made, Choice(form), (0, 0, 0, 0))()
    return glb[: len(glb) - document["buffers"][0]["byteLength"]]


def test_dark_colours_come_back_as_nearly_as_said():
    """By the inverse of IEC 61966-2-1."""
    records = np.zeros(256, [(band, "<u2") for band in ("red", "green", "blue")])
    for band in ("red", "green", "blue"):
        records[band] = np.arange(256) * 257
    known = colour.Facts(65535, None, None, {})
    linear = colour.linear("rgb", records, np.zeros(256), known)[:, 0] / 255
    srgb = 255 * np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    off = np.abs(srgb - np.arange(256))
    assert [off[first:].max() <= most for first, most in ((73, 1), (18, 4), (0, 6))] == [True] * 3


def test_classes_are_told_apart_from_each_other():
    assert len(np.unique(classes.class_colours()[:64], axis=0)) == 64
    assert classes.class_title(6).en == "Building"
    assert classes.class_title(70).en == "User defined 70"


@pytest.mark.parametrize("only", [{0}, {1}, {0, 1}])
def test_a_filter_shows_these_classes_and_all_of_them(town, only):
    las, city, made = town
    choice = Choice("compat", None, frozenset(only))
    tiles, _ = clouds.walk(city, made, choice)
    expected = np.flatnonzero(np.isin(las.classification, list(only)))
    np.testing.assert_array_equal(np.sort(clouds.ids(tiles)), expected)
    assert choice.query in tileset.document(city, made, choice).decode()


def test_a_class_that_is_not_there_is_named(town):
    _, city, made = town
    with pytest.raises(NotFound, match="There are: 0, 1"):
        tileset.document(city, made, Choice(classes=frozenset({9})))


def test_a_node_that_is_not_there_is_named(town):
    _, _, made = town
    for ask in (tileset.content, tileset.branch):
        with pytest.raises(NotFound, match="9-1-1-1"):
            ask(made, Choice(), (9, 1, 1, 1))


@pytest.mark.parametrize("epsg", [2326, 32651, 3857, 4550])
def test_another_crs_reaches_its_true_place(tmp_path, epsg):
    """Hong Kong 1980, UTM, Mercator, a neighbour zone: by PROJ through the city's CRS, as every layer goes."""
    from pyproj import Transformer

    lon_lat = {2326: (114.17, 22.3), 4550: (121.6, 28.1)}.get(epsg, (121.0, 28.1))
    x, y = Transformer.from_crs("EPSG:4326", epsg, always_xy=True).transform(*lon_lat)
    xyz = clouds.hills(3000, 60.0, low=(round(x), round(y)))
    path = clouds.write_las(tmp_path / "there.las", xyz, epsg=epsg)
    config = TwinConfig("hk", "EPSG:2326", 114.17, 22.3, height_model={"constant_m": 12.5}) if epsg == 2326 else None
    city, made = clouds.opened(tmp_path, path, config=config)
    tiles, transform = clouds.walk(city, made, Choice("compat"))
    las = laspy.read(path)
    bound_m = 0.001 if epsg == 3857 else BOUND_M["compat"]
    assert_same_points(las, tiles, transform, bound_m, made.asset.crs)


def test_feet_and_a_height_datum_in_feet(tmp_path):
    from pyproj import Transformer

    x, y = Transformer.from_crs("EPSG:4326", "EPSG:2263", always_xy=True).transform(-73.98, 40.75)
    path = clouds.write_las(
        tmp_path / "feet.las", clouds.hills(2000, 300.0, low=(round(x), round(y))), epsg="EPSG:2263"
    )
    config = TwinConfig(
        "york", "EPSG:6538", -73.98, 40.75, vertical_crs="EPSG:5703", height_model={"constant_m": 12.5}
    )  # fmt: skip
    city, made = clouds.opened(tmp_path, path, config=config, vertical_crs="EPSG:6360")
    tiles, transform = clouds.walk(city, made, Choice("compat"))
    us_foot = 1200 / 3937
    las = laspy.read(path)
    # EPSG:2263 (feet) and 6538 (metres) have datums of one shape
    assert_same_points(las, tiles, transform, 0.001, made.asset.crs, to_normal=lambda z: np.asarray(z) * us_foot)
    assert made.tree.errors[0] == pytest.approx(made.copc.header.spacing * us_foot)


def test_degrees(tmp_path):
    rng = np.random.default_rng(3)
    xyz = np.stack([121 + rng.random(40_000) / 500, 28.1 + rng.random(40_000) / 500, rng.random(40_000) * 60], axis=1)
    path = clouds.write_las(tmp_path / "degrees.las", xyz, epsg=4326, scale=(1e-8, 1e-8, 1e-3))
    city, made = clouds.opened(tmp_path, path)
    tiles, transform = clouds.walk(city, made, Choice("compact"))
    assert_same_points(laspy.read(path), tiles, transform, BOUND_M["compact"], "EPSG:4326")


@pytest.mark.parametrize(
    ("hints", "added"), [({"vertical_offset_m": -3.25}, -3.25), ({"vertical_crs": "EPSG:5737"}, 0.0)]
)
def test_heights_go_through_the_datum_of_the_file(tmp_path, hints, added):
    path = clouds.write_las(tmp_path / "high.las", clouds.hills(1500))
    city, made = clouds.opened(tmp_path, path, **hints)
    tiles, transform = clouds.walk(city, made, Choice("compat"))
    assert_same_points(laspy.read(path), tiles, transform, BOUND_M["compat"], to_normal=lambda z: np.asarray(z) + added)


def test_ellipsoidal_heights_stay_what_they_are(tmp_path):
    path = clouds.write_las(tmp_path / "gnss.las", clouds.hills(1500))
    city, made = clouds.opened(tmp_path, path, vertical_crs="EPSG:4979")
    tiles, transform = clouds.walk(city, made, Choice("compat"))
    minus = clouds.UNDULATION_M
    assert_same_points(laspy.read(path), tiles, transform, BOUND_M["compat"], to_normal=lambda z: np.asarray(z) - minus)


def test_heights_of_an_unknown_datum_are_refused(tmp_path):
    path = clouds.write_las(tmp_path / "navd.las", clouds.hills(100))
    with pytest.raises(Unplaceable, match="vertical_offset_m"):
        clouds.opened(tmp_path, path, vertical_crs="EPSG:5703")


@pytest.mark.parametrize("case", ["plain", "classified", "dark", "eight_bits", "one_point"])
def test_colours_that_a_cloud_has_not_are_replaced(tmp_path, case):
    n = 1 if case == "one_point" else 500
    more = {"classification": np.resize(np.array([2, 6], np.uint8), n)} if case == "classified" else {}
    if case == "eight_bits":
        more = {band: np.resize(np.array([0, 128, 255], np.uint16), n) for band in ("red", "green", "blue")}
    format_id = 7 if case in {"dark", "eight_bits"} else 6
    path = clouds.write_las(tmp_path / "c.las", clouds.hills(n), format_id=format_id, **more)
    city, made = clouds.opened(tmp_path, path)
    expected = {"classified": "class", "eight_bits": "rgb"}.get(case, "height")
    for asked in (None, "rgb"):
        said = json.loads(tileset.document(city, made, Choice("compat", asked)))["asset"]["extras"]
        assert said["color"] == expected
    glb = clouds.read_glb(tileset.content(made, Choice("compat", "rgb"), (0, 0, 0, 0))())
    assert len(glb["enu"]) == n
    if case == "eight_bits":
        np.testing.assert_array_equal(
            np.unique(glb["COLOR_0"][:, 0]), [0, round(255 * ((128 / 255 + 0.055) / 1.055) ** 2.4), 255]
        )


@given(
    spacing_m=st.floats(1e-9, 1e6), scale_m=st.floats(1e-9, 100), reach_m=st.floats(0, 1e7),
)  # fmt: skip
def test_the_step_fits_24_bits_and_moves_no_point_further_than_said(spacing_m, scale_m, reach_m):
    step = encode.step_m(spacing_m, scale_m, reach_m)
    assert np.log2(step) == np.rint(np.log2(step))
    assert reach_m / step <= 2**23 - 1
    if reach_m < 30_000:
        assert step <= encode.COARSEST_STEP_M
        assert step / 2 <= max(scale_m / 2, spacing_m / 128, reach_m * 2**-22)


def test_a_scan_of_a_room_keeps_its_millimetres(tmp_path):
    xyz = np.random.default_rng(0).random((3000, 3)) + np.array([597000, 3109000, 0])
    path = clouds.write_las(tmp_path / "room.las", xyz, scale=0.0001)
    city, made = clouds.opened(tmp_path, path)
    tiles, transform = clouds.walk(city, made)
    assert_same_points(laspy.read(path), tiles, transform, 0.0001)


# broken files


@pytest.fixture
def file(town, tmp_path):
    data = bytearray(town[2].copc.path.read_bytes())
    return data, tmp_path / "broken.copc.laz"


def broken(file, change):
    data, path = file
    data = change(data) or data
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"broken\.copc\.laz cannot be read") as told:
        copc.Copc(path)
    assert told.value.code == "POINTS_UNREADABLE"
    return str(told.value)


def put(at, value):
    def change(data):
        data[at : at + len(value)] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:100], "no LAS"), (lambda data: data[:20_000], "hierarchy"),
        (lambda data: data[:-40], "not whole"), (put(0, b"LAZF"), "no LAS"), (put(377, b"nope"), "not COPC"),
        (put(104, b"\x83"), "point format"), (put(105, b"\x05\x00"), "point format"),
        (put(131, b"\0" * 8), "place nothing"), (put(247, b"\1" * 8), "its header says"),
        (put(429 + 40, b"\xff" * 8), "hierarchy"), (put(429 + 48, b"\x07" + b"\0" * 7), "page"),
        (put(429 + 24, b"\0" * 6 + b"\xf8\x7f"), "place nothing"),
    ],
)  # fmt: skip
def test_a_broken_file_is_told_by_name(file, change, words):
    assert words in broken(file, change)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (0, 3, "outside its tree|twice|no root"), (16, 2**40, "beyond the end"), (24, -5, "impossible"),
        (28, 2**30, "impossible"), (28, -7, "impossible"), (4, 1, "no root"),
    ],
)  # fmt: skip
def test_a_broken_hierarchy_is_told(file, field, value, words):
    import re

    data, _ = file
    at = int.from_bytes(data[429 + 40 : 429 + 48], "little") + field
    width = 8 if field == 16 else 4
    assert re.search(words, broken(file, put(at, int(value).to_bytes(width, "little", signed=value < 0))))


def test_a_page_that_leads_to_itself_ends(file):
    data, _ = file
    root, size = (int.from_bytes(data[429 + 40 + i : 429 + 48 + i], "little") for i in (0, 8))
    entry = root.to_bytes(8, "little") + size.to_bytes(4, "little") + (-1).to_bytes(4, "little", signed=True)
    assert "wrong" in broken(file, put(root + 48, entry))


def test_sizes_in_a_node_are_not_believed(file, town):
    """3,000 bytes of garbage made the decoder take 4 GB."""
    data, path = file
    put(int(town[2].copc.hierarchy.offsets[0]), b"\xff" * 3000)(data)
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match="node 0-0-0-0: it is not packed as its hierarchy says"):
        copc.Copc(path).node(0)


@pytest.mark.parametrize("seed", range(8))
def test_garbage_in_a_node_ends_in_points_or_one_sentence(file, town, seed):
    """Garbage behind the sizes may decode to anything, but to no other number of points and no other error."""
    data, path = file
    hierarchy = town[2].copc.hierarchy
    rng = np.random.default_rng(seed)
    first, n_bytes = int(hierarchy.offsets[0]) + 100, int(hierarchy.n_bytes[0]) - 100
    put(first, rng.integers(0, 256, n_bytes, np.uint8).tobytes())(data)
    path.write_bytes(data)
    try:
        n_points = len(copc.Copc(path).node(0))
    except InvalidInput as error:
        n_points, said = int(hierarchy.n_points[0]), str(error)
        assert "node 0-0-0-0" in said
    assert n_points == hierarchy.n_points[0]


def test_a_file_that_is_gone_is_told(town, tmp_path):
    _, _, made = town
    with pytest.raises(InvalidInput, match="cannot be read"):
        cloud.opened(clouds.PointCity(tmp_path), made.asset)
