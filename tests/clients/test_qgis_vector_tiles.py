"""QGIS 3.40 reads the vector tiles of the whole city with the served style and draws buildings where they are."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
import shapely
from PIL import Image

from tests.stores import read_layer

pytestmark = pytest.mark.client

SCRIPT = Path(__file__).with_name("qgis_vector_tiles.py")


def test_the_served_style_is_understood_and_drawn(qgis_python, town_url, town_twin, tmp_path):
    footprints = read_layer(town_twin, "building").to_crs(3857)
    x, y = np.median(footprints.centroid.x), np.median(footprints.centroid.y)
    bounds = [x - 300, y - 300, x + 300, y + 300]
    png = tmp_path / "tiles.png"
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA"):
        environment.pop(name, None)
    command = [qgis_python, str(SCRIPT), town_url, *map(str, bounds), str(png)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr[-3000:]
    said = json.loads(lines[-1])
    assert (said["valid"], said["errors"]) == (True, [])
    style = httpx.get(f"{town_url}styles/city").json()
    drawn_types = {"fill", "line", "circle"}
    wanted = {layer["source-layer"] for layer in style["layers"] if layer["type"] in drawn_types}
    assert wanted <= {layer for _, layer in said["rules"]}
    with Image.open(png) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    columns, rows = np.meshgrid(bounds[0] + np.arange(600) + 0.5, bounds[3] - np.arange(600) - 0.5)
    inside = shapely.contains_xy(shapely.union_all(shapely.buffer(footprints.geometry.to_numpy(), -4)), columns, rows)
    (colour,) = {
        layer["paint"]["fill-color"]
        for layer in style["layers"]
        if layer["id"] == "building" and layer["type"] == "fill"
    }
    expected = np.array(list(bytes.fromhex(colour.removeprefix("#"))))
    like = np.abs(pixels - expected).max(axis=2) < 30
    assert inside.sum() > 5000
    assert like[inside].mean() > 0.7  # points of other layers lie on some roofs
    outside = ~shapely.contains_xy(shapely.union_all(shapely.buffer(footprints.geometry.to_numpy(), 4)), columns, rows)
    assert like[outside].mean() < 0.1
