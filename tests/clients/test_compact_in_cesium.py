"""CesiumJS in Chromium draws the compact tiles of the town: packed glTF, implicit tiling, typed metadata, instances.

Oracles: what OGC API Features says of the same id; the picture of the same view from the explicit float32 tiles.
"""

import numpy as np
import pytest

from tests import browser
from tests.clients.test_viewer import SIZE, houses, look_at, pick, picture

pytestmark = [pytest.mark.client, pytest.mark.slow]
MIDDLE = (SIZE["width"] // 2, SIZE["height"] // 2)
__all__ = ["houses"]


@pytest.fixture(scope="module")
def page(town_url, chromium):
    """The viewer, loaded."""
    page = browser.opened_viewer(chromium, town_url, SIZE)
    yield page
    page.close()


def drawn(page, x=MIDDLE[0], y=MIDDLE[1]):
    return page.evaluate("([x, y]) => citytwin.properties(x, y)", [x, y])


def feature(page, town_url, layer, feature_id):
    address = f"{town_url}collections/{layer}/items/{feature_id}?lang=en"
    return page.request.get(address, headers={"Accept": "application/geo+json"}).json()["properties"]


def agree(said, served):
    """Attributes of a tile against those of Features: same values, same types, nothing left out."""
    compared = 0
    for name, value in served.items():
        if name in {"version", "valid_from", "valid_to", "extra"}:
            continue  # the store's own; a tile says what is now
        got = said.get(name)
        if value is None or value == "":
            assert got in (None, ""), name
            continue
        compared += 1
        if isinstance(value, bool):
            assert bool(got) is value, name
        elif isinstance(value, (int, float)):
            assert isinstance(got, (int, float)), f"{name} is {got!r}"
            assert got == pytest.approx(value, rel=1e-12), name
        elif isinstance(value, str):
            assert got == value, name
    return compared


def test_the_tiles_it_loads_are_implicit_and_packed(page):
    contents = [url for url in page.requested if "/3dtiles/content/" in url]
    assert contents
    assert [url for url in page.requested if url.endswith(".subtree")]
    assert not [url for url in page.requested if "/explicit/" in url]
    assert page.complaints == []


def test_picked_buildings_say_what_features_says(page, town_url, houses):
    frame, inside = houses
    compared = 0
    for _, spot in zip(frame.head(5).itertuples(), inside.head(5), strict=True):
        look_at(page, spot.x, spot.y)
        picked, said = pick(page), drawn(page)
        assert picked is not None
        assert said["id"] == picked["id"]
        assert said["layer"] == picked["layer"]
        compared += agree(said, feature(page, town_url, picked["layer"], picked["id"]))
    assert compared >= 30


def bim_hit(page, town_url):
    """The eye on a BIM building; a pixel that shows an element with a storey, and what its tile says of it."""
    answer = page.request.get(f"{town_url}collections/bim_element/items?limit=200&filter=storey IS NOT NULL").json()
    for item in answer["features"]:
        ring = np.array(item["geometry"]["coordinates"][0][0]) if item["geometry"]["type"] == "MultiPolygon" else None
        if ring is None or item["properties"]["ifc_class"] not in {"IfcWall", "IfcSlab", "IfcRoof"}:
            continue
        lon, lat = ring[:, :2].mean(axis=0)
        look_at(page, float(lon), float(lat), above=120.0, pitch=-50, back=80)
        for x in range(400, 780, 25):
            for y in range(100, 400, 25):
                said = drawn(page, x, y)
                if said and said.get("layer") == "bim_element" and said.get("storey"):
                    return (x, y), said
    return None


def test_one_storey_can_be_shown_alone(page, town_url):
    found = bim_hit(page, town_url)
    assert found, "no BIM element with a storey is seen"
    (x, y), said = found
    agree(said, feature(page, town_url, "bim_element", said["id"]))
    page.mouse.click(x, y)
    button = page.locator(".details button.small").first
    button.wait_for(timeout=60_000)
    assert button.text_content() == "Show only this"
    button.click()
    page.evaluate("citytwin.settled()")
    seen = {}
    for px in range(380, 790, 20):
        for py in range(80, 420, 20):
            hit = drawn(page, px, py)
            if hit and hit.get("layer") == "bim_element":
                seen[hit["id"]] = hit["storey"]
    assert seen
    assert set(seen.values()) == {said["storey"]}
    button.click()
    assert button.get_attribute("aria-pressed") == "false"


def test_compact_looks_like_explicit(page, town_url, houses):
    """The same view, drawn from the one and from the other: hardly a pixel differs."""
    _, inside = houses
    spot = inside.iloc[0]
    view = {"above": 300.0, "pitch": -45, "back": 250.0}
    look_at(page, spot.x, spot.y, **view)
    page.evaluate("document.querySelector('.details button.icon')?.click()")
    compact = picture(page)
    swap = """async () => {
      const { viewer } = citytwin, list = viewer.scene.primitives;
      for (let i = list.length - 1; i >= 0; i -= 1) {
        const set = list.get(i), url = set.resource?.url;
        if (!url?.includes('/3dtiles/tileset.json')) continue;
        const other = await set.constructor.fromUrl(url.replace('/3dtiles/', '/3dtiles/explicit/'),
          { maximumScreenSpaceError: set.maximumScreenSpaceError });
        list.remove(set); list.add(other);
      }
    }"""
    page.evaluate(swap)
    page.wait_for_function(
        """() => { const list = citytwin.viewer.scene.primitives; citytwin.viewer.scene.requestRender();
          for (let i = 0; i < list.length; i += 1) if (list.get(i).tilesLoaded === false) return false;
          return true; }"""
    )
    page.wait_for_timeout(1500)
    explicit = picture(page)
    assert [url for url in page.requested if "/explicit/" in url and url.endswith(".glb")]
    different = (np.abs(compact - explicit).max(axis=2) > 40).mean()
    assert different < 0.01
