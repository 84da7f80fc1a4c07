"""Vector files: counts and values against pyogrio, repairs and rejects against hand-made geometries."""

import contextlib
import json
import re
import sqlite3
import zipfile

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely

from ingest import city_toml, scan
from ingest.vector import reader as vector
from layers.errors import CrsMissing, InvalidInput
from layers.source import Hints
from tests.ingest.conftest import manifest

SQUARE = shapely.box(0, 0, 10, 10)


def consumed(path, hints=None):
    """Every layer with its batches joined."""
    reading = vector.read(path, hints or Hints())
    return reading, [(layer, list(layer.batches())) for layer in reading.layers]


def only(path, hints=None):
    _, layers = consumed(path, hints)
    assert len(layers) == 1
    return layers[0]


def write(path, geometries, crs="EPSG:4549", driver=None, near=(597000, 3109000), **columns):
    """Geometries are drawn about 0, 0 and written about a place inside the CRS's area of use."""
    geometries = [moved(each, near) for each in geometries]
    frame = gpd.GeoDataFrame(columns, geometry=geometries, crs=crs)
    pyogrio.write_dataframe(frame, path, driver=driver)
    return path


def moved(shape, by):
    if shape is None:
        return None
    return shapely.transform(shape, lambda xyz: xyz + [*by, 0][: xyz.shape[1]], include_z=bool(shape.has_z))


def codes(items):
    return [item.code for item in items]


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "geojson", "fgb"])
def test_every_feature_of_every_format_comes_with_its_values(tmp_path, suffix):
    shapes = [shapely.box(i * 20, 0, i * 20 + 10, 10 + i) for i in range(25)]
    path = write(tmp_path / f"buildings.{suffix}", shapes, JZBH=[f"B{i}" for i in range(25)], 层数=list(range(1, 26)))
    layer, batches = only(path)
    assert layer.layer_type == "building"
    assert layer.n_read == pyogrio.read_info(path)["features"] == 25
    [batch] = batches
    assert sorted(batch.ids) == sorted(f"B{i}" for i in range(25))
    floors = dict(zip(batch.ids, batch.attributes.column("floors").to_pylist(), strict=True))
    assert floors == {f"B{i}": i + 1 for i in range(25)}
    areas = dict(zip(batch.ids, shapely.area(batch.geometry), strict=True))
    if suffix != "geojson":  # which GDAL writes in degrees
        assert areas["B24"] == pytest.approx(10 * 34)
    assert set(shapely.get_type_id(batch.geometry)) == {6}


def test_batches_can_be_read_twice_with_the_same_result(tmp_path):
    path = write(tmp_path / "buildings.gpkg", [SQUARE, None], JZBH=["a", "b"])
    layer, first = only(path)
    again = list(layer.batches())
    assert [batch.ids for batch in first] == [batch.ids for batch in again] == [["a"]]
    assert layer.n_read == 2
    assert codes(layer.rejects) == ["GEOMETRY_NULL"]


def test_what_cannot_be_stored_is_rejected_with_its_content(tmp_path):
    with np.errstate(invalid="ignore"):
        nan = shapely.Polygon([(0, 0), (1, float("nan")), (1, 1)])
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    shapes = [SQUARE, None, shapely.Polygon(), nan, bow_tie]
    path = write(tmp_path / "parcels.gpkg", shapes, 宗地编号=list("abcde"))
    layer, [batch] = only(path, Hints(layer="parcel", id_column="宗地编号"))
    assert batch.ids == ["a"]
    assert len(layer.rejects) + len(batch) == layer.n_read == 5
    by_code = {reject.code: reject for reject in layer.rejects}
    assert set(by_code) == {"GEOMETRY_NULL", "GEOMETRY_EMPTY", "COORDINATE_NOT_FINITE", "GEOMETRY_INVALID"}
    wkt = by_code["GEOMETRY_INVALID"].content["geometry"]
    assert (
        shapely.get_coordinates(shapely.from_wkt(wkt)).tolist()
        == shapely.get_coordinates(moved(bow_tie, (597000, 3109000))).tolist()
    )
    assert {reject.content["宗地编号"] for reject in layer.rejects} == set("bcde")


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "fgb", "kml", "gml"])
def test_a_table_with_several_kinds_of_geometry_becomes_one_layer_for_each(tmp_path, suffix):
    line, point = shapely.LineString([(0, 0), (10, 0)]), shapely.Point(1, 1)
    both = shapely.GeometryCollection([shapely.box(20, 0, 30, 10), shapely.Point(25, 5)])
    shapes = [moved(each, (597000, 3109000)) for each in (SQUARE, line, point, both, shapely.box(40, 0, 50, 10))]
    frame = gpd.GeoDataFrame({"name": list("abcde")}, geometry=shapes, crs="EPSG:4549").to_crs("EPSG:4326")
    path = tmp_path / f"parcels.{suffix}"
    pyogrio.write_dataframe(frame, path, driver="KML" if suffix == "kml" else None)
    reading, layers = consumed(path)
    stored = {
        layer.name: sorted(name for batch in batches for name in batch.attributes.column("name").to_pylist())
        for layer, batches in layers
    }
    assert stored == {"parcels": ["a", "d", "e"], "parcels_points": ["c", "d"], "parcels_lines": ["b"]}
    assert layers[0][0].layer_type == "parcel"
    assert not [reject for layer, _ in layers for reject in layer.rejects]
    assert codes(reading.issues) == ["GEOMETRY_KINDS_SPLIT"]
    for layer, batches in layers:
        [kind] = {shapely.get_type_id(shape) % 4 for batch in batches for shape in batch.geometry}
        assert kind == {"parcels": 2, "parcels_points": 0, "parcels_lines": 1}[layer.name], layer.geometry_type


def test_a_hinted_layer_takes_its_kind_though_another_is_more_frequent(tmp_path):
    shapes = [SQUARE, *(shapely.Point(i, 0) for i in range(5))]
    path = write(tmp_path / "x.gpkg", shapes, name=list("abcdef"))
    _, layers = consumed(path, Hints(layer="parcel"))
    assert [(layer.layer_type, layer.n_read) for layer, _ in layers] == [("parcel", 1), ("x_points", 5)]


def test_a_small_spike_is_repaired_and_the_change_is_told(tmp_path):
    # the last vertices run out along a line and back: zero area, invalid
    spike = shapely.Polygon([(0, 0), (10, 0), (10, 10), (10, 15), (10, 10), (0, 10)])
    assert not spike.is_valid
    path = write(tmp_path / "buildings.gpkg", [spike], JZBH=["a"])
    layer, [batch] = only(path)
    assert shapely.is_valid(batch.geometry).all()
    assert batch.geometry[0].area == pytest.approx(100)
    assert "GEOMETRY_REPAIRED" in codes(layer.issues)


@pytest.mark.parametrize(("z", "has_z"), [(0.0, False), (-9999.0, False), (3.5, True)])
def test_heights_that_say_nothing_are_dropped(tmp_path, z, has_z):
    lines = [shapely.LineString([(0, 0, z), (10, 0, z)])]
    path = write(tmp_path / "pipe_water.gpkg", lines, 管线编号=["a"])
    layer, [batch] = only(path)
    assert bool(batch.geometry[0].has_z) is has_z
    assert ("Z_EMPTY" in codes(layer.issues)) is not has_z


def test_one_line_in_two_touching_parts_is_joined_and_two_apart_stay_one_feature(tmp_path):
    joined = shapely.MultiLineString([[(0, 0), (1, 0)], [(1, 0), (2, 0)]])
    apart = shapely.MultiLineString([[(0, 5), (1, 5)], [(3, 5), (4, 5)]])
    path = write(tmp_path / "pipe_gas.gpkg", [joined, apart], 管线编号=["a", "b"])
    layer, [batch] = only(path)
    assert batch.ids == ["a", "b"]
    assert [shape.geom_type for shape in batch.geometry] == ["LineString", "MultiLineString"]
    assert batch.geometry[0].length == pytest.approx(2)
    assert codes(layer.rejects) == []


def test_a_feature_that_is_there_twice_is_stored_once_though_it_has_no_id(tmp_path):
    shapes = [shapely.box(i, 0, i + 1, 1) for i in (0, 1, 0, 0)]
    path = write(tmp_path / "buildings.gpkg", shapes, floors=[1, 2, 1, 3])
    layer, [batch] = only(path)
    assert batch.attributes.column("floors").to_pylist() == [1, 2, 3]
    assert [(reject.code, reject.content["floors"]) for reject in layer.rejects] == [("DUPLICATE_FEATURE", 1)]


def test_duplicates_are_rejected_by_id(tmp_path):
    shapes = [shapely.box(i, 0, i + 1, 1) for i in range(20)] + [shapely.box(0, 0, 1, 1), shapely.box(90, 0, 91, 1)]
    names = [f"B{i}" for i in range(20)] + ["B0", "B1"]
    path = write(tmp_path / "buildings.gpkg", shapes, JZBH=names)
    layer, [batch] = only(path)
    assert len(batch) == 20
    assert codes(layer.rejects) == ["DUPLICATE_ID", "DUPLICATE_ID"]
    assert [reject.content["JZBH"] for reject in layer.rejects] == ["B0", "B1"]
    assert layer.n_read == 22


def test_without_an_id_column_ids_do_not_depend_on_the_order(tmp_path):
    shapes = [shapely.box(i, 0, i + 1, 1) for i in range(5)]
    first, [batch] = only(write(tmp_path / "buildings.fgb", shapes, floors=[1, 2, 3, 4, 5]))
    (tmp_path / "turned").mkdir()
    _, [turned] = only(write(tmp_path / "turned" / "buildings.fgb", shapes[::-1], floors=[5, 4, 3, 2, 1]))
    one = dict(zip(batch.ids, batch.attributes.column("floors").to_pylist(), strict=True))
    two = dict(zip(turned.ids, turned.attributes.column("floors").to_pylist(), strict=True))
    assert one == two
    assert "ID_MADE" in codes(first.issues)


NO_CRS = pytest.mark.filterwarnings("ignore:'crs' was not provided")


@NO_CRS
def test_no_crs_is_refused_with_the_lines_to_write_and_cured_by_a_hint(tmp_path):
    path = write(tmp_path / "buildings.gpkg", [SQUARE], crs=None, JZBH=["a"])
    with pytest.raises(CrsMissing, match=r"(?s)\[\[source\]\].*buildings\.gpkg.*crs = "):
        vector.read(path, Hints())
    reading = vector.read(path, Hints(crs="EPSG:4549"))
    assert reading.certificate.method == "given-crs"
    assert reading.layers[0].crs == "EPSG:4549"


def test_a_crs_that_contradicts_the_file_is_told_and_the_file_believed(tmp_path):
    path = write(tmp_path / "buildings.gpkg", [SQUARE], JZBH=["a"])
    reading = vector.read(path, Hints(crs="EPSG:32651"))
    assert reading.layers[0].crs == "EPSG:4549"
    assert reading.certificate.contradictions
    assert "CRS_CONTRADICTION" in codes(reading.layers[0].issues)


@pytest.mark.parametrize(
    ("x", "y", "crs", "said"),
    [
        (3109000, 597000, "EPSG:4549", "swapped"),
        (40597000, 3109000, "EPSG:4549", "zone number 40"),
        (597000, 3109000, "EPSG:4490", "outside the area"),
        (28.1, 121.0, "EPSG:4490", "swapped"),
    ],
)
def test_coordinates_that_cannot_be_in_the_crs_are_refused(tmp_path, x, y, crs, said):
    path = write(tmp_path / "poi.gpkg", [shapely.Point(x, y)], crs=crs, near=(0, 0), name=["a"])
    with pytest.raises(InvalidInput, match=said) as caught:
        vector.read(path, Hints())
    assert caught.value.code == "COORDINATES_OUTSIDE_CRS"


@NO_CRS
def test_several_tables_give_several_layers_and_one_bad_one_does_not_stop_the_rest(tmp_path):
    path = tmp_path / "mixed.gpkg"
    for name, crs in (("buildings", "EPSG:4549"), ("parcels", None)):
        frame = gpd.GeoDataFrame({"code": ["a"]}, geometry=[moved(SQUARE, (597000, 3109000))], crs=crs)
        pyogrio.write_dataframe(frame, path, layer=name, append=path.exists())
    reading, layers = consumed(path)
    assert [layer.layer_type for layer, _ in layers] == ["building"]
    assert [(issue.code, issue.where, issue.severity) for issue in reading.issues] == [
        ("CRS_MISSING", "parcels", "error")
    ]


def test_one_table_of_several_is_named_in_city_toml(tmp_path):
    path = tmp_path / "a.gpkg"
    for name in ("buildings", "zzz"):
        frame = gpd.GeoDataFrame({"code": ["a"]}, geometry=[moved(SQUARE, (597000, 3109000))], crs="EPSG:4549")
        pyogrio.write_dataframe(frame, path, layer=name, append=path.exists())
    reading = vector.read(path, city_toml.load(tmp_path).hints_for(path))
    [issue] = [each for layer in reading.layers for each in layer.issues if each.code == "LAYER_TYPE_UNKNOWN"]
    assert 'table = "zzz"' in issue.hint
    printed = issue.hint.partition("\n")[2]
    (tmp_path / "city.toml").write_text(re.sub(r'layer = ".*"', 'layer = "parcel"', printed))
    reading = vector.read(path, city_toml.load(tmp_path).hints_for(path))
    assert [layer.layer_type for layer in reading.layers] == ["building", "parcel"]


def test_an_unknown_table_keeps_its_columns_and_names_the_way_out(tmp_path):
    path = write(tmp_path / "蜂箱.gpkg", [shapely.Point(1, 1)], fid_old=[7], 蜂群=["意蜂"], NAME=["一号"], version=[3])
    layer, [batch] = only(path)
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,40}", layer.layer_type)
    row = batch.attributes.to_pylist()[0]
    assert (row["蜂群"], row["fid_old"], row["name"], row["version_in_file"]) == ("意蜂", 7, "一号", 3)
    assert set(layer.fields) == {"蜂群", "fid_old", "version_in_file"}
    [issue] = [each for each in layer.issues if each.code == "LAYER_TYPE_UNKNOWN"]
    assert "[[source]]" in issue.hint
    assert batch.extra == [None]


@pytest.mark.parametrize("cpg", ["GBK", None, "UTF-8"])
def test_chinese_text_in_a_shapefile_is_read_whatever_its_cpg_says(tmp_path, cpg):
    path = tmp_path / "buildings.shp"
    frame = gpd.GeoDataFrame(
        {"用途": ["居住", "商业"], "JZBH": ["a", "b"]},
        geometry=[moved(each, (597000, 3109000)) for each in (SQUARE, shapely.box(20, 0, 30, 9))],
        crs="EPSG:4549",
    )
    pyogrio.write_dataframe(frame, path, encoding="GBK")
    path.with_suffix(".cpg").unlink(missing_ok=True)
    if cpg:
        path.with_suffix(".cpg").write_text(cpg)
    reading, [(_, [batch])] = consumed(path)
    assert batch.attributes.column("use").to_pylist() == ["居住", "商业"]
    expected = {"GBK": [], None: ["ENCODING_DETECTED"], "UTF-8": ["ENCODING_WRONG", "ENCODING_DETECTED"]}[cpg]
    assert codes(reading.issues) == expected


@pytest.mark.parametrize("suffix", [".shp", ".dbf"])
def test_a_cut_shapefile_names_the_byte(tmp_path, suffix):
    path = write(
        tmp_path / "buildings.shp", [shapely.box(i, 0, i + 1, 1) for i in range(50)], JZBH=[str(i) for i in range(50)]
    )
    part = path.with_suffix(suffix)
    size = part.stat().st_size // 2
    with part.open("r+b") as file:
        file.truncate(size)
    with pytest.raises(InvalidInput, match=f"byte {size}") as caught:
        vector.read(path, Hints())
    assert caught.value.code == "TRUNCATED"


def test_geojson_without_a_crs_is_wgs_84_unless_told_otherwise(tmp_path):
    path = tmp_path / "poi.geojson"
    feature = {
        "type": "Feature",
        "properties": {"name": "a"},
        "geometry": {"type": "Point", "coordinates": [597000, 3109000]},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.raises(InvalidInput, match="outside the area"):
        vector.read(path, Hints())
    assert vector.read(path, Hints(crs="EPSG:4549")).layers[0].crs == "EPSG:4549"


def test_curves_become_chords(realdata):
    layer, [batch] = only(realdata / "vector" / "curve.gpkg")
    assert layer.n_read == len(batch) == 1
    _, _, wkb, _ = pyogrio.raw.read(realdata / "vector" / "curve.gpkg")
    assert shapely.get_num_coordinates(batch.geometry)[0] == shapely.get_num_coordinates(shapely.from_wkb(wkb[0]))


NOWHERE = "+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +x_0=0 +y_0=0 +ellps=GRS80 +units=m"

FACTS = {
    name: row for name, row in manifest().items()
    if re.fullmatch(r"(?i)vector/.*\.(gpkg|shp|geojson|fgb|json|gml|kml|tab|pbf|dbf|zip)", name)
    and "n:" in row["expected"]
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FACTS) or ["none"])
def test_real_files_have_the_measured_counts_and_bounds(realdata, name):
    if name == "none":
        pytest.skip("no MANIFEST.csv")
    facts = FACTS[name]["expected"]
    before = {each: each.stat().st_mtime_ns for each in (realdata / name).parent.iterdir()}
    # these files (or tables) name no CRS and are made up near 0, 0: a CRS without area of use stands in
    hints = Hints(root=realdata, crs=NOWHERE if "crs:None" in facts else None)
    reading, layers = consumed(realdata / name, hints)
    told = re.findall(r"layer=([^;]*?) n:(\d+) geom:\S+ crs:(.*?) fields:\d+ enc:\S+ bbox:(None|\[[^\]]*\])", facts)
    n_tables = int(re.search(r"layers=(\d+)", facts)[1])
    split = [issue.where for issue in reading.issues if issue.code == "GEOMETRY_KINDS_SPLIT"]
    tables = {}
    for layer, batches in layers:
        assert sum(map(len, batches)) + len(layer.rejects) == layer.n_read
        ids = [each for batch in batches for each in batch.ids]
        assert len(set(ids)) == len(ids)
        for batch in batches:
            assert shapely.is_valid(batch.geometry[~shapely.is_missing(batch.geometry)]).all()
        table = next((each for each in split if layer.name.startswith(f"{each}_")), layer.name)
        tables.setdefault(table, []).append((layer, batches))
    assert len(tables) == n_tables
    for (_, count, crs_name, box), (_, parts) in zip(told, tables.items(), strict=False):
        assert sum(layer.n_read for layer, _ in parts) == int(count)
        if crs_name.startswith("EPSG:"):
            assert {layer.crs for layer, _ in parts} == {crs_name}
        if box != "None" and not any(layer.rejects for layer, _ in parts) and ".pbf" not in name:
            shapes = [batch.geometry for _, batches in parts for batch in batches]
            assert shapely.total_bounds(np.concatenate(shapes)) == pytest.approx(json.loads(box), abs=1e-4)
    assert {each: each.stat().st_mtime_ns for each in (realdata / name).parent.iterdir()} == before


def test_a_gml_file_without_crs_is_asked_for_one(realdata):
    with pytest.raises(CrsMissing, match=r"airports\.gml"):
        vector.read(realdata / "vector" / "airports.gml", Hints())


@pytest.mark.filterwarnings("ignore:Measured")
def test_every_table_of_a_geodatabase_has_the_rows_that_pyogrio_counts(realdata):
    path = realdata / "vector" / "testopenfilegdb.gdb.zip"
    _, layers = consumed(path, Hints(crs="EPSG:4326"))
    counted = {name: pyogrio.read_info(path, layer=name)["features"] for name in pyogrio.list_layers(path)[:, 0]}
    assert {layer.name: layer.n_read for layer, _ in layers} == counted
    assert {layer.name for layer, _ in layers if layer.rejects} == {
        "null_polygon", "empty_polygon", "empty_multipoint", "empty_polygonm", "hole",
    }  # fmt: skip
    table = next(batches for layer, batches in layers if layer.name == "big_layer")
    assert sum(map(len, table)) == 341


def test_a_geodatabase_folder_gives_what_its_archive_gives(realdata, tmp_path):
    path = realdata / "vector" / "testopenfilegdb.gdb.zip"
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path)
    [folder] = tmp_path.glob("*.gdb")
    before = sorted(folder.iterdir())
    counts = [
        [(layer.name, layer.n_read) for layer, _ in consumed(each, Hints(crs="EPSG:4326"))[1]]
        for each in (path, folder)
    ]
    assert counts[0] == counts[1]
    assert sorted(folder.iterdir()) == before


def test_a_tin_is_stored_as_mesh_and_outline(realdata):
    layer, [batch] = only(realdata / "vector" / "test_tin.shp", Hints(crs=NOWHERE))
    # two triangles: one stands on edge, the other lies: (0,0) (0,1) (1,1)
    assert layer.n_read == len(batch) == 1
    assert batch.geometry[0].equals(shapely.Polygon([(0, 0), (0, 1), (1, 1)]))
    [mesh] = batch.meshes
    assert len(mesh.triangles) == 2
    corners = mesh.vertices[mesh.triangles]
    doubled = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    assert doubled.tolist() == [1, 1]


def test_the_parts_of_a_kmz_are_read_and_a_bomb_is_not(tmp_path):
    kml = (
        '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark><name>a</name>'
        "<Point><coordinates>121,28</coordinates></Point></Placemark></Document></kml>"
    )
    for name, text in (("doc.kml", kml), ("parts/more.kml", kml.replace("121", "122"))):
        with zipfile.ZipFile(tmp_path / "a.kmz", "a") as file:
            file.writestr(name, text)
    _, layers = consumed(tmp_path / "a.kmz")
    places = [batch.geometry[0].coords[0] for _, [batch] in layers]
    assert places == [(121, 28), (122, 28)]
    with zipfile.ZipFile(tmp_path / "b.kmz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("doc.kml", b" " * 200_000_000)
    with pytest.raises(InvalidInput) as caught:
        vector.read(tmp_path / "b.kmz", Hints())
    assert caught.value.code == "ARCHIVE_TOO_LARGE"


@pytest.mark.parametrize("name", ["a.gml", "a.kml", "a.json", "a.geojson", "a.tab"])
def test_orders_to_read_other_files_are_no_data(tmp_path, name):
    secret = write(tmp_path / "secret.gpkg", [SQUARE], JZBH=["a"])
    orders = [
        f'<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{secret}</SrcDataSource></OGRVRTLayer>'
        "</OGRVRTDataSource>",
        json.dumps({"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline read {secret}"}),
    ]
    for order in orders:
        (tmp_path / name).write_text(order)
        with pytest.raises(InvalidInput):
            vector.read(tmp_path / name, Hints())


@pytest.mark.parametrize("suffix", ["gml", "kml"])
def test_entity_bombs_are_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_text('<?xml version="1.0"?><!DOCTYPE k [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><kml>&b;</kml>')
    with pytest.raises(InvalidInput) as caught:
        vector.read(path, Hints())
    assert caught.value.code == "XML_ENTITIES"


def test_a_geopackage_that_is_being_written_is_read_with_its_last_rows_and_left_alone(tmp_path):
    path = write(tmp_path / "buildings.gpkg", [SQUARE], JZBH=["a"])
    writer = sqlite3.connect(path)
    with contextlib.closing(writer):
        writer.execute("PRAGMA journal_mode = WAL")
        for (name,) in writer.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            writer.execute(f'DROP TRIGGER "{name}"')
        writer.execute("UPDATE buildings SET JZBH = 'changed'")
        writer.commit()
        before = {each.name: each.read_bytes() for each in tmp_path.iterdir() if not each.name.endswith("-shm")}
        assert "buildings.gpkg-wal" in before
        _, [batch] = only(path)
        assert batch.ids == ["changed"]
        after = {each.name: each.read_bytes() for each in tmp_path.iterdir() if not each.name.endswith("-shm")}
    assert after == before


def test_accented_text_is_not_taken_for_chinese(realdata):
    reading, [(_, [batch])] = consumed(realdata / "vector" / "latin1.shp", Hints(crs=NOWHERE))
    assert codes(reading.issues) == ["SHP_INDEX_MADE", "ENCODING_DETECTED"]
    assert batch.attributes.column("name").to_pylist() == ["Ñandú"]  # bytes D1 61 6E 64 FA of the file


def test_a_lone_dbf_in_gbk_has_chinese_names_and_values(realdata):
    layer, [batch] = only(realdata / "vector" / "gbk_table.dbf")
    assert layer.n_read == len(batch) == 28
    assert {"设计编号", "审核信息", "是否打印"} <= set(layer.fields)  # C9 E8 BC C6 B1 E0 BA C5 …
    assert batch.attributes.column("设计编号").to_pylist()[0]


def test_real_gbk_shapefiles_have_the_measured_first_row(realdata):
    for name in ("beijing_gbk_cpg", "beijing_gbk_nocpg"):
        path = realdata / "vector" / "gbk" / f"{name}.shp"
        _, [batch] = only(path)
        row = batch.attributes.to_pylist()[0]
        facts = FACTS[f"vector/gbk/{name}.shp"]["expected"]
        assert f"decoded_as_GBK_first_row={row['编码']}/{row['name']}/{row['地类']}" in facts


def test_a_geodatabase_folder_is_one_source_whose_hash_follows_its_files(realdata, tmp_path):
    with zipfile.ZipFile(realdata / "vector" / "testopenfilegdb.gdb.zip") as file:
        file.extractall(tmp_path)
    [folder] = tmp_path.glob("*.gdb")
    [source] = scan.sources(tmp_path)
    assert source.path == folder
    assert set(source.parts[1:]) == set(folder.iterdir())
    source.check()
    before = source.sha256
    assert before
    (folder / "x.lock").write_text("")
    assert scan.sources(tmp_path)[0].sha256 == before
    part = source.parts[-1]
    part.write_bytes(part.read_bytes() + b"x")
    assert scan.sources(tmp_path)[0].sha256 != before


def test_files_that_belong_to_others_are_no_sources(tmp_path):
    for name in ("a.tab", "a.DAT", "b.mif", "b.mid", "c.gml", "c.gfs", "c.xsd", "d.dbf", "d.cpg", "e.dbf"):
        (tmp_path / name).write_text("x")
    assert [each.name for each in scan.sources(tmp_path)] == ["a.tab", "b.mif", "c.gml", "d.dbf", "e.dbf"]
