"""GCJ-02 and BD-09 against published values, and the way back."""

import numpy as np
import pytest

from layers import gcj02
from layers.crs import CGCS2000_GEOD


@pytest.mark.parametrize(("lon", "lat", "offset_m"), [(121.0, 28.1, 542.8), (121.4, 37.5, 479.7), (120.0, 36.8, 475.6)])
def test_offset_is_the_published_one(lon, lat, offset_m):
    east, north = gcj02.to_gcj02(np.array([lon]), np.array([lat]))
    assert CGCS2000_GEOD.inv(lon, lat, east[0], north[0])[2] == pytest.approx(offset_m, abs=0.06)


def test_yueqing_to_the_sixth_decimal():
    east, north = gcj02.to_gcj02(np.array([121.0]), np.array([28.1]))
    assert (round(float(east[0]), 6), round(float(north[0]), 6)) == (121.004135, 28.096752)


@pytest.mark.parametrize(("there", "back"), [(gcj02.to_gcj02, gcj02.from_gcj02), (gcj02.to_bd09, gcj02.from_bd09)])
def test_there_and_back_is_within_a_billionth_of_a_degree(there, back):
    random = np.random.default_rng(1)
    lon, lat = random.uniform(73, 135, 5000), random.uniform(3, 53, 5000)
    east, north = back(*there(lon, lat))
    assert max(np.abs(east - lon).max(), np.abs(north - lat).max()) < 1e-9


@pytest.mark.parametrize("step", [gcj02.to_gcj02, gcj02.from_gcj02, gcj02.to_bd09, gcj02.from_bd09])
def test_outside_china_nothing_moves(step):
    lon, lat = np.array([139.7, -0.1, 151.2, np.nan]), np.array([35.7, 51.5, -33.9, 30.0])
    east, north = step(lon, lat)
    np.testing.assert_array_equal(east, lon)
    np.testing.assert_array_equal(north, lat)
