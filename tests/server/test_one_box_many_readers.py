"""Many readers of one box, one filter and one slanted region at once: GEOS must not be shared between threads.

Run in a process of its own, since what goes wrong ends the process.
"""

import subprocess
import sys

from tests.server.conftest import fill
from twin import config
from twin.store.geopackage import GeoPackageStore

SCRIPT = """
import sys
from concurrent.futures import ThreadPoolExecutor

from starlette.testclient import TestClient

import twin
from server.app import create_app
from server.settings import Settings

ITEMS = "/collections/building/items"
BOX = f"{ITEMS}?limit=1000&bbox=120.9,27.9,121.0005,28.2"
SLANTED = ("filter=S_INTERSECTS(geometry,POLYGON((120.99 28.09,121.01 28.10,121.0 28.12,120.99 28.09)))"
           " OR S_WITHIN(geometry,POLYGON((120.9 28.0,121.1 28.0,121.1 28.2,120.9 28.2,120.9 28.0)))")
with twin.open(sys.argv[1]) as city:
    settings = Settings(access_log=False, warm_up=False, threads=16)
    with TestClient(create_app(city, settings), base_url="http://city.test") as client:
        for turn in range(30):
            # a box that nobody has asked for before, by all at once
            asked = [f"{BOX}{turn}", f"{ITEMS}?limit={turn + 1}&{SLANTED}"] * 8
            with ThreadPoolExecutor(16) as pool:
                answers = list(pool.map(client.get, asked))
            assert {each.status_code for each in answers} == {200}, answers
            assert len({each.json()["numberMatched"] for each in answers[::2]}) == 1
            assert len({each.json()["numberMatched"] for each in answers[1::2]}) == 1
print("done")
"""


def test_one_box_by_sixteen_readers_at_once(tmp_path):
    settings = config.TwinConfig("tiny", "EPSG:4549", 121.0, 28.1, 0.0)
    config.save(settings, tmp_path)
    store = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs="EPSG:4549")
    fill(store)
    store.close()
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    assert done.stdout.strip() == "done"
