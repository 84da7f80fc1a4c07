"""Several workers on one twin: what another process adds is there with the next request, in each of them."""

import json
import subprocess
import sys

import httpx
import numpy as np
import pytest
import shapely

from tests.clients.conftest import ROOT, served
from tests.server.conftest import LATE, put, rows
from tests.stores import copy_twin
from twin.store.geopackage import GeoPackageStore


@pytest.fixture
def own(folder, tmp_path):
    """The tiny city as a folder of its own."""
    return copy_twin(folder, tmp_path / "twin")


def told(address, path):
    """Answers of enough new connections to have met every worker."""
    return [httpx.get(f"{address}{path}", headers={"Connection": "close"}, timeout=30) for _ in range(12)]


def test_a_layer_that_a_command_adds_appears_in_every_worker(own, tmp_path):
    source = tmp_path / "lamps.geojson"
    features = [
        {"type": "Feature", "id": f"t{i}", "properties": {"name": "路灯"},
         "geometry": {"type": "Point", "coordinates": [121.0 + i / 1e4, 28.1]}}
        for i in range(20)
    ]  # fmt: skip
    source.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with served(own, tmp_path / "log.txt", "--workers", "2") as address:
        assert {a.status_code for a in told(address, "collections/lamp/items")} == {404}
        before = told(address, "collections/building/items?limit=3")
        command = [sys.executable, "-m", "server.cli", "add", str(own), str(source), "--layer", "lamp"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert {a.json()["numberMatched"] for a in told(address, "collections/lamp/items?limit=2")} == {20}
        ids = {each["id"] for a in told(address, "collections") for each in a.json()["collections"]}
        assert "lamp" in ids
        after = told(address, "collections/building/items?limit=3")
        assert {a.headers["etag"] for a in after} == {a.headers["etag"] for a in before}  # another layer's change


def test_each_worker_goes_on_with_a_token_of_the_other_after_a_change(own, tmp_path):
    with served(own, tmp_path / "log.txt", "--workers", "2") as address:
        store = GeoPackageStore(own / "city.gpkg")
        for n in (30, 90):
            at = np.linspace(598_000, 598_900, n)
            names = [f"{i % 7}" for i in range(n)]
            late = rows(
                [f"p{i}" for i in range(n)],
                shapely.points(at, at * 0 + 3_110_000),
                {"name": names},
                LATE.arrow_schema(),
            )
            put(store, "late", LATE, late)
            url, found = f"{address}collections/late_layer/items?sortby=-name&limit=11", []
            while url:
                page = httpx.get(url, headers={"Connection": "close"}, timeout=30).json()
                assert page["numberMatched"] == n
                found += [f["id"] for f in page["features"]]
                url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
            assert len(found) == len(set(found)) == n
            order = [int(each[1:]) % 7 for each in found]
            assert order == sorted(order, reverse=True)
            box = httpx.get(f"{address}collections/late_layer/items?limit=1&bbox=120,27,122,29", timeout=30).json()
            assert box["numberMatched"] == n
        store.close()
