"""Mutated bytes for the readers whose own tests have none: a reading, or a refusal in words, and nothing else.

Also mutated elsewhere: CityGML, CityJSON, DXF, E57, GeoParquet, GML, KML, MIF, FlatGeobuf, mesh files, EPANET, SWMM, 3D
Tiles, archives (tests/ingest/test_<reader>*.py). `HYPOTHESIS_EXAMPLES=5000` searches longer.
"""

# ruff: noqa: E501 what a file holds stays on its line

import io
import os
import zipfile
from pathlib import Path

import geopandas as gpd
import laspy
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

import ingest
from ingest.points import las as pointcloud
from layers.errors import CityTwinError
from layers.source import AssetLayer, Hints

CRS = "EPSG:4549"
EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "25"))


def cloud(format_id, path, n=300):
    """A file with a value in every dimension that its point format has."""
    rng = np.random.default_rng(format_id)
    header = laspy.LasHeader(point_format=format_id, version="1.4" if format_id >= 6 else "1.3")
    header.scales, header.offsets = np.full(3, 0.01), np.array([597000.0, 3109000.0, 0.0])
    las = laspy.LasData(header)
    las.x, las.y, las.z = (base + rng.random(n) * 90 for base in (597000.0, 3109000.0, 5.0))
    las.classification, las.intensity = rng.choice([2, 5, 6], n).astype(np.uint8), rng.integers(0, 65535, n)
    las.return_number, las.number_of_returns = np.ones(n, np.uint8), np.ones(n, np.uint8)
    for name in ("gps_time", "red", "green", "blue", "nir", "wavepacket_size"):
        if name in las.point_format.dimension_names:
            las[name] = np.arange(n, dtype=float) if name == "gps_time" else rng.integers(0, 60000, n)
    las.write(path)
    return path


@pytest.mark.parametrize("format_id", range(11))
def test_every_point_format_keeps_what_copc_has_a_place_for(tmp_path, format_id):
    """laspy on both sides: colours and infrared stay, waveforms are left out and this is said."""
    path = cloud(format_id, tmp_path / "a.las")
    reading = pointcloud.read(path, Hints(crs=CRS))
    reading.layers[0].write(tmp_path / "b.copc.laz")
    source, found = laspy.read(path), laspy.read(tmp_path / "b.copc.laz")
    names = ["X", "Y", "Z", "classification", "intensity"]
    names += [
        each for each in ("gps_time", "red", "green", "blue", "nir") if each in source.point_format.dimension_names
    ]
    assert found.point_format.id in {6, 7, 8}
    rows = [sorted(zip(*(np.asarray(las[name]).tolist() for name in names), strict=True)) for las in (source, found)]
    assert rows[0] == rows[1]
    is_waved = "wavepacket_size" in source.point_format.dimension_names
    assert ("LAS_WAVEFORMS_DROPPED" in {issue.code for issue in reading.issues}) == is_waved


PTX = "2\n2\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n" + "597001 3109001 5 0.5 1 2 3\n" * 4
PIPES = (
    "管线点编号,连接点号,X坐标,Y坐标,地面高程,管顶埋深,管径,材质\n"
    "WS1,WS2,3110000.5,598000.5,5.20,1.20,DN300,PVC\nWS2,WS1,3110020.5,598000.5,5.10,1.30,300mm,PVC\n"
)


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """Name of a small good file -> its bytes."""
    folder = tmp_path_factory.mktemp("wholes")
    for k in (3, 6):
        cloud(k, folder / f"f{k}.las", 40)
        laspy.read(folder / f"f{k}.las").write(folder / f"f{k}.laz")
    reading = pointcloud.read(folder / "f6.las", Hints(crs=CRS))
    reading.layers[0].write(folder / "g.copc.laz")
    frame = gpd.GeoDataFrame(
        {"name": ["楼一", "b"], "floors": [1, 2]}, geometry=[shapely.box(5e5, 31e5, 5e5 + k, 31e5 + 9) for k in (5, 9)], crs=CRS
    )  # fmt: skip
    frame.to_file(folder / "s.shp", encoding="gb18030")
    frame.to_file(folder / "p.gpkg")
    profile = {
        "driver": "GTiff",
        "height": 16,
        "width": 16,
        "count": 1,
        "dtype": "float32",
        "crs": CRS,
        "compress": "lzw",
    }
    with rasterio.open(folder / "dem.tif", "w", **profile, transform=from_origin(598000, 3110000, 1, 1)) as file:
        file.write(np.arange(256, dtype="float32").reshape(1, 16, 16))
    (folder / "dem.asc").write_text("ncols 3\nnrows 2\nxllcorner 598000\nyllcorner 3110000\ncellsize 1\n1 2 3\n4 5 6\n")
    (folder / "a.ptx").write_text(PTX)
    (folder / "pipes.csv").write_text(PIPES, "utf8")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("doc.kml", "<kml xmlns='http://www.opengis.net/kml/2.2'><Placemark><Point><coordinates>121,28"
                      "</coordinates></Point></Placemark></kml>")  # fmt: skip
    (folder / "k.kmz").write_bytes(packed.getvalue())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


MUTATED = [
    "f3.las", "f6.las", "f3.laz", "f6.laz", "g.copc.laz", "s.shp", "s.shx", "s.dbf", "s.cpg", "s.prj", "p.gpkg", "dem.tif",
    "dem.asc", "a.ptx", "pipes.csv", "k.kmz",
]  # fmt: skip


def consumed(path, folder):
    """Everything that the reader gives; what was read is stored or rejected."""
    layer = "dem" if path.stem == "dem" else None
    reading = ingest.read(path, Hints(crs=CRS, layer=layer))
    for each in reading.layers:
        if isinstance(each, AssetLayer):
            each.write(folder / f"out{each.suffix}")
        else:
            assert sum(len(batch) for batch in each.batches()) + len(each.rejects) == each.n_read


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MUTATED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    edits=st.lists(
        st.tuples(
            st.one_of(st.integers(0, 400), st.integers(0, 1 << 20)),
            st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 4, b"\xff" * 8, bytes(4), b"\x80", b"\x7f"])),
        ),
        max_size=6,
    ),
    cut=st.one_of(st.none(), st.integers(0, 1 << 20)),
)  # fmt: skip
def test_mutated_bytes_are_read_or_refused(tmp_path_factory, wholes, name, edits, cut):
    folder = tmp_path_factory.mktemp("fuzz")
    data = bytearray(wholes[name])
    for at, value in edits:
        at %= len(data)  # noqa: PLW2901
        data[at : at + len(value)] = value
    is_shapefile = name.startswith("s.")
    for each in [key for key in wholes if key.startswith("s.")] if is_shapefile else []:
        (folder / each).write_bytes(wholes[each])
    (folder / name).write_bytes(data if cut is None else data[: cut % len(data)])
    path = folder / ("s.shp" if is_shapefile else name)
    try:
        consumed(path, Path(folder))
    except CityTwinError as error:
        assert str(error)  # noqa: PT017 a refusal is as good as a reading
