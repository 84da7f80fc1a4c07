"""Every real file through the front door: read to its last batch, against facts that other readers measured.

The tests of each reader look closer; here no file is left out, and whatever differs stands in a table with its reason.
"""

import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import ifcopenshell
import numpy as np
import pytest
import shapely

import ingest
from layers import crs
from layers.errors import CityTwinError
from layers.source import AssetLayer, Hints
from server.build import build
from tests.ingest.conftest import manifest
from tests.ingest.test_ifc_real_places import BY_CONVERSION, BY_SITE, PARKED

NOWHERE = "+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +x_0=0 +y_0=0 +ellps=GRS80 +units=m"
"""For models and scans in a frame of their own: a CRS without an area of use."""

SET_AT = {"lon": 121.0, "lat": 28.1, "height": 40.0}

HINTS = {  # what a user would write into city.toml; the first pattern that fits counts
    r"bad/.*obs_malformatted|sensor/(pygeoapi_obs|dht22|pm10).*": {"crs": "EPSG:4326"},
    r"raster/(cog_|elev|egm|float|olinda).*": {"layer": "dem"},
    r"city/(1b_w|conformance|denhaag|geom_temp|multi_lod|rotterdam).*": {"crs": NOWHERE},
    r"pointcloud/(.*\.e57|.*\.ptx|ripple|without_srs|extra_bytes).*": {"crs": NOWHERE},
    r"vector/(airports|columbus|latin1|test_tin|micropolis|testopenfilegdb).*": {"crs": NOWHERE},
    r"water/.*\.inp": {"crs": NOWHERE},
    r"tiles3d/(Feature.*|Multiple.*|pg2b.*)\.(glb|gltf)": {"crs": NOWHERE},
    r"tiles3d/(Feature|Multiple|Sparse).*/tileset.json|tiles3d/validator.*": {"values": SET_AT},
}

REFUSED = {  # pattern -> (code, why this is right)
    r"city/appearances/.*": ("RASTER_NOT_PLACED", "a texture, no map"),
    r"raster/(pdal_autzen_height.tif|terrarium.png)": ("RASTER_NOT_PLACED", "no transform and no world file"),
    r"pointcloud/color_1_2.copc.laz": ("COORDINATES_OUTSIDE_CRS", "metres, but it claims a system in feet"),
    r"pointcloud/lone_star.copc.laz": ("CRS_GEOCENTRIC", "not a map"),
    r"pointcloud/no_points.las": ("FILE_EMPTY", "0 points"),
    r"terrain/.*|vector/.*\.shp\.xml": ("FORMAT_UNKNOWN", "no reader for this format"),
    r"vector/latin1.dbf": ("FILE_UNREADABLE", "its geometries are in a .shp, which lacks its index"),
    r"tiles3d/MultipleContents/planePoints.glb": ("MESH_EMPTY", "points without triangles"),
}

SIDES = (".shx", ".prj", ".cpg", ".dat", ".id", ".map", ".qpj", ".sbn", ".sbx", ".shp.xml", ".txt")
BAD = sorted(name for name in manifest() if name.startswith("bad/") and not name.endswith((".dbf", ".shx")))
PARTS = r"tiles3d/SparseImplicitQuadtree/(content|subtrees)/.*"


def rows():
    """Names of the manifest's main files; bad ones have a test of their own, tiles are read with their set."""
    names = manifest()
    for name, row in names.items():
        is_side = name.lower().endswith(SIDES) or (name.endswith(".dbf") and f"{name[:-4]}.shp" in names)
        if row["kind"] not in {"ogc api", "bad input", "ifc"} and not is_side and not re.fullmatch(PARTS, name):
            yield name


def fitting(table, name, otherwise):
    return next((value for pattern, value in table.items() if re.fullmatch(pattern, name)), otherwise)


def fact(facts, key):
    found = re.search(rf"(?:^|; ){key}=([^;]*)", facts)
    return found[1].strip() if found else None


def numbers(text):
    return [float(each) for each in re.findall(r"-?\d+\.?\d*(?:e[-+]\d+)?", text or "")]


def consumed(reading, folder):
    """[(layer, its batches or the path that was written)], with what was read equal to stored and rejected."""
    found = []
    for k, layer in enumerate(reading.layers):
        if isinstance(layer, AssetLayer):
            target = folder / f"{k}{layer.suffix}"
            layer.write(target)
            found.append((layer, target))
        else:
            batches = list(layer.batches())
            assert sum(map(len, batches)) + len(layer.rejects) == layer.n_read, layer.name
            found.append((layer, batches))
    return found


SUMMARY: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def _table():
    yield
    sys.stdout.write("\n" + "\n".join(SUMMARY) + "\n")  # seen with -s


@pytest.mark.filterwarnings("ignore:Measured")
@pytest.mark.parametrize("name", sorted(rows()) or ["none"])
def test_each_real_file_gives_what_others_measured(realdata, tmp_path, name):
    if name == "none":
        pytest.skip("no MANIFEST.csv")
    facts = manifest()[name]["expected"]
    hints = Hints(root=realdata, **fitting(HINTS, name, {}))
    refused = fitting(REFUSED, name, None)
    if name.startswith("tiles3d/validator"):  # deliberately wrong documents: tests/ingest/test_tileset.py has each one
        try:
            consumed(ingest.read(realdata / name, hints), tmp_path)
        except CityTwinError as error:
            assert error.code.startswith(("TILE", "JSON_BROKEN", "FORMAT_UNKNOWN"))  # noqa: PT017
        return
    if refused:
        with pytest.raises(CityTwinError) as caught:
            consumed(ingest.read(realdata / name, hints), tmp_path)
        assert caught.value.code == refused[0], caught.value
        assert caught.value.hint
        SUMMARY.append(f"{name:70} refused: {refused[0]} ({refused[1]})")
        return
    reading = ingest.read(realdata / name, hints)
    found = consumed(reading, tmp_path)
    checked = [key for key, check in CHECKS.items() if check(name, facts, reading, found)]
    assert checked or not facts, f"no fact of {facts!r} was compared"
    n_features = sum(layer.n_read for layer, _ in found if not isinstance(layer, AssetLayer))
    SUMMARY.append(f"{name:70} {reading.format:20} {n_features:7} features; compared: {', '.join(checked)}")


def n_read(found, *types):
    return sum(layer.n_read for layer, _ in found if not types or layer.layer_type in types)


def compare_tables(_, facts, reading, found):
    """GDAL's counts by table; a table with several kinds of geometry became several layers."""
    told = [int(n) for n in re.findall(r"layer=[^;]*? n:(\d+) ", facts)]
    if not told:
        return False
    split = [issue.where for issue in reading.issues if issue.code == "GEOMETRY_KINDS_SPLIT"]
    counted = Counter()
    for layer, _batches in found:
        counted[next((each for each in split if layer.name.startswith(f"{each}_")), layer.name)] += layer.n_read
    assert len(counted) == int(fact(facts, "layers"))
    assert list(counted.values())[: len(told)] == told
    return True


def compare_rows(_, facts, __, found):
    told = fact(facts, "rows") or fact(facts, "rows_after_header") or fact(facts, "modelspace_entities")
    if fact(facts, "series"):
        assert n_read(found) == int(fact(facts, "values"))
        return True
    if told is None:
        return False
    assert n_read(found) == int(told) * n_quantities(found)
    return True


def n_quantities(found):
    """A row of a series in wide form is an observation of each quantity; any other row is one feature."""
    batches = [batch for layer, each in found if layer.layer_type.startswith("sensor_obs") for batch in each]
    return len({name for batch in batches for name in batch.attributes.column("quantity").to_pylist()}) or 1


def compare_network(_, facts, __, found):
    told = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)(?=;|$)", facts)}
    if "epanet_toolkit_nodes" in told:
        told |= {"nodes": told["epanet_toolkit_nodes"], "links": told["epanet_toolkit_links"]}
    elif "swmmio_nodes" in told:
        told |= {"nodes": told["swmmio_nodes"], "links": told["swmmio_links"]}
    elif "junctions" in told:
        told["nodes"] = told["junctions"] + told["tanks"] + told["reservoirs"]
        told["links"] = told["pipes"] + told["pumps"] + told["valves"]
    else:
        return False
    nodes = [layer.n_read for layer, _ in found if layer.layer_type.endswith("_node")]
    links = [layer.n_read for layer, _ in found if layer.geometry_type.startswith("LineString")]
    assert (sum(nodes), sum(links)) == (told["nodes"], told["links"])
    return True


def compare_objects(_, facts, __, found):
    """Buildings and the other kinds that are layers of their own; parts and rooms are in their buildings' shapes."""
    told = re.findall(r"\b(Building|Bridge|LandUse|PlantCover|WaterBody|ReliefFeature)[:=](\d+)", facts)
    for kind, n in told:
        layer = kind.removesuffix("Feature")
        assert n_read(found, re.sub(r"(?<=[a-z])([A-Z])", r"_\1", layer).lower()) == int(n), kind
    return bool(told)


def compare_kept(_, facts, __, found):
    """Objects whose shape is void by intent are rejects that keep their content."""
    told = fact(facts, "cityobjects")
    if told is None or re.search(r"Building|Bridge|LandUse", facts):
        return False
    assert n_read(found) == int(told)
    return True


def compare_points(_, facts, __, found):
    told = fact(facts, "read_points") or fact(facts, "points")
    if fact(facts, "columns_rows"):
        told = np.prod(numbers(fact(facts, "columns_rows").replace("x", " ")))
    if told is None:
        return False
    assert [layer.meta["points"] for layer, _ in found] == [int(told)]
    return True


def compare_raster(_, facts, __, found):
    """Size and values of the file that was written, by rasterio."""
    if fact(facts, "size") is None or "band1_min" not in facts:
        return False
    import rasterio

    [(_, path)] = found
    with rasterio.open(path) as file:
        assert f"{file.width}x{file.height}" == fact(facts, "size")
        if str(file.profile.get("compress", "")).lower() not in {"jpeg", "webp"}:  # pictures may lose a little
            band = file.read(1, masked=True)
            mean, low, high = (float(fact(facts, f"band1_{key}")) for key in ("mean", "min", "max"))
            assert band.count() == int(fact(facts, "band1_valid_px"))
            assert float(band.mean(dtype=np.float64)) == pytest.approx(mean, abs=1e-3)
            assert [float(band.min()), float(band.max())] == pytest.approx([low, high], rel=1e-6)
    return True


def compare_crs(_, facts, __, found):
    told = re.findall(r"\bcrs(?:=crs/EPSG/[\d.]+/|[:=]EPSG:)(\d+)(?=[;/\s]|$)", facts)
    if not told or not found or not any(layer.crs for layer, _ in found):
        return False
    compound = {"7415": "28992", "4979": "4326"}  # their horizontal parts
    ours = {crs.parse(layer.crs).to_epsg(min_confidence=20) for layer, _ in found if layer.crs}
    assert ours <= {int(compound.get(code, code)) for code in told} or None in ours, (ours, told)
    return True


BOXES_DIFFER = {
    "vector/Graz_10km_3m.dxf": "measured in the drawing's own system, which its GEODATA leads to EPSG:3395",
    "vector/houses_of_parliament_georeferenced.dxf": "measured in the drawing's own system, before its GEODATA",
    "city/tyler_3dbag_feature.city.jsonl": "measured without the scale that its header has",
    "city/geom_temp.city.jsonl": "trees reach out from the reference points that were measured",
    "city/conformance_geometry_instance.city.json": "its template's point, moved by the matrix, is not measured",
    "city/conformance_all_types.city.json": "one vertex for all objects, none of which is a shape",
    "vector/sample.osm.pbf": "measured by GDAL from the header of the file",
    "vector/testopenfilegdb.gdb.zip": "37 tables; tests/ingest/test_vector.py compares each",
    "pointcloud/bunny_int32.e57": "measured before the pose of the scan",
    "pointcloud/coloured_cube_float.e57": "measured before the pose of the scan",
}


def compare_box(name, facts, __, found):
    """Within a centimetre (1e-4 degrees, as some boxes are kept); shapes may fill less than a city model's box."""
    text = fact(facts, "bbox") or fact(facts, "bounds") or next(iter(re.findall(r"bbox:(\[[^\]]*\])", facts)), None)
    box = numbers(text) or numbers(fact(facts, "bbox_xy"))
    if len(box) not in {4, 6} or name in BOXES_DIFFER or not found:
        return False
    box = box if len(box) == 4 else [box[0], box[1], box[3], box[4]]
    if isinstance(found[0][0], AssetLayer):
        ours = found[0][0].bounds
    else:
        if any(layer.rejects for layer, _ in found):
            return False
        layers = [pair for pair in found if pair[0].layer_type.endswith("_node")] if "bbox_xy" in facts else found
        shapes = [batch.geometry for _, batches in layers for batch in batches]
        ours = shapely.total_bounds(np.concatenate(shapes))
    slack = 1e-4 if max(map(abs, box)) <= 360 and name.startswith("vector/") else 0.011
    if name.startswith("city/"):  # vertices of shapes that are not drawn count there
        assert (np.array(ours) - box)[:2].min() >= -0.001
        assert (np.array(box) - ours)[2:].min() >= -0.001
        assert (np.array(ours)[2:] - ours[:2] >= 0.95 * (np.array(box)[2:] - box[:2])).all()
    else:
        assert list(ours) == pytest.approx(box, abs=slack)
    return True


def compare_text(_, facts, __, found):
    """Chinese text of a shapefile, decoded."""
    told = fact(facts, "decoded_as_GBK_first_row")
    if told is None:
        return False
    [(_, batches)] = found
    row = batches[0].attributes.slice(0, 1).to_pylist()[0] | json.loads(batches[0].extra[0] or "{}")
    assert set(told.split("/")) <= {str(value) for value in row.values()}, row
    return True


def compare_set(_, facts, reading, found):
    """3D Tiles: adopted with a document that names the tile, at most one Earth radius away from its centre."""
    if not reading.format.startswith("3D Tiles"):
        return False
    [(layer, path)] = found
    assert layer.kind == "tileset"
    assert any(path.rglob("*.json"))
    assert "tiles=" not in facts or layer.meta["files"] >= 1
    return True


def compare_mesh(_, facts, reading, found):
    told = fact(facts, "position_vertices")
    if told is None or reading.format.startswith("3D Tiles"):
        return False
    meshes = [mesh for _, batches in found for batch in batches for mesh in batch.meshes or () if mesh]
    assert 0 < sum(len(mesh.vertices) for mesh in meshes) <= int(told)
    return True


CHECKS = {
    "tables": compare_tables, "rows": compare_rows, "network": compare_network, "objects": compare_objects,
    "kept": compare_kept, "points": compare_points, "raster": compare_raster, "crs": compare_crs, "box": compare_box,
    "text": compare_text, "3D Tiles": compare_set, "mesh": compare_mesh,
}  # fmt: skip


IFC = {Path(name).stem: row["expected"] for name, row in manifest().items() if row["kind"] == "ifc"}


@pytest.mark.parametrize("stem", sorted(IFC) or ["none"])
def test_each_real_ifc_is_read_or_parked(realdata, tmp_path, stem):
    """Placed in the city that tests/ingest/test_ifc_real_places.py checks by hand; here its elements are counted."""
    if stem == "none":
        pytest.skip("no MANIFEST.csv")
    path, places = realdata / "ifc" / f"{stem}.ifc", {**BY_CONVERSION, **BY_SITE}
    if stem not in places:
        with pytest.raises(CityTwinError) as caught:
            ingest.read(path, Hints(root=realdata, city_crs=PARKED[stem][1]))
        assert caught.value.code == PARKED[stem][0]
        return
    reading = ingest.read(path, Hints(root=realdata, city_crs=places[stem][0]))
    found = consumed(reading, tmp_path)
    elements, others = fact(IFC[stem], "IfcElement"), 0
    if "unsupported schema" not in IFC[stem]:
        model = ifcopenshell.open(path)
        # openings are cut out of their walls, virtual elements are nothing, those without a body are assemblies
        without_body = [each for each in model.by_type("IfcElement") if not each.Representation]
        others = len({*model.by_type("IfcFeatureElement"), *model.by_type("IfcVirtualElement"), *without_body})
    if elements is not None:
        assert n_read(found, "bim_element") == int(elements) - others
    SUMMARY.append(f"ifc/{stem:66} {reading.format:20} {n_read(found):7} features; compared: elements")


ORIGINS = {
    "EPSG:4549": (121.0, 28.1), "EPSG:25832": (8.4, 49.1), "EPSG:6677": (139.8, 35.7), "EPSG:26916": (-87.6, 41.9),
    "EPSG:32640": (54.4, 24.5), "EPSG:7856": (153.0, -27.0), "EPSG:3065": (151.4, -33.0), "EPSG:32630": (-2.1, 57.1),
}  # fmt: skip
"""Longitude and latitude in the middle of each city that a file is put into."""


def alone(realdata, name, folder):
    """A folder with one file and what belongs to it (a set of tiles and a header come with it), and its city.toml."""
    path, stem = realdata / name, Path(name).stem
    folder.mkdir()
    if name.startswith("tiles3d/") and path.name == "tileset.json":
        shutil.copytree(path.parent, folder, dirs_exist_ok=True)
    for each in path.parent.iterdir():
        if each.stem == stem or each.name.startswith(f"{stem}.") or ("tyler" in stem and "tyler" in each.name):
            shutil.copy(each, folder / each.name)
    hints = dict(fitting(HINTS, name, {}))
    place = BY_CONVERSION.get(stem) or BY_SITE.get(stem) or (PARKED[stem][1] if stem in PARKED else None,)
    is_lost = name.startswith("bad/") or fitting(REFUSED, name, None) or "values" in hints or "layer" in hints
    city = "EPSG:4549" if is_lost and not name.startswith("raster/") else place[0]
    city = {NOWHERE: NOWHERE, "EPSG:4326": "EPSG:32630"}.get(hints.get("crs"), city)
    text = ""  # else both are chosen from the file's own
    if city:
        text = f'crs = "{city}"\norigin = {list(ORIGINS.get(city, (0.0, 0.0)))}\n'
    if hints:
        text += f'[[source]]\npath = "{path.name}"\n' + "".join(f"{key} = {_toml(hints[key])}\n" for key in hints)
    (folder / "city.toml").write_text(text, "utf8")
    return folder


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(each)}' for key, each in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Measured")
@pytest.mark.parametrize("name", [*rows(), *(f"ifc/{stem}.ifc" for stem in IFC), *BAD] or ["none"])
def test_a_city_of_this_file_alone(realdata, tmp_path, name):
    """`citytwin build`: 0 all stored, 1 something parked or rejected, 2 (an error of ours) nothing could be done."""
    if name == "none":
        pytest.skip("no MANIFEST.csv")
    source = alone(realdata, name, tmp_path / "source")
    try:
        result = build(source, tmp_path / "city")
    except CityTwinError as error:  # no CRS could be chosen for a city of nothing
        assert error.hint  # noqa: PT017 a refusal is allowed here, not wanted
        SUMMARY.append(f"{name:70} build: 2 {error.code}")
        return
    codes = {issue.code for report in result.reports for issue in report.issues}
    assert "READER_FAILED" not in codes
    assert result.exit_code == int(any(report.status in {"parked", "partly"} for report in result.reports))
    for report in result.reports:
        assert report.status != "parked" or report.issues[0].hint
        for layer in report.layers:
            assert layer.n_read == layer.n_stored + layer.n_rejected
    SUMMARY.append(f"{name:70} build: {result.exit_code} {', '.join(sorted(codes))}")
