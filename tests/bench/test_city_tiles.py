"""3D tiles of a served city: cold and warm, the first view in CesiumJS, and from an edit to the fresh tile.

`CITYTWIN_BENCH_TWIN` names a twin of a million buildings that is already built (it is copied before it is edited).
Measured over the loopback, server and reader as processes of their own.
"""

import os
import shutil
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest

import twin
from tests import browser
from tests.clients.conftest import ROOT, built, served
from tiles import quadtree
from tiles.tileset import Tileset

pytestmark = pytest.mark.bench

SMALL, LARGE = 10_000, 1_000_000

CITY_ALONE = """async (url) => {
  const { viewer } = citytwin, list = viewer.scene.primitives;
  let kind;
  for (const one of Array.from({ length: list.length }, (_, i) => list.get(i)))
    if (one.resource) { kind = one.constructor; list.remove(one); }
  const whole = list.add(await kind.fromUrl(url));
  await new Promise((done) => { const wait = () => { viewer.scene.requestRender();
    if (whole.tilesLoaded) done(); else setTimeout(wait, 200); }; setTimeout(wait, 1000); });
}"""
"""In the viewer's own view: its tilesets go, the city's comes, with CesiumJS's own tolerance of 16 pixels."""


@pytest.fixture(scope="module", params=[SMALL, LARGE], ids=str)
def folder(request, tmp_path_factory):
    """A twin with that many buildings, ours to change."""
    target = tmp_path_factory.mktemp("bench") / "twin"
    ready = os.environ.get("CITYTWIN_BENCH_TWIN")
    if ready and request.param == LARGE:
        shutil.copytree(ready, target, ignore=shutil.ignore_patterns("cache", "*-wal", "*-shm"))
        return target
    source = target.parent / "source"
    script = [sys.executable, str(ROOT / "sample_data" / "make_town.py"), "--buildings", str(request.param)]
    subprocess.run([*script, "--out", str(source)], cwd=ROOT, check=True, capture_output=True)
    built(source, target, {0, 1})
    return target


@pytest.fixture(scope="module")
def address(folder):
    with served(folder, folder.parent / "log.txt") as found:
        httpx.get(f"{found}collections/building/3dtiles/tileset.json", timeout=120).raise_for_status()
        yield found


def tiles(folder, low, high):
    """Addresses (level/x/y) of tiles with so many features."""
    with twin.open(folder) as city:
        tree = Tileset(city, "building", city.scope).tree
        keys = tree.tiles.keys[(tree.tiles.counts >= low) & (tree.tiles.counts <= high)]
    level, cell = quadtree.level_cell(keys)
    return list(zip(level.tolist(), *(axis.tolist() for axis in quadtree.column_row(cell)), strict=True))


def say(name, text):
    print(f"\n{name:<52} {text}", end="")  # noqa: T201


def timed(name, seconds, more=""):
    p50, p95 = np.percentile(np.array(seconds) * 1e3, [50, 95])
    say(name, f"p50 {p50:7.2f} ms  p95 {p95:7.2f} ms  n {len(seconds)} {more}")


@pytest.mark.parametrize("form", ["compat/", ""], ids=["compat", "compact"])
@pytest.mark.parametrize("packing", ["identity", "zstd"])
def test_cold_and_warm_tiles(folder, address, form, packing):
    found = tiles(folder, 350, 650)
    chosen = [found[i] for i in np.random.default_rng(0).permutation(len(found))[:100]]
    shutil.rmtree(folder / "cache", ignore_errors=True)
    cold, warm, fresh, sizes = [], [], [], []
    with httpx.Client(base_url=f"{address}collections/building/3dtiles/{form}", timeout=60) as client:
        client.headers["Accept-Encoding"] = packing
        for times in (cold, warm):
            for level, x, y in chosen:
                begin = time.perf_counter()
                with client.stream("GET", f"content/{level}/{x}/{y}.glb") as answer:
                    size = sum(len(part) for part in answer.iter_raw())
                times.append(time.perf_counter() - begin)
                assert answer.status_code == 200
                sizes.append(size)
                tag = answer.headers["etag"]
        for level, x, y in chosen[-1:] * 100:
            begin = time.perf_counter()
            answer = client.get(f"content/{level}/{x}/{y}.glb", headers={"If-None-Match": tag})
            fresh.append(time.perf_counter() - begin)
            assert answer.status_code == 304
    kind = f"{form or 'compact/'} {packing}"
    timed(f"{kind} cold tile of about 500 buildings", cold[1:], f"mean {np.mean(sizes):,.0f} bytes")
    timed(f"{kind} warm", warm)
    timed(f"{kind} not modified", fresh)


def test_the_bytes_of_compact_against_compat(folder):
    """Of all tiles of some 500 buildings, not packed and with zstd on top."""
    from server.packing import packed

    with twin.open(folder) as city:
        tileset = Tileset(city, "building", city.scope)
        rows = np.flatnonzero((tileset.tree.tiles.counts >= 350) & (tileset.tree.tiles.counts <= 650))[:40]
        made = {
            form: [tileset.glb(int(tileset.tree.tiles.keys[row]), form) for row in rows]
            for form in ("compat", "compact")
        }
    plain = {form: sum(map(len, each)) for form, each in made.items()}
    zipped = {form: sum(len(packed(glb, "zstd")) for glb in each) for form, each in made.items()}
    for name, sizes in (("not packed", plain), ("zstd", zipped)):
        share = sizes["compact"] / sizes["compat"]
        say(f"compact against compat, {name}", f"{share:.1%} of {sizes['compat'] / len(rows):,.0f} bytes a tile")


def test_first_view(folder, address, chromium):
    """Requests and bytes over the wire until the whole city stands in CesiumJS, by the city's tileset."""
    page = chromium.new_page(viewport={"width": 1000, "height": 700})
    page.set_default_timeout(browser.TIMEOUT_MS)
    seen = {}
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on(
        "Network.responseReceived", lambda event: seen.setdefault(event["requestId"], [event["response"]["url"], 0])
    )

    def finished(event):
        if event["requestId"] in seen:
            seen[event["requestId"]][1] = event["encodedDataLength"]

    session.on("Network.loadingFinished", finished)
    begin = time.perf_counter()
    page.goto(f"{address}viewer/")
    page.wait_for_function("() => window.citytwin")
    page.evaluate("citytwin.ready")
    page.evaluate("citytwin.settled()")
    seconds = time.perf_counter() - begin
    ours = [size for url, size in seen.values() if "/3dtiles/" in url]
    others = [size for url, size in seen.values() if "/3dtiles/" not in url]
    seen.clear()
    page.evaluate(CITY_ALONE, f"{address}3dtiles/tileset.json")
    whole = [size for url, size in seen.values() if "/3dtiles/" in url]
    page.close()
    tiles_mb, others_mb, whole_mb = (sum(sizes) / 1e6 for sizes in (ours, others, whole))
    say("first view, the viewer's tilesets layer by layer", f"{len(ours)} requests, {tiles_mb:.2f} MB; {seconds:.1f} s")
    say("first view, the city's tileset", f"{len(whole)} requests, {whole_mb:.2f} MB")
    say("first view, everything else", f"{len(others)} requests, {others_mb:.2f} MB")
    assert ours
    assert whole


def test_from_an_edit_to_the_fresh_tile(folder, address):
    """Change the height of one building by the Python API; the clock stops when its tile with the change is here."""
    rng = np.random.default_rng(1)
    seconds, changed = [], []
    with twin.open(folder) as city, httpx.Client(base_url=address, timeout=60) as client:
        layer = city["building"]
        before = Tileset(city, "building", city.scope).tree
        ids = layer.query(limit=20_000, properties=["height_m"]).index
        for feature_id in rng.choice(ids, 30, replace=False).tolist():
            height = float(rng.uniform(3, 90))
            begin = time.perf_counter()
            layer.update(feature_id, height_m=height)
            after = Tileset(city, "building", city.scope).tree
            (fid,) = {
                int(each) for each in city.store.mesh_changes("building", layer.info.version - 1, city.scope).came.fids
            }
            row = int(np.flatnonzero(after.members.fids == fid)[0])
            key = quadtree.keys(after.members.levels[row : row + 1], after.members.codes[row : row + 1])
            level, cell = quadtree.level_cell(key)
            x, y = quadtree.column_row(cell)
            data = client.get(f"collections/building/3dtiles/compat/content/{level[0]}/{x[0]}/{y[0]}.glb").content
            seconds.append(time.perf_counter() - begin)
            assert feature_id.encode() in data
            assert np.float64(height).tobytes() in data
            old, new = (dict(zip(t.tiles.keys.tolist(), t.tiles.prints.tolist(), strict=True)) for t in (before, after))
            changed.append(sum(old.get(k) != new.get(k) for k in old.keys() | new.keys()) / len(new))
            before = after
    timed(
        "edit to fresh tile",
        seconds,
        f"tiles changed: mean {np.mean(changed):.4%}, max {max(changed):.4%} of {len(new)}",
    )
