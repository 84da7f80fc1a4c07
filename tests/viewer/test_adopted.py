"""An adopted 3D Tiles set in a real Chromium: listed, fetched to its last tile, and red where its red box stands."""

import io
import threading

import numpy as np
import pytest
import uvicorn
from PIL import Image

import twin
from server.app import create_app
from server.build import build
from server.settings import Settings
from tests import browser
from tests.ingest import tile_files as files

LON, LAT = 121.0, 28.1

pytestmark = [pytest.mark.client, pytest.mark.slow]


@pytest.fixture(scope="module")
def address(tmp_path_factory, built_viewer):
    folder = tmp_path_factory.mktemp("adopted")
    (folder / "in").mkdir()
    (folder / "in" / "city.toml").write_text('name = "tiny"\ncrs = "EPSG:4549"\norigin = [121.0, 28.1]\n')
    files.write_set(folder / "in" / "town", LON, LAT, 40.0)
    assert build(folder / "in", folder / "twin").exit_code == 0
    with twin.open(folder / "twin") as city:
        app = create_app(city, Settings(access_log=False, warm_up=False))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started and thread.is_alive():
            thread.join(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_the_set_is_drawn_where_it_stands(chromium, address):
    page = browser.opened_viewer(chromium, address, {"width": 500, "height": 400})
    view = {"lon": LON, "lat": LAT, "height": 200.0, "heading": 0, "pitch": -90}
    page.evaluate("view => { citytwin.setView(view); return citytwin.settled() }", view)
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    red, green, blue = picture[190:210, 240:260].reshape(-1, 3).mean(axis=0)
    assert red > 1.5 * max(green, blue)
    assert page.evaluate("citytwin.problems") == []
    asked = {url.rpartition("/")[2] for url in page.requested if "/3dtiles/town/" in url}
    assert asked == {"tileset.json", "more.json", "a.b3dm", "b%20c.glb?v=2"}
    page.close()
