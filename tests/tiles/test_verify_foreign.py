"""The checker against readers and files that we did not write."""

import json
import math

import mapbox_vector_tile
import meshopt
import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiles import verify_samples as samples
from tests.tiles.verify_samples import Builder, split
from tiles.verify import verify
from tiles.verify.findings import Findings
from tiles.verify.gltf_buffers import Buffers
from tiles.verify.gltf_scene import local_matrix
from tiles.verify.implicit import cell_volume, morton
from tiles.verify.mvt_geometry import read_paths
from tiles.verify.protobuf import BadProtobuf, fields, packed
from tiles.verify.terrain_file import check_terrain
from tiles.verify.terrain_walk import square
from tiles.verify.tilejson import _tile_of
from tiles.verify.volumes import Volume, ecef, geodetic

TO_ECEF = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


@pytest.mark.parametrize("name", "abcd")
def test_gltf_validator_finds_nothing_in_the_sound_samples(tmp_path, gltf_validator, name):
    samples.write_explicit(tmp_path / "set")
    issues = gltf_validator((tmp_path / f"set/{name}.glb").read_bytes())["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


# What the Khronos validator says of the same broken file: both see the fault.
SEEN_BY_BOTH = {
    "GLTF_MINMAX": {"ACCESSOR_MAX_MISMATCH", "MESH_PRIMITIVE_POSITION_ACCESSOR_WITHOUT_BOUNDS"},
    "GLTF_INDEX_RANGE": {"ACCESSOR_INDEX_OOB", "ACCESSOR_INDEX_PRIMITIVE_RESTART"},
    "GLTF_NORMAL_LENGTH": {"ACCESSOR_VECTOR3_NON_UNIT"},
    "GLTF_ACCESSOR_RANGE": {"ACCESSOR_TOO_LONG"},
    "GLTF_NODE_LOOP": {"NODE_LOOP", "NODE_PARENT_OVERRIDE", "SCENE_NON_ROOT_NODE"},
    "GLTF_NOT_FINITE": {"ACCESSOR_INVALID_FLOAT"},
    "GLTF_IMAGE": {"IMAGE_UNRECOGNIZED_FORMAT", "IMAGE_MIME_TYPE_INVALID", "IMAGE_DATA_INVALID"},
    "GLB_HEADER": {"GLB_LENGTH_MISMATCH", "GLB_INVALID_VERSION"},
    "GLB_CHUNK": {"GLB_CHUNK_TOO_BIG", "GLB_UNEXPECTED_FIRST_CHUNK"},
    "GLTF_ATTRIBUTE": {"MESH_PRIMITIVE_ATTRIBUTES_ACCESSOR_INVALID_FORMAT", "MESH_PRIMITIVE_UNEQUAL_ACCESSOR_COUNT"},
}  # fmt: skip


@pytest.mark.parametrize("code", SEEN_BY_BOTH)
def test_gltf_validator_sees_the_broken_ones_too(tmp_path, gltf_validator, code):
    from tests.tiles.verify_broken import BROKEN

    breaks = next(row[2] for row in BROKEN if row[0] == code)
    samples.write_explicit(tmp_path / "explicit")
    breaks(tmp_path)
    said = {each["code"] for each in gltf_validator((tmp_path / "explicit/a.glb").read_bytes())["issues"]["messages"]}
    assert said & SEEN_BY_BOTH[code]


@pytest.mark.parametrize("part", ["explicit", "implicit", "octree"])
def test_cesiums_tileset_validator_finds_nothing_in_the_sound_samples(tmp_path, tiles_validator, part):
    samples.WRITERS[part](tmp_path / part)
    assert tiles_validator(tmp_path / part) == []


SEEN_BY_CESIUM = {
    "TILE_CONTENT_VOLUME": "explicit", "TILESET_METADATA": "explicit", "METADATA_OFFSETS": "explicit",
    "FEATURES_RANGE": "explicit", "SUBTREE_COUNT": "implicit", "SUBTREE_HEADER": "implicit",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("code", SEEN_BY_CESIUM)
def test_cesiums_tileset_validator_sees_the_broken_ones_too(tmp_path, tiles_validator, code):
    from tests.tiles.verify_broken import BROKEN

    part = SEEN_BY_CESIUM[code]
    breaks = next(row[2] for row in BROKEN if row[0] == code and row[3] == part)
    samples.WRITERS[part](tmp_path / part)
    breaks(tmp_path)
    assert tiles_validator(tmp_path / part) != []


# ---------------------------------------------------------------------------------------------------- real files
REAL = {
    "tiles3d/SparseImplicitQuadtree": {},
    "tiles3d/FeatureIdAttributeAndPropertyTable": {},
    "tiles3d/RequestVolumeCity": {},
    # drawn by a program that rounds the box: 5 mm of points stick out of a unit box
    "tiles3d/MultipleContents": {"TILE_CONTENT_OUTSIDE": 1},
    "tiles3d/TreeBillboards": {"CONTENT_LEGACY": 2},
    "tiles3d/143.b3dm": {"GLTF_DRACO": 2},
    # pg2b3dm starts the views of its property table at multiples of 4, not of 8
    "tiles3d/pg2b3dm_3dbag_sibbe": {"METADATA_ALIGNMENT": 1},
    # each tile has its own height range: the shared edge is equal within 1.1 mm, not to the bit
    "terrain": {"TERRAIN_EDGE_INEXACT": 1},
    "bad/b3dm_truncated_half.b3dm": {"GLB_HEADER": 2, "GLB_CHUNK": 1, "GLTF_VIEW_RANGE": 4, "GLTF_DRACO": 2},
    "bad/terrain_truncated_half.terrain": {"TERRAIN_TRUNCATED": 1},
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_judged_rightly(realdata, name):
    assert verify(realdata / name).counts == REAL[name]


JUDGED_BY_NAME = {
    "assetVersion": "TILESET_VERSION",
    "boundingVolume": "TILE_VOLUME",
    "extensionsRequired": "TILESET_EXTENSIONS",
    "extensionsUsed": "TILESET_EXTENSIONS",
    "extensionRequiredButNotUsed": "TILESET_EXTENSIONS",
    "group": "TILESET_METADATA",
    "implicitTilingAvailableLevels": "IMPLICIT_STRUCTURE",
    "implicitTilingContentUriTemplate": "IMPLICIT_TEMPLATE",
    "implicitTilingRoot": "IMPLICIT_ROOT",
    "implicitTilingSubdivision": "IMPLICIT_STRUCTURE",
    "implicitTilingSubtreesInvalid": "IMPLICIT_STRUCTURE",
    "implicitTilingSubtreesUriMissing": "IMPLICIT_STRUCTURE",
    "implicitTilingSubtreesUriTemplate": "IMPLICIT_TEMPLATE",
    "implicitTilingWith": "IMPLICIT_ROOT",
    "invalidJson": "JSON_INVALID",
    "properties": "TILESET_STRUCTURE",
    "tileChildren": "TILESET_STRUCTURE",
    "tileContentBounding": "TILE_VOLUME",
    "tileContentGroup": "TILE_CONTENT",
    "tileGeometricErrorNegative": "TILE_ERROR",
    "tileGeometricErrorNot": "TILE_ERROR_GROWS",
    "tileInvalidType": "TILESET_STRUCTURE",
    "tileMetadata": "TILESET_METADATA",
    "tileRefine": "TILE_REFINE",
    "tileTransform": "TILE_TRANSFORM",
    "tilesetGeometricError": "TILE_ERROR",
    "tilesetMetadataEntity": "TILESET_METADATA",
}
"""How the names of the inputs of Cesium's own validator begin, and the rule that they break."""
PARTS_MISSING = {"MISSING", "OUTSIDE", "TILE_REFINE", "TILESET_EXTENSION_UNKNOWN"}
"""The inputs came without their contents; some of their roots have no `refine`."""


def test_the_inputs_of_cesiums_validator_are_judged_as_their_names_say(realdata):
    folder = realdata / "tiles3d/validator_tilesets"
    judged = 0
    for path in sorted(folder.glob("*.json")):
        wants = next((code for start, code in JUDGED_BY_NAME.items() if path.name.startswith(start)), None)
        if wants is not None:
            assert wants in verify(path).counts, path.name
            judged += 1
        elif path.name.startswith("valid"):
            assert set(verify(path).counts) <= PARTS_MISSING, path.name
            judged += 1
    assert judged >= 65


@pytest.fixture(scope="module")
def realdata():
    from pathlib import Path

    folder = Path(__file__).resolve().parents[3] / "shared" / "realdata"
    if not folder.is_dir():
        pytest.skip("../shared/realdata is not here")
    return folder


# ------------------------------------------------------------------------------------------------ other decoders
def test_terrain_is_decoded_as_quantized_mesh_tile_does(realdata):
    from quantized_mesh_tile import decode

    for name, place in (("13_8800_6485", (13, 8800, 6485)), ("13_8801_6485", (13, 8801, 6485))):
        path = realdata / f"terrain/{name}.terrain"
        west, south, east, north = np.degrees(square(*place))
        other = decode(str(path), [west, south, east, north], hasLighting=True)
        mine = check_terrain(Findings(), name, path.read_bytes(), None)
        assert (list(other.u), list(other.v), list(other.h)) == (mine.u.tolist(), mine.v.tolist(), mine.height.tolist())
        assert list(other.indices) == mine.triangles.ravel().tolist()
        assert list(other.westI) == mine.edges["west"].tolist()
        assert list(other.northI) == mine.edges["north"].tolist()
        assert (other.header["minimumHeight"], other.header["maximumHeight"]) == (mine.header.low, mine.header.high)


def test_vector_geometry_is_read_as_mapbox_vector_tile_does(tmp_path):
    samples.write_vector(tmp_path)
    data = (tmp_path / samples.VECTOR_TILE).read_bytes()
    other = mapbox_vector_tile.decode(data, default_options={"y_coord_down": True})["parcel"]["features"]
    layer = next(body for number, _, body in fields(memoryview(data)) if number == 3)
    mine = []
    for number, _, body in fields(layer):
        if number == 2:
            said = {each: value for each, _, value in fields(body)}
            mine.append(read_paths(said[3], packed(said[4])))
    assert [words for _, words in mine] == ["", "", ""]
    polygon, line, points = ([[list(point) for point in path] for path in paths] for paths, _ in mine)
    assert [[*ring, ring[0]] for ring in polygon] == other[0]["geometry"]["coordinates"]
    assert line == [other[1]["geometry"]["coordinates"]]
    assert points == [other[2]["geometry"]["coordinates"]]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=80))
def test_varints_are_those_of_the_definition(values):
    coded = b"".join(map(samples.varint, values))
    assert packed(memoryview(coded)) == values
    if coded:
        with pytest.raises(BadProtobuf):
            packed(memoryview(coded + b"\x80"))


def test_every_mode_and_filter_of_meshopt_is_undone():
    rng = np.random.default_rng(3)
    n = 60
    unit = rng.normal(size=(n, 4))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    normals = rng.normal(size=(n, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    floats = rng.normal(size=(n, 3)).astype("f4")
    colours = rng.uniform(size=(n, 4)).astype("f4")
    builder = Builder("EXT_meshopt_compression")
    shorts = rng.integers(0, 60000, (n, 4)).astype("u2")
    triangles = np.stack([np.arange(n - 2), np.arange(1, n - 1), np.arange(2, n)], 1).ravel()
    oct8 = meshopt.encode_filter_oct(np.c_[normals, np.ones(n)].astype("f4"), 4, 8)
    oct16 = meshopt.encode_filter_oct(np.c_[normals, np.ones(n)].astype("f4"), 8, 16)
    turns = meshopt.encode_filter_quat(unit.astype("f4"), 8, 16)
    powers = meshopt.encode_filter_exp(floats, 20)
    shades = meshopt.encode_filter_color(colours, 4, 8)
    cases = [
        (shorts, builder.packed(shorts, "ATTRIBUTES"), shorts, 0, False),
        (triangles.astype("u4"), builder.packed(triangles.astype("u4"), "TRIANGLES"), triangles[:, None], 0, False),
        (triangles.astype("u2"), builder.packed(triangles.astype("u2"), "INDICES"), triangles[:, None], 0, False),
        (np.zeros((n, 4), "i1"), builder.packed(oct8, "ATTRIBUTES", "OCTAHEDRAL"), normals, 0.02, True),
        (np.zeros((n, 4), "i2"), builder.packed(oct16, "ATTRIBUTES", "OCTAHEDRAL"), normals, 1e-3, True),
        (np.zeros((n, 4), "i2"), builder.packed(turns, "ATTRIBUTES", "QUATERNION"), unit, 1e-3, True),
        (floats, builder.packed(powers, "ATTRIBUTES", "EXPONENTIAL"), floats, 1e-4, False),
        (np.zeros((n, 4), "u1"), builder.packed(shades, "ATTRIBUTES", "COLOR"), colours, 0.02, True),
    ]  # fmt: skip
    for array, view, *_ in cases:
        builder.accessor(array, view=view, normalized=array.dtype.kind in "iu")
    document, binary = split(builder.bytes())
    findings = Findings()
    buffers = Buffers(findings, "a.glb", document, binary, lambda uri: b"")
    for i, (_, _, wants, tolerance, is_normalized) in enumerate(cases):
        made = buffers.floats(i) if is_normalized or wants is floats else buffers.array(i)
        made = made[:, : wants.shape[1]]
        if i == 1:  # the codec may begin a triangle at another corner
            made = np.array([np.roll(each, -int(each.argmin())) for each in made.reshape(-1, 3)]).reshape(-1, 1)
        if wants is unit:  # a quaternion and its opposite are one rotation
            made = made * np.sign((made * wants).sum(axis=1, keepdims=True))
        assert np.abs(made - wants).max() <= tolerance, i
    assert not findings.counts


# --------------------------------------------------------------------------------------------------------- places
lonlat = st.tuples(st.floats(-3.1, 3.1), st.floats(-1.55, 1.55), st.floats(-8000, 9000))


@given(lonlat)
def test_places_on_the_ellipsoid_are_those_of_proj(place):
    lon, lat, height = (np.array([each]) for each in place)
    made = ecef(lon, lat, height)
    wants = np.column_stack(TO_ECEF.transform(np.degrees(lon), np.degrees(lat), height))
    assert np.abs(made - wants).max() < 1e-6
    back = geodetic(made)
    assert abs(back[0][0] - place[0]) < 1e-12
    assert abs(back[1][0] - place[1]) < 1e-12
    assert abs(back[2][0] - place[2]) < 1e-6


numbers = st.floats(-1000, 1000)


@given(st.lists(numbers, min_size=3, max_size=3), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_what_is_inside_a_box_is_inside(centre, seed):
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(1, 50, 3)[:, None]
    box = Volume("box", np.array([*centre, *axes.ravel()]))
    inside = np.array(centre) + rng.uniform(-1, 1, (40, 3)) @ axes
    assert box.excess(inside) < 1e-9
    along = axes[0] / np.linalg.norm(axes[0])
    outside = np.array(centre) + axes[0] + along * 2.5
    assert box.excess(outside[None]) == pytest.approx(2.5, abs=1e-6)
    assert box.excess_of(box) < 1e-6
    moved = np.eye(4)
    moved[:3, 3] = [7, 8, 9]
    assert box.moved(moved).excess(inside + np.array([7, 8, 9])) < 1e-6


def test_a_region_across_the_antimeridian_holds_its_points():
    region = Volume("region", np.array([3.0, -0.1, -3.0, 0.1, 0.0, 100.0]))
    at = np.array([[3.1, 0.0, 50.0], [-3.1, 0.05, 10.0], [math.pi, 0, 0]]).T
    assert region.excess(ecef(*at)) < 1e-5
    assert region.excess(ecef(np.array([2.9]), np.array([0.0]), np.array([50.0]))) > 600_000
    assert region.excess_of(region) < 1e-5


@given(st.integers(0, 6), st.data())
def test_cells_of_an_implicit_tree_tile_their_parent(level, data):
    x, y, z = (data.draw(st.integers(0, 2**level - 1)) for _ in range(3))
    root = Volume("box", np.array([10, 20, 30, 8, 0, 0, 0, 16, 0, 0, 0, 4], float))
    cell = cell_volume(root, (level, x, y, z), is_octree=True)
    low = np.array([2, 4, 26]) + np.array([x, y, z]) * np.array([16, 32, 8]) / 2**level
    assert np.allclose(cell.points().min(axis=0), low)
    assert np.allclose(np.ptp(cell.points(), axis=0), np.array([16, 32, 8]) / 2**level)
    code = int("".join(f"{z >> bit & 1}{y >> bit & 1}{x >> bit & 1}" for bit in reversed(range(level))) or "0", 2)
    assert morton(code, level, 3) == (x, y, z)
    flat = int("".join(f"{y >> bit & 1}{x >> bit & 1}" for bit in reversed(range(level))) or "0", 2)
    assert morton(flat, level, 2) == (x, y, 0)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_node_rotations_are_those_of_scipy(quaternion):
    from scipy.spatial.transform import Rotation

    unit = (np.array(quaternion) / np.linalg.norm(quaternion)).tolist()
    made = local_matrix({"rotation": unit, "translation": [1, 2, 3], "scale": [2, 3, 4]})
    assert np.allclose(made[:3, :3], Rotation.from_quat(unit).as_matrix() @ np.diag([2, 3, 4]))
    assert made[:3, 3].tolist() == [1, 2, 3]


@given(st.floats(-179.9, 179.9), st.floats(-84.9, 84.9), st.integers(0, 20))
def test_tiles_of_a_place_are_those_of_morecantile(lon, lat, zoom):
    import morecantile

    tile = morecantile.tms.get("WebMercatorQuad").tile(lon, lat, zoom)
    assert _tile_of(lon, lat, zoom) == (tile.x, tile.y)


def test_terrain_squares_are_those_of_the_grid():
    west, south, east, north = np.degrees(square(13, 8800, 6485))
    assert (west, south) == pytest.approx((8800 * 180 / 2**13 - 180, 6485 * 180 / 2**13 - 90), abs=1e-9)
    assert (east - west, north - south) == pytest.approx((180 / 2**13, 180 / 2**13), abs=1e-9)
    west, south, east, north = np.degrees(square(3, 6, 4, mercator=True))
    to = pyproj.Transformer.from_crs("EPSG:3857", "EPSG:4326", always_xy=True)
    side = 2 * math.pi * 6378137 / 8
    wants = to.transform([6 * side - 4 * side, 7 * side - 4 * side], [0, side])
    assert (west, east) == pytest.approx(wants[0], abs=1e-9)
    assert (south, north) == pytest.approx(wants[1], abs=1e-6)


def test_a_report_is_json(tmp_path):
    samples.write_explicit(tmp_path / "set")
    assert json.loads(json.dumps(verify(tmp_path / "set").to_dict()))["clean"] is True
