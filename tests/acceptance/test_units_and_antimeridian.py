"""Cities whose CRS is in feet, and cities that lie across 180 degrees."""

import laspy
import numpy as np
import pyproj
import pytest
import shapely
from geopandas import GeoDataFrame
from starlette.testclient import TestClient

import twin
from layers.area import cut_to, is_within
from layers.errors import InvalidInput
from server.app import create_app
from server.settings import Settings
from twin.scope import EVERYTHING


def boxes(crs, east, north, tag=""):
    shapes = [shapely.box(east + 30 * k, north, east + 30 * k + 12, north + 9) for k in range(3)]
    attributes = {"id": [f"{tag}b{k}" for k in range(3)], "height_m": 6.0, "base_elev_m": 2.0}
    return GeoDataFrame(attributes, geometry=shapes, crs=crs)


def test_heights_and_plan_in_us_feet_become_a_city_in_metres(folder):
    feet = np.array([[987_000.0, 213_000.0, 30.0], [987_600.0, 213_600.0, 130.0]])
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = [0.01] * 3, [0.0] * 3
    header.add_crs(pyproj.CRS("EPSG:2263+6360"))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = feet.T
    cloud.write(folder.files / "scan.las")
    boxes("EPSG:2263", 987_000, 213_000).to_file(folder.files / "building.gpkg")
    assert folder.build().exit_code == 0
    foot = 1200 / 3937
    with twin.open(folder.twin) as city:
        assert (city.crs, city.config.vertical_crs) == ("EPSG:32118", "EPSG:5703")
        corner = city["building"].query(ids=["b0"]).geometry.iloc[0].bounds[:2]
        # the zone's definition: 300,000 m at the central meridian, the same ellipsoid and parallels
        assert corner == pytest.approx((987_000 * foot, 213_000 * foot), abs=1e-4)
        (asset,) = city.store.assets(EVERYTHING, "point_cloud")
        assert asset.city_bounds[:2] == pytest.approx((987_000 * foot, 213_000 * foot), abs=0.01)
        assert "0.3048006096" in city.certificates()["scan.las"]["transformation"]


@pytest.mark.parametrize(
    ("line", "cure"),
    [('crs = "EPSG:2263"', 'crs = "EPSG:32118"'),
     ('crs = "EPSG:32118"\nvertical_crs = "EPSG:6360"', 'vertical_crs = "EPSG:5703"')],
)  # fmt: skip
def test_a_city_in_feet_is_refused_with_the_line_that_cures_it(folder, line, cure):
    boxes("EPSG:2263", 987_000, 213_000).to_file(folder.files / "building.gpkg")
    folder.toml(line)
    with pytest.raises(InvalidInput) as refused:
        folder.build()
    assert cure in refused.value.hint
    folder.toml('crs = "EPSG:32118"', 'vertical_crs = "EPSG:5703"')
    assert folder.build().exit_code == 0


@pytest.mark.parametrize("crs", ["EPSG:3460", "EPSG:32760"])
def test_a_city_across_180_degrees_is_built_and_found(folder, crs):
    folder.toml(f'crs = "{crs}"')
    fiji = "EPSG:3460"  # Fiji Map Grid: its area of use runs from 176.81 E to 178.15 W
    east, north = pyproj.Transformer.from_crs("EPSG:4326", fiji, always_xy=True).transform(180.0, -16.85)
    east, north = round(east) - 36, round(north)  # the second of three buildings lies across the line
    local = boxes(fiji, east, north)
    local.to_file(folder.files / "building.gpkg")
    boxes(fiji, east, north, "j").to_crs("EPSG:4326").to_file(folder.files / "building_b.geojson")
    boxes(fiji, east, north, "k").to_crs("EPSG:32760").to_file(folder.files / "building_c.fgb", driver="FlatGeobuf")
    assert folder.build().exit_code == 0
    with twin.open(folder.twin) as city:
        assert city.crs == crs
        assert abs(abs(city.config.origin_lon_deg) - 180) < 0.001
        found = city["building"].query(crs=fiji)
        for tag in ("", "j", "k"):
            for k in range(3):
                place = found.geometry[f"{tag}b{k}"]
                assert shapely.hausdorff_distance(place, local.geometry[k]) < 0.01, (tag, k)
        with TestClient(create_app(city, Settings(access_log=False, warm_up=False))) as client:
            address = "/collections/building/items?f=json&limit=100&bbox="
            regions = "-180,-90,180,90", "179.9,-17,180,-16.8", "-180,-17,-179.9,-16.8", "0,-17,10,-16"
            counts = [client.get(address + box).json()["numberMatched"] for box in regions]
    assert counts == [9, 6, 6, 0]


def test_areas_across_the_antimeridian():
    fiji = (176.81, -20.81, -178.15, -12.42)
    assert [is_within(fiji, lon, -17, 1) for lon in (180, -180, 176, -177.5, 181.0, 170, -170, 0)] == [
        True, True, True, True, True, False, False, False,
    ]  # fmt: skip
    cases = {
        (-180, -90, 180, 90): (175.81, -21.81, 182.85, -11.42),
        (100, -90, 180, 90): (175.81, -21.81, 180, -11.42),
        (-180, -90, 0, 90): (180, -21.81, 182.85, -11.42),
    }
    for box, part in cases.items():
        assert cut_to(fiji, box, 1) == pytest.approx(part)
    assert cut_to(fiji, (0, -90, 10, 90), 1) is None
    assert cut_to((10, 0, 20, 5), (15, 1, 30, 2), 1) == (15, 1, 21, 2)
    assert cut_to((174, -80, 180, 0), (-180, -90, 180, 90), 10) == (164, -90, 190, 10)
