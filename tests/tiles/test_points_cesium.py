"""CesiumJS in a real Chromium draws the packed point tiles, in their colours, picks them, and styles them."""

import io
import json
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import uvicorn

import twin
from server.app import create_app
from server.build import build
from server.settings import Settings
from tests import browser
from tests.tiles import point_clouds as clouds

pytestmark = [pytest.mark.client, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "server" / "viewer" / "node_modules"
SIZE = {"width": 600, "height": 400}
PAGE = """<!doctype html><meta charset="utf-8">
<style>html, body, #c, .cesium-widget, canvas {width: 100%; height: 100%; margin: 0}</style>
<div id="c"></div>
<script>window.CESIUM_BASE_URL = "/engine/"</script><script src="/cesium.js"></script>"""
LOOK = """async ({url, style, shader}) => {
  const C = window.C;
  if (!window.w) {
    const w = window.w = new C.CesiumWidget("c", {baseLayer: false, scene3DOnly: true, msaaSamples: 1});
    for (const name of ["skyBox", "skyAtmosphere", "sun", "moon"]) w.scene[name] = undefined;
    w.scene.globe.show = false;
    w.scene.backgroundColor = C.Color.BLACK;
    w.useDefaultRenderLoop = false;
  }
  w.scene.primitives.removeAll();
  const set = window.set = w.scene.primitives.add(await C.Cesium3DTileset.fromUrl(url));
  set.pointCloudShading = new C.PointCloudShading({attenuation: true, maximumAttenuation: 6});
  if (style) set.style = new C.Cesium3DTileStyle(style);
  if (shader) set.customShader = new C.CustomShader({fragmentShaderText: shader, lightingModel: C.LightingModel.UNLIT});
  const failed = [];
  set.tileFailed.addEventListener(each => failed.push(each.url + " " + each.message));
  const middle = set.boundingSphere;
  w.camera.lookAt(middle.center, new C.HeadingPitchRange(0, -Math.PI / 2, 2 * middle.radius));
  const end = Date.now() + 100000;
  do {
    w.resize(); w.scene.initializeFrame(); w.scene.render();
    await new Promise(done => setTimeout(done, 30));
  } while (!(set.tilesLoaded && set._selectedTiles.length) && Date.now() < end);
  w.scene.render();
  const picked = w.scene.pick(new C.Cartesian2(380, 200), 9, 9);
  const values = picked?.getPropertyIds
    ? Object.fromEntries(picked.getPropertyIds().map(id => [id, picked.getProperty(id)])) : {};
  return {failed, values, extras: picked?.content?.tile.extras, points: set._statistics.numberOfPointsLoaded};
}"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A square: west ground, east buildings; south red, north blue."""
    folder = tmp_path_factory.mktemp("cesium")
    (folder / "in").mkdir()
    (folder / "in" / "city.toml").write_text(
        'name = "tiny"\ncrs = "EPSG:4549"\norigin = [121.0, 28.1]\nheight_model = {constant_m = 12.5}\n'
    )
    xyz = clouds.hills(90_000)
    classes = np.where(xyz[:, 0] < 597100, 2, 6).astype(np.uint8)
    red = np.where(xyz[:, 1] < 3109100, 65535, 0).astype(np.uint16)
    green = np.full(len(xyz), 128 * 257, np.uint16)
    intensity = np.where(xyz[:, 0] < 597100, 1000, 50_000).astype(np.uint16)
    clouds.write_las(
        folder / "in" / "square.laz", xyz, classification=classes, red=red, green=green, blue=65535 - red,
        intensity=intensity,
    )  # fmt: skip
    assert [report.status for report in build(folder / "in", folder / "twin").reports] == ["stored"]
    return folder


@pytest.fixture(scope="module")
def cesium(source):
    """CesiumJS as one script, made by the viewer's bundler."""
    node = Path(sys.executable).with_name("node")
    program = str(node) if node.exists() else shutil.which("node")
    if program is None or not (MODULES / "@cesium" / "engine").is_dir():
        pytest.skip("CesiumJS is not installed; run `make clients`")
    entry = source / "entry.js"
    engine = json.dumps(str(MODULES / "@cesium" / "engine" / "index.js"))
    entry.write_text(f"import * as C from {engine}; window.C = C;")
    command = [program, MODULES / "rolldown" / "bin" / "cli.mjs", entry, "--format", "iife", "-o", source / "c.js"]
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=MODULES.parent)
    return source / "c.js"


def of_engine(route):
    """What CesiumJS loads itself: tables and pictures of its package."""
    name = route.request.url.partition("/engine/")[2].partition("?")[0]
    path = MODULES / "@cesium" / "engine" / "Source" / name
    route.fulfill(path=path) if path.is_file() else route.fulfill(status=404)


@pytest.fixture(scope="module")
def page(source, cesium):
    city = twin.open(source / "twin")
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    app = create_app(city, Settings(access_log=False, warm_up=False))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    module, executable = browser.playwright()
    with module.sync_playwright() as driver:
        chromium = browser.launched(driver, executable)
        page = chromium.new_page(viewport=SIZE)
        page.set_default_timeout(browser.TIMEOUT_MS)
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        utf8 = "text/javascript; charset=utf-8"
        page.route("**/page.html", lambda route: route.fulfill(body=PAGE, content_type="text/html; charset=utf-8"))
        page.route("**/cesium.js", lambda route: route.fulfill(path=cesium, content_type=utf8))
        page.route("**/engine/**", of_engine)
        page.goto(f"http://127.0.0.1:{listening.getsockname()[1]}/page.html")
        yield page
        chromium.close()
    server.should_exit = True
    thread.join(10)
    city.close()


def look(page, query="", **how):
    """What the page said, and the colours south-west, south-east, north-west and north-east of the square."""
    from PIL import Image

    said = page.evaluate(LOOK, {"url": f"/collections/point_cloud/3dtiles/{query}", **how})
    assert said["failed"] == page.errors == []
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    return said, [
        picture[y - 8 : y + 8, x - 8 : x + 8].reshape(-1, 3).max(axis=0)
        for y, x in ((300, 220), (300, 380), (100, 220), (100, 380))
    ]


RED, BLUE, NOTHING = (255, 128, 0), (0, 128, 255), (0, 0, 0)


@pytest.mark.parametrize("form", ["", "compat/"])
def test_points_are_drawn_in_their_own_colours_and_picked(page, form):
    said, colours = look(page, f"{form}tileset.json")
    np.testing.assert_allclose(colours, [RED, RED, BLUE, BLUE], atol=3)
    assert said["values"] == {
        "classification": 6, "name_zh": "建筑物", "name_en": "Building", "layer": "point_cloud", "asset": "square",
    }  # fmt: skip
    assert said["extras"] == {"layer": "point_cloud", "asset": "square"}


def test_colours_by_class_are_those_of_the_legend(page):
    _, colours = look(page, "tileset.json?color=class")
    ground, building = (0xA8, 0x78, 0x50), (0xE8, 0x68, 0x48)
    np.testing.assert_allclose(colours, [ground, building, ground, building], atol=3)


def test_a_filter_holds_for_the_children(page):
    said, colours = look(page, "tileset.json?classes=6")
    np.testing.assert_allclose(colours, [NOTHING, RED, NOTHING, BLUE], atol=3)
    assert said["points"] > 0
    _, colours = look(page, "tileset.json?classes=2&color=class")
    np.testing.assert_allclose([colours[1], colours[3]], [NOTHING, NOTHING], atol=3)


def test_a_style_shows_classes(page):
    _, colours = look(page, "tileset.json", style={"show": "${classification} > 5"})
    np.testing.assert_allclose(colours, [NOTHING, RED, NOTHING, BLUE], atol=3)


def test_a_custom_shader_reads_every_value(page):
    shader = """void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material) {
      material.diffuse = fsInput.metadata.intensity > 20000.0 ? vec3(1.0, 0.0, 0.0) : vec3(0.0, 0.0, 1.0); }"""
    _, colours = look(page, "tileset.json", shader=shader)
    np.testing.assert_allclose(colours, [(0, 0, 255), (255, 0, 0)] * 2, atol=3)
