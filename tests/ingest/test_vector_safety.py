"""Bytes changed or cut at random in vector files: only a refusal of ours or a reading, never a crash."""

import contextlib

import ezdxf
import geopandas as gpd
import pyogrio
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest import reader_for
from layers.errors import CityTwinError
from layers.source import Hints

SUFFIXES = ("parquet", "dxf", "gml", "kml", "mif", "fgb")


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """Suffix -> bytes of a small good file."""
    folder = tmp_path_factory.mktemp("wholes")
    shapes = [shapely.box(121 + i / 100, 28, 121.005 + i / 100, 28.01) for i in range(4)]
    frame = gpd.GeoDataFrame({"name": list("abcd"), "floors": [1, 2, 3, 4]}, geometry=shapes, crs="EPSG:4326")
    frame.to_parquet(folder / "x.parquet")
    for suffix, driver in (("gml", "GML"), ("kml", "KML"), ("mif", "MapInfo File"), ("fgb", "FlatGeobuf")):
        pyogrio.write_dataframe(frame, folder / f"x.{suffix}", driver=driver)
    doc = ezdxf.new("R2000")
    doc.modelspace().add_lwpolyline([(0, 0), (5, 0), (5, 5)], close=True)
    doc.modelspace().add_text("a", dxfattribs={"insert": (1, 1)})
    doc.blocks.new("B").add_circle((0, 0), 1)
    doc.modelspace().add_blockref("B", (3, 3))
    doc.saveas(folder / "x.dxf")
    return {suffix: (folder / f"x.{suffix}").read_bytes() for suffix in SUFFIXES}


def changed(whole, cuts, flips):
    data = bytearray(whole)
    for at, value in flips:
        data[at % len(data)] = value
    return bytes(data[: len(data) if cuts is None else cuts % len(data)])


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    cuts=st.one_of(st.none(), st.integers(0, 1 << 20)),
    flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=8),
)
@pytest.mark.filterwarnings("ignore")
def test_broken_bytes_are_refused_or_read(tmp_path, wholes, suffix, cuts, flips):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(changed(wholes[suffix], cuts, flips))
    with contextlib.suppress(CityTwinError):
        reading = reader_for(path).read(path, Hints(crs="EPSG:4326"))
        for layer in reading.layers:
            n_stored = sum(len(batch) for batch in layer.batches())
            assert n_stored + len(layer.rejects) == layer.n_read
