"""Older clients over WFS: GDAL's driver (pyogrio), OWSLib, and QGIS's WFS provider, against the store's file."""

import json
import os
import subprocess

import numpy as np
import pyogrio
import pytest

from tests.stores import read_layer

pytestmark = [
    pytest.mark.client,
    pytest.mark.filterwarnings("ignore:The 'generic' unit for NumPy timedelta:DeprecationWarning"),
]

QGIS = """
import json, os, sys
from qgis.core import QgsApplication, QgsRectangle, QgsVectorLayer, QgsFeatureRequest
application = QgsApplication([], False)
application.initQgis()
address, version, box = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
source = f"srsname='EPSG:4549' typename='city:building' url='{address}wfs' version='{version}'"
source += " restrictToRequestBBOX='1'"
layer = QgsVectorLayer(source, "building", "WFS")
everything = {}
for feature in layer.getFeatures():
    box_of = feature.geometry().boundingBox()
    everything[feature["id"]] = [box_of.xMinimum(), box_of.yMinimum(), box_of.xMaximum(), box_of.yMaximum()]
within = QgsVectorLayer(source, "within", "WFS")
request = QgsFeatureRequest().setFilterRect(QgsRectangle(*box))
inside = [feature["id"] for feature in within.getFeatures(request)]
filtered = QgsVectorLayer(source, "filtered", "WFS")
filtered.setSubsetString('"height_m" > 30')
tall = [feature["id"] for feature in filtered.getFeatures()]
print(json.dumps({
    "valid": layer.isValid(), "error": layer.error().summary(), "crs": layer.crs().authid(),
    "fields": [field.name() for field in layer.fields()], "features": everything, "inside": inside, "tall": tall,
}))
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture(scope="module")
def stored(town_twin):
    """Buildings as GDAL's GPKG driver reads them from the store's file."""
    return read_layer(town_twin, "building").set_index("id")


def test_gdal_reads_every_building_in_its_place(town_url, stored):
    served = pyogrio.read_dataframe(f"WFS:{town_url}wfs", layer="city:building").set_index("id")
    assert set(served.index) == set(stored.index)
    served = served.loc[stored.index]
    np.testing.assert_allclose(served.geometry.bounds, stored.geometry.bounds, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(served["height_m"].to_numpy(), stored["height_m"].to_numpy())


def test_gdal_sends_its_filter_and_box(town_url, stored, town_log):
    tall = pyogrio.read_dataframe(f"WFS:{town_url}wfs", layer="city:building", where="height_m > 30")
    assert set(tall["id"]) == set(stored.index[stored["height_m"] > 30])
    west, south, east, north = stored.total_bounds
    box = (west, south, (west + east) / 2, (south + north) / 2)
    found = pyogrio.read_dataframe(f"WFS:{town_url}wfs", layer="city:building", bbox=box)
    assert set(found["id"]) == set(stored.cx[box[0] : box[2], box[1] : box[3]].index)
    assert "PropertyIsGreaterThan" in town_log.read_text()


@pytest.mark.parametrize("version", ["2.0.0", "1.1.0"])
def test_owslib_reads_capabilities_and_features(town_url, stored, version):
    from owslib.wfs import WebFeatureService

    service = WebFeatureService(f"{town_url}wfs", version=version)
    assert "city:building" in service.contents
    assert service.contents["city:building"].boundingBoxWGS84[0] == pytest.approx(121, abs=0.1)
    answer = service.getfeature(typename=["city:building"], maxfeatures=3).read()
    assert answer.count(b"<city:building ") == 3
    schema = service.get_schema("city:building")
    assert schema["properties"]["height_m"] == "double"


@pytest.mark.parametrize("version", ["2.0.0", "1.1.0"])
def test_qgis_reads_filters_and_boxes(qgis_python, town_url, stored, version):
    west, south, east, north = stored.total_bounds
    box = [west, south, (west + east) / 2, (south + north) / 2]
    command = [qgis_python, "-c", QGIS, town_url, version, json.dumps(box)]
    headless = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=headless)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert (found["valid"], found["crs"]) == (True, "EPSG:4549"), found["error"]
    assert {"id", "name", "height_m"} <= set(found["fields"])
    assert set(found["features"]) == set(stored.index)
    read = np.array([found["features"][key] for key in stored.index])
    np.testing.assert_allclose(read, stored.bounds.to_numpy(), rtol=0, atol=1e-3)
    assert set(found["inside"]) == set(stored.cx[box[0] : box[2], box[1] : box[3]].index)
    assert set(found["tall"]) == set(stored.index[stored["height_m"] > 30])
