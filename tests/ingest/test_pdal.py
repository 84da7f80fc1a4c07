"""PDAL pipelines: what happens without PDAL, and with it where it is installed."""

import importlib.util
import shutil

import laspy
import pytest

from ingest.points import las as pointcloud
from ingest.points import pdal_pipeline
from layers.errors import InvalidInput
from layers.source import Hints

HALF = ({"type": "filters.decimation", "step": 2},)


def test_without_pdal_the_message_says_how_to_get_it(realdata, monkeypatch):
    monkeypatch.setattr(pdal_pipeline.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(pdal_pipeline.shutil, "which", lambda _: None)
    with pytest.raises(InvalidInput) as caught:
        pointcloud.read(realdata / "pointcloud" / "autzen_trim.laz", Hints(pipeline=HALF))
    assert caught.value.code == "PDAL_MISSING"


@pytest.mark.parametrize("kind", ["writers.las", "filters.python", "readers.las", ""])
def test_only_filters_that_run_no_code_are_let_in(realdata, kind):
    with pytest.raises(InvalidInput) as caught:
        pointcloud.read(realdata / "pointcloud" / "autzen_trim.laz", Hints(pipeline=({"type": kind},)))
    assert caught.value.code == "PDAL_STAGE"


@pytest.mark.skipif(
    importlib.util.find_spec("pdal") is None and shutil.which("pdal") is None, reason="PDAL is not installed"
)
def test_a_filter_is_applied(realdata, tmp_path):
    [layer] = pointcloud.read(realdata / "pointcloud" / "autzen_trim.laz", Hints(pipeline=HALF)).layers
    layer.write(tmp_path / "a.copc.laz")
    assert len(laspy.read(tmp_path / "a.copc.laz")) == layer.meta["points"] == 55_000
