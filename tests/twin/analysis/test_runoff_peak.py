"""P24: the rational formula and SCS curve numbers."""

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis import water_city
from tests.twin.analysis.water_city import EAST, NORTH
from twin.analysis.runoff_peak import rational_m3s, scs_runoff_mm


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    basin = shapely.box(EAST, NORTH - 100, EAST + 1000, NORTH)
    with water_city.make(
        tmp_path_factory.mktemp("runoff"), layers=[("basin", "Polygon", {"b": (basin, {"d": 1})})]
    ) as made:
        yield made


def test_hand_case_rational(city):
    found = city.run("runoff-peak", method="rational", area_m2=100_000, runoff_coefficient=0.7, intensity_mm_h=60)
    assert found["peak_m3s"] == pytest.approx(1.1667, abs=5e-5)
    assert found["peak_m3s"] == pytest.approx(0.7 * (60 / 1000 / 3600) * 100_000)  # by units
    assert found["area_ha"] == 10


def test_hand_case_scs(city):
    found = city.run("runoff-peak", method="scs", curve_number=80, rain_mm=100)
    assert found["retention_mm"] == pytest.approx(63.5)
    assert found["runoff_mm"] == pytest.approx(50.539, abs=5e-4)
    assert found["runoff_mm"] + found["lost_mm"] == pytest.approx(100)
    assert "volume_m3" not in found
    sized = city.run("runoff-peak", method="scs", curve_number=80, rain_mm=100, area_m2=2e6)
    assert sized["volume_m3"] == pytest.approx(50.5387 / 1000 * 2e6, rel=1e-5)


def test_rain_up_to_the_initial_loss_does_not_run_off():
    assert scs_runoff_mm(80, 12.7) == 0  # Ia = 0.2 x 63.5
    assert scs_runoff_mm(80, 12.8) > 0
    assert scs_runoff_mm(80, 0) == 0
    assert scs_runoff_mm(100, 50) == pytest.approx(50)  # nothing is held back
    assert scs_runoff_mm(80, 100, 0.05) > scs_runoff_mm(80, 100)


def test_a_catchment_is_measured_on_the_ellipsoid(city):
    found = city.run(
        "runoff-peak", method="rational", catchment={"collection": "basin"}, runoff_coefficient=1, intensity_mm_h=36
    )
    assert found["area_m2"] == pytest.approx(100_000, rel=1e-6)
    assert found["peak_m3s"] == pytest.approx(1, rel=1e-6)


@given(st.floats(1, 100), st.floats(0, 3000), st.floats(0, 1))
def test_runoff_lies_between_nothing_and_the_rain_and_rises(curve_number, rain, share):
    runoff = scs_runoff_mm(curve_number, rain, share)
    assert 0 <= runoff <= rain * (1 + 1e-12)
    assert scs_runoff_mm(curve_number, min(rain + 1, 3000), share) >= runoff
    assert scs_runoff_mm(min(curve_number + 1, 100), rain, share) >= runoff * (1 - 1e-12)


@given(st.floats(0, 1), st.floats(0, 1000), st.floats(0, 1e6))
def test_rational_equals_rain_by_area_in_si_units(c, i, area_ha):
    assert rational_m3s(c, i, area_ha) == pytest.approx(c * (i * 1e-3 / 3600) * (area_ha * 1e4))


RATIONAL = {"method": "rational", "area_m2": 1e5, "runoff_coefficient": 0.7, "intensity_mm_h": 60}
SCS = {"method": "scs", "curve_number": 80, "rain_mm": 100}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (RATIONAL | {"runoff_coefficient": 70}, "runoff_coefficient"),
        (RATIONAL | {"runoff_coefficient": -0.1}, "runoff_coefficient"),
        (RATIONAL | {"intensity_mm_h": -1}, "intensity_mm_h"),
        (RATIONAL | {"intensity_mm_h": float("nan")}, "intensity_mm_h"),
        (RATIONAL | {"area_m2": -1}, "area_m2"),
        (RATIONAL | {"area_m2": float("nan")}, "area_m2"),
        (RATIONAL | {"area_m2": None}, "area_m2"),
        ({**RATIONAL, "catchment": {"collection": "basin"}}, "area_m2 and catchment"),
        ({k: v for k, v in RATIONAL.items() if k != "area_m2"}, "area_m2 is missing"),
        ({k: v for k, v in RATIONAL.items() if k != "intensity_mm_h"}, "intensity_mm_h is missing"),
        (RATIONAL | {"rain_mm": 5}, "rain_mm has no meaning"),
        (SCS | {"curve_number": 0}, "curve_number"),
        (SCS | {"curve_number": 101}, "curve_number"),
        (SCS | {"curve_number": float("nan")}, "curve_number"),
        (SCS | {"rain_mm": -1}, "rain_mm"),
        (SCS | {"rain_mm": float("inf")}, "rain_mm"),
        (SCS | {"initial_share": 2}, "initial_share"),
        ({"method": "scs", "rain_mm": 5}, "curve_number is missing"),
        ({"method": "manning"}, "method"),
    ],
    ids=range(19),
)
def test_wrong_inputs_are_named(city, given, words):
    with pytest.raises(InvalidInput, match=words):
        city.run("runoff-peak", **given)
