"""Files made to harm: bombs, names that lead out, entities, lying lengths, depth, loops, pipes, files that change.

Each is read by a process of its own within 30 s and 1 GB, and either refused in words or read in part, never worse.
"""

# ruff: noqa: E501 what a file holds stays on its line

import io
import json
import os
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import geopandas as gpd
import laspy
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

import ingest
from ingest import scan
from layers.errors import InvalidInput
from layers.source import Hints
from server.build import build
from tests.ingest.conftest import realdata_folder
from tests.ingest.read_server import ReadServer

CRS = "EPSG:4549"
MEMORY_MB = 1000
GB = 1 << 30


@pytest.fixture(scope="module")
def server():
    made = ReadServer(limit_s=30)
    yield made
    made.close()


def judged(server, path, *, may_read=False, **hints):
    found = server.read(path, **({"crs": CRS} | hints))
    assert found["outcome"] in ({"refused", "read"} if may_read else {"refused"}), found
    assert found["megabytes"] < MEMORY_MB, found
    if found["outcome"] == "refused":
        assert len(found["said"]) > 20
    return found


# --- archives ---

MAIN = {
    ".kmz": "doc.kml", ".ifczip": "model.ifc", ".gdb.zip": "a.gdb/a00000001.gdbtable", ".3tz": "tileset.json",
    ".xlsx": "xl/worksheets/sheet1.xml",
}  # fmt: skip


def zipped(path, files, kind=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            if kind is not None:
                entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
            with file.open(entry, "w") as target:
                for block in data if isinstance(data, list) else [data]:
                    target.write(block)
    return path


@pytest.mark.parametrize("suffix", MAIN)
def test_a_zip_bomb_is_not_unpacked(server, tmp_path, suffix):
    path = zipped(tmp_path / f"a{suffix}", {MAIN[suffix]: [bytes(1 << 20)] * 400})
    assert path.stat().st_size < 1_000_000
    found = judged(server, path)
    assert found["code"] == "ARCHIVE_TOO_LARGE"
    assert found["megabytes"] < 300  # of 400 packed; the libraries alone are some 200


@pytest.mark.parametrize("suffix", MAIN)
def test_an_archive_in_an_archive_is_no_source(server, tmp_path, suffix):
    inner = zipped(tmp_path / "inner.zip", {MAIN[suffix]: [bytes(1 << 20)] * 100}).read_bytes()
    judged(server, zipped(tmp_path / f"a{suffix}", {f"inner{suffix}": inner}))
    judged(server, zipped(tmp_path / f"b{suffix}", {MAIN[suffix]: inner}))


@pytest.mark.parametrize("suffix", MAIN)
@pytest.mark.parametrize(
    ("name", "kind"),
    [("../out", None), ("/tmp/out", None), ("C:\\out", None), ("link", stat.S_IFLNK), ("tube", stat.S_IFIFO)],
)
def test_entries_that_lead_out_are_not_unpacked(server, tmp_path, suffix, name, kind):
    path = zipped(tmp_path / f"a{suffix}", {name: b"../../etc/passwd", MAIN[suffix]: b"x"}, kind)
    assert judged(server, path)["code"] == "ARCHIVE_UNSAFE"
    assert {each.name for each in tmp_path.iterdir()} == {path.name}


# --- XML ---

LAUGHS = "<!DOCTYPE a [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + k)} '{f'&{chr(97 + k)};' * 20}'>" for k in range(8)
) + "]>"  # fmt: skip
OUTSIDE = "<!DOCTYPE a [<!ENTITY i SYSTEM 'file:///etc/passwd'>]>"
BODIES = {
    "a.gml": "<FeatureCollection xmlns='http://www.opengis.net/gml'><description>&i;</description></FeatureCollection>",
    "city.gml": "<CityModel xmlns='http://www.opengis.net/citygml/2.0'><name>&i;</name></CityModel>",
    "a.kml": "<kml xmlns='http://www.opengis.net/kml/2.2'><Document><name>&i;</name></Document></kml>",
    "metadata.xml": "<ModelMetadata version='1'><SRS>&i;</SRS><SRSOrigin>0,0,0</SRSOrigin></ModelMetadata>",
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("prolog", [LAUGHS, OUTSIDE], ids=["laughs", "outside"])
def test_xml_entities_are_not_expanded(server, tmp_path, name, prolog):
    (tmp_path / name).write_text(f"<?xml version='1.0'?>{prolog}{BODIES[name]}", "utf8")
    path = tmp_path / name
    if name == "metadata.xml":
        path = tmp_path / "a.obj"
        path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    found = judged(server, path) if name != "metadata.xml" else server.read(path)
    assert (found["outcome"], found["code"]) == ("refused", "XML_ENTITIES")
    assert "root:" not in found["said"]


def test_xml_entities_in_a_kmz(server, tmp_path):
    path = zipped(tmp_path / "a.kmz", {"doc.kml": f"<?xml version='1.0'?>{LAUGHS}{BODIES['a.kml']}".encode()})
    assert judged(server, path)["code"] == "XML_ENTITIES"


@pytest.mark.parametrize("name", ["a.gml", "city.gml", "a.kml"])
def test_xml_that_is_a_million_deep(server, tmp_path, name):
    head = BODIES[name].split("<", 2)[1]
    (tmp_path / name).write_text(f"<{head}{'<a>' * 1_000_000}", "utf8")
    judged(server, tmp_path / name)


# --- lengths that lie ---


def las_bytes(version="1.4", point_format=6, n=50):
    las = laspy.create(point_format=point_format, file_version=version)
    las.header.scales, las.header.offsets = np.full(3, 0.01), np.array([597000.0, 3109000.0, 0.0])
    las.x, las.y, las.z = (base + np.arange(n) for base in (597000.0, 3109000.0, 5.0))
    target = io.BytesIO()
    las.write(target)
    return target.getvalue()


def put(data, at, layout, *values):
    data = bytearray(data)
    struct.pack_into(layout, data, at, *values)
    return bytes(data)


LAS_LIES = [
    (96, "<I", 0xFFFFFFFF), (100, "<I", 0xFFFFFFFF), (94, "<H", 0xFFFF), (105, "<H", 0), (105, "<H", 0xFFFF),
    (104, "<B", 63), (131, "<d", float("nan")), (131, "<d", 0.0), (155, "<d", 1e308), (235, "<Q", 2**63),
    (243, "<I", 0xFFFFFFFF), (247, "<Q", 2**64 - 1), (247, "<Q", 2**40), (25, "<B", 9), (104, "<B", 128 + 6),
]  # fmt: skip


@pytest.mark.parametrize(("at", "layout", "value"), LAS_LIES)
def test_a_las_header_that_lies(server, tmp_path, at, layout, value):
    (tmp_path / "a.las").write_bytes(put(las_bytes(), at, layout, value))
    judged(server, tmp_path / "a.las", may_read=at in {155, 235})


@pytest.mark.parametrize("suffix", [".laz", ".copc.laz"])
def test_las_under_the_name_of_laz(server, tmp_path, suffix):
    """The names count little; the bytes do."""
    (tmp_path / f"a{suffix}").write_bytes(las_bytes())
    judged(server, tmp_path / f"a{suffix}", may_read=True)


@pytest.fixture(scope="module")
def frame():
    return gpd.GeoDataFrame({"name": list("abc")}, geometry=[shapely.box(k, 0, k + 1, 1) for k in range(3)], crs=CRS)


SHAPE_LIES = [
    ("shp", 24, ">I", 0x7FFFFFFF), ("shp", 104, ">I", 0x7FFFFFFF), ("shp", 100, ">I", 0xFFFFFFFF),
    ("shp", 144, "<I", 0x7FFFFFFF), ("shp", 148, "<I", 0x7FFFFFFF), ("shp", 32, "<I", 99),
    ("shx", 100, ">I", 0x7FFFFFF0), ("shx", 104, ">I", 0x7FFFFFFF), ("shx", 24, ">I", 0x7FFFFFFF),
    ("dbf", 4, "<I", 0x7FFFFFFF), ("dbf", 8, "<H", 0), ("dbf", 8, "<H", 0xFFFF), ("dbf", 10, "<H", 0),
    ("dbf", 10, "<H", 0xFFFF), ("dbf", 48, "<B", 255),
]  # fmt: skip


@pytest.mark.parametrize(("part", "at", "layout", "value"), SHAPE_LIES)
def test_a_shapefile_that_lies(server, tmp_path, frame, part, at, layout, value):
    frame.to_file(tmp_path / "a.shp", engine="pyogrio")
    path = tmp_path / f"a.{part}"
    path.write_bytes(put(path.read_bytes(), at, layout, value))
    judged(server, tmp_path / "a.shp", may_read=True)


def tiff(width, height, *, next_ifd=0, entries=None, bits=32):
    """A TIFF of one strip, little-endian (TIFF 6.0)."""
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
        (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 16), (339, 3, 1, 3),
    ]  # fmt: skip
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    n = len(tags) if entries is None else entries
    return struct.pack("<2sHI16s", b"II", 42, 24, b"") + struct.pack("<H", n) + body + struct.pack("<I", next_ifd)


TIFFS = {
    "loop": tiff(4, 1, next_ifd=24), "huge": tiff(1_000_000, 1_000_000), "wide": tiff(0xFFFFFFFF, 1),
    "none": tiff(0, 0), "entries": tiff(4, 4, entries=0xFFFF), "bits": tiff(4, 4, bits=65535),
    "nowhere": struct.pack("<2sHI", b"II", 42, 0xFFFFFFF0), "big": struct.pack("<2sHHHQ", b"II", 43, 8, 0, 2**63),
}  # fmt: skip


@pytest.mark.parametrize("name", TIFFS)
def test_a_tiff_that_lies(server, tmp_path, name):
    (tmp_path / "dem.tif").write_bytes(TIFFS[name])
    (tmp_path / "dem.tfw").write_text("1\n0\n0\n-1\n597000\n3109000\n")
    judged(server, tmp_path / "dem.tif", layer="dem", may_read=name == "loop")


TEXTS = {
    "a.asc": "ncols 1000000000\nnrows 1000000000\nxllcorner 597000\nyllcorner 3109000\ncellsize 1\n1 2 3\n",
    "b.asc": "ncols -1\nnrows 2\nxllcorner 597000\nyllcorner 3109000\ncellsize nan\n1 2 3\n",
    "c.ptx": "1000000\n1000000\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n1 1 1 0.5\n",
    "d.ptx": "1" * 100_000 + "\n1\n",
    "e.ply": "ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\nproperty float y\n"
    "property float z\nelement face 4000000000\nproperty list uint uint vertex_indices\nend_header\nxxxx",
    "f.ply": "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    "element face 1\nproperty list uint uint vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n4000000000 0 1 2\n",
    "g.ply": "ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\nproperty float y\n"
    "property float z\nend_header\nxxxx",
    "h.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4000000000\nf -4000000000 1 2\n",
    "i.obj": "v 1e400 nan 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    "j.stl": b"\0" * 80 + struct.pack("<I", 0xFFFFFFFF) + b"x" * 50,
    "k.stl": "solid a\n" + "facet normal 0 0 1\nouter loop\n" * 50_000,
    "l.inp": "[JUNCTIONS]\n" + "a " * 1_000_000 + "\n[COORDINATES]\na 1 1\n",
    "m.inp": "[CONDUITS]\na b c 1e999 1e999\n[COORDINATES]\nb nan nan\n",
    "n.ifc": "ISO-10303-21;\nHEADER;\nFILE_SCHEMA(('IFC4'));\nENDSEC;\nDATA;\n#1=IFCPROJECT('0$1',#1,#1,$,$,$,$,(#1),#1);\n"
    "ENDSEC;\nEND-ISO-10303-21;\n",
    "o.ifc": "ISO-10303-21;\nHEADER;\nFILE_SCHEMA(('IFC4'));\nENDSEC;\nDATA;\n#1=IFCPROJECT('0$1',$,'" + "x" * 1_000_000
    + "',$,$,$,$,$,$);\nENDSEC;\nEND-ISO-10303-21;\n",
    "p.ifc": "ISO-10303-21;\nHEADER;\nFILE_SCHEMA(('IFC4'));\nENDSEC;\nDATA;\n#1=IFCPROJECT(" + "(" * 100_000 + ";\n"
    "ENDSEC;\nEND-ISO-10303-21;\n",
    "q.ifc": "ISO-10303-21;\nHEADER;\nFILE_SCHEMA(('IFC4'));\nENDSEC;\nDATA;\n#1=IFCPROJECT('0YvctVUKr0kugbFTf53O9L',$,$,$,$,$,$,$,$);\n"
    "#2=IFCSITE('1YvctVUKr0kugbFTf53O9L',$,$,$,$,#3,$,$,$,(49,5,0),(8,26,0),1.,$,$);\n#3=IFCLOCALPLACEMENT(#3,#4);\n"
    "#4=IFCAXIS2PLACEMENT3D(#5,$,$);\n#5=IFCCARTESIANPOINT((0.,0.,0.));\n"
    "#6=IFCRELAGGREGATES('2YvctVUKr0kugbFTf53O9L',$,$,$,#1,(#2));\n"
    "#7=IFCRELAGGREGATES('3YvctVUKr0kugbFTf53O9L',$,$,$,#2,(#2,#1));\nENDSEC;\nEND-ISO-10303-21;\n",
    "r.dxf": "0\nSECTION\n2\nENTITIES\n" + "0\nINSERT\n2\nA\n" * 3 + "0\nENDSEC\n0\nEOF\n",
    "s.dxf": "0\nSECTION\n2\nBLOCKS\n0\nBLOCK\n8\n0\n2\nA\n70\n0\n10\n0\n20\n0\n30\n0\n0\nINSERT\n8\n0\n2\nA\n10\n0\n20\n0\n"
    "0\nENDBLK\n0\nENDSEC\n0\nSECTION\n2\nENTITIES\n0\nINSERT\n8\n0\n2\nA\n10\n0\n20\n0\n0\nENDSEC\n0\nEOF\n",
    "t.mif": "Version 300\nCharset \"Neutral\"\nDelimiter \",\"\nColumns 1\n a Integer\nData\n\nPline Multiple 2000000000\n",
    "u.csv": "x,y\n" + "1,2," * 2_000_000 + "\n",
    "v.csv": "x,y," + ",".join(f"c{k}" for k in range(200_000)) + "\n1,2\n",
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_text_files_that_lie_or_never_end(server, tmp_path, name):
    data = TEXTS[name]
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    judged(server, tmp_path / name, may_read=name[0] in "hiqrst", city_crs="EPSG:25832")


def glb(body, binary=b""):
    text = json.dumps(body).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def model(**accessor):
    return {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"} | accessor],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }


GLTF_LIES = {
    "count": model(count=4_000_000_000), "no view": model(bufferView=None, count=2_000_000_000),
    "sparse": model(bufferView=None, count=2_000_000_000, sparse={"count": 2_000_000_000}), "negative": model(count=-3),
    "offset": model(byteOffset=2**63), "float": model(count=1e308), "type": model(type="MAT4"),
    "instances": model() | {"nodes": [{"mesh": 0}] * 300_000, "scenes": [{"nodes": list(range(300_000))}]},
    "buffer": model() | {"buffers": [{"byteLength": 2**62, "uri": "data:;base64,AAAA"}]},
    "view": model() | {"bufferViews": [{"buffer": 0, "byteOffset": -36, "byteLength": 2**62}]},
}  # fmt: skip


@pytest.mark.parametrize("name", GLTF_LIES)
def test_a_gltf_that_lies(server, tmp_path, name):
    (tmp_path / "a.glb").write_bytes(glb(GLTF_LIES[name], np.eye(3, dtype="<f4").tobytes()))
    judged(server, tmp_path / "a.glb", unit_scale=1.0, may_read=name in {"instances", "type"})


TILES = {
    "a.b3dm": struct.pack("<4s6I", b"b3dm", 1, 0xFFFFFFFF, 0xFFFFFFFF, 0, 0, 0),
    "b.b3dm": struct.pack("<4s6I", b"b3dm", 1, 28, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    "c.i3dm": struct.pack("<4s7I", b"i3dm", 1, 60, 28, 0, 0, 0, 1) + b'{"INSTANCES_LENGTH":4000000000}'[:28],
    "d.pnts": struct.pack("<4s6I", b"pnts", 1, 76, 48, 0, 0, 0)
    + b'{"POINTS_LENGTH":4e9,"POSITION":{"byteOffset":0}}'[:48],
    "e.cmpt": struct.pack("<4s3I", b"cmpt", 1, 16, 0xFFFFFFFF),
    "f.cmpt": struct.pack("<4s3I", b"cmpt", 1, 32, 1) + struct.pack("<4s3I", b"cmpt", 1, 0, 1),
    "g.cmpt": b"".join(struct.pack("<4s3I", b"cmpt", 1, 16 * (5000 - k), 1) for k in range(5000)),
    "h.glb": struct.pack("<4s4I", b"glTF", 2, 0xFFFFFFFF, 0xFFFFFFFF, 0),
}


@pytest.mark.parametrize("name", TILES)
def test_a_tile_that_lies(server, tmp_path, name):
    (tmp_path / name).write_bytes(TILES[name])
    judged(server, tmp_path / name)


def parquet(path, geo, n=3):
    table = pa.table({"geometry": pa.array([shapely.Point(k, k).wkb for k in range(n)]), "a": list(range(n))})
    pq.write_table(table.replace_schema_metadata({b"geo": geo}), path)
    return path


GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {"geometry": {"encoding": "WKB", "geometry_types": []}},
}
GEOS = {
    "deep": b"[" * 1_000_000, "null": b"null", "list": b"[]", "text": b'"x"', "not JSON": b"\xff\xfe",
    "columns": json.dumps(GEO | {"columns": []}).encode(), "primary": json.dumps(GEO | {"primary_column": ["x"]}).encode(),
    "absent": json.dumps(GEO | {"primary_column": "x"}).encode(),
    "crs": json.dumps(GEO | {"columns": {"geometry": {"encoding": "WKB", "crs": {"a": [[[[1e308]]]]}}}}).encode(),
    "crs text": json.dumps(GEO | {"columns": {"geometry": {"encoding": "WKB", "crs": "x" * 1_000_000}}}).encode(),
    "encoding": json.dumps(GEO | {"columns": {"geometry": {"encoding": {"a": 1}}}}).encode(),
    "bbox": json.dumps(GEO | {"columns": {"geometry": {"encoding": "WKB", "bbox": ["a"], "covering": 5}}}).encode(),
    "point": json.dumps(GEO | {"columns": {"geometry": {"encoding": "point"}}}).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", GEOS)
def test_geoparquet_metadata_that_lies(server, tmp_path, name):
    judged(server, parquet(tmp_path / "a.parquet", GEOS[name]), may_read=True)


@pytest.mark.parametrize(
    "value", [b"\1\3\0\0\0\xff\xff\xff\xff", b"\1\7\0\0\0\1\0\0\0" * 5000, b"\1\x02\0\0\0\0\0\0\x80", b""]
)
def test_well_known_binary_that_lies(server, tmp_path, value):
    table = pa.table({"geometry": pa.array([value, shapely.Point(1, 1).wkb]), "a": [1, 2]})
    pq.write_table(table.replace_schema_metadata({b"geo": json.dumps(GEO).encode()}), tmp_path / "a.parquet")
    judged(server, tmp_path / "a.parquet", may_read=True)


@pytest.mark.parametrize(("at", "value"), [(16, 2**63), (24, 2**62), (32, 2**62), (24, 0), (40, 2**62), (40, 1)])
def test_an_e57_header_that_lies(server, tmp_path, at, value):
    header = struct.pack("<8sIIQQQQ", b"ASTM-E57", 1, 0, 1024, 48, 100, 1024)
    (tmp_path / "a.e57").write_bytes(put(header.ljust(1024, b"\0"), at, "<Q", value))
    judged(server, tmp_path / "a.e57")


# --- JSON ---


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.city.json", "a.city.jsonl", "a.gltf", "tileset.json"])
@pytest.mark.parametrize("kind", ["lists", "objects", "inside", "digits", "huge"])
def test_json_of_great_depth_or_size(server, tmp_path, name, kind):
    head = {
        "a.geojson": '{"type":"FeatureCollection","features":[', "a.json": '{"type":"Feature","geometry":',
        "a.city.json": '{"type":"CityJSON","version":"2.0","CityObjects":{"a":', "a.gltf": '{"asset":{"version":"2.0"},"a":',
        "a.city.jsonl": '{"type":"CityJSON","version":"2.0","CityObjects":{},"x":', "tileset.json": '{"asset":{"version":"1.1"},"root":',
    }[name]  # fmt: skip
    text = {
        "lists": "[" * 1_000_000, "objects": '{"a":' * 1_000_000, "inside": head + "[" * 1_000_000 + "]" * 1_000_000,
        "digits": head + "9" * 1_000_000, "huge": head + '{"type":"Point","coordinates":[1e400,-1e999]}',
    }[kind]  # fmt: skip
    (tmp_path / name).write_text(text)
    judged(server, tmp_path / name)


# --- very long files that take no room on the disk ---

BEGINNINGS = {
    ".city.json": '{"type":"CityJSON","version":"2.0","CityObjects":{},"a":"', ".city.jsonl": '{"type":"CityJSON","a":"',
    ".csv": "x,y\n", ".e57": "ASTM-E57", ".gml": "<FeatureCollection>", ".ifc": "ISO-10303-21;\n", ".json": '{"a":"',
    ".geojson": '{"type":"FeatureCollection","features":["', ".gltf": '{"asset":{"version":"2.0"},"a":"', ".ply": "ply\n",
    ".inp": "[JUNCTIONS]\n", ".kml": "<kml>", ".obj": "v ", ".ptx": "10\n10\n", ".stl": "solid a\n", ".dxf": "0\nSECTION\n",
    "tileset.json": '{"asset":{"version":"1.1"},"root":"', ".citygml": "<CityModel xmlns='http://www.opengis.net/citygml/2.0'>",
    ".las": "LASF", ".gpkg": "SQLite format 3\0", ".asc": "ncols 2\n", ".mif": "Version 300\n", ".glb": "glTF", ".b3dm": "b3dm",
}  # fmt: skip


@pytest.mark.parametrize("suffix", [each for each in ingest.READERS if each not in {".gdb", ".osm.pbf", ".img"}])
def test_a_gigabyte_of_nothing(server, tmp_path, suffix):
    path = tmp_path / (suffix if suffix == "tileset.json" else f"a{suffix}")
    path.write_bytes(BEGINNINGS.get(suffix, "").encode())
    os.truncate(path, GB)
    found = judged(server, path, layer="dem" if suffix in {".tif", ".asc", ".png"} else None)
    assert found["megabytes"] < MEMORY_MB


# --- files that are none, and files that change ---


@pytest.mark.parametrize("name", ["a.geojson", "a.las", "a.obj", "tileset.json", "a.tif", "a.inp", "a.json", "a.ply"])
def test_a_pipe_is_refused_and_not_waited_for(server, tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert judged(server, tmp_path / name)["code"] == "FILE_UNREADABLE"


def test_a_device_is_refused(server, tmp_path):
    (tmp_path / "a.csv").symlink_to("/dev/zero")
    assert judged(server, tmp_path / "a.csv")["code"] == "FILE_UNREADABLE"


@pytest.fixture(scope="module")
def there(frame):
    """The three squares where their CRS is used."""
    return frame.set_geometry(shapely.transform(frame.geometry, lambda xy: xy + np.array([598000, 3110000])))


def good(folder, frame):
    folder.mkdir()
    frame.to_file(folder / "building.geojson", driver="GeoJSON")
    return folder


def test_pipes_beside_good_files_are_named_and_cost_only_themselves(tmp_path, there):
    source = good(tmp_path / "source", there)
    for name in ("a.geojson", "b.csv", "c.json", "d.b3dm", "tileset.json"):
        os.mkfifo(source / name)
    (source / "sub").mkdir()
    there.to_file(source / "sub" / "e.shp")
    (source / "sub" / "e.prj").unlink()
    os.mkfifo(source / "sub" / "e.prj")
    result = build(source, tmp_path / "city")
    status = {report.source: report.status for report in result.reports}
    assert status["building.geojson"] == "stored"
    assert {name for name, each in status.items() if each == "parked"} == set(status) - {"building.geojson"}
    assert {"a.geojson", "b.csv", "sub/e.shp"} <= set(status)
    assert result.exit_code == 1


def test_a_source_hash_does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    [file] = scan.sources(tmp_path)
    assert file.sha256 == ""
    with pytest.raises(InvalidInput, match="pipe"):
        file.check()


def test_names_like_flags_are_names(tmp_path, there):
    for name in ("-rf.geojson", "--help.geojson", "$(touch x).geojson", "1#b.geojson"):
        there.to_file(tmp_path / "plain.geojson", driver="GeoJSON")
        (tmp_path / "plain.geojson").rename(tmp_path / name)
        reading = ingest.read(tmp_path / name, Hints(root=tmp_path))
        assert sum(len(batch) for layer in reading.layers for batch in layer.batches()) == 3
    assert not (tmp_path / "x").exists()
    (tmp_path / "1#b.geojson").rename(tmp_path / "a!b.geojson")  # which GDAL's Python face takes for an address
    with pytest.raises(InvalidInput, match="a!b"):
        ingest.read(tmp_path / "a!b.geojson", Hints(root=tmp_path))


@pytest.mark.parametrize("suffix", ["geojson", "gpkg", "fgb", "parquet", "csv", "shp", "las"])
@pytest.mark.parametrize("change", ["gone", "cut", "other"])
def test_a_file_that_changes_while_it_is_read_is_parked(tmp_path, there, monkeypatch, suffix, change):
    """After the reader has opened it and before its rows are taken; the build goes on with the others."""
    source = good(tmp_path / "source", there)
    path = source / f"changing.{suffix}"
    moved = gpd.read_file(source / "building.geojson")
    if suffix == "parquet":
        moved.to_parquet(path)
    elif suffix == "csv":
        path.write_text("x,y,name\n" + "598000,3110000,a\n" * 1000)
        (source / "city.toml").write_text(f'[[source]]\npath = "changing.csv"\ncrs = "{CRS}"\n')
    elif suffix == "las":
        path.write_bytes(las_bytes())
        (source / "city.toml").write_text(f'[[source]]\npath = "changing.las"\ncrs = "{CRS}"\n')
    else:
        moved.to_file(path)
    read = ingest.read

    def read_and_change(each, hints):
        reading = read(each, hints)
        if each.name == path.name:
            if change == "gone":
                each.unlink()
            else:
                each.write_bytes(each.read_bytes()[: each.stat().st_size // 2] if change == "cut" else b"x" * 999)
        return reading

    monkeypatch.setattr(ingest, "read", read_and_change)
    result = build(source, tmp_path / "city")
    status = {report.source: report.status for report in result.reports}
    assert status["building.geojson"] == "stored"
    assert result.exit_code == int("parked" in status.values() or "partly" in status.values())
    codes = {issue.code for report in result.reports for issue in report.issues}
    assert "READER_FAILED" not in codes


# --- the command ---


def test_the_command_says_it_in_words(tmp_path):
    """One run over one file of each kind: exit 1, every file named, no traceback."""
    for name, data in TEXTS.items():
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    (tmp_path / "bomb.kmz").write_bytes(zipped(tmp_path / "x.zip", {"doc.kml": [bytes(1 << 20)] * 200}).read_bytes())
    (tmp_path / "-v.geojson").write_text("[" * 100_000)
    os.mkfifo(tmp_path / "tube.csv")
    files = sorted(str(path) for path in tmp_path.iterdir() if path.suffix != ".zip")
    command = [sys.executable, "-m", "server.cli", "check", "--crs", CRS, *files]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == 1, done.stderr[-2000:]
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert "READER_FAILED" not in said
    for path in files:
        assert Path(path).name in said


# --- the real ones ---

BAD = sorted((realdata_folder() / "bad").glob("*")) if realdata_folder().is_dir() else []


@pytest.mark.parametrize("path", BAD or [Path("none")], ids=lambda path: path.name)
def test_real_bad_files_within_30_s_and_1_gb(server, realdata, path):
    """With all that a user could tell about them, so that what is bad in them is met."""
    if not BAD:
        pytest.skip("no realdata folder")
    nowhere = "+proj=tmerc +ellps=GRS80 +units=m"
    for hints in ({}, {"crs": nowhere, "city_crs": "EPSG:25832"}, {"crs": "EPSG:4326", "layer": "dem"}):
        found = server.read(path, **hints)
        assert found["outcome"] in {"refused", "read"}, found
        assert found["whole_mb"] < MEMORY_MB
        assert found["outcome"] == "refused" or found["said"] or found["features"]
