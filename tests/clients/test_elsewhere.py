"""Two cities that are not the sample town, with a ground known by a formula: in QGIS and in Chromium all is in place.

One is in EPSG:28992 at Delft (east first, datum 100 m off WGS 84), one in EPSG:4549 at 121.4 E, 37.5 N (north first,
far from the meridian of the projection). Oracles: the formula of the ground, `egm96`, pyproj; none of our own code.
"""

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import from_origin

from tests import browser
from tests.clients.conftest import asked_qgis, built, served

pytestmark = [pytest.mark.client, pytest.mark.slow]

SIZE = {"width": 640, "height": 400}
MIDDLE = {"x": SIZE["width"] // 2, "y": SIZE["height"] // 2}
CITIES = {"delft": ("EPSG:28992", 84_500.0, 447_300.0), "yantai": ("EPSG:4549", 623_700.0, 4_152_300.0)}
CELL_M, CELLS = 5.0, 240
SPOTS = [(-180.0, -150.0, 9.0), (0.0, 0.0, 24.0), (160.0, 190.0, 15.0)]  # east, north of the middle; height


def ground(east, north):
    """Metres above the datum at a place relative to the middle: a slope with hills, smooth enough for 5 m cells."""
    return 12.0 + 0.02 * east + 0.01 * north + 3.0 * np.sin(east / 120.0) * np.cos(north / 150.0)


def write(folder, code, east, north):
    """DEM and buildings of a city around a point."""
    folder.mkdir(parents=True)
    half = CELL_M * CELLS / 2
    axis = (np.arange(CELLS) + 0.5) * CELL_M - half
    values = ground(axis[None, :], -axis[:, None]).astype("float32")
    profile = {"driver": "GTiff", "width": CELLS, "height": CELLS, "count": 1, "dtype": "float32", "nodata": -9999}
    transform = from_origin(east - half, north + half, CELL_M, CELL_M)
    with rasterio.open(folder / "dem.tif", "w", crs=code, transform=transform, **profile) as dem:
        dem.write(values, 1)
    outlines = [shapely.box(east + e - 15, north + n - 15, east + e + 15, north + n + 15) for e, n, _ in SPOTS]
    columns = {"id": ["low", "tall", "middle"], "height_m": [height for *_, height in SPOTS]}
    frame = geopandas.GeoDataFrame(columns, geometry=outlines, crs=code)
    frame.to_file(folder / "building.gpkg", layer="building")


@pytest.fixture(scope="module", params=CITIES)
def city(request, tmp_path_factory):
    """CRS, middle, and address of the served city."""
    folder = tmp_path_factory.mktemp(request.param)
    code, east, north = CITIES[request.param]
    write(folder / "source", code, east, north)
    built(folder / "source", folder / "twin", {0})
    with served(folder / "twin", folder / "log.txt") as address:
        yield code, east, north, address


def test_qgis_has_every_building_where_it_was_put(city, qgis_python, tmp_path):
    code, east, north, address = city
    project = asked_qgis(qgis_python, address, tmp_path, "citytwin_building", "citytwin_building_3d")
    assert [(key, each["error"]) for key, each in project["layers"].items() if not each["valid"]] == []
    assert project["crs"] == project["layers"]["citytwin_building"]["crs"] == code
    assert len(project["features"]) == len(SPOTS)
    boxes = np.sort(np.array(list(project["features"].values())), axis=0)
    put = np.sort(
        np.array([[east + e - 15, north + n - 15, east + e + 15, north + n + 15] for e, n, _ in SPOTS]), axis=0
    )
    np.testing.assert_allclose(boxes, put, rtol=0, atol=1e-3)
    assert project["drawn"]["citytwin_building_3d"]["drawn"] > 1000


def test_buildings_stand_on_the_ground_in_the_viewer(city, chromium):
    """The roof that is drawn over the middle of a footprint is its height above the lowest ground of its corners."""
    from egm96 import undulation

    code, east, north, address = city
    to_lonlat = Transformer.from_crs(code, "EPSG:4326", always_xy=True)
    page = browser.opened_viewer(chromium, address, SIZE)
    assert page.complaints == []
    for e, n, height in SPOTS:
        lon, lat = to_lonlat.transform(east + e, north + n)
        corners = [ground(e + 15 * i, n + 15 * j) for i in (-1, 1) for j in (-1, 1)]
        offset = float(undulation(lat, lon))
        view = {"lon": lon, "lat": lat, "height": offset + 300, "heading": 0, "pitch": -90}
        page.evaluate("view => { citytwin.setView(view); return citytwin.settled() }", view)
        drawn = page.evaluate("([lon, lat]) => citytwin.groundHeight(lon, lat)", [lon, lat])
        assert drawn == pytest.approx(ground(e, n) + offset, abs=1.0)
        picked = page.evaluate("at => citytwin.pick(at.x, at.y)", MIDDLE)
        assert picked, "no building is drawn where one stands"
        assert picked["layer"] == "building"
        roof = page.evaluate(
            """at => { const { scene } = citytwin.viewer; const spot = scene.pickPosition(at);
                       const on = scene.globe.ellipsoid.cartesianToCartographic(spot);
                       return [on.longitude * 180 / Math.PI, on.latitude * 180 / Math.PI, on.height] }""",
            MIDDLE,
        )
        np.testing.assert_allclose(roof[:2], [lon, lat], rtol=0, atol=1.5e-5)
        assert roof[2] == pytest.approx(min(corners) + height + offset, abs=1.0)
        # and the ground beside it is where its base is
        feature = page.request.get(f"{address}collections/building/items/{picked['id']}").json()
        outline = shapely.geometry.shape(feature["geometry"])
        assert outline.contains(shapely.Point(lon, lat))
        base = feature["properties"]["base_elev_m"] + offset
        beside = [page.evaluate("([lon, lat]) => citytwin.groundHeight(lon, lat)", list(corner[:2]))
                  for corner in outline.geoms[0].exterior.coords[:4]]  # fmt: skip
        assert base == pytest.approx(min(beside), abs=1.0)
    page.close()
