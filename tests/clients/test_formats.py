"""Formats of the served town, read by GDAL and geopandas from the real process, against its GeoJSON answer."""

import io
import json
import os
import subprocess
from pathlib import Path

import geopandas
import httpx
import numpy as np
import pyogrio
import pytest
import shapely

pytestmark = pytest.mark.client

LAYERS = ["building", "pipe_water", "lamp", "parcel", "road"]


@pytest.fixture(scope="module")
def client(town_url):
    with httpx.Client(base_url=town_url, timeout=120) as session:
        yield session


def everything(client, layer, query):
    """All features of a layer over GeoJSON pages."""
    found, path = [], f"collections/{layer}/items?limit=10000&{query}"
    while path:
        page = client.get(path).raise_for_status().json()
        found += page["features"]
        path = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_come_whole_in_every_format(client, layer, tmp_path):
    if client.get(f"collections/{layer}").status_code == 404:
        pytest.skip(f"the town has no {layer}")
    expected = everything(client, layer, "crs=EPSG:4549")
    shapes = [shapely.from_geojson(json.dumps(each["geometry"])) for each in expected]
    bounds = shapely.total_bounds(shapes)[[1, 0, 3, 2]]  # EPSG:4549 is north first in GeoJSON, east first in files
    for name in ("fgb", "parquet", "gpkg"):
        content = client.get(f"collections/{layer}/items?f={name}&crs=EPSG:4549").raise_for_status().content
        path = tmp_path / f"{layer}.{name}"
        path.write_bytes(content)
        frame = geopandas.read_parquet(path) if name == "parquet" else pyogrio.read_dataframe(path)
        assert frame["id"].tolist() == [each["id"] for each in expected]
        np.testing.assert_allclose(frame.total_bounds, bounds, atol=1e-3)
        np.testing.assert_allclose(frame.geometry.length, shapely.length(shapes), rtol=1e-6, atol=1e-3)


def test_a_filter_goes_into_the_file(client):
    answer = client.get("collections/building/items?f=fgb&filter=height_m%20%3E%2030").raise_for_status()
    frame = pyogrio.read_dataframe(io.BytesIO(answer.content))
    assert len(frame) == int(answer.headers["OGC-NumberMatched"]) > 0
    assert (frame["height_m"] > 30).all()


def test_a_download_is_begun_before_it_is_done(client):
    with client.stream("GET", "collections/vegetation/items?f=csv") as answer:
        assert answer.headers["content-type"].startswith("text/csv")
        first = next(answer.iter_bytes())
        assert first.startswith(b"\xef\xbb\xbf")
    # a reader that goes away does not harm the next one
    assert client.get("collections/vegetation/items?f=csv&limit=1").status_code == 200


def test_cityjson_of_the_town_has_every_building(client):
    document = client.get("collections/building/items?f=cityjson").raise_for_status().json()
    count = client.get("collections/building").json()["itemCount"]
    assert len(document["CityObjects"]) == count
    kinds = {geometry["type"] for each in document["CityObjects"].values() for geometry in each.get("geometry", [])}
    assert "Solid" in kinds
    lines = client.get("collections/building/items?f=cityjsonseq").text.splitlines()
    assert len(lines) == count + 1
    assert {json.loads(line)["id"] for line in lines[1:]} == set(document["CityObjects"])


def test_gdal_reads_json_fg_of_pipes_with_heights(client, tmp_path):
    path = tmp_path / "roads.json"
    path.write_bytes(client.get("collections/road/items?f=jsonfg&limit=50").raise_for_status().content)
    info = pyogrio.read_info(path)
    assert info["driver"] == "JSONFG"
    assert info["features"] == min(50, client.get("collections/road").json()["itemCount"])
    assert "4549" in info["crs"]


def test_qgis_opens_the_files(qgis_python, client, tmp_path):
    expected = everything(client, "building", "crs=EPSG:4549")
    shapes = [shapely.from_geojson(json.dumps(each["geometry"])) for each in expected]
    bounds = shapely.total_bounds(shapes)[[1, 0, 3, 2]]
    paths = [str(tmp_path / f"building.{name}") for name in ("fgb", "gpkg")]
    for path in paths:
        name = path.rsplit(".")[-1]
        answer = client.get(f"collections/building/items?f={name}&crs=EPSG:4549").raise_for_status()
        Path(path).write_bytes(answer.content)
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA"):
        environment.pop(name, None)
    command = [qgis_python, str(Path(__file__).with_name("qgis_files.py")), *paths]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr[-3000:]
    for path, said in json.loads(lines[-1]).items():
        assert said["valid"], path
        assert (said["count"], said["crs"], said["type"]) == (len(expected), "EPSG:4549", "MultiPolygon")
        np.testing.assert_allclose(said["extent"], bounds, atol=0.01)
        assert said["names"] == sorted(each["id"] for each in expected)
        assert said["fields"]["floors"] == "Integer64"
        assert said["fields"]["key_energy"] == "Boolean"
