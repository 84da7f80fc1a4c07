"""3D Tiles sets: what is adopted, named, refused; places against pyproj, real files as the manifest says."""

import gzip
import json
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import module_of, scan
from ingest.tileset import reader as tileset
from layers.errors import CityTwinError, InvalidInput, Unplaceable
from layers.geocentric import ecef_to_geodetic, local_to_ecef
from layers.source import Hints
from tests.ingest import tile_files as files
from tests.ingest.conftest import manifest

LON, LAT, HEIGHT = 121.0, 28.1, 40.0
PLACE = {"lon": LON, "lat": LAT, "height": HEIGHT}
METRE_LAT, METRE_LON = 1 / 110_829, 1 / 98_263  # degrees at 28.1 N, to 0.02 %


def adopted(path, target, **hints):
    reading = tileset.read(path, Hints(root=path.parent.parent, **hints))
    (layer,) = reading.layers
    issues = [*reading.issues, *layer.write(target)]
    return reading, layer, [each for each in issues if each.code != "TILES_UNUSED"]


def codes(issues):
    return [issue.code for issue in issues]


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_geocentric_coordinates_go_both_ways_as_pyproj_has_them():
    draw = np.random.default_rng(1)
    lonlath = draw.uniform((-180, -90, -10_000), (180, 90, 1_000_000), (2000, 3))
    xyz = np.stack(files.GEOCENTRIC.transform(*lonlath.T), axis=1)
    back = ecef_to_geodetic(xyz)
    assert np.abs(back[:, :2] - lonlath[:, :2]).max() < 1e-9
    assert np.abs(back[:, 2] - lonlath[:, 2]).max() < 1e-5
    ours = local_to_ecef(LON, LAT, HEIGHT)
    assert ours.T.ravel() == pytest.approx(files.enu_matrix(LON, LAT, HEIGHT), abs=1e-6)
    east = local_to_ecef(LON, LAT, HEIGHT, 90.0)[:3, 1]  # its own north, turned clockwise to the east
    assert east == pytest.approx(local_to_ecef(LON, LAT, HEIGHT)[:3, 0], abs=1e-12)


def test_a_set_is_one_source_with_all_its_files_under_their_names(tmp_path):
    folder = tmp_path / "in" / "town"
    files.write_set(folder)
    (folder / "notes.geojson").write_text("{}")
    sources = {each.name: each for each in scan.sources(tmp_path / "in")}
    assert set(sources) == {"town/tileset.json", "town/notes.geojson"}
    assert len(sources["town/tileset.json"].parts) == 4
    reading, layer, issues = adopted(folder / "tileset.json", tmp_path / "out")
    assert issues == []
    assert names(tmp_path / "out") == [name for name in names(folder) if name != "notes.geojson"]
    for name in names(tmp_path / "out"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    assert (layer.kind, layer.layer_type, layer.crs, layer.vertical_crs) == (
        "tileset", "tileset", "EPSG:4979", "EPSG:4979",
    )  # fmt: skip
    west, south, east, north = layer.bounds
    assert (west, east) == pytest.approx((LON - 5 * METRE_LON, LON + 5 * METRE_LON), abs=2e-8)
    assert (south, north) == pytest.approx((LAT - 10 * METRE_LAT, LAT + 10 * METRE_LAT), abs=2e-8)
    assert layer.meta["height_m"] == pytest.approx([40, 70], abs=0.01)
    assert (layer.meta["files"], layer.meta["version"]) == (4, "1.0")
    assert reading.certificate.method == "geocentric"
    assert reading.certificate.parameters["ellipsoidal_heights_m"] == pytest.approx([40, 70], abs=0.01)


def test_what_no_tile_refers_to_is_named(tmp_path):
    files.write_set(tmp_path / "set")
    (tmp_path / "set" / "Data" / "left.b3dm").write_bytes(b"b3dm")
    layer = tileset.read(tmp_path / "set" / "tileset.json", Hints()).layers[0]
    (issue,) = layer.write(tmp_path / "out")
    assert (issue.code, issue.severity, "Data/left.b3dm" in issue.message) == ("TILES_UNUSED", "info", True)


def test_a_set_named_otherwise_owns_the_tiles_below_it(tmp_path):
    folder = tmp_path / "in" / "倾斜摄影"
    files.write_set(folder)
    (folder / "tileset.json").rename(folder / "Production_1.json")
    (source,) = scan.sources(tmp_path / "in")
    assert (source.name, len(source.parts)) == ("倾斜摄影/Production_1.json", 4)
    assert module_of(source.path) == "tileset.reader"
    reading = tileset.read(source.path, Hints(root=tmp_path / "in"))
    assert reading.layers[0].layer_type == "oblique_model"


@pytest.mark.parametrize("kind", ["box", "sphere", "region"])
def test_every_bounding_volume_leads_to_the_same_place(tmp_path, kind):
    document = files.tileset(LON, LAT, HEIGHT)
    if kind == "sphere":
        document["root"]["boundingVolume"] = {"sphere": [0, 0, 15, 20]}
    if kind == "region":  # not touched by the transform
        angles = files.radians(LON - 20 * METRE_LON, LAT - 20 * METRE_LAT, LON + 20 * METRE_LON, LAT + 20 * METRE_LAT)
        document["root"]["boundingVolume"] = {"region": [*angles, 35, 75]}
    (tmp_path / "tileset.json").write_text(json.dumps(document))
    layer = tileset.read(tmp_path / "tileset.json", Hints()).layers[0]
    half = (5, 10) if kind == "box" else (20, 20)
    expected = [
        LON - half[0] * METRE_LON,
        LAT - half[1] * METRE_LAT,
        LON + half[0] * METRE_LON,
        LAT + half[1] * METRE_LAT,
    ]
    assert layer.bounds == pytest.approx(expected, abs=0.2 * half[1] * METRE_LAT if kind == "sphere" else 3e-8)
    low_high = {"box": [40, 70], "sphere": [35, 75], "region": [35, 75]}[kind]
    assert layer.meta["height_m"] == pytest.approx(low_high, abs=0.6)


def test_broken_missing_and_foreign_files_are_named_and_the_rest_is_kept(tmp_path):
    folder = tmp_path / "set"
    files.write_set(folder)
    whole = files.b3dm(files.glb())
    bad = {
        "short.b3dm": whole[:-200], "version.b3dm": whole[:4] + b"\7" + whole[5:], "empty.glb": b"",
        "text.pnts": b"<html>404 not found</html>", "inner.cmpt": files.cmpt(whole)[:200],
        "json.b3dm": whole.replace(b"BATCH_LENGTH", b'BATCH"LENGTH', 1),
    }  # fmt: skip
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    (tmp_path / "secret.b3dm").write_bytes(whole)
    (folder / "link.b3dm").symlink_to(tmp_path / "secret.b3dm")
    foreign = [
        "../secret.b3dm",
        "/etc/passwd",
        "http://example.com/a.b3dm",
        "//example.com/a.glb",
        "file:///etc/passwd",
    ]
    foreign += ["a/../../secret.b3dm", "%2e%2e/secret.b3dm", "..\\secret.b3dm"]
    uris = [*bad, *foreign, "link.b3dm", "gone.glb", "Data/Tile_1/a.b3dm"]
    (folder / "tileset.json").write_text(json.dumps(files.tileset(LON, LAT, HEIGHT, *uris)))
    _, _, issues = adopted(folder / "tileset.json", tmp_path / "out")
    told = {issue.where.split()[0]: issue.code for issue in issues if issue.severity == "error"}
    assert {name: told.get(name) for name in bad} == {
        "short.b3dm": "TILE_TRUNCATED", "version.b3dm": "TILE_BROKEN", "empty.glb": "TILE_FORMAT",
        "text.pnts": "TILE_FORMAT", "inner.cmpt": "TILE_TRUNCATED", "json.b3dm": "TILE_BROKEN",
    }  # fmt: skip
    assert codes(issues).count("TILE_OUTSIDE") == len(foreign)
    assert codes(issues).count("TILE_MISSING") == 2  # the link leads out: it is not there
    assert names(tmp_path / "out") == ["Data/Tile_1/a.b3dm", "tileset.json"]


def test_documents_in_a_circle_are_left_out_and_a_set_of_itself_is_refused(tmp_path):
    for name, target in (("a", "b"), ("b", "c"), ("c", "b")):
        document = files.tileset(LON, LAT, HEIGHT, f"{target}.json")
        (tmp_path / f"{'tileset' if name == 'a' else name}.json").write_text(json.dumps(document))
    _, _, issues = adopted(tmp_path / "tileset.json", tmp_path / "out")
    (issue,) = issues
    assert issue.code == "TILESET_CYCLE"
    assert "b.json -> c.json -> b.json" in issue.message
    assert names(tmp_path / "out") == ["b.json", "tileset.json"]
    (tmp_path / "tileset.json").write_text(json.dumps(files.tileset(LON, LAT, HEIGHT, "tileset.json")))
    with pytest.raises(InvalidInput, match="refers to itself"):
        adopted(tmp_path / "tileset.json", tmp_path / "again")


def test_i3dm_with_an_external_model_and_a_gltf_with_its_parts_bring_them(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "tree.glb").write_bytes(files.glb())
    (tmp_path / "a.i3dm").write_bytes(files.i3dm(b"m/tree.glb", [(0, 0, 0)], form=0))
    model = {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": "x.bin", "byteLength": 1}],
        "images": [{"uri": "../up.png"}],
    }
    (tmp_path / "m" / "b.gltf").write_text(json.dumps(model))
    (tmp_path / "m" / "x.bin").write_bytes(b"1")
    (tmp_path / "up.png").write_bytes(b"2")
    (tmp_path / "tileset.json").write_text(
        json.dumps(files.tileset(LON, LAT, HEIGHT, "a.i3dm", "m/b.gltf", version="1.1"))
    )
    _, _, issues = adopted(tmp_path / "tileset.json", tmp_path / "out")
    assert issues == []
    assert names(tmp_path / "out") == ["a.i3dm", "m/b.gltf", "m/tree.glb", "m/x.bin", "tileset.json", "up.png"]


def test_tiles_packed_with_gzip_are_unpacked(tmp_path):
    files.write_set(tmp_path / "set")
    path = tmp_path / "set" / "Data" / "Tile_1" / "a.b3dm"
    plain = path.read_bytes()
    path.write_bytes(gzip.compress(plain))
    _, _, issues = adopted(tmp_path / "set" / "tileset.json", tmp_path / "out")
    assert issues == []
    assert (tmp_path / "out" / "Data" / "Tile_1" / "a.b3dm").read_bytes() == plain
    path.write_bytes(gzip.compress(plain)[:-30])
    _, _, issues = adopted(tmp_path / "set" / "tileset.json", tmp_path / "again")
    assert codes(issues) == ["TILE_BROKEN"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 93])
def test_an_archive_is_unpacked_whatever_its_method(tmp_path, method):
    folder = tmp_path / "set"
    files.write_set(folder)
    path = tmp_path / "town.3tz"
    (write_zstd if method == 93 else write_zip)(path, folder, method)
    reading, layer, issues = adopted(path, tmp_path / "out")
    assert issues == []
    assert names(tmp_path / "out") == names(folder)
    for name in names(folder):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    assert layer.bounds == tileset.read(folder / "tileset.json", Hints()).layers[0].bounds
    assert reading.format == "3D Tiles 1.0"


def write_zip(path, folder, method):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names(folder):
            archive.write(folder / name, name)


def write_zstd(path, folder, method):
    """zstd entries by hand: stored entries whose method number is changed afterwards (APPNOTE 4.3.7, 4.3.12)."""
    import zlib

    import pyarrow as pa

    with zipfile.ZipFile(path, "w") as archive:
        for name in names(folder):
            archive.writestr(name, pa.Codec("zstd").compress((folder / name).read_bytes(), asbytes=True))
        infos = archive.infolist()
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    for info in infos:
        plain = (folder / info.filename).read_bytes()
        fixed = {8: method.to_bytes(2, "little"), 14: zlib.crc32(plain).to_bytes(4, "little"),
                 22: len(plain).to_bytes(4, "little")}  # fmt: skip
        for offset, value in fixed.items():
            data[info.header_offset + offset : info.header_offset + offset + len(value)] = value
            data[at + offset + 2 : at + offset + 2 + len(value)] = value
        at = data.index(b"PK", at + 46 + len(info.filename.encode()))
    path.write_bytes(data)


def test_a_set_without_a_place_is_parked_and_one_line_places_it(tmp_path):
    document = files.tileset(LON, LAT, HEIGHT, "a.glb", version="1.1")
    del document["root"]["transform"]
    (tmp_path / "tileset.json").write_text(json.dumps(document))
    (tmp_path / "a.glb").write_bytes(files.glb())
    with pytest.raises(Unplaceable) as refusal:
        tileset.read(tmp_path / "tileset.json", Hints())
    assert refusal.value.code == "TILESET_NOT_PLACED"
    assert "values = { lon = " in refusal.value.hint
    _, layer, _ = adopted(tmp_path / "tileset.json", tmp_path / "out", values=PLACE)
    written = json.loads((tmp_path / "out" / "tileset.json").read_text())
    assert written["root"]["transform"] == pytest.approx(files.enu_matrix(LON, LAT, HEIGHT), abs=1e-6)
    assert layer.meta["height_m"] == pytest.approx([40, 70], abs=0.01)
    with pytest.raises(InvalidInput, match="lon and lat"):
        tileset.read(tmp_path / "tileset.json", Hints(values={"lon": "here", "lat": 1}))


def test_a_lone_tile_becomes_a_set_of_one_around_its_contents(tmp_path):
    centre = files.ecef(LON, LAT, HEIGHT)
    (tmp_path / "one.pnts").write_bytes(files.pnts([(0, 0, 0), (1, 2, 3)], centre))
    (tmp_path / "one.b3dm").write_bytes(files.b3dm(files.glb(), RTC_CENTER=centre.tolist()))
    (tmp_path / "one.cmpt").write_bytes(
        files.cmpt((tmp_path / "one.b3dm").read_bytes(), (tmp_path / "one.pnts").read_bytes())
    )
    (tmp_path / "local.b3dm").write_bytes(files.b3dm(files.glb()))
    sizes = {"one.pnts": (1, 2, 3), "one.b3dm": (10, 20, 30), "one.cmpt": (10, 20, 30)}
    for name, size in sizes.items():
        _, layer, issues = adopted(tmp_path / name, tmp_path / f"out-{name}")
        assert codes(issues) == []
        document = json.loads((tmp_path / f"out-{name}" / "tileset.json").read_text())
        box = np.array(document["root"]["boundingVolume"]["box"]).reshape(4, 3)
        assert 2 * np.diag(box[1:]) == pytest.approx(size, abs=1e-3)
        assert layer.bounds[0] - 60 * METRE_LON < LON < layer.bounds[2] + 60 * METRE_LON
        assert names(tmp_path / f"out-{name}") == sorted([name, "tileset.json"])
    with pytest.raises(Unplaceable):
        tileset.read(tmp_path / "local.b3dm", Hints())
    _, layer, _ = adopted(tmp_path / "local.b3dm", tmp_path / "placed", values=PLACE)
    assert layer.meta["height_m"] == pytest.approx([40, 70], abs=0.01)


def test_nested_far_too_deep_or_far_too_large_is_refused(tmp_path):
    (tmp_path / "tileset.json").write_text('{"asset":' * 100_000)
    with pytest.raises(InvalidInput):
        tileset.read(tmp_path / "tileset.json", Hints())
    tile = whole = files.tileset(LON, LAT, HEIGHT)["root"]
    for _ in range(300):
        tile["children"] = [{"boundingVolume": files.BOX, "geometricError": 1}]
        tile = tile["children"][0]
    (tmp_path / "tileset.json").write_text(
        json.dumps({"asset": {"version": "1.0"}, "geometricError": 1, "root": whole})
    )
    _, _, issues = adopted(tmp_path / "tileset.json", tmp_path / "out")
    assert issues == []


# real files ---------------------------------------------------------------------------------------------------------

FINDINGS = {
    "assetVersion": "TILESET_VERSION", "boundingVolume": "TILE_VOLUME", "customSemanticsSchema": "TILESET_VERSION",
    "extensionNotDeclared_1_0_glTF": "TILESET_EXTENSIONS", "extension": "TILESET_EXTENSIONS",
    "extras": "TILESET_EXTRAS", "group": "TILESET_METADATA", "implicitTiling": "TILE_IMPLICIT",
    "invalidJson": "JSON_BROKEN", "properties": "TILESET_PROPERTIES", "statistics": "TILESET_METADATA",
    "tileChildren": "TILE_CHILDREN", "tileContentBoundingVolume": "TILE_VOLUME", "tileContentGroup": "TILE_CONTENT",
    "tileGeometricErrorNegative": "TILE_ERROR_INVALID", "tileGeometricErrorNot": "TILE_ERROR_ORDER",
    "tileInvalid": "TILE_INVALID", "tileMetadata": "TILESET_METADATA", "tileRefine": "TILE_REFINE",
    "tileTransform": "TILE_TRANSFORM", "tilesetGeometricError": "TILESET_ERROR_INVALID",
    "tilesetMetadata": "TILESET_METADATA",
}  # fmt: skip
"""Beginning of the upstream file name, which says what is wrong -> the finding; the longest one counts."""

REAL = [
    name
    for name in manifest()
    if name.startswith("tiles3d/")
    and Path(name).suffix in {".json", ".b3dm", ".pnts", ".cmpt"}
    and "/RequestVolumeCity/" not in name
]


@pytest.mark.parametrize("name", REAL)
def test_each_real_set_is_adopted_or_refused_for_the_right_reason(realdata, tmp_path, name):
    path = realdata / name
    stem = path.stem
    wrong = max((key for key in FINDINGS if stem.startswith(key)), key=len, default="")
    is_local = path.suffix == ".json" and "TreeBillboards" not in name
    if not wrong and is_local:
        with pytest.raises(Unplaceable) as refusal:
            tileset.read(path, Hints(root=realdata))
        assert refusal.value.code == "TILESET_NOT_PLACED"
    try:
        _, _, issues = adopted(path, tmp_path / "out", values=PLACE if is_local else {})
        found = set(codes(issues))
    except CityTwinError as error:
        found = {error.code}
    missing = {"TILE_MISSING", "TILE_OUTSIDE"}  # the folder holds the documents without their tiles
    if wrong:
        assert FINDINGS[wrong] in found
    else:
        assert found <= missing
        assert (tmp_path / "out" / (path.name if path.suffix == ".json" else "tileset.json")).is_file()


def test_real_facts(realdata, tmp_path):
    _, layer, issues = adopted(realdata / "tiles3d" / "RequestVolumeCity" / "tileset.json", tmp_path / "a")
    assert (layer.meta["files"], codes(issues)) == (5, [])
    degrees = np.degrees([-1.3197209591796106, 0.6988424218, -1.3196390408203893, 0.6989055782])
    assert layer.bounds == pytest.approx(degrees, abs=1e-12)
    _, layer, issues = adopted(
        realdata / "tiles3d" / "SparseImplicitQuadtree" / "tileset.json", tmp_path / "b", values=PLACE
    )
    assert (layer.meta["files"], codes(issues)) == (1 + 9 + 32, [])  # document, subtrees, contents: all files there are
    centre = [-5504385.5, -2248457.75, 2301215.75]
    lon, lat, _ = pyproj.Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True).transform(*centre)
    layer = tileset.read(realdata / "tiles3d" / "143.b3dm", Hints()).layers[0]
    assert layer.bounds[0] < lon < layer.bounds[2]
    assert layer.bounds[1] < lat < layer.bounds[3]
    with pytest.raises(InvalidInput) as refusal:
        tileset.read(realdata / "bad" / "b3dm_truncated_half.b3dm", Hints())
    assert (refusal.value.code, "189824 bytes, it has 94912" in refusal.value.problem) == ("TILE_TRUNCATED", True)


# whatever comes -----------------------------------------------------------------------------------------------------

VALID = {
    "b3dm": files.b3dm(files.glb(), RTC_CENTER=files.ecef(LON, LAT, HEIGHT).tolist()),
    "i3dm": files.i3dm(files.glb(), [(0, 0, 0), (5, 5, 5)]),
    "pnts": files.pnts([(0, 0, 0), (1, 1, 1)], files.ecef(LON, LAT, HEIGHT)),
    "cmpt": files.cmpt(files.b3dm(files.glb()), files.pnts([(0, 0, 0)], (0, 0, 0))),
}
EDITS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(VALID)), EDITS, st.integers(0, 3000))
def test_damaged_tiles_are_read_or_refused(tmp_path_factory, kind, edits, cut):
    folder = tmp_path_factory.mktemp("fuzz")
    data = bytearray(VALID[kind])
    for at, value in edits:
        data[at % len(data)] = value
    path = folder / f"x.{kind}"
    path.write_bytes(bytes(data[: len(data) - cut] if cut < 100 else data))
    with suppress(CityTwinError):
        adopted(path, folder / "out", values=PLACE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
PATHS = ["asset", "asset/version", "geometricError", "root", "root/boundingVolume", "root/boundingVolume/box",
         "root/transform", "root/children", "root/children/0", "root/children/0/content", "root/children/0/content/uri",
         "root/refine", "root/implicitTiling", "root/contents", "root/metadata", "extensionsUsed", "schema", "groups",
         "statistics", "metadata", "properties", "schemaUri", "root/extensions", "extensions"]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), JSON), min_size=1, max_size=3))
def test_mutated_documents_are_read_or_refused(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("fuzz")
    document = files.tileset(LON, LAT, HEIGHT, "a.glb", version="1.1")
    for path, value in changes:
        *parents, last = path.split("/")
        place = document
        for key in parents:
            try:
                place = place[int(key) if isinstance(place, list) and key.isdigit() else key]
            except (KeyError, IndexError, TypeError):
                place = None
        if isinstance(place, dict):
            place[last] = value
        elif isinstance(place, list) and place and last.isdigit():
            place[0] = value
    (folder / "tileset.json").write_text(json.dumps(document))
    (folder / "a.glb").write_bytes(b"glTF")
    with suppress(CityTwinError):
        adopted(folder / "tileset.json", folder / "out")
