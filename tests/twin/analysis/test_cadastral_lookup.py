"""From a code to geometry: parcel, unit and buildings, with what lies in the parcel; codes that are none are named."""

import pytest
import shapely

from layers.errors import InvalidInput, NotFound
from tests.twin.analysis.land_city import made, town

CENTRE = 500_000.0, 3_109_000.0
CODE, OTHER = "330382001001GB00001", "330382001001JC00002"


def square(x0, y0, x1, y1):
    return shapely.box(CENTRE[0] + x0, CENTRE[1] + y0, CENTRE[0] + x1, CENTRE[1] + y1)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    layers = {
        "parcel": [("p", square(0, 0, 10, 10), {"parcel_code": CODE}),
                   ("q", square(10, 0, 20, 10), {"parcel_code": OTHER})],
        "building": [("b", square(5, 2, 15, 4), {"name": "楼"}), ("far", square(30, 0, 40, 10), {"name": "远"})],
        "building_unit": [(f"u{i}", shapely.force_3d(square(5, 2, 9, 4), 3.0 * i), {"unit_code": f"{CODE}F0001000{i}"})
                          for i in (1, 2)],
    }  # fmt: skip
    with made(tmp_path_factory.mktemp("cadastre"), layers) as opened:
        yield opened


def names(found, key):
    return [each["id"] for each in found[key]["features"]]


def test_a_unit_s_code_gives_its_geometry_and_its_parcel(city):
    found = city.run("cadastral-lookup", code=f"{CODE[:12]} {CODE[12:]} F00010002", crs="city")
    assert (names(found, "parcels"), names(found, "units"), names(found, "buildings")) == (["p"], ["u2"], ["b"])
    assert (found["building_no"], found["unit_no"], found["is_unit_found"]) == ("0001", "0002", True)
    assert shapely.geometry.shape(found["parcels"]["features"][0]["geometry"]).equals(square(0, 0, 10, 10))
    assert found["buildings"]["features"][0]["properties"]["area_on_ellipsoid_m2"] == pytest.approx(20, abs=1e-5)
    assert found["buildings"]["features"][0]["properties"]["in_parcel_m2"] == pytest.approx(10, abs=1e-5)
    assert found["units"]["features"][0]["properties"]["in_parcel_m2"] == pytest.approx(8, abs=1e-5)


def test_a_parcel_s_code_gives_all_its_units(city):
    found = city.run("cadastral-lookup", code=CODE.lower())
    assert (names(found, "units"), found["unit_code"], found["is_unit_found"]) == (["u1", "u2"], None, None)
    assert names(city.run("cadastral-lookup", code=OTHER), "units") == []


def test_a_unit_that_is_not_there_still_gives_the_parcel(city):
    found = city.run("cadastral-lookup", code=CODE + "F00090009")
    assert (names(found, "parcels"), names(found, "units"), found["is_unit_found"]) == (["p"], [], False)


@pytest.mark.parametrize("code", ["x", CODE[:-1], CODE + "F0001", CODE + "W00000001", CODE + "%"])
def test_what_is_no_code_is_refused(city, code):
    with pytest.raises(InvalidInput, match="code: "):
        city.run("cadastral-lookup", code=code)


def test_a_code_that_nobody_has_is_not_found(city):
    with pytest.raises(NotFound, match="code: the city has no parcel"):
        city.run("cadastral-lookup", code="330382001001GB99999")


def test_every_parcel_of_the_town_is_found_by_its_code(tmp_path):
    with town(tmp_path, "land") as city:
        for name, row in city["parcel"].query().iterrows():
            found = city.run("cadastral-lookup", code=row["parcel_code"], crs="city")
            assert names(found, "parcels") == [name]
            assert shapely.geometry.shape(found["parcels"]["features"][0]["geometry"]).equals(row["geometry"])
